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
			events := make(chan audit.Event, 16)
			b := newScenarioBench(t, func(b *bench) authagent.Scenario {
				return scenarios[i].make(b.Users, b.Profiles, authagent.InsecureTrustEmail)
			}, func(_ *bench, c *authagent.Config) {
				c.Audit = func(_ context.Context, e audit.Event) { events <- e }
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
			for e := range events {
				if e.Name != audit.LoginSucceeded {
					continue
				}
				if e.Agent != want.Agent || e.UserID != want.UserID || e.ProfileID != want.ProfileID || e.Scenario != name || e.Access != test.access.String() {
					t.Errorf("recorded as %+v", e)
				}
				break
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

// TestNoAccount: FullAccount for an owner without an account.
func TestNoAccount(t *testing.T) {
	for _, test := range []struct {
		name           string
		create, able   bool
		registration   string
		status         int
		location       string
		accounts       int
		accountCreated bool
	}{
		{name: "told so", able: true, status: 403, accounts: 1}, // LNK-10: no account by default
		{name: "sent to register", able: true, registration: "/register", status: 303, location: "/register", accounts: 1},
		{name: "sent to register elsewhere", able: true, registration: "https://id.example/new", status: 303, location: "https://id.example/new", accounts: 1},
		{name: "created", able: true, create: true, registration: "/register", status: 303, location: "/", accounts: 2, accountCreated: true},
		{name: "store cannot create", create: true, status: 403, accounts: 1},
		{name: "store cannot create, register", create: true, registration: "/register", status: 303, location: "/register", accounts: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newScenarioBench(t, func(b *bench) authagent.Scenario {
				if test.able {
					return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail)
				}
				return authagent.FullAccount(lookupOnly{b.Users}, authagent.InsecureTrustEmail)
			}, func(_ *bench, c *authagent.Config) { c.CreateUsers, c.RegistrationURL = test.create, test.registration })
			stranger := b.AS.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com", Name: "New"})
			c := b.Browser()
			resp := b.SignIn(c, stranger)
			if resp.StatusCode != test.status || resp.Header.Get("Location") != test.location {
				t.Errorf("status %d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
			}
			if test.status == 403 && resp.Reason() != problem.NoAccount {
				t.Errorf("reason %q", resp.Reason())
			}
			all := b.Users.All()
			if len(all) != test.accounts {
				t.Fatalf("accounts %+v", all)
			}
			s := b.Me(c)
			if (s != nil) != test.accountCreated {
				t.Errorf("session %+v", s)
			}
			if test.accountCreated {
				want := memstore.Account{
					User:  authagent.User{ID: s.UserID, CreatedBy: authagent.Agent{Issuer: b.AS.URL, ID: "agent_new"}},
					Email: "new@example.com", Name: "New",
				}
				if diff := cmp.Diff(want, all[1]); diff != "" {
					t.Errorf("account (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestCreatedAccount: LNK-7, LNK-10. What an agent had created is its own until
// a person has shown that the address is theirs.
func TestCreatedAccount(t *testing.T) {
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, authagent.InsecureTrustEmail, createUsers)
			first := b.AS.AddAgent(authagenttest.Agent{ID: "first", Email: "new@example.com"})
			second := b.AS.AddAgent(authagenttest.Agent{ID: "second", Email: "new@example.com"})
			created := b.MustSignIn(b.Browser(), first).UserID
			if again := b.MustSignIn(b.Browser(), first).UserID; again != created {
				t.Errorf("second sign-in enters %s, the first %s", again, created)
			}
			b.MustRefuseSignIn(second, 403, problem.NoAccount)
			if all := b.Users.All(); len(all) != 2 || all[1].EmailVerified {
				t.Errorf("accounts %+v", all)
			}
			account, _ := b.Users.Get(created)
			account.EmailVerified = true // the site has seen proof
			b.Users.Put(account)
			if got := b.MustSignIn(b.Browser(), second).UserID; got != created {
				t.Errorf("enters %s, want %s", got, created)
			}
		})
	}
}

// TestCreatedByOfAnotherIssuer: the same ID at another issuer is another agent.
func TestCreatedByOfAnotherIssuer(t *testing.T) {
	b, s := newSpyBench(t, full, authagent.InsecureTrustEmail, createUsers)
	b.Users.Put(memstore.Account{Email: "new@example.com", User: authagent.User{
		ID: "theirs", CreatedBy: authagent.Agent{Issuer: "https://other.example", ID: "agent_new"},
	}})
	b.MustRefuseSignIn(b.AS.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"}), 403, problem.NoAccount)
	if len(s.created) != 0 {
		t.Errorf("CreateUser was called for an address that is taken: %+v", s.created)
	}
}

// TestAccountsNotEntered_LNK_11: LNK-7, LNK-8, LNK-9, LNK-11. Accounts that no agent
// may enter are as good as none: the same answer, nothing created or changed.
func TestAccountsNotEntered_LNK_11(t *testing.T) {
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			// A site that creates nobody; the accounts are there or not.
			var answers []string
			for _, test := range []struct {
				name string
				put  []memstore.Account
			}{
				{"unknown", nil},
				{"unverified", []memstore.Account{{Email: "bob@example.com"}}},
				{"disabled", []memstore.Account{{Email: "bob@example.com", User: authagent.User{EmailVerified: true, Disabled: true}}}},
				{"ambiguous", []memstore.Account{
					{Email: "Bob@example.com", User: authagent.User{EmailVerified: true}},
					{Email: "bob@example.com", User: authagent.User{EmailVerified: true}},
				}},
				{"disabled, the agent's own", []memstore.Account{{Email: "bob@example.com", User: authagent.User{Disabled: true}}}},
			} {
				b, s := newSpyBench(t, i, authagent.InsecureTrustEmail, createUsers)
				bob := b.AS.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
				for _, account := range test.put {
					if test.name == "disabled, the agent's own" {
						account.CreatedBy = authagent.Agent{Issuer: b.AS.URL, ID: bob.ID}
					}
					b.Users.Put(account)
				}
				if test.put == nil { // nobody can be created for once, so that the answers can be compared
					s.onCreate = func(authagent.NewUser) (authagent.User, error) { return authagent.User{}, authagent.ErrExists }
				}
				before := b.Users.All()
				resp := b.RefusedSignIn(b.Browser(), bob)
				if resp.StatusCode != 403 || resp.Reason() != problem.NoAccount {
					t.Errorf("%s: %d %q", test.name, resp.StatusCode, resp.Reason())
				}
				if diff := cmp.Diff(before, b.Users.All()); diff != "" {
					t.Errorf("%s: accounts changed (-before +after):\n%s", test.name, diff)
				}
				if test.put != nil && len(s.created) != 0 {
					t.Errorf("%s: CreateUser was called: %+v", test.name, s.created)
				}
				if all := b.Profiles.All(); len(all) != 0 {
					t.Errorf("%s: profiles %+v", test.name, all)
				}
				answers = append(answers, neutral(t, resp, b.URL))
			}
			for _, answer := range answers[1:] {
				if diff := cmp.Diff(answers[0], answer); diff != "" {
					t.Errorf("the agent can tell that there is an account (-unknown +other):\n%s", diff)
				}
			}
		})
	}
}

// neutral is a response without what differs from one request to the next.
func neutral(t *testing.T, resp *response, site string) string {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal([]byte(resp.Text), &p); err != nil {
		t.Fatal(err)
	}
	for name, value := range p {
		if s, ok := value.(string); ok {
			p[name] = strings.ReplaceAll(s, site, "")
		}
		if name == "request_id" || name == "instance" {
			p[name] = "…"
		}
	}
	h := resp.Header.Clone()
	h.Del("Date")
	h.Del("Content-Length")
	for i, cookie := range h["Set-Cookie"] { // its name has the login's ID
		_, attributes, _ := strings.Cut(cookie, ";")
		h["Set-Cookie"][i] = attributes
	}
	body, _ := json.Marshal(p)
	return fmt.Sprint(resp.StatusCode, h, string(body))
}

// TestDisabledAccount: LNK-9. An account that is disabled or deleted is left on
// the next request, and what is left of its link leads to no other.
func TestDisabledAccount(t *testing.T) {
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, authagent.InsecureTrustEmail)
			c := b.Browser()
			b.MustSignIn(c, b.Agent)
			alice, _ := b.Users.Get(b.AliceID)
			disabled := alice
			disabled.Disabled = true
			b.Users.Put(disabled)
			if b.Me(c) != nil {
				t.Error("the session of a disabled account goes on")
			}
			b.MustRefuseSignIn(b.Agent, 403, problem.NoAccount)
			if got, _ := b.Users.Get(b.AliceID); !got.Disabled {
				t.Error("the account was enabled")
			}
			b.Users.Put(alice)
			if got := b.Me(c); got != nil {
				t.Error("a session that was ended came back")
			}
			b.MustSignIn(c, b.Agent)

			b.Users.Remove(b.AliceID)
			if b.Me(c) != nil {
				t.Error("the session of a deleted account goes on")
			}
			heir := b.Users.Add("alice@example.com", "Another Alice")
			if heir == b.AliceID {
				t.Fatal("an ID was given twice")
			}
			b.MustRefuseSignIn(b.Agent, 403, problem.LinkRefused)
		})
	}
}

