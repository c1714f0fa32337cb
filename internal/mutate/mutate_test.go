package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fixture returns a module of its own with the packages in testdata.
func fixture(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/fixture")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/fixture\n\ngo 1.26.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (o *options) mustRun(t *testing.T) (survived int, out string) {
	t.Helper()
	var printed bytes.Buffer
	o.out, o.parallel, o.patience = &printed, 2, time.Second
	survived, err := o.run(context.Background())
	if err != nil {
		t.Fatalf("%v\n%s", err, printed.String())
	}
	return survived, printed.String()
}

// lines returns the lines of out that have this beginning, from the file name on.
func lines(out, beginning string) (found []string) {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, beginning) {
			found = append(found, line[strings.LastIndex(line[:strings.Index(line, ".go:")], " ")+1:])
		}
	}
	slices.Sort(found)
	return found
}

// TestSurvivors: what no test notices is found, and a test in another package is one.
func TestSurvivors(t *testing.T) {
	dir := fixture(t)
	before := snapshot(t, dir)
	// With seed 3, "owner" is removed, which a test with nobody but an owner would notice.
	survived, out := (&options{dir: dir, packages: []string{"./door", "./house"}, seeds: []uint64{3}, n: 100}).mustRun(t)
	if survived != 1 || !strings.Contains(out, "1 of 5 survived") {
		t.Errorf("%d survived:\n%s", survived, out)
	}
	if diff := cmp.Diff([]string{"door/door.go:9: owner -> ((owner) && false)\n"}, lines(out, "survivor: ")); diff != "" {
		t.Errorf("survivors:\n%s", diff)
	}
	for _, line := range lines(out, "killed") {
		if strings.Contains(line, "n > 9") && !strings.HasSuffix(line, " by TestDoors\n") {
			t.Errorf("killed by another test: %s", line)
		}
	}
	if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
		t.Errorf("the tree was changed:\n%s", diff)
	}
}

func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, name := range []string{"door/door.go", "house/house.go", "go.mod"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	return files
}

// TestDrawDependsOnSeed: a seed draws the same each time, and another one something else.
func TestDrawDependsOnSeed(t *testing.T) {
	all := []condition{{text: "1"}, {text: "2"}, {text: "3"}, {text: "4"}}
	names := func(seed uint64) (texts []string) {
		for _, m := range draw(all, seed) {
			texts = append(texts, m.change+" "+m.text)
		}
		return texts
	}
	if diff := cmp.Diff(names(1), names(1)); diff != "" || len(names(1)) != 4 {
		t.Errorf("drawn %q, then:\n%s", names(1), diff)
	}
	if cmp.Equal(names(1), names(2)) {
		t.Errorf("two seeds drew %q", names(1))
	}
}

