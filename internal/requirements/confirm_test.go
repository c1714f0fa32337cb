package requirements_test

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// confirming has sessions confirmed as often as by default.
func confirming(_ *bench, c *authagent.Config) { c.Tokens.ConfirmEvery = 0 }

// use uses a session once a minute, at each instance in turn, and returns how long
// it was good.
func (k *kept) use(c *http.Client, d time.Duration, instances ...string) (good time.Duration) {
	k.T.Helper()
	session := k.Cookies(c)
	for start := time.Now(); time.Since(start) <= d; time.Sleep(59 * time.Second) {
		for _, instance := range append(instances, "") {
			resp := k.Get(k.Bare(), "/me", "Cookie", session, "X-Instance", instance)
			if resp.StatusCode != http.StatusOK {
				return time.Since(start)
			}
			for _, cookie := range sessionCookies(resp) { // used, it is not idle
				session = cookie.Name + "=" + cookie.Value
			}
		}
		settle()
	}
	return d
}

func inactive() wrapper { return authagenttest.Reply(200, "application/json", `{"active":false}`) }

// TestConfirm is SES-12.
func TestConfirm(t *testing.T) {
	const alive = 3 * time.Hour
	introspect := authagenttest.PathIntrospect
	for _, test := range []struct {
		name     string
		change   func(c *authagent.Config)
		quirks   func(*authagenttest.Quirks, *authagenttest.Features)
		before   func(k *kept) // the sign-in
		happens  func(k *kept) // after it
		from, to time.Duration // when it ends; alive for not at all
		events   []string
	}{
		{name: "SES-12 all is well", from: alive, to: alive},
		{name: "SES-12 strict server", quirks: strict, from: alive, to: alive},
		{name: "SES-12 inactive for good", happens: func(k *kept) { k.AS.Wrap(introspect, inactive()) },
			from: 15 * time.Minute, to: 16 * time.Minute, events: []string{"session_ended:not_confirmed"}},
		{name: "SES-12 revoked at the server", happens: func(k *kept) { k.revokeAtServer() },
			from: 15 * time.Minute, to: 17 * time.Minute, events: []string{"refresh_failed:no_tokens", "session_ended:not_confirmed"}},
		{name: "SES-12 revoked at a strict server", quirks: strict, happens: func(k *kept) { k.revokeAtServer() },
			from: 15 * time.Minute, to: 17 * time.Minute, events: []string{"refresh_failed:no_tokens", "session_ended:not_confirmed"}},
		{name: "SES-12 inactive once", happens: func(k *kept) { k.AS.Wrap(introspect, authagenttest.FailFirst(1, inactive())) },
			from: alive, to: alive},
		{name: "SES-12 inactive every other time", happens: func(k *kept) {
			var n atomic.Int32
			k.AS.Wrap(introspect, func(next http.Handler) http.Handler {
				if n.Add(1)%2 == 1 {
					return inactive()(next)
				}
				return next
			})
		}, from: alive, to: alive},
		{name: "SES-12 database down for ten minutes", happens: func(k *kept) {
			time.AfterFunc(14*time.Minute, func() { k.AS.Outage(authagenttest.OutageAll) })
			time.AfterFunc(24*time.Minute, func() { k.AS.Outage(authagenttest.OutageNone) })
		}, from: alive, to: alive, events: []string{"refresh_failed:client_refused"}},
		// Long enough that a look falls into it after the token has run out, however
		// the looks before are spread.
		{name: "SES-12 server down for an hour and a half", happens: func(k *kept) {
			time.AfterFunc(14*time.Minute, func() { k.AS.Wrap("", abort) })
			time.AfterFunc(104*time.Minute, func() { k.AS.Wrap("", nil) })
		}, from: alive, to: alive, events: []string{"refresh_failed:server_unavailable"}},
		{name: "SES-12 server down, with grace", change: func(c *authagent.Config) { c.Tokens.ConfirmGrace = 40 * time.Minute }, happens: func(k *kept) {
			k.AS.Wrap("", abort)
		}, from: 55 * time.Minute, to: 56 * time.Minute, events: []string{"session_ended:server_unavailable", "tokens_revoked:still live"}},
		{name: "SES-12 server hangs, with grace", change: func(c *authagent.Config) { c.Tokens.ConfirmGrace = 20 * time.Minute }, happens: func(k *kept) {
			k.AS.Wrap(introspect, authagenttest.Hang())
		}, from: 35 * time.Minute, to: 36 * time.Minute, events: []string{"session_ended:server_timeout", "tokens_revoked:requested"}},
		{name: "SES-12 down for less than the grace", change: func(c *authagent.Config) { c.Tokens.ConfirmGrace = 40 * time.Minute }, happens: func(k *kept) {
			k.AS.Wrap(introspect, abort)
			time.AfterFunc(50*time.Minute, func() { k.AS.Wrap(introspect, nil) })
			time.AfterFunc(80*time.Minute, func() { k.AS.Wrap(introspect, abort) })
			time.AfterFunc(110*time.Minute, func() { k.AS.Wrap(introspect, nil) })
		}, from: alive, to: alive},
		{name: "SES-12 the site's secret is another now", happens: func(k *kept) {
			k.AS.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{k.Config.RedirectURL}})
		}, from: alive, to: alive, events: []string{"refresh_failed:client_refused"}},
		{name: "SES-12 no introspection endpoint", happens: func(k *kept) {
			k.AS.Wrap(authagenttest.PathMetadata, authagenttest.WithoutMember("introspection_endpoint"))
			k.Instance("")
		}, from: alive, to: alive},
		{name: "SES-12 no refresh token", before: func(k *kept) { k.AS.Wrap(authagenttest.PathToken, authagenttest.WithoutMember("refresh_token")) },
			from: alive, to: alive},
		{name: "SES-12 no refresh token, inactive for good", before: func(k *kept) {
			k.AS.Wrap(authagenttest.PathToken, authagenttest.WithoutMember("refresh_token"))
		}, happens: func(k *kept) { k.AS.Wrap(introspect, inactive()) },
			from: 15 * time.Minute, to: 16 * time.Minute, events: []string{"session_ended:not_confirmed"}},
		{name: "ID-6 another subject", happens: func(k *kept) { k.AS.Wrap(introspect, authagenttest.WithMember("sub", "victim")) },
			from: 15 * time.Minute, to: 17 * time.Minute, events: []string{"subject_mismatch:identity_mismatch", "session_ended:identity_mismatch", "tokens_revoked:requested"}},
		{name: "ID-6 another client", happens: func(k *kept) { k.AS.Wrap(introspect, authagenttest.WithMember("client_id", "other")) },
			from: 15 * time.Minute, to: 17 * time.Minute, events: []string{"subject_mismatch:identity_mismatch", "session_ended:identity_mismatch", "tokens_revoked:requested"}},
		{name: "ID-6 another issuer", happens: func(k *kept) { k.AS.Wrap(introspect, authagenttest.WithMember("iss", "https://evil.example")) },
			from: 15 * time.Minute, to: 17 * time.Minute, events: []string{"subject_mismatch:identity_mismatch", "session_ended:identity_mismatch", "tokens_revoked:requested"}},
		{name: "ID-6 another act", happens: func(k *kept) {
			k.AS.Wrap(introspect, authagenttest.WithMember("act", map[string]any{"sub": "victim"}))
		}, from: 15 * time.Minute, to: 17 * time.Minute, events: []string{"subject_mismatch:identity_mismatch", "session_ended:identity_mismatch", "tokens_revoked:requested"}},
		{name: "ID-6 nothing but active", happens: func(k *kept) {
			k.AS.Wrap(introspect, authagenttest.WithoutMember("sub", "client_id", "exp", "scope", "model"))
		}, from: alive, to: alive},
		{name: "REF-7 the server's clock is behind", happens: func(k *kept) { k.AS.Wrap(introspect, authagenttest.WithMember("exp", 1)) },
			from: alive, to: alive},
		{name: "SES-12 never", change: func(c *authagent.Config) { c.Tokens.ConfirmEvery = -1 }, happens: func(k *kept) {
			k.AS.Wrap(introspect, inactive())
		}, from: alive, to: alive},
	} {
		for _, instances := range [][]string{nil, {"2", "3"}} {
			t.Run(fmt.Sprint(test.name, ", instances ", 1+len(instances)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newKept(t, confirming, func(_ *bench, c *authagent.Config) {
						if test.change != nil {
							test.change(c)
						}
					})
					if test.quirks != nil {
						k.AS.Configure(test.quirks)
					}
					for _, name := range instances {
						k.Instance(name)
					}
					if test.before != nil {
						test.before(k)
					}
					c := k.Browser()
					k.MustSignIn(c, k.Agent)
					if test.happens != nil {
						test.happens(k)
					}
					if good := k.use(c, alive, instances...); good < test.from || good > test.to {
						t.Errorf("good for %v, want %v to %v; events %v", good, test.from, test.to, k.eventNames())
					}
					settle()
					asked := k.AS.Requests(introspect)
					for _, e := range k.Events.Named(audit.SessionEnded) {
						if e.Reason == problem.Reason("not_confirmed") && e.Time.Sub(asked[0].Time) < 30*time.Second {
							t.Errorf("SES-12: ended %v after the first answer", e.Time.Sub(asked[0].Time))
						}
					}
					got := k.eventNames() // in no order, if of several instances
					slices.Sort(got)
					slices.Sort(test.events)
					if diff := cmp.Diff(test.events, got); diff != "" {
						t.Errorf("events:\n%s", diff)
					}
				})
			})
		}
	}
}