// TestEmailChange: LNK-5. An address that changes at the server never carries an
// agent over into another account.
func TestEmailChange(t *testing.T) {
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, authagent.InsecureTrustEmail)
			b.Users.Add("bob@example.com", "Bob")
			b.MustSignIn(b.Browser(), b.Agent)
			b.userinfo(map[string]any{"email": "bob@example.com"})
			b.MustRefuseSignIn(b.Agent, 403, problem.LinkRefused)
			b.MustRefuseSignIn(b.Agent, 403, problem.LinkRefused) // and not the second time either
			b.userinfo(nil)
			if s := b.MustSignIn(b.Browser(), b.Agent); s.UserID != b.AliceID {
				t.Errorf("session %+v", s)
			}
			for _, p := range b.Profiles.All() {
				if p.UserID != b.AliceID {
					t.Errorf("profile %+v", p)
				}
			}
		})
	}
}

// TestEmailChangeOfProfile: LNK-5 for a store that remembers nothing of agents
// (AgentLinker): the profile is linked to the account that it was created for.
func TestEmailChangeOfProfile(t *testing.T) {
	b := newScenarioBench(t, func(b *bench) authagent.Scenario {
		return authagent.ContextualProfile(lookupOnly{b.Users}, b.Profiles, authagent.InsecureTrustEmail)
	})
	b.Users.Add("bob@example.com", "Bob")
	b.MustSignIn(b.Browser(), b.Agent)
	b.userinfo(map[string]any{"email": "bob@example.com"})
	b.MustRefuseSignIn(b.Agent, 403, problem.LinkRefused)
	b.userinfo(nil)
	if s := b.MustSignIn(b.Browser(), b.Agent); s.UserID != b.AliceID {
		t.Errorf("session %+v", s)
	}
	if all := b.Profiles.All(); len(all) != 1 || all[0].UserID != b.AliceID {
		t.Errorf("profiles %+v", all)
	}
}

