package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// hang has an endpoint of the server never answer; the returned function gives
// the number of requests that hang.
func (b *bench) hang(path string) (waiting func() int32) {
	var n atomic.Int32
	b.AS.Wrap(path, func(next http.Handler) http.Handler {
		hanging := authagenttest.Hang()(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			defer n.Add(-1)
			hanging.ServeHTTP(w, r)
		})
	})
	return n.Load
}

// tellsToRetry reports whether a refusal says if and when to try again.
func tellsToRetry(r *response) bool {
	var p struct{ Retry *bool }
	return json.Unmarshal([]byte(r.Text), &p) == nil && p.Retry != nil && (!*p.Retry || r.Header.Get("Retry-After") != "")
}

// TestServerHangs is REL-4: 500 callbacks that are good, and a server that hangs.
// Those that have no place are told so within a second, and no other page notices.
func TestServerHangs(t *testing.T) {
	for _, test := range []struct {
		name    string
		learned bool // whether the encoding is known when it begins to hang
	}{
		{"REL-4 token request", true},
		{"REL-4 encoding probe", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) })
				signedIn := k.Browser()
				k.MustSignIn(signedIn, k.Agent)
				if !test.learned {
					k.Instance("") // a new one knows nothing; the keys, and so the sessions, are the same
				}
				const n = 500
				var browsers [n]*http.Client
				var callbacks [n]string
				var waiting func() int32
				if !test.learned {
					waiting = k.hang(authagenttest.PathToken)
				}
				for i := range n {
					browsers[i] = k.Browser()
					agent := k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprintf("agent_%d", i)})
					callbacks[i] = k.Authorize(agent, k.Begin(browsers[i], ""))
				}
				if test.learned {
					waiting = k.hang(authagenttest.PathToken)
				}
				var group sync.WaitGroup
				var quick, late, wrong atomic.Int32
				for i := range n {
					group.Go(func() {
						start := time.Now()
						resp := k.Get(browsers[i], callbacks[i])
						switch took := time.Since(start); {
						case !tellsToRetry(resp) || resp.StatusCode < 500:
							wrong.Add(1)
						case resp.StatusCode == http.StatusServiceUnavailable && took < time.Second:
							quick.Add(1)
						case took <= 11*time.Second:
							late.Add(1)
						default:
							wrong.Add(1)
							t.Errorf("REL-4: status %d after %v", resp.StatusCode, took)
						}
					})
				}
				time.Sleep(300 * time.Millisecond)
				start := time.Now()
				for range 100 {
					if k.Me(signedIn) == nil {
						t.Fatal("REL-4: a signed-in agent is not served")
					}
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("REL-4: /me waits %v", took)
				}
				if in := waiting(); in == 0 || in > 128 {
					t.Errorf("REL-4: %d requests in flight", in)
				}
				group.Wait()
				// The probe is one request for which all wait, so there none is in excess.
				if wrong.Load() != 0 || test.learned && late.Load() > 128 {
					t.Errorf("REL-4: %d refused at once, %d after the timeout, %d otherwise", quick.Load(), late.Load(), wrong.Load())
				}
				k.AS.Wrap(authagenttest.PathToken, nil)
				time.Sleep(time.Minute)
				k.MustSignIn(k.Browser(), k.Agent)
			})
		})
	}
}

// TestNoGoroutineLeft_REL_5 is REL-5: after many timeouts and disconnects, nothing
// that they started is left.
func TestNoGoroutineLeft_REL_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) })
		k.MustSignIn(k.Browser(), k.Agent)
		synctest.Wait()
		baseline := runtime.NumGoroutine()
		k.hang(authagenttest.PathToken)
		for round := range 10 {
			var group sync.WaitGroup
			for i := range 100 {
				c := k.Browser()
				agent := k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprintf("agent_%d_%d", round, i)})
				callback := k.Authorize(agent, k.Begin(c, ""))
				group.Go(func() {
					ctx := context.Background()
					if i%2 == 0 { // the browser goes away
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*10*time.Millisecond)
						defer cancel()
					}
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, callback, nil)
					if resp, err := c.Do(req); err == nil {
						resp.Body.Close()
					}
				})
			}
			group.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > baseline+2 {
			stacks := make([]byte, 1<<16)
			t.Errorf("REL-5: %d goroutines, %d before\n%s", n, baseline, stacks[:runtime.Stack(stacks, true)])
		}
		k.AS.Wrap(authagenttest.PathToken, nil)
		k.MustSignIn(k.Browser(), k.Agent)
	})
}

