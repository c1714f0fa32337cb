package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/metrics"
	"github.com/authagent-go/authagent/problem"
)

// measured is a metrics.Recorder. It sums counters and gauges up, counts what histograms are given, and reports what All
// does not have.
type measured struct {
	t     testing.TB
	known map[metrics.Name]metrics.Metric
	on    atomic.Pointer[func(metrics.Name)] // called first; nil for nothing

	mu  sync.Mutex
	got map[metrics.Name]map[string]float64
}

func newMeasured(t testing.TB) *measured {
	m := &measured{t: t, known: make(map[metrics.Name]metrics.Metric), got: make(map[metrics.Name]map[string]float64)}
	for _, metric := range metrics.All() {
		m.known[metric.Name] = metric
	}
	return m
}

// Record implements metrics.Recorder.
func (m *measured) Record(name metrics.Name, value float64, labels metrics.Labels) {
	if on := m.on.Load(); on != nil {
		(*on)(name)
	}
	metric, known := m.known[name]
	switch {
	case !known:
		m.t.Errorf("MET-10: %s is not in All", name)
	case len(metric.Labels) == 1 && labels[1] != "" || labels[0] == "" || len(metric.Labels) == 2 && labels[1] == "":
		m.t.Errorf("MET-10: %s%q has another number of labels", name, labels)
	case metric.Kind != metrics.Histogram && !slices.Contains(metric.Series, labels):
		m.t.Errorf("MET-10: %s%q is not in its Series", name, labels)
	case metric.Kind != metrics.Gauge && value < 0:
		m.t.Errorf("MET-10: %s%q is %v", name, labels, value)
	case metric.Kind == metrics.Histogram:
		value = 1
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.got[name] == nil {
		m.got[name] = make(map[string]float64)
	}
	m.got[name][strings.TrimSpace(labels[0]+" "+labels[1])] += value
}

// of returns what was recorded under a name since it was asked last.
func (m *measured) of(name metrics.Name) map[string]float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.got[name]
	delete(m.got, name)
	return got
}

// want checks what was recorded under a name since then.
func (m *measured) want(id string, name metrics.Name, want map[string]float64) {
	m.t.Helper()
	if diff := cmp.Diff(want, m.of(name)); diff != "" {
		m.t.Errorf("%s: %s (-want +got):\n%s", id, name, diff)
	}
}

// by has a site's numbers recorded.
func (m *measured) by(_ *bench, c *authagent.Config) { c.Metrics = m }

// TestSignInsCounted_MET_2: in a browser.
func TestSignInsCounted_MET_2(t *testing.T) {
	m := newMeasured(t)
	b := newCluster(t, m.by, func(_ *bench, c *authagent.Config) { c.Audit, c.Logger = nil, discardLog() }) // nobody reads events
	b.MustSignIn(b.Browser(), b.Agent)
	m.want("MET-2", metrics.SignIns, map[string]float64{"browser started": 1, "browser ok": 1})
	b.SignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{Email: "nobody@example.com"}))
	m.want("MET-2", metrics.SignIns, map[string]float64{"browser started": 1, "browser refused": 1})
	b.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(503, "text/plain", "later"))
	b.SignIn(b.Browser(), b.Agent)
	m.want("MET-2", metrics.SignIns, map[string]float64{"browser started": 1, "browser failed": 1})
	m.want("MET-3", metrics.Refusals, map[string]float64{"no_account agent": 1, "server_unavailable server": 1})
}

// TestPersonCounted_MET_2: who is a person is no agent that has signed in.
func TestPersonCounted_MET_2(t *testing.T) {
	m := newMeasured(t)
	d := newSharedDoor(t, m.by)
	d.SignIn(d.Browser(), d.alice)
	m.want("MET-2", metrics.SignIns, map[string]float64{"browser started": 1, "browser person": 1})
}

