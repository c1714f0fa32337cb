package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// The scenarios by name, over the stores of a bench.
var scenarios = []struct {
	name string
	make func(users authagent.UserStore, profiles authagent.ProfileStore, link authagent.LinkPolicy) authagent.Scenario
}{
	{"FullAccount", func(u authagent.UserStore, _ authagent.ProfileStore, l authagent.LinkPolicy) authagent.Scenario {
		return authagent.FullAccount(u, l)
	}},
	{"ContextualProfile", authagent.ContextualProfile},
	{"FreshProfile", func(_ authagent.UserStore, p authagent.ProfileStore, _ authagent.LinkPolicy) authagent.Scenario {
		return authagent.FreshProfile(p)
	}},
}

// emailScenarios are those that look at the owner's address.
var emailScenarios = scenarios[:2]

// quickServer is a server that gives no token twice, so that no sign-in has to
// wait for the second after.
func quickServer(t testing.TB) *authagenttest.Server {
	t.Helper()
	as := authagenttest.NewUnstartedServer()
	as.Quirks.SameSecondTokens = false
	as.StartTLS()
	t.Cleanup(as.Close)
	return as
}

// rfcServer is a server that keeps to the RFCs: forms, and no token twice.
func rfcServer(t testing.TB) *authagenttest.Server {
	t.Helper()
	as := authagenttest.NewUnstartedServer()
	as.Quirks = authagenttest.Quirks{}
	as.StartTLS()
	t.Cleanup(as.Close)
	return as
}

// newScenarioBench is a bench on a quick server with a scenario of b's stores.
func newScenarioBench(t testing.TB, scenario func(b *bench) authagent.Scenario, change ...func(b *bench, c *authagent.Config)) *bench {
	t.Helper()
	set := func(b *bench, c *authagent.Config) { c.Scenario = scenario(b) }
	return newBenchOn(t, quickServer(t), append([]func(*bench, *authagent.Config){set}, change...)...)
}

// userinfo replaces members of what /userinfo says; nil removes one.
func (b *bench) userinfo(members map[string]any) {
	b.AS.Wrap(authagenttest.PathUserInfo, rewrite(members))
}

// rewrite sets members of a JSON answer; nil removes one.
func rewrite(members map[string]any) wrapper {
	return authagenttest.Rewrite(func(body map[string]any) {
		maps.Copy(body, members)
		maps.DeleteFunc(body, func(_ string, v any) bool { return v == nil })
	})
}

// spy is a store of users and profiles that records what it is asked and can be
// made to answer something else.
type spy struct {
	*memstore.Users
	profiles *memstore.Profiles

	mu      sync.Mutex
	lookups []string
	created []authagent.NewUser
	wanted  []authagent.Profile

	onFind    func(email string) (authagent.User, error)
	onCreate  func(authagent.NewUser) (authagent.User, error)
	onLink    func(userID string) (string, error)
	onProfile func(authagent.Profile) (authagent.Profile, error)
}

func (s *spy) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	s.mu.Lock()
	s.lookups = append(s.lookups, email)
	answer := s.onFind
	s.mu.Unlock()
	if answer != nil {
		return answer(email)
	}
	return s.Users.UserByEmail(ctx, email)
}

func (s *spy) CreateUser(ctx context.Context, u authagent.NewUser) (authagent.User, error) {
	s.mu.Lock()
	s.created = append(s.created, u)
	answer := s.onCreate
	s.mu.Unlock()
	if answer != nil {
		return answer(u)
	}
	return s.Users.CreateUser(ctx, u)
}

func (s *spy) LinkAgent(ctx context.Context, a authagent.Agent, userID string) (string, error) {
	s.mu.Lock()
	answer := s.onLink
	s.mu.Unlock()
	if answer != nil {
		return answer(userID)
	}
	return s.Users.LinkAgent(ctx, a, userID)
}

func (s *spy) FindOrCreateProfile(ctx context.Context, p authagent.Profile) (authagent.Profile, error) {
	s.mu.Lock()
	s.wanted = append(s.wanted, p)
	answer := s.onProfile
	s.mu.Unlock()
	if answer != nil {
		return answer(p)
	}
	return s.profiles.FindOrCreateProfile(ctx, p)
}

// heal makes the stores answer by themselves again.
func (s *spy) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onFind, s.onCreate, s.onLink, s.onProfile = nil, nil, nil, nil
}

