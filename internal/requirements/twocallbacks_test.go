package requirements_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// people is a site's own sign-in of people, at an OpenID Connect provider.
type people struct {
	rp       *authagent.RelyingParty
	provider oauth2.Config
	client   *http.Client
	userInfo string            // the provider's address
	accounts map[string]string // the site's account IDs by the provider's subjects
	logins   sync.Map          // state -> peopleLogin
	sessions sync.Map          // session ID -> account ID
}

type peopleLogin struct{ verifier, returnTo string }

const (
	peopleLoginCookie   = "__Host-people-login"
	peopleSessionCookie = "__Host-people"
)

// signedInUser is Config.Human. It returns the site's own ID of the account, not the provider's
// subject.
func (p *people) signedInUser(r *http.Request) (userID string, err error) {
	c, err := r.Cookie(peopleSessionCookie)
	if err != nil {
		return "", nil
	}
	if id, ok := p.sessions.Load(c.Value); ok {
		return id.(string), nil
	}
	return "", nil
}

// signInPage is at Config.SignInPath.
func (p *people) signInPage(w http.ResponseWriter, r *http.Request) {
	returnTo := p.rp.ReturnTo(r)
	fmt.Fprintf(w, `<a href="/auth/people/login?return_to=%s">Sign in</a> %s`, url.QueryEscape(returnTo), p.rp.Button(returnTo))
}

