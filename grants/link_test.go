package grants_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { t.Helper(); synctest.Test(t, f) })
}

// TestFirstEntry is LNK-1 and LNK-2: an address opens nothing, and its owner is
// asked.
func TestFirstEntry(t *testing.T) {
	for _, scenario := range []string{"FullAccount", "ContextualProfile"} {
		bubble(t, "LNK-1 LNK-2 "+scenario, func(t *testing.T) {
			s := newShop(t, options{scenario: scenario})
			c := s.browser()
			resp := s.signIn(c, s.agent("agent_1", "alice@example.com"))
			if resp.StatusCode != http.StatusForbidden || resp.reason() != problem.ApprovalNeeded {
				t.Errorf("sign-in: %d %s", resp.StatusCode, resp.body)
			}
			for _, secret := range []string{s.alice, "Alice", "alice@"} {
				if strings.Contains(resp.body, secret) {
					t.Errorf("the answer says %q: %s", secret, resp.body)
				}
			}
			s.want(c, "GET", "/me", 401, problem.NoSession)
			g := s.grants(s.alice)["agent_1"]
			want := grants.Grant{
				ID: g.ID, Version: 1, Agent: s.named("agent_1"), Scenario: scenario, UserID: s.alice, State: grants.Pending, Access: authagent.AccessRead,
				Name: "N", Model: "m", Email: "alice@example.com", RequestedAt: time.Now(), RequestedFrom: g.RequestedFrom,
				ExpiresAt: time.Now().Add(24 * time.Hour),
			}
			if diff := cmp.Diff(want, g); diff != "" || g.RequestedFrom == "" {
				t.Errorf("grant (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"link_pending " + s.alice}, s.told()); diff != "" {
				t.Errorf("notices (-want +got):\n%s", diff)
			}
			if all := s.profiles.All(); len(all) != 0 {
				t.Errorf("profiles before anybody has approved: %v", all)
			}
		})
	}
}

// TestWhatApprovalGives is LNK-4: reading by default, what was chosen if more was,
// for as long as was chosen, and never more than the scenario gives.
func TestWhatApprovalGives(t *testing.T) {
	for _, test := range []struct {
		name, scenario string
		change         func(*grants.Decision)
		access         authagent.Access
		read, write    int
		order          int
	}{
		{"read", "FullAccount", func(*grants.Decision) {}, authagent.AccessRead, 200, 403, 403},
		{"read and an action", "FullAccount", func(d *grants.Decision) { d.Actions = []string{"orders:create"} }, authagent.AccessRead, 200, 403, 200},
		{"full", "FullAccount", withFullAccess, authagent.AccessFull, 200, 200, 200},
		{"full", "ContextualProfile", withFullAccess, authagent.AccessRead, 200, 403, 403},
		{"an action", "ContextualProfile", func(d *grants.Decision) { d.Actions = []string{"orders:create"} }, authagent.AccessRead, 200, 403, 200},
	} {
		bubble(t, "LNK-4 "+test.scenario+" "+test.name, func(t *testing.T) {
			s := newShop(t, options{scenario: test.scenario})
			_, c := s.approved("agent_1", test.change, func(d *grants.Decision) { d.For = time.Hour })
			for _, r := range []struct {
				method, path string
				want         int
			}{{"GET", "/me", test.read}, {"POST", "/me", test.write}, {"POST", "/orders", test.order}, {"DELETE", "/orders/1", test.write}} {
				if got := s.do(c, r.method, r.path, "").StatusCode; got != r.want {
					t.Errorf("%s %s: %d, want %d", r.method, r.path, got, r.want)
				}
			}
			time.Sleep(time.Hour - time.Minute)
			s.wantSignIn(c, s.agent("agent_1", "alice@example.com"), 303, "")
			time.Sleep(time.Minute)
			s.want(c, "GET", "/me", 401, problem.NoSession)
		})
	}
}

// TestApprovalIsBound is LNK-4: an approval is for what its owner has seen, once,
// in time, and for nobody else.
func TestApprovalIsBound(t *testing.T) {
	ctx := context.Background()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{})
		a := s.agent("agent_a", "alice@example.com")
		s.wantSignIn(s.browser(), a, 403, problem.ApprovalNeeded)
		g := s.grants(s.alice)["agent_a"]
		good := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead, Actions: []string{"orders:create", "orders:create"}}
		for _, test := range []struct {
			name   string
			user   string
			change func(*grants.Decision)
			want   error
		}{
			{"of bob", s.bob, func(*grants.Decision) {}, authagent.ErrNotFound},
			{"of nobody", "", func(*grants.Decision) {}, authagent.ErrNotFound},
			{"another grant", s.alice, func(d *grants.Decision) { d.GrantID = "g" }, authagent.ErrNotFound},
			{"no grant", s.alice, func(d *grants.Decision) { d.GrantID = "" }, authagent.ErrNotFound},
			{"another version", s.alice, func(d *grants.Decision) { d.Version++ }, authagent.ErrConflict},
			{"no version", s.alice, func(d *grants.Decision) { d.Version = 0 }, authagent.ErrConflict},
			{"no access", s.alice, func(d *grants.Decision) { d.Access = authagent.AccessNone }, grants.ErrDecision},
			{"strange access", s.alice, func(d *grants.Decision) { d.Access = 7 }, grants.ErrDecision},
			{"strange action", s.alice, func(d *grants.Decision) { d.Actions = []string{"payouts:create"} }, grants.ErrDecision},
			{"empty action", s.alice, func(d *grants.Decision) { d.Actions = []string{""} }, grants.ErrDecision},
			{"negative time", s.alice, func(d *grants.Decision) { d.For = -1 }, grants.ErrDecision},
			{"to pending", s.alice, func(d *grants.Decision) { d.State = grants.Pending }, grants.ErrDecision},
			{"to expired", s.alice, func(d *grants.Decision) { d.State = grants.Expired }, grants.ErrDecision},
			{"to nothing", s.alice, func(d *grants.Decision) { d.State = "" }, grants.ErrDecision},
			{"to suspended", s.alice, func(d *grants.Decision) { d.State = grants.Suspended }, grants.ErrDecision},
			{"to revoked", s.alice, func(d *grants.Decision) { d.State = grants.Revoked }, grants.ErrDecision},
		} {
			d := good
			test.change(&d)
			if _, err := s.owners.Decide(ctx, test.user, d); !errors.Is(err, test.want) {
				t.Errorf("LNK-4 %s: %v, want %v", test.name, err, test.want)
			}
		}
		if diff := cmp.Diff(g, s.grants(s.alice)["agent_a"]); diff != "" {
			t.Errorf("LNK-4: what was refused has changed the grant (-want +got):\n%s", diff)
		}
		s.told()
		s.happened()
		got, err := s.owners.Decide(ctx, s.alice, good)
		if diff := cmp.Diff([]string{"orders:create"}, got.Actions); err != nil || diff != "" || !got.ExpiresAt.Equal(time.Now().Add(90*24*time.Hour)) {
			t.Errorf("approve: %v %+v", err, got)
		}
		if _, err := s.owners.Decide(ctx, s.alice, good); !errors.Is(err, authagent.ErrConflict) {
			t.Errorf("LNK-4 approve twice: %v", err)
		}
		if diff := cmp.Diff([]audit.Name{grants.EventApproved}, s.happened()); diff != "" {
			t.Errorf("LOG-3 events (-want +got):\n%s", diff)
		}
		s.wantSignIn(s.browser(), a, 303, "")
		s.wantSignIn(s.browser(), s.agent("agent_b", "alice@example.com"), 403, problem.ApprovalNeeded) // the same address, name and model
		s.wantSignIn(s.browser(), s.agent("Agent_a", "alice@example.com"), 403, problem.ApprovalNeeded)

		b := s.grants(s.alice)["agent_b"]
		time.Sleep(24 * time.Hour)
		for _, state := range []grants.State{grants.Approved, grants.Denied} {
			d := grants.Decision{GrantID: b.ID, Version: b.Version, State: state, Access: authagent.AccessRead}
			if _, err := s.owners.Decide(ctx, s.alice, d); !errors.Is(err, grants.ErrExpired) {
				t.Errorf("LNK-4 %s after it expired: %v", state, err)
			}
		}
	})
}