// newSpyBench is a bench whose scenario works on a spy over the bench's stores.
func newSpyBench(t testing.TB, scenario int, link authagent.LinkPolicy, change ...func(b *bench, c *authagent.Config)) (*bench, *spy) {
	t.Helper()
	s := &spy{}
	b := newScenarioBench(t, func(b *bench) authagent.Scenario {
		s.Users, s.profiles = b.Users, b.Profiles
		return scenarios[scenario].make(s, s, link)
	}, change...)
	return b, s
}

const (
	full, contextual, fresh = 0, 1, 2 // in scenarios
)

func createUsers(_ *bench, c *authagent.Config) { c.CreateUsers = true }

// lookupOnly hides a store's optional abilities.
type lookupOnly struct{ authagent.UserStore }

// policy is a LinkPolicy.
type policy func(authagent.LinkRequest) (authagent.Principal, error)

func (p policy) Link(_ context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	return p(r)
}

// TestScenarioTable is the table of what each scenario means, row by row.
func TestScenarioTable(t *testing.T) {
	for i, test := range []struct {
		asksUserInfo, asksEmail bool
		user, profile           bool
		access                  authagent.Access
		get, post, full         int // statuses of GET /data, POST /data, GET /full
	}{
		full:       {asksUserInfo: true, asksEmail: true, user: true, access: authagent.AccessFull, get: 200, post: 200, full: 200},
		contextual: {asksUserInfo: true, asksEmail: true, user: true, profile: true, access: authagent.AccessRead, get: 200, post: 403, full: 403},
		fresh:      {profile: true, access: authagent.AccessNone, get: 403, post: 403, full: 403},
	} {
		name := scenarios[i].name
		t.Run(name, func(t *testing.T) {
			b := newScenarioBench(t, func(b *bench) authagent.Scenario {
				return scenarios[i].make(b.Users, b.Profiles, authagent.InsecureTrustEmail)
			})
			c := b.Browser()
			start := b.Begin(c, "")
			asked := strings.Fields(mustParse(t, start).Query().Get("scope"))
			for _, scope := range []string{"email", "openid"} { // the published server gives the address for either
				if slices.Contains(asked, scope) != test.asksEmail {
					t.Errorf("scopes asked for: %q", asked)
				}
			}
			if resp := b.Get(c, b.Authorize(b.Agent, start)); resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("callback: status %d %s", resp.StatusCode, resp.Text)
			}
			if got := b.AS.Count(authagenttest.PathUserInfo); (got > 0) != test.asksUserInfo || got > 1 {
				t.Errorf("%d userinfo requests", got)
			}

			s := b.Me(c)
			want := &authagent.Session{
				ID: s.ID, Agent: authagent.Agent{Issuer: b.AS.URL, ID: "agent_alice"}, Model: "model-1", Scenario: name,
				Access: test.access, StartedAt: s.StartedAt, ExpiresAt: s.ExpiresAt, RedirectURL: b.Config.RedirectURL,
			}
			if test.user {
				want.UserID = b.AliceID
			}
			profiles := b.Profiles.All()
			if test.profile {
				if len(profiles) != 1 {
					t.Fatalf("profiles %+v, want one", profiles)
				}
				want.ProfileID = profiles[0].ID
				wantProfile := authagent.Profile{ID: want.ProfileID, Agent: want.Agent, Scenario: name, UserID: want.UserID, Model: "model-1"}
				if test.user {
					wantProfile.Name = "Alice"
				}
				if diff := cmp.Diff(wantProfile, profiles[0]); diff != "" {
					t.Errorf("profile (-want +got):\n%s", diff)
				}
			} else if len(profiles) != 0 {
				t.Errorf("profiles %+v, want none", profiles)
			}
			wantJSON, _ := json.Marshal(want)
			if got, _ := json.Marshal(s); string(got) != string(wantJSON) {
				t.Errorf("session\n got %s\nwant %s", got, wantJSON)
			}

			for _, request := range []struct {
				method, path string
				status       int
			}{{"GET", "/data", test.get}, {"HEAD", "/data", test.get}, {"POST", "/data", test.post}, {"GET", "/full", test.full}} {
				if resp := b.Do(c, request.method, request.path); resp.StatusCode != request.status {
					t.Errorf("%s %s: status %d, want %d", request.method, request.path, resp.StatusCode, request.status)
				}
			}
			if err := b.RP.Shutdown(t.Context()); err != nil { // it waits for the events
				t.Fatal(err)
			}
			recorded := b.Events.Named(audit.LoginSucceeded)
			if len(recorded) != 1 {
				t.Fatalf("%d sign-ins are recorded, want one", len(recorded))
			}
			if e := recorded[0]; e.Agent != want.Agent || e.UserID != want.UserID || e.ProfileID != want.ProfileID || e.Scenario != name || e.Access != test.access.String() {
				t.Errorf("recorded as %+v", e)
			}
		})
	}
}

