package authagent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
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

// refused signs agent in, which must not succeed, and returns the answer.
func (b *bench) refused(c *http.Client, agent *authagenttest.Agent) *response {
	b.t.Helper()
	resp := b.signIn(c, agent)
	if resp.StatusCode < 400 {
		b.t.Errorf("status %d with Location %q, want a refusal", resp.StatusCode, resp.Header.Get("Location"))
	}
	if s := b.me(c); s != nil {
		b.t.Errorf("signed in after a refusal: %+v", s)
	}
	return resp
}

// mustRefuse is refused with a status and a reason.
func (b *bench) mustRefuse(agent *authagenttest.Agent, status int, reason authagent.Reason) {
	b.t.Helper()
	if resp := b.refused(b.browser(), agent); resp.StatusCode != status || resp.reason() != reason {
		b.t.Errorf("refused with %d %q, want %d %q\nlog: %s", resp.StatusCode, resp.reason(), status, reason, b.log)
	}
}

// userinfo replaces members of what /userinfo says; nil removes one.
func (b *bench) userinfo(members map[string]any) {
	b.as.Wrap(authagenttest.PathUserInfo, rewrite(members))
}

// rewrite changes members of a JSON answer.
func rewrite(members map[string]any) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorded := httptest.NewRecorder()
			next.ServeHTTP(recorded, r)
			answer := map[string]any{}
			json.Unmarshal(recorded.Body.Bytes(), &answer)
			if recorded.Code == http.StatusOK {
				for name, value := range members {
					answer[name] = value
					if value == nil {
						delete(answer, name)
					}
				}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(recorded.Code)
			json.NewEncoder(w).Encode(answer)
		})
	}
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
		s.Users, s.profiles = b.users, b.profiles
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
type policy func(authagent.LinkRequest) (authagent.Link, error)

