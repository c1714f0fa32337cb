package grants_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// serialStore is a database that does one thing after the other, each in serialTime,
// and counts what it does.
type serialStore struct {
	grants.Store
	turn   chan struct{}
	mu     *sync.Mutex
	writes *[]string
}

const serialTime = 30 * time.Millisecond

func newSerialStore(in grants.Store) serialStore {
	return serialStore{in, make(chan struct{}, 1), new(sync.Mutex), new([]string)}
}

func (s serialStore) use(call string) func() {
	s.turn <- struct{}{}
	time.Sleep(serialTime)
	s.mu.Lock()
	*s.writes = append(*s.writes, call)
	s.mu.Unlock()
	return func() { <-s.turn }
}

func (s serialStore) Grant(ctx context.Context, id string) (grants.Grant, error) {
	defer s.use("Grant")()
	return s.Store.Grant(ctx, id)
}

func (s serialStore) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	defer s.use("AgentGrants")()
	return s.Store.AgentGrants(ctx, a)
}

func (s serialStore) OwnerGrants(ctx context.Context, id string) ([]grants.Grant, error) {
	defer s.use("OwnerGrants")()
	return s.Store.OwnerGrants(ctx, id)
}

func (s serialStore) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	defer s.use("CreateGrant")()
	return s.Store.CreateGrant(ctx, g)
}

func (s serialStore) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	defer s.use("UpdateGrant")()
	return s.Store.UpdateGrant(ctx, g)
}

func (s serialStore) Rules(ctx context.Context) (grants.Rules, error) {
	defer s.use("Rules")()
	return s.Store.Rules(ctx)
}

func (s serialStore) AddDeed(ctx context.Context, d grants.Deed) error {
	defer s.use("AddDeed")()
	return s.Store.AddDeed(ctx, d)
}

// An accountKind is one of those between which an agent must not tell: the address
// that it gives, and what has happened with it.
type accountKind struct {
	name, email string
	prepare     func(*shop)
	cause       string // what the event says
}

var accountKinds = []accountKind{
	{"unknown", "carol@example.com", func(*shop) {}, "no account has the address"},
	{"known", "alice@example.com", func(*shop) {}, ""},
	{"unverified", "carol@example.com", func(s *shop) { s.users.Put(memstore.Account{Email: "carol@example.com"}) }, "not verified the account's address"},
	{"disabled", "carol@example.com", func(s *shop) {
		s.users.Put(memstore.Account{User: authagent.User{EmailVerified: true, Disabled: true}, Email: "carol@example.com"})
	}, "the account is disabled"},
	{"ambiguous", "carol@example.com", func(s *shop) { s.users.Add("carol@example.com", ""); s.users.Add("Carol@example.com", "") }, "several accounts"},
	{"privileged", "carol@example.com", func(s *shop) {
		s.users.Put(memstore.Account{User: authagent.User{ID: "root", EmailVerified: true}, Email: "carol@example.com"})
	}, "the account is privileged"},
	{"flooded", "alice@example.com", func(s *shop) {
		for n := range 3 {
			s.signIn(s.browser(), s.agent(fmt.Sprint("flood", n), "alice@example.com"))
		}
	}, "MaxNotices"},
	{"full", "alice@example.com", func(s *shop) {
		for n := range 10 {
			s.owners.LinkByOwner(context.Background(), authagent.LinkRequest{
				Agent: s.named(fmt.Sprint("own", n)), Scenario: "FullAccount", User: &authagent.User{ID: s.alice},
			})
		}
		s.wait()
	}, "as many agents as it may have"},
	{"waiting", "alice@example.com", func(s *shop) {
		s.signIn(s.browser(), s.agent("asks", "alice@example.com"))
		s.signIn(s.browser(), s.agent("asks2", "alice@example.com"))
	}, "waits for the owner already"},
	{"denied", "alice@example.com", func(s *shop) {
		for _, id := range []string{"asks", "asks2"} {
			s.signIn(s.browser(), s.agent(id, "alice@example.com"))
			s.decide(s.alice, id, grants.Denied)
		}
	}, "the owner has decided already: denied"},
	{"expired", "alice@example.com", func(s *shop) {
		for _, id := range []string{"asks", "asks2"} {
			s.signIn(s.browser(), s.agent(id, "alice@example.com"))
		}
		time.Sleep(25 * time.Hour)
	}, ""},
}