// TestMatrix signs in in every scenario, with servers of both kinds and sessions
// of both kinds.
func TestMatrix(t *testing.T) {
	for _, server := range []struct {
		name  string
		start func(testing.TB) *authagenttest.Server
	}{
		{"published", func(t testing.TB) *authagenttest.Server {
			as := authagenttest.NewTLSServer()
			t.Cleanup(as.Close)
			return as
		}},
		{"rfc", rfcServer},
	} {
		for _, store := range []struct {
			name string
			make func(t *testing.T) sessions.Store
		}{
			{"cookie", func(*testing.T) sessions.Store { return nil }},
			{"filesystem", func(t *testing.T) sessions.Store { return sessions.NewFilesystemStore(t.TempDir(), testsite.NewKey()) }},
		} {
			for _, scenario := range scenarios {
				t.Run(server.name+"/"+store.name+"/"+scenario.name, func(t *testing.T) {
					t.Parallel()
					b := newBenchOn(t, server.start(t), func(b *bench, c *authagent.Config) {
						c.Scenario = scenario.make(b.Users, b.Profiles, authagent.InsecureTrustEmail)
						c.Session.Store = store.make(t)
					})
					c := b.Browser()
					if s := b.MustSignIn(c, b.Agent); s.Scenario != scenario.name || s.Agent.ID != b.Agent.ID {
						t.Errorf("session %+v", s)
					}
					if resp := b.Do(c, "POST", "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther {
						t.Errorf("logout: status %d", resp.StatusCode)
					}
					if b.Me(c) != nil {
						t.Error("still signed in after logout")
					}
				})
			}
		}
	}
}

// TestGrantedScope_NET_10: NET-10. A server that grants less than the scenario needs is
// not asked further; one that does not say has granted what was asked for.
func TestGrantedScope_NET_10(t *testing.T) {
	for _, test := range []struct {
		scope any
		ok    bool
	}{{"profile", false}, {"openid profile", false}, {"", false}, {"emails email.read", false}, {"email", true}, {"openid profile email", true}, {nil, true}} {
		for i, scenario := range scenarios {
			b, s := newSpyBench(t, i, authagent.InsecureTrustEmail, createUsers)
			b.AS.Wrap(authagenttest.PathToken, rewrite(map[string]any{"scope": test.scope}))
			if test.ok || i == fresh {
				b.MustSignIn(b.Browser(), b.Agent)
				continue
			}
			b.MustRefuseSignIn(b.Agent, 403, problem.Reason("insufficient_scope"))
			if n := b.AS.Count(authagenttest.PathUserInfo); n != 0 || len(s.lookups)+len(s.created) != 0 {
				t.Errorf("%s, scope %q: %d userinfo requests, looked up %q", scenario.name, test.scope, n, s.lookups)
			}
		}
	}
	// Where the server states none, what was asked for is granted, and no more.
	b := newScenarioBench(t, func(b *bench) authagent.Scenario {
		return lessScopes{authagent.FullAccount(b.Users, authagent.InsecureTrustEmail)}
	})
	b.AS.Wrap(authagenttest.PathToken, rewrite(map[string]any{"scope": nil}))
	b.MustRefuseSignIn(b.Agent, 403, problem.Reason("insufficient_scope"))
}

// lessScopes is a scenario around another that does not ask for what the other needs.
type lessScopes struct{ authagent.Scenario }

func (lessScopes) Scopes() []string { return []string{"openid", "profile"} }