func (p policy) Link(_ context.Context, r authagent.LinkRequest) (authagent.Link, error) { return p(r) }

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
			events := make(chan authagent.Event, 16)
			b := newScenarioBench(t, func(b *bench) authagent.Scenario {
				return scenarios[i].make(b.users, b.profiles, authagent.TrustEmail)
			}, func(_ *bench, c *authagent.Config) {
				c.Audit = func(_ context.Context, e authagent.Event) { events <- e }
			})
			c := b.browser()
			start := b.begin(c, "")
			asked := strings.Fields(mustParse(t, start).Query().Get("scope"))
			for _, scope := range []string{"email", "openid"} { // the published server gives the address for either
				if slices.Contains(asked, scope) != test.asksEmail {
					t.Errorf("scopes asked for: %q", asked)
				}
			}
			if resp := b.get(c, b.authorize(b.agent, start)); resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("callback: status %d %s", resp.StatusCode, resp.body)
			}
			if got := b.as.Count(authagenttest.PathUserInfo); (got > 0) != test.asksUserInfo || got > 1 {
				t.Errorf("%d userinfo requests", got)
			}

			s := b.me(c)
			want := &authagent.Session{
				ID: s.ID, Agent: authagent.Agent{Issuer: b.as.URL, ID: "agent_alice"}, Model: "model-1", Scenario: name,
				Access: test.access, StartedAt: s.StartedAt, ExpiresAt: s.ExpiresAt, RedirectURL: b.config.RedirectURL,
			}
			if test.user {
				want.UserID = b.aliceID
			}
			profiles := b.profiles.All()
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
				if resp := b.do(c, request.method, request.path); resp.StatusCode != request.status {
					t.Errorf("%s %s: status %d, want %d", request.method, request.path, resp.StatusCode, request.status)
				}
			}
			for e := range events {
				if e.Name != authagent.EventLoginSucceeded {
					continue
				}
				if e.Agent != want.Agent || e.UserID != want.UserID || e.ProfileID != want.ProfileID || e.Scenario != name || e.Access != test.access {
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
			{"filesystem", func(t *testing.T) sessions.Store { return sessions.NewFilesystemStore(t.TempDir(), newKey()) }},
		} {
			for _, scenario := range scenarios {
				t.Run(server.name+"/"+store.name+"/"+scenario.name, func(t *testing.T) {
					t.Parallel()
					b := newBenchOn(t, server.start(t), func(b *bench, c *authagent.Config) {
						c.Scenario = scenario.make(b.users, b.profiles, authagent.TrustEmail)
						c.SessionStore = store.make(t)
					})
					c := b.browser()
					if s := b.mustSignIn(c, b.agent); s.Scenario != scenario.name || s.Agent.ID != b.agent.ID {
						t.Errorf("session %+v", s)
					}
					if resp := b.do(c, "POST", "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther {
						t.Errorf("logout: status %d", resp.StatusCode)
					}
					if b.me(c) != nil {
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
					return authagent.FullAccount(b.users, authagent.TrustEmail)
				}
				return authagent.FullAccount(lookupOnly{b.users}, authagent.TrustEmail)
			}, func(_ *bench, c *authagent.Config) { c.CreateUsers, c.RegistrationURL = test.create, test.registration })
			stranger := b.as.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com", Name: "New"})
			c := b.browser()
			resp := b.signIn(c, stranger)
			if resp.StatusCode != test.status || resp.Header.Get("Location") != test.location {
				t.Errorf("status %d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
			}
			if test.status == 403 && resp.reason() != authagent.ErrNoAccount {
				t.Errorf("reason %q", resp.reason())
			}
			all := b.users.All()
			if len(all) != test.accounts {
				t.Fatalf("accounts %+v", all)
			}
			s := b.me(c)
			if (s != nil) != test.accountCreated {
				t.Errorf("session %+v", s)
			}
			if test.accountCreated {
				want := memstore.Account{
					User:  authagent.User{ID: s.UserID, CreatedBy: authagent.Agent{Issuer: b.as.URL, ID: "agent_new"}},
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
			b, _ := newSpyBench(t, i, authagent.TrustEmail, createUsers)
			first := b.as.AddAgent(authagenttest.Agent{ID: "first", Email: "new@example.com"})
			second := b.as.AddAgent(authagenttest.Agent{ID: "second", Email: "new@example.com"})
			created := b.mustSignIn(b.browser(), first).UserID
			if again := b.mustSignIn(b.browser(), first).UserID; again != created {
				t.Errorf("second sign-in enters %s, the first %s", again, created)
			}
			b.mustRefuse(second, 403, authagent.ErrNoAccount)
			if all := b.users.All(); len(all) != 2 || all[1].EmailVerified {
				t.Errorf("accounts %+v", all)
			}
			account, _ := b.users.Get(created)
			account.EmailVerified = true // the site has seen proof
			b.users.Put(account)
			if got := b.mustSignIn(b.browser(), second).UserID; got != created {
				t.Errorf("enters %s, want %s", got, created)
			}
		})
	}
}

// TestCreatedByOfAnotherIssuer: the same ID at another issuer is another agent.
func TestCreatedByOfAnotherIssuer(t *testing.T) {
	b, s := newSpyBench(t, full, authagent.TrustEmail, createUsers)
	b.users.Put(memstore.Account{Email: "new@example.com", User: authagent.User{
		ID: "theirs", CreatedBy: authagent.Agent{Issuer: "https://other.example", ID: "agent_new"},
	}})
	b.mustRefuse(b.as.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"}), 403, authagent.ErrNoAccount)
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
				b, s := newSpyBench(t, i, authagent.TrustEmail, createUsers)
				bob := b.as.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
				for _, account := range test.put {
					if test.name == "disabled, the agent's own" {
						account.CreatedBy = authagent.Agent{Issuer: b.as.URL, ID: bob.ID}
					}
					b.users.Put(account)
				}
				if test.put == nil { // nobody can be created for once, so that the answers can be compared
					s.onCreate = func(authagent.NewUser) (authagent.User, error) { return authagent.User{}, authagent.ErrExists }
				}
				before := b.users.All()
				resp := b.refused(b.browser(), bob)
				if resp.StatusCode != 403 || resp.reason() != authagent.ErrNoAccount {
					t.Errorf("%s: %d %q", test.name, resp.StatusCode, resp.reason())
				}
				if diff := cmp.Diff(before, b.users.All()); diff != "" {
					t.Errorf("%s: accounts changed (-before +after):\n%s", test.name, diff)
				}
				if test.put != nil && len(s.created) != 0 {
					t.Errorf("%s: CreateUser was called: %+v", test.name, s.created)
				}
				if all := b.profiles.All(); len(all) != 0 {
					t.Errorf("%s: profiles %+v", test.name, all)
				}
				answers = append(answers, neutral(t, resp, b.site.URL))
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
	if err := json.Unmarshal([]byte(resp.body), &p); err != nil {
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
			b, _ := newSpyBench(t, i, authagent.TrustEmail)
			c := b.browser()
			b.mustSignIn(c, b.agent)
			alice, _ := b.users.Get(b.aliceID)
			disabled := alice
			disabled.Disabled = true
			b.users.Put(disabled)
			if b.me(c) != nil {
				t.Error("the session of a disabled account goes on")
			}
			b.mustRefuse(b.agent, 403, authagent.ErrNoAccount)
			if got, _ := b.users.Get(b.aliceID); !got.Disabled {
				t.Error("the account was enabled")
			}
			b.users.Put(alice)
			if got := b.me(c); got != nil {
				t.Error("a session that was ended came back")
			}
			b.mustSignIn(c, b.agent)

			b.users.Remove(b.aliceID)
			if b.me(c) != nil {
				t.Error("the session of a deleted account goes on")
			}
			heir := b.users.Add("alice@example.com", "Another Alice")
			if heir == b.aliceID {
				t.Fatal("an ID was given twice")
			}
			b.mustRefuse(b.agent, 403, authagent.ErrLink)
		})
	}
}

// TestEmailChange: LNK-5. An address that changes at the server never carries an
// agent over into another account.
func TestEmailChange(t *testing.T) {
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, authagent.TrustEmail)
			b.users.Add("bob@example.com", "Bob")
			b.mustSignIn(b.browser(), b.agent)
			b.userinfo(map[string]any{"email": "bob@example.com"})
			b.mustRefuse(b.agent, 403, authagent.ErrLink)
			b.mustRefuse(b.agent, 403, authagent.ErrLink) // and not the second time either
			b.userinfo(nil)
			if s := b.mustSignIn(b.browser(), b.agent); s.UserID != b.aliceID {
				t.Errorf("session %+v", s)
			}
			for _, p := range b.profiles.All() {
				if p.UserID != b.aliceID {
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
		return authagent.ContextualProfile(lookupOnly{b.users}, b.profiles, authagent.TrustEmail)
	})
	b.users.Add("bob@example.com", "Bob")
	b.mustSignIn(b.browser(), b.agent)
	b.userinfo(map[string]any{"email": "bob@example.com"})
	b.mustRefuse(b.agent, 403, authagent.ErrLink)
	b.userinfo(nil)
	if s := b.mustSignIn(b.browser(), b.agent); s.UserID != b.aliceID {
		t.Errorf("session %+v", s)
	}
	if all := b.profiles.All(); len(all) != 1 || all[0].UserID != b.aliceID {
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
				c.Scenario = scenarios[scenario].make(users, profiles, authagent.TrustEmail)
			})
		}
		first, second := benches[0], benches[1]
		first.as.AddClient(authagenttest.Client{ID: "site", Secret: first.config.ClientSecret, RedirectURIs: []string{first.config.RedirectURL}})
		first.mustSignIn(first.browser(), second.agent)
		second.as.AddClient(authagenttest.Client{ID: "site", Secret: second.config.ClientSecret, RedirectURIs: []string{second.config.RedirectURL}})
		second.userinfo(map[string]any{"email": "bob@example.com"})
		second.mustRefuse(second.agent, 403, authagent.ErrLink)
		second.userinfo(nil)
		if s := second.mustSignIn(second.browser(), second.agent); s.UserID != alice {
			t.Errorf("session %+v", s)
		}
	}
}