// TestAPICounted_MET_2_MET_4: an access token, also one that is refused, and what goes on with it in a browser.
func TestAPICounted_MET_2_MET_4(t *testing.T) {
	m := newMeasured(t)
	l := newLinkBench(t, m.by)
	token := l.token()
	for range 3 {
		l.good("a token", token)
	}
	m.want("MET-2", metrics.SignIns, map[string]float64{"api ok": 1})
	m.want("MET-4", metrics.SessionChecks, map[string]float64{"api ok": 3})
	l.mustContinue(l.Browser(), l.address(token))
	m.want("MET-2", metrics.SignIns, map[string]float64{"link ok": 1})
	if got := m.of(metrics.SessionChecks); got["browser ok"] == 0 || got["api ok"] == 0 {
		t.Errorf("MET-4: checks %v", got)
	}
	l.bad("one that was made up", "made-up")
	m.want("MET-4", metrics.SessionChecks, map[string]float64{"api refused": 1})
	stranger := l.AS.AccessToken(l.AS.AddAgent(authagenttest.Agent{ID: "agent_9", UserID: "user_9"}), authagenttest.APIToken{Audience: []string{l.resource}})
	l.call("/me", stranger)
	m.want("MET-2", metrics.SignIns, map[string]float64{"api refused": 1})
	m.want("MET-3", metrics.Refusals, map[string]float64{"invalid_token agent": 1, "no_account agent": 1})
}

// TestRefusalsCounted_MET_3: each once, whoever answers it and whether or not there is an event.
func TestRefusalsCounted_MET_3(t *testing.T) {
	m := newMeasured(t)
	b := newCluster(t, m.by, func(b *bench, c *authagent.Config) { c.RegistrationURL = "/register" })
	b.Mux("").Handle("/do", b.RP.RequireAction("orders:create")(http.NotFoundHandler()))
	b.Mux("").Handle("/logout-token", b.RP.BackChannelLogoutHandler())
	b.Mux("").HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) { b.RP.ServeError(w, r, problem.NotFound) })
	c := b.Browser()
	s := b.MustSignIn(c, b.Agent)
	m.of(metrics.Refusals)
	for what, test := range map[string]struct {
		refused func()
		want    string // empty for none
	}{
		"a program that has not signed in":    {func() { b.Get(b.Bare(), "/me") }, "no_session agent"},
		"a browser, which is sent to sign in": {func() { b.Get(b.Bare(), "/me", "Accept", "text/html") }, ""},
		"not for agents":                      {func() { b.Get(c, "/humans") }, "agent_forbidden agent"},
		"a login":                             {func() { b.Do(b.Bare(), http.MethodPut, "/auth/agent/login") }, "method_not_allowed agent"},
		"a callback":                          {func() { b.Get(b.Bare(), "/auth/agent/callback?code=a&state=b") }, "state_mismatch agent"},
		"a logout by another site":            {func() { b.Do(c, http.MethodPost, "/auth/agent/logout", "Sec-Fetch-Site", "cross-site") }, "cross_origin agent"},
		"no account, which leads to the site's registration": {
			func() { b.SignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{Email: "x@example.com"})) }, "no_account agent",
		},
		"the server's word on a logout": {func() { b.Do(b.Bare(), http.MethodPost, "/logout-token") }, "invalid_request agent"},
		"a handler of the site's":       {func() { b.Get(c, "/own") }, "not_found agent"},
		"an action that is no request": {
			func() {
				b.RP.Perform(t.Context(), &authagent.Session{ID: "ended", Agent: s.Agent}, "orders:create", func(context.Context) error { return nil })
			}, "no_session agent",
		},
		"what the site's code makes up": {func() {
			b.RP.ServeError(httptest.NewRecorder(), request(t, c, b, "/x"), problem.Reason("not_in_this_country"))
		}, "other agent"},
	} {
		test.refused()
		want := map[string]float64{test.want: 1}
		if test.want == "" {
			want = nil
		}
		if diff := cmp.Diff(want, m.of(metrics.Refusals)); diff != "" {
			t.Errorf("MET-3 %s (-want +got):\n%s", what, diff)
		}
	}
}

// request is one that a browser would send.
func request(t *testing.T, c *http.Client, b *bench, path string) *http.Request {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+path, nil)
	r.Header.Set("Cookie", b.Cookies(c))
	return r
}

