package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir, Name              string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	uses                               map[string]bool // packages of the module that its tests are built from
}

func (p *listed) hasTests() bool { return len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 }

type module struct {
	path, dir string
	packages  []*listed
	parallel  int
	patience  time.Duration

	scratch, overlay string // a folder for what is built, and a file in it

	building sync.Mutex
	suites   map[*listed]*suite
}

// loadModule lists the packages of the module in dir.
func loadModule(ctx context.Context, dir string) (*module, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	m := &module{dir: dir, suites: make(map[*listed]*suite)}
	path, err := m.goCommand(ctx, "list", "-m")
	if err != nil {
		return nil, err
	}
	m.path = strings.TrimSpace(string(path))
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

// couldNotice returns the packages whose tests could notice a change in pkg: its own
// first, then the tests by requirement, which notice most. Commands are last.
func (m *module) couldNotice(pkg string) []*listed {
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
		return cmp.Compare(rank(a), rank(b))
	})
	return suites
}
