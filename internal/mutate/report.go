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
	results map[mutant]outcome // so that no mutant runs twice for two seeds
}

// report runs the first n mutants that are not known to be equivalent. It returns
// how many survived.
func (r *reporter) report(ctx context.Context, mutants []mutant, n int) (survived int, err error) {
	var run []mutant
	apart := 0
	for _, m := range mutants {
		if len(run) == n {
			break
		}
		if why, ok := r.equivalent[m.key()]; ok {
			apart++
			fmt.Fprintf(r.out, "equivalent       %s: %s\n", m, why)
			continue
		}
		run = append(run, m)
	}
	errs := make([]error, len(run))
	each(r.module.parallel, len(run), func(i int) { errs[i] = r.try(ctx, run[i]) })
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	for _, m := range run {
		if r.results[m] == alive {
			survived++
			fmt.Fprintln(r.out, "survivor:", m)
		}
	}
	fmt.Fprintf(r.out, "%d of %d survived, %d known equivalents apart\n", survived, len(run), apart)
	return survived, nil
}

// try runs a mutant and prints the result when it is there.
func (r *reporter) try(ctx context.Context, m mutant) error {
	r.mu.Lock()
	_, before := r.results[m]
	r.mu.Unlock()
	if before || ctx.Err() != nil {
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
