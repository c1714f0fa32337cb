package requirements_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/authagent-go/authagent"

// secretFields are what an attacker may try to guess byte by byte: package, type, field.
var secretFields = []string{
	modulePath + ".login.State", modulePath + ".login.Verifier", modulePath + ".login.Nonce",
	modulePath + ".Config.ClientSecret",
	modulePath + "/internal/wire.Token.Access", modulePath + "/internal/wire.Token.Refresh",
	"golang.org/x/oauth2.Token.AccessToken",
	modulePath + "/internal/identity.proofs.nonce", modulePath + "/internal/identity.proofs.accessTokenHash",
}

// TestConstantTime_TXN_14: TXN-14. No comparison that stops at the first difference gets a
// secret, under whatever name it is passed on within a package. Whether one is empty
// may be asked.
func TestConstantTime_TXN_14(t *testing.T) {
	search := newSecretSearch(t, ".", "./internal/...")
	for _, p := range search.packages {
		for _, found := range search.in(t, p) {
			t.Error(found)
		}
	}
	for _, field := range secretFields {
		if !search.seen[field] {
			t.Errorf("no package uses %s any more", field)
		}
	}
}

// TestConstantTimeFinds: the search finds what it is for.
func TestConstantTimeFinds(t *testing.T) {
	search := newSecretSearch(t, "golang.org/x/oauth2")
	const source = `package p

import ("bytes"; "crypto/subtle"; "golang.org/x/oauth2")

func f(token *oauth2.Token, given string) bool {
	if token.AccessToken == "" || subtle.ConstantTimeCompare([]byte(token.AccessToken), []byte(given)) == 1 {
		return true
	}
	t := token.AccessToken
	return token.AccessToken == given || t != given || bytes.Equal([]byte(given), []byte(t[1:])) || g(given, t)
}

func g(a, b string) bool { return a == b }
`
	found := search.in(t, &listedPackage{ImportPath: "p", sources: map[string]string{"p.go": source}})
	if len(found) != 4 {
		t.Errorf("%d found, want 4: %q", len(found), found)
	}
}

type listedPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
	sources                 map[string]string // in place of files
}

// A secretSearch looks for secrets in comparisons.
type secretSearch struct {
	set      *token.FileSet
	packages []*listedPackage
	importer types.Importer
	seen     map[string]bool // of secretFields
}

// newSecretSearch lists packages, with the compiled form of all that they import.
func newSecretSearch(t *testing.T, patterns ...string) *secretSearch {
	t.Helper()
	list := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly"}, patterns...)...)
	list.Dir = repository
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	s := &secretSearch{set: token.NewFileSet(), seen: make(map[string]bool)}
	exports := make(map[string]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listedPackage)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			s.packages = append(s.packages, p)
		}
	}
	s.importer = importer.ForCompiler(s.set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return s
}

// in returns the comparisons of a package that have a secret.
func (s *secretSearch) in(t *testing.T, p *listedPackage) (found []string) {
	t.Helper()
	var files []*ast.File
	add := func(name string, source any) {
		file, err := parser.ParseFile(s.set, name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, name := range p.GoFiles {
		add(filepath.Join(p.Dir, name), nil)
	}
	for name, source := range p.sources {
		add(name, source)
	}
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	pkg, err := (&types.Config{Importer: s.importer}).Check(p.ImportPath, s.set, files, info)
	if err != nil {
		t.Fatal(err)
	}
	flow := &secretFlow{secretSearch: s, pkg: pkg, info: info, names: make(map[types.Object]bool)}
	for flow.spread(files) { // until no further name has a secret
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if ok && flow.secret(e) {
				return false
			}
			if ok && flow.compares(e) {
				found = append(found, fmt.Sprintf("%s: %s", s.set.Position(e.Pos()), types.ExprString(e)))
			}
			return true
		})
	}
	return found
}

// A secretFlow knows which names of a package have a secret.
type secretFlow struct {
	*secretSearch
	pkg   *types.Package
	info  *types.Info
	names map[types.Object]bool
}

// spread passes secrets on by assignments and arguments; it reports whether any name
// was added.
func (f *secretFlow) spread(files []*ast.File) bool {
	before := len(f.names)
	pass := func(to types.Object, e ast.Expr) {
		if to != nil && f.secret(e) {
			f.names[to] = true
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i := range n.Lhs {
					if name, ok := n.Lhs[i].(*ast.Ident); ok && len(n.Lhs) == len(n.Rhs) {
						pass(f.info.ObjectOf(name), n.Rhs[i])
					}
				}
			case *ast.CallExpr:
				if callee, ok := f.info.TypeOf(n.Fun).(*types.Signature); ok && f.own(n.Fun) {
					for i := range min(len(n.Args), callee.Params().Len()) {
						pass(callee.Params().At(i), n.Args[i])
					}
				}
			}
			return true
		})
	}
	return len(f.names) > before
}

// own reports whether a call is of a function of the package itself, whose parameters
// are names of its source.
func (f *secretFlow) own(callee ast.Expr) bool {
	name, ok := callee.(*ast.Ident)
	if selector, is := callee.(*ast.SelectorExpr); is {
		name, ok = selector.Sel, true
	}
	if !ok {
		return false
	}
	function, ok := f.info.Uses[name].(*types.Func)
	return ok && function.Pkg() == f.pkg
}

// secret reports whether an expression is a secret, or a part or another type of one.
func (f *secretFlow) secret(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return f.secret(e.X)
	case *ast.SliceExpr:
		return f.secret(e.X)
	case *ast.Ident:
		return f.names[f.info.ObjectOf(e)]
	case *ast.CallExpr:
		return len(e.Args) == 1 && f.info.Types[e.Fun].IsType() && f.secret(e.Args[0])
	case *ast.SelectorExpr:
		selection := f.info.Selections[e]
		if selection == nil || selection.Kind() != types.FieldVal {
			return false
		}
		owner := selection.Recv()
		if pointer, ok := owner.(*types.Pointer); ok {
			owner = pointer.Elem()
		}
		name := types.TypeString(owner, nil) + "." + e.Sel.Name
		is := slices.Contains(secretFields, name)
		f.seen[name] = f.seen[name] || is
		return is
	}
	return false
}

// compares reports whether an expression compares a secret with something that is no
// constant, and stops at the first difference.
func (f *secretFlow) compares(e ast.Expr) bool {
	leaks := func(e, with ast.Expr) bool {
		made, ok := with.(*ast.CallExpr) // of the secret itself, which tells nobody anything
		itself := ok && slices.ContainsFunc(made.Args, func(a ast.Expr) bool { return types.ExprString(a) == types.ExprString(e) })
		return f.secret(e) && f.info.Types[with].Value == nil && !itself
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return (e.Op == token.EQL || e.Op == token.NEQ) && (leaks(e.X, e.Y) || leaks(e.Y, e.X))
	case *ast.CallExpr:
		callee, ok := e.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		function, ok := f.info.Uses[callee.Sel].(*types.Func)
		if !ok || function.Pkg() == nil || !slices.Contains([]string{"bytes", "strings", "slices", "reflect"}, function.Pkg().Path()) {
			return false
		}
		comparing := []string{"Equal", "EqualFold", "Compare", "Contains", "HasPrefix", "HasSuffix", "Index", "DeepEqual"}
		return slices.ContainsFunc(comparing, func(name string) bool { return strings.HasPrefix(function.Name(), name) }) &&
			slices.ContainsFunc(e.Args, f.secret)
	}
	return false
}