// TestChecksMeasured_MET_4: by what they find.
func TestChecksMeasured_MET_4(t *testing.T) {
	m := newMeasured(t)
	var down, refuses, panics bool
	var marks *breaking
	b := newCluster(t, m.by, func(b *bench, c *authagent.Config) {
		marks = &breaking{RevocationStore: &memstore.Revocations{}}
		c.Revocations = marks
		c.Scenario = checking{c.Scenario, func() error {
			switch {
			case panics:
				panic("a check")
			case refuses:
				return problem.Blocked
			case down:
				return errors.New("connection refused")
			}
			return nil
		}}
	})
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	m.of(metrics.SessionChecks)
	for _, test := range []struct {
		what   string
		before func()
		want   string
	}{
		{"it holds", func() {}, "browser ok"},
		{"the scenario cannot tell", func() { down = true }, "browser failed"},
		{"its code panics", func() { panics = true }, "browser failed"},
		{"the store is down", func() { down, panics = false, false; marks.set(errors.New("down")) }, "browser failed"},
		{"it holds again", func() { marks.set(nil) }, "browser ok"},
		{"it is refused", func() { refuses = true }, "browser ended"},
		{"it has ended", func() { refuses = false }, "browser ended"},
	} {
		test.before()
		b.Get(c, "/me")
		if got := m.of(metrics.SessionChecks); got[test.want] == 0 || len(got) != 1 {
			t.Errorf("MET-4 %s: %v, want %s", test.what, got, test.want)
		}
	}
	b.Get(b.Bare(), "/me")
	m.want("MET-4", metrics.SessionChecks, nil)
	m.want("MET-9", metrics.StoreFailures, map[string]float64{"revocations": 1})
}

// checking is a scenario whose checks of sessions are a test's.
type checking struct {
	authagent.Scenario
	check func() error
}

func (c checking) CheckSession(context.Context, *authagent.Session) error { return c.check() }

// breaking is a RevocationStore that fails, if it is to.
type breaking struct {
	authagent.RevocationStore
	mu  sync.Mutex
	err error
}

func (s *breaking) set(err error) { s.mu.Lock(); s.err = err; s.mu.Unlock() }

func (s *breaking) Marks(ctx context.Context, keys []string) ([]string, error) {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.RevocationStore.Marks(ctx, keys)
}

// TestServerMeasured_MET_5: one for each request that the server has got.
func TestServerMeasured_MET_5(t *testing.T) {
	m := newMeasured(t)
	d := newDoorCluster(t, m.by)
	d.good("a token", d.token())
	d.good("an opaque one", d.token(opaque))
	got, sent := m.of(metrics.ServerRequests), len(d.AS.Requests(""))
	total := 0.0
	for _, n := range got {
		total += n
	}
	for _, want := range []string{"metadata 200", "keys 200", "introspection 200"} {
		if got[want] != 1 {
			t.Errorf("MET-5: %v, want one %s", got, want)
		}
	}
	if int(total) != sent {
		t.Errorf("MET-5: %v of %d requests were measured: %v", total, sent, got)
	}
}

// TestAnswersMeasured_MET_5_MET_10: whatever the server answers, or if it does not.
func TestAnswersMeasured_MET_5_MET_10(t *testing.T) {
	for want, answer := range map[string]func(http.Handler) http.Handler{
		"token 200":         nil,
		"token 401":         authagenttest.Reply(401, "application/json", `{"error":"invalid_client"}`),
		"token 4xx":         authagenttest.Reply(418, "text/plain", "teapot"),
		"token 5xx":         authagenttest.Reply(599, "text/plain", ""),
		"token 3xx":         authagenttest.Reply(307, "text/plain", ""),
		"token other":       authagenttest.Reply(999, "text/plain", ""),
		"token 503":         authagenttest.Reply(503, "text/plain", ""),
		"token malformed":   authagenttest.Reply(200, "application/json", strings.Repeat(" ", 2<<20)),
		"token unreachable": func(http.Handler) http.Handler { return panickingWith(http.ErrAbortHandler) },
		"token broken":      nil,
	} {
		t.Run(want, func(t *testing.T) {
			m := newMeasured(t)
			b := newBench(t, m.by, func(b *bench, c *authagent.Config) {
				next := c.Provider.HTTPClient.Transport
				c.Provider.TokenEncoding, c.Provider.ClientAuth = "application/json", "client_secret_post"
				c.Provider.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					if want == "token broken" && r.URL.Path == authagenttest.PathToken {
						panic("a transport")
					}
					return next.RoundTrip(r)
				})}
			})
			if answer != nil {
				b.AS.Wrap(authagenttest.PathToken, answer)
			}
			b.SignIn(b.Browser(), b.Agent)
			if got := m.of(metrics.ServerRequests); got[want] != 1 {
				t.Errorf("MET-5: %v, want one %s", got, want)
			}
		})
	}
}