// newOracle returns a shop with a slow Audit, a slow Notify and a slow database, in
// which bob has let an agent in, and the browser of that one.
func newOracle(t *testing.T, kind accountKind, change ...func(*grants.Policy)) (s *shop, store serialStore, bobs *http.Client) {
	s = newShop(t, options{
		store: func(in grants.Store) grants.Store { store = newSerialStore(in); return store },
		policy: func(p *grants.Policy) {
			record := p.Audit
			p.Audit = func(ctx context.Context, e audit.Event) { time.Sleep(50 * time.Millisecond); record(ctx, e) }
			p.Notify = func(context.Context, grants.Notice) { time.Sleep(time.Second) }
			p.Privileged = func(_ context.Context, id string) (bool, error) {
				time.Sleep(serialTime)
				return id == "root", nil
			}
			for _, f := range change {
				f(p)
			}
		},
	})
	kind.prepare(s)
	if !s.owners.OwnerStartedOnly {
		agent := s.agent("bobs", "bob@example.com")
		bobs = s.browser()
		s.signIn(bobs, agent)
		s.decide(s.bob, "bobs", grants.Approved)
		for range 8 { // by then, it is known that Audit and the database are slow
			s.signIn(bobs, agent)
			s.get(bobs, "/me")
		}
	}
	s.wait()
	time.Sleep(time.Minute)
	return s, store, bobs
}

// TestSameTime_LNK_19 is LNK-19: not one answer, of the sign-in or after it, takes a moment
// longer or shorter because an account has the address, with an Audit that takes 50
// ms and a database that does one thing at a time. The clock is that of a bubble, so
// the times are exact.
func TestSameTime_LNK_19(t *testing.T) {
	measure := func(kind accountKind, pause time.Duration) (times []time.Duration, calls []string) {
		synctest.Test(t, func(t *testing.T) {
			s, store, bobs := newOracle(t, kind)
			first, second := s.browser(), s.browser()
			callbacks := []string{s.callback(first, s.agent("asks", kind.email)), s.callback(second, s.agent("asks2", kind.email))}
			s.get(bobs, "/me") // lest the next one records that the session is used
			s.wait()
			time.Sleep(time.Second)
			*store.writes = nil
			request := func(c *http.Client, target string) {
				start := time.Now()
				s.get(c, target)
				times = append(times, time.Since(start))
				time.Sleep(pause)
			}
			request(first, callbacks[0])
			request(bobs, "/me")
			request(second, callbacks[1])
			for range 5 {
				request(bobs, "/me")
			}
			s.wait()
			calls = slices.Sorted(slices.Values(*store.writes))
		})
		return times, calls
	}
	for pause := time.Millisecond; pause <= 46*time.Millisecond; pause += 9 * time.Millisecond {
		var want []time.Duration
		var wantCalls []string
		for _, kind := range accountKinds {
			times, calls := measure(kind, pause)
			if want == nil {
				want, wantCalls = times, calls
			}
			if diff := cmp.Diff(want, times); diff != "" {
				t.Errorf("LNK-19 %s, %v apart: the answers take another time than for an unknown address (-unknown +%s):\n%s", kind.name, pause, kind.name, diff)
			}
			if diff := cmp.Diff(wantCalls, calls); diff != "" {
				t.Errorf("LNK-19 %s, %v apart: other calls of the store (-unknown +%s):\n%s", kind.name, pause, kind.name, diff)
			}
		}
	}
}

