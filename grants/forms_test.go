package grants

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/reasons"
)

// texts are the English texts of the owner's pages, by key.
func texts(t *testing.T) map[string]string {
	t.Helper()
	table, err := os.ReadFile("../messages/en/owner.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for line := range strings.Lines(string(table)) {
		if key, text, ok := strings.Cut(line, " = "); ok {
			all[key] = strings.TrimSpace(text)
		}
	}
	return all
}

// TestForms: what the pages can post, a template has a button for, and a page says
// something once it is done.
func TestForms(t *testing.T) {
	var posted []string
	for _, name := range []string{"agents.html", "agent.html", "allow.html"} {
		source, err := pageFiles.ReadFile("pages/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`action="\{\{[$\w]*\.Path\}\}([^"]*)"`).FindAllStringSubmatch(string(source), -1) {
			posted = append(posted, found[1])
		}
	}
	words := texts(t)
	var known []string
	for _, f := range (&pageHandler{policy: OwnerApproval(nil)}).allForms() {
		known = append(known, f.path)
		if !slices.Contains(posted, f.path) {
			t.Errorf("no form of the pages leads to %s", f.path)
		}
		if words["owner.done."+f.done] == "" {
			t.Errorf("the pages say nothing when %s is done", f.path)
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
	n := 0
	for key := range texts(t) {
		name, ofReason := strings.CutPrefix(key, "owner.reason.")
		if !ofReason {
			continue
		}
		n++
		if !slices.ContainsFunc(reasons.All(), func(row reasons.Row) bool { return row.Code == name }) {
			t.Errorf("there is no reason %s", name)
		}
	}
	if n < 5 {
		t.Errorf("found %d reasons", n)
	}
}

// TestTextsOfPages: every text that a template takes by name is there, and every text is
// taken by a template or by the code.
func TestTextsOfPages(t *testing.T) {
	var sources strings.Builder
	files, _ := filepath.Glob("*.go")
	for _, file := range append(files, "pages/agents.html", "pages/agent.html", "pages/confirm.html", "pages/allow.html") {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(source)
	}
	words := texts(t)
	for _, found := range regexp.MustCompile(`"(owner\.[\w.-]*\w)"`).FindAllStringSubmatch(sources.String(), -1) {
		if words[found[1]] == "" && words[found[1]+".other"] == "" {
			t.Errorf("there is no text %s", found[1])
		}
	}
	built := regexp.MustCompile(`^owner\.(done|allow\.wrong|deed|reason|state|actions|detail\.how|agent\.as)\.`)
	for key := range words {
		stem := strings.TrimSuffix(strings.TrimSuffix(key, ".one"), ".other")
		if !built.MatchString(key) && !strings.Contains(sources.String(), `"`+stem+`"`) {
			t.Errorf("nothing uses the text %s", key)
		}
	}
}
