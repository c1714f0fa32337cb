package requirements_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestSameSecond: the published server gives the sign-ins of one agent within
// one second the same token and then refuses it. All of them succeed here, each
// with one refresh at most.
func TestSameSecond(t *testing.T) {
	for _, n := range []int{1, 2, 5, 12} {
		for _, introspect := range []bool{false, true} {
			t.Run(fmt.Sprint(n, introspect), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = introspect })
					b.together(n, b.Browser)
					if took := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); took > time.Duration(n)*2*time.Second {
						t.Errorf("took %v", took)
					}
				})
			})
		}
	}
	t.Run("sockets", func(t *testing.T) {
		b := newBench(t)
		b.together(2, b.Browser)
	})
}

// TestSecondsEdge: NET-28. Sign-ins of one agent at the end of a second and at the
// start of the next all succeed: what one of them gets by its refresh is not what
// another has.
func TestSecondsEdge(t *testing.T) {
	for _, test := range []struct {
		name string
		at   []time.Duration // when each comes back
	}{
		{"two and two", []time.Duration{900, 950, 1050, 1100}},
		{"two and one", []time.Duration{900, 950, 1950}},
		{"two and two, a refresh later", []time.Duration{900, 950, 2040, 2060}},
		{"one in each of many", []time.Duration{900, 950, 1900, 2050, 3100, 4200, 4250, 5300, 6400}},
		{"twelve across the edge", []time.Duration{900, 910, 920, 930, 940, 950, 1000, 1010, 1020, 1030, 1040, 1050}},
	} {
		for _, introspect := range []bool{false, true} {
			t.Run(fmt.Sprint("NET-28 ", test.name, introspect), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					kept := &memstore.Tokens{}
					b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Provider.Introspect, c.Tokens.Store = introspect, kept })
					// An answer takes a while, in which others sign in.
					b.AS.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							next.ServeHTTP(w, r)
							time.Sleep(20 * time.Millisecond)
						})
					})
					b.MustSignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{Email: "alice@example.com"})) // the encoding is known
					time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(2 * time.Second)))
					b.at(test.at)
				})
			})
		}
	}
}

// at has the agent sign in at these milliseconds from now, and checks that each
// sign-in succeeds and that no two of them end with one token.
func (b *bench) at(milliseconds []time.Duration) {
	b.T.Helper()
	clients := make([]*http.Client, len(milliseconds))
	callbacks := make([]string, len(milliseconds))
	for i := range clients {
		clients[i] = b.Browser()
		callbacks[i] = b.Authorize(b.Agent, b.Begin(clients[i], ""))
	}
	var all sync.WaitGroup
	for i, d := range milliseconds {
		all.Go(func() {
			time.Sleep(d * time.Millisecond)
			if resp := b.Get(clients[i], callbacks[i]); resp.StatusCode != http.StatusSeeOther {
				b.T.Errorf("sign-in %d: status %d %s", i, resp.StatusCode, resp.Text)
			}
		})
	}
	all.Wait()
	tokens := map[string]int{}
	for i, c := range clients {
		s := b.Me(c)
		if s == nil {
			b.T.Errorf("sign-in %d: no session", i)
			continue
		}
		token, err := b.RP.TokenSource(context.Background(), s).Token()
		if err != nil {
			b.T.Errorf("sign-in %d: %v", i, err)
			continue
		}
		if other, ok := tokens[token.AccessToken]; ok {
			b.T.Errorf("sign-ins %d and %d have one token", other, i)
		}
		tokens[token.AccessToken] = i
	}
}