func panickingWith(with any) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(with) })
}

// TestTrailMeasured_MET_6: what waits for Audit, and what is lost.
func TestTrailMeasured_MET_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured(t)
		blocked := make(chan struct{})
		b := newCluster(t, m.by, func(_ *bench, c *authagent.Config) {
			c.Audit = func(_ context.Context, e audit.Event) {
				<-blocked
				if e.Name == audit.SessionEnded {
					panic("an audit")
				}
			}
		})
		c := b.Browser()
		s := b.MustSignIn(c, b.Agent)
		b.Do(c, http.MethodPost, "/auth/agent/logout")
		for range 4200 { // the first is with Audit, and 4096 wait
			b.RP.ForgetAgent(t.Context(), "operator", s.Agent)
		}
		if got := m.of(metrics.QueueWaiting)["events"]; got != 4096 {
			t.Errorf("MET-6: %v events wait, want 4096", got)
		}
		lost := m.of(metrics.QueueLost)
		if lost["events full"] < 100 || len(lost) != 1 {
			t.Errorf("MET-6: lost %v", lost)
		}
		close(blocked)
		if err := b.RP.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		m.want("MET-6", metrics.QueueWaiting, map[string]float64{"events": -4096})
		m.want("MET-6", metrics.QueueLost, map[string]float64{"events panic": 1})
	})
}

// TestOwnersMeasured_MET_6_MET_8_MET_9: a policy's queues, whom it asks, and that its store fails.
func TestOwnersMeasured_MET_6_MET_8_MET_9(t *testing.T) {
	m := newMeasured(t)
	store := &failingGrants{Grants: &memstore.Grants{}}
	owners := grants.OwnerApproval(store)
	owners.Logger = discardLog()
	var told sync.WaitGroup
	owners.Notify = func(context.Context, grants.Notice) { defer told.Done(); panic("a mail") }
	b := newBench(t, m.by, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FullAccount(b.Users, owners) })
	told.Add(1)
	b.SignIn(b.Browser(), b.Agent)
	owners.Wait()
	told.Wait()
	m.want("MET-8", metrics.OwnerRequests, map[string]float64{"asked": 1})
	m.want("MET-6", metrics.QueueLost, map[string]float64{"owner_notices panic": 1})
	b.SignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{Email: "nobody@example.com"}))
	owners.Wait()
	m.want("MET-8", metrics.OwnerRequests, map[string]float64{"no_account": 1})
	b.SignIn(b.Browser(), b.Agent)
	owners.Wait()
	m.want("MET-8", metrics.OwnerRequests, map[string]float64{"dropped": 1})
	m.want("MET-9", metrics.StoreFailures, nil)
	store.fail.Store(true)
	b.SignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{Email: "other@example.com"}))
	owners.Wait()
	if n := m.of(metrics.StoreFailures)["grants"]; n != 1 {
		t.Errorf("MET-9: %v failures of the grants' store, want 1", n)
	}
	if err := b.RP.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for queue, left := range m.of(metrics.QueueWaiting) {
		if left != 0 {
			t.Errorf("MET-6: %v wait in %s", left, queue)
		}
	}
}

// failingGrants is a store of grants that finds none of an owner, if it is to fail.
type failingGrants struct {
	*memstore.Grants
	fail atomic.Bool
}

func (s *failingGrants) OwnerGrants(ctx context.Context, userID string) ([]grants.Grant, error) {
	if s.fail.Load() {
		return nil, errors.New("connection refused")
	}
	return s.Grants.OwnerGrants(ctx, userID)
}

