package requirements_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRequirements finds the tests of each requirement by the IDs in their names and
// rows, and keeps the list in testdata/requirements-tests.txt.
func TestRequirements(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(repository, "testdata/requirements.txt"))
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

// requirementID and requirementInName find IDs of any area, also of one that is new
// in requirements.txt: SES-3 in a string, _SES_3 or _SES3 in the name of a function.
var (
	requirementID     = regexp.MustCompile(`\b([A-Z]{2,8})-(\d+)\b`)
	requirementInName = regexp.MustCompile(`_([A-Z]{2,8})_?(\d+)`)
)

// testsByRequirement reads every test of the repository that git knows of.
func testsByRequirement(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("git", "ls-files", "-co", "--exclude-standard", "--", "*_test.go")
	list.Dir = repository
	files, err := list.Output()
	if err != nil {
		t.Skip("not in a checkout: ", err)
	}
	covered := make(map[string][]string)
	for _, file := range strings.Fields(string(files)) {
		source, err := os.ReadFile(filepath.Join(repository, file))
		if err != nil || file == "internal/requirements/requirements_test.go" {
			continue // deleted, and not yet committed
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
				continue
			}
			for _, id := range requirementsOf(f) {
				covered[id] = append(covered[id], f.Name.Name)
			}
		}
	}
	return covered
}

// requirementsOf returns the IDs that a test says it is for: in its name, in the
// name of a subtest, or in a row of a table. What a comment or a message mentions
// is no claim that it is tested.
func requirementsOf(test *ast.FuncDecl) (ids []string) {
	add := func(pattern *regexp.Regexp, text string) {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			ids = append(ids, m[1]+"-"+m[2])
		}
	}
	add(requirementInName, test.Name.Name)
	take := func(text string) { add(requirementID, text) }
	ast.Inspect(test.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if isSubtest(n) {
				for _, argument := range n.Args[:len(n.Args)-1] {
					eachString(argument, take)
				}
			}
		case *ast.CompositeLit:
			for _, element := range n.Elts {
				eachString(element, take)
			}
		}
		return true
	})
	return ids
}

// isSubtest reports whether a call runs a function as a test of its own.
func isSubtest(call *ast.CallExpr) bool {
	if len(call.Args) < 2 {
		return false
	}
	if callee, ok := call.Fun.(*ast.SelectorExpr); ok && callee.Sel.Name == "Run" {
		return true
	}
	f, ok := call.Args[len(call.Args)-1].(*ast.FuncLit)
	if !ok || len(f.Type.Params.List) == 0 {
		return false
	}
	pointer, ok := f.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	kind, ok := pointer.X.(*ast.SelectorExpr)
	return ok && (kind.Sel.Name == "T" || kind.Sel.Name == "F")
}

// eachString passes the strings that an expression is put together from. What is
// inside of a function or of another table is not among them.
func eachString(e ast.Expr, take func(text string)) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			take(e.Value)
		}
	case *ast.BinaryExpr:
		eachString(e.X, take)
		eachString(e.Y, take)
	case *ast.KeyValueExpr:
		eachString(e.Key, take)
		eachString(e.Value, take)
	case *ast.CallExpr: // fmt.Sprint("SES-3 ", name)
		if callee, ok := e.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(callee.Sel.Name, "Sprint") {
			for _, argument := range e.Args {
				eachString(argument, take)
			}
		}
	}
}

// TestRequirementsOf: what counts as a test of a requirement, and what does not.
func TestRequirementsOf(t *testing.T) {
	const source = `package p

// TestA_AA_1 and AA-90.
func TestA_AA_1_AA2(t *testing.T) {
	t.Run("AA-3 one, AA-4", func(t *testing.T) { t.Error("AA-91") }) // AA-92
	t.Run(fmt.Sprint("AA-5 ", x), f)
	bubble(t, "AA-6"+y, func(t *testing.T) {})
	for _, test := range []struct{ name string }{
		{"AA-7 row"}, {name: "AA-8"},
		{name: "x", do: func() { fatal("AA-93") }},
		{name: say("AA-94")},
	} {
	}
	rows := map[string]int{"AA-9": 1}
	log("AA-95")
	if x != "AA-96" {
	}
}`
	parsed, err := parser.ParseFile(token.NewFileSet(), "p_test.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	got := requirementsOf(parsed.Decls[0].(*ast.FuncDecl))
	want := []string{"AA-1", "AA-2", "AA-3", "AA-4", "AA-5", "AA-6", "AA-7", "AA-8", "AA-9"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
