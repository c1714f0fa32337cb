package authagent_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
)

// copyOf is a browser with a copy of the cookies of another.
func (k *cluster) copyOf(c *http.Client) *http.Client {
	copied := k.browser()
	site := mustParse(k.t, k.site.URL)
	copied.Jar.SetCookies(site, c.Jar.Cookies(site))
	return copied
}

// TestLogoutElsewhere_SES_20: a logout at an instance or relying party of the same
// client that has another scenario or redirect URL ends the session where it goes on.
func TestLogoutElsewhere_SES_20(t *testing.T) {
	for name, change := range map[string]func(*cluster, *authagent.Config){
		"SES-20 scenario": func(k *cluster, c *authagent.Config) { c.Scenario = authagent.FreshProfile(k.profiles) },
		"SES-20 redirect URL": func(_ *cluster, c *authagent.Config) {
			c.RedirectURL = "https://staging.example/auth/agent/callback"
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, k *cluster) {
				k.instance("2", func(c *authagent.Config) { change(k, c) })
				c := k.browser()
				k.mustSignIn(c, k.agent)
				copied := k.copyOf(c)
				if resp := k.do(c, http.MethodPost, "/auth/agent/logout", "X-Instance", "2"); resp.StatusCode != http.StatusSeeOther {
					t.Fatal(resp.StatusCode)
				}
				if k.me(c) != nil {
					t.Fatal("the browser has a session")
				}
				if k.me(copied) != nil {
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
				c := k.browser()
				s := k.mustSignIn(c, k.agent)
				thief := k.copyOf(c)
				for range 4 {
					time.Sleep(10 * time.Minute)
					if k.me(thief) == nil {
						t.Fatal("the copy is of no use")
					}
				}
				if k.me(c) != nil {
					t.Fatal("the session has not grown idle")
				}
				if how == "sign out" {
					k.do(c, http.MethodPost, "/auth/agent/logout")
				} else {
					k.mustSignIn(c, k.agent)
				}
				if k.me(thief) != nil {
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