// TestEmailChangeBetweenScenarios: LNK-5. Nor does it where a site offers both.
func TestEmailChangeBetweenScenarios(t *testing.T) {
	for _, order := range [][2]int{{full, contextual}, {contextual, full}} {
		as := quickServer(t)
		users, profiles := &memstore.Users{}, &memstore.Profiles{}
		alice := users.Add("alice@example.com", "Alice")
		users.Add("bob@example.com", "Bob")
		var benches [2]*bench
		for i, scenario := range order {
			benches[i] = newBenchOn(t, as, func(_ *bench, c *authagent.Config) {
				c.Scenario = scenarios[scenario].make(users, profiles, authagent.InsecureTrustEmail)
			})
		}
		first, second := benches[0], benches[1]
		first.AS.AddClient(authagenttest.Client{ID: "site", Secret: first.Config.ClientSecret, RedirectURIs: []string{first.Config.RedirectURL}})
		first.MustSignIn(first.Browser(), second.Agent)
		second.AS.AddClient(authagenttest.Client{ID: "site", Secret: second.Config.ClientSecret, RedirectURIs: []string{second.Config.RedirectURL}})
		second.userinfo(map[string]any{"email": "bob@example.com"})
		second.MustRefuseSignIn(second.Agent, 403, problem.LinkRefused)
		second.userinfo(nil)
		if s := second.MustSignIn(second.Browser(), second.Agent); s.UserID != alice {
			t.Errorf("session %+v", s)
		}
	}
}

