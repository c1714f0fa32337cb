// Mutate finds conditions that no test would miss.
//
//	go run ./internal/mutate -seed 1 -n 40 [packages]
//
// It draws conditions of the production code at random, breaks one at a time, and
// runs the tests that could notice. What no test noticed is printed at the end.
// The packages are those that a site links, unless others are named. The tree is
// never changed: the go command is given the broken file by its -overlay flag.
//
// Mutations that change nothing that anybody could see are listed in
// equivalent.txt, each with the reason. They are counted apart.
//
// The exit status is 1 if more survive than -allow says, and 2 if the run failed.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"
)

//go:embed equivalent.txt
var known string

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 1, "what the draw depends on, besides the code")
	flag.IntVar(&o.n, "n", 40, "how many conditions to break")
	flag.IntVar(&o.allow, "allow", 2, "how many may survive")
	flag.IntVar(&o.parallel, "p", 2, "how many to run at once")
	flag.BoolVar(&o.short, "short", true, "run the tests with -short")
	flag.Parse()
	o.dir, o.packages, o.known, o.out = ".", flag.Args(), known, os.Stdout
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survived, err := o.run(ctx)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	case survived > o.allow:
		os.Exit(1)
	}
}

type options struct {
	dir                string // of the module
	packages           []string
	seed               uint64
	n, allow, parallel int
	short              bool
	known              string // the text of equivalent.txt
	out                io.Writer
}

// run returns how many survived.
func (o *options) run(ctx context.Context) (survived int, err error) {
	m, err := loadModule(ctx, o.dir, o.short)
	if err != nil {
		return 0, err
	}
	chosen, err := m.choose(ctx, o.packages)
	if err != nil {
		return 0, err
	}
	all, err := m.conditions()
	if err != nil {
		return 0, err
	}
	equivalent, err := parseEquivalents(o.known, all)
	if err != nil {
		return 0, err
	}
	mutants := draw(all, chosen, o.seed)
	fmt.Fprintf(o.out, "seed %d: %d conditions in %d packages\n", o.seed, len(mutants), len(chosen))
	if err := m.measure(ctx, mutants); err != nil {
		return 0, err
	}
	return o.report(ctx, m, mutants, equivalent)
}

// report runs the first n mutants that build and are not known to be equivalent.
func (o *options) report(ctx context.Context, m *module, mutants []mutant, equivalent map[string]string) (survived int, err error) {
	var run, apart int
	var survivors []mutant
	for run < o.n && len(mutants) > 0 {
		var round []mutant
		for run+len(round) < o.n && len(mutants) > 0 {
			next := mutants[0]
			mutants = mutants[1:]
			if why, ok := equivalent[next.key()]; ok {
				apart++
				fmt.Fprintf(o.out, "equivalent       %s: %s\n", next, why)
				continue
			}
			round = append(round, next)
		}
		for i, result := range o.all(ctx, m, round) {
			switch result {
			case failed:
				return 0, fmt.Errorf("%s: the go command failed: %w", round[i], context.Cause(ctx))
			case unbuilt:
				continue
			case alive:
				survivors = append(survivors, round[i])
			}
			run++
		}
	}
	for _, s := range survivors {
		fmt.Fprintln(o.out, "survivor:", s)
	}
	fmt.Fprintf(o.out, "%d of %d survived, %d known equivalents apart\n", len(survivors), run, apart)
	return len(survivors), nil
}

// all runs some at once, and prints each result when it is there.
func (o *options) all(ctx context.Context, m *module, round []mutant) []outcome {
	results := make([]outcome, len(round))
	places := make(chan struct{}, max(o.parallel, 1))
	var printing sync.Mutex
	var wg sync.WaitGroup
	for i, mutant := range round {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			began := time.Now()
			result, by := m.try(ctx, mutant)
			results[i] = result
			printing.Lock()
			defer printing.Unlock()
			fmt.Fprintf(o.out, "%-9s %5.1fs %s%s\n", result, time.Since(began).Seconds(), mutant, by)
		})
	}
	wg.Wait()
	return results
}
