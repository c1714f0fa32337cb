//go:build unix

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestFleet is the run in small: REL-6, SES-3, SES-11, TXN-4 on three processes,
// while things go wrong.
func TestFleet(t *testing.T) {
	if err := hasHistory(before); err != nil {
		t.Skipf("the history of the repository is not here: commit %s: %v", before, err)
	}
	dir := t.TempDir()
	built, err := build(t.Context(), dir, before)
	if err != nil {
		t.Fatal(err)
	}
	small := plan{agents: 6, gap: 500 * time.Millisecond, refusal: 1500 * time.Millisecond, pause: 100 * time.Millisecond, longest: 4 * time.Minute}
	for _, withRedis := range []bool{false, true} {
		name := map[bool]string{false: "PostgreSQL", true: "Redis"}[withRedis]
		t.Run(name, func(t *testing.T) {
			needsServers(t, withRedis)
			t.Parallel()
			small := small
			small.say = func(what string) { t.Log(time.Now().Format(time.TimeOnly), what) }
			r, err := runOnce(t.Context(), small, built, dir, withRedis)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			r.print(&text)
			t.Log(text.String())
			for _, what := range r.wrong() {
				t.Errorf("%d %s", r.ledger.counts[what], what)
			}
			for _, what := range []string{completed, "acknowledged in fleet_orders"} {
				if r.ledger.counts[what] < small.agents {
					t.Errorf("%d %s, of %d agents", r.ledger.counts[what], what, small.agents)
				}
			}
			if len(r.ledger.refusals) == 0 {
				t.Error("no revocation was watched")
			}
		})
	}
}

func needsServers(t *testing.T, withRedis bool) {
	t.Helper()
	if _, err := postgresPrograms(); err != nil && os.Getenv("AUTHAGENT_POSTGRES") == "" {
		t.Skipf("%v, and AUTHAGENT_POSTGRES is not set", err)
	}
	if _, err := exec.LookPath("redis-server"); err != nil && withRedis {
		t.Skip(err)
	}
}
