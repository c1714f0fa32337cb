package requirements_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
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
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
	"github.com/authagent-go/authagent/tokens"
)

// TestOneRefresh: REF-1.
func TestOneRefresh(t *testing.T) {
	for name, configure := range eachServer {
		t.Run("REF-1 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				k.AS.Configure(configure)
				s := k.MustSignIn(k.Browser(), k.Agent)
				k.AS.Wrap(authagenttest.PathToken, late(500*time.Millisecond))
				for round := 1; round <= 3; round++ {
					time.Sleep(2 * time.Hour)
					k.store.failing(nil)
					var group sync.WaitGroup
					for range 100 {
						group.Go(func() { k.mustCall(k.RP, s) })
					}
					group.Wait()
					if n := k.refreshes(); n != round {
						t.Errorf("REF-1: %d refreshes, want %d", n, round)
					}
					if n := k.store.saves(); n != 2 { // a claim, and what came of it
						t.Errorf("REF-1: %d saves", n)
					}
				}
				k.wantEvents()
			})
		})
	}
}

// TestRefreshAcrossInstances: REF-2. Instances that share a store do not take
// each other's tokens away, whatever the server does to one that comes twice.
func TestRefreshAcrossInstances(t *testing.T) {
	for name, configure := range eachServer {
		t.Run("REF-2 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				k.AS.Configure(configure)
				instances := []*authagent.RelyingParty{k.RP, k.Instance("2"), k.Instance("3")}
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				k.AS.Wrap(authagenttest.PathToken, late(500*time.Millisecond))
				for round := 1; round <= 5; round++ {
					time.Sleep(time.Hour + 50*time.Minute)
					var group sync.WaitGroup
					for i := range 200 {
						group.Go(func() {
							time.Sleep(rand.N(time.Second))
							k.mustCall(instances[i%3], s)
						})
					}
					group.Wait()
					if n := k.refreshes(); n != round {
						t.Errorf("REF-2: %d refreshes by three instances, want %d", n, round)
					}
					k.MustSignIn(c, k.Agent) // and the next rounds are another session's
					if s = k.Me(c); s == nil {
						t.Fatal("no session")
					}
				}
			})
		})
	}
}

// TestInstanceDies: REF-2. An instance that dies in the middle of a refresh holds
// the others up for a moment, and no longer.
func TestInstanceDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		other := k.Instance("2", func(c *authagent.Config) {
			c.Provider.HTTPClient = &http.Client{Transport: authagenttest.Hosts{}} // the network has gone
			c.Provider.Endpoints = provider.Endpoints{Authorization: k.AS.URL + "/authorize", Token: k.AS.URL + "/token", UserInfo: k.AS.URL + "/userinfo"}
			c.Provider.TokenEncoding = "application/json"
		})
		s := k.MustSignIn(k.Browser(), k.Agent)
		time.Sleep(2 * time.Hour)
		k.store.failing(func(n int) error {
			if n > 1 { // and then the store: only the claim was written
				return errors.New("connection refused")
			}
			return nil
		})
		if _, err := k.call(other, s); !errors.Is(err, problem.Network) {
			t.Errorf("REF-2: err %v", err)
		}
		k.store.failing(nil)
		start := time.Now()
		k.mustCall(k.RP, s)
		if took := time.Since(start); took < 10*time.Second || took > 30*time.Second {
			t.Errorf("REF-2: waited %v", took)
		}
		if n := k.refreshes(); n != 1 {
			t.Errorf("REF-2: %d refreshes", n)
		}
	})
}

// TestReloadAfterRefusal: REF-2. A refresh token that is refused may have been
// used by another instance, whose tokens are then the ones to use.
func TestReloadAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		s := k.MustSignIn(k.Browser(), k.Agent)
		before := k.store.get(t, s.ID)
		time.Sleep(2 * time.Hour)
		k.mustCall(k.RP, s)
		after := k.store.get(t, s.ID)
		k.store.put(t, s.ID, before) // what an instance sees that reads a copy that lags behind
		k.AS.Wrap(authagenttest.PathToken, onGrant("refresh_token", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				k.store.put(t, s.ID, after)
			})
		}))
		k.mustCall(k.RP, s)
		if n := k.refreshes(); n != 2 {
			t.Errorf("REF-2: %d refreshes, want the good one and the refused one", n)
		}
		k.wantEvents()
	})
}

