//go:build unix

// Command run puts load on a fleet of the site beside it while things go wrong,
// and tells whether anything was lost that somebody had been told was done:
//
//	go run ./run
//
// It starts a PostgreSQL server of its own, three instances of the site, a proxy
// that takes them in turn, and an Auth Agent server; on loopback, in a temporary
// directory. Many agents ask their owners, sign in, read, act and sign out, and
// owners revoke, while an instance is killed, PostgreSQL is restarted and crashed,
// the Auth Agent server refuses for a minute, and an instance is rolled. Then once
// more with sessions, states and revocations in Redis, which is killed too. All that
// was acknowledged is looked for at the end. The exit status is 1 if any of it is
// lost or doubled, or if a revoked agent got in once the revocation was acknowledged.
//
// It needs Go, and PostgreSQL's initdb and postgres; redis-server for the second
// half. Without initdb it uses the server that AUTHAGENT_POSTGRES names, in a
// database of its own there, and ends the connections to that instead of restarting.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
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
}

var full = plan{agents: 80, gap: 15 * time.Second, refusal: time.Minute, pause: 100 * time.Millisecond, longest: 8 * time.Minute}

func main() {
	stores := flag.String("stores", "both", "what to share `by`: postgres, redis or both")
	p := full
	flag.IntVar(&p.agents, "agents", p.agents, "how many")
	flag.DurationVar(&p.gap, "gap", p.gap, "how long nothing goes wrong, each time")
	flag.DurationVar(&p.refusal, "refusal", p.refusal, "how long the Auth Agent server refuses")
	keep := flag.Bool("keep", false, "keep the logs of the instances")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := runAll(ctx, p, *stores, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func runAll(ctx context.Context, p plan, stores string, keep bool) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "fleet-run-")
	if err != nil {
		return false, err
	}
	if keep {
		fmt.Println("logs:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	binary, err := build(ctx, dir)
	if err != nil {
		return false, err
	}
	ok = true
	for _, withRedis := range []bool{false, true} {
		if withRedis && stores == "postgres" || !withRedis && stores == "redis" {
			continue
		}
		r, err := runOnce(ctx, p, binary, dir, withRedis)
		if err != nil {
			return false, err
		}
		r.print(os.Stdout)
		ok = ok && len(r.wrong()) == 0
	}
	return ok, nil
}

// build builds the site, with the race detector if this program has it.
func build(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "site")
	args := []string{"build", "-o", binary}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "github.com/authagent-go/authagent/examples/fleet")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the site: %w\n%s", err, out)
	}
	return binary, nil
}
