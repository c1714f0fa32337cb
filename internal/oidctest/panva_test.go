package oidctest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// panvaSecret has the length that a TokenKey must have, and what has to be escaped.
const panvaSecret = "s3cret+/ %:&-of-more-than-32-bytes"

// A panva is how panva's oidc-provider is set up.
type panva struct {
	Path        string `json:"path"`        // of the issuer
	Auth        string `json:"auth"`        // how the client is registered to prove itself, and the only way that there is
	Both        bool   `json:"both"`        // there are post and Basic, and any client may use either
	IDToken     string `json:"idToken"`     // the algorithm of id_tokens
	AccessToken string `json:"accessToken"` // the algorithm of JWT access tokens; empty for opaque ones
	Actor       string `json:"actor"`       // act.sub of all but the tokens of people, whose names begin with "person"

	ActorIn         []string `json:"actorIn,omitempty"`         // "id_token", "access_token"; the latter by default, where an opaque one is introspected
	NoIntrospection bool     `json:"noIntrospection,omitempty"` // there is no such endpoint
	Pushed          bool     `json:"pushed,omitempty"`          // authorization requests have to be pushed
	JWKS            string   `json:"jwks,omitempty"`            // where the client's keys are, for private_key_jwt
	Assertion       string   `json:"assertion,omitempty"`       // the algorithm that they sign with
	Logout          string   `json:"logout,omitempty"`          // where the client hears of logouts
	LogoutPath      string   `json:"-"`                         // of Logout, at the site

	API   *panvaAPI   `json:"api,omitempty"`      // the site's, to which the access tokens are
	Agent *panvaAgent `json:"apiAgent,omitempty"` // who comes to it

	Client   string `json:"client"`
	Secret   string `json:"secret"`
	Redirect string `json:"redirect"`
	Email    string `json:"email"`
}

// start runs the provider under node, and returns its issuer.
func (p panva) start(t *testing.T, redirectURL string) (issuer string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node to run panva's oidc-provider under")
	}
	if _, err := os.Stat("panva/node_modules/oidc-provider"); err != nil {
		t.Skip("panva's oidc-provider is not installed: npm ci --prefix internal/oidctest/panva")
	}
	p.Client, p.Secret, p.Redirect, p.Email = clientID, panvaSecret, redirectURL, email
	if p.LogoutPath != "" {
		p.Logout = strings.TrimSuffix(redirectURL, "/auth/agent/callback") + p.LogoutPath
	}
	if p.API != nil {
		p.API = newPanvaAPI(strings.TrimSuffix(redirectURL, "/auth/agent/callback"))
	}
	if p.Auth == "private_key_jwt" {
		p.JWKS = strings.TrimSuffix(redirectURL, "/auth/agent/callback") + keysPath
	}
	settings, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "provider.mjs", string(settings))
	cmd.Dir, cmd.Stderr = "panva", t.Output()
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // it ends with its input
		stdin.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			go io.Copy(io.Discard, stdout)
			return lines.Text()
		}
	}
	t.Fatal("the provider did not start")
	return ""
}

// atPanva is a site at the provider, with a gate before it that remembers the
// requests of the back channel.
func atPanva(t *testing.T, p panva, change func(s *site, c *authagent.Config)) *site {
	t.Helper()
	gate := &server{}
	s := mount(t, func(s *site, redirectURL string) authagent.Config {
		issuer := p.start(t, redirectURL)
		s.provider = gate
		gate.Server = &httptest.Server{URL: issuer}
		c := authagent.Config{
			Issuer: issuer, ClientID: clientID, ClientSecret: panvaSecret, RedirectURL: redirectURL,
			Provider: provider.Settings{HTTPClient: &http.Client{Transport: gate}},
		}
		change(s, &c)
		return c
	})
	return s
}

