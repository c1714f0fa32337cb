//go:build unix

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A report is what is said at the end.
type report struct {
	ledger    *ledger
	plan      plan
	fault     string
	withRedis bool
	took      time.Duration
}

// wrong returns what must not be and was.
func (r *report) wrong() (all []string) {
	for _, what := range forbidden {
		if r.ledger.counts[what] > 0 {
			all = append(all, what)
		}
	}
	return all
}

func (r *report) print(w io.Writer) {
	l := r.ledger
	line := func(what string) { fmt.Fprintf(w, "  %6d  %s\n", l.counts[what], what) }
	where := "all in PostgreSQL"
	if r.withRedis {
		where = "sessions, states, revocations, tokens and limits in Redis, all else in PostgreSQL"
	}
	fmt.Fprintf(w, "\n%s: %d instances, %d agents, %v\n", where, instances, r.plan.agents, r.took.Round(time.Second))
	for _, e := range l.events {
		fmt.Fprintf(w, "  - %s\n", e)
	}
	fmt.Fprintln(w, "sign-ins")
	for _, what := range []string{tried, completed, needsOwner, toldAgain, atServer, noAnswer} {
		line(what)
	}
	for _, what := range append(l.sorted(toldAgain+": "), l.sorted(otherwisePrefix)...) {
		line(what)
	}
	fmt.Fprintln(w, "must be 0")
	for _, what := range forbidden {
		line(what)
	}
	fmt.Fprintln(w, "revocations")
	for _, how := range []string{"owner revokes the agent", "owner ends the session", "agent signs out"} {
		r.printRefusals(w, how)
	}
	fmt.Fprintf(w, "requests of sessions that were answered below 500: %d, p50 %v, p99 %v; sign-ins: p50 %v, p99 %v\n", len(l.requests),
		percentile(l.requests, 0.5), percentile(l.requests, 0.99), percentile(l.signIns, 0.5), percentile(l.signIns, 0.99))
	fmt.Fprintln(w, "beside it")
	told := append([]string{tried, completed, needsOwner, toldAgain, atServer, noAnswer}, forbidden...)
	for _, what := range l.sorted("") {
		if !slices.Contains(told, what) && !strings.HasPrefix(what, otherwisePrefix) && !strings.HasPrefix(what, toldAgain) {
			line(what)
		}
	}
	for _, fault := range l.faults {
		fmt.Fprintln(w, "WRONG", fault)
	}
}

func (r *report) printRefusals(w io.Writer, how string) {
	var fromAck []time.Duration
	var fromStart time.Duration
	between := 0
	for _, one := range r.ledger.refusals {
		if one.how == how {
			between += one.between
			fromAck, fromStart = append(fromAck, one.fromAck), max(fromStart, one.fromStart)
		}
	}
	fmt.Fprintf(w, "  %6d  %s: after the answer, every other instance had refused within %v (p50 %v), after the request within %v; let in in between: %d\n",
		len(fromAck), how, percentile(fromAck, 1), percentile(fromAck, 0.5), fromStart.Round(100*time.Microsecond), between)
}