// TestScenariosAreApart is LNK-4: an approval in one scenario says nothing about
// another, at two relying parties with one store.
func TestScenariosAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{})
		agent, c := s.approved("agent_1")
		s.options.scenario = "ContextualProfile"
		s.instance("contextual")
		if resp := s.signIn(s.browser(), agent, "X-Instance", "contextual"); resp.reason() != problem.ApprovalNeeded {
			t.Errorf("LNK-4 in another scenario: %d %s", resp.StatusCode, resp.body)
		}
		s.want(c, "GET", "/me", 200, "")
		if n := len(s.overview(s.alice).Grants); n != 2 {
			t.Errorf("%d grants, want one for each scenario", n)
		}
	})
}

// TestEmailChange is LNK-5 and LNK-6: another address at the server moves an
// agent nowhere, and stops it until its owner says otherwise.
func TestEmailChange(t *testing.T) {
	for _, email := range []string{"bob@example.com", "nobody@example.com", "not an address", "ALICE@example.com.evil.example"} {
		bubble(t, "LNK-5 LNK-6 "+email, func(t *testing.T) {
			s := newShop(t, options{})
			_, c := s.approved("agent_1")
			s.told()
			s.happened()
			agent := s.agent("agent_1", email)
			s.wantSignIn(s.browser(), agent, 403, problem.Suspended)
			if diff := cmp.Diff([]string{"link_suspended " + s.alice}, s.told()); diff != "" {
				t.Errorf("LNK-6 notices (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]audit.Name{grants.EventSuspended}, s.happened()); diff != "" {
				t.Errorf("LNK-6 events (-want +got):\n%s", diff)
			}
			s.want(c, "GET", "/me", 401, problem.NoSession) // the session that it had has ended
			if all := s.grants(s.bob); len(all) != 0 {
				t.Errorf("LNK-5: bob has %v", all)
			}
			s.wantSignIn(s.browser(), agent, 403, problem.Suspended)
			s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 403, problem.Suspended) // the old one again
			if told := s.told(); len(told) != 0 {
				t.Errorf("LNK-6: told again: %v", told)
			}
			agent = s.agent("agent_1", email)
			s.decide(s.alice, "agent_1", grants.Approved)
			c = s.browser()
			for range 2 { // and so it stays
				s.wantSignIn(c, agent, 303, "")
				if resp := s.get(c, "/me"); !strings.Contains(resp.body, `"user_id":"`+s.alice+`"`) {
					t.Errorf("LNK-5: %s", resp.body)
				}
			}
			if all := s.grants(s.bob); len(all) != 0 {
				t.Errorf("LNK-5: bob has %v", all)
			}
		})
	}
}

// TestNobodyIsAsked is LNK-7, LNK-8 and LNK-10: where there is no account that
// could be entered, nobody is asked and nothing is created.
func TestNobodyIsAsked(t *testing.T) {
	for name, prepare := range map[string]func(*shop){
		"LNK-10 unknown":   func(*shop) {},
		"LNK-7 unverified": func(s *shop) { s.users.Put(memstore.Account{Email: "carol@example.com"}) },
		"LNK-8 ambiguous":  func(s *shop) { s.users.Add("carol@example.com", ""); s.users.Add("Carol@example.com", "") },
		"LNK-9 disabled": func(s *shop) {
			s.users.Put(memstore.Account{User: authagent.User{EmailVerified: true, Disabled: true}, Email: "carol@example.com"})
		},
		"LNK-18 privileged": func(s *shop) {
			s.users.Put(memstore.Account{User: authagent.User{ID: "root", EmailVerified: true}, Email: "carol@example.com"})
		},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newShop(t, options{
				policy: func(p *grants.Policy) {
					p.Privileged = func(_ context.Context, id string) (bool, error) { return id == "root", nil }
				},
				config: func(_ *shop, c *authagent.Config) { c.CreateUsers = true },
			})
			prepare(s)
			before := s.users.All()
			s.wantSignIn(s.browser(), s.agent("agent_1", "carol@example.com"), 403, problem.ApprovalNeeded)
			if all, _ := s.store.AgentGrants(context.Background(), s.named("agent_1")); len(all) != 0 {
				t.Errorf("grants: %v", all)
			}
			if told := s.told(); len(told) != 0 {
				t.Errorf("told: %v", told)
			}
			if diff := cmp.Diff(before, s.users.All()); diff != "" {
				t.Errorf("accounts (-before +after):\n%s", diff)
			}
		})
	}
}

// TestOwnerIsGone is LNK-9: neither a disabled account nor one that is gone is
// entered, whoever has its address now.
func TestOwnerIsGone(t *testing.T) {
	for name, change := range map[string]func(s *shop){
		"disabled": func(s *shop) {
			a, _ := s.users.Get(s.alice)
			a.Disabled = true
			s.users.Put(a)
		},
		"removed":         func(s *shop) { s.users.Remove(s.alice) },
		"removed, reused": func(s *shop) { s.users.Remove(s.alice); s.users.Add("alice@example.com", "Another") },
		"disabled, reused": func(s *shop) {
			s.users.Put(memstore.Account{User: authagent.User{ID: s.alice, EmailVerified: true, Disabled: true}, Email: "old@example.com"})
			s.users.Add("alice@example.com", "Another")
		},
	} {
		for _, scenario := range []string{"FullAccount", "ContextualProfile"} {
			bubble(t, "LNK-9 "+name+" "+scenario, func(t *testing.T) {
				s := newShop(t, options{scenario: scenario})
				agent, c := s.approved("agent_1", withFullAccess)
				change(s)
				before := s.users.All()
				s.want(c, "GET", "/me", 401, problem.NoSession)
				s.wantSignIn(c, agent, 403, problem.NoAccount)
				s.want(c, "GET", "/me", 401, problem.NoSession)
				if diff := cmp.Diff(before, s.users.All()); diff != "" {
					t.Errorf("accounts (-before +after):\n%s", diff)
				}
				if all, _ := s.store.AgentGrants(context.Background(), s.named("agent_1")); len(all) != 1 || all[0].UserID != s.alice {
					t.Errorf("grants: %v", all)
				}
			})
		}
	}
}

// slowStore takes its time for each call, as a database does.
type slowStore struct {
	grants.Store
	*memstore.Users
}

const storeTime = 2 * time.Millisecond

func (s slowStore) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	time.Sleep(storeTime)
	return s.Store.AgentGrants(ctx, a)
}

func (s slowStore) OwnerGrants(ctx context.Context, id string) ([]grants.Grant, error) {
	time.Sleep(storeTime)
	return s.Store.OwnerGrants(ctx, id)
}