// TestUnusedTokens: NET-29. The tokens of a sign-in that comes to nothing are revoked
// in the background, and never one that another sign-in may hold.
func TestUnusedTokens(t *testing.T) {
	refuse := false
	link := policy(func(r authagent.LinkRequest) (authagent.Principal, error) {
		if refuse {
			return authagent.Principal{}, problem.ApprovalNeeded
		}
		return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessFull}, nil
	})
	for _, test := range []struct {
		name    string
		quirks  authagenttest.Quirks
		change  func(f *authagenttest.Features)
		token   members // what the token endpoint says instead
		revoked string  // the member that is revoked; empty for nothing
	}{
		{"published", authagenttest.PublishedQuirks(), nil, nil, "refresh_token"},
		{"RFCs", authagenttest.Quirks{}, nil, nil, "refresh_token"},
		{"no refresh token, equal tokens", authagenttest.PublishedQuirks(), nil, members{"refresh_token": nil}, ""},
		{"no refresh token, tokens with an identifier", authagenttest.Quirks{}, nil, members{"refresh_token": nil}, "access_token"},
		{"no refresh token, opaque", authagenttest.Quirks{}, func(f *authagenttest.Features) { f.OpaqueTokens = true }, members{"refresh_token": nil}, "access_token"},
	} {
		t.Run("NET-29 "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refuse = false
				b := newCluster(t, func(b *bench, c *authagent.Config) {
					c.Scenario, c.Tokens.Store = authagent.FullAccount(b.Users, link), &memstore.Tokens{}
				})
				b.AS.Quirks = test.quirks
				if test.change != nil {
					test.change(&b.AS.Features)
				}
				b.gives(test.token)
				issued := map[string]string{} // of the sign-in that is refused
				first, second := b.Browser(), b.Browser()
				one, two := b.Authorize(b.Agent, b.Begin(first, "")), b.Authorize(b.Agent, b.Begin(second, ""))
				b.Get(first, one)
				session := b.Me(first)
				if session == nil {
					t.Fatal("not signed in")
				}
				kept, err := b.RP.TokenSource(t.Context(), session).Token()
				if err != nil {
					t.Fatal(err)
				}
				if test.token != nil { // whoever has no refresh token cannot mend equal ones
					time.Sleep(2 * time.Second)
				}
				b.AS.Wrap(authagenttest.PathToken, onCode(func(next http.Handler) http.Handler {
					return authagenttest.Rewrite(func(m members) {
						for name, v := range test.token {
							m[name] = v
						}
						for _, name := range []string{"access_token", "refresh_token"} {
							issued[name], _ = m[name].(string)
						}
					})(next)
				}))
				refuse = true
				if resp := b.Get(second, two); resp.Reason() != problem.ApprovalNeeded {
					t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
				}
				if err := b.RP.Shutdown(t.Context()); err != nil { // waits for it
					t.Error(err)
				}
				var revoked []string
				for _, r := range b.AS.Requests(authagenttest.PathRevoke) {
					_, m := bodyOf(t, r)
					revoked = append(revoked, m["token"])
				}
				switch {
				case test.revoked == "" && len(revoked) != 0, test.revoked != "" && len(revoked) != 1:
					t.Fatalf("%d revocations", len(revoked))
				case test.revoked != "" && revoked[0] == "":
					t.Error("nothing was revoked")
				case test.revoked == "access_token" && revoked[0] != issued["access_token"]:
					t.Error("another token was revoked")
				}
				// The session that was there before still has its token.
				if in := b.askServer(authagenttest.PathIntrospect, kept.AccessToken); in["active"] != true {
					t.Errorf("the other sign-in's token: %v", in)
				}
			})
		})
	}
}

