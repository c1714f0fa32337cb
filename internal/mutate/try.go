package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/authagent-go/authagent/internal/mutate/choice"
)

type outcome string

const (
	killed outcome = "killed"
	alive  outcome = "SURVIVED"
	hung   outcome = "hung" // with the mutant and not without it, which counts as killed
)

// try runs the tests that reach a mutant, until one notices it. It also returns which
// that was. All quick tests come before any slow one. Before a mutant counts as alive,
// it runs all tests of each package that reaches it, without -short.
func (m *module) try(ctx context.Context, mutant mutant) (result outcome, by string, err error) {
	reached := false
	for _, slow := range [...]bool{false, true} {
		for _, p := range m.couldNotice(mutant.pkg) {
			s, err := m.suite(ctx, p)
			if err != nil {
				return "", "", err
			}
			for _, batch := range s.batches(mutant, slow) {
				reached = true
				if result, by, err := s.notices(ctx, mutant, batch); result != alive {
					return result, by, err
				}
			}
		}
	}
	for _, p := range m.couldNotice(mutant.pkg) {
		s, err := m.suite(ctx, p)
		if err != nil {
			return "", "", err
		}
		if !s.reached[mutant.number] {
			continue
		}
		reached = true
		if result, by, err := s.notices(ctx, mutant, nil); result != alive {
			return result, by + ", without -short", err
		}
	}
	if !reached {
		return alive, ": no test reaches it", nil
	}
	return alive, "", nil
}

// notices runs a batch of tests with a mutant, or all tests without -short if there is
// no batch. A test that fails must fail again alone, since the machine may be busy.
func (s *suite) notices(ctx context.Context, m mutant, batch []*test) (result outcome, by string, err error) {
	original := run{limit: s.patience, short: batch != nil}
	if batch == nil {
		original.limit += 5 * s.took
	}
	for _, t := range batch {
		original.limit += 5 * t.took
		original.tests = append(original.tests, t.name)
	}
	with := original
	with.env = choice.Mutant + "=" + m.choice()
	// What hangs twice, or fails twice but not alone, is noticed if it does not do so
	// without the mutant.
	for range 2 {
		if result, by, err = s.run(ctx, with); err != nil || result == alive {
			return result, "", err
		}
		alone := with
		if by != "" {
			alone.tests = []string{by}
		}
		if result == killed {
			if again, _, err := s.run(ctx, alone); err != nil || again != alive {
				s.learn(m, by)
				return killed, " by " + cmp.Or(by, s.pkg.ImportPath), err
			}
		}
	}
	if without, _, err := s.run(ctx, original); err != nil || without != alive {
		return alive, "", err
	}
	return result, " by " + cmp.Or(by, s.pkg.ImportPath), nil
}

// learn keeps in mind which test noticed a mutant.
func (s *suite) learn(m mutant, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	where := m.file + m.function
	if s.noticed[where] == nil {
		s.noticed[where] = make(map[*test]bool)
	}
	if i := slices.IndexFunc(s.tests, func(t *test) bool { return t.name == name }); i >= 0 {
		s.noticed[where][s.tests[i]] = true
	}
}