// TestEmailChangeOfSession: what /userinfo says later is nothing to a session.
func TestEmailChangeOfSession(t *testing.T) {
	b, _ := newSpyBench(t, full, authagent.InsecureTrustEmail)
	b.Users.Add("bob@example.com", "Bob")
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	b.userinfo(map[string]any{"email": "bob@example.com"})
	if resp := b.SignIn(c, b.Agent); resp.StatusCode != 403 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if s := b.Me(c); s == nil || s.UserID != b.AliceID {
		t.Errorf("session %+v, want alice's", s)
	}
}

// TestEmailClaims_ID_7_ID_8: ID-7, ID-8. What is not a plain address is none: not looked
// up, not created. What is one is compared in ASCII, letter case aside.
func TestEmailClaims_ID_7_ID_8(t *testing.T) {
	long := strings.Repeat("a", 250) + "@example.com"
	b, s := newSpyBench(t, contextual, authagent.InsecureTrustEmail)
	b.Users.Put(memstore.Account{User: authagent.User{ID: "nobody", EmailVerified: true}}) // address ""
	b.Users.Add("alice@kite.example", "Alice of Kite")
	for _, claim := range []any{
		nil, "", " ", 1, true, []string{"alice@example.com"}, map[string]string{"value": "alice@example.com"},
		"\u0430lice@example.com", "\uff41lice@example.com", "alice@e\u017fample.com", "alice@\u212aite.example", "ali\u0301ce@example.com",
		"attacker@evil.example@example.com", `"alice@example.com"@evil.example`, "alice@example.com,x@evil.example",
		"Alice <alice@example.com>", "=?utf-8?q?a?= <alice@example.com>", "alice(c)@example.com",
		" alice@example.com", "alice@example.com\n", "alice\u200b@example.com", "alice@example.com\x00.evil.example",
		"alice@example.com.", "alice@[127.0.0.1]", "alice@example", "alice", "@example.com", "alice@", long,
	} {
		s.lookups, s.created = nil, nil
		b.userinfo(map[string]any{"email": claim})
		b.MustRefuseSignIn(b.Agent, 403, problem.NoAccount)
		if len(s.lookups)+len(s.created) != 0 {
			t.Errorf("%q: looked up %q, created %+v", claim, s.lookups, s.created)
		}
	}
	for _, claim := range []string{"alice@example.com", "alice@EXAMPLE.com", "ALICE@Example.com"} {
		b.userinfo(map[string]any{"email": claim})
		if got := b.MustSignIn(b.Browser(), b.Agent); got.UserID != b.AliceID {
			t.Errorf("%q: session %+v", claim, got)
		}
	}
	for _, claim := range []string{"alice+agent@example.com", "a.lice@example.com"} { // other people
		b.userinfo(map[string]any{"email": claim})
		b.MustRefuseSignIn(b.Agent, 403, problem.NoAccount) // nothing is created for who entered alice's account
	}
}

