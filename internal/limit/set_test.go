package limit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A store counts how often it is asked, and may be broken.
type store struct {
	memstore.Limits
	mu     sync.Mutex
	asked  int
	broken func(context.Context) error
}

func (s *store) Take(ctx context.Context, budgets ...limits.Budget) (time.Duration, error) {
	s.mu.Lock()
	s.asked++
	broken := s.broken
	s.mu.Unlock()
	if broken != nil {
		if err := broken(ctx); err != nil {
			return 0, err
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.Limits.Take(ctx, budgets...)
}

func (s *store) Return(ctx context.Context, budgets ...limits.Budget) error {
	if s.broken != nil {
		return s.broken(ctx)
	}
	return s.Limits.Return(ctx, budgets...)
}

func (s *store) breaks(how func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.asked = how, 0
}

func fails(context.Context) error { return errors.New("down") }

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func site(log *bytes.Buffer) limit.Site {
	return limit.Site{Issuer: "https://as.example", ClientID: "site", Panics: failure.Panics{Logger: slog.New(slog.NewTextHandler(log, nil))}}
}

var (
	alice = audit.Agent{Issuer: "https://as.example", ID: "alice's"}
	other = audit.Agent{Issuer: "https://as.example", ID: "another"}
)

func reason(err error) problem.Reason {
	got, _ := failure.ReasonOf(err)
	return got
}

// passed counts how many of n calls return no error. The others say that a limit is reached.
func passed(t *testing.T, n int, f func() error) (passed int) {
	t.Helper()
	for range n {
		switch err := f(); {
		case err == nil:
			passed++
		case reason(err) != problem.Limited || failure.As(err).RetryAfter <= 0:
			t.Errorf("%v", err)
		}
	}
	return passed
}

// TestTogether: two instances with a store let as many pass as one; without a store, each does.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []bool{false, true} {
			settings, want := limits.Settings{Agent: limits.Rate{N: 4}, Actions: map[string]limits.Rate{"a": {N: 4}}}, 8
			if shared {
				settings.Store, want = &store{}, 4
			}
			var log bytes.Buffer
			one, two := limit.NewSet(settings, site(&log)), limit.NewSet(settings, site(&log))
			requests := func(s limit.Set) int {
				return passed(t, 10, func() error { return s.Request(t.Context(), alice, "user") })
			}
			if got := requests(one) + requests(two); got != want {
				t.Errorf("LIM-3: shared %v: %d requests pass, want %d", shared, got, want)
			}
			actions := func(s limit.Set) int {
				return passed(t, 10, func() error { return s.Action(t.Context(), "a", alice, "user") })
			}
			if got := actions(one) + actions(two); got != want {
				t.Errorf("LIM-3: shared %v: %d actions pass, want %d", shared, got, want)
			}
		}
	})
}

// TestBoth_LIM_14: a request that its agent's or its owner's limit refuses uses up neither.
func TestBoth_LIM_14(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []limits.Store{nil, &store{}} {
			s := limit.NewSet(limits.Settings{Store: shared, Agent: limits.Rate{N: 4}, Owner: limits.Rate{N: 6}}, site(new(bytes.Buffer)))
			request := func(a audit.Agent, owner string) int {
				return passed(t, 10, func() error { return s.Request(t.Context(), a, owner) })
			}
			if got := request(alice, "user"); got != 4 {
				t.Errorf("LIM-14: %d of one agent pass, want 4", got)
			}
			if got := request(other, "user"); got != 2 {
				t.Errorf("LIM-14: %d of another pass, want the 2 that are left to the owner", got)
			}
			time.Sleep(10 * time.Second) // one for the owner; the other agent has used 2 of 4
			if got := request(other, "user"); got != 1 {
				t.Errorf("LIM-14: %d of another pass after a while, want 1", got)
			}
			if got := request(alice, ""); got != 4 {
				t.Errorf("LIM-14: %d without an owner pass, want 4", got)
			}
		}
	})
}