// TestKeptMeasured_MET_7_MET_9: what becomes of kept tokens.
func TestKeptMeasured_MET_7_MET_9(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured(t)
		k := newKept(t, m.by, confirming)
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		time.Sleep(20 * time.Minute)
		k.Get(c, "/me")
		settle()
		m.want("MET-7", metrics.KeptTokens, map[string]float64{"confirmation ok": 1})
		m.want("MET-9", metrics.StoreFailures, nil)
		time.Sleep(20 * time.Minute)
		k.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(503, "text/plain", "later"))
		k.store.failing(func(int) error { return nil })
		_, err := k.call(k.RP, s)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Minute)
		k.call(k.RP, s)
		if got := m.of(metrics.KeptTokens); got["refresh failed"] == 0 {
			t.Errorf("MET-7: %v, want refreshes that failed", got)
		}
		k.AS.Wrap(authagenttest.PathToken, nil)
		time.Sleep(5 * time.Minute)
		k.mustCall(k.RP, s)
		if got := m.of(metrics.KeptTokens); got["refresh ok"] != 1 {
			t.Errorf("MET-7: %v, want one refresh", got)
		}
		k.store.failing(func(int) error { return errors.New("connection refused") })
		time.Sleep(2 * time.Hour)
		k.call(k.RP, s)
		if got := m.of(metrics.StoreFailures); got["tokens"] == 0 {
			t.Errorf("MET-9: %v, want failures of the tokens' store", got)
		}
		k.store.failing(nil)
		time.Sleep(time.Minute)
		c2 := k.Browser()
		k.MustSignIn(c2, k.Agent)
		m.of(metrics.KeptTokens)
		k.Do(c2, http.MethodPost, "/auth/agent/logout")
		if got := m.of(metrics.KeptTokens); got["revocation ok"] != 1 {
			t.Errorf("MET-7: %v, want one revocation", got)
		}
	})
}

// TestRefusedRefresh_MET_7: the server's own no is told apart from its absence.
func TestRefusedRefresh_MET_7(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured(t)
		k := newKept(t, m.by)
		s := k.MustSignIn(k.Browser(), k.Agent)
		k.AS.Wrap(authagenttest.PathToken, onGrant("refresh_token", authagenttest.Reply(400, "application/json", `{"error":"invalid_grant"}`)))
		time.Sleep(2 * time.Hour)
		k.call(k.RP, s)
		m.want("MET-7", metrics.KeptTokens, map[string]float64{"refresh refused": 1})
	})
}

// TestGoneClient_MET_9: who goes away makes no store fail.
func TestGoneClient_MET_9(t *testing.T) {
	m := newMeasured(t)
	b := newCluster(t, m.by, func(_ *bench, c *authagent.Config) {
		c.Revocations, c.States = &breaking{RevocationStore: &memstore.Revocations{}, err: context.Canceled}, gone{}
	})
	b.SignIn(b.Browser(), b.Agent)
	m.want("MET-9", metrics.StoreFailures, nil)
	failed := newCluster(t, m.by, func(_ *bench, c *authagent.Config) { c.States = gone{errors.New("down")} })
	failed.SignIn(failed.Browser(), failed.Agent)
	m.want("MET-9", metrics.StoreFailures, map[string]float64{"states": 1})
}

type gone struct{ err error }

func (g gone) UseState(context.Context, string, time.Time) (bool, error) {
	if g.err != nil {
		return false, g.err
	}
	return false, context.Canceled
}

// TestFewSeries_MET_10: a flood of whatever a stranger or the site's code can make up.
func TestFewSeries_MET_10(t *testing.T) {
	m := newMeasured(t)
	series := make(map[string]bool)
	m.on.Store(nil)
	b := newCluster(t, m.by, func(_ *bench, c *authagent.Config) { c.Limits.Logins.N, c.Limits.Callbacks.N = -1, -1 })
	b.Mux("").HandleFunc("/own/{reason}", func(w http.ResponseWriter, r *http.Request) {
		b.RP.ServeError(w, r, problem.Reason(r.PathValue("reason")))
	})
	b.Mux("").HandleFunc("/error/{reason}", func(w http.ResponseWriter, r *http.Request) {
		b.RP.ServeError(w, r, &problem.Error{Reason: problem.Reason(r.PathValue("reason")), Step: r.PathValue("reason"), Err: errors.New(r.PathValue("reason"))})
	})
	for i := range 200 {
		b.Get(b.Bare(), fmt.Sprintf("/own/made_up_%d", i))
		b.Get(b.Bare(), fmt.Sprintf("/error/made_up_%d", i))
		b.Get(b.Bare(), fmt.Sprintf("/me?x=%d", i), "Cookie", fmt.Sprintf("x%d=y", i), "User-Agent", fmt.Sprint("agent-", i))
		b.Get(b.Bare(), fmt.Sprintf("/auth/agent/callback?error=e%d&state=s%d", i, i))
		b.Do(b.Bare(), fmt.Sprint("MADE", i), "/auth/agent/login")
		if i < 20 {
			b.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(200+37*i, "application/json", fmt.Sprintf(`{"error":"made_up_%d"}`, i)))
			b.SignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprint("agent_", i), Email: fmt.Sprintf("%d@example.com", i)}))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, values := range m.got {
		for labels := range values {
			series[string(name)+" "+labels] = true
		}
	}
	if len(series) > 60 {
		t.Errorf("MET-10: %d series: %q", len(series), slices.Sorted(maps.Keys(series)))
	}
}

