package authagent_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRequirements finds the tests of each requirement by the IDs in their text,
// and keeps the list in testdata/requirements-tests.txt.
func TestRequirements(t *testing.T) {
	data, err := os.ReadFile("testdata/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	covered := testsByRequirement(t)
	var list strings.Builder
	for line := range strings.Lines(string(data)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		level, _, _ := strings.Cut(rest, "\t")
		tests := covered[id]
		slices.Sort(tests)
		fmt.Fprintf(&list, "%s %s: %s\n", id, level, strings.Join(slices.Compact(tests), ", "))
		if len(tests) == 0 {
			t.Errorf("%s %s has no test", id, level)
		}
	}
	golden(t, "requirements-tests.txt", list.String())
}

// requirementID finds IDs of any area, also of one that is new in requirements.txt.
var requirementID = regexp.MustCompile(`\b([A-Z]{2,8})[-_](\d+)\b`)

// testsByRequirement reads every test of the root module that git knows of.
func testsByRequirement(t *testing.T) map[string][]string {
	t.Helper()
	files, err := exec.Command("git", "ls-files", "-co", "--exclude-standard", "--", "*_test.go").Output()
	if err != nil {
		t.Skip("not in a checkout: ", err)
	}
	covered := make(map[string][]string)
	for _, file := range strings.Fields(string(files)) {
		if file == "requirements_test.go" {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			continue // deleted, and not yet committed
		}
		for name, body := range testFunctions(t, file, source) {
			for _, m := range requirementID.FindAllSubmatch(body, -1) {
				id := string(m[1]) + "-" + string(m[2])
				covered[id] = append(covered[id], name)
			}
		}
	}
	return covered
}

// testFunctions returns the text of each test and fuzz target, with its comment.
func testFunctions(t *testing.T, file string, source []byte) map[string][]byte {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	functions := make(map[string][]byte)
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
			continue
		}
		start := f.Pos()
		if f.Doc != nil {
			start = f.Doc.Pos()
		}
		functions[f.Name.Name] = bytes.Clone(source[set.Position(start).Offset:set.Position(f.End()).Offset])
	}
	return functions
}