// TestManySignIns_REL_5 is REL-5: 200 agents at once, each several times.
func TestManySignIns_REL_5(t *testing.T) {
	k := newCluster(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
		c.Logger = discardLog()
	})
	k.AS.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false })
	const agents, rounds = 200, 3
	var group sync.WaitGroup
	for i := range agents {
		email := fmt.Sprintf("u%d@example.com", i)
		id := k.Users.Add(email, "")
		agent := k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprintf("agent_%d", i), Email: email})
		group.Go(func() {
			for range rounds {
				c := k.Browser()
				callback, err := agent.Authorize(context.Background(), k.AS.Client(), k.Begin(c, ""))
				if err != nil {
					t.Error(err)
					return
				}
				k.Get(c, callback)
				if s := k.Me(c); s == nil || s.UserID != id || s.Agent.ID != agent.ID {
					t.Errorf("REL-5: %s has session %+v", agent.ID, s)
				}
				k.Do(c, http.MethodPost, "/auth/agent/logout")
				if k.Me(c) != nil {
					t.Error("REL-5: signed in after logout")
				}
			}
		})
	}
	group.Wait()
	if n := len(k.Profiles.All()); n != agents {
		t.Errorf("REL-5: %d profiles", n)
	}
}

// TestInstances_REL_6 is REL-6: any instance finishes what another began.
func TestInstances_REL_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(_ *bench, c *authagent.Config) {
			c.Revocations, c.States = &memstore.Revocations{}, &memstore.States{}
		})
		k.Instance("2")
		k.Instance("3")
		k.Instance("stranger", func(c *authagent.Config) { c.SessionKeys = [][]byte{testsite.NewKey()} })
		c := k.Browser()
		callback := k.Authorize(k.Agent, k.Get(c, "/auth/agent/login?return_to=/me").Header.Get("Location"))

		resp := k.Get(c, callback, "X-Instance", "stranger")
		if resp.StatusCode != http.StatusBadRequest || resp.Reason() != problem.Reason("state_mismatch") {
			t.Errorf("REL-6: an instance with other keys answers %d %s", resp.StatusCode, resp.Text)
		}
		if resp := k.Get(c, callback, "X-Instance", "2"); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/me" {
			t.Fatalf("REL-6: callback: %d %s", resp.StatusCode, resp.Text)
		}
		session := k.Cookies(c)
		if resp := k.Get(c, "/me", "X-Instance", "3"); resp.StatusCode != http.StatusOK {
			t.Errorf("REL-6: /me: %d", resp.StatusCode)
		}
		if resp := k.Get(k.Bare(), "/me", "X-Instance", "stranger", "Cookie", session); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("REL-6: /me with other keys: %d", resp.StatusCode)
		}
		if resp := k.Do(c, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("REL-6: logout: %d", resp.StatusCode)
		}
		for _, instance := range []string{"", "2", "3"} {
			if resp := k.Get(k.Bare(), "/me", "X-Instance", instance, "Cookie", session); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("REL-6: %q after logout: %d", instance, resp.StatusCode)
			}
		}
	})
}

// TestEnvironmentIsNotRead_REL_7 is REL-7.
func TestEnvironmentIsNotRead_REL_7(t *testing.T) {
	for _, name := range []string{
		"AUTH_AGENT_ISSUER", "AUTH_AGENT_CLIENT_ID", "AUTH_AGENT_CLIENT_SECRET", "AUTH_AGENT_REDIRECT_URL", "SESSION_SECRET", "SESSION_KEY",
		"ISSUER", "CLIENT_ID", "CLIENT_SECRET", "AUTHAGENT_INSECURE", "INSECURE", "DEBUG",
	} {
		t.Setenv(name, "http://evil.example")
	}
	k := newCluster(t)
	k.MustSignIn(k.Browser(), k.Agent)
	if _, err := authagent.New(authagent.Config{}); err == nil {
		t.Error("REL-7: an empty configuration is filled in from somewhere")
	}
}