func (s slowStore) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	time.Sleep(storeTime)
	return s.Store.CreateGrant(ctx, g)
}

func (s slowStore) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	time.Sleep(storeTime)
	return s.Store.UpdateGrant(ctx, g)
}

func (s slowStore) Rules(ctx context.Context) (grants.Rules, error) {
	time.Sleep(storeTime)
	return s.Store.Rules(ctx)
}

var changing = regexp.MustCompile(`"request_id":"[^"]*"|-login-[^=]*=`)

var compared = regexp.MustCompile(`"compare":"[2-9A-Z]{3}-[2-9A-Z]{3}"`)

// TestSameAnswer_LNK_11 is LNK-11: an agent learns neither from what it is told nor from
// the time that takes whether there is an account, or what its owner thinks. The
// clock is that of a bubble, which stands still while anybody computes: what it
// shows is how often a sign-in waits for a store.
func TestSameAnswer_LNK_11(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{
			store: func(in grants.Store) grants.Store { return slowStore{Store: in} },
			policy: func(p *grants.Policy) {
				p.Notify = func(context.Context, grants.Notice) { time.Sleep(time.Second) }
				p.Privileged = func(_ context.Context, id string) (bool, error) {
					time.Sleep(storeTime)
					return strings.HasPrefix(id, "root"), nil
				}
			},
			config: func(_ *shop, c *authagent.Config) { c.RegistrationURL = "/register" },
		})
		const tries = 200
		kinds := map[string]func(try string) (email string){
			"unknown": func(string) string { return "unknown@example.com" },
			"known": func(try string) string {
				s.users.Add("known"+try+"@example.com", "")
				return "known" + try + "@example.com"
			},
			"known, and flooded": func(string) string { return "bob@example.com" },
			"unverified": func(try string) string {
				s.users.Put(memstore.Account{Email: "u" + try + "@example.com"})
				return "u" + try + "@example.com"
			},
			"disabled": func(try string) string {
				s.users.Put(memstore.Account{User: authagent.User{Disabled: true, EmailVerified: true}, Email: "d" + try + "@example.com"})
				return "d" + try + "@example.com"
			},
			"privileged": func(try string) string {
				s.users.Put(memstore.Account{User: authagent.User{ID: "root" + try, EmailVerified: true}, Email: "p" + try + "@example.com"})
				return "p" + try + "@example.com"
			},
			"ambiguous": func(try string) string {
				s.users.Add("a"+try+"@example.com", "")
				s.users.Add("A"+try+"@example.com", "")
				return "a" + try + "@example.com"
			},
		}
		denied := s.agent("denied", "alice@example.com")
		s.wantSignIn(s.browser(), denied, 403, problem.ApprovalNeeded)
		s.decide(s.alice, "denied", grants.Denied)
		agents := map[string]func(try int) *authagenttest.Agent{"denied": func(int) *authagenttest.Agent { return denied }}
		for kind, email := range kinds {
			agents[kind] = func(try int) *authagenttest.Agent {
				return s.agent(fmt.Sprintf("%.3s_%d", kind, try), email(fmt.Sprint(try)))
			}
		}
		took := make(map[string][]time.Duration)
		var want string
		for try := range tries {
			for _, kind := range slices.Sorted(maps.Keys(agents)) {
				c := s.browser()
				callback := s.callback(c, agents[kind](try))
				start := time.Now()
				resp := s.get(c, callback)
				took[kind] = append(took[kind], time.Since(start))
				resp.Header.Del("Date")
				got := changing.ReplaceAllString(fmt.Sprint(resp.StatusCode, resp.Header, resp.body), "")
				got = compared.ReplaceAllString(got, "a code") // which is of the agent: see LNK-47
				if want == "" {
					want = got
				}
				if got != want {
					t.Fatalf("LNK-11 %s is answered\n%s\nanother\n%s", kind, got, want)
				}
			}
			s.wait()
		}
		median := func(kind string) time.Duration { slices.Sort(took[kind]); return took[kind][tries/2] }
		least := median("unknown")
		for kind := range took {
			least = min(least, median(kind))
		}
		for kind := range took {
			if m := median(kind); m > least*12/10 || m == 0 {
				t.Errorf("LNK-11 %s: median %v, others take %v", kind, m, least)
			}
		}
	})
}

// TestFirstSignInsAtOnce is LNK-13: however many sign-ins of an agent at once,
// there is one request, one grant, one profile, at two instances.
func TestFirstSignInsAtOnce(t *testing.T) {
	for _, scenario := range []string{"FullAccount", "ContextualProfile"} {
		for _, byEmail := range []bool{false, true} {
			bubble(t, fmt.Sprintf("LNK-13 %s, DangerouslyApproveByEmail %v", scenario, byEmail), func(t *testing.T) {
				s := newShop(t, options{scenario: scenario, store: func(in grants.Store) grants.Store { return slowStore{Store: in} }, policy: func(p *grants.Policy) {
					p.MaxAgents = 1
					if byEmail {
						p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
					}
				}})
				s.instance("b")
				agent := s.agent("agent_1", "alice@example.com")
				want := []string{"link_pending " + s.alice}
				if byEmail {
					want = []string{"link_approved " + s.alice}
				} else if n := s.signInAtOnce(agent); n != 0 {
					t.Errorf("%d sign-ins before the owner was asked", n)
				}
				if !byEmail {
					if diff := cmp.Diff(want, s.told()); diff != "" {
						t.Errorf("notices (-want +got):\n%s", diff)
					}
					s.decide(s.alice, "agent_1", grants.Approved)
					s.told()
				}
				if n := s.signInAtOnce(agent); n != atOnce {
					t.Errorf("%d sign-ins of %d", n, atOnce)
				}
				if diff := cmp.Diff(want, s.told()); byEmail && diff != "" {
					t.Errorf("notices (-want +got):\n%s", diff)
				}
				all, _ := s.store.AgentGrants(context.Background(), s.named("agent_1"))
				if len(all) != 1 || all[0].State != grants.Approved {
					t.Errorf("grants: %v", all)
				}
				if n := len(s.profiles.All()); n > 1 {
					t.Errorf("%d profiles", n)
				}
			})
		}
	}
}

const atOnce = 50