// TestSlowerThanOthers: REF-2. Who held its claim for too long finds the tokens of
// whoever took it over, and uses them.
func TestSlowerThanOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		k.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.Overlap = time.Hour })
		s := k.MustSignIn(k.Browser(), k.Agent)
		before := k.store.get(t, s.ID)
		time.Sleep(2 * time.Hour)
		fresh := k.watch(nil)
		k.mustCall(k.RP, s)
		theirs := k.store.get(t, s.ID)
		time.Sleep(2 * time.Second)
		k.store.put(t, s.ID, before)
		k.store.failing(func(n int) error {
			if n == 2 {
				k.store.put(t, s.ID, theirs)
			}
			return nil
		})
		k.mustCall(k.RP, s)
		if !bytes.Equal(k.store.get(t, s.ID), theirs) {
			t.Error("REF-2: the other's tokens were replaced")
		}
		if len(*fresh) != 2 || k.api.used((*fresh)[1].Access) {
			t.Error("REF-2: tokens were used that are not kept")
		}
	})
}

// TestClaimTakenOver: REF-2. Another instance has taken over the claim and done nothing more:
// what this one has got is kept.
func TestClaimTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		s := k.MustSignIn(k.Browser(), k.Agent)
		before := k.store.get(t, s.ID)
		time.Sleep(2 * time.Hour)
		k.store.failing(func(n int) error {
			if n == 2 { // the first is the claim
				k.store.put(t, s.ID, before)
			}
			return nil
		})
		k.mustCall(k.RP, s)
		k.mustCall(k.RP, s)
		if n := k.refreshes(); n != 1 {
			t.Errorf("REF-2: %d refreshes, want one", n)
		}
		k.wantEvents()
	})
}

// TestRefreshSaved: REF-3. New tokens are saved before they are used.
func TestRefreshSaved(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(save int) bool // of the claim, 1, and what follows
		err   error
		want  []string
	}{
		{"REF-3 always", func(n int) bool { return n >= 2 }, problem.StoreFailed, []string{"refresh_failed:store_failed", "tokens_revoked:requested"}},
		{"REF-3 three times", func(n int) bool { return n >= 2 && n <= 4 }, nil, nil},
		{"REF-3 the claim", func(n int) bool { return n == 1 }, problem.StoreFailed, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(2 * time.Hour)
				fresh := k.watch(nil)
				k.store.failing(func(n int) error {
					if test.fails(n) {
						return errors.New("disk full")
					}
					return nil
				})
				status, err := k.call(k.RP, s)
				if !errors.Is(err, test.err) || test.err == nil && status != http.StatusOK {
					t.Errorf("status %d, err %v", status, err)
				}
				if test.err != nil && len(*fresh) > 0 && k.api.used((*fresh)[0].Access) {
					t.Error("a token was used that is not saved")
				}
				k.wantEvents(test.want...)
				if test.want != nil && !slices.Equal(k.revokedTokens(), []string{(*fresh)[0].Refresh}) {
					t.Errorf("revoked %d tokens, want the one that was lost", len(k.revokedTokens()))
				}
				k.store.failing(nil)
			})
		})
	}
}

// TestSaveSeemsToFail: REF-3. A save that succeeds and says that it has not is not
// taken for that of another instance.
func TestSaveSeemsToFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.Tokens.Store = &liar{Store: c.Tokens.Store} })
		s := k.MustSignIn(k.Browser(), k.Agent)
		lies := &k.Config.Tokens.Store.(*liar).lies
		time.Sleep(2 * time.Hour)
		lies.Store(2) // the claim is the first
		k.mustCall(k.RP, s)
		if lies.Load() != 0 || k.refreshes() != 1 {
			t.Errorf("REF-3: %d lies left, %d refreshes", lies.Load(), k.refreshes())
		}
		k.wantEvents()
	})
}

type liar struct {
	tokens.Store
	lies atomic.Int32
}

func (l *liar) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	err := l.Store.SaveTokens(ctx, id, old, sealed, expires)
	if l.lies.Load() > 0 && l.lies.Add(-1) == 0 && err == nil {
		return errors.New("connection lost")
	}
	return err
}

// TestRefreshTokenKept: REF-3. Where the server gives no new refresh token, the
// old one stays in use.
func TestRefreshTokenKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		k.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) { f.Overlap = 24 * time.Hour })
		s := k.MustSignIn(k.Browser(), k.Agent)
		k.AS.Wrap(authagenttest.PathToken, authagenttest.WithoutMember("refresh_token"))
		for range 2 {
			time.Sleep(2 * time.Hour)
			k.mustCall(k.RP, s)
		}
		var sent []string
		for _, r := range k.AS.Requests(authagenttest.PathToken) {
			var body struct {
				Token string `json:"refresh_token"`
			}
			if json.Unmarshal(r.Body, &body); body.Token != "" {
				sent = append(sent, body.Token)
			}
		}
		if len(sent) != 2 || sent[0] != sent[1] {
			t.Errorf("REF-3: %d refreshes, or with different tokens", len(sent))
		}
	})
}

