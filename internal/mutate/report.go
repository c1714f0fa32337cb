package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// A reporter runs mutants and prints what became of them.
type reporter struct {
	out        io.Writer
	module     *module
	equivalent map[string]string // reasons by key

	mu      sync.Mutex
	results map[mutant]outcome
}

// A trial is mutants that are counted together.
type trial struct {
	title   string
	mutants []mutant
	apart   int // of which it is known that they are equivalent
}

// trial is of the first n mutants that are not known to be equivalent.
func (r *reporter) trial(title string, mutants []mutant, n int) *trial {
	t := &trial{title: title}
	for _, m := range mutants {
		if len(t.mutants) == n {
			break
		}
		if why, ok := r.equivalent[m.key()]; ok {
			t.apart++
			fmt.Fprintf(r.out, "equivalent       %s: %s\n", m, why)
			continue
		}
		t.mutants = append(t.mutants, m)
	}
	return t
}

// run runs the mutants of all trials, each once.
func (r *reporter) run(ctx context.Context, trials []*trial) error {
	there := make(map[mutant]bool)
	var mutants []mutant
	for _, t := range trials {
		for _, m := range t.mutants {
			if !there[m] {
				there[m] = true
				mutants = append(mutants, m)
			}
		}
	}
	errs := make([]error, len(mutants))
	each(r.module.parallel, len(mutants), func(i int) { errs[i] = r.try(ctx, mutants[i]) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// try runs a mutant and prints the result when it is there.
func (r *reporter) try(ctx context.Context, m mutant) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	began := time.Now()
	result, by, err := r.module.try(ctx, m)
	if err != nil {
		return fmt.Errorf("%s: %w", m, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[m] = result
	fmt.Fprintf(r.out, "%-9s %5.1fs %s%s\n", result, time.Since(began).Seconds(), m, by)
	return nil
}

// report prints what survived of a trial, and returns how many.
func (r *reporter) report(t *trial) (survived int) {
	for _, m := range t.mutants {
		if r.results[m] == alive {
			survived++
			fmt.Fprintln(r.out, "survivor:", m)
		}
	}
	fmt.Fprintf(r.out, "%s%d of %d survived, %d known equivalents apart\n", t.title, survived, len(t.mutants), t.apart)
	return survived
}