// TestEmailChangeOfSession: what /userinfo says later is nothing to a session.
func TestEmailChangeOfSession(t *testing.T) {
	b, _ := newSpyBench(t, full, authagent.TrustEmail)
	b.users.Add("bob@example.com", "Bob")
	c := b.browser()
	b.mustSignIn(c, b.agent)
	b.userinfo(map[string]any{"email": "bob@example.com"})
	if resp := b.signIn(c, b.agent); resp.StatusCode != 403 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if s := b.me(c); s == nil || s.UserID != b.aliceID {
		t.Errorf("session %+v, want alice's", s)
	}
}

// TestEmailClaims_ID_7_ID_8: ID-7, ID-8. What is not a plain address is none: not looked
// up, not created. What is one is compared in ASCII, letter case aside.
func TestEmailClaims_ID_7_ID_8(t *testing.T) {
	long := strings.Repeat("a", 250) + "@example.com"
	b, s := newSpyBench(t, contextual, authagent.TrustEmail)
	b.users.Put(memstore.Account{User: authagent.User{ID: "nobody", EmailVerified: true}}) // address ""
	b.users.Add("alice@kite.example", "Alice of Kite")
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
		b.mustRefuse(b.agent, 403, authagent.ErrNoAccount)
		if len(s.lookups)+len(s.created) != 0 {
			t.Errorf("%q: looked up %q, created %+v", claim, s.lookups, s.created)
		}
	}
	for _, claim := range []string{"alice@example.com", "alice@EXAMPLE.com", "ALICE@Example.com"} {
		b.userinfo(map[string]any{"email": claim})
		if got := b.mustSignIn(b.browser(), b.agent); got.UserID != b.aliceID {
			t.Errorf("%q: session %+v", claim, got)
		}
	}
	for _, claim := range []string{"alice+agent@example.com", "a.lice@example.com"} { // other people
		b.userinfo(map[string]any{"email": claim})
		b.mustRefuse(b.agent, 403, authagent.ErrNoAccount) // nothing is created for who entered alice's account
	}
}