// TestOneProfile: ContextualProfile and FreshProfile find what they made.
func TestOneProfile(t *testing.T) {
	for _, i := range []int{contextual, fresh} {
		t.Run(scenarios[i].name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, authagent.InsecureTrustEmail)
			agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"})
			first := b.MustSignIn(b.Browser(), agent)
			agent.Model = "model-2"
			second := b.MustSignIn(b.Browser(), agent)
			if first.ProfileID == "" || second.ProfileID != first.ProfileID || second.UserID != first.UserID {
				t.Errorf("first %+v, second %+v", first, second)
			}
			if second.Model != "model-2" {
				t.Errorf("the session's model is %q", second.Model)
			}
			other := b.MustSignIn(b.Browser(), b.Agent)
			if other.ProfileID == first.ProfileID {
				t.Error("two agents have one profile")
			}
			if all := b.Profiles.All(); len(all) != 2 {
				t.Errorf("profiles %+v", all)
			}
		})
	}
}

// TestFreshProfileKey_LNK_12: LNK-12. A profile is the whole agent's, and no address or
// name that could be made of its ID means anything.
func TestFreshProfileKey_LNK_12(t *testing.T) {
	b, s := newSpyBench(t, fresh, nil)
	b.Users.Add("agent-x@auth-agent.local", "A human")
	seen := map[string]string{}
	for _, id := range []string{"aaaa12345678", "bbbb12345678", "AAAA12345678", "x", b.AliceID, "profile_1"} {
		agent := b.AS.AddAgent(authagenttest.Agent{ID: id, Email: "alice@example.com"})
		got := b.MustSignIn(b.Browser(), agent)
		if other, taken := seen[got.ProfileID]; taken || got.UserID != "" {
			t.Errorf("%s got %+v, which is %q's", id, got, other)
		}
		seen[got.ProfileID] = id
	}
	if len(s.lookups) != 0 || b.AS.Count(authagenttest.PathUserInfo) != 0 {
		t.Errorf("looked up %q", s.lookups)
	}
	// Another issuer's agent of the same ID is another agent.
	other, err := b.Profiles.FindOrCreateProfile(t.Context(), authagent.Profile{
		Agent: authagent.Agent{Issuer: "https://other.example", ID: "x"}, Scenario: "FreshProfile",
	})
	if _, taken := seen[other.ID]; err != nil || taken {
		t.Errorf("profile %+v, err %v", other, err)
	}
}

// TestScenariosSideBySide: one agent has one profile in each scenario.
func TestScenariosSideBySide(t *testing.T) {
	as := quickServer(t)
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	users.Add("alice@example.com", "Alice")
	var ids []string
	for _, i := range []int{contextual, fresh} {
		b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) {
			c.Scenario = scenarios[i].make(users, profiles, authagent.InsecureTrustEmail)
		})
		ids = append(ids, b.MustSignIn(b.Browser(), b.Agent).ProfileID)
	}
	if all := profiles.All(); len(all) != 2 || ids[0] == ids[1] || all[1].UserID != "" {
		t.Errorf("profiles %+v", all)
	}
}

// TestAtOnce: LNK-13. Fifty first sign-ins of one agent make one of everything.
func TestAtOnce(t *testing.T) {
	const n = 50
	for _, test := range []struct {
		name     string
		scenario int
		quirks   bool
	}{{"FullAccount", full, false}, {"ContextualProfile", contextual, false}, {"FreshProfile", fresh, false}, {"FreshProfile, published server", fresh, true}} {
		t.Run(test.name, func(t *testing.T) {
			b, _ := newSpyBench(t, test.scenario, authagent.InsecureTrustEmail, createUsers)
			if test.quirks {
				b.AS.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { *q = authagenttest.PublishedQuirks() })
			}
			agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"})
			callbacks := make([]string, n)
			browsers := make([]*http.Client, n)
			for i := range n {
				browsers[i] = b.Browser()
				callbacks[i] = b.Authorize(agent, b.Begin(browsers[i], ""))
			}
			var wg sync.WaitGroup
			got := make([]*authagent.Session, n)
			for i := range n {
				wg.Go(func() {
					resp, err := browsers[i].Get(callbacks[i])
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusSeeOther {
						t.Errorf("status %d %s", resp.StatusCode, body)
					}
				})
			}
			wg.Wait()
			for i := range n {
				if got[i] = b.Me(browsers[i]); got[i] == nil {
					t.Fatalf("sign-in %d has no session\nlog: %s", i, b.Log)
				}
				if got[i].UserID != got[0].UserID || got[i].ProfileID != got[0].ProfileID {
					t.Errorf("sessions %+v and %+v", got[0], got[i])
				}
			}
			wantUsers, wantProfiles := 2, 1
			if test.scenario == fresh {
				wantUsers = 1
			}
			if test.scenario == full {
				wantProfiles = 0
			}
			if u, p := b.Users.All(), b.Profiles.All(); len(u) != wantUsers || len(p) != wantProfiles {
				t.Errorf("users %+v, profiles %+v", u, p)
			}
		})
	}
}