// TestServerFailsUnderLoad has the server fail, in every way and at every
// endpoint, in the middle of 500 sign-ins at once: nobody is half signed in,
// everybody is told whether to try again, and afterwards all is well.
func TestServerFailsUnderLoad(t *testing.T) {
	status := func(code int, body string) func(http.Handler) http.Handler {
		return authagenttest.Reply(code, "application/json", body)
	}
	for _, test := range []struct {
		name string
		wrap func(http.Handler) http.Handler
	}{
		{"down", abort},
		{"slow", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(8 * time.Second):
					next.ServeHTTP(w, r)
				case <-r.Context().Done():
				}
			})
		}},
		{"hanging", authagenttest.Hang()},
		{"half-answering", status(200, `{"access_token":"abc","token_ty`)},
		{"answering nothing", status(200, ``)},
		{"failing", status(500, `{"error":"server_error"}`)},
		{"busy", status(429, ``)},
		{"refusing", status(401, `{"error":"invalid_client"}`)},
		{"refusing tokens", status(401, `{"error":"invalid_token"}`)},
	} {
		for _, path := range []string{authagenttest.PathToken, authagenttest.PathUserInfo} {
			t.Run(test.name+" at "+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newCluster(t, func(b *bench, c *authagent.Config) {
						c.Scenario = authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
						c.Logger = discardLog()
					})
					k.AS.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false })
					const n = 500
					var browsers [n]*http.Client
					var callbacks [n]string
					for i := range n {
						browsers[i] = k.Browser()
						email := fmt.Sprintf("u%d@example.com", i)
						k.Users.Add(email, "")
						agent := k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprintf("agent_%d", i), Email: email})
						callbacks[i] = k.Authorize(agent, k.Begin(browsers[i], ""))
					}
					var group sync.WaitGroup
					var signedIn, failed atomic.Int32
					for i := range n {
						if i == n/4 {
							k.AS.Wrap(path, test.wrap)
						}
						group.Go(func() {
							resp := k.Get(browsers[i], callbacks[i])
							if resp.StatusCode == http.StatusSeeOther {
								signedIn.Add(1)
								return
							}
							failed.Add(1)
							if resp.StatusCode < 400 || !tellsToRetry(resp) || len(sessionCookies(resp)) != 0 {
								t.Errorf("status %d, Retry-After %q, body %s", resp.StatusCode, resp.Header.Get("Retry-After"), resp.Text)
							}
						})
					}
					group.Wait()
					k.AS.Wrap(path, nil)
					time.Sleep(time.Minute)
					for i := range n { // who was told so is signed in, and nobody else
						if k.Me(browsers[i]) != nil {
							signedIn.Add(-1)
						}
					}
					if signedIn.Load() != 0 || failed.Load() == 0 {
						t.Errorf("%d sign-ins without a session, %d failed", signedIn.Load(), failed.Load())
					}
					if profiles := len(k.Profiles.All()); profiles != n-int(failed.Load()) {
						t.Errorf("%d profiles of %d sign-ins", profiles, n-failed.Load())
					}
					k.MustSignIn(k.Browser(), k.Agent)
				})
			})
		}
	}
}

// TestServerRefusesConnections is the same with real sockets: the server goes
// away and comes back at the same address.
func TestServerRefusesConnections(t *testing.T) {
	b := newBench(t, func(b *bench, c *authagent.Config) {
		c.Provider.HTTPClient = &http.Client{Transport: &flaky{RoundTripper: b.AS.Client().Transport}}
	})
	down := &b.Config.Provider.HTTPClient.Transport.(*flaky).down
	b.MustSignIn(b.Browser(), b.Agent)
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	down.Store(true)
	resp := b.Get(c, callback)
	if resp.StatusCode < 500 || !tellsToRetry(resp) {
		t.Errorf("status %d %s", resp.StatusCode, resp.Text)
	}
	down.Store(false)
	other := b.AS.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"})
	b.MustSignIn(b.Browser(), other)
}

type flaky struct {
	http.RoundTripper
	down atomic.Bool
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.down.Load() {
		return nil, errors.New("connection refused")
	}
	return f.RoundTripper.RoundTrip(r)
}