// signInAtOnce returns how many of the sign-ins succeed.
func (s *shop) signInAtOnce(agent *authagenttest.Agent) (n int) {
	s.t.Helper()
	browsers, callbacks := make([]*http.Client, atOnce), make([]string, atOnce)
	for i := range browsers {
		browsers[i] = s.browser()
		callbacks[i] = s.callback(browsers[i], agent)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	start := make(chan struct{})
	for i := range browsers {
		wg.Go(func() {
			<-start
			resp := s.get(browsers[i], callbacks[i], "X-Instance", []string{"", "b"}[i%2])
			mu.Lock()
			defer mu.Unlock()
			if resp.StatusCode == http.StatusSeeOther {
				n++
			} else if resp.reason() != problem.ApprovalNeeded {
				s.t.Errorf("sign-in: %d %s", resp.StatusCode, resp.body)
			}
		})
	}
	close(start)
	wg.Wait()
	s.wait()
	return n
}

// TestFlood is LNK-14: an owner is not flooded.
func TestFlood(t *testing.T) {
	bubble(t, "LNK-14 one agent", func(t *testing.T) {
		s := newShop(t, options{})
		agent := s.agent("agent_1", "alice@example.com")
		for range 100 {
			s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
		}
		if n := len(s.overview(s.alice).Grants); n != 1 {
			t.Errorf("%d grants, want 1", n)
		}
		if diff := cmp.Diff([]string{"link_pending " + s.alice}, s.told()); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
		want := append([]audit.Name{grants.EventPending}, slices.Repeat([]audit.Name{grants.EventDropped}, 99)...)
		if diff := cmp.Diff(want, s.happened()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
	for _, test := range []struct {
		set, want int
	}{{0, 3}, {5, 5}} {
		bubble(t, fmt.Sprintf("LNK-14 100 agents, MaxNotices %d", test.set), func(t *testing.T) {
			s := newShop(t, options{policy: func(p *grants.Policy) { p.MaxNotices = test.set }})
			flood := func(prefix string) {
				t.Helper()
				for n := range 100 {
					s.wantSignIn(s.browser(), s.agent(fmt.Sprint(prefix, n), "alice@example.com"), 403, problem.ApprovalNeeded)
					time.Sleep(36*time.Second - time.Millisecond)
				}
				if n := len(s.told()); n != test.want {
					t.Errorf("%d notices within the hour, want %d", n, test.want)
				}
				count := make(map[audit.Name]int)
				for _, name := range s.happened() {
					count[name]++
				}
				if diff := cmp.Diff(map[audit.Name]int{grants.EventPending: test.want, grants.EventDropped: 100 - test.want}, count); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			}
			flood("a")
			for id := range s.grants(s.alice) { // what she denies makes no room for more
				s.decide(s.alice, id, grants.Denied)
			}
			s.told()
			s.wantSignIn(s.browser(), s.agent("a_further_one", "alice@example.com"), 403, problem.ApprovalNeeded)
			if told := s.told(); len(told) != 0 {
				t.Errorf("told of a further one after denying all: %v", told)
			}
			s.happened()
			s.wantSignIn(s.browser(), s.agent("bobs", "bob@example.com"), 403, problem.ApprovalNeeded)
			if diff := cmp.Diff([]string{"link_pending " + s.bob}, s.told()); diff != "" {
				t.Errorf("another owner's notices (-want +got):\n%s", diff)
			}
			s.happened()
			time.Sleep(time.Hour)
			flood("b")
		})
	}
}

// TestPatientFlood is LNK-14: an owner is not flooded by somebody who has time.
func TestPatientFlood(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name   string
		change func(*grants.Policy)
		agents int           // of which each asks anew when its request has expired
		every  time.Duration // one of them tries
		want   int           // in 24 hours
	}{
		{"new agents", func(*grants.Policy) {}, 1000, 10 * time.Minute, 12},
		{"new agents, MaxNotices 1", func(p *grants.Policy) { p.MaxNotices = 1 }, 1000, 10 * time.Minute, 4},
		{"no more agents than an hour has room for", func(p *grants.Policy) { p.PendingFor = time.Hour }, 3, 10 * time.Minute, 12},
		{"one agent", func(p *grants.Policy) { p.PendingFor = 5 * time.Minute }, 1, 10 * time.Minute, 12},
		{"one slow agent", func(p *grants.Policy) { p.PendingFor = 5 * time.Minute }, 1, 100 * time.Minute, 12},
	} {
		bubble(t, "LNK-14 "+test.name, func(t *testing.T) {
			var told []time.Time
			s := newShop(t, options{policy: func(p *grants.Policy) {
				p.Notify = func(context.Context, grants.Notice) { told = append(told, time.Now()) }
				test.change(p)
			}})
			c := s.browser()
			for n := range 3 * int(day/test.every) {
				s.wantSignIn(c, s.agent(fmt.Sprint("a", n%test.agents), "alice@example.com"), 403, problem.ApprovalNeeded)
				time.Sleep(test.every)
			}
			if len(told) != 3*test.want {
				t.Errorf("%d notices in three days, want %d", len(told), 3*test.want)
			}
			for i, at := range told[min(test.want, len(told)):] {
				if within := at.Sub(told[i]); within < day {
					t.Errorf("%d notices within %v", test.want+1, within)
				}
			}
			for i, at := range told[min(test.want/4, len(told)):] {
				if within := at.Sub(told[i]); within < time.Hour {
					t.Errorf("%d notices within %v", test.want/4+1, within)
				}
			}
			s.wantSignIn(c, s.agent("bobs", "bob@example.com"), 403, problem.ApprovalNeeded)
			if len(told) != 3*test.want+1 {
				t.Error("another owner is not asked")
			}
			for _, e := range s.events.take() {
				if e.Name == grants.EventDropped && e.Detail == "" {
					t.Errorf("LOG-3: dropped without a reason: %+v", e)
				}
			}
		})
	}
	bubble(t, "LNK-14 an owner who connects", func(t *testing.T) {
		s := newShop(t, options{policy: func(p *grants.Policy) { p.MaxAgents = 100 }})
		for n := range 20 {
			err := s.owners.LinkByOwner(context.Background(), authagent.LinkRequest{
				Agent: s.named(fmt.Sprint("own", n)), Scenario: "FullAccount", User: &authagent.User{ID: s.alice},
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		s.told()
		s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 403, problem.ApprovalNeeded)
		if diff := cmp.Diff([]string{"link_pending " + s.alice}, s.told()); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
	})
	bubble(t, "LNK-14 no bound to speak of", func(t *testing.T) {
		s := newShop(t, options{policy: func(p *grants.Policy) { p.MaxNotices = math.MaxInt }})
		for n := range 5 {
			s.wantSignIn(s.browser(), s.agent(fmt.Sprint("a", n), "alice@example.com"), 403, problem.ApprovalNeeded)
		}
		if n := len(s.told()); n != 5 {
			t.Errorf("%d notices, want 5", n)
		}
	})
	bubble(t, "LNK-14 two instances", func(t *testing.T) {
		s := newShop(t, options{})
		s.instance("b")
		for n := range 24 * 6 {
			resp := s.signIn(s.browser(), s.agent(fmt.Sprint("a", n), "alice@example.com"), "X-Instance", []string{"", "b"}[n%2])
			if resp.reason() != problem.ApprovalNeeded {
				t.Errorf("sign-in: %d %s", resp.StatusCode, resp.body)
			}
			time.Sleep(10 * time.Minute)
		}
		if n := len(s.told()); n != 12 {
			t.Errorf("%d notices at two instances, want 12", n)
		}
	})
}

// TestOwnerConnects is what LNK-15 asks of the policy: who is signed in decides,
// whatever the agent's address.
func TestOwnerConnects(t *testing.T) {
	ctx := context.Background()
	for _, email := range []string{"bob@example.com", "alice@example.com", "nobody@example.com", ""} {
		bubble(t, "LNK-15 "+email, func(t *testing.T) {
			s := newShop(t, options{policy: func(p *grants.Policy) { p.OwnerStartedOnly = true }})
			agent := s.agent("agent_1", or(email, "x"))
			s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
			if all, _ := s.store.AgentGrants(ctx, s.named("agent_1")); len(all) != 0 {
				t.Errorf("OwnerStartedOnly: the agent asked: %v", all)
			}
			request := authagent.LinkRequest{Agent: s.named("agent_1"), Email: email, Scenario: "FullAccount", User: &authagent.User{ID: s.alice}}
			if err := s.owners.LinkByOwner(ctx, request); err != nil {
				t.Fatal(err)
			}
			c := s.browser()
			s.wantSignIn(c, agent, 303, "")
			if resp := s.get(c, "/me"); !strings.Contains(resp.body, s.alice) || !strings.Contains(resp.body, `"access":"read"`) {
				t.Errorf("session: %s", resp.body)
			}
			if diff := cmp.Diff([]string{"link_approved " + s.alice}, s.told()[:1]); diff != "" {
				t.Errorf("notices (-want +got):\n%s", diff)
			}
			request.User = &authagent.User{ID: s.bob}
			if err := s.owners.LinkByOwner(ctx, request); !errors.Is(err, problem.LinkRefused) {
				t.Errorf("bob connects alice's agent: %v", err)
			}
			if all := s.grants(s.bob); len(all) != 0 {
				t.Errorf("bob has %v", all)
			}
		})
	}
	bubble(t, "LNK-15 again", func(t *testing.T) {
		s := newShop(t, options{})
		request := authagent.LinkRequest{Agent: s.named("agent_1"), Email: "x@example.com", Scenario: "FullAccount", User: &authagent.User{ID: s.alice}}
		connect := func() grants.Grant {
			t.Helper()
			if err := s.owners.LinkByOwner(ctx, request); err != nil {
				t.Fatal(err)
			}
			return s.grants(s.alice)["agent_1"]
		}
		connect()
		s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
		if g := connect(); g.Access != authagent.AccessFull {
			t.Errorf("connected again: access %v, want what it had", g.Access)
		}
		for _, state := range []grants.State{grants.Suspended, grants.Revoked} {
			s.decide(s.alice, "agent_1", state)
			if g := connect(); g.State != grants.Approved || g.Access != authagent.AccessRead || len(s.overview(s.alice).Grants) != 1 {
				t.Errorf("connected after it was %s: %+v", state, g)
			}
			s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
		}
	})
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// TestApproveByEmail is LNK-16: what is dangerous says so, is confined to lists,
// and tells the owner.
func TestApproveByEmail(t *testing.T) {
	const issuer = "https://as.example"
	for _, e := range []grants.EmailApproval{
		{}, {Issuers: []string{issuer}}, {Domains: []string{"example.com"}}, {Issuers: []string{"*"}, Domains: []string{"example.com"}},
		{Issuers: []string{issuer}, Domains: []string{"*"}}, {Issuers: []string{issuer}, Domains: []string{"*.example.com"}},
		{Issuers: []string{issuer}, Domains: []string{"example.com", ""}},
	} {
		p := grants.OwnerApproval(&memstore.Grants{})
		p.Logger, p.DangerouslyApproveByEmail = slog.New(slog.DiscardHandler), &e
		_, err := authagent.New(authagent.Config{Scenario: authagent.FullAccount(&memstore.Users{}, p)})
		if err == nil || !strings.Contains(err.Error(), "DangerouslyApproveByEmail") {
			t.Errorf("LNK-16 %+v: %v", e, err)
		}
	}
	for _, test := range []struct {
		name, email string
		lists       grants.EmailApproval
		account     memstore.Account
		want        int
		told        []string
	}{
		{"listed", "carol@example.com", grants.EmailApproval{Issuers: []string{issuer}, Domains: []string{"EXAMPLE.com"}},
			memstore.Account{User: authagent.User{ID: "carol", EmailVerified: true}}, 303, []string{"link_approved carol"}},
		{"domain not listed", "carol@example.com", grants.EmailApproval{Issuers: []string{issuer}, Domains: []string{"example.org"}},
			memstore.Account{User: authagent.User{ID: "carol", EmailVerified: true}}, 403, []string{"link_pending carol"}},
		{"above the domain", "carol@sub.example.com", grants.EmailApproval{Issuers: []string{issuer}, Domains: []string{"example.com"}},
			memstore.Account{User: authagent.User{ID: "carol", EmailVerified: true}}, 403, []string{"link_pending carol"}},
		{"issuer not listed", "carol@example.com", grants.EmailApproval{Issuers: []string{issuer + "/"}, Domains: []string{"example.com"}},
			memstore.Account{User: authagent.User{ID: "carol", EmailVerified: true}}, 403, []string{"link_pending carol"}},
		{"not verified", "carol@example.com", grants.EmailApproval{Issuers: []string{issuer}, Domains: []string{"example.com"}},
			memstore.Account{User: authagent.User{ID: "carol"}}, 403, nil},
		{"created by the agent, not verified", "carol@example.com", grants.EmailApproval{Issuers: []string{issuer}, Domains: []string{"example.com"}},
			memstore.Account{User: authagent.User{ID: "carol", CreatedBy: authagent.Agent{Issuer: issuer, ID: "agent_1"}}}, 403, []string{"link_pending carol"}},
		{"privileged", "carol@example.com", grants.EmailApproval{Issuers: []string{issuer}, Domains: []string{"example.com"}},
			memstore.Account{User: authagent.User{ID: "root", EmailVerified: true}}, 403, nil},
	} {
		bubble(t, "LNK-16 "+test.name, func(t *testing.T) {
			var said log[string]
			s := newShop(t, options{policy: func(p *grants.Policy) {
				p.DangerouslyApproveByEmail = &test.lists
				p.Privileged = func(_ context.Context, id string) (bool, error) { return id == "root", nil }
				p.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) { said.add(string(b)) }), nil))
			}})
			if warnings := strings.Join(said.take(), ""); !strings.Contains(warnings, "WARN") || !strings.Contains(warnings, "DangerouslyApproveByEmail") {
				t.Errorf("log at start: %s", warnings)
			}
			test.account.Email = test.email
			s.users.Put(test.account)
			c, agent := s.browser(), s.agent("agent_1", test.email)
			if got := s.signIn(c, agent).StatusCode; got != test.want {
				t.Fatalf("sign-in: %d, want %d", got, test.want)
			}
			if diff := cmp.Diff(test.told, s.told()); diff != "" {
				t.Errorf("notices (-want +got):\n%s", diff)
			}
			if test.want != 303 {
				return
			}
			s.want(c, "POST", "/me", 403, problem.ReadOnly)
			// What the owner decides stands, and what has expired is asked for.
			time.Sleep(91 * 24 * time.Hour)
			s.wantSignIn(c, agent, 403, problem.ApprovalNeeded)
			if g := s.grants("carol")["agent_1"]; g.State != grants.Pending {
				t.Errorf("after it expired: %s", g.State)
			}
			s.decide("carol", "agent_1", grants.Approved)
			s.wantSignIn(c, agent, 303, "")
			s.decide("carol", "agent_1", grants.Revoked)
			s.wantSignIn(c, agent, 403, problem.ApprovalNeeded)
			if g := s.grants("carol")["agent_1"]; g.State != grants.Revoked {
				t.Errorf("after it was revoked: %s", g.State)
			}
		})
	}
}

// TestApproveByEmailAfterNo: an agent that its owner has stopped is not let in by
// its address in another scenario.
func TestApproveByEmailAfterNo(t *testing.T) {
	for _, state := range []grants.State{grants.Revoked, grants.Suspended, grants.Approved} {
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
		}})
		s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 303, "")
		s.decide(s.alice, "agent_1", state)
		_, err := s.owners.Link(context.Background(), authagent.LinkRequest{
			Agent: s.named("agent_1"), Email: "alice@example.com", Scenario: "ContextualProfile", User: &authagent.User{ID: s.alice, EmailVerified: true},
		})
		if stopped := state != grants.Approved; stopped != errors.Is(err, problem.ApprovalNeeded) || !stopped && err != nil {
			t.Errorf("LNK-16 %s in another scenario: %v", state, err)
		}
		s.wait()
	}
}