// TestSameSecondCrowd: where an agent signs in so often within a second that not
// all of it can be sorted out soon, those left over are told to come back (REL-4).
func TestSameSecondCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t)
		const n = 100
		var clients [n]*http.Client
		var callbacks [n]string
		for i := range n {
			clients[i] = b.Browser()
			callbacks[i] = b.Authorize(b.Agent, b.Begin(clients[i], ""))
		}
		var all sync.WaitGroup
		var in atomic.Int32
		for i := range n {
			all.Go(func() {
				start := time.Now()
				resp := b.Get(clients[i], callbacks[i])
				if took := time.Since(start); took > 22*time.Second {
					t.Errorf("sign-in %d: status %d after %v", i, resp.StatusCode, took)
				}
				switch {
				case resp.StatusCode == http.StatusSeeOther:
					in.Add(1)
				case resp.Reason() != problem.Reason("overloaded") || resp.Header.Get("Retry-After") == "":
					t.Errorf("sign-in %d: status %d %s", i, resp.StatusCode, resp.Text)
				}
			})
		}
		all.Wait()
		if in.Load() < 5 {
			t.Errorf("%d sign-ins succeeded", in.Load())
		}
		time.Sleep(2 * time.Second)
		b.MustSignIn(b.Browser(), b.Agent)
	})
}

// together has the agent sign in n times at once, and checks that all of it
// succeeds with what is allowed for.
func (b *bench) together(n int, browser func() *http.Client) {
	b.T.Helper()
	clients, callbacks := make([]*http.Client, n), make([]string, n)
	for i := range n {
		clients[i] = browser()
		callbacks[i] = b.Authorize(b.Agent, b.Begin(clients[i], ""))
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if resp := b.Get(clients[i], callbacks[i]); resp.StatusCode != http.StatusSeeOther {
				b.T.Errorf("sign-in %d: status %d %s", i, resp.StatusCode, resp.Text)
			}
		})
	}
	all.Wait()
	for i, c := range clients {
		if s := b.Me(c); s == nil || s.Agent.ID != b.Agent.ID {
			b.T.Errorf("sign-in %d: session %+v", i, s)
		}
	}
	if got := b.grants("refresh_token"); got > n {
		b.T.Errorf("%d refreshes for %d sign-ins", got, n)
	}
	if got := b.AS.Count(authagenttest.PathUserInfo); got > 2*n {
		b.T.Errorf("%d userinfo requests for %d sign-ins", got, n)
	}
	if n == 1 && b.grants("refresh_token") != 0 {
		b.T.Error("a single sign-in was refreshed")
	}
}

// TestOutage: when the server's database is down, its answers look like bad
// credentials. The agent is told to try again, and succeeds when it does.
func TestOutage(t *testing.T) {
	for _, outage := range []authagenttest.Outage{authagenttest.OutageAll, authagenttest.OutageInserts, authagenttest.OutageUpdates} {
		for _, introspect := range []bool{false, true} {
			t.Run(fmt.Sprint("token ", outage, introspect), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = introspect })
					b.recovers(b.Browser(), func() { b.AS.Outage(outage) })
				})
			})
		}
	}
	for _, path := range []string{authagenttest.PathUserInfo, authagenttest.PathIntrospect} {
		t.Run("after the token "+path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = path == authagenttest.PathIntrospect })
				b.recovers(b.Browser(), func() {
					b.AS.Wrap(path, func(next http.Handler) http.Handler {
						b.AS.Outage(authagenttest.OutageAll)
						return next
					})
				})
			})
		})
	}
}

// recovers signs in while the server is broken, and again when it is not. A
// session from before lives on.
func (b *bench) recovers(c *http.Client, broken func()) {
	b.T.Helper()
	before := b.Browser()
	b.MustSignIn(before, b.Agent)
	time.Sleep(2 * time.Second)
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	broken()
	resp := b.Get(c, callback)
	if resp.StatusCode < 400 || resp.Header.Get("Retry-After") == "" || b.Me(c) != nil {
		b.T.Errorf("status %d %s, header %v", resp.StatusCode, resp.Text, resp.Header)
	}
	b.AS.Outage(authagenttest.OutageNone)
	b.AS.Wrap(authagenttest.PathUserInfo, nil)
	b.AS.Wrap(authagenttest.PathIntrospect, nil)
	if b.Me(before) == nil {
		b.T.Error("the outage ended a session")
	}
	time.Sleep(2 * time.Second)
	b.MustSignIn(c, b.Agent)
}
