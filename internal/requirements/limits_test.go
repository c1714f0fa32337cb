package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestLimits: each budget is the one of whom it is meant for, and comes back.
func TestLimits(t *testing.T) {
	enough := limits.Rate{N: 1 << 20}
	run := func(name string, limits limits.Settings, f func(t *testing.T, k *bench)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Limits, c.Human = limits, testsite.Human })
				k.AS.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false })
				k.handle("POST /a", k.RP.RequireAction("a:do"))
				k.handle("POST /b", k.RP.RequireAction("b:do"))
				f(t, k)
			})
		})
	}
	// let sends n requests and returns how many pass; of the others each says when to come again.
	let := func(t *testing.T, k *bench, c *http.Client, n int, method, path string) (passed int) {
		t.Helper()
		for range n {
			before := k.Handled.Count()
			resp := k.Send(c, method, path, "")
			switch {
			case resp.StatusCode == 200 && k.Handled.Count() == before+1:
				passed++
			case resp.StatusCode != 429 || resp.Reason() != problem.Limited || resp.Header.Get("Retry-After") == "" || k.Handled.Count() != before:
				t.Fatalf("%s %s: %d %v %s", method, path, resp.StatusCode, resp.Header, resp.Text)
			}
		}
		return passed
	}
	run("agent", limits.Settings{Agent: limits.Rate{N: 3}}, func(t *testing.T, k *bench) {
		one, same, two := k.Browser(), k.Browser(), k.Browser()
		k.SignIn(one, k.Agent)
		k.SignIn(same, k.Agent)
		k.SignIn(two, k.AS.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"}))
		if got := let(t, k, one, 2, "GET", "/me") + let(t, k, same, 4, "GET", "/data"); got != 3 {
			t.Errorf("%d requests of one agent in two sessions, want 3", got)
		}
		if got := let(t, k, two, 4, "GET", "/me"); got != 3 {
			t.Errorf("%d requests of another, want 3", got)
		}
		if got := let(t, k, k.Browser(), 50, "GET", "/open"); got != 50 {
			t.Errorf("%d requests of humans, want 50", got)
		}
		resp := k.Get(one, "/me")
		if resp.Header.Get("Retry-After") != "20" {
			t.Errorf("Retry-After %q, want 20", resp.Header.Get("Retry-After"))
		}
		if resp := k.Do(one, "POST", "/auth/agent/logout"); resp.StatusCode != 303 {
			t.Errorf("logout: %d", resp.StatusCode)
		}
		time.Sleep(20 * time.Second)
		if got := let(t, k, same, 2, "GET", "/me"); got != 1 {
			t.Errorf("%d requests after the time that was named, want 1", got)
		}
		time.Sleep(time.Hour)
		k.SignIn(same, k.Agent)
		if got := let(t, k, same, 9, "GET", "/me"); got != 3 {
			t.Errorf("%d requests after an hour, want 3", got)
		}
	})
	run("agent, nested", limits.Settings{Agent: limits.Rate{N: 3}}, func(t *testing.T, k *bench) {
		k.handle("/nested", func(next http.Handler) http.Handler {
			return k.RP.Attach(k.RP.RequireAction("a:do")(k.RP.RequireAgent(next)))
		})
		c := k.Browser()
		k.SignIn(c, k.Agent)
		if got := let(t, k, c, 5, "GET", "/nested"); got != 3 {
			t.Errorf("%d requests through three middlewares, want 3", got)
		}
	})
	run("owner", limits.Settings{Owner: limits.Rate{N: 100}, Logins: enough, Callbacks: enough}, func(t *testing.T, k *bench) {
		k.Users.Add("bob@example.com", "Bob")
		bobs := k.Browser()
		k.SignIn(bobs, k.AS.AddAgent(authagenttest.Agent{ID: "bobs", Email: "bob@example.com"}))
		passed := 0
		for n := range 1000 {
			c := k.Browser()
			k.SignIn(c, k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprint("agent_", n), Email: "alice@example.com"}))
			passed += let(t, k, c, 2, "GET", "/me")
		}
		if passed != 100 {
			t.Errorf("%d requests of a thousand agents of one owner, want 100", passed)
		}
		if got := let(t, k, bobs, 10, "GET", "/me"); got != 10 {
			t.Errorf("%d requests of another owner's agent, want 10", got)
		}
	})
	run("action", limits.Settings{Actions: map[string]limits.Rate{"a:do": {N: 2, Per: time.Hour}}}, func(t *testing.T, k *bench) {
		one, two := k.Browser(), k.Browser()
		k.SignIn(one, k.Agent)
		k.SignIn(two, k.AS.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"}))
		if got := let(t, k, one, 1, "POST", "/a") + let(t, k, two, 3, "POST", "/a"); got != 2 {
			t.Errorf("%d actions of an owner's agents, want 2", got)
		}
		if got := let(t, k, one, 9, "POST", "/b"); got != 9 {
			t.Errorf("%d other actions, want 9", got)
		}
		person := k.Browser()
		k.SignInPerson(person, "human")
		if got := let(t, k, person, 9, "POST", "/a"); got != 9 {
			t.Errorf("%d actions of humans, want 9", got)
		}
		if resp := k.Send(one, "POST", "/a", ""); resp.Header.Get("Retry-After") != "1800" {
			t.Errorf("Retry-After %q, want 1800", resp.Header.Get("Retry-After"))
		}
	})
	for _, bad := range []limits.Settings{
		{Agent: limits.Rate{Per: time.Minute}}, {Owner: limits.Rate{N: 1, Per: -1}}, {Logins: limits.Rate{N: 1, Per: -1}},
		{Owner: limits.Rate{N: 1, Per: 101 * 365 * 24 * time.Hour}}, {Store: wrongStore{}},
		{Actions: map[string]limits.Rate{"a b": {}}}, {Actions: map[string]limits.Rate{"a": {Per: time.Hour}}},
	} {
		if _, err := authagent.New(authagent.Config{Limits: bad}); err == nil || !strings.Contains(err.Error(), "authagent: Limits.") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// wrongStore says what is wrong with it.
type wrongStore struct{ limits.Store }

func (wrongStore) Check() error { return errors.New("it is not set up") }

// awayStore fails.
type awayStore struct{ memstore.Limits }

func (*awayStore) Take(context.Context, ...limits.Budget) (time.Duration, error) {
	return 0, errors.New("down")
}

// TestLimitsAway_LIM_6: while the store of limits is down, agents sign in and read, within the limits of
// the instance. What is limited by the name of an action is refused, and the agent is told to come again.
func TestLimitsAway_LIM_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(_ *bench, c *authagent.Config) {
			c.Limits = limits.Settings{
				Store: &awayStore{}, Agent: limits.Rate{N: 3}, Actions: map[string]limits.Rate{"a:do": {N: 2, Per: time.Hour}},
			}
		})
		k.handle("POST /a", k.RP.RequireAction("a:do"))
		k.handle("POST /b", k.RP.RequireAction("b:do"))
		c := k.Browser()
		k.SignIn(c, k.Agent)
		if resp := k.Get(c, "/me"); resp.StatusCode != 200 {
			t.Errorf("LIM-6: a request: %d", resp.StatusCode)
		}
		resp := k.Send(c, "POST", "/a", "")
		if resp.StatusCode != 500 || resp.Reason() != problem.StoreFailed || resp.Header.Get("Retry-After") == "" {
			t.Errorf("LIM-6: an action that is limited: %d %v %s", resp.StatusCode, resp.Header, resp.Text)
		}
		if resp := k.Send(c, "POST", "/b", ""); resp.StatusCode != 200 {
			t.Errorf("LIM-6: another action: %d %s", resp.StatusCode, resp.Text)
		}
		if resp := k.Get(c, "/me"); resp.StatusCode != 429 {
			t.Errorf("LIM-6: a request over the limit: %d", resp.StatusCode)
		}
	})
}