// TestUnverified: what the server itself calls unverified is refused under every
// policy, even one that does not look at the address.
func TestUnverified(t *testing.T) {
	no, yes := false, true
	for i, scenario := range emailScenarios {
		t.Run(scenario.name, func(t *testing.T) {
			var asked []authagent.LinkRequest
			b, s := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Link, error) {
				asked = append(asked, r)
				return authagent.Link{UserID: "user_1", Access: authagent.AccessFull}, nil
			}), createUsers)
			for _, claim := range []any{false, "false", "no", 0, []bool{true}} {
				b.userinfo(map[string]any{"email_verified": claim})
				b.mustRefuse(b.agent, 403, authagent.ErrNoAccount)
			}
			b.userinfo(nil)
			b.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.EmailVerified = &no })
			b.mustRefuse(b.agent, 403, authagent.ErrNoAccount)
			if len(asked) != 0 || len(s.lookups) != 0 || len(s.created) != 0 || len(b.profiles.All()) != 0 {
				t.Errorf("asked %+v, looked up %q, created %+v", asked, s.lookups, s.created)
			}
			b.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.EmailVerified = &yes })
			b.mustSignIn(b.browser(), b.agent)
			b.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.EmailVerified = nil })
			b.mustSignIn(b.browser(), b.agent)
			b.userinfo(map[string]any{"email_verified": "true"}) // ID-9: only JSON's true verifies
			b.mustSignIn(b.browser(), b.agent)
			if len(asked) != 3 || !asked[0].EmailVerified || asked[1].EmailVerified || asked[2].EmailVerified {
				t.Errorf("asked %+v", asked)
			}
		})
	}
	t.Run("FreshProfile", func(t *testing.T) { // asks nobody
		b, _ := newSpyBench(t, fresh, nil)
		b.userinfo(map[string]any{"email_verified": false})
		b.mustSignIn(b.browser(), b.agent)
	})
}

// TestUnknownClaims_ID_9: ID-9. What else a server or an agent's owner writes into
// the claims reaches no store.
func TestUnknownClaims_ID_9(t *testing.T) {
	b, s := newSpyBench(t, contextual, authagent.TrustEmail)
	b.userinfo(map[string]any{
		"email": "new@example.com", "name": "New\u202e\n<b>", "role": "admin", "id": b.aliceID, "user_id": b.aliceID, "groups": []string{"root"},
		"ID": b.aliceID, "UserID": b.aliceID, "CreatedBy": "x", "disabled": false,
	})
	got := b.mustSignIn(b.browser(), b.agent)
	agent := authagent.Agent{Issuer: b.as.URL, ID: b.agent.ID}
	if diff := cmp.Diff([]authagent.NewUser{{Email: "new@example.com", Name: "New <b>", CreatedBy: agent}}, s.created); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	want := []authagent.Profile{{Agent: agent, Scenario: "ContextualProfile", UserID: got.UserID, Model: "model-1", Name: "New <b>"}}
	if diff := cmp.Diff(want, s.wanted); diff != "" || got.UserID == b.aliceID {
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
			b, s := newSpyBench(t, i, authagent.TrustEmail, createUsers)
			b.as.Wrap(authagenttest.PathToken, rewrite(map[string]any{"scope": test.scope}))
			if test.ok || i == fresh {
				b.mustSignIn(b.browser(), b.agent)
				continue
			}
			b.mustRefuse(b.agent, 403, authagent.ErrScope)
			if n := b.as.Count(authagenttest.PathUserInfo); n != 0 || len(s.lookups)+len(s.created) != 0 {
				t.Errorf("%s, scope %q: %d userinfo requests, looked up %q", scenario.name, test.scope, n, s.lookups)
			}
		}
	}
}

