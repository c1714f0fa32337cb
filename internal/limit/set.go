package limit

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/problem"
)

// A Set counts what limits bound, in the store of the settings or, without one, in this process.
// Its errors are for who exceeds a limit.
type Set struct {
	logins, callbacks Addresses
	agent, owner      *budget
	actions, filings  map[string]*budget
	shared            *shared // nil for none
}

// A Site is whose budgets a Set counts. In a store, those of two relying parties are apart.
type Site struct {
	Issuer, ClientID string
	Panics           failure.Panics // of the store
	Meter            *meter.Meter   // hears when it fails
}

// NewSet returns a Set that has counted nothing in this process.
func NewSet(l limits.Settings, site Site) Set {
	prefix := func(what string) string {
		return what + " " + strconv.Quote(site.Issuer) + " " + strconv.Quote(site.ClientID) + " "
	}
	made := Set{
		logins:    newAddresses(prefix("logins"), orDefault(l.Logins, 10)),
		callbacks: newAddresses(prefix("callbacks"), orDefault(l.Callbacks, 20)),
		agent:     newBudget(prefix("agent"), l.Agent), owner: newBudget(prefix("owner"), l.Owner),
		actions: make(map[string]*budget, len(l.Actions)), filings: make(map[string]*budget, len(l.Actions)),
		shared: newShared(l.Store, site),
	}
	for _, name := range slices.Sorted(maps.Keys(l.Actions)) {
		made.actions[name] = newBudget(prefix("action "+name), l.Actions[name])
		made.filings[name] = newBudget(prefix("filing "+name), l.Actions[name])
	}
	return made
}

// orDefault returns the rate, with n in the place of a zero N.
func orDefault(r limits.Rate, n int) limits.Rate {
	r.N = cmp.Or(r.N, n)
	return r
}

// Login counts the start of a login from a client address.
func (s *Set) Login(ctx context.Context, address string) error {
	return s.byAddress(ctx, "start login", &s.logins, address)
}

// Callback counts the end of one.
func (s *Set) Callback(ctx context.Context, address string) error {
	return s.byAddress(ctx, "finish login", &s.callbacks, address)
}

func (s *Set) byAddress(ctx context.Context, step string, a *Addresses, address string) error {
	near, wide := AddressKeys(address)
	if near == "" {
		return nil
	}
	events, n := a.events(near, wide)
	return s.count(ctx, step, events[:n])
}

// Request counts a request of an agent and of its owner, if it has one: both or, if one of
// them makes it wait, neither.
func (s *Set) Request(ctx context.Context, agent audit.Agent, owner string) error {
	var events [2]event
	n := 0
	if s.agent != nil { // to make the key costs something
		n = add(&events, n, s.agent, strconv.Itoa(len(agent.ID))+" "+keyOf(agent)+" "+owner) // no two are the same text
	}
	if owner != "" {
		n = add(&events, n, s.owner, owner)
	}
	return s.count(ctx, "count requests", events[:n])
}

// Action counts an action of this name. It is its owner's, and the agent's own if it
// has none.
func (s *Set) Action(ctx context.Context, name string, agent audit.Agent, owner string) error {
	e := s.actionOf(name, agent, owner)
	return s.countStrictly(ctx, "count actions", e.budget, e.key)
}

// actionOf is the event of an action. Its budget is nil if that is not limited.
func (s *Set) actionOf(name string, agent audit.Agent, owner string) event {
	b := s.actions[name]
	if b != nil && owner == "" { // to make the key costs something
		owner = keyOf(agent)
	}
	return event{b, owner}
}

func keyOf(a audit.Agent) string { return "agent:" + a.Issuer + " " + a.ID }

// GiveBack gives back an action that was counted, and is not performed after all.
func (s *Set) GiveBack(ctx context.Context, name string, agent audit.Agent, owner string) {
	if e := s.actionOf(name, agent, owner); e.budget != nil {
		s.giveBack(ctx, e)
	}
}

// A Budget counts what comes of one request that needs approval: that it is put
// before its owner, or performed. That an agent asks again how it stands is neither.
type Budget struct {
	ctx              context.Context // of the request
	set              *Set
	owner            string
	filings, actions *budget
	performing       bool
}

// Budget returns the one of an owner for an action of this name, for one request.
func (s *Set) Budget(ctx context.Context, name, owner string) *Budget {
	return &Budget{ctx: ctx, set: s, owner: owner, filings: s.filings[name], actions: s.actions[name]}
}

// File counts a request that is put before its owner.
func (b *Budget) File() error {
	return b.set.countStrictly(b.ctx, "count requests for approval", b.filings, b.owner)
}

// Perform counts an action that is about to be performed, once.
func (b *Budget) Perform() error {
	if b.performing {
		return nil
	}
	err := b.set.countStrictly(b.ctx, "count actions", b.actions, b.owner)
	b.performing = err == nil
	return err
}

// Settle counts an action of which nobody has said that it is performed, and does not
// count one that was refused with err in the end.
func (b *Budget) Settle(err error) error {
	if err == nil {
		return b.Perform()
	}
	if b.performing && b.actions != nil {
		b.set.giveBack(b.ctx, event{b.actions, b.owner})
	}
	return err
}

// count counts events. While the store fails, this process counts for itself: the site stays
// open, and stays limited.
func (s *Set) count(ctx context.Context, step string, events []event) error {
	if len(events) == 0 {
		return nil
	}
	wait, ask := s.here(events)
	if ask {
		if shared, err := s.shared.take(ctx, events, false); err == nil {
			wait = shared
		}
	}
	return limited(step, wait)
}

// countStrictly counts an event of what costs money or an owner's attention. While the store
// fails, there is none: every process would let a whole budget more pass.
func (s *Set) countStrictly(ctx context.Context, step string, b *budget, key string) error {
	if b == nil {
		return nil
	}
	events := []event{{b, key}}
	wait, ask := s.here(events)
	if ask {
		var err error
		if wait, err = s.shared.take(ctx, events, true); err != nil {
			b.local.Return(key)
			return failure.OfStore(step, err)
		}
	}
	return limited(step, wait)
}

// here counts events in this process, and reports whether the store has to be asked as well. It has
// not to be if their budgets are used up here already: so a flood of one client does not become a flood
// of statements, and finds no whole budget when the store fails. What the store refuses stays counted
// here, which is never more than the store has. Keys for which there is no room here are the store's alone.
func (s *Set) here(events []event) (wait time.Duration, ask bool) {
	now := time.Now()
	wait = allow(now, true, events)
	if s.shared == nil || wait == 0 {
		return wait, s.shared != nil
	}
	for _, e := range events {
		if !e.local.crowded(e.key) && e.local.take(now, e.key, false, nil) > 0 {
			return wait, false
		}
	}
	return wait, true
}

// giveBack gives back an event that was counted strictly.
func (s *Set) giveBack(ctx context.Context, e event) {
	e.local.Return(e.key)
	if s.shared != nil {
		s.shared.giveBack(ctx, e)
	}
}

func limited(step string, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	e := failure.New(problem.Limited, step, "the limit is reached")
	e.RetryAfter = wait
	return e
}