// TestSuspendedForGood_LNK_40: an agent that its owner has suspended stays out, in
// every scenario, also after the time for which the grant was given.
func TestSuspendedForGood_LNK_40(t *testing.T) {
	bubble(t, "LNK-40 by its address", func(t *testing.T) {
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
		}})
		s.options.scenario = "ContextualProfile"
		s.instance("contextual")
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 303, "")
		s.decide(s.alice, "agent_1", grants.Suspended)
		time.Sleep(90 * 24 * time.Hour)
		s.wantSignIn(s.browser(), agent, 403, problem.Suspended)
		if resp := s.signIn(s.browser(), agent, "X-Instance", "contextual"); resp.StatusCode != 403 || resp.reason() != problem.ApprovalNeeded {
			t.Errorf("in another scenario: %d %q", resp.StatusCode, resp.reason())
		}
		for _, g := range s.overview(s.alice).Grants {
			if g.Scenario == "FullAccount" && g.State != grants.Suspended {
				t.Errorf("the grant is %s", g.State)
			}
		}
		s.wantConnect(s.bob, agent, 403, problem.LinkRefused)
	})
	t.Run("LNK-40 its owner sees why", func(t *testing.T) {
		s := newSite(t)
		s.grant(func(g *grants.Grant) {
			g.State, g.Cause, g.Email, g.ExpiresAt = grants.Suspended, grants.CauseAddress, "mallory@evil.example", time.Now().Add(-time.Hour)
		})
		if page := s.at(s.human(s.alice), "agents/g1"); !strings.Contains(page, "Paused: at the server where it signs in, its owner has another e-mail address now.") {
			t.Error("the page does not say that the agent was suspended")
		}
	})
}

