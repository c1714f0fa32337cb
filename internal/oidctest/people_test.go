package oidctest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// people is a site's own sign-in of people, at the client that agents use too.
type people struct {
	users *memstore.SubjectUsers

	mu     sync.Mutex
	handed []provider.Person // to OnPerson
	ended  []provider.Person // to OnPersonEnded
}

// newPeople knows an account for each of these subjects, whose ID is the subject.
func newPeople(issuer string, subjects ...string) *people {
	p := &people{users: &memstore.SubjectUsers{}}
	for _, subject := range subjects {
		p.users.Put(memstore.Account{User: authagent.User{ID: subject}})
		p.users.AddSubject(issuer, subject, subject)
	}
	return p
}

// signIn is the site's Provider.OnPerson: a cookie has the account's ID.
func (p *people) signIn(w http.ResponseWriter, r *http.Request, person provider.Person) error {
	user, err := p.users.UserBySubject(r.Context(), person.Issuer, person.Subject)
	if err != nil {
		return problem.NoAccount
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handed = append(p.handed, person)
	http.SetCookie(w, &http.Cookie{Name: "human", Value: user.ID, Path: "/"})
	return nil
}

// forBoth lets people and agents in, whose owners' consent at the provider is enough.
func forBoth(p **people, change ...func(*authagent.Config)) func(*site, *authagent.Config) {
	return func(s *site, c *authagent.Config) {
		*p = newPeople(c.Issuer, "agent-7", "person-9", subject)
		owners := grants.OwnerApproval(&memstore.Grants{})
		owners.ApproveByConsent = []string{c.Issuer}
		c.Scenario, c.Human = authagent.FullAccount((*p).users, owners), testsite.Human
		c.Provider.SubjectIsUser, c.Provider.OnPerson = true, (*p).signIn
		for _, f := range change {
			f(c)
		}
	}
}

// wantAgent is an agent that has signed in for a user.
func (s *site) wantAgent(t *testing.T, agent, user string) {
	t.Helper()
	session := s.Me(s.browser)
	if session == nil || session.Agent.ID != agent || session.Subject != user || session.UserID != user || session.Access != authagent.AccessRead {
		t.Fatalf("session %+v, want agent %q for %q", session, agent, user)
	}
}

// wantPerson is a person who has signed in, with no agent in the browser.
func (s *site) wantPerson(t *testing.T, p *people, user string) {
	t.Helper()
	if session := s.Me(s.browser); session != nil {
		t.Fatalf("an agent is signed in: %+v", session)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.handed) != 1 || p.handed[0].Subject != user || p.handed[0].Issuer != s.Config.Issuer || p.handed[0].ReturnTo != "/" {
		t.Fatalf("handed over: %+v", p.handed)
	}
	var claims struct{ Sub string }
	if err := json.Unmarshal(p.handed[0].Claims, &claims); err != nil || claims.Sub != user {
		t.Errorf("claims %s, %v", p.handed[0].Claims, err)
	}
	if got := s.Get(s.browser, "/humans"); got.StatusCode != http.StatusOK {
		t.Errorf("a page for people: %d %s", got.StatusCode, got.Text)
	}
}

// TestPeopleAtPanva: people and agents sign in through one client, wherever act is.
func TestPeopleAtPanva(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]panva{
		"act in the id_token":     {Auth: "client_secret_basic", IDToken: "ES256", Actor: "agent-of-7", ActorIn: []string{"id_token"}},
		"act in introspection":    {Auth: "client_secret_post", IDToken: "RS256", Actor: "agent-of-7"},
		"act in the access token": {Auth: "client_secret_basic", IDToken: "RS256", AccessToken: "ES256", Actor: "agent-of-7", NoIntrospection: true},
		"required to push, by a key": {
			Auth: "private_key_jwt", Assertion: "ES256", IDToken: "RS256", Actor: "agent-of-7", ActorIn: []string{"id_token"}, Pushed: true,
		},
		"act in both": {Auth: "client_secret_basic", IDToken: "RS256", AccessToken: "ES256", Actor: "agent-of-7", ActorIn: []string{"id_token", "access_token"}, NoIntrospection: true},
	} {
		for account, person := range map[string]bool{"agent-7": false, "person-9": true} {
			t.Run(name+", "+account, func(t *testing.T) {
				t.Parallel()
				var p *people
				s := atPanva(t, at, forBoth(&p, func(c *authagent.Config) {
					if at.Assertion != "" {
						c.ClientSecret, c.Provider.ClientKeys = "", []crypto.Signer{key}
					}
				}))
				s.Mux("").Handle(keysPath, s.RP.ClientKeysHandler())
				status, location, body := s.signInAtPanvaAs(account)
				if status != http.StatusSeeOther || location != s.URL+"/" {
					t.Fatalf("callback: status %d, Location %q, %s", status, location, body)
				}
				if person {
					s.wantPerson(t, p, account)
				} else {
					s.wantAgent(t, "agent-of-7", account)
				}
				if n := len(s.provider.got("/me")); n != 0 {
					t.Errorf("userinfo was asked %d times", n)
				}
			})
		}
	}
}