// TestWider_LIM_7: all of a /48 network have 16 times as much as a /64.
func TestWider_LIM_7(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []limits.Store{nil, &store{}} {
			s := limit.NewSet(limits.Settings{Store: shared, Callbacks: limits.Rate{N: math.MaxInt}}, site(new(bytes.Buffer)))
			for _, network := range []string{"2a00:1:1", "2a00:1:2"} {
				all := 0
				for i := range 40 {
					got := passed(t, 12, func() error { return s.Login(t.Context(), fmt.Sprintf("%s:%x::1", network, i)) })
					if all += got; got != 10 && i < 16 {
						t.Errorf("LIM-7: %d of one /64 pass, want 10", got)
					}
				}
				if all != 160 {
					t.Errorf("LIM-7: %d of one /48 pass, want 160", all)
				}
			}
			if got := passed(t, 12, func() error { return s.Login(t.Context(), "203.0.113.7:1") }); got != 10 {
				t.Errorf("LIM-7: %d of IPv4 pass, want 10", got)
			}
			if got := passed(t, 100, func() error { return s.Callback(t.Context(), "[2a00:1:1::1]:1") }); got != 100 {
				t.Errorf("LIM-7: %d callbacks pass, want all", got)
			}
		}
		told := limit.NewAddresses(10, time.Minute)
		all := 0
		for i := range 1000 {
			if told.Allow(fmt.Sprintf("2a00:1:1:%x::1", i)) {
				all++
			}
		}
		if all != 160 || !told.Allow("203.0.113.7") || !told.Allow("") {
			t.Errorf("LIM-7: %d of one /48 are told, want 160", all)
		}
	})
}

// TestApart_LIM_8: nothing that is counted is counted in another's budget.
func TestApart_LIM_8(t *testing.T) {
	one := limits.Rate{N: 1, Per: time.Hour}
	settings := limits.Settings{
		Store: &store{}, Logins: one, Callbacks: one, Agent: one, Owner: one, Actions: map[string]limits.Rate{"a": one, "b": one},
	}
	for _, at := range []limit.Site{
		{Issuer: "https://as.example", ClientID: "one"}, {Issuer: "https://as.example", ClientID: "two"},
		{Issuer: "https://as.example/x", ClientID: "one"}, {Issuer: `https://as.example" "x`, ClientID: "one"}, {Issuer: "https://as.example", ClientID: `x" "one`},
	} {
		at.Panics = site(new(bytes.Buffer)).Panics
		s, ctx := limit.NewSet(settings, at), t.Context()
		for what, f := range map[string]func() error{
			"login":    func() error { return s.Login(ctx, "203.0.113.7") },
			"callback": func() error { return s.Callback(ctx, "203.0.113.7") },
			"request":  func() error { return s.Request(ctx, alice, "user") },
			"alike": func() error {
				return s.Request(ctx, audit.Agent{Issuer: alice.Issuer, ID: alice.ID + " user"}, "")
			},
			"action":    func() error { return s.Action(ctx, "a", alice, "user") },
			"action b":  func() error { return s.Action(ctx, "b", alice, "user") },
			"performed": func() error { return s.Budget(ctx, "a", "another").Perform() },
			"filed":     func() error { return s.Budget(ctx, "a", "another").File() },
		} {
			if got := passed(t, 3, f); got != 1 {
				t.Errorf("LIM-8: %s at %v: %d pass, want 1", what, at, got)
			}
		}
	}
}