// TestEndedWhileConfirmed: a session that was ended while the server was asked
// about it is not ended again by the answer.
func TestEndedWhileConfirmed(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer wrapper
	}{
		{"SES-12 inactive for good", inactive()},
		{"ID-6 another subject", authagenttest.WithMember("sub", "victim")},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, confirming)
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				asked := 0
				k.AS.Wrap(authagenttest.PathIntrospect, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if asked++; asked > 1 || test.name == "ID-6 another subject" {
							if err := k.RP.EndAllSessions(r.Context()); err != nil {
								t.Error(err)
							}
						}
						test.answer(next).ServeHTTP(w, r)
					})
				})
				k.use(c, time.Hour)
				settle()
				for _, e := range k.Events.Named(audit.SessionEnded) {
					if e.SessionID != "" {
						t.Errorf("ended once more: %s", e.Reason)
					}
				}
			})
		})
	}
}

// revokeAtServer is what the agent's owner does at the authorization server.
func (k *kept) revokeAtServer() {
	k.T.Helper()
	token, err := k.RP.TokenSource(k.T.Context(), k.sessions()[0]).Token()
	if err != nil {
		k.T.Fatal(err)
	}
	k.askServer(authagenttest.PathRevoke, token.AccessToken)
}

// sessions are those that have begun.
func (k *kept) sessions() (all []*authagent.Session) {
	for _, e := range k.Events.Named(audit.LoginSucceeded) {
		all = append(all, &authagent.Session{
			ID: e.SessionID, Agent: e.Agent, Scenario: e.Scenario, RedirectURL: k.Config.RedirectURL, StartedAt: e.Time, ExpiresAt: e.Time.Add(12 * time.Hour),
		})
	}
	return all
}

