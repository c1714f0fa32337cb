package main

import (
	"context"

	"github.com/authagent-go/authagent/internal/mutate/choice"
)

type outcome string

const (
	killed outcome = "killed"
	alive  outcome = "SURVIVED"
	hung   outcome = "hung" // with the mutant and not without it, which counts as killed
)

// try runs the tests that reach a mutant, until one notices it. It also returns which
// that was. All quick tests come before any slow one. Before a mutant counts as alive, it
// runs all tests that reach anything of its package, those of a package together.
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
				if result, by, err := s.notices(ctx, mutant, batch); err != nil || result != alive {
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
		if result, by, err := s.notices(ctx, mutant, s.near(mutant)); err != nil || result != alive {
			return result, by + ", with others", err
		}
	}
	if !reached {
		return alive, ": no test reaches it", nil
	}
	return alive, "", nil
}

// notices runs tests with a mutant. A test that fails must fail again alone, since the
// machine may be busy.
func (s *suite) notices(ctx context.Context, m mutant, tests []*test) (result outcome, by string, err error) {
	if len(tests) == 0 {
		return alive, "", nil
	}
	original := run{limit: s.patience, tests: tests}
	for _, t := range tests {
		original.limit += 5 * t.took
	}
	with := original
	with.env = choice.Mutant + "=" + m.choice()
	// What hangs twice, or fails twice but not alone, is noticed if it does not do so
	// without the mutant.
	for range 2 {
		var first *test
		if result, first, err = s.run(ctx, with); err != nil || result == alive {
			return result, "", err
		}
		by = " by " + s.pkg.ImportPath
		alone := with
		if first != nil {
			by, alone.tests = " by "+first.name, []*test{first}
		}
		if result == killed {
			if again, _, err := s.run(ctx, alone); err != nil || again != alive {
				s.learn(m, first)
				return killed, by, err
			}
		}
	}
	if without, _, err := s.run(ctx, original); err != nil || without != alive {
		return alive, "", err
	}
	return result, by, nil
}

// learn keeps in mind which test noticed a mutant.
func (s *suite) learn(m mutant, t *test) {
	s.mu.Lock()
	defer s.mu.Unlock()
	where := m.file + m.function
	if s.noticed[where] == nil {
		s.noticed[where] = make(map[*test]bool)
	}
	s.noticed[where][t] = true
}
