package requirements_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestAnotherRelyingParty_SES_14 is SES-13 and SES-14: what began at a relying party of
// another scenario or redirect URL, with the same keys and client, is neither a
// session nor a login here, and goes on there.
func TestAnotherRelyingParty_SES_14(t *testing.T) {
	for name, change := range map[string]func(b *bench, c *authagent.Config){
		"scenario": func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) },
		"redirect URL": func(_ *bench, c *authagent.Config) {
			c.RedirectURL = "https://staging.example/auth/agent/callback"
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, k *bench) {
				k.Instance("2", func(c *authagent.Config) { change(k, c) })
				c := k.Browser()
				callback := k.Authorize(k.Agent, k.Begin(c, ""))
				switch resp := k.Get(c, callback, "X-Instance", "2"); {
				case resp.Reason() != problem.Reason("state_mismatch") || len(resp.Header["Set-Cookie"]) != 0:
					t.Errorf("SES-14: the login gets %d %s, and sets %q", resp.StatusCode, resp.Text, resp.Header["Set-Cookie"])
				case k.Get(c, callback).StatusCode != http.StatusSeeOther:
					t.Error("SES-14: the login cannot be finished where it began")
				}
				time.Sleep(2 * time.Second)
				if resp := k.Get(c, "/me", "X-Instance", "2"); resp.StatusCode != http.StatusUnauthorized || len(sessionCookies(resp)) > 0 && sessionCookies(resp)[0].MaxAge < 0 {
					t.Errorf("SES-13: the session gets %d, and sets %q", resp.StatusCode, resp.Header["Set-Cookie"])
				}
				if k.Me(c) == nil {
					t.Error("SES-13: the session is gone where it began")
				}
			})
		})
	}
}

// ends are all that ends sessions from outside.
var ends = map[string]func(rp *authagent.RelyingParty, s *authagent.Session) error{
	"EndSession": func(rp *authagent.RelyingParty, s *authagent.Session) error {
		return rp.EndSession(context.Background(), s.ID)
	},
	"EndAgentSessions": func(rp *authagent.RelyingParty, s *authagent.Session) error {
		return rp.EndAgentSessions(context.Background(), s.Agent)
	},
	"EndUserSessions": func(rp *authagent.RelyingParty, s *authagent.Session) error {
		return rp.EndUserSessions(context.Background(), s.UserID)
	},
	"EndAllSessions": func(rp *authagent.RelyingParty, _ *authagent.Session) error {
		return rp.EndAllSessions(context.Background())
	},
}

// TestEndAcrossClocks_SES_15 is SES-15: sessions that began at an instance whose clock is
// up to five minutes off end when another ends them, and an agent that is let in
// anew is let in at once.
func TestEndAcrossClocks_SES_15(t *testing.T) {
	for name, end := range ends {
		for _, by := range []time.Duration{-5 * time.Minute, -time.Second, 0, time.Second, 5 * time.Minute} {
			t.Run(name+" "+by.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newCluster(t, func(_ *bench, c *authagent.Config) {
						c.Session.Own, c.Revocations = &aheadSessions{by: by}, &memstore.Revocations{}
					})
					for range 2 { // the second time, there is a mark already
						c := k.Browser()
						s := k.MustSignIn(c, k.Agent)
						if err := end(k.RP, s); err != nil {
							t.Fatal(err)
						}
						anew := k.Browser()
						k.MustSignIn(anew, k.Agent)
						if k.Me(c) != nil {
							t.Error("SES-15: the session survives")
						}
						if k.Me(anew) == nil {
							t.Error("SES-15: an agent that was let in anew is not")
						}
					}
				})
			})
		}
	}
}

// duringSignIn does something when the scenario has decided.
type duringSignIn struct {
	authagent.Scenario
	then func(authagent.Principal)
}

func (d *duringSignIn) SignIn(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
	who, err := d.Scenario.SignIn(ctx, in)
	if d.then != nil {
		d.then(who)
	}
	return who, err
}