// TestUnverified: what the server itself calls unverified is refused under every
// policy, even one that does not look at the address.
func TestUnverified(t *testing.T) {
	no, yes := false, true
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			var asked []authagent.LinkRequest
			b, s := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Principal, error) {
				asked = append(asked, r)
				return authagent.Principal{UserID: "user_1", Access: authagent.AccessFull}, nil
			}), createUsers)
			for _, claim := range []any{false, "false", "no", 0, []bool{true}} {
				b.userinfo(map[string]any{"email_verified": claim})
				b.MustRefuseSignIn(b.Agent, 403, problem.NoAccount)
			}
			b.userinfo(nil)
			b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.EmailVerified = &no })
			b.MustRefuseSignIn(b.Agent, 403, problem.NoAccount)
			if len(asked) != 0 || len(s.lookups) != 0 || len(s.created) != 0 || len(b.Profiles.All()) != 0 {
				t.Errorf("asked %+v, looked up %q, created %+v", asked, s.lookups, s.created)
			}
			b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.EmailVerified = &yes })
			b.MustSignIn(b.Browser(), b.Agent)
			b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.EmailVerified = nil })
			b.MustSignIn(b.Browser(), b.Agent)
			b.userinfo(map[string]any{"email_verified": "true"}) // ID-9: only JSON's true verifies
			b.MustSignIn(b.Browser(), b.Agent)
			if len(asked) != 3 || !asked[0].EmailVerified || asked[1].EmailVerified || asked[2].EmailVerified {
				t.Errorf("asked %+v", asked)
			}
		})
	}
	t.Run("FreshProfile", func(t *testing.T) { // asks nobody
		b, _ := newSpyBench(t, fresh, nil)
		b.userinfo(map[string]any{"email_verified": false})
		b.MustSignIn(b.Browser(), b.Agent)
	})
}

