package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authagent-go/authagent/internal/mutate/choice"
)

// A suite is the tests of a package, built with all mutants.
type suite struct {
	pkg      *listed
	binary   string
	patience time.Duration
	tests    []*test // the quickest first

	mu      sync.Mutex
	noticed map[string]map[*test]bool // by function: tests that noticed a mutant there
}

// A test is a test, an example or a fuzz target with its seeds.
type test struct {
	name    string
	took    time.Duration // alone
	reached map[int]bool  // conditions by number
}

// slowTest is how long a test takes that is run after all others.
const slowTest = 700 * time.Millisecond

// suite builds and measures the tests of a package, once.
func (m *module) suite(ctx context.Context, p *listed) (*suite, error) {
	m.building.Lock()
	defer m.building.Unlock()
	if s, ok := m.suites[p]; ok {
		return s, nil
	}
	s := &suite{pkg: p, patience: m.patience, noticed: make(map[string]map[*test]bool)}
	s.binary = filepath.Join(m.scratch, fmt.Sprint(len(m.suites), ".test"))
	if _, err := m.goCommand(ctx, "test", "-c", "-vet=off", "-ldflags=-w", "-overlay", m.overlay, "-o", s.binary, p.ImportPath); err != nil {
		return nil, err
	}
	if err := s.measure(ctx, m.parallel); err != nil {
		return nil, fmt.Errorf("%s: %w", p.ImportPath, err)
	}
	m.suites[p] = s
	return s, nil
}

// measure runs each test alone, without a mutant. It must pass. What it reaches and how
// long it takes says which tests to run for a mutant.
func (s *suite) measure(ctx context.Context, parallel int) error {
	list := exec.CommandContext(ctx, s.binary, "-test.list", "^(Test|Example|Fuzz)")
	list.Dir = s.pkg.Dir
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("list tests: %w", err)
	}
	for _, name := range strings.Fields(string(out)) {
		s.tests = append(s.tests, &test{name: name})
	}
	errs := make([]error, len(s.tests))
	each(parallel, len(s.tests), func(i int) {
		errs[i] = s.measureTest(ctx, s.tests[i])
	})
	slices.SortStableFunc(s.tests, func(a, b *test) int { return cmp.Compare(a.took, b.took) })
	return errors.Join(errs...)
}

func (s *suite) measureTest(ctx context.Context, t *test) error {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "reached")
	r := run{env: choice.Reached + "=" + file, limit: 20 * time.Minute, tests: []*test{t}}
	began := time.Now()
	result, _, err := s.run(ctx, r)
	t.took = time.Since(began)
	if err == nil && result != alive {
		// The machine may be busy. What fails again is broken.
		result, _, err = s.run(ctx, r)
	}
	if err != nil {
		return err
	}
	if result != alive {
		return fmt.Errorf("fails without a mutation: %s", t.name)
	}
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	t.reached = make(map[int]bool)
	for _, number := range strings.Fields(string(data)) {
		n, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		t.reached[n] = true
	}
	return nil
}

// A run is a call of the test binary.
type run struct {
	env   string
	limit time.Duration
	tests []*test
}

// run returns alive if the tests pass, killed and the first test that failed if that can be
// told, or hung.
func (s *suite) run(ctx context.Context, r run) (result outcome, by *test, err error) {
	// The second limit is for what hangs before the tests begin.
	limited, stop := context.WithTimeout(ctx, r.limit+10*time.Second)
	defer stop()
	var names []string
	for _, t := range r.tests {
		names = append(names, t.name)
	}
	cmd := exec.CommandContext(limited, s.binary, "-test.paniconexit0", "-test.failfast",
		"-test.timeout", r.limit.String(), "-test.run", "^("+strings.Join(names, "|")+")$")
	cmd.Dir, cmd.WaitDelay = s.pkg.Dir, 5*time.Second
	cmd.Env = append(cmd.Environ(), r.env)
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "", nil, context.Cause(ctx)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return alive, nil, nil
	case limited.Err() != nil, bytes.Contains(out, []byte("panic: test timed out after")):
		return hung, nil, nil
	}
	if match := failure.FindSubmatch(out); match != nil {
		if i := slices.IndexFunc(r.tests, func(t *test) bool { return t.name == string(match[1]) }); i >= 0 {
			by = r.tests[i]
		}
	}
	return killed, by, nil
}

var failure = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// near returns the tests that reach any condition of the mutant's package.
func (s *suite) near(m mutant) (tests []*test) {
	for _, t := range s.tests {
		for number := range t.reached {
			if m.first <= number && number <= m.last {
				tests = append(tests, t)
				break
			}
		}
	}
	return tests
}

// batches returns the tests that reach the mutant's condition, in the order to run them.
// Those are first that noticed something in the same function. A batch takes seconds.
func (s *suite) batches(m mutant, slow bool) (batches [][]*test) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first, batch []*test
	var took time.Duration
	noticed := s.noticed[m.file+m.function]
	for _, t := range s.tests {
		switch {
		case !t.reached[m.number] || (t.took >= slowTest) != slow:
		case noticed[t]:
			first = append(first, t)
		case took+t.took > 3*time.Second && len(batch) > 0:
			batches = append(batches, batch)
			batch, took = []*test{t}, t.took
		default:
			batch, took = append(batch, t), took+t.took
		}
	}
	return slices.DeleteFunc(slices.Insert(append(batches, batch), 0, first), func(b []*test) bool { return len(b) == 0 })
}

// each calls do with 0 to n-1, some at once.
func each(parallel, n int, do func(i int)) {
	places := make(chan struct{}, max(parallel, 1))
	var wg sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			do(i)
		})
	}
	wg.Wait()
}