// TestEndDuringSignIn_SES_15 is SES-15 for a sign-in that is under way: what ends sessions
// after the scenario has looked at the account ends this one.
func TestEndDuringSignIn_SES_15(t *testing.T) {
	for name, end := range ends {
		if name == "EndSession" {
			continue // nobody knows its ID yet
		}
		t.Run(name, func(t *testing.T) {
			during := &duringSignIn{}
			k := newCluster(t, func(b *bench, c *authagent.Config) { during.Scenario, c.Scenario = c.Scenario, during })
			var once sync.Once
			during.then = func(who authagent.Principal) {
				once.Do(func() {
					s := &authagent.Session{Agent: authagent.Agent{Issuer: k.AS.URL, ID: k.Agent.ID}, UserID: who.UserID}
					if err := end(k.RP, s); err != nil {
						t.Error(err)
					}
				})
			}
			c := k.Browser()
			if resp := k.Get(c, k.Authorize(k.Agent, k.Begin(c, ""))); resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("callback: %d", resp.StatusCode)
			}
			if k.Me(c) != nil {
				t.Error("SES-15: the session survives")
			}
			during.then = func(authagent.Principal) { k.RP.EndUserSessions(context.Background(), "somebody else") }
			k.Users.Add("bob@example.com", "Bob")
			k.MustSignIn(k.Browser(), k.AS.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"}))
		})
	}
}

// keepsUntil notes how long revocations are to be kept.
type keepsUntil struct {
	memstore.Revocations
	until time.Time
}

func (u *keepsUntil) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	u.until = until
	return u.Revocations.Revoke(ctx, key, mark, until)
}

// TestRevocationsLast_SES_16 is SES-16: no mark goes before the last session that it ends
// is over by the slowest clock, and a session goes on when a mark is cleaned up.
func TestRevocationsLast_SES_16(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &keepsUntil{}
				k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Revocations = store })
				s := k.MustSignIn(k.Browser(), k.Agent)
				if err := end(k.RP, s); err != nil {
					t.Fatal(err)
				}
				if store.until.Before(s.ExpiresAt.Add(10 * time.Minute)) {
					t.Errorf("SES-16: kept until %v, and the session's end is %v", store.until, s.ExpiresAt)
				}
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				store.Revocations = memstore.Revocations{}
				if k.Me(c) == nil {
					t.Error("SES-16: the session ends with the mark")
				}
			})
		})
	}
}

// TestRevocationsWarning_SES_18 is SES-18: a site in production is told once that the
// default forgets.
func TestRevocationsWarning_SES_18(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *authagent.Config)
		want   int
	}{
		"production":     {func(*authagent.Config) {}, 1},
		"a store is set": {func(c *authagent.Config) { c.Revocations = &memstore.Revocations{} }, 0},
		"development":    {func(c *authagent.Config) { c.RedirectURL = "http://localhost:8080/auth/agent/callback" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCluster(t, func(_ *bench, c *authagent.Config) { test.change(c) })
			if n := strings.Count(k.Log.String(), "level=WARN"); n != test.want || n != strings.Count(k.Log.String(), "Config.Revocations") {
				t.Errorf("SES-18: %d warnings: %s", n, k.Log)
			}
		})
	}
}

// TestSessionEpoch is SES-19: a new epoch ends all sessions for good, those of a
// site's own Sessions as well, and whatever is remembered of revocations.
func TestSessionEpoch(t *testing.T) {
	for name, own := range map[string]authagent.Sessions{"cookie": nil, "the site's own": &mapSessions{}} {
		t.Run(name, func(t *testing.T) {
			k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Own = own })
			k.Instance("2", func(c *authagent.Config) { c.Session.Epoch = "2" })
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			saved := k.Cookies(c)
			if resp := k.Get(k.Bare(), "/me", "Cookie", saved); resp.StatusCode != http.StatusOK {
				t.Fatalf("before: %d", resp.StatusCode)
			}
			if resp := k.Get(k.Bare(), "/me", "Cookie", saved, "X-Instance", "2"); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("SES-19: %d in the new epoch", resp.StatusCode)
			}
		})
	}
}

// TestShorterLifetime_SES_21: sessions that began under a longer Session.Lifetime end
// with the new one, as what was ended is not remembered for longer. Before that, one
// that was ended came back.
func TestShorterLifetime_SES_21(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		c, other := k.Browser(), k.Browser()
		s := k.MustSignIn(c, k.Agent) // for 12 hours
		time.Sleep(2 * time.Second)
		k.MustSignIn(other, k.Agent)
		// The site is restarted with a lifetime of one hour; its stores last.
		rp := k.Instance("", func(c *authagent.Config) { c.Session.Lifetime = time.Hour })
		if err := rp.EndSession(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		for i := range 12 { // the agents go on asking, which keeps their sessions from growing idle
			if k.Me(c) != nil {
				t.Fatalf("SES-21: the ended session is back after %d minutes", 10*i)
			}
			if lives := k.Me(other) != nil; lives != (i < 6) {
				t.Errorf("SES-21: after %d minutes another session lives: %t", 10*i, lives)
			}
			time.Sleep(10 * time.Minute)
			_ = rp.EndSession(t.Context(), "another") // others sign out, and the store is swept
		}
	})
}
