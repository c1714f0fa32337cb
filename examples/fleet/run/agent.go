//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// An agent of this run, with the account of its owner, who is played here as well.
type agent struct {
	*fleet
	as     *authagenttest.Agent
	number int
	userID string // its owner's
	person string // its owner's cookie
	kept   []*session
}

// maxRounds bounds what an agent does, beside the time.
const maxRounds = 1000

// live is all that an agent does, until load ends.
func (a *agent) live(ctx, load context.Context) {
	a.signInOnce(ctx) // which asks its owner
	a.approve(ctx)
	var group sync.WaitGroup
	for range 3 { // its first entry, at all instances at once
		group.Go(func() { a.signInOnce(ctx) })
	}
	group.Wait()
	a.entered.Done()
	for n := 0; n < maxRounds && load.Err() == nil; n++ {
		a.round(ctx)
	}
}

// round is one sign-in and what is done with it.
func (a *agent) round(ctx context.Context) {
	a.leaveOld(ctx)
	s := a.signIn(ctx)
	if s == nil {
		return
	}
	a.read(ctx, s)
	a.order(ctx, s)
	for _, s := range a.kept {
		a.read(ctx, s)
	}
	switch n := mathrand.IntN(20); {
	case n < 4:
		a.payout(ctx, s)
		a.logOut(ctx, s)
	case n < 5:
		a.revoke(ctx, s, "owner revokes the agent")
	case n < 6:
		a.revoke(ctx, s, "owner ends the session")
	case n < 8:
		a.revoke(ctx, s, "agent signs out")
	case n < 10 && len(a.kept) < 5:
		a.kept = append(a.kept, s)
	default:
		a.logOut(ctx, s)
	}
}

// leaveOld signs out of the sessions that agents are to leave.
func (a *agent) leaveOld(ctx context.Context) {
	old := func(s *session) bool { return s.generation < int(a.leave.Load()) }
	a.kept = slices.DeleteFunc(a.kept, old)
	for _, s := range a.mine() {
		if ending, _ := s.state(); old(s) && !ending {
			a.logOut(ctx, s)
		}
	}
}

// pause is what an agent takes between two things that it does.
func (a *agent) pause(ctx context.Context) { sleep(ctx, mathrand.N(2*a.plan.pause)) }

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// address is where the agent signs in from: one of eight, of RFC 2544, which are
// nobody's, and public to the limits.
func (a *agent) address() string {
	return fmt.Sprintf("198.%d.%d.%d", 18+a.number/250, a.number%250, 1+mathrand.IntN(8))
}

// send sends a request to the proxy. While instances are rolled, each request is answered, and
// not by an error of the site's.
func (a *agent) send(ctx context.Context, from string, r request) *answer {
	then, path := a.times.get(), r.url
	r.url = a.site + r.url
	answer := send(ctx, a.client, from, r)
	if (answer.err != nil || answer.status >= 500) && ctx.Err() == nil && a.times.onlyRolled(then) {
		a.ledger.fault(requestFailed, "%s: %s %s: %v", a.as.ID, r.method, path, answer)
	}
	return answer
}

// signIn tries until it is in, a few times, waiting as it is told.
func (a *agent) signIn(ctx context.Context) *session {
	for range 5 {
		a.pause(ctx)
		s, wait := a.signInOnce(ctx)
		if s != nil || ctx.Err() != nil {
			return s
		}
		sleep(ctx, wait)
	}
	return nil
}

// What may come of a sign-in, beside otherwisePrefix.
const (
	tried      = "sign-ins tried"
	completed  = "completed"
	toldAgain  = "told to try again"
	noAnswer   = "without an answer"
	atServer   = "refused by the Auth Agent server before the site was asked"
	needsOwner = "told that the owner has to approve"
)

func (a *agent) signInOnce(ctx context.Context) (s *session, wait time.Duration) {
	a.ledger.count(tried)
	start, most, then := time.Now(), 10*a.plan.pause, a.times.get()
	generation := int(a.leave.Load())
	a.ledger.do(func() { a.ledger.signing[generation]++ })
	s, outcome, last := a.trySignIn(ctx)
	a.ledger.do(func() {
		a.ledger.counts[outcome]++
		a.ledger.signing[generation]--
		if s != nil {
			s.generation = generation
			a.ledger.signIns = append(a.ledger.signIns, time.Since(start))
			a.ledger.sessions = append(a.ledger.sessions, s)
		}
	})
	if s == nil && outcome != needsOwner && outcome != atServer && ctx.Err() == nil && a.times.onlyRolled(then) {
		a.ledger.fault(signInFailed, "%s: %s: %v", a.as.ID, outcome, last)
	}
	if outcome == toldAgain {
		a.ledger.count(toldAgain + ": " + last.String())
	}
	switch {
	case s != nil:
		a.look(ctx, s)
	case outcome == needsOwner && a.approved() != "":
		a.ledger.fault(grantLost, "%s is told that its owner has to approve it", a.as.ID)
	case last != nil && last.err == nil:
		return nil, last.wait(most)
	}
	return s, most
}

// trySignIn signs in, in a browser of its own.
func (a *agent) trySignIn(ctx context.Context) (s *session, outcome string, last *answer) {
	b, from, faults := browser{}, a.address(), int(a.faults.Load())
	last = a.send(ctx, from, request{method: http.MethodGet, url: "/auth/agent/login?return_to=/orders"})
	if last.status != http.StatusSeeOther {
		return nil, signInOutcome(last), last
	}
	b.take(last)
	atAS, cancel := context.WithTimeout(ctx, 10*time.Second)
	callback, err := a.as.Authorize(atAS, a.auth.Client(), last.header.Get("Location"))
	cancel()
	if err != nil {
		return nil, atServer, nil
	}
	u, err := url.Parse(callback)
	if err != nil {
		return nil, otherwisePrefix + err.Error(), nil
	}
	last = a.send(ctx, from, request{method: http.MethodGet, url: u.RequestURI(), cookie: b.cookie()})
	b.take(last)
	if last.status != http.StatusSeeOther || len(b) != 1 {
		return nil, signInOutcome(last), last
	}
	return &session{agent: a, from: from, cookie: b.cookie(), faults: faults}, completed, last
}