// TestOneProfile: ContextualProfile and FreshProfile find what they made.
func TestOneProfile(t *testing.T) {
	for _, i := range []int{contextual, fresh} {
		t.Run(scenarios[i].name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, authagent.TrustEmail)
			agent := b.as.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"})
			first := b.mustSignIn(b.browser(), agent)
			agent.Model = "model-2"
			second := b.mustSignIn(b.browser(), agent)
			if first.ProfileID == "" || second.ProfileID != first.ProfileID || second.UserID != first.UserID {
				t.Errorf("first %+v, second %+v", first, second)
			}
			if second.Model != "model-2" {
				t.Errorf("the session's model is %q", second.Model)
			}
			other := b.mustSignIn(b.browser(), b.agent)
			if other.ProfileID == first.ProfileID {
				t.Error("two agents have one profile")
			}
			if all := b.profiles.All(); len(all) != 2 {
				t.Errorf("profiles %+v", all)
			}
		})
	}
}

// TestFreshProfileKey_LNK_12: LNK-12. A profile is the whole agent's, and no address or
// name that could be made of its ID means anything.
func TestFreshProfileKey_LNK_12(t *testing.T) {
	b, s := newSpyBench(t, fresh, nil)
	b.users.Add("agent-x@auth-agent.local", "A human")
	seen := map[string]string{}
	for _, id := range []string{"aaaa12345678", "bbbb12345678", "AAAA12345678", "x", b.aliceID, "profile_1"} {
		agent := b.as.AddAgent(authagenttest.Agent{ID: id, Email: "alice@example.com"})
		got := b.mustSignIn(b.browser(), agent)
		if other, taken := seen[got.ProfileID]; taken || got.UserID != "" {
			t.Errorf("%s got %+v, which is %q's", id, got, other)
		}
		seen[got.ProfileID] = id
	}
	if len(s.lookups) != 0 || b.as.Count(authagenttest.PathUserInfo) != 0 {
		t.Errorf("looked up %q", s.lookups)
	}
	// Another issuer's agent of the same ID is another agent.
	other, err := b.profiles.FindOrCreateProfile(t.Context(), authagent.Profile{
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
			c.Scenario = scenarios[i].make(users, profiles, authagent.TrustEmail)
		})
		ids = append(ids, b.mustSignIn(b.browser(), b.agent).ProfileID)
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
			b, _ := newSpyBench(t, test.scenario, authagent.TrustEmail, createUsers)
			if test.quirks {
				b.as.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { *q = authagenttest.PublishedQuirks() })
			}
			agent := b.as.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"})
			callbacks := make([]string, n)
			browsers := make([]*http.Client, n)
			for i := range n {
				browsers[i] = b.browser()
				callbacks[i] = b.authorize(agent, b.begin(browsers[i], ""))
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
				if got[i] = b.me(browsers[i]); got[i] == nil {
					t.Fatalf("sign-in %d has no session\nlog: %s", i, b.log)
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
			if u, p := b.users.All(), b.profiles.All(); len(u) != wantUsers || len(p) != wantProfiles {
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
				b, s := newSpyBench(t, i, authagent.TrustEmail, createUsers)
				agent := b.as.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "new@example.com"})
				fault.fail(s)
				c := b.browser()
				resp := b.refused(c, agent)
				if resp.StatusCode != 500 || resp.reason() != authagent.ErrStore || resp.Header.Get("Retry-After") == "" {
					t.Errorf("status %d, reason %q, headers %v", resp.StatusCode, resp.reason(), resp.Header)
				}
				if strings.Contains(resp.body, "10.0.0.5") {
					t.Errorf("the client is told of the site's insides: %s", resp.body)
				}
				s.heal()
				first := b.mustSignIn(c, agent)
				if second := b.mustSignIn(b.browser(), agent); second.UserID != first.UserID || second.ProfileID != first.ProfileID {
					t.Errorf("first %+v, second %+v", first, second)
				}
				users, profiles := 2, 1
				if i == full {
					profiles = 0
				}
				if i == fresh {
					users = 1
				}
				if u, p := b.users.All(), b.profiles.All(); len(u) != users || len(p) != profiles {
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
			var answer authagent.Link
			var refusal error
			var asked []authagent.LinkRequest
			b, s := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Link, error) {
				asked = append(asked, r)
				return answer, refusal
			}), createUsers)

			const pending authagent.Reason = "ask_support" // the site's own
			for _, test := range []struct {
				err    error
				status int
				reason authagent.Reason
			}{
				{authagent.ErrNoAccount, 403, authagent.ErrNoAccount}, // nor is one created: the address is taken
				{fmt.Errorf("wrapped: %w", authagent.ErrNoAccount), 403, authagent.ErrNoAccount},
				{authagent.ErrLink, 403, authagent.ErrLink},
				{pending, 403, pending},
				{errors.New("database is down"), 500, authagent.ErrStore},
				{context.DeadlineExceeded, 500, authagent.ErrStore},
				{nil, 500, authagent.ErrStore}, // and no account either
			} {
				answer, refusal = authagent.Link{}, test.err
				b.mustRefuse(b.agent, test.status, test.reason)
			}
			answer, refusal = authagent.Link{UserID: b.aliceID, Access: authagent.AccessFull}, authagent.ErrNoAccount
			b.mustRefuse(b.agent, 403, authagent.ErrNoAccount)
			if len(s.created) != 0 || len(b.profiles.All()) != 0 {
				t.Errorf("created %+v, profiles %+v", s.created, b.profiles.All())
			}

			most := authagent.AccessFull
			if i == contextual {
				most = authagent.AccessRead
			}
			agent := authagent.Agent{Issuer: b.as.URL, ID: b.agent.ID}
			want := authagent.LinkRequest{
				Agent: agent, Model: "model-1", Name: "Alice", Email: "alice@example.com", Scenario: scenario.name,
				User: &authagent.User{ID: b.aliceID, EmailVerified: true}, Access: most, RemoteAddr: "127.0.0.1",
			}
			if diff := cmp.Diff(want, asked[0]); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			for _, access := range []authagent.Access{authagent.AccessNone, authagent.AccessRead, authagent.AccessFull, 100} {
				answer, refusal = authagent.Link{UserID: b.aliceID, Access: access}, nil
				if got := b.mustSignIn(b.browser(), b.agent); got.Access != min(access, most) {
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
			b, s := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Link, error) {
				asked = append(asked, r)
				if r.User == nil {
					return authagent.Link{}, authagent.ErrNoAccount
				}
				return authagent.Link{}, authagent.ErrLink
			}), createUsers)
			agent := b.as.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
			s.onCreate = func(n authagent.NewUser) (authagent.User, error) {
				b.users.Add(n.Email, "Bob, who was faster")
				return s.Users.CreateUser(t.Context(), n)
			}
			b.mustRefuse(agent, 403, authagent.ErrLink)
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
		own.Scenario = authagent.FullAccount(b.users, authagent.TrustEmail)
		return own
	})
	c := b.browser()
	if s := b.mustSignIn(c, b.agent); s.Scenario != "CheckedFullAccount" || s.UserID != b.aliceID || s.Access != authagent.AccessFull {
		t.Errorf("session %+v", s)
	}
	own.refuse = authagent.Reason("not_on_sundays")
	b.mustRefuse(b.agent, 403, "not_on_sundays")
	own.refuse = fmt.Errorf("wrapped: %w", authagent.Reason("not_on_sundays"))
	b.mustRefuse(b.agent, 403, "not_on_sundays")
	own.refuse = errors.New("no idea")
	b.mustRefuse(b.agent, 500, authagent.ErrStore)
	own.refuse = nil

	own.end = errors.New("no idea")
	if resp := b.get(c, "/me"); resp.StatusCode != 500 {
		t.Errorf("status %d while the check fails", resp.StatusCode)
	}
	own.end = nil
	if b.me(c) == nil {
		t.Error("a check that failed has ended the session")
	}
	account, _ := b.users.Get(b.aliceID)
	account.Disabled = true
	b.users.Put(account)
	if b.me(c) != nil {
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
			if !in.HasScope("email") || in.HasScope("openid") {
				t.Error("granted scopes are not those asked for")
			}
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
	s := b.mustSignIn(b.browser(), b.agent)
	if s.Scenario != "Own" || s.UserID != "u" || s.ProfileID != "p" || s.Access != authagent.AccessRead {
		t.Errorf("session %+v", s)
	}
	if n := b.as.Count(authagenttest.PathUserInfo); n != 1 {
		t.Errorf("%d userinfo requests, want 1", n)
	}
	b.userinfo(map[string]any{"sub": "agent_bob"})
	b.mustRefuse(b.agent, 400, authagent.ErrIdentity)
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
		b.mustRefuse(b.agent, 500, authagent.ErrStore)
	}
	for _, access := range []authagent.Access{authagent.AccessNone, authagent.AccessRead, authagent.AccessFull} {
		who = authagent.Principal{UserID: "u", Access: access}
		if s := b.mustSignIn(b.browser(), b.agent); s.Access != access {
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
			b, _ := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Link, error) {
				return authagent.Link{UserID: r.User.ID, Access: authagent.AccessRead}, nil
			}), func(_ *bench, c *authagent.Config) {
				c.Scenario = ownCheck{func(s *authagent.Session) { s.Access, s.Actions = authagent.AccessFull, []string{"orders:create"} }, c.Scenario}
			})
			got := b.mustSignIn(b.browser(), b.agent)
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
	b.mustRefuse(b.agent, 500, authagent.ErrStore)
}