// TestUnknownClaims_ID_9: ID-9. What else a server or an agent's owner writes into
// the claims reaches no store.
func TestUnknownClaims_ID_9(t *testing.T) {
	b, s := newSpyBench(t, contextual, authagent.InsecureTrustEmail)
	b.userinfo(map[string]any{
		"email": "new@example.com", "name": "New\u202e\n<b>", "role": "admin", "id": b.AliceID, "user_id": b.AliceID, "groups": []string{"root"},
		"ID": b.AliceID, "UserID": b.AliceID, "CreatedBy": "x", "disabled": false,
	})
	got := b.MustSignIn(b.Browser(), b.Agent)
	agent := authagent.Agent{Issuer: b.AS.URL, ID: b.Agent.ID}
	if diff := cmp.Diff([]authagent.NewUser{{Email: "new@example.com", Name: "New <b>", CreatedBy: agent}}, s.created); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	want := []authagent.Profile{{Agent: agent, Scenario: "ContextualProfile", UserID: got.UserID, Model: "model-1", Name: "New <b>"}}
	if diff := cmp.Diff(want, s.wanted); diff != "" || got.UserID == b.AliceID {
		t.Errorf("profile (-want +got):\n%s", diff)
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
				Agent: agent, Model: "model-1", Name: "Alice", Email: "alice@example.com", Scenario: scenario.name,
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

// checkedScenario is a scenario of a site's own, around another.
type checkedScenario struct {
	authagent.Scenario
	refuse, end error
}

func (s *checkedScenario) Name() string { return "Checked" + s.Scenario.Name() }

func (s *checkedScenario) SignIn(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
	if s.refuse != nil {
		return authagent.Principal{}, s.refuse
	}
	return s.Scenario.SignIn(ctx, in)
}

func (s *checkedScenario) CheckSession(ctx context.Context, session *authagent.Session) error {
	if s.end != nil {
		return s.end
	}
	return s.Scenario.CheckSession(ctx, session)
}

func TestWrappedScenario(t *testing.T) {
	own := &checkedScenario{}
	b := newScenarioBench(t, func(b *bench) authagent.Scenario {
		own.Scenario = authagent.FullAccount(b.Users, authagent.InsecureTrustEmail)
		return own
	})
	c := b.Browser()
	if s := b.MustSignIn(c, b.Agent); s.Scenario != "CheckedFullAccount" || s.UserID != b.AliceID || s.Access != authagent.AccessFull {
		t.Errorf("session %+v", s)
	}
	own.refuse = problem.Reason("not_on_sundays")
	b.MustRefuseSignIn(b.Agent, 403, "not_on_sundays")
	own.refuse = fmt.Errorf("wrapped: %w", problem.Reason("not_on_sundays"))
	b.MustRefuseSignIn(b.Agent, 403, "not_on_sundays")
	own.refuse = errors.New("no idea")
	b.MustRefuseSignIn(b.Agent, 500, problem.StoreFailed)
	own.refuse = nil

	own.end = errors.New("no idea")
	if resp := b.Get(c, "/me"); resp.StatusCode != 500 {
		t.Errorf("status %d while the check fails", resp.StatusCode)
	}
	own.end = nil
	if b.Me(c) == nil {
		t.Error("a check that failed has ended the session")
	}
	account, _ := b.Users.Get(b.AliceID)
	account.Disabled = true
	b.Users.Put(account)
	if b.Me(c) != nil {
		t.Error("the wrapped scenario's check was not passed on")
	}
}

// ownScenario is one that is not made of another.
type ownScenario struct {
	scopes []string
	signIn func(context.Context, *authagent.SignIn) (authagent.Principal, error)
}

func (ownScenario) Name() string                                           { return "Own" }
func (ownScenario) CheckSession(context.Context, *authagent.Session) error { return nil }

func (s ownScenario) Scopes() []string { return s.scopes }
func (s ownScenario) SignIn(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
	return s.signIn(ctx, in)
}

func TestOwnScenario(t *testing.T) {
	b := newScenarioBench(t, func(*bench) authagent.Scenario {
		return ownScenario{[]string{"email"}, func(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
			first, err := in.UserInfo(ctx)
			if err != nil {
				return authagent.Principal{}, err
			}
			if second, err := in.UserInfo(ctx); err != nil || second != first {
				t.Errorf("second UserInfo: %v, %v", second, err)
			}
			want := authagent.UserInfo{Subject: "agent_alice", Email: "alice@example.com", Name: "Alice"}
			if diff := cmp.Diff(want, *first); diff != "" {
				t.Errorf("UserInfo (-want +got):\n%s", diff)
			}
			return authagent.Principal{UserID: "u", ProfileID: "p", Access: authagent.AccessRead}, nil
		}}
	})
	s := b.MustSignIn(b.Browser(), b.Agent)
	if s.Scenario != "Own" || s.UserID != "u" || s.ProfileID != "p" || s.Access != authagent.AccessRead {
		t.Errorf("session %+v", s)
	}
	if n := b.AS.Count(authagenttest.PathUserInfo); n != 1 {
		t.Errorf("%d userinfo requests, want 1", n)
	}
	b.userinfo(map[string]any{"sub": "agent_bob"})
	b.MustRefuseSignIn(b.Agent, 400, problem.Reason("identity_mismatch"))
}

// TestOwnScenarioAccess: what is no access is not taken for the highest, and
// there is none, and no action, where there is no user.
func TestOwnScenarioAccess(t *testing.T) {
	var who authagent.Principal
	b := newScenarioBench(t, func(*bench) authagent.Scenario {
		return ownCheck{nil, ownScenario{[]string{"profile"}, func(context.Context, *authagent.SignIn) (authagent.Principal, error) { return who, nil }}}
	})
	for _, bad := range []authagent.Principal{
		{UserID: "u", Access: -1}, {UserID: "u", Access: 3}, {UserID: "u", Access: 100},
		{ProfileID: "p", Access: authagent.AccessRead}, {ProfileID: "p", Actions: []string{"a"}},
		{UserID: "u", Actions: []string{""}}, {UserID: "u", Actions: []string{"a b"}}, {UserID: "u", Actions: []string{"a\nb"}},
	} {
		who = bad
		b.MustRefuseSignIn(b.Agent, 500, problem.StoreFailed)
	}
	for _, access := range []authagent.Access{authagent.AccessNone, authagent.AccessRead, authagent.AccessFull} {
		who = authagent.Principal{UserID: "u", Access: access}
		if s := b.MustSignIn(b.Browser(), b.Agent); s.Access != access {
			t.Errorf("access %v, want %v", s.Access, access)
		}
	}
}

// ownCheck changes the session on each request.
type ownCheck struct {
	change func(s *authagent.Session)
	authagent.Scenario
}

func (c ownCheck) CheckSession(ctx context.Context, s *authagent.Session) error {
	if c.change != nil {
		c.change(s)
	}
	return c.Scenario.CheckSession(ctx, s)
}

// TestCheckRaises: a check may raise a session, which is how an owner's yes counts
// on the next request, but not above what the scenario gives, and not where there
// is no user.
func TestCheckRaises(t *testing.T) {
	for i, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Principal, error) {
				return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessRead}, nil
			}), func(_ *bench, c *authagent.Config) {
				c.Scenario = ownCheck{func(s *authagent.Session) { s.Access, s.Actions = authagent.AccessFull, []string{"orders:create"} }, c.Scenario}
			})
			got := b.MustSignIn(b.Browser(), b.Agent)
			most := map[int]authagent.Access{full: authagent.AccessFull, contextual: authagent.AccessRead}[i]
			if got.Access != most || (len(got.Actions) > 0) != (got.UserID != "") {
				t.Errorf("session %+v, want access %v", got, most)
			}
		})
	}
}

