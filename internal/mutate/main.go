// Mutate finds conditions that no test would miss.
//
//	go run ./internal/mutate -seed 1 -n 40 [packages]
//
// It draws conditions of the production code at random, breaks one at a time, and
// runs the tests that reach it. What no test noticed is printed at the end. The
// packages are those that a site links, unless others are named. With several seeds
// (-seed 1,2,3) each has a draw of its own. With -every it breaks all conditions in
// both ways, and with -at only those of a file (-at grants/mail.go) or of a line
// (-at grants/mail.go:31).
//
// All mutants are built at once: each condition asks package choice for its value,
// and an environment variable says which mutant runs. The tree is never changed: the
// go command is given the files by its -overlay flag. Programs that tests build
// with the go command have no mutants, and neither have programs that tests
// start without the environment.
//
// A mutant that makes a test hang is killed, if the test does not hang without it.
// A test that fails must fail again alone. A mutant is only alive after all tests have
// passed that reach anything of its package, those of each package together.
//
// Mutations that change nothing that anybody could see are listed in
// equivalent.txt, each with the reason. They are counted apart.
//
// The exit status is 1 if more survive of a draw than -allow says, and 2 if the run failed.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

//go:embed equivalent.txt
var known string

func main() {
	o := options{seeds: []uint64{1}, patience: 15 * time.Second}
	flag.Func("seed", "what the draw depends on, besides the code (default 1); several are separated by commas", o.parseSeeds)
	flag.IntVar(&o.n, "n", 40, "how many conditions to break")
	flag.BoolVar(&o.every, "every", false, "break all conditions in both ways")
	flag.StringVar(&o.at, "at", "", "break all conditions of this `file or file:line` in both ways")
	flag.IntVar(&o.allow, "allow", 2, "how many may survive")
	flag.IntVar(&o.parallel, "p", 2, "how many to run at once")
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
	seeds              []uint64
	n, allow, parallel int
	every              bool
	at                 string
	patience           time.Duration // with a run of tests, beyond five times what it takes
	known              string        // the text of equivalent.txt
	out                io.Writer
}

func (o *options) parseSeeds(text string) error {
	o.seeds = nil
	for number := range strings.SplitSeq(text, ",") {
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return err
		}
		o.seeds = append(o.seeds, seed)
	}
	return nil
}

// run returns how many survived, of the draw that most survived of.
func (o *options) run(ctx context.Context) (survived int, err error) {
	m, err := loadModule(ctx, o.dir)
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
	all = of(all, chosen)
	fmt.Fprintf(o.out, "%d conditions in %d packages\n", len(all), len(chosen))
	if m.scratch, err = os.MkdirTemp("", "mutate"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(m.scratch)
	if err := m.writeOverlay(all); err != nil {
		return 0, err
	}
	m.parallel, m.patience = o.parallel, o.patience
	r := &reporter{out: o.out, module: m, equivalent: equivalent, results: make(map[mutant]outcome)}
	var trials []*trial
	if o.every || o.at != "" {
		trials = append(trials, r.trial("", both(all, o.at), 2*len(all)))
	} else {
		for _, seed := range o.seeds {
			trials = append(trials, r.trial(fmt.Sprintf("seed %d: ", seed), draw(all, seed), o.n))
		}
	}
	if err := r.run(ctx, trials); err != nil {
		return 0, err
	}
	for _, t := range trials {
		survived = max(survived, r.report(t))
	}
	return survived, nil
}