// TestNobodyAtPanva: a person whose access token nobody can read is refused, and so is everybody whose
// introspection says no.
func TestNobodyAtPanva(t *testing.T) {
	for name, at := range map[string]panva{
		"opaque, no introspection":          {Auth: "client_secret_basic", IDToken: "RS256", NoIntrospection: true},
		"a JWT that it does not introspect": {Auth: "client_secret_basic", IDToken: "RS256", AccessToken: "ES256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p *people
			s := atPanva(t, at, forBoth(&p))
			status, _, body := s.signInAtPanvaAs("person-9")
			if status < 400 || len(p.handed) != 0 || s.Me(s.browser) != nil {
				t.Errorf("callback: status %d %s, handed over %+v", status, body, p.handed)
			}
		})
	}
}

// hears is the site's Provider.OnPersonEnded.
func (p *people) hears(_ context.Context, person provider.Person) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, person)
	return nil
}

var field = regexp.MustCompile(`name="xsrf" value="([^"]+)"`)

// signOutAtPanva ends the provider's session of a browser, as its end-session page does.
func (s *site) signOutAtPanva() {
	s.T.Helper()
	_, _, page := s.answered(s.browser.Get(s.provider.URL + "/session/end"))
	secret := field.FindStringSubmatch(page)
	if secret == nil {
		s.T.Fatalf("the provider's sign-out page: %s", page)
	}
	status, _, text := s.answered(s.browser.PostForm(s.provider.URL+"/session/end/confirm", url.Values{"xsrf": {secret[1]}, "logout": {"yes"}}))
	if status >= 400 {
		s.T.Fatalf("sign-out at the provider: %d %s", status, text)
	}
}

// TestLogoutAtPanva: what is ended at the provider is ended here, an agent's session and a person's apart.
func TestLogoutAtPanva(t *testing.T) {
	var p *people
	at := panva{Auth: "client_secret_basic", IDToken: "ES256", Actor: "agent-of-7", ActorIn: []string{"id_token"}, LogoutPath: "/auth/agent/backchannel-logout"}
	agents := atPanva(t, at, forBoth(&p, func(c *authagent.Config) { c.Provider.OnPersonEnded = p.hears }))
	agents.Mux("").Handle("POST "+at.LogoutPath, agents.RP.BackChannelLogoutHandler())
	persons := *agents
	persons.browser = agents.Browser()
	agents.signInAtPanvaAs("agent-7")
	agents.wantAgent(t, "agent-of-7", "agent-7")
	persons.signInAtPanvaAs("person-9")
	persons.wantPerson(t, p, "person-9")

	persons.signOutAtPanva()
	eventually(t, "the site hears of the person's logout", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.ended) == 1
	})
	if p.ended[0].SID == "" || p.ended[0].SID != p.handed[0].SID || p.ended[0].Issuer != agents.Config.Issuer {
		t.Errorf("ended %+v, signed in %+v", p.ended, p.handed)
	}
	agents.wantAgent(t, "agent-of-7", "agent-7")

	agents.signOutAtPanva()
	eventually(t, "the agent's session ends", func() bool { return agents.Me(agents.browser) == nil })
}

// eventually waits for what a provider does after it has answered.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 100 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("it does not come to this: %s", what)
}