// TestSubjects_LNK_45: with Config.Provider.SubjectIsUser a token says for which user of the server
// an agent acts. A grant is for this one alone.
func TestSubjects_LNK_45(t *testing.T) {
	open := func(t *testing.T, change ...func(*grants.Policy)) *shop {
		s := newShop(t, options{
			users:  func(s *shop) authagent.UserStore { return usersWithoutLinks{s.users, s.users} },
			config: func(_ *shop, c *authagent.Config) { c.Provider.SubjectIsUser = true },
			policy: func(p *grants.Policy) {
				for _, f := range change {
					f(p)
				}
			},
		})
		s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
		return s
	}
	agentOf := func(s *shop, user, email string) *authagenttest.Agent {
		return s.as.AddAgent(authagenttest.Agent{ID: "assistant", UserID: user, Email: email})
	}
	of := func(s *shop, owner, subject string) (found grants.Grant) {
		for _, g := range s.overview(owner).Grants {
			if g.Subject == subject {
				found = g
			}
		}
		return found
	}
	approve := func(s *shop, owner, subject string) {
		s.t.Helper()
		g := of(s, owner, subject)
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead}
		if _, err := s.owners.Decide(context.Background(), owner, d); err != nil {
			s.t.Fatal(err)
		}
	}
	bubble(t, "LNK-45 another user of the server, with the same address", func(t *testing.T) {
		s := open(t)
		s.wantSignIn(s.browser(), agentOf(s, "user-1", "alice@example.com"), 403, problem.ApprovalNeeded)
		approve(s, s.alice, "user-1")
		mallory := agentOf(s, "user-2", "alice@example.com")
		s.wantSignIn(s.browser(), mallory, 403, problem.ApprovalNeeded)
		if g := of(s, s.alice, "user-2"); g.State != grants.Pending {
			t.Errorf("alice is not asked about another user: %+v", g)
		}
		s.wantSignIn(s.browser(), mallory, 403, problem.ApprovalNeeded)
		s.wantSignIn(s.browser(), agentOf(s, "user-1", "alice@example.com"), 303, "")
	})
	bubble(t, "LNK-45 another user stops nothing", func(t *testing.T) {
		s := open(t)
		s.wantSignIn(s.browser(), agentOf(s, "user-1", "alice@example.com"), 403, problem.ApprovalNeeded)
		approve(s, s.alice, "user-1")
		s.wantSignIn(s.browser(), agentOf(s, "user-2", "mallory@evil.example"), 403, problem.ApprovalNeeded)
		if g := of(s, s.alice, "user-1"); g.State != grants.Approved {
			t.Errorf("alice's grant: %s", g.State)
		}
	})
	bubble(t, "LNK-45 each user has their own", func(t *testing.T) {
		s := open(t)
		s.wantConnect(s.alice, agentOf(s, "user-1", "x@example.com"), 303, "")
		s.wantConnect(s.bob, agentOf(s, "user-2", "y@example.com"), 303, "")
		s.wantConnect(s.bob, agentOf(s, "user-1", "x@example.com"), 403, problem.LinkRefused)
		for owner, user := range map[string]string{s.alice: "user-1 x", s.bob: "user-2 y"} {
			subject, name, _ := strings.Cut(user, " ")
			if got, _ := s.actsFor(agentOf(s, subject, name+"@example.com")); got != owner {
				t.Errorf("%s acts for %q, want %q", user, got, owner)
			}
		}
	})
	bubble(t, "LNK-45 by its address", func(t *testing.T) {
		s := open(t, func(p *grants.Policy) {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
		})
		s.wantSignIn(s.browser(), agentOf(s, "user-1", "alice@example.com"), 303, "")
		if g := of(s, s.alice, "user-1"); g.State != grants.Approved {
			t.Errorf("%+v", g)
		}
	})
	bubble(t, "LNK-45 from before subjects were kept", func(t *testing.T) {
		s := open(t)
		_, _, err := s.store.CreateGrant(context.Background(), grants.Grant{
			ID: "old", Version: 1, Agent: s.named("assistant"), Scenario: "FullAccount", UserID: s.alice, State: grants.Approved, Access: authagent.AccessFull,
			Email: "alice@example.com", ExpiresAt: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		agent := agentOf(s, "user-1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
		s.wantConnect(s.bob, agent, 403, problem.LinkRefused) // it may be alice's
		approve(s, s.alice, "user-1")
		if user, _ := s.actsFor(agent); user != s.alice {
			t.Errorf("it acts for %q", user)
		}
	})
	bubble(t, "LNK-45 at Auth Agent there is none", func(t *testing.T) {
		s := newShop(t, options{})
		s.approved("agent_1")
		if g := s.grants(s.alice)["agent_1"]; g.Subject != "" {
			t.Errorf("subject %q", g.Subject)
		}
	})
	t.Run("LNK-45 its owner sees the user", func(t *testing.T) {
		s := newSite(t)
		s.grant(func(g *grants.Grant) { pending(g); g.Subject = "user-<1>\u202e" })
		if page := s.page(s.human(s.alice)); !strings.Contains(page, "<dt>Acts there for the user</dt><dd><code><bdi>user-&lt;1&gt;‹U&#43;202E›</bdi>") {
			t.Errorf("the page does not show it: %s", page[strings.Index(page, "Known at"):])
		}
	})
}

// TestManyNetworks: an agent that comes from ever new networks does not flood its
// owner with notices.
func TestManyNetworks(t *testing.T) {
	bubble(t, "LNK-14", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Address") }
		}})
		_, c := s.approved("agent_1")
		_, other := s.approved("agent_2")
		told := func(c *http.Client, networks int) (n int) {
			for i := range networks {
				time.Sleep(time.Minute)
				s.get(c, "/me", "X-Address", fmt.Sprintf("2001:db8:0:%x::1", i))
			}
			for _, line := range s.told() {
				if line == "link_new_network "+s.alice {
					n++
				}
			}
			return n
		}
		told(c, 1)
		told(other, 1)
		if got := told(c, 20); got != 3 {
			t.Errorf("%d notices of 19 new networks, want 3", got)
		}
		if got := told(other, 3); got != 2 {
			t.Errorf("%d notices about another agent, want 2", got)
		}
	})
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// TestSafeLimits is LNK-18: privileged accounts, the number of agents, and the
// end of every approval.
func TestSafeLimits(t *testing.T) {
	ctx := context.Background()
	bubble(t, "LNK-18 privileged meanwhile", func(t *testing.T) {
		privileged := false
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.Privileged = func(context.Context, string) (bool, error) { return privileged, nil }
		}})
		before, c := s.approved("agent_0")
		s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 403, problem.ApprovalNeeded)
		privileged = true
		s.wantSignIn(s.browser(), before, 403, problem.LinkRefused)
		if err := s.owners.RevokeAll(ctx, s.alice); err != nil {
			t.Error(err)
		}
		s.want(c, "GET", "/me", 401, problem.NoSession)
		g := s.grants(s.alice)["agent_1"]
		_, err := s.owners.Decide(ctx, s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
		if !errors.Is(err, problem.LinkRefused) {
			t.Errorf("approve: %v", err)
		}
		err = s.owners.LinkByOwner(ctx, authagent.LinkRequest{Agent: s.named("agent_2"), Scenario: "FullAccount", User: &authagent.User{ID: s.alice}})
		if !errors.Is(err, problem.LinkRefused) {
			t.Errorf("connect: %v", err)
		}
	})
	for _, test := range []struct{ set, want int }{{0, 10}, {2, 2}} {
		bubble(t, fmt.Sprintf("LNK-18 MaxAgents %d", test.set), func(t *testing.T) {
			s := newShop(t, options{policy: func(p *grants.Policy) { p.MaxAgents, p.MaxNotices = test.set, 100 }})
			s.wantSignIn(s.browser(), s.agent("early", "alice@example.com"), 403, problem.ApprovalNeeded)
			for n := range test.want {
				s.approved(fmt.Sprint("agent_", n))
			}
			s.happened()
			s.told()
			s.wantSignIn(s.browser(), s.agent("late", "alice@example.com"), 403, problem.ApprovalNeeded)
			if _, asked := s.grants(s.alice)["late"]; asked || len(s.told()) != 0 {
				t.Error("one agent too many was put before the owner")
			}
			if diff := cmp.Diff([]audit.Name{grants.EventDropped}, s.happened()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			early := s.grants(s.alice)["early"]
			d := grants.Decision{GrantID: early.ID, Version: early.Version, State: grants.Approved, Access: authagent.AccessRead}
			if _, err := s.owners.Decide(ctx, s.alice, d); !errors.Is(err, problem.LinkRefused) {
				t.Errorf("approve one too many: %v", err)
			}
			request := authagent.LinkRequest{Agent: s.named("x"), Scenario: "FullAccount", User: &authagent.User{ID: s.alice}}
			if err := s.owners.LinkByOwner(ctx, request); !errors.Is(err, problem.LinkRefused) {
				t.Errorf("connect one too many: %v", err)
			}
			s.decide(s.alice, "agent_0", grants.Approved, withFullAccess) // to change one is not to add one
			s.decide(s.alice, "agent_0", grants.Revoked)
			if _, err := s.owners.Decide(ctx, s.alice, d); err != nil {
				t.Errorf("approve after another was revoked: %v", err)
			}
		})
	}
	bubble(t, "LNK-18 approvals at once", func(t *testing.T) {
		s := newShop(t, options{policy: func(p *grants.Policy) { p.MaxAgents, p.MaxNotices = 1, 100 }, store: func(in grants.Store) grants.Store { return slowStore{Store: in} }})
		for n := range 20 {
			s.wantSignIn(s.browser(), s.agent(fmt.Sprint("agent_", n), "alice@example.com"), 403, problem.ApprovalNeeded)
		}
		var wg sync.WaitGroup
		for _, g := range s.grants(s.alice) {
			wg.Go(func() {
				s.owners.Decide(ctx, s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
			})
		}
		wg.Wait()
		n := 0
		for _, g := range s.grants(s.alice) {
			if g.State == grants.Approved {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d agents approved at once, want 1", n)
		}
	})
	bubble(t, "LNK-18 after 91 days", func(t *testing.T) {
		s := newShop(t, options{})
		agent, c := s.approved("agent_1", withFullAccess, func(d *grants.Decision) { d.Actions = []string{"orders:create"} })
		time.Sleep(89 * 24 * time.Hour)
		s.wantSignIn(c, agent, 303, "")
		time.Sleep(24 * time.Hour)
		s.want(c, "GET", "/me", 401, problem.NoSession)
		if state := s.grants(s.alice)["agent_1"].State; state != grants.Expired {
			t.Errorf("state %s", state)
		}
		time.Sleep(24 * time.Hour)
		s.told()
		s.wantSignIn(c, agent, 403, problem.ApprovalNeeded)
		g := s.grants(s.alice)["agent_1"]
		if g.State != grants.Pending || g.Access != authagent.AccessRead || len(g.Actions) != 0 || !g.DecidedAt.IsZero() {
			t.Errorf("grant: %+v", g)
		}
		if diff := cmp.Diff([]string{"link_pending " + s.alice}, s.told()); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
	})
}

// TestOneAccount is LNK-5: the owners of two accounts cannot both approve an agent.
func TestOneAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{})
		s.wantSignIn(s.browser(), s.agent("agent_1", "bob@example.com"), 403, problem.ApprovalNeeded)
		agent, _ := s.approved("agent_1")
		g := s.grants(s.bob)["agent_1"]
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead}
		for _, state := range []grants.State{grants.Approved, grants.Suspended} {
			s.decide(s.alice, "agent_1", state)
			if _, err := s.owners.Decide(context.Background(), s.bob, d); !errors.Is(err, problem.LinkRefused) {
				t.Errorf("LNK-5 bob approves an agent that alice has %s: %v", state, err)
			}
		}
		s.wantSignIn(s.browser(), agent, 403, problem.Suspended)
		s.decide(s.alice, "agent_1", grants.Revoked)
		if _, err := s.owners.Decide(context.Background(), s.bob, d); err != nil {
			t.Errorf("bob approves an agent that alice has revoked: %v", err)
		}
		// The user store still knows whose it was (AgentLinker).
		s.wantSignIn(s.browser(), s.agent("agent_1", "bob@example.com"), 403, problem.LinkRefused)
	})
}

