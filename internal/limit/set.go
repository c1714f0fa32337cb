package limit

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/problem"
)

// orDefault returns the rate, with n in the place of a zero N.
func orDefault(r limits.Rate, n int) limits.Rate {
	if r.N == 0 {
		r.N = n
	}
	return r
}

func newLimiter(r limits.Rate) *Limiter {
	return New(r.N, cmp.Or(r.Per, time.Minute))
}

// A Set counts what limits bound. Its errors are for who exceeds one.
type Set struct {
	logins, callbacks, agent, owner *Limiter
	actions, filings                map[string]*Limiter
}

// NewSet returns a Set that has counted nothing.
func NewSet(l limits.Settings) Set {
	made := Set{
		logins: newLimiter(orDefault(l.Logins, 10)), callbacks: newLimiter(orDefault(l.Callbacks, 20)),
		agent: newLimiter(l.Agent), owner: newLimiter(l.Owner),
		actions: make(map[string]*Limiter, len(l.Actions)), filings: make(map[string]*Limiter, len(l.Actions)),
	}
	for _, name := range slices.Sorted(maps.Keys(l.Actions)) {
		made.actions[name], made.filings[name] = newLimiter(l.Actions[name]), newLimiter(l.Actions[name])
	}
	return made
}

// Login counts the start of a login from a client address.
func (s *Set) Login(address string) error { return byAddress("start login", s.logins, address) }

// Callback counts the end of one.
func (s *Set) Callback(address string) error { return byAddress("finish login", s.callbacks, address) }

func byAddress(step string, l *Limiter, address string) error {
	if key := AddressKey(address); key != "" {
		return limited(step, l.Allow(key))
	}
	return nil
}

// Request counts a request of an agent and of its owner, if it has one. One that
// exceeds its own limit does not use up its owner's.
func (s *Set) Request(agent audit.Agent, owner string) error {
	if s.agent != nil {
		if err := limited("count agent's requests", s.agent.Allow(keyOf(agent)+" "+owner)); err != nil {
			return err
		}
	}
	if owner == "" {
		return nil
	}
	return limited("count owner's requests", s.owner.Allow(owner))
}

// Action counts an action of this name. It is its owner's, and the agent's own if it
// has none.
func (s *Set) Action(name string, agent audit.Agent, owner string) error {
	limiter := s.actions[name]
	if limiter == nil {
		return nil
	}
	if owner == "" {
		owner = keyOf(agent)
	}
	return limited("count actions", limiter.Allow(owner))
}

func keyOf(a audit.Agent) string { return "agent:" + a.Issuer + " " + a.ID }

// A Budget counts what comes of one request that needs approval: that it is put
// before its owner, or performed. That an agent asks again how it stands is neither.
type Budget struct {
	owner            string
	filings, actions *Limiter
	performing       bool
}

// Budget returns the one of an owner for an action of this name.
func (s *Set) Budget(name, owner string) *Budget {
	return &Budget{owner: owner, filings: s.filings[name], actions: s.actions[name]}
}

// File counts a request that is put before its owner.
func (b *Budget) File() error {
	return limited("count requests for approval", b.filings.Allow(b.owner))
}

// Perform counts an action that is about to be performed, once.
func (b *Budget) Perform() error {
	if b.performing {
		return nil
	}
	err := limited("count actions", b.actions.Allow(b.owner))
	b.performing = err == nil
	return err
}

// Settle counts an action of which nobody has said that it is performed, and does not
// count one that was refused with err in the end.
func (b *Budget) Settle(err error) error {
	if err == nil {
		return b.Perform()
	}
	if b.performing {
		b.actions.Return(b.owner)
	}
	return err
}

func limited(step string, wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	e := failure.New(problem.Limited, step, "the limit is reached")
	e.RetryAfter = wait
	return e
}
