package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestTokensOfEndedSession_REF_13: whatever ends a session at a request ends its tokens,
// too, for whoever has the session elsewhere than in a cookie, such as a job.
func TestTokensOfEndedSession_REF_13(t *testing.T) {
	for name, change := range map[string]func(*kept, *authagent.Config){
		"REF-13 (none)": nil,
		"REF-13 epoch":  func(_ *kept, c *authagent.Config) { c.Session.Epoch = "2" },
		"REF-13 scenario": func(k *kept, c *authagent.Config) {
			c.Scenario = authagent.FullAccount(k.Users, linkAs(authagent.Principal{}))
		},
		"REF-13 redirect URL": func(_ *kept, c *authagent.Config) { c.RedirectURL = "https://staging.example/auth/agent/callback" },
		"REF-13 lifetime":     func(_ *kept, c *authagent.Config) { c.Session.Lifetime = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				rp := k.Instance("2", func(c *authagent.Config) {
					if change != nil {
						change(k, c)
					}
				})
				time.Sleep(5 * time.Minute)
				token, err := rp.TokenSource(context.Background(), s).Token()
				if ended := errors.Is(err, problem.NoSession); ended != (change != nil) || ended != (token == nil) {
					t.Errorf("%s: %t, %v", name, token != nil, err)
				}
			})
		})
	}
}

// TestTokenThatIsOver_REF_11: a server that says "expires_in":0 makes nothing panic. It
// needs a clock that goes on by itself.
func TestTokenThatIsOver_REF_11(t *testing.T) {
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.Tokens.Store = &memstore.Tokens{} })
	b.AS.Wrap(authagenttest.PathToken, authagenttest.WithMember("expires_in", 0))
	c := b.Browser()
	s := b.MustSignIn(c, b.Agent)
	for range 2 { // the second is a refresh, in the background
		if _, err := b.RP.TokenSource(context.Background(), s).Token(); err != nil {
			t.Log(err) // which token is of use is the server's business
		}
	}
	if b.Me(c) == nil {
		t.Error("nobody is signed in")
	}
}

// TestLogoutRacesRefresh: REF-8. A refresh that ends after the session does is of
// no use to anybody.
func TestLogoutRacesRefresh(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(k *kept, c *http.Client, s *authagent.Session)
		events []string
	}{
		{"REF-8 logout", func(k *kept, c *http.Client, _ *authagent.Session) {
			if resp := k.Do(c, http.MethodPost, "/auth/agent/logout", "X-Instance", "2"); resp.StatusCode != http.StatusSeeOther {
				k.T.Errorf("logout: status %d", resp.StatusCode)
			}
		}, []string{"tokens_revoked:requested", "session_ended", "tokens_revoked:requested"}},
		{"REF-8 EndAgentSessions", func(k *kept, _ *http.Client, s *authagent.Session) {
			if err := k.RP.EndAgentSessions(context.Background(), s.Agent); err != nil {
				k.T.Error(err)
			}
		}, []string{"tokens_revoked:requested"}},
	} {
		for name, configure := range eachServer {
			t.Run(test.name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle = 4 * time.Hour })
					k.AS.Configure(configure)
					k.Instance("2")
					c := k.Browser()
					s := k.MustSignIn(c, k.Agent)
					session := k.Cookies(c)
					time.Sleep(2 * time.Hour)
					hold := make(chan struct{})
					fresh := k.watch(onGrant("refresh_token", func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r); <-hold })
					}))
					var group sync.WaitGroup
					group.Go(func() {
						if _, err := k.call(k.RP, s); !errors.Is(err, problem.NoSession) {
							t.Errorf("REF-8: err %v", err)
						}
					})
					settle()
					test.end(k, c, s)
					before := k.store.saves()
					close(hold)
					group.Wait()
					if after := k.store.saves(); after != before {
						t.Errorf("REF-8: %d attempts to save", after-before)
					}
					if k.Get(k.Bare(), "/me", "Cookie", session).StatusCode != http.StatusUnauthorized {
						t.Error("REF-8: signed in after all")
					}
					if len(*fresh) != 1 || !slices.Contains(k.revokedTokens(), (*fresh)[0].Refresh) {
						t.Errorf("REF-8: %d new tokens, not revoked", len(*fresh))
					}
					if len(k.store.get(t, s.ID)) != 0 || k.api.count() != 0 {
						t.Error("REF-8: the new tokens were kept or used")
					}
					k.wantEvents(test.events...)
				})
			})
		}
	}
}