// TestPolicyCheck: settings that are wrong are found before an agent finds them.
func TestPolicyCheck(t *testing.T) {
	for _, test := range []struct {
		change func(*grants.Policy)
		want   string
	}{
		{func(p *grants.Policy) {}, ""},
		{func(p *grants.Policy) { p.PendingFor = 7 * 24 * time.Hour }, ""},
		{func(p *grants.Policy) { p.PendingFor = 7*24*time.Hour + 1 }, "PendingFor"}, // LNK-4: the ceiling
		{func(p *grants.Policy) { p.PendingFor = -1 }, "PendingFor"},
		{func(p *grants.Policy) { p.ApprovedFor = -1 }, "ApprovedFor"},
		{func(p *grants.Policy) { p.ActionFor = -1 }, "ActionFor"},
		{func(p *grants.Policy) { p.MaxAgents = -1 }, "MaxAgents"},
		{func(p *grants.Policy) { p.MaxNotices = -1 }, "MaxNotices"},
		{func(p *grants.Policy) { p.MaxActions = -1 }, "MaxActions"},
		{func(p *grants.Policy) { p.Path = "/agents/" }, ""},
		{func(p *grants.Policy) { p.Path = "/agents" }, "Path"},
		{func(p *grants.Policy) { p.Path = "agents/" }, "Path"},
		{func(p *grants.Policy) { p.Path = "//agents/" }, "Path"},
		{func(p *grants.Policy) { p.Actions = map[string]string{"place orders": ""} }, "Actions"},
		{func(p *grants.Policy) { p.Actions = map[string]string{"": ""} }, "Actions"},
		{func(p *grants.Policy) { p.Approvals = map[string]string{"payouts:create": "Pay out money"} }, ""},
		{func(p *grants.Policy) { p.Approvals = map[string]string{"pay out": ""} }, "Approvals: \"pay out\""},
		{func(p *grants.Policy) { p.Approvals = map[string]string{"": ""} }, "Approvals: \"\""},
		{func(p *grants.Policy) {
			p.Actions, p.Approvals = map[string]string{"a": "A", "b": ""}, map[string]string{"b": "B", "c": "C"}
		}, "Approvals: \"b\" is in Actions too"},
		{func(p *grants.Policy) { *p = *grants.OwnerApproval(nil) }, "Store"},
	} {
		p := grants.OwnerApproval(&memstore.Grants{})
		test.change(p)
		switch err := p.Check(); {
		case test.want == "" && err != nil:
			t.Errorf("%v", err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v", test.want, err)
		}
	}
}

// TestTransitions is LNK-4: which decisions make sense about what.
func TestTransitions(t *testing.T) {
	all := []grants.State{grants.Approved, grants.Denied, grants.Suspended, grants.Revoked}
	for from, want := range map[grants.State][4]bool{ // to each of all
		grants.Pending:   {true, true, false, false},
		grants.Approved:  {true, false, true, true},
		grants.Suspended: {true, false, false, true},
		grants.Denied:    {true, false, false, false},
		grants.Revoked:   {true, false, false, false},
		grants.Expired:   {true, false, false, true},
	} {
		for i, to := range all {
			bubble(t, fmt.Sprintf("LNK-4 %s to %s", from, to), func(t *testing.T) {
				s := newShop(t, options{})
				s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 403, problem.ApprovalNeeded)
				switch from {
				case grants.Pending:
				case grants.Denied:
					s.decide(s.alice, "agent_1", from)
				default:
					s.decide(s.alice, "agent_1", grants.Approved)
				}
				switch from {
				case grants.Suspended, grants.Revoked:
					s.decide(s.alice, "agent_1", from)
				case grants.Expired:
					time.Sleep(90 * 24 * time.Hour)
				}
				before := s.grants(s.alice)["agent_1"]
				d := grants.Decision{GrantID: before.ID, Version: before.Version, State: to, Access: authagent.AccessRead}
				_, err := s.owners.Decide(context.Background(), s.alice, d)
				if after := s.grants(s.alice)["agent_1"]; before.State != from || (err == nil) != want[i] || (err == nil) != (after.State == to && after.Version > before.Version) {
					t.Errorf("%v; it was %s, and is %s", err, before.State, after.State)
				}
				if err != nil && !errors.Is(err, grants.ErrDecision) {
					t.Errorf("error %v, want %v", err, grants.ErrDecision)
				}
			})
		}
	}
}