func (p *people) login(w http.ResponseWriter, r *http.Request) {
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	p.logins.Store(state, peopleLogin{verifier, p.rp.ReturnTo(r)}) // checked, and kept here: the provider does not return it
	http.SetCookie(w, &http.Cookie{Name: peopleLoginCookie, Value: state, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, p.provider.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

func (p *people) callback(w http.ResponseWriter, r *http.Request) {
	login, err := p.take(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	subject, err := p.subject(r, login)
	if err != nil || p.accounts[subject] == "" {
		http.Error(w, "no account", http.StatusForbidden)
		return
	}
	id := rand.Text()
	p.sessions.Store(id, p.accounts[subject])
	http.SetCookie(w, &http.Cookie{Name: peopleSessionCookie, Value: id, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, login.returnTo, http.StatusSeeOther)
}

func (p *people) take(r *http.Request) (peopleLogin, error) {
	c, err := r.Cookie(peopleLoginCookie)
	if err != nil || r.FormValue("state") != c.Value {
		return peopleLogin{}, errors.New("no such sign-in")
	}
	login, ok := p.logins.LoadAndDelete(c.Value)
	if !ok {
		return peopleLogin{}, errors.New("the sign-in has been finished")
	}
	return login.(peopleLogin), nil
}

// subject asks the provider who signed in.
func (p *people) subject(r *http.Request, login peopleLogin) (string, error) {
	ctx := context.WithValue(r.Context(), oauth2.HTTPClient, p.client)
	token, err := p.provider.Exchange(ctx, r.FormValue("code"), oauth2.VerifierOption(login.verifier))
	if err != nil {
		return "", err
	}
	resp, err := p.provider.Client(ctx, token).Get(p.userInfo)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var said struct{ Sub string }
	err = json.NewDecoder(resp.Body).Decode(&said)
	return said.Sub, err
}

// mountSignIns mounts both sign-ins: each has a client, a callback and cookies of its own.
func mountSignIns(mux *http.ServeMux, rp *authagent.RelyingParty, p *people) {
	mux.HandleFunc("GET /sign-in", p.signInPage)
	mux.HandleFunc("GET /auth/people/login", p.login)
	mux.HandleFunc("GET /auth/people/callback", p.callback)
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())
}

// oidcShop is a shop whose people come from a provider.
type oidcShop struct {
	*shopBench
	alice *authagenttest.Agent // as the provider of people knows her
}

func newOIDCShop(t *testing.T) *oidcShop {
	t.Helper()
	provider := authagenttest.NewUnstartedServer()
	provider.URL = "https://id.example"
	provider.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { *q = authagenttest.Quirks{} })
	known := provider.AddClient(authagenttest.Client{ID: "people", RedirectURIs: []string{"https://shop.example/auth/people/callback"}})
	p := &people{
		provider: oauth2.Config{
			ClientID: known.ID, ClientSecret: known.Secret, RedirectURL: "https://shop.example/auth/people/callback", Scopes: []string{"openid", "profile"},
			Endpoint: oauth2.Endpoint{AuthURL: provider.URL + authagenttest.PathAuthorize, TokenURL: provider.URL + authagenttest.PathToken, AuthStyle: oauth2.AuthStyleInParams},
		},
		userInfo: provider.URL + authagenttest.PathUserInfo,
	}
	s := newShop(t, authagent.Principal{Access: authagent.AccessRead}, true, func(b *bench, c *authagent.Config) {
		b.Hosts["id.example"] = provider
		p.client = &http.Client{Transport: b.Hosts}
		p.accounts = map[string]string{"alice at her provider": b.AliceID}
		c.Human = p.signedInUser
	})
	p.rp, s.signedInUser = s.rp, p.signedInUser
	mux := http.NewServeMux()
	mountSignIns(mux, s.rp, p)
	s.mount(mux)
	s.SetMux("", mux)
	alice := provider.AddAgent(authagenttest.Agent{ID: "alice at her provider", Email: "alice@example.com"})
	return &oidcShop{s, alice}
}

// begin starts a login and has it answered. It returns the address of the callback.
func (s *oidcShop) begin(c *http.Client, login string, who *authagenttest.Agent) string {
	s.T.Helper()
	resp := s.Get(c, login)
	callback, err := who.Authorize(s.T.Context(), &http.Client{Transport: s.Hosts}, resp.Header.Get("Location"))
	if err != nil {
		s.T.Fatal(resp.StatusCode, err)
	}
	return callback
}

// TestTwoCallbacks_WIR_14 is WIR-14: a site whose people sign in by OpenID Connect has agents
// beside them. Neither sign-in takes what is the other's.
func TestTwoCallbacks_WIR_14(t *testing.T) {
	s := newOIDCShop(t)
	const back = "/orders?page=2"
	sent := s.Get(s.Browser(), back, pageLoad...).Header.Get("Location")
	signInPage := s.Get(s.Browser(), sent).Text
	for _, login := range []string{"/auth/people/login?return_to=" + url.QueryEscape(back), "/auth/agent/login?return_to=" + url.QueryEscape(back)} {
		if !strings.Contains(signInPage, `href="`+login+`"`) {
			t.Errorf("WIR-14 the sign-in page %s lacks %s", signInPage, login)
		}
	}
	login := func(kind string) string { return "/auth/" + kind + "/login?return_to=" + url.QueryEscape(back) }
	person, agent, both := s.Browser(), s.Browser(), s.Browser()
	for _, test := range []struct {
		name string
		c    *http.Client
		kind string
		who  *authagenttest.Agent
		home string
	}{
		{"person", person, "people", s.alice, "hello, by Alice"},
		{"agent", agent, "agent", s.Agent, "hello, by agent_alice for Alice"},
	} {
		callback := s.begin(test.c, login(test.kind), test.who)
		other := strings.ReplaceAll(callback, "/auth/"+test.kind+"/", "/auth/"+map[string]string{"people": "agent", "agent": "people"}[test.kind]+"/")
		if resp := s.Get(test.c, other); resp.StatusCode != 400 || test.kind == "people" && resp.Reason() != problem.Reason("state_mismatch") {
			t.Errorf("WIR-14 the %s's response at the other callback: %d %s", test.name, resp.StatusCode, resp.Text)
		}
		if got := s.Get(test.c, "/home").Text; got != "hello, stranger" {
			t.Errorf("WIR-14 the %s's response at the other callback signs in: %s", test.name, got)
		}
		if resp := s.Get(test.c, callback); resp.Header.Get("Location") != back {
			t.Errorf("WIR-14 the %s lands: %d %q %s", test.name, resp.StatusCode, resp.Header.Get("Location"), resp.Text)
		}
		if got, orders := s.Get(test.c, "/home").Text, s.Get(test.c, back); got != test.home || orders.StatusCode != 200 {
			t.Errorf("WIR-14 %s: %s, orders %d", test.name, got, orders.StatusCode)
		}
	}
	// Both are under way in one browser, and both finish. Then the browser is the agent's.
	toPeople, toAgent := s.begin(both, login("people"), s.alice), s.begin(both, login("agent"), s.Agent)
	for _, callback := range []string{toAgent, toPeople} {
		if resp := s.Get(both, callback); resp.Header.Get("Location") != back {
			t.Errorf("WIR-14 both at once: %d %s", resp.StatusCode, resp.Text)
		}
	}
	if got, password := s.Get(both, "/home").Text, s.Get(both, "/account/password"); got != "hello, by agent_alice for Alice" || password.StatusCode != 403 {
		t.Errorf("WIR-14 a person who signs in beside an agent: %s, password %d", got, password.StatusCode)
	}
	s.Do(both, "POST", "/auth/agent/logout")
	if got, password := s.Get(both, "/home").Text, s.Get(both, "/account/password"); got != "hello, by Alice" || password.StatusCode != 200 {
		t.Errorf("WIR-14 after the agent's sign-out: %s, password %d", got, password.StatusCode)
	}
}