func signInOutcome(a *answer) string {
	switch {
	case a.err != nil:
		return noAnswer
	case a.problem.Error == string(problem.ApprovalNeeded):
		return needsOwner
	case a.again():
		return toldAgain
	}
	return otherwisePrefix + a.String()
}

// look asks the site who the session is.
func (a *agent) look(ctx context.Context, s *session) {
	answer := a.use(ctx, s, request{method: http.MethodGet, url: "/me"})
	var me authagent.Session
	if answer.status != http.StatusOK || json.Unmarshal(answer.body, &me) != nil {
		return
	}
	a.ledger.do(func() {
		s.id = me.ID
		if a.ledger.profiles[a.as.ID] == nil {
			a.ledger.profiles[a.as.ID] = map[string]bool{}
		}
		a.ledger.profiles[a.as.ID][me.ProfileID] = true
	})
	if me.Agent.ID != a.as.ID || me.UserID != a.userID {
		a.ledger.fault(sessionLost, "%s has the session of %s for %s", a.as.ID, me.Agent.ID, me.UserID)
	}
}

// use sends a request of a session that nobody has asked to end.
func (a *agent) use(ctx context.Context, s *session, r request) *answer {
	r.cookie = s.cookie
	answer := a.send(ctx, s.from, r)
	if answer.err == nil && answer.status < 500 {
		a.ledger.do(func() { a.ledger.requests = append(a.ledger.requests, answer.took) })
	}
	if ending, _ := s.state(); !ending && answer.status == http.StatusUnauthorized {
		a.ledger.fault(sessionLost, "%s, session %s: %s %s: %v", a.as.ID, s.id, r.method, r.url, answer)
		s.end(false) // once is enough
	}
	return answer
}

func (a *agent) read(ctx context.Context, s *session) {
	for range 2 {
		a.pause(ctx)
		a.use(ctx, s, request{method: http.MethodGet, url: "/orders"})
	}
}

// order performs a named action, again until it is told that it is done.
func (a *agent) order(ctx context.Context, s *session) {
	key := rand.Text()
	a.ledger.do(func() { a.ledger.orders[key] = false })
	for range 5 {
		a.pause(ctx)
		answer := a.use(ctx, s, request{method: http.MethodPost, url: "/orders", key: key, form: url.Values{"item": {"tea"}}})
		if answer.status == http.StatusCreated {
			a.ledger.do(func() { a.ledger.orders[key] = true })
			return
		}
	}
}

// payout has its owner approve a single action, and then sends it to several
// instances at once.
func (a *agent) payout(ctx context.Context, s *session) {
	key := rand.Text()
	r := request{method: http.MethodPost, url: "/payouts", key: key, form: url.Values{"cents": {"100"}}}
	var asked *answer
	for range 5 {
		a.pause(ctx)
		if asked = a.use(ctx, s, r); asked.status == http.StatusAccepted {
			break
		}
	}
	id := path.Base(asked.header.Get("Location"))
	if asked.status != http.StatusAccepted || !a.approveAction(ctx, id) {
		return
	}
	a.ledger.do(func() { a.ledger.payouts[key], a.ledger.approvals[key] = 0, id })
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for range 3 { // of those that got no answer
				answer := a.use(ctx, s, r)
				if answer.status == http.StatusCreated {
					a.ledger.do(func() { a.ledger.payouts[key]++ })
				}
				if answer.err == nil && answer.status < 500 {
					return
				}
				a.pause(ctx)
			}
		})
	}
	group.Wait()
}

// approved returns the ID of the grant that the owner has approved, if any.
func (a *agent) approved() (id string) {
	a.ledger.do(func() { id = a.ledger.grants[a.as.ID] })
	return id
}

// logOut ends a session, and shows what is left of it to each instance.
func (a *agent) logOut(ctx context.Context, s *session) {
	a.pause(ctx)
	s.end(false)
	if answer := a.send(ctx, s.from, request{method: http.MethodPost, url: "/auth/agent/logout", cookie: s.cookie}); answer.status != http.StatusSeeOther {
		return
	}
	s.end(true)
	for _, i := range a.instances {
		a.refused(ctx, i, s)
	}
}

// refused checks that an instance refuses a session that has ended. An instance
// that is down lets nobody in either.
func (a *agent) refused(ctx context.Context, i *instance, s *session) {
	answer := send(ctx, a.client, s.from, request{method: http.MethodGet, url: i.origin + "/me", cookie: s.cookie})
	if answer.err == nil && answer.status == http.StatusOK {
		a.ledger.fault(sessionAlive, "%s, session %s, at %s", a.as.ID, s.id, i.name)
	}
}

// mine returns the agent's sessions that are not ended.
func (a *agent) mine() (all []*session) {
	a.ledger.do(func() {
		all = slices.DeleteFunc(slices.Clone(a.ledger.sessions), func(s *session) bool { return s.agent != a })
	})
	return slices.DeleteFunc(all, func(s *session) bool {
		_, ended := s.state()
		return ended
	})
}

func agentName(n int) string { return fmt.Sprintf("agent_%04d", n) }