// TestLetInAnew is SES-11: what ends a grant ends its sessions, also those that
// did not ask for anything until the owner let the agent in anew.
func TestLetInAnew(t *testing.T) {
	approve := func(s *shop) { s.decide(s.alice, "agent_1", grants.Approved) }
	connect := func(s *shop) {
		request := authagent.LinkRequest{
			Agent: s.named("agent_1"), Email: "alice@example.com", Scenario: "FullAccount", User: &authagent.User{ID: s.alice},
		}
		if err := s.owners.LinkByOwner(context.Background(), request); err != nil {
			s.t.Error(err)
		}
	}
	end := func(state grants.State) func(*shop) {
		return func(s *shop) { s.decide(s.alice, "agent_1", state) }
	}
	expire := func(*shop) { time.Sleep(10 * time.Minute) }
	askAgain := func(s *shop) {
		expire(s)
		s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 403, problem.ApprovalNeeded)
	}
	for _, test := range []struct {
		name       string
		end, again func(*shop)
		want       int
	}{
		{"revoked and approved", end(grants.Revoked), approve, 401},
		{"revoked and connected", end(grants.Revoked), connect, 401},
		{"suspended and approved", end(grants.Suspended), approve, 401},
		{"expired and approved", expire, approve, 401},
		{"expired and connected", expire, connect, 401},
		{"expired, asked for and approved", askAgain, approve, 401},
		{"expired, asked for and connected", askAgain, connect, 401},
		{"changed", approve, approve, 200},
		{"connected again", connect, connect, 200},
	} {
		bubble(t, "SES-11 "+test.name, func(t *testing.T) {
			s := newShop(t, options{})
			_, before := s.approved("agent_1", func(d *grants.Decision) { d.For = 10 * time.Minute })
			s.want(before, "GET", "/me", 200, "")
			time.Sleep(time.Minute)
			test.end(s)
			time.Sleep(time.Minute)
			test.again(s)
			if got := s.do(before, "GET", "/me", "").StatusCode; got != test.want {
				t.Errorf("the session from before: %d, want %d", got, test.want)
			}
			time.Sleep(time.Second)
			after := s.browser()
			s.wantSignIn(after, s.agent("agent_1", "alice@example.com"), http.StatusSeeOther, "")
			test.again(s)
			s.want(after, "GET", "/me", 200, "")
		})
	}
}

// TestLetInAnewAcrossClocks is SES-17: what ends with a grant ends whatever the clock
// of the instance that started it, and a session of the new one is live at once.
func TestLetInAnewAcrossClocks(t *testing.T) {
	bubble(t, "SES-17", func(t *testing.T) {
		s := newShop(t, options{})
		s.approved("agent_1")
		session := func() *authagent.Session {
			g := s.grants(s.alice)["agent_1"]
			return &authagent.Session{ID: "s", Agent: g.Agent, Scenario: g.Scenario, UserID: g.UserID, GrantID: g.ID, GrantEra: g.Era}
		}
		before := session()
		s.decide(s.alice, "agent_1", grants.Revoked)
		s.decide(s.alice, "agent_1", grants.Approved)
		after := session()
		for _, by := range []time.Duration{-5 * time.Minute, 0, 5 * time.Minute} {
			before.StartedAt, after.StartedAt = time.Now().Add(by), time.Now().Add(-by)
			if err := s.owners.CheckSession(t.Context(), before); !errors.Is(err, problem.LinkRefused) {
				t.Errorf("SES-17: a session of before, %v: %v", by, err)
			}
			if err := s.owners.CheckSession(t.Context(), after); err != nil {
				t.Errorf("SES-17: a session of after, %v: %v", -by, err)
			}
		}
	})
}