// TestRefreshGoesOn: REF-4. A refresh outlives the request that it began in, and
// Shutdown waits for it.
func TestRefreshGoesOn(t *testing.T) {
	for _, shutdown := range []bool{false, true} {
		t.Run(fmt.Sprint("REF-4 shutdown ", shutdown), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(2 * time.Hour)
				k.AS.Wrap(authagenttest.PathToken, onGrant("refresh_token", late(2*time.Second)))
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				defer cancel()
				start := time.Now()
				if _, err := k.RP.TokenSource(ctx, s).Token(); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
					t.Errorf("REF-4: err %v after %v", err, time.Since(start))
				}
				rp := k.RP
				if shutdown {
					if err := k.RP.Shutdown(context.Background()); err != nil || time.Since(start) < 2*time.Second {
						t.Errorf("REF-4: shutdown %v after %v", err, time.Since(start))
					}
					rp = k.Instance("2")
				}
				k.mustCall(rp, s)
				if n := k.refreshes(); n != 1 {
					t.Errorf("REF-4: %d refreshes", n)
				}
				k.wantEvents()
			})
		})
	}
}

// TestRefreshRefused: REF-5. invalid_grant ends the tokens, once. The session goes
// on without them, or ends where it is to be confirmed and cannot be.
func TestRefreshRefused(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		t.Run(fmt.Sprint("REF-5 confirmed ", confirmed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) {
					if confirmed {
						c.Tokens.ConfirmEvery = 3 * time.Hour
					}
				})
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				for range 4 { // keep the session from being idle
					time.Sleep(29 * time.Minute)
					k.Me(c)
				}
				k.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(400, "application/json", `{"error":"invalid_grant"}`))
				for range 2 {
					var group sync.WaitGroup
					for range 50 {
						group.Go(func() {
							if _, err := k.call(k.RP, s); !errors.Is(err, problem.Reason("no_tokens")) {
								t.Errorf("REF-5: err %v", err)
							}
							if k.Me(c) == nil {
								t.Error("REF-5: one answer ends the session")
							}
						})
					}
					group.Wait()
				}
				if n := k.refreshes(); n != 1 {
					t.Errorf("REF-5: %d refreshes", n)
				}
				k.wantEvents("refresh_failed:no_tokens")
				time.Sleep(10 * time.Minute)
				if alive := k.Me(c) != nil; alive == confirmed {
					t.Errorf("REF-5: the session lives: %v", alive)
				}
				if len(k.store.get(t, s.ID)) != 0 {
					t.Error("REF-5: tokens are still kept")
				}
				if confirmed {
					k.wantEvents("refresh_failed:no_tokens", "session_ended:not_confirmed")
				} else {
					k.wantEvents("refresh_failed:no_tokens")
				}
			})
		})
	}
}

// TestRefreshTrouble: REF-6. Whatever is wrong with the server for a while, the
// tokens are kept, it is not pestered, and somebody is told, once.
func TestRefreshTrouble(t *testing.T) {
	reply := func(status int, body string) func(k *kept) {
		return func(k *kept) {
			k.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(status, "application/json", body))
		}
	}
	for _, test := range []struct {
		name    string
		trouble []func(k *kept)
	}{
		{"REF-6 503, then invalid_client", []func(*kept){reply(503, ""), reply(401, `{"error":"invalid_client"}`)}},
		{"REF-6 500", []func(*kept){reply(500, `{"error":"server_error"}`)}},
		{"REF-6 429", []func(*kept){reply(429, "")}},
		{"REF-6 answers nothing", []func(*kept){reply(200, "")}},
		{"REF-6 connection cut", []func(*kept){func(k *kept) { k.AS.Wrap(authagenttest.PathToken, abort) }}},
		{"REF-6 hangs", []func(*kept){func(k *kept) { k.hang(authagenttest.PathToken) }}},
		{"REF-6 database down", []func(*kept){func(k *kept) { k.AS.Outage(authagenttest.OutageAll) }}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle = 4 * time.Hour })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				time.Sleep(2 * time.Hour)
				k.AS.Reset()
				for _, trouble := range test.trouble {
					trouble(k)
					for start := time.Now(); time.Since(start) < 2*time.Minute; time.Sleep(time.Second) {
						var e *problem.Error
						if _, err := k.call(k.RP, s); !errors.As(err, &e) || e.Fault() == problem.Agent || e.RetryAfter <= 0 {
							t.Fatalf("REF-6: err %v", err)
						}
						if k.Me(c) == nil {
							t.Fatal("REF-6: signed out")
						}
					}
				}
				if n := k.AS.Count(authagenttest.PathToken); n > 6 {
					t.Errorf("REF-6: %d requests", n)
				}
				if events := k.Events.Named(audit.RefreshFailed); len(events) != 1 {
					t.Errorf("REF-6: %d events", len(events))
				}
				k.AS.Wrap(authagenttest.PathToken, nil)
				k.AS.Outage(authagenttest.OutageNone)
				time.Sleep(3 * time.Minute)
				if k.call(k.RP, s); k.Me(c) == nil { // perhaps to learn anew how the server wants it
					t.Error("REF-6: signed out")
				}
				time.Sleep(3 * time.Minute)
				k.mustCall(k.RP, s)
				if n := len(k.Events.Named(audit.RefreshFailed)); n != 1 {
					t.Errorf("REF-6: %d events in the end", n)
				}
			})
		})
	}
}