// TestNilParts: New refuses scenarios that would panic at the first sign-in.
func TestNilParts(t *testing.T) {
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	for name, scenario := range map[string]authagent.Scenario{
		"Scenario: is required":              nil,
		"Scenario: its UserStore is nil":     authagent.FullAccount(nil, authagent.TrustEmail),
		"Scenario: its LinkPolicy is nil":    authagent.FullAccount(users, nil),
		"Scenario: its UserStore is nil ":    authagent.ContextualProfile(nil, profiles, authagent.TrustEmail),
		"Scenario: its ProfileStore is nil":  authagent.ContextualProfile(users, nil, authagent.TrustEmail),
		"Scenario: its LinkPolicy is nil ":   authagent.ContextualProfile(users, profiles, nil),
		"Scenario: its ProfileStore is nil ": authagent.FreshProfile(nil),
	} {
		_, err := authagent.New(authagent.Config{
			Issuer: "https://as.example", ClientID: "site", ClientSecret: "secret", RedirectURL: "https://shop.example/auth/agent/callback",
			SessionKeys: [][]byte{newKey()}, Scenario: scenario,
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
			return b.rp.ForgetAgent(t.Context(), "op", authagent.Agent{Issuer: b.as.URL, ID: b.agent.ID})
		},
		"user": func(b *bench) error { return b.rp.ForgetUser(t.Context(), "op", "user_1") },
	} {
		t.Run("LNK-31 LNK-34 "+name, func(t *testing.T) {
			b := newScenarioBench(t, func(b *bench) authagent.Scenario { return authagent.FullAccount(b.users, authagent.TrustEmail) })
			b.users.Add("bob@example.com", "Bob")
			c, other := b.browser(), b.browser()
			b.mustSignIn(c, b.agent)
			b.mustSignIn(other, b.as.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"}))
			if err := forget(b); err != nil {
				t.Fatal(err)
			}
			if s := b.me(c); s != nil {
				t.Errorf("still signed in: %+v", s)
			}
			if b.me(other) == nil {
				t.Error("another agent's session has ended")
			}
			if linked, err := b.users.LinkedUser(t.Context(), authagent.Agent{Issuer: b.as.URL, ID: b.agent.ID}); !errors.Is(err, authagent.ErrNotFound) {
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
	c := newBench(t).config
	c.Scenario = authagent.FullAccount(halfLinker{&memstore.Users{}}, authagent.TrustEmail)
	if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "LinkedUser") {
		t.Errorf("LNK-30 New: %v", err)
	}
}