// TestLogoutAtTheLastMoment: REF-8. The session ends after the refresh was found
// to be good and before its tokens are saved, or just afterwards.
func TestLogoutAtTheLastMoment(t *testing.T) {
	for _, test := range []struct {
		name  string
		after bool
	}{{"REF-8 before the save", false}, {"REF-8 after the save", true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &spyTokens{Store: &memstore.Tokens{}}
				var end atomic.Pointer[func()]
				k := newKept(t, func(_ *bench, c *authagent.Config) {
					c.Session.Idle, c.Tokens.Store = 4*time.Hour, &endingTokens{store, test.after, &end}
				})
				k.store = store
				k.Instance("2", func(c *authagent.Config) { c.Tokens.Store = store })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				time.Sleep(2 * time.Hour)
				fresh := k.watch(nil)
				logout := func() {
					if test.after { // told by nobody
						k.RP.EndSession(context.Background(), s.ID)
						return
					}
					k.Do(c, http.MethodPost, "/auth/agent/logout", "X-Instance", "2")
				}
				end.Store(&logout)
				if _, err := k.call(k.RP, s); !errors.Is(err, problem.NoSession) {
					t.Errorf("REF-8: err %v", err)
				}
				if len(*fresh) != 1 || !slices.Contains(k.revokedTokens(), (*fresh)[0].Refresh) {
					t.Errorf("REF-8: %d new tokens, not revoked", len(*fresh))
				}
				if len(k.store.get(t, s.ID)) != 0 || k.api.count() != 0 {
					t.Error("REF-8: the new tokens were kept or used")
				}
			})
		})
	}
}

// endingTokens calls end when it saves what comes after a claim.
type endingTokens struct {
	*spyTokens
	after bool
	end   *atomic.Pointer[func()]
}

func (e *endingTokens) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	end := e.end.Load()
	if end == nil || e.saves() != 2 { // the first was at sign-in
		return e.spyTokens.SaveTokens(ctx, id, old, sealed, expires)
	}
	if e.after {
		defer (*end)()
	} else {
		(*end)()
	}
	return e.spyTokens.SaveTokens(ctx, id, old, sealed, expires)
}

// TestLogoutRevokes: REF-9.
func TestLogoutRevokes(t *testing.T) {
	for _, test := range []struct {
		name    string
		wrap    wrapper
		outcome string
	}{
		{"REF-9 200", nil, "requested"},
		{"REF-9 503", authagenttest.Reply(503, "", ""), "still live"},
		{"REF-9 400", authagenttest.Reply(400, "application/json", `{"error":"unsupported_token_type"}`), "still live"},
		{"REF-9 hang", authagenttest.Hang(), "still live"},
		{"REF-9 refused", abort, "still live"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				given := k.watch(nil)
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				session := k.Cookies(c)
				k.AS.Wrap(authagenttest.PathRevoke, test.wrap)
				start := time.Now()
				resp := k.Do(c, http.MethodPost, "/auth/agent/logout")
				if took := time.Since(start); resp.StatusCode != http.StatusSeeOther || took > 3500*time.Millisecond {
					t.Errorf("REF-9: status %d after %v", resp.StatusCode, took)
				}
				if k.Cookies(c) != "" || k.Get(k.Bare(), "/me", "Cookie", session).StatusCode != http.StatusUnauthorized {
					t.Error("REF-9: still signed in")
				}
				k.wantEvents("tokens_revoked:"+test.outcome, "session_ended")
				if events := k.Events.Named(audit.TokensRevoked); events[0].SessionID != s.ID || events[0].Agent != s.Agent {
					t.Errorf("REF-9: event %+v", events[0])
				}
				r := k.AS.Requests(authagenttest.PathRevoke)
				var body map[string]string
				if len(r) != 1 || json.Unmarshal(r[0].Body, &body) != nil || r[0].Header.Get("Content-Type") != "application/json" ||
					body["token"] != (*given)[0].Refresh || body["token_type_hint"] != "refresh_token" {
					t.Errorf("REF-9: %d requests, %v", len(r), body)
				}
				if len(k.store.get(t, s.ID)) != 0 {
					t.Error("REF-9: tokens are still kept")
				}
			})
		})
	}
}

// TestEndedSessionsRevoke: REF-9. However a session ends, its tokens are revoked
// as soon as it is noticed.
func TestEndedSessionsRevoke(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(k *kept, c *http.Client)
	}{
		{"REF-9 EndAgentSessions", func(k *kept, c *http.Client) {
			k.RP.EndAgentSessions(context.Background(), authagent.Agent{Issuer: k.AS.URL, ID: k.Agent.ID})
			session := k.Cookies(c)
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() { k.Get(k.Bare(), "/me", "Cookie", session) })
			}
			group.Wait()
		}},
		{"REF-9 its time is over", func(k *kept, c *http.Client) {
			session := k.Cookies(c)
			time.Sleep(4*time.Hour + 10*time.Minute)
			k.Get(k.Bare(), "/me", "Cookie", session)
		}},
		{"REF-9 signed in anew", func(k *kept, c *http.Client) { time.Sleep(2 * time.Second); k.MustSignIn(c, k.Agent) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle, c.Session.Lifetime = 8*time.Hour, 4*time.Hour })
				given := k.watch(nil)
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				test.end(k, c)
				settle()
				if !slices.Equal(k.revokedTokens(), []string{(*given)[0].Refresh}) || len(k.store.get(t, s.ID)) != 0 {
					t.Errorf("revoked %d tokens", len(k.revokedTokens()))
				}
				k.wantEvents("tokens_revoked:requested")
			})
		})
	}
}
