//go:build unix

package main

import (
	"context"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/authagent-go/authagent/grants"
)

// A use is one request of somebody whose session is being ended meanwhile.
type use struct {
	start, end time.Time
	in         bool // it was let in
}

// revoke ends a session at one instance while it is in use at the others, and
// looks at what they do.
func (a *agent) revoke(ctx context.Context, s *session, how string) {
	a.pause(ctx)
	at := mathrand.IntN(len(a.instances))
	ending := []*session{s}
	if how == "owner revokes the agent" {
		ending = a.mine() // all that the agent has
		a.ledger.do(func() { delete(a.ledger.grants, a.as.ID) })
		a.kept = nil
	}
	for _, s := range ending {
		s.end(false)
	}
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	var group sync.WaitGroup
	uses := make([][]use, len(a.instances))
	over := make(chan struct{})
	for i, other := range a.instances {
		if i != at {
			group.Go(func() { uses[i] = a.watch(ctx, other, s, over) })
		}
	}
	sleep(ctx, 20*time.Millisecond)
	start := time.Now()
	acknowledged := a.end(ctx, a.instances[at], s, how)
	ack := time.Now()
	close(over)
	group.Wait()
	if acknowledged {
		for _, s := range ending {
			s.end(true)
		}
		a.judge(how, s, uses, start, ack)
	}
	if how == "owner revokes the agent" {
		a.approve(context.WithoutCancel(ctx))
	}
}

// watch uses a session at one instance until it has been refused some times after
// the end, or no answer has come in a while.
func (a *agent) watch(ctx context.Context, i *instance, s *session, over chan struct{}) (all []use) {
	refused, failed := 0, 0
	for refused < 3 && failed < 20 && len(all) < 500 && ctx.Err() == nil {
		u := use{start: time.Now()}
		answer := send(ctx, a.client, s.from, request{method: http.MethodGet, url: i.origin + "/me", cookie: s.cookie})
		u.end, u.in = time.Now(), answer.status == http.StatusOK
		switch {
		case answer.status == http.StatusOK, answer.status == http.StatusUnauthorized:
			all = append(all, u)
		default:
			failed++
			sleep(ctx, 100*time.Millisecond)
		}
		select {
		case <-over:
			if answer.status == http.StatusUnauthorized {
				refused++
			}
		default:
		}
		sleep(ctx, 5*time.Millisecond)
	}
	return all
}

// end asks an instance to end a session, and reports whether it says that it has.
func (a *agent) end(ctx context.Context, i *instance, s *session, how string) bool {
	r := request{method: http.MethodPost, cookie: a.person}
	switch how {
	case "agent signs out":
		r.url, r.cookie = "/auth/agent/logout", s.cookie
	case "owner ends the session":
		r.url, r.form = "/account/agents/end-session", url.Values{"session": {s.id}}
	default:
		g, ok := a.grant(ctx)
		if !ok || g.State != grants.Approved {
			return false
		}
		r.url, r.form = "/account/agents/revoke", url.Values{"id": {g.ID}, "version": {strconv.FormatInt(g.Version, 10)}}
	}
	r.url = i.origin + r.url
	answer := send(ctx, a.client, s.from, r)
	if answer.err == nil && answer.status < 400 {
		return true
	}
	why := answer.String()
	if answer.err != nil {
		why = "the instance is down"
	}
	a.ledger.count("revocations not acknowledged: " + how + ": " + why)
	return false
}

func (a *agent) judge(how string, s *session, uses [][]use, start, ack time.Time) {
	result := refusal{how: how}
	seen := false
	for i, all := range uses {
		first := true
		for _, u := range all {
			switch {
			case u.in && u.start.After(ack):
				a.ledger.fault(revokedIn, "%s: %s, session %s, at %s, %v after", how, a.as.ID, s.id, a.instances[i].name, u.start.Sub(ack))
			case u.in && u.start.After(start):
				result.between++
			case !u.in && first:
				first, seen = false, true
				result.fromAck = max(result.fromAck, u.end.Sub(ack))
				result.fromStart = max(result.fromStart, u.end.Sub(start))
			}
		}
	}
	if !seen {
		a.ledger.count("revocations that could not be watched, since no other instance answered")
		return
	}
	a.ledger.do(func() { a.ledger.refusals = append(a.ledger.refusals, result) })
}
