package reasons_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/reasons"
)

// TestTable: each reason that code names has one row, each row is named by one constant,
// and no row is answered like a reason that a site has made up.
func TestTable(t *testing.T) {
	named := append(constants(t, "reasons.go"), constants(t, "../../problem/problem.go")...)
	slices.Sort(named)
	var rows []string
	made := reasons.Of("made_up")
	for _, row := range reasons.All() {
		rows = append(rows, row.Code)
		if row.Title == made.Title || row.Detail == made.Detail || row.Status < 200 || row.Fault == "" || reasons.Of(row.Code) != row {
			t.Errorf("row %+v", row)
		}
	}
	slices.Sort(rows)
	if !slices.Equal(named, rows) {
		t.Errorf("constants %q\nrows %q", named, rows)
	}
}

// TestDocument: docs/reasons.md has the rows of the table, in its order.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, row := range reasons.All() {
		retry := ""
		if row.Has(reasons.Retry) {
			retry = "yes"
		}
		fmt.Fprintf(&want, "| `%s` | %d | %s | %s | %s |\n", row.Code, row.Status, row.Fault, retry, row.Detail)
	}
	if !strings.Contains(string(text), "|---|---|---|---|---|\n"+want.String()+"\n") {
		t.Errorf("docs/reasons.md is to have\n%s", want.String())
	}
}

// constants returns the values of the constants of reasons in a file.
func constants(t *testing.T, name string) (values []string) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	faults := []string{reasons.Agent, reasons.Site, reasons.Server, reasons.Network}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, _ := strconv.Unquote(lit.Value); !slices.Contains(faults, s) && !strings.Contains(s, " ") {
						values = append(values, s)
					}
				}
			}
		}
		return true
	})
	return values
}
