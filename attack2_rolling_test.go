package authagent_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// A logout at an instance, or relying party of the same client, that has another
// scenario takes the cookie away and ends nothing: a copy of it goes on where it was.
// The page had offered "Sign the agent out".
func TestAttack2LogoutElsewhereEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Revocations = &memstore.Revocations{} })
		k.instance("2", func(c *authagent.Config) { c.Scenario = authagent.FreshProfile(k.profiles) })
		c := k.browser()
		k.mustSignIn(c, k.agent)
		copied := k.browser()
		copied.Jar.SetCookies(mustParse(t, k.site.URL), []*http.Cookie{sessionCookieOf(t, k.bench, c)})
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
}

// A thief has a copy of the cookie and keeps it fresh. Where it was copied from, the
// session has grown idle. Signing out there, or signing in anew, ends nothing: the value
// opens, and says which session it is, but counts as none.
func TestAttack2LogoutOfAnIdleBrowserEndsNothing(t *testing.T) {
	for _, how := range []string{"sign out", "sign in anew"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Revocations = &memstore.Revocations{} })
				c := k.browser()
				k.mustSignIn(c, k.agent)
				thief := k.browser()
				thief.Jar.SetCookies(mustParse(t, k.site.URL), []*http.Cookie{sessionCookieOf(t, k.bench, c)})
				for range 4 {
					time.Sleep(10 * time.Minute)
					if k.me(thief) == nil {
						t.Fatal("the copy is of no use")
					}
				}
				if how == "sign out" {
					k.do(c, http.MethodPost, "/auth/agent/logout")
				} else {
					k.mustSignIn(c, k.agent)
				}
				if k.me(thief) != nil {
					t.Error("the thief goes on")
				}
			})
		})
	}
}

// While a new first key is rolled out, an instance that does not have it yet takes
// tokens that another has refreshed for altered ones, and ends the session for good
// at all instances. The server is not asked to revoke the tokens.
func TestAttack2KeyRolloutEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.SessionIdle, c.SessionLifetime = 8*time.Hour, 8*time.Hour })
		anew := k.instance("2", func(c *authagent.Config) { c.SessionKeys = [][]byte{newKey(), c.SessionKeys[0]} })
		c := k.browser()
		s := k.mustSignIn(c, k.agent)
		time.Sleep(59*time.Minute + 30*time.Second)
		if _, err := anew.TokenSource(context.Background(), s).Token(); err != nil || k.refreshes() != 1 {
			t.Fatalf("%v, %d refreshes", err, k.refreshes())
		}
		_, err := k.rp.TokenSource(context.Background(), s).Token()
		t.Logf("at the instance without the new key: %v", err)
		if k.me(c) == nil {
			t.Error("the session has ended")
		}
		if _, err := anew.TokenSource(context.Background(), s).Token(); err != nil {
			t.Errorf("at the instance with the new key: %v", err)
		}
		if n := len(k.as.Requests(authagenttest.PathRevoke)); n == 0 {
			t.Error("and its tokens live on at the server, which was not asked to revoke them")
		}
	})
}