// TestConditions: what counts as a condition, and what its removal makes of it.
func TestConditions(t *testing.T) {
	dir := t.TempDir()
	source := `package p

type T[K any] struct{}

func (t *T[K]) f(a, b, c bool, n int) (s string, ok bool) {
	if (a && b) || !c {
		return "", n > 1
	}
	for n < 3 {
		n++
	}
	switch {
	case a, b:
	}
	switch n {
	case 4:
	}
	g := func() bool { return n == 5 }
	return "", true
}
`
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := (&listed{ImportPath: "p", Dir: dir, GoFiles: []string{"p.go"}}).conditions(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range found {
		if c.function != "T.f" || c.file != "p.go" {
			t.Errorf("%q in %s", c.function, c.file)
		}
		got = append(got, mutant{c, "remove"}.mutated(c.text))
	}
	want := []string{
		"(((a && b) || !c) && false)", "((a && b) && false)", "((!c) && false)", "(a || true)", "(b || true)",
		"(n > 1 || true)", "((n < 3) && false)", "((a) && false)", "((b) && false)", "(n == 5 || true)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEquivalents: they are counted apart, and one that matches nothing is an error.
func TestEquivalents(t *testing.T) {
	dir := fixture(t)
	known := "# why\n\ndoor/door.go\tMayEnter\tremove\towner\tnobody owns it\n" + "door/door.go\tMayEnter\tnegate\towner\tnobody owns it\n"
	survived, out := (&options{dir: dir, packages: []string{"./door"}, seeds: []uint64{1}, n: 100, known: known}).mustRun(t)
	if survived != 0 || !strings.Contains(out, "0 of 4 survived, 1 known equivalents apart") {
		t.Errorf("%d survived:\n%s", survived, out)
	}
	for _, bad := range []string{
		"door/door.go\tMayEnter\tremove\tmember && owner\tgone\n", "door/door.go\tKind\tremove\towner\tanother function\n",
		"door/door.go\tMayEnter\tremove\towner\n", "door/door.go\tMayEnter\tremove\towner\t \n", "door/door.go\tMayEnter\tflip\towner\tx\n",
	} {
		o := &options{dir: dir, packages: []string{"./door"}, seeds: []uint64{1}, n: 1, known: bad, out: &bytes.Buffer{}}
		if _, err := o.run(context.Background()); err == nil || !strings.Contains(err.Error(), "equivalent.txt line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestKnown: equivalent.txt fits the code as it is.
func TestKnown(t *testing.T) {
	m, err := loadModule(context.Background(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	all, err := m.conditions()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseEquivalents(known, all); err != nil {
		t.Error(err)
	}
}

// TestRequirementsNotice: whatever is broken that a site links, the suites by
// requirement are asked right after the package's own tests.
func TestRequirementsNotice(t *testing.T) {
	m, err := loadModule(context.Background(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := m.choose(context.Background(), nil)
	if err != nil || len(chosen) < 20 {
		t.Fatalf("%d packages, %v", len(chosen), err)
	}
	for pkg := range chosen {
		suites := m.couldNotice(pkg)
		at := slices.IndexFunc(suites, func(p *listed) bool { return strings.HasSuffix(p.ImportPath, requirements) })
		if own := suites[0].ImportPath == pkg; at != 0 && !(own && at == 1) {
			t.Errorf("%s: place %d", pkg, at)
		}
	}
}

// TestFailsWithoutMutation: where tests fail anyway, nothing can be said.
func TestFailsWithoutMutation(t *testing.T) {
	dir := fixture(t)
	broken := "package door\n\nimport \"testing\"\n\nfunc TestBroken(t *testing.T) { t.Error() }\n"
	if err := os.WriteFile(filepath.Join(dir, "door", "broken_test.go"), []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &options{dir: dir, packages: []string{"./door"}, seeds: []uint64{1}, n: 1, out: &bytes.Buffer{}}
	if _, err := o.run(context.Background()); err == nil || !strings.Contains(err.Error(), "fails without a mutation") {
		t.Error(err)
	}
}

// TestRewrite: conditions stand where they stood, and nested ones are both there.
func TestRewrite(t *testing.T) {
	source := `// Package p is for a test.
package p // has a comment

func f(a, b, c bool, n int) bool {
	if (a && b) || !(n > 1 && c) {
		return n == 3 || c
	}
	switch {
	case a, n < 4:
	}
	return true
}
`
	want := `// Package p is for a test.
package p; import choice_ "m/choice" // has a comment

func f(a, b, c bool, n int) bool {
	if choice_.Value(1, (choice_.Value(2, choice_.Value(4, a) && choice_.Value(5, b))) || choice_.Value(3, !(choice_.Value(6, n > 1) == true && choice_.Value(7, c)))) {
		return choice_.Value(8, choice_.Value(9, n == 3) == true || choice_.Value(10, c))
	}
	switch {
	case choice_.Value(11, a), choice_.Value(12, n < 4) == true:
	}
	return true
}
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := (&listed{ImportPath: "p", Dir: dir, GoFiles: []string{"p.go"}}).conditions(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i].number = i + 1
	}
	got, err := rewrite([]byte(source), found, "m/choice")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestMeaning: with no mutant chosen the tests pass, whatever kind of bool a condition
// has and whenever it is evaluated. What hangs with a mutant only is noticed, and what
// tests notice only together is noticed too.
func TestMeaning(t *testing.T) {
	o := &options{dir: fixture(t), packages: []string{"./gate"}, every: true}
	_, out := o.mustRun(t)
	want := []string{
		"gate/gate.go:13: !steep -> (!steep || true)\n", "gate/gate.go:13: height(3) > 2 -> (height(3) > 2 || true)\n",
		"gate/gate.go:25: !false -> (!false || true)\n",
	}
	if diff := cmp.Diff(want, lines(out, "survivor: ")); diff != "" {
		t.Errorf("%s\n%s", diff, out)
	}
	if diff := cmp.Diff([]string{"gate/gate.go:31: waited < rounds -> !(waited < rounds) by example.com/fixture/gate\n"}, lines(out, "hung")); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(out, " by TestRingAgain, with others\n"); n != 2 {
		t.Errorf("%d mutants are noticed by tests together:\n%s", n, out)
	}
}

// TestAt: one line can be tried again, and what no test reaches is alive.
func TestAt(t *testing.T) {
	o := &options{dir: fixture(t), packages: []string{"./door", "./house"}, at: "door/door.go:15"}
	_, out := o.mustRun(t)
	if !strings.Contains(out, "0 of 2 survived") {
		t.Error(out)
	}
	if err := os.Remove(filepath.Join(o.dir, "house/house_test.go")); err != nil {
		t.Fatal(err)
	}
	if _, out = o.mustRun(t); !strings.Contains(out, "2 of 2 survived") || !strings.Contains(out, ": no test reaches it") {
		t.Error(out)
	}
}

// TestSeeds: each seed has a draw of its own, and no mutant runs twice.
func TestSeeds(t *testing.T) {
	o := options{dir: fixture(t), packages: []string{"./door"}, n: 100}
	if err := o.parseSeeds("3,3"); err != nil {
		t.Fatal(err)
	}
	_, out := o.mustRun(t)
	if n := len(lines(out, "killed")) + len(lines(out, "SURVIVED")); n != 5 || strings.Count(out, " of 5 survived") != 2 {
		t.Errorf("%d runs:\n%s", n, out)
	}
	if err := o.parseSeeds("1,x"); err == nil {
		t.Error("seed x was taken")
	}
}