// TestNoWaitForBackground_LNK_19 is LNK-19: no answer waits for what filing tells Audit.
func TestNoWaitForBackground_LNK_19(t *testing.T) {
	for _, email := range []string{"alice@example.com", "carol@example.com"} {
		bubble(t, email, func(t *testing.T) {
			s := newShop(t, options{policy: func(p *grants.Policy) {
				record := p.Audit
				p.Audit = func(ctx context.Context, e audit.Event) { time.Sleep(50 * time.Millisecond); record(ctx, e) }
			}})
			for n := range 20 {
				c := s.browser()
				callback := s.callback(c, s.agent(fmt.Sprint("a", n), email))
				start := time.Now()
				s.get(c, callback)
				took := time.Since(start)
				if own := took == 50*time.Millisecond && n < 8; took != 0 && !own { // its own event, until Audit is known to be slow
					t.Errorf("LNK-19: answer %d takes %v", n, took)
				}
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestCause_LNK_21 is LNK-21: each sign-in that ends with approval_needed leaves one event,
// which says what has become of the request, or why there is none.
func TestCause_LNK_21(t *testing.T) {
	check := func(t *testing.T, kind accountKind, change ...func(*grants.Policy)) {
		s, _, _ := newOracle(t, kind, change...)
		s.events.take()
		c := s.browser()
		resp := s.signIn(c, s.agent("asks", kind.email))
		if resp.reason() != problem.ApprovalNeeded {
			t.Errorf("answer: %s", resp.body)
		}
		if kind.cause != "" && strings.Contains(resp.body, kind.cause) {
			t.Errorf("LNK-21: the agent learns the cause: %s", resp.body)
		}
		var got []audit.Event
		for _, e := range s.events.take() {
			if e.Name == grants.EventDropped || e.Name == grants.EventPending {
				got = append(got, e)
			}
		}
		if len(got) != 1 || got[0].Agent != s.named("asks") || !strings.Contains(got[0].Detail, kind.cause) || (kind.cause == "") != (got[0].Name == grants.EventPending) {
			t.Errorf("LNK-21: events %+v, want one of which the cause is %q", got, kind.cause)
		}
	}
	for _, kind := range accountKinds {
		bubble(t, kind.name, func(t *testing.T) { check(t, kind) })
	}
	for _, kind := range accountKinds[:2] {
		kind.cause = "OwnerStartedOnly"
		bubble(t, "only owners, "+kind.name, func(t *testing.T) {
			check(t, kind, func(p *grants.Policy) { p.OwnerStartedOnly = true })
		})
	}
}

// TestNoShadowOfAddresses_LNK_22 is LNK-22: whatever addresses are named, one grant more is in the
// store, of nobody, and it has expired.
func TestNoShadowOfAddresses_LNK_22(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		created := &countedGrants{}
		s := newShop(t, options{store: func(in grants.Store) grants.Store { created.Store = in; return created }})
		for n := range 50 {
			s.wantSignIn(s.browser(), s.agent(fmt.Sprint("a", n), fmt.Sprintf("u%d@example.com", n)), 403, problem.ApprovalNeeded)
		}
		if len(created.all) != 1 {
			t.Fatalf("LNK-22: %d grants for addresses that no account has, want 1", len(created.all))
		}
		if g, err := s.store.Grant(t.Context(), created.all[0].ID); err != nil || g.Now() != grants.Expired || g.State != grants.Pending || g.Email != "" {
			t.Errorf("LNK-22: %+v, %v", g, err)
		}
	})
}

type countedGrants struct {
	grants.Store
	all []grants.Grant
}

func (c *countedGrants) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	have, created, err := c.Store.CreateGrant(ctx, g)
	if created {
		c.all = append(c.all, g)
	}
	return have, created, err
}

// TestUnknownHuman_LNK_25 is LNK-25: an owner's page of somebody whom the UserStore does not
// know leaves an event, once an hour.
func TestUnknownHuman_LNK_25(t *testing.T) {
	var events log[audit.Event]
	s := newSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Audit = func(_ context.Context, e audit.Event) { events.add(e) }
	})
	for range 3 {
		for _, id := range []string{s.alice, "alice@example.com"} {
			if got := s.do(s.human(id), "GET", agents, ""); got.StatusCode != http.StatusOK {
				t.Errorf("%s: %d", id, got.StatusCode)
			}
		}
	}
	s.owners.Wait()
	all := events.take()
	if len(all) != 1 || all[0].Name != grants.EventUnknownHuman || all[0].HumanID != "alice@example.com" || all[0].Detail == "" {
		t.Errorf("LNK-25: events %+v, want one about alice@example.com", all)
	}
}

// rowCost is a store for which each row that it reads takes its time, as for a database.
type rowCost struct{ *memstore.Grants }

func (r rowCost) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	all, err := r.Grants.AgentGrants(ctx, a)
	time.Sleep(time.Duration(len(all)) * time.Millisecond)
	return all, err
}

func (r rowCost) Entries(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	all, err := r.Grants.Entries(ctx, a)
	time.Sleep(time.Duration(len(all)) * time.Millisecond)
	return all, err
}

// TestNextAnswer_LNK_46: the request that an agent has filed is a row of the store. A
// further sign-in of that agent does not read it before it is answered, so the answer
// takes as long as where there is no account.
func TestNextAnswer_LNK_46(t *testing.T) {
	bubble(t, "LNK-46", func(t *testing.T) {
		s := newShop(t, options{store: func(grants.Store) grants.Store { return rowCost{&memstore.Grants{}} }})
		next := func(id, email string) time.Duration {
			agent := s.agent(id, email)
			s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
			c := s.browser()
			callback := s.callback(c, agent)
			start := time.Now()
			s.get(c, callback)
			took := time.Since(start)
			s.wait()
			return took
		}
		if there, not := next("agent_1", "alice@example.com"), next("agent_2", "nobody@example.com"); there != not {
			t.Errorf("the second answer takes %v where there is an account, and %v where there is none", there, not)
		}
	})
}
