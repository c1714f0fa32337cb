package requirements_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
	"github.com/authagent-go/authagent/tokens"
)

// saying is a scenario whose session check gives err where it has one.
type saying struct {
	authagent.Scenario
	err error
}

func (s *saying) Unwrap() authagent.Scenario { return s.Scenario }

func (s *saying) CheckSession(ctx context.Context, session *authagent.Session) error {
	if s.err != nil {
		return s.err
	}
	return s.Scenario.CheckSession(ctx, session)
}

// answering is a policy that gives err where it has one.
type answering struct{ err error }

func (s *answering) Link(ctx context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	if s.err != nil {
		return authagent.Principal{}, s.err
	}
	return authagent.InsecureTrustEmail.Link(ctx, r)
}

// sentinels are what stores say to this package.
func sentinels() []error {
	return []error{
		authagent.ErrNotFound, authagent.ErrExists, authagent.ErrAmbiguous, authagent.ErrConflict, authagent.ErrNoSession, authagent.ErrSessionEnded,
	}
}

// TestSentinelsDecideNothing_FACE_1 is FACE-1: what a store says, and a session check
// or a link policy passes on, is a failure of the site's code. It ends no session; a
// reason does.
func TestSentinelsDecideNothing_FACE_1(t *testing.T) {
	for _, sentinel := range sentinels() {
		t.Run(sentinel.Error(), func(t *testing.T) {
			check, link := &saying{}, &answering{}
			b := newBench(t, func(b *bench, c *authagent.Config) {
				check.Scenario = authagent.FullAccount(b.Users, link)
				c.Scenario = check
			})
			for _, err := range []error{sentinel, fmt.Errorf("read account: %w", sentinel)} {
				c := b.Browser()
				b.MustSignIn(c, b.Agent)
				check.err = err
				if resp := b.Get(c, "/me"); resp.StatusCode != http.StatusInternalServerError || resp.Reason() != problem.StoreFailed {
					t.Errorf("FACE-1 session check: status %d %s", resp.StatusCode, resp.Text)
				}
				check.err = nil
				if resp := b.Get(c, "/me"); resp.StatusCode != http.StatusOK {
					t.Errorf("FACE-1: afterwards status %d %s", resp.StatusCode, resp.Text)
				}
				link.err = err
				if resp := b.SignIn(b.Browser(), b.Agent); resp.StatusCode != http.StatusInternalServerError || resp.Reason() != problem.StoreFailed {
					t.Errorf("FACE-1 link policy: status %d %s", resp.StatusCode, resp.Text)
				}
				link.err = nil
				check.err = problem.Conflict
				b.Get(c, "/me")
				check.err = nil
				if resp := b.Get(c, "/me"); resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("FACE-1: after a reason status %d %s", resp.StatusCode, resp.Text)
				}
			}
		})
	}
}

// TestSettingsInOrder_FACE_2 is FACE-2: New says all that is wrong in the order of the
// settings, each time, in the words of the public names.
func TestSettingsInOrder_FACE_2(t *testing.T) {
	c := authagent.Config{
		Issuer: "http://as.example", RedirectURL: "http://rp.example/cb", SignInPath: "x", ReturnTo: "y", RegistrationURL: "http://rp.example/",
		Paths: authagent.Paths{Login: "l", Logout: "m", Discovery: "n"},
		Limits: limits.Settings{
			Logins: limits.Rate{Per: -1}, Callbacks: limits.Rate{Per: -1}, Agent: limits.Rate{Per: -1}, Owner: limits.Rate{Per: -1},
			Actions: map[string]limits.Rate{"c": {Per: -1}, "a": {Per: -1}, "b": {Per: -1}, "": {}},
		},
		Session: authagent.SessionSettings{Idle: -1}, Tokens: tokens.Settings{ConfirmGrace: -1},
		Provider: provider.Settings{
			AssertionAudience: "a", Scopes: []string{""}, AuthorizationParams: url.Values{"state": nil, "nonce": nil}, ButtonLabel: "\n",
			Endpoints: provider.Endpoints{
				Authorization: "a", Token: "a", UserInfo: "a", Introspection: "a", Revocation: "a", JWKS: "a", PushedAuthorization: "a",
			},
			EndpointOrigins: []string{"http://as.example"}, TokenEncoding: "x", ClientAuth: "x", TokenKey: []byte("short"),
		},
	}
	want := []string{
		"Issuer", "ClientID", "ClientSecret", "RedirectURL", "SessionKeys", "Scenario", "SignInPath", "ReturnTo", "RegistrationURL",
		"Paths.Login", "Paths.Logout", "Paths.Discovery",
		"Limits.Logins", "Limits.Callbacks", "Limits.Agent", "Limits.Owner", "Limits.Actions", "Limits.Actions[a]", "Limits.Actions[b]", "Limits.Actions[c]",
		"Session.Idle, Session.Lifetime", "Tokens.ConfirmGrace", "Provider.AssertionAudience", "Provider.Scopes",
		"Provider.AuthorizationParams", "Provider.AuthorizationParams",
		"Provider.Endpoints.Authorization", "Provider.Endpoints.Token", "Provider.Endpoints.UserInfo", "Provider.Endpoints.Introspection",
		"Provider.Endpoints.Revocation", "Provider.Endpoints.JWKS", "Provider.Endpoints.PushedAuthorization",
		"Provider.EndpointOrigins", "Provider.TokenEncoding", "Provider.ClientAuth", "Provider.TokenKey", "Provider.ButtonLabel",
	}
	for range 20 {
		_, err := authagent.New(c)
		if err == nil {
			t.Fatal("FACE-2: no error")
		}
		var got []string
		for line := range strings.Lines(err.Error()) {
			setting, _, _ := strings.Cut(strings.TrimPrefix(line, "authagent: "), ": ")
			got = append(got, setting)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("FACE-2: settings\n%q, want\n%q\n%v", got, want, err)
		}
		if !strings.Contains(err.Error(), "RedirectURL: must use https (http only on localhost, 127.0.0.0/8 and ::1)") {
			t.Errorf("FACE-2: %v", err)
		}
	}
}

// TestLoopback_FACE_3 is FACE-3: what counts as this machine, in every check of an
// address.
func TestLoopback_FACE_3(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.0.0.2": true, "127.255.255.254": true, "[::1]": true, "[0:0:0:0:0:0:0:1]": true,
		"128.0.0.1": false, "126.0.0.1": false, "0.0.0.0": false, "[::]": false, "[::2]": false, "127.1": false, "2130706433": false, "[::ffff:127.0.0.1]": false,
		"10.0.0.1": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false, "localhost.": false,
	} {
		t.Run("FACE-3 "+host, func(t *testing.T) {
			for setting, change := range map[string]func(c *authagent.Config, address string){
				"RedirectURL":     func(c *authagent.Config, a string) { c.RedirectURL = a + "/cb" },
				"Issuer":          func(c *authagent.Config, a string) { c.Issuer = a },
				"RegistrationURL": func(c *authagent.Config, a string) { c.RegistrationURL = a + "/register" },
				"Endpoints":       func(c *authagent.Config, a string) { c.Provider.Endpoints.Token = a + "/token" },
				"EndpointOrigins": func(c *authagent.Config, a string) { c.Provider.EndpointOrigins = []string{a} },
			} {
				c := validConfig()
				c.RedirectURL = devCallback
				change(&c, "http://"+host+":8080")
				if _, err := authagent.New(c); (err == nil) != want {
					t.Errorf("FACE-3 %s: %v", setting, err)
				}
			}
		})
	}
}