// TestPanickingRecorder_MET_11: all goes on as without it.
func TestPanickingRecorder_MET_11(t *testing.T) {
	m := newMeasured(t)
	on := func(name metrics.Name) { panic("a recorder: " + name) }
	m.on.Store(&on)
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = discardLog()
	b := newBench(t, m.by)
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	if resp := b.Get(c, "/humans"); resp.StatusCode != 403 || resp.Reason() != problem.AgentForbidden {
		t.Errorf("MET-11: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := b.Get(b.Bare(), "/me"); resp.StatusCode != 401 {
		t.Errorf("MET-11: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := b.Do(c, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != 303 {
		t.Errorf("MET-11: %d %s", resp.StatusCode, resp.Text)
	}
	if err := b.RP.Shutdown(t.Context()); err != nil {
		t.Error("MET-11:", err)
	}
	if n := strings.Count(b.Log.String(), `step="record metric"`); n != 1 {
		t.Errorf("MET-11: the log says %d times that the recorder panics\n%s", n, b.Log)
	}
}

// TestBlockingRecorder_MET_11: no lock is held while it is called, whichever number it is.
func TestBlockingRecorder_MET_11(t *testing.T) {
	for _, metric := range metrics.All() {
		t.Run(string(metric.Name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, blocked := newMeasured(t), make(chan struct{})
				var came atomic.Bool
				owners := grants.OwnerApproval(&memstore.Grants{})
				owners.Logger = discardLog()
				owners.Notify = func(context.Context, grants.Notice) {}
				k := newKept(t, m.by, func(b *bench, c *authagent.Config) {
					c.Scenario, c.Human = authagent.FullAccount(b.Users, owners), testsite.Human
				})
				k.SignIn(k.Browser(), k.Agent) // afterwards nobody waits for what another asks the server
				on := func(name metrics.Name) {
					if name == metric.Name && !came.Swap(true) {
						<-blocked
					}
				}
				m.on.Store(&on)
				first := func(c *http.Client) { // something of each
					k.SignIn(c, k.Agent)
					k.Get(c, "/me")
				}
				var blocking sync.WaitGroup
				blocking.Go(func() { first(k.Browser()) })
				time.Sleep(time.Minute)
				for range 5 {
					done := make(chan struct{})
					go func() { defer close(done); first(k.Browser()) }()
					select {
					case <-done:
					case <-time.After(time.Minute):
						t.Fatalf("MET-11: a recorder that blocks in %s holds up others", metric.Name)
					}
				}
				close(blocked)
				blocking.Wait()
				owners.Wait()
				if err := k.RP.Shutdown(t.Context()); err != nil {
					t.Error("MET-11:", err)
				}
			})
		})
	}
}

// TestNothingMeasured_MET_1: the check of a session costs no allocation more.
func TestNothingMeasured_MET_1(t *testing.T) {
	cost := func(to metrics.Recorder) float64 {
		b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Metrics, c.Logger, c.Audit = to, discardLog(), nil })
		c := b.Browser()
		b.MustSignIn(c, b.Agent)
		guarded := b.RP.RequireAgent(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := request(t, c, b, "/me")
		return testing.AllocsPerRun(200, func() { guarded.ServeHTTP(browser.Nowhere{}, r) })
	}
	without, with := cost(nil), cost(quick{})
	if with > without {
		t.Errorf("MET-1: a check allocates %v times, without a recorder %v times", with, without)
	}
}

// quick does nothing.
type quick struct{}

func (quick) Record(metrics.Name, float64, metrics.Labels) {}