// RoundTrip remembers a request on its way.
func (p *server) RoundTrip(r *http.Request) (*http.Response, error) {
	dump, err := httputil.DumpRequestOut(r, true)
	if err != nil {
		return nil, err
	}
	_, body, _ := strings.Cut(string(dump), "\r\n\r\n")
	form, _ := url.ParseQuery(body)
	p.mu.Lock()
	p.requests = append(p.requests, request{r.Clone(r.Context()), form})
	p.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

// signInAtPanva goes through the provider's pages, log-in and consent, and returns
// what the site's callback answers.
func (s *site) signInAtPanva() (status int, location, body string) {
	s.T.Helper()
	return s.signInAtPanvaAs("agent-7")
}

// signInAtPanvaAs is signInAtPanva for another account of the provider.
func (s *site) signInAtPanvaAs(account string) (status int, location, body string) {
	s.T.Helper()
	return s.answered(s.browser.Get(s.throughPanva(s.URL+"/auth/agent/login", s.URL+"/auth/agent/callback", account)))
}

// throughPanva follows an address through the provider's pages to the callback that it leads to.
func (s *site) throughPanva(from, callback, account string) (at string) {
	s.T.Helper()
	_, at, text := s.answered(s.browser.Get(from))
	for range 12 {
		switch {
		case at == "":
			s.T.Fatalf("the provider leads nowhere: %s", text)
		case strings.HasPrefix(at, callback+"?"):
			return at
		case strings.Contains(at, "/interaction/"):
			_, _, page := s.answered(s.browser.Get(at))
			prompt := "login"
			if strings.Contains(page, `value="consent"`) {
				prompt = "consent"
			}
			_, at, text = s.answered(s.browser.PostForm(at, url.Values{"prompt": {prompt}, "login": {account}, "password": {"x"}}))
		default:
			_, at, text = s.answered(s.browser.Get(at))
		}
	}
	s.T.Fatalf("the provider goes in circles: %s", at)
	return ""
}

// TestPanva: an agent signs in at panva's oidc-provider, however it is set up.
func TestPanva(t *testing.T) {
	fresh := func(scopes ...string) func(*site, *authagent.Config) {
		return func(s *site, c *authagent.Config) {
			c.Scenario, c.Provider.Scopes = authagent.FreshProfile(s.Profiles), scopes
		}
	}
	for _, test := range []struct {
		name    string
		at      panva
		change  func(*site, *authagent.Config)
		agent   string
		signed  bool // what proves the identity is signed, so that keys are asked for
		healthy bool // Check finds nothing
	}{
		{"post, opaque tokens", panva{Auth: "client_secret_post", IDToken: "RS256"}, fullAccount, "agent-7", true, true},
		{"Basic, opaque tokens", panva{Auth: "client_secret_basic", IDToken: "RS256"}, fullAccount, "agent-7", true, true},
		{"post or Basic", panva{Both: true, Auth: "client_secret_post", IDToken: "RS256"}, fullAccount, "agent-7", true, true},
		{"Basic, pinned", panva{Both: true, Auth: "client_secret_basic", IDToken: "RS256"}, func(s *site, c *authagent.Config) {
			fullAccount(s, c)
			c.Provider.ClientAuth, c.Provider.TokenEncoding = "client_secret_basic", "application/x-www-form-urlencoded"
		}, "agent-7", true, true},
		{"asked about the token as well", panva{Auth: "client_secret_basic", IDToken: "RS256"}, func(s *site, c *authagent.Config) {
			fullAccount(s, c)
			c.Provider.Introspect = true
		}, "agent-7", true, true},
		{"issuer with a path", panva{Path: "/tenants/one", Auth: "client_secret_basic", IDToken: "RS256"}, fullAccount, "agent-7", true, true},
		{"id_token ES256", panva{Auth: "client_secret_post", IDToken: "ES256"}, fullAccount, "agent-7", true, true},
		{"id_token PS256", panva{Auth: "client_secret_post", IDToken: "PS256"}, fullAccount, "agent-7", true, true},
		{"id_token EdDSA", panva{Auth: "client_secret_basic", IDToken: "EdDSA"}, fullAccount, "agent-7", true, true},
		{"id_token HS256 with the client's secret", panva{Auth: "client_secret_basic", IDToken: "HS256"}, func(s *site, c *authagent.Config) {
			fullAccount(s, c)
			c.Provider.TokenKey = []byte(panvaSecret)
		}, "agent-7", false, true},
		{"opaque tokens, no id_token", panva{Auth: "client_secret_basic", IDToken: "RS256"}, fresh("profile"), "agent-7", false, true},
		{"JWT RS256, no id_token", panva{Auth: "client_secret_basic", IDToken: "RS256", AccessToken: "RS256"}, fresh("profile"), "agent-7", true, true},
		{"JWT ES256, no id_token", panva{Auth: "client_secret_post", IDToken: "RS256", AccessToken: "ES256"}, fresh("profile"), "agent-7", true, true},
		{"JWT PS256, no id_token", panva{Auth: "client_secret_post", IDToken: "RS256", AccessToken: "PS256"}, fresh("profile"), "agent-7", true, true},
		{"JWT EdDSA, no id_token", panva{Auth: "client_secret_basic", IDToken: "RS256", AccessToken: "EdDSA"}, fresh("profile"), "agent-7", true, true},
		{"JWT ES256, with an actor", panva{Auth: "client_secret_basic", IDToken: "RS256", AccessToken: "ES256", Actor: "agent-of-7"}, func(s *site, c *authagent.Config) {
			fresh("profile")(s, c)
			c.Provider.SubjectIsUser = true
		}, "agent-of-7", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := atPanva(t, test.at, test.change)
			status, location, body := s.signInAtPanva()
			if status != http.StatusSeeOther || location != s.URL+"/" {
				t.Fatalf("callback: status %d, Location %q, %s", status, location, body)
			}
			session := s.Me(s.browser)
			if session == nil {
				t.Fatal("not signed in")
			}
			if session.Agent != (authagent.Agent{Issuer: s.provider.URL, ID: test.agent}) {
				t.Errorf("agent %+v", session.Agent)
			}
			codes := 0
			for _, r := range s.provider.got(test.at.Path + "/token") {
				code := r.form.Get("code")
				if code == "" || strings.HasPrefix(code, "authagent-probe-") {
					continue
				}
				codes++
				if _, _, basic := r.BasicAuth(); basic != (test.at.Auth == "client_secret_basic") {
					t.Errorf("HTTP Basic %v for a client that is registered for %s", basic, test.at.Auth)
				}
			}
			if codes != 1 {
				t.Errorf("%d requests with the code, want 1", codes)
			}
			if got := len(s.provider.got(test.at.Path+"/jwks")) > 0; got != test.signed {
				t.Errorf("keys asked for: %v", got)
			}
			if findings := s.RP.Check(t.Context()); (len(findings) == 0) != test.healthy {
				t.Errorf("findings %v", findings)
			}
		})
	}
}

