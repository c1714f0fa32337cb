package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A condition is a boolean expression that decides something.
type condition struct {
	number      int    // among those of the module, from 1
	first, last int    // numbers in its package
	pkg         string // import path
	file        string // relative to the module
	function    string // "Type.method" for a method, empty outside of functions
	line        int
	start, end  int    // offsets in the file
	text        string // as it is written, on one line
	neutral     string // the value that it has no effect with
	untyped     bool   // a comparison, which goes with each kind of bool
}

// A mutant is a condition with one change.
type mutant struct {
	condition
	change string // "negate" or "remove"
}

var changes = [...]string{"negate", "remove"}

// String says where the mutant is and what it has in place of what.
func (m mutant) String() string {
	return fmt.Sprintf("%s:%d: %s -> %s", m.file, m.line, m.text, m.mutated(m.text))
}

// key is what equivalent.txt names the mutant by.
func (m mutant) key() string {
	return strings.Join([]string{m.file, m.function, m.change, m.text}, "\t")
}

// mutated changes a condition. One that is removed is still evaluated, so that its
// variables are used and the mutant builds.
func (m mutant) mutated(text string) string {
	switch {
	case m.change == "negate":
		return "!(" + text + ")"
	case m.neutral == "true":
		return "(" + text + " || true)"
	}
	return "((" + text + ") && false)"
}

// choice is what package choice is told to run the mutant.
func (m mutant) choice() string {
	if m.change == "negate" {
		return fmt.Sprint(m.number, " negate")
	}
	return fmt.Sprint(m.number, " ", m.neutral)
}

// of returns the conditions of the chosen packages.
func of(all []condition, chosen map[string]bool) (found []condition) {
	for _, c := range all {
		if chosen[c.pkg] {
			found = append(found, c)
		}
	}
	return found
}

// draw returns one mutant of each condition, in an order that depends on the seed.
func draw(conditions []condition, seed uint64) (mutants []mutant) {
	random := rand.New(rand.NewPCG(seed, 0))
	for _, c := range conditions {
		mutants = append(mutants, mutant{c, changes[random.IntN(2)]})
	}
	random.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
	return mutants
}

// both returns both mutants of each condition of a file, of a line as "file:line",
// or of all files if there is none.
func both(conditions []condition, at string) (mutants []mutant) {
	for _, c := range conditions {
		if at != "" && at != c.file && at != fmt.Sprint(c.file, ":", c.line) {
			continue
		}
		for _, change := range changes {
			mutants = append(mutants, mutant{c, change})
		}
	}
	return mutants
}

// conditions returns those of all packages.
func (m *module) conditions() (all []condition, err error) {
	for _, p := range m.packages {
		if strings.HasSuffix(p.ImportPath, choicePath) {
			continue
		}
		found, err := p.conditions(m.dir)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].number, found[i].first, found[i].last = len(all)+i+1, len(all)+1, len(all)+len(found)
		}
		all = append(all, found...)
	}
	return all, nil
}

// conditions returns the conditions of a package in the order of its files.
func (p *listed) conditions(dir string) ([]condition, error) {
	var all []condition
	for _, name := range p.GoFiles {
		path := filepath.Join(p.Dir, name)
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		c := collector{pkg: p.ImportPath, file: filepath.ToSlash(relative), source: source, set: token.NewFileSet()}
		parsed, err := parser.ParseFile(c.set, path, source, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range parsed.Decls {
			c.function, c.results = "", nil
			if f, ok := decl.(*ast.FuncDecl); ok {
				c.function, c.results = functionName(f), f.Type.Results
			}
			ast.Inspect(decl, c.visit)
		}
		all = append(all, c.found...)
	}
	return all, nil
}

func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	switch generic := receiver.(type) {
	case *ast.IndexExpr:
		receiver = generic.X
	case *ast.IndexListExpr:
		receiver = generic.X
	}
	return fmt.Sprint(receiver, ".", f.Name.Name)
}

// A collector gathers the conditions of one file.
type collector struct {
	pkg, file, function string
	source              []byte
	set                 *token.FileSet
	results             *ast.FieldList // of the function that is visited
	found               []condition
}

func (c *collector) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit:
		inner := *c
		inner.results = n.Type.Results
		ast.Inspect(n.Body, inner.visit)
		c.found = inner.found
		return false
	case *ast.GenDecl:
		return n.Tok != token.CONST // which no call can be in
	case *ast.IfStmt:
		c.add(n.Cond, "false")
	case *ast.ForStmt:
		c.add(n.Cond, "false") // with true it might never end
	case *ast.SwitchStmt:
		if n.Tag == nil {
			c.cases(n.Body)
		}
	case *ast.BinaryExpr:
		switch n.Op {
		case token.LAND:
			c.add(n.X, "true")
			c.add(n.Y, "true")
		case token.LOR:
			c.add(n.X, "false")
			c.add(n.Y, "false")
		}
	case *ast.ReturnStmt:
		c.returned(n)
	}
	return true
}

func (c *collector) cases(body *ast.BlockStmt) {
	for _, s := range body.List {
		for _, e := range s.(*ast.CaseClause).List {
			c.add(e, "false")
		}
	}
}

// returned adds what is returned for a bool.
func (c *collector) returned(n *ast.ReturnStmt) {
	if c.results == nil || len(n.Results) != c.results.NumFields() {
		return
	}
	i := 0
	for _, field := range c.results.List {
		for range max(len(field.Names), 1) {
			if kind, ok := field.Type.(*ast.Ident); ok && kind.Name == "bool" {
				c.add(n.Results[i], "true")
			}
			i++
		}
	}
}

// add adds a condition, once, and no constant.
func (c *collector) add(e ast.Expr, neutral string) {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			break
		}
		e = p.X
	}
	if e == nil {
		return
	}
	if _, isName := e.(*ast.Ident); isName && isUntyped(e) {
		return
	}
	start, end := c.set.Position(e.Pos()), c.set.Position(e.End())
	if slices.ContainsFunc(c.found, func(f condition) bool { return f.start == start.Offset && f.end == end.Offset }) {
		return
	}
	text := bytes.Join(bytes.Fields(c.source[start.Offset:end.Offset]), []byte(" "))
	c.found = append(c.found, condition{
		pkg: c.pkg, file: c.file, function: c.function, line: start.Line,
		start: start.Offset, end: end.Offset, text: string(text), neutral: neutral, untyped: isUntyped(e),
	})
}

func isUntyped(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "true" || e.Name == "false"
	case *ast.ParenExpr:
		return isUntyped(e.X)
	case *ast.UnaryExpr:
		return e.Op == token.NOT && isUntyped(e.X)
	case *ast.BinaryExpr:
		return e.Op != token.LAND && e.Op != token.LOR || isUntyped(e.X) && isUntyped(e.Y)
	}
	return false
}