// TestStoreFails: LNK-13. A store that fails, panics or answers nonsense is the
// site's fault; nobody is signed in, and the next sign-in makes up for it.
func TestStoreFails(t *testing.T) {
	broken := errors.New("connection refused to 10.0.0.5:5432")
	type faults struct {
		name string
		fail func(*spy)
	}
	find := faults{"find", func(s *spy) {
		s.onFind = func(string) (authagent.User, error) { return authagent.User{}, broken }
	}}
	noID := faults{"found without ID", func(s *spy) {
		s.onFind = func(string) (authagent.User, error) { return authagent.User{EmailVerified: true}, nil }
	}}
	create := faults{"create", func(s *spy) {
		s.onCreate = func(authagent.NewUser) (authagent.User, error) { return authagent.User{}, broken }
	}}
	createAnyway := faults{"create with an ID and an error", func(s *spy) {
		s.onCreate = func(authagent.NewUser) (authagent.User, error) { return authagent.User{ID: "x"}, broken }
	}}
	createNoID := faults{"created without ID", func(s *spy) {
		s.onCreate = func(authagent.NewUser) (authagent.User, error) { return authagent.User{}, nil }
	}}
	panics := faults{"panic", func(s *spy) {
		s.onFind = func(string) (authagent.User, error) { panic("alice@example.com") }
	}}
	link := faults{"link", func(s *spy) { s.onLink = func(string) (string, error) { return "", broken } }}
	linkEmpty := faults{"link returns nothing", func(s *spy) { s.onLink = func(string) (string, error) { return "", nil } }}
	profile := faults{"profile", func(s *spy) {
		s.onProfile = func(p authagent.Profile) (authagent.Profile, error) { return p, broken }
	}}
	profileNoID := faults{"profile without ID", func(s *spy) {
		s.onProfile = func(p authagent.Profile) (authagent.Profile, error) { return p, nil }
	}}
	profileEmpty := faults{"empty profile", func(s *spy) {
		s.onProfile = func(authagent.Profile) (authagent.Profile, error) { return authagent.Profile{}, nil }
	}}
	for i, all := range [][]faults{
		full:       {find, noID, create, createAnyway, createNoID, panics, link, linkEmpty},
		contextual: {find, noID, create, createAnyway, createNoID, panics, link, linkEmpty, profile, profileNoID, profileEmpty},
		fresh:      {profile, profileNoID, profileEmpty},
	} {
		for _, fault := range all {
			t.Run(scenarios[i].name+"/"+fault.name, func(t *testing.T) {
				b, s := newSpyBench(t, i, authagent.InsecureTrustEmail, createUsers)
				agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"})
				fault.fail(s)
				c := b.Browser()
				resp := b.RefusedSignIn(c, agent)
				if resp.StatusCode != 500 || resp.Reason() != problem.StoreFailed || resp.Header.Get("Retry-After") == "" {
					t.Errorf("status %d, reason %q, headers %v", resp.StatusCode, resp.Reason(), resp.Header)
				}
				if strings.Contains(resp.Text, "10.0.0.5") {
					t.Errorf("the client is told of the site's insides: %s", resp.Text)
				}
				s.heal()
				first := b.MustSignIn(c, agent)
				if second := b.MustSignIn(b.Browser(), agent); second.UserID != first.UserID || second.ProfileID != first.ProfileID {
					t.Errorf("first %+v, second %+v", first, second)
				}
				users, profiles := 2, 1
				if i == full {
					profiles = 0
				}
				if i == fresh {
					users = 1
				}
				if u, p := b.Users.All(), b.Profiles.All(); len(u) != users || len(p) != profiles {
					t.Errorf("users %+v, profiles %+v", u, p)
				}
			})
		}
	}
}