// TestRefreshRetryAfter: REF-6.
func TestRefreshRetryAfter(t *testing.T) {
	for name, header := range map[string]func() string{
		"REF-6 seconds": func() string { return "300" },
		"REF-6 date":    func() string { return time.Now().Add(300 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(2 * time.Hour)
				k.AS.Wrap(authagenttest.PathToken, func(http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Retry-After", header())
						w.WriteHeader(http.StatusTooManyRequests)
					})
				})
				start := time.Now()
				for time.Since(start) < 298*time.Second {
					k.call(k.RP, s)
					time.Sleep(time.Second)
				}
				if n := k.refreshes(); n != 1 {
					t.Errorf("REF-6: %d refreshes before Retry-After", n)
				}
				k.AS.Wrap(authagenttest.PathToken, nil)
				time.Sleep(5 * time.Second)
				k.mustCall(k.RP, s)
			})
		})
	}
}

// TestEarlyRefreshFails: REF-6, REF-7. A token that has not expired is used while
// the server is down, and at nobody's expense.
func TestEarlyRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		s := k.MustSignIn(k.Browser(), k.Agent)
		time.Sleep(59*time.Minute + 10*time.Second)
		k.AS.Wrap(authagenttest.PathToken, abort)
		for range 40 {
			k.mustCall(k.RP, s)
			time.Sleep(time.Second)
		}
		if n := k.AS.Count(authagenttest.PathToken); n > 6 {
			t.Errorf("REF-6: %d requests", n)
		}
	})
}

// TestEarlyRefresh: REF-7.
func TestEarlyRefresh(t *testing.T) {
	for _, test := range []struct {
		name         string
		says         any           // expires_in, if not nil
		before       time.Duration // no refresh until then
		after        time.Duration // one since then
		refused      int           // requests that the API refuses
		refreshesMax int           // in 2 hours of a call each ten seconds
	}{
		{"REF-7 published", nil, 58*time.Minute + 50*time.Second, 59 * time.Minute, 0, 2},
		{"REF-7 clock behind", 3900, 59*time.Minute + 50*time.Second, time.Hour, 1, 2},
		{"REF-7 clock ahead", 3300, 53*time.Minute + 50*time.Second, 54 * time.Minute, 0, 2},
		{"REF-7 short", 60, 40 * time.Second, 50 * time.Second, 0, 180},
		{"REF-7 not said", "", 59*time.Minute + 50*time.Second, time.Hour, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				switch test.says {
				case nil:
				case "":
					k.AS.Wrap(authagenttest.PathToken, authagenttest.WithoutMember("expires_in"))
				default:
					k.AS.Wrap(authagenttest.PathToken, authagenttest.WithMember("expires_in", test.says))
				}
				s := k.MustSignIn(k.Browser(), k.Agent)
				start, calls := time.Now(), 0
				for ; time.Since(start) <= 110*time.Minute; time.Sleep(10 * time.Second) {
					k.mustCall(k.RP, s)
					calls++
					if n, at := k.refreshes(), time.Since(start); at <= test.before && n != 0 || at >= test.after && n == 0 {
						t.Fatalf("REF-7: %d refreshes after %v", n, at)
					}
				}
				if n := k.refreshes(); n > test.refreshesMax {
					t.Errorf("REF-7: %d refreshes", n)
				}
				if extra := k.api.count() - calls; extra != test.refused {
					t.Errorf("REF-7: %d requests were refused, want %d", extra, test.refused)
				}
			})
		})
	}
}

// TestRefreshDoesNotLengthen: REF-7. A session ends when it ends, tokens and all.
func TestRefreshDoesNotLengthen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Lifetime, c.Session.Idle = 3*time.Hour, 3*time.Hour })
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		source := k.RP.TokenSource(context.Background(), s)
		start := time.Now()
		for ; time.Since(start) < 3*time.Hour; time.Sleep(10 * time.Minute) {
			if _, err := source.Token(); err != nil || k.Me(c) == nil {
				t.Fatalf("REF-7: err %v after %v", err, time.Since(start))
			}
		}
		if _, err := source.Token(); !errors.Is(err, problem.NoSession) || k.Me(c) != nil {
			t.Errorf("REF-7: err %v after the session's end", err)
		}
	})
}