func TestOwnScenarioPanics(t *testing.T) {
	b := newScenarioBench(t, func(*bench) authagent.Scenario {
		return ownScenario{[]string{"profile"}, func(context.Context, *authagent.SignIn) (authagent.Principal, error) { panic("secret") }}
	})
	b.MustRefuseSignIn(b.Agent, 500, problem.StoreFailed)
}

// TestNilParts: New refuses scenarios that would panic at the first sign-in.
func TestNilParts(t *testing.T) {
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	for name, scenario := range map[string]authagent.Scenario{
		"Scenario: is required":              nil,
		"Scenario: its UserStore is nil":     authagent.FullAccount(nil, authagent.InsecureTrustEmail),
		"Scenario: its LinkPolicy is nil":    authagent.FullAccount(users, nil),
		"Scenario: its UserStore is nil ":    authagent.ContextualProfile(nil, profiles, authagent.InsecureTrustEmail),
		"Scenario: its ProfileStore is nil":  authagent.ContextualProfile(users, nil, authagent.InsecureTrustEmail),
		"Scenario: its LinkPolicy is nil ":   authagent.ContextualProfile(users, profiles, nil),
		"Scenario: its ProfileStore is nil ": authagent.FreshProfile(nil),
	} {
		_, err := authagent.New(authagent.Config{
			Issuer: "https://as.example", ClientID: "site", ClientSecret: "secret", RedirectURL: "https://shop.example/auth/agent/callback",
			SessionKeys: [][]byte{testsite.NewKey()}, Scenario: scenario,
		})
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("err %v, want %q", err, name)
		}
	}
}

// TestForgottenSessions is LNK-31 and LNK-34 where no grant holds a session: it ends all
// the same, and no other does.
func TestForgottenSessions(t *testing.T) {
	for name, forget := range map[string]func(b *bench) error{
		"agent": func(b *bench) error {
			return b.RP.ForgetAgent(t.Context(), "op", authagent.Agent{Issuer: b.AS.URL, ID: b.Agent.ID})
		},
		"user": func(b *bench) error { return b.RP.ForgetUser(t.Context(), "op", "user_1") },
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

// halfLinker has one of the two methods of an AgentLinker.
type halfLinker struct{ authagent.UserStore }

func (halfLinker) LinkAgent(_ context.Context, _ authagent.Agent, userID string) (string, error) {
	return userID, nil
}

// TestHalfLinker is LNK-30: a store that remembers agents, and cannot be asked which,
// is a mistake that New finds.
func TestHalfLinker(t *testing.T) {
	c := newBench(t).Config
	c.Scenario = authagent.FullAccount(halfLinker{&memstore.Users{}}, authagent.InsecureTrustEmail)
	if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "LinkedUser") {
		t.Errorf("LNK-30 New: %v", err)
	}
}