// TestPolicyDecides: whatever the stores have, no account is entered against
// the policy, and none with more access than the scenario gives.
func TestPolicyDecides(t *testing.T) {
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			var answer authagent.Principal
			var refusal error
			var asked []authagent.LinkRequest
			b, s := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Principal, error) {
				asked = append(asked, r)
				return answer, refusal
			}), createUsers)

			const pending problem.Reason = "ask_support" // the site's own
			for _, test := range []struct {
				err    error
				status int
				reason problem.Reason
			}{
				{problem.NoAccount, 403, problem.NoAccount}, // nor is one created: the address is taken
				{fmt.Errorf("wrapped: %w", problem.NoAccount), 403, problem.NoAccount},
				{problem.LinkRefused, 403, problem.LinkRefused},
				{pending, 403, pending},
				{errors.New("database is down"), 500, problem.StoreFailed},
				{context.DeadlineExceeded, 500, problem.StoreFailed},
				{nil, 500, problem.StoreFailed}, // and no account either
			} {
				answer, refusal = authagent.Principal{}, test.err
				b.MustRefuseSignIn(b.Agent, test.status, test.reason)
			}
			answer, refusal = authagent.Principal{UserID: b.AliceID, Access: authagent.AccessFull}, problem.NoAccount
			b.MustRefuseSignIn(b.Agent, 403, problem.NoAccount)
			if len(s.created) != 0 || len(b.Profiles.All()) != 0 {
				t.Errorf("created %+v, profiles %+v", s.created, b.Profiles.All())
			}

			most := authagent.AccessFull
			if i == contextual {
				most = authagent.AccessRead
			}
			agent := authagent.Agent{Issuer: b.AS.URL, ID: b.Agent.ID}
			want := authagent.LinkRequest{
				Agent: agent, Scopes: []string{"openid", "profile", "email"},
				Model: "model-1", Name: "Alice", Email: "alice@example.com", Scenario: scenario.name,
				User: &authagent.User{ID: b.AliceID, EmailVerified: true}, Access: most, RemoteAddr: "127.0.0.1",
			}
			if diff := cmp.Diff(want, asked[0]); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			for _, access := range []authagent.Access{authagent.AccessNone, authagent.AccessRead, authagent.AccessFull, 100} {
				answer, refusal = authagent.Principal{UserID: b.AliceID, Access: access}, nil
				if got := b.MustSignIn(b.Browser(), b.Agent); got.Access != min(access, most) {
					t.Errorf("policy gives %v, session has %v", access, got.Access)
				}
			}
		})
	}
}

// TestPolicyIsAskedAgain: an account that appears while one is being created is
// somebody's, and the policy is asked about it like about any other.
func TestPolicyIsAskedAgain(t *testing.T) {
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			var asked []authagent.LinkRequest
			b, s := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Principal, error) {
				asked = append(asked, r)
				if r.User == nil {
					return authagent.Principal{}, problem.NoAccount
				}
				return authagent.Principal{}, problem.LinkRefused
			}), createUsers)
			agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
			s.onCreate = func(n authagent.NewUser) (authagent.User, error) {
				b.Users.Add(n.Email, "Bob, who was faster")
				return s.Users.CreateUser(t.Context(), n)
			}
			b.MustRefuseSignIn(agent, 403, problem.LinkRefused)
			if len(asked) != 2 || asked[1].User == nil {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// TestForgottenSessions is LNK-31 and LNK-34 where no grant holds a session: it ends all
// the same, and no other does.
func TestForgottenSessions(t *testing.T) {
	for name, forget := range map[string]func(b *bench) error{
		"agent": func(b *bench) error {
			return b.RP.ForgetAgent(t.Context(), "op", authagent.Agent{Issuer: b.AS.URL, ID: b.Agent.ID})
		},
		"user": func(b *bench) error { _, err := b.RP.EraseUser(t.Context(), "op", "user_1"); return err },
	} {
		t.Run("LNK-31 LNK-34 "+name, func(t *testing.T) {
			b := newScenarioBench(t, func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) })
			b.Users.Add("bob@example.com", "Bob")
			c, other := b.Browser(), b.Browser()
			b.MustSignIn(c, b.Agent)
			b.MustSignIn(other, b.AS.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"}))
			if err := forget(b); err != nil {
				t.Fatal(err)
			}
			if s := b.Me(c); s != nil {
				t.Errorf("still signed in: %+v", s)
			}
			if b.Me(other) == nil {
				t.Error("another agent's session has ended")
			}
			if linked, err := b.Users.LinkedUser(t.Context(), authagent.Agent{Issuer: b.AS.URL, ID: b.Agent.ID}); !errors.Is(err, authagent.ErrNotFound) {
				t.Errorf("linked to %q, %v", linked, err)
			}
		})
	}
}
