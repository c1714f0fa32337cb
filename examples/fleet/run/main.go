//go:build unix

// Command run puts load on a fleet of the site beside it while things go wrong,
// and tells whether anything was lost that somebody had been told was done:
//
//	go run ./run
//
// It starts a PostgreSQL server of its own, three instances of the site as it was before
// the newest migration, a proxy that takes them in turn, and an Auth Agent server; on
// loopback, in a temporary directory. Many agents ask their owners, sign in, read, act and
// sign out, and owners revoke. Meanwhile the site as it is now takes the place of the other,
// instance by instance, the session key is replaced, and all instances are restarted; then an
// instance is killed, PostgreSQL is restarted and crashed, and the Auth Agent server refuses
// for a minute. Then once more with sessions, states, revocations, tokens and
// limits in Redis, which is killed too, and fails over to a replica. All that was acknowledged is looked for at the end. The
// exit status is 1 if any of it is lost or doubled, if a sign-in failed by a deployment, or if
// a revoked agent got in once the revocation was acknowledged.
//
// It needs Go, the repository's history, and PostgreSQL's initdb and postgres; redis-server
// for the second half. Without initdb it uses the server that AUTHAGENT_POSTGRES names, in a
// database of its own there, and ends the connections to that instead of restarting.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// A plan is how much of what.
type plan struct {
	agents  int
	gap     time.Duration // of load before, between and after what goes wrong
	refusal time.Duration // for how long the Auth Agent server refuses
	pause   time.Duration // of an agent between two things that it does, on average
	longest time.Duration // of all
	say     func(string)  // what happens, while it does
}

var full = plan{agents: 80, gap: 15 * time.Second, refusal: time.Minute, pause: 100 * time.Millisecond, longest: 15 * time.Minute}

func main() {
	stores := flag.String("stores", "both", "what to share `by`: postgres, redis or both")
	p := full
	p.say = func(what string) { fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), what) }
	flag.IntVar(&p.agents, "agents", p.agents, "how many")
	flag.DurationVar(&p.gap, "gap", p.gap, "how long nothing goes wrong, each time")
	flag.DurationVar(&p.refusal, "refusal", p.refusal, "how long the Auth Agent server refuses")
	from := flag.String("from", before, "the `commit` from which the site is deployed; empty for no such deployment")
	keep := flag.Bool("keep", false, "keep the logs of the instances")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := runAll(ctx, p, *stores, *from, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func runAll(ctx context.Context, p plan, stores, from string, keep bool) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "fleet-run-")
	if err != nil {
		return false, err
	}
	if keep {
		fmt.Println("logs:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	p.say("the site is built")
	built, err := build(ctx, dir, from)
	if err != nil {
		return false, err
	}
	ok = true
	for _, withRedis := range []bool{false, true} {
		if withRedis && stores == "postgres" || !withRedis && stores == "redis" {
			continue
		}
		r, err := runOnce(ctx, p, built, dir, withRedis)
		if err != nil {
			return false, err
		}
		r.print(os.Stdout)
		ok = ok && len(r.wrong()) == 0
	}
	return ok, nil
}
