package requirements_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
)

// copyOf is a browser with a copy of the cookies of another.
func (k *bench) copyOf(c *http.Client) *http.Client {
	copied := k.Browser()
	site := mustParse(k.T, k.URL)
	copied.Jar.SetCookies(site, c.Jar.Cookies(site))
	return copied
}

// TestLogoutElsewhere_SES_20: a logout at an instance or relying party of the same
// client that has another scenario or redirect URL ends the session where it goes on.
func TestLogoutElsewhere_SES_20(t *testing.T) {
	for name, change := range map[string]func(*bench, *authagent.Config){
		"SES-20 scenario": func(k *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(k.Profiles) },
		"SES-20 redirect URL": func(_ *bench, c *authagent.Config) {
			c.RedirectURL = "https://staging.example/auth/agent/callback"
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, k *bench) {
				k.Instance("2", func(c *authagent.Config) { change(k, c) })
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				copied := k.copyOf(c)
				if resp := k.Do(c, http.MethodPost, "/auth/agent/logout", "X-Instance", "2"); resp.StatusCode != http.StatusSeeOther {
					t.Fatal(resp.StatusCode)
				}
				if k.Me(c) != nil {
					t.Fatal("the browser has a session")
				}
				if k.Me(copied) != nil {
					t.Error("signed out, and a copy of the cookie goes on")
				}
			})
		})
	}
}

// TestIdleBrowserEndsCopies_SES_20: a thief keeps a copy of the cookie fresh. Where it
// was copied from, the session has grown idle. To sign out there, or to sign in anew,
// ends the thief's session, and the server is asked to revoke its tokens.
func TestIdleBrowserEndsCopies_SES_20(t *testing.T) {
	for _, how := range []string{"sign out", "sign in anew"} {
		t.Run("SES-20 "+how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Revocations = &memstore.Revocations{} })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				thief := k.copyOf(c)
				for range 4 {
					time.Sleep(10 * time.Minute)
					if k.Me(thief) == nil {
						t.Fatal("the copy is of no use")
					}
				}
				if k.Me(c) != nil {
					t.Fatal("the session has not grown idle")
				}
				if how == "sign out" {
					k.Do(c, http.MethodPost, "/auth/agent/logout")
				} else {
					k.MustSignIn(c, k.Agent)
				}
				if k.Me(thief) != nil {
					t.Error("the thief goes on")
				}
				settle()
				if _, err := k.store.LoadTokens(t.Context(), s.ID); err == nil || len(k.revokedTokens()) == 0 {
					t.Errorf("the tokens of the session: %v, revoked %d", err, len(k.revokedTokens()))
				}
			})
		})
	}
}