// TestAway_LIM_6: what happens while the store fails, or hangs.
func TestAway_LIM_6(t *testing.T) {
	for name, how := range map[string]func(context.Context) error{
		"fails": fails, "hangs": hangs, "panics": func(context.Context) error { panic("a fault") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared, log := &store{}, new(bytes.Buffer)
				s := limit.NewSet(limits.Settings{
					Store: shared, Agent: limits.Rate{N: 5, Per: time.Hour}, Actions: map[string]limits.Rate{"a": {N: 3, Per: time.Hour}},
				}, site(log))
				shared.breaks(how)
				began := time.Now()
				for range 60 {
					s.Login(t.Context(), "203.0.113.9")
				}
				if took := time.Since(began); took > time.Second || shared.asked != 1 {
					t.Errorf("LIM-6: 60 logins took %v and asked %d times", took, shared.asked)
				}
				if got := passed(t, 60, func() error { return s.Request(t.Context(), alice, "user") }); got != 5 {
					t.Errorf("LIM-6: %d requests pass, want 5", got)
				}
				if got := passed(t, 60, func() error { return s.Login(t.Context(), "203.0.113.7") }); got != 10 {
					t.Errorf("LIM-6: %d logins pass, want 10", got)
				}
				if got := passed(t, 60, func() error { return s.Callback(t.Context(), "203.0.113.7") }); got != 20 {
					t.Errorf("LIM-6: %d callbacks pass, want 20", got)
				}
				budget := s.Budget(t.Context(), "a", "user")
				for what, err := range map[string]error{
					"action": s.Action(t.Context(), "a", alice, "user"), "filing": budget.File(), "performing": budget.Perform(), "settled": budget.Settle(nil),
				} {
					if reason(err) != problem.StoreFailed || failure.As(err).RetryAfter <= 0 {
						t.Errorf("LIM-6: %s: %v", what, err)
					}
				}
				if err := s.Action(t.Context(), "unlimited", alice, "user"); err != nil {
					t.Errorf("LIM-6: an action without a limit: %v", err)
				}

				// Of many that come after the pause, one asks.
				time.Sleep(3 * time.Second)
				shared.breaks(how)
				began = time.Now()
				var group sync.WaitGroup
				for i := range 50 {
					group.Go(func() { s.Login(t.Context(), fmt.Sprint("198.51.100.", i)) })
				}
				group.Wait()
				if took := time.Since(began); took > time.Second || shared.asked != 1 {
					t.Errorf("LIM-6: after the pause, the store was asked %d times, in %v", shared.asked, took)
				}
				if n := strings.Count(log.String(), "the store of limits failed"); n != 1 {
					t.Errorf("LIM-6: logged %d times:\n%s", n, log)
				}

				// The store is back, and knows nothing of the outage.
				time.Sleep(3 * time.Second)
				shared.breaks(nil)
				if got := passed(t, 60, func() error { return s.Action(t.Context(), "a", alice, "user") }); got != 3 {
					t.Errorf("LIM-6: %d actions pass after the outage, want 3", got)
				}
				time.Sleep(time.Minute)
				shared.breaks(how)
				s.Login(t.Context(), "203.0.113.99")
				if n := strings.Count(log.String(), "the store of limits failed"); n != 2 {
					t.Errorf("LIM-6: logged %d times in two minutes", n)
				}
			})
		})
	}
}

// TestFlood_LIM_9: a flood of what is refused is not passed on to the store, and a store that fails gives
// nobody a whole budget.
func TestFlood_LIM_9(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store{}
		s := limit.NewSet(limits.Settings{Store: shared, Agent: limits.Rate{N: 2, Per: time.Hour}, Actions: map[string]limits.Rate{"a": {N: 1, Per: time.Hour}}},
			site(new(bytes.Buffer)))
		request := func() error { return s.Request(t.Context(), alice, "user") }
		if got := passed(t, 1000, request); got != 2 || shared.asked != 2 {
			t.Errorf("LIM-9: %d pass, and the store was asked %d times, want 2 and 2", got, shared.asked)
		}
		time.Sleep(5 * time.Second)
		if wait := failure.As(request()).RetryAfter; wait != 30*time.Minute-5*time.Second {
			t.Errorf("LIM-9: wait %v, want what is left of half an hour", wait)
		}
		shared.breaks(fails)
		if got := passed(t, 10, request); got != 0 {
			t.Errorf("LIM-9: %d pass since the store fails, want none", got)
		}
		shared.breaks(nil)
		if got := passed(t, 5, func() error { return s.Request(t.Context(), other, "user") }); got != 2 {
			t.Errorf("LIM-9: %d of another pass, want 2", got)
		}
		// What other instances have used up is asked about as often as there is room here.
		shared.breaks(nil)
		another := limit.NewSet(limits.Settings{Store: shared, Agent: limits.Rate{N: 2, Per: time.Hour}}, site(new(bytes.Buffer)))
		if got := passed(t, 1000, func() error { return another.Request(t.Context(), alice, "user") }); got != 0 || shared.asked != 2 {
			t.Errorf("LIM-9: %d pass, and the store was asked %d times, want none and 2", got, shared.asked)
		}
		// What is given back can be had at once.
		budget := s.Budget(t.Context(), "a", "user")
		if budget.Perform() != nil || s.Action(t.Context(), "a", alice, "user") == nil {
			t.Error("LIM-9: the budget is not one")
		}
		if budget.Settle(errors.New("nothing was done")) == nil || s.Action(t.Context(), "a", alice, "user") != nil {
			t.Error("LIM-4: what was given back cannot be had")
		}
		s.GiveBack(t.Context(), "a", alice, "user")
		if s.Action(t.Context(), "a", alice, "user") != nil || s.Action(t.Context(), "a", alice, "user") == nil {
			t.Error("LIM-4: what was given back cannot be had once")
		}
	})
}