// TestConfirmInterval: SES-12. How often the server is asked does not depend on
// how many requests and instances there are.
func TestConfirmInterval(t *testing.T) {
	for _, instances := range [][]string{nil, {"2", "3"}} {
		synctest.Test(t, func(t *testing.T) {
			k := newKept(t, confirming)
			for _, name := range instances {
				k.Instance(name)
			}
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			for start := time.Now(); time.Since(start) < 3*time.Hour; time.Sleep(30 * time.Second) {
				for _, instance := range append(instances, "") {
					time.Sleep(time.Second)
					k.Get(c, "/me", "X-Instance", instance)
				}
				if n, at := k.AS.Count(authagenttest.PathIntrospect), time.Since(start); n > int(at/(15*time.Minute)) || n < int(at/(17*time.Minute)) {
					t.Fatalf("SES-12: %d introspections in %v by %d instances", n, at, 1+len(instances))
				}
			}
		})
	}
}

// TestConfirmInBackground: SES-12. No request waits for the server, and of many
// at once one asks.
func TestConfirmInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, confirming)
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		time.Sleep(20 * time.Minute)
		waiting := k.hang(authagenttest.PathIntrospect)
		start := time.Now()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if k.Me(c) == nil {
					t.Error("SES-12: refused")
				}
			})
		}
		group.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("SES-12: a request waits %v for the server", took)
		}
		settle()
		if n := waiting(); n != 1 {
			t.Errorf("SES-12: %d confirmations of one session", n)
		}
		ctx, cancel := contextFor(time.Second)
		defer cancel()
		if err := k.RP.Shutdown(ctx); err == nil {
			t.Error("SES-12: Shutdown does not wait for a confirmation")
		}
		time.Sleep(time.Hour)
		if n := k.AS.Count(authagenttest.PathIntrospect); n != 1 {
			t.Errorf("SES-12: %d confirmations, after a shutdown", n)
		}
	})
}