// TestPanvaRefused: what is wrong at panva's oidc-provider is refused, with the
// reason, and Check names the setting.
func TestPanvaRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		at      panva
		change  func(*site, *authagent.Config)
		reason  problem.Reason
		finding string
	}{
		{"wrong secret", panva{Auth: "client_secret_basic", IDToken: "RS256"}, func(s *site, c *authagent.Config) {
			fullAccount(s, c)
			c.ClientSecret = "wrong"
		}, problem.Reason("client_refused"), "ClientSecret"},
		{"pinned the other way", panva{Auth: "client_secret_basic", IDToken: "RS256"}, func(s *site, c *authagent.Config) {
			fullAccount(s, c)
			c.Provider.ClientAuth = "client_secret_post"
		}, problem.Reason("client_refused"), "Provider.ClientAuth"},
		{"HS256 without TokenKey", panva{Auth: "client_secret_basic", IDToken: "HS256"}, fullAccount, problem.Reason("identity_mismatch"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := atPanva(t, test.at, test.change)
			_, _, body := s.signInAtPanva()
			if !strings.Contains(body, fmt.Sprintf("%q:%q", "error", string(test.reason))) || s.Me(s.browser) != nil {
				t.Errorf("callback: %s", body)
			}
			findings := s.RP.Check(t.Context())
			if test.finding == "" && len(findings) > 0 || test.finding != "" && (len(findings) != 1 || findings[0].Setting != test.finding) {
				t.Errorf("findings %v, want one about %q", findings, test.finding)
			}
		})
	}
}