// everything is a store that lets everything pass.
type everything struct{}

func (everything) Take(context.Context, ...limits.Budget) (time.Duration, error) { return 0, nil }
func (everything) Return(context.Context, ...limits.Budget) error                { return nil }

// TestCrowded_LIM_9: where there is no room for a key in this process, the store decides alone.
func TestCrowded_LIM_9(t *testing.T) {
	s := limit.NewSet(limits.Settings{Store: everything{}, Agent: limits.Rate{N: 1, Per: time.Hour}}, site(new(bytes.Buffer)))
	for i := range 1<<17 + 100 {
		if err := s.Request(t.Context(), audit.Agent{ID: fmt.Sprint(i)}, ""); err != nil {
			t.Fatalf("LIM-9: agent %d: %v", i, err)
		}
	}
	if s.Request(t.Context(), audit.Agent{ID: "0"}, "") == nil {
		t.Error("LIM-9: an agent whose budget is used up here passes")
	}
}

// TestBusy_LIM_9: of a flood at once, a bounded number of calls is under way, and none counts as a failure.
func TestBusy_LIM_9(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, log := &store{}, new(bytes.Buffer)
		s := limit.NewSet(limits.Settings{Store: shared, Agent: limits.Rate{N: 1000}, Actions: map[string]limits.Rate{"a": {N: 5}}}, site(log))
		var now, most atomic.Int64
		shared.breaks(func(context.Context) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(300 * time.Millisecond)
			now.Add(-1)
			return nil
		})
		var group sync.WaitGroup
		for range 500 {
			group.Go(func() { s.Request(t.Context(), alice, "user") })
		}
		group.Go(func() {
			if err := s.Action(t.Context(), "a", other, "another"); err != nil {
				t.Errorf("LIM-9: an action of another owner: %v", err)
			}
		})
		group.Wait()
		if most.Load() > 9 || log.Len() > 0 {
			t.Errorf("LIM-9: %d calls at once; the log has %s", most.Load(), log)
		}
	})
}

// TestGone_LIM_10: a client that goes away neither escapes its limit nor has the store taken
// for one that fails.
func TestGone_LIM_10(t *testing.T) {
	shared, log := &store{}, new(bytes.Buffer)
	s := limit.NewSet(limits.Settings{Store: shared, Agent: limits.Rate{N: 3, Per: time.Hour}}, site(log))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := passed(t, 10, func() error { return s.Request(ctx, alice, "user") }); got != 3 || log.Len() > 0 {
		t.Errorf("LIM-10: %d pass, want 3\n%s", got, log)
	}
	if got := passed(t, 10, func() error { return limitOf(shared).Request(t.Context(), alice, "user") }); got != 0 {
		t.Errorf("LIM-10: %d pass at another instance, want none", got)
	}
}

func limitOf(shared limits.Store) *limit.Set {
	s := limit.NewSet(limits.Settings{Store: shared, Agent: limits.Rate{N: 3, Per: time.Hour}}, site(new(bytes.Buffer)))
	return &s
}

func BenchmarkSet(b *testing.B) {
	often := limits.Rate{N: 1e9}
	settings := limits.Settings{Agent: often, Owner: often, Actions: map[string]limits.Rate{"a": often}}
	s, none := limit.NewSet(settings, site(new(bytes.Buffer))), limit.NewSet(limits.Settings{}, site(new(bytes.Buffer)))
	agent := audit.Agent{Issuer: "https://as.example", ID: "agent_1"}
	for _, test := range []struct {
		name string
		f    func(context.Context) error
	}{
		{"request", func(ctx context.Context) error { return s.Request(ctx, agent, "user_1") }},
		{"action", func(ctx context.Context) error { return s.Action(ctx, "a", agent, "user_1") }},
		{"login", func(ctx context.Context) error { s.Login(ctx, "203.0.113.7:1"); return nil }},
		{"login6", func(ctx context.Context) error { s.Login(ctx, "[2001:db8::7]:1"); return nil }},
		{"unlimited", func(ctx context.Context) error { return none.Request(ctx, agent, "user_1") }},
	} {
		b.Run(test.name, func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if err := test.f(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