// TestConfirmSameSecond: sessions whose tokens the published server cannot tell
// apart are all good (fact 3).
func TestConfirmSameSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, confirming)
		var browsers []*http.Client
		for range 8 {
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			browsers = append(browsers, c)
		}
		for start := time.Now(); time.Since(start) < 3*time.Hour; time.Sleep(time.Minute) {
			for i, c := range browsers {
				if k.Me(c) == nil {
					t.Fatalf("SES-12: session %d is refused after %v; %v", i, time.Since(start), k.eventNames())
				}
			}
		}
		k.wantEvents()
	})
}

// TestConfirmManySessions_REL_5: REL-5. Confirming is bounded, however many sessions
// there are and however badly the server does.
func TestConfirmManySessions_REL_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, confirming, func(_ *bench, c *authagent.Config) { c.Logger, c.Audit = discardLog(), nil })
		const n = 500
		var cookies [n]string
		for i := range n {
			c := k.Browser()
			k.MustSignIn(c, k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprintf("agent_%d", i)}))
			cookies[i] = k.Cookies(c)
		}
		all := func() {
			for _, cookie := range cookies {
				if resp := k.Get(k.Bare(), "/me", "Cookie", cookie); resp.StatusCode != http.StatusOK {
					t.Fatalf("REL-5: status %d", resp.StatusCode)
				}
			}
		}
		synctest.Wait()
		baseline := runtime.NumGoroutine()
		time.Sleep(20 * time.Minute)
		waiting := k.hang(authagenttest.PathIntrospect)
		for range 5 {
			all()
			settle()
			if in := waiting(); in == 0 || in > 32 {
				t.Errorf("REL-5: %d confirmations at once", in)
			}
			if extra := runtime.NumGoroutine() - baseline; extra > 200 {
				t.Errorf("REL-5: %d goroutines", extra)
			}
			time.Sleep(time.Second)
		}
		k.AS.Wrap(authagenttest.PathIntrospect, nil)
		for range 100 { // until each has had its turn
			time.Sleep(5 * time.Second)
		}
		all()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if extra := runtime.NumGoroutine() - baseline; extra > 2 {
			t.Errorf("REL-5: %d goroutines are left", extra)
		}
	})
}
