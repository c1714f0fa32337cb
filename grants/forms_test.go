package grants

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/reasons"
)

// TestForms: what the page can post, its template has a button for, and it says
// something once it is done.
func TestForms(t *testing.T) {
	source, err := pageFiles.ReadFile("pages/agents.html")
	if err != nil {
		t.Fatal(err)
	}
	var posted []string
	for _, found := range regexp.MustCompile(`action="\{\{[$\w]*\.Path\}\}([^"]*)"`).FindAllStringSubmatch(string(source), -1) {
		posted = append(posted, found[1])
	}
	var known []string
	for _, f := range (&pageHandler{}).allForms() {
		known = append(known, f.path)
		if !slices.Contains(posted, f.path) {
			t.Errorf("no form of the page leads to %s", f.path)
		}
		var said strings.Builder
		if err := PageTemplate().ExecuteTemplate(&said, "done", f.done); err != nil || strings.TrimSpace(said.String()) == "" {
			t.Errorf("the page says nothing when %s is done: %v", f.done, err)
		}
	}
	for _, path := range posted {
		if !slices.Contains(known, path) {
			t.Errorf("nothing takes the form that leads to %s", path)
		}
	}
}

// TestReasonsOnPage: the page has words for reasons that there are.
func TestReasonsOnPage(t *testing.T) {
	words := PageTemplate().Lookup("reason").Tree.Root.String()
	named := regexp.MustCompile(`eq \. "(\w+)"`).FindAllStringSubmatch(words, -1)
	if len(named) < 5 {
		t.Fatalf("found %d reasons in %s", len(named), words)
	}
	for _, name := range named {
		if !slices.ContainsFunc(reasons.All(), func(row reasons.Row) bool { return row.Code == name[1] }) {
			t.Errorf("there is no reason %s", name[1])
		}
	}
}
