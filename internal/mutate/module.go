package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir, Name              string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	uses                               map[string]bool // packages of the module that its tests are built from
	took                               time.Duration   // by its tests
	slow                               []string        // tests that go last
}

func (p *listed) hasTests() bool { return len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 }

type module struct {
	dir      string
	short    bool
	packages []*listed
}

// loadModule lists the packages of the module in dir.
func loadModule(ctx context.Context, dir string, short bool) (*module, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	m := &module{dir: dir, short: short}
	out, err := m.goCommand(ctx, "list", "-json=ImportPath,Dir,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	if err != nil {
		return nil, err
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listed)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		m.packages = append(m.packages, p)
	}
	by := make(map[string]*listed)
	for _, p := range m.packages {
		by[p.ImportPath] = p
	}
	for _, p := range m.packages {
		p.uses = map[string]bool{p.ImportPath: true}
		for queue := slices.Concat(p.Imports, p.TestImports, p.XTestImports); len(queue) > 0; queue = queue[1:] {
			if next := by[queue[0]]; next != nil && !p.uses[next.ImportPath] {
				p.uses[next.ImportPath] = true
				queue = append(queue, next.Imports...)
			}
		}
	}
	return m, nil
}

func (m *module) goCommand(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, fmt.Errorf("go %s: %w\n%s", args[0], err, exit.Stderr)
	}
	return out, err
}

// choose returns the packages that are named. Unless there are any, it returns
// what a site links: the root, grants and what they import.
func (m *module) choose(ctx context.Context, named []string) (map[string]bool, error) {
	args := append([]string{"list"}, named...)
	if len(named) == 0 {
		args = []string{"list", "-deps", ".", "./grants"}
	}
	out, err := m.goCommand(ctx, args...)
	if err != nil {
		return nil, err
	}
	printed := strings.Fields(string(out))
	chosen := make(map[string]bool)
	for _, p := range m.packages {
		if slices.Contains(printed, p.ImportPath) {
			chosen[p.ImportPath] = true
		}
	}
	return chosen, nil
}

// requirements is the end of the path of the package that tests all others from outside.
const requirements = "/internal/requirements"

// suites returns the packages whose tests could notice a change in pkg: its own first,
// then the suites by requirement, which notice most, then those that take least.
// Commands are last.
func (m *module) suites(pkg string) []*listed {
	var suites []*listed
	for _, p := range m.packages {
		if p.hasTests() && p.uses[pkg] {
			suites = append(suites, p)
		}
	}
	rank := func(p *listed) int {
		switch {
		case p.ImportPath == pkg:
			return 0
		case strings.HasSuffix(p.ImportPath, requirements):
			return 1
		case p.Name != "main":
			return 2
		}
		return 3
	}
	slices.SortStableFunc(suites, func(a, b *listed) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.took, b.took))
	})
	return suites
}

// slowTest is how long a test takes that is run after the others of its package.
const slowTest = 700 * time.Millisecond

// measure runs the tests without a mutation. They must pass, and how long they take
// sets their order and their timeout.
func (m *module) measure(ctx context.Context, mutants []mutant) error {
	suites := make(map[string]*listed)
	for _, mutant := range mutants {
		for _, p := range m.suites(mutant.pkg) {
			suites[p.ImportPath] = p
		}
	}
	if len(suites) == 0 {
		return errors.New("no test could notice anything")
	}
	args := append(m.testFlags(), "-json")
	out, err := m.goCommand(ctx, append(args, slices.Sorted(maps.Keys(suites))...)...)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var e struct {
			Action, Package, Test string
			Elapsed               float64
		}
		if d.Decode(&e) != nil {
			break
		}
		p, took := suites[e.Package], time.Duration(e.Elapsed*float64(time.Second))
		switch {
		case e.Action == "fail":
			return fmt.Errorf("fails without a mutation: %s %s", e.Package, e.Test)
		case e.Action != "pass" || p == nil:
		case e.Test == "":
			p.took = took
		case took >= slowTest && !strings.Contains(e.Test, "/"):
			p.slow = append(p.slow, regexp.QuoteMeta(e.Test))
		}
	}
	return err
}

func (m *module) testFlags() []string {
	flags := []string{"test", "-vet=off", "-failfast"}
	if m.short {
		flags = append(flags, "-short")
	}
	return flags
}

type outcome string

const (
	killed  outcome = "killed"
	alive   outcome = "SURVIVED"
	unbuilt outcome = "no build"
	failed  outcome = "failed"
)

// try runs the tests that could notice a mutant until one does. It also returns
// which that was.
func (m *module) try(ctx context.Context, mutant mutant) (result outcome, by string) {
	overlay, err := m.overlay(mutant)
	if err != nil {
		return failed, ": " + err.Error()
	}
	defer os.RemoveAll(filepath.Dir(overlay))
	// All the quick tests come before any slow one.
	for _, slow := range [...]bool{false, true} {
		for _, p := range m.suites(mutant.pkg) {
			args := append(m.testFlags(), "-overlay", overlay, "-timeout", (4*p.took + time.Minute).String())
			names := "^(" + strings.Join(p.slow, "|") + ")$"
			switch {
			case slow && len(p.slow) == 0:
				continue
			case slow:
				args = append(args, "-run", names)
			case len(p.slow) > 0:
				args = append(args, "-skip", names)
			}
			out, err := m.goCommand(ctx, append(args, p.ImportPath)...)
			switch {
			case ctx.Err() != nil:
				return failed, ""
			case err == nil:
			case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
				return unbuilt, ""
			default:
				return killed, " by " + cmp.Or(firstFailure(out), p.ImportPath)
			}
		}
	}
	return alive, ""
}

// firstFailure returns the first test that failed.
func firstFailure(out []byte) string {
	match := regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`).FindSubmatch(out)
	if match == nil {
		return ""
	}
	return string(match[1])
}

// overlay writes a mutant and the overlay that puts it in place of its file.
func (m *module) overlay(mutant mutant) (path string, err error) {
	source, err := mutant.source(m.dir)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, filepath.Base(mutant.file))
	data, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(m.dir, mutant.file): changed}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, errors.Join(os.WriteFile(changed, source, 0o600), os.WriteFile(path, data, 0o600))
}