// TestLimitsTogether_LIM_3: two relying parties with one store, as two instances of a site have, count together.
func TestLimitsTogether_LIM_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var config authagent.Config
		k := newCluster(t, func(_ *bench, c *authagent.Config) {
			c.Limits = limits.Settings{Store: &memstore.Limits{}, Logins: limits.Rate{N: 3}}
			c.ClientAddr = func(*http.Request) string { return "203.0.113.7" }
			config = *c
		})
		another, err := authagent.New(config)
		if err != nil {
			t.Fatal(err)
		}
		passed := 0
		for range 2 {
			if k.Get(k.Browser(), "/auth/agent/login").StatusCode == 303 {
				passed++
			}
		}
		for range 5 {
			w := httptest.NewRecorder()
			another.LoginHandler().ServeHTTP(w, httptest.NewRequest("GET", "/auth/agent/login", nil))
			if w.Code != 429 {
				passed++
			}
		}
		if passed != 3 {
			t.Errorf("LIM-3: %d logins pass, want 3", passed)
		}
	})
}

// TestLimitsOfAddresses: logins and callbacks are limited for each public address.
func TestLimitsOfAddresses(t *testing.T) {
	for _, test := range []struct {
		name             string
		limits           limits.Settings
		one, same, other string // addresses
		logins           int    // that pass from one and same together, in a minute
		callbacks        int
	}{
		{"IPv4", limits.Settings{}, "203.0.113.7:1", "203.0.113.7:2", "203.0.113.8:1", 10, 20},
		{"IPv6 network", limits.Settings{}, "[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::1]:1", "[2001:db8:1:3::1]:1", 10, 20},
		{"IPv6 site (LIM-7)", limits.Settings{Logins: limits.Rate{N: 1}, Callbacks: limits.Rate{N: 2}}, "2001:db8:1:%x::1", "2001:db8:1:%[1]x::2", "2001:db8:2:%x::1", 16, 32},
		{"without port", limits.Settings{}, "203.0.113.7", "203.0.113.7", "2001:db8::1", 10, 20},
		{"own", limits.Settings{Logins: limits.Rate{N: 3, Per: time.Hour}, Callbacks: limits.Rate{N: 4}}, "203.0.113.7", "203.0.113.7", "203.0.113.8", 3, 4},
		{"another time", limits.Settings{Logins: limits.Rate{Per: time.Hour}}, "203.0.113.7", "203.0.113.7", "203.0.113.8", 10, 20},
		{"off", limits.Settings{Logins: limits.Rate{N: -1}, Callbacks: limits.Rate{N: -1}}, "203.0.113.7", "203.0.113.7", "203.0.113.8", 60, 60},
		{"loopback", limits.Settings{}, "127.0.0.1:1", "127.0.0.1:2", "[::1]:1", 60, 60},
		{"private", limits.Settings{}, "10.0.0.1:1", "10.0.0.1:1", "192.168.1.1:1", 60, 60},
		{"no address", limits.Settings{}, "", "@", "unknown", 60, 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) {
					c.Limits = test.limits
					c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
				})
				count := func(path string, passes int, addresses ...string) (passed int) {
					t.Helper()
					for i := range 60 {
						address := addresses[i%len(addresses)]
						if strings.Contains(address, "%") {
							address = fmt.Sprintf(address, i) // a network each
						}
						resp := k.Get(k.Browser(), path, "X-Addr", address)
						switch {
						case resp.StatusCode == passes:
							passed++
						case resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "":
							t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
						}
					}
					return passed
				}
				if got := count("/auth/agent/login", 303, test.one, test.same); got != test.logins {
					t.Errorf("%d logins, want %d", got, test.logins)
				}
				if got := count("/auth/agent/login", 303, test.other); got != test.logins {
					t.Errorf("%d logins from elsewhere, want %d", got, test.logins)
				}
				if got := count("/auth/agent/callback?code=x&state=x", 400, test.one, test.same); got != test.callbacks {
					t.Errorf("%d callbacks, want %d", got, test.callbacks)
				}
				if got := count("/auth/agent/callback?code=x&state=x", 400, test.other); got != test.callbacks {
					t.Errorf("%d callbacks from elsewhere, want %d", got, test.callbacks)
				}
				time.Sleep(2 * time.Hour)
				if got := count("/auth/agent/login", 303, test.one); got != test.logins {
					t.Errorf("%d logins two hours later, want %d", got, test.logins)
				}
			})
		})
	}
}

var randomIDs = regexp.MustCompile(`"(agent_session|request_id)":"[A-Z0-9]+"`)
