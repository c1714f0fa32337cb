package requirements_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

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
