package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/stores"
)

// A journal keeps deeds in memory. before, if it is set, is called first, and its error is returned.
type journal struct {
	testsite.Events
	mu     sync.Mutex
	before func(context.Context, audit.Event) error
}

func (j *journal) Write(ctx context.Context, e audit.Event) error {
	j.mu.Lock()
	before := j.before
	j.mu.Unlock()
	if before != nil {
		if err := before(ctx, e); err != nil {
			return err
		}
	}
	j.Add(ctx, e)
	return nil
}

// fails makes Write call f first for events of a name.
func (j *journal) fails(name audit.Name, f func(context.Context) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before = func(ctx context.Context, e audit.Event) error {
		if e.Name == name {
			return f(ctx)
		}
		return nil
	}
}

// deeds returns the outcomes on record, as in "begun ok" for one deed: of all events in their order, each with its action and detail.
func (j *journal) deeds() (all []string) {
	for _, e := range j.All() {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Action, e.Outcome, e.Detail)))
	}
	return all
}

func (j *journal) want(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := j.deeds(); !slices.Equal(got, want) {
		t.Errorf("%s: on record %q, want %q", what, got, want)
	}
}

// newJournalBench is a site with a journal, and alice's agent in a browser.
func newJournalBench(t *testing.T, change ...func(*bench, *authagent.Config)) (*bench, *journal, *http.Client) {
	t.Helper()
	j := &journal{}
	k := newCluster(t, append([]func(*bench, *authagent.Config){func(_ *bench, c *authagent.Config) { c.Journal = j }}, change...)...)
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	return k, j, c
}

// TestDeeds_JRN_1 is JRN-1: what an agent may change is on record, before and after, whatever the guard and the scenario.
func TestDeeds_JRN_1(t *testing.T) {
	upgrade := []string{"Upgrade", "websocket", "Connection", "Upgrade"}
	for _, test := range []struct {
		scenario, method, path string
		header                 []string
		want                   []string
	}{
		{"FullAccount", "POST", "/me", nil, []string{"begun", "ok status 200"}},
		{"FullAccount", "DELETE", "/data", nil, []string{"begun", "ok status 200"}},
		{"FullAccount", "PUT", "/full", nil, []string{"begun", "ok status 200"}},
		{"FullAccount", "PROPFIND", "/open", nil, []string{"begun", "ok status 200"}},
		{"FullAccount", "GET", "/open", upgrade, []string{"begun", "ok status 200"}},
		{"FullAccount", "GET", "/me", nil, nil},
		{"FullAccount", "HEAD", "/open", nil, nil},
		{"FullAccount", "POST", "/humans", nil, nil},
		{"FullAccount", "POST", "/", nil, nil}, // no guard
		{"FullAccount", "POST", "/auth/agent/logout", nil, nil},
		{"FullAccount", "POST", "/act", nil, []string{"a:do begun", "a:do ok status 200"}},
		{"FullAccount", "GET", "/act", nil, []string{"a:do begun", "a:do ok status 200"}},
		{"FullAccount", "POST", "/pay", nil, []string{"a:pay begun", "a:pay ok status 200"}},
		{"ContextualProfile", "POST", "/open", nil, nil},
		{"ContextualProfile", "POST", "/act", nil, nil},
		{"ContextualProfile", "POST", "/pay", nil, []string{"a:pay begun", "a:pay ok status 200"}},
		{"FreshProfile", "POST", "/open", nil, []string{"begun", "ok status 200"}},
		{"FreshProfile", "POST", "/me", nil, []string{"begun", "ok status 200"}},
		{"FreshProfile", "POST", "/act", nil, nil},
	} {
		what := fmt.Sprintf("JRN-1 %s %s %s", test.scenario, test.method, test.path)
		k, j, c := newJournalBench(t, func(b *bench, c *authagent.Config) { c.Scenario = scenariosOn(b)[test.scenario] })
		for path, guard := range map[string]func(http.Handler) http.Handler{"/act": k.RP.RequireAction("a:do"), "/pay": k.RP.RequireApproval("a:pay", &reserver{})} {
			k.Mux("").Handle(path, guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if all := j.All(); len(all) != 1 || all[0].Name != audit.ActionBegun {
					t.Errorf("%s: as the handler runs, on record are %+v", what, all)
				}
			})))
		}
		k.Do(c, test.method, test.path, test.header...)
		j.want(t, what, test.want...)
		for i, e := range j.All() {
			if e.Deed == "" || e.Deed != j.All()[0].Deed || e.Name != []audit.Name{audit.ActionBegun, audit.ActionPerformed}[i] || e.Count != 1 ||
				e.Agent.ID != k.Agent.ID || e.SessionID == "" || e.Method != test.method || e.Route == "" || e.Issuer != k.Config.Issuer || e.Time.IsZero() ||
				e.Scenario != test.scenario || (e.UserID == "") != (test.scenario == "FreshProfile") {
				t.Errorf("%s: event %+v", what, e)
			}
		}
	}
}

// TestPeople_JRN_1 is JRN-1: what people do is no deed of an agent.
func TestPeople_JRN_1(t *testing.T) {
	k, j, _ := newJournalBench(t, func(_ *bench, c *authagent.Config) { c.Human = testsite.Human })
	k.handle("/act", k.RP.RequireAction("a:do"))
	k.handle("/human", k.RP.RequireHuman)
	c := k.Browser()
	k.SignInPerson(c, "alice")
	for _, path := range []string{"/act", "/human", "/data", "/open"} {
		if resp := k.Send(c, "POST", path, "x"); resp.StatusCode != 200 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	j.want(t, "JRN-1 a person")
}

// TestNoRecordNoDeed_JRN_2 is JRN-2: what is not on record is not done.
func TestNoRecordNoDeed_JRN_2(t *testing.T) {
	for name, write := range map[string]func(context.Context) error{
		"fails":  func(context.Context) error { return errors.New("connection refused") },
		"panics": func(context.Context) error { panic("nil map") },
		"blocks": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				approver := &reserver{}
				k, j, c := newJournalBench(t)
				k.handle("/act", k.RP.RequireAction("a:do"))
				k.handle("/pay", k.RP.RequireApproval("a:pay", approver))
				j.fails(audit.ActionBegun, write)
				before, began := k.Handled.Count(), time.Now()
				for _, path := range []string{"/act", "/pay", "/open", "/full"} {
					resp := k.Send(c, "POST", path, "x")
					if resp.StatusCode != 500 || resp.Reason() != problem.StoreFailed || resp.Header.Get("Retry-After") == "" {
						t.Errorf("JRN-2 %s: %d %s", path, resp.StatusCode, resp.Text)
					}
				}
				if k.Handled.Count() != before {
					t.Error("JRN-2: a handler ran")
				}
				if took := time.Since(began); took > 41*time.Second {
					t.Errorf("JRN-2: four requests wait %v", took)
				}
				if !slices.Equal(approver.outcomes, []action.Outcome{action.NothingDone}) {
					t.Errorf("JRN-2: what was reserved has ended as %q", approver.outcomes)
				}
				if denied := k.Logged(audit.PermissionDenied); len(denied) != 4 || denied[0].Reason != problem.StoreFailed {
					t.Errorf("JRN-2: refused %+v", denied)
				}
				j.want(t, "JRN-2")
				if resp := k.Get(c, "/me"); resp.StatusCode != 200 { // what reads goes on
					t.Errorf("JRN-2 a GET: %d", resp.StatusCode)
				}
			})
		})
	}
}

// TestLimitsLeft_JRN_13 is JRN-13: an outage of the journal eats no budgets.
func TestLimitsLeft_JRN_13(t *testing.T) {
	k, j, c := newJournalBench(t, func(_ *bench, c *authagent.Config) {
		rate := limits.Rate{N: 2, Per: time.Hour}
		c.Limits.Actions = map[string]limits.Rate{"a:do": rate, "a:pay": rate, "a:call": rate}
	})
	k.handle("/act", k.RP.RequireAction("a:do"))
	k.handle("/pay", k.RP.RequireApproval("a:pay", &reserver{}))
	s := k.Me(c)
	call := func() error {
		return k.RP.Perform(t.Context(), s, "a:call", func(context.Context) error { return nil })
	}
	j.fails(audit.ActionBegun, func(context.Context) error { return errors.New("connection refused") })
	for range 5 {
		for _, path := range []string{"/act", "/pay"} {
			if resp := k.Send(c, "POST", path, "x"); resp.Reason() != problem.StoreFailed {
				t.Errorf("JRN-13 %s: %d %s", path, resp.StatusCode, resp.Text)
			}
		}
		if err := call(); !errors.Is(err, problem.StoreFailed) {
			t.Errorf("JRN-13: %v", err)
		}
	}
	j.fails(audit.ActionBegun, func(context.Context) error { return nil })
	for i := range 3 {
		for _, path := range []string{"/act", "/pay"} {
			if resp := k.Send(c, "POST", path, "x"); (resp.StatusCode == 200) != (i < 2) {
				t.Errorf("JRN-13 %s, the %d. time: %d %s", path, i+1, resp.StatusCode, resp.Text)
			}
		}
		if err := call(); (err == nil) != (i < 2) {
			t.Errorf("JRN-13 the %d. call: %v", i+1, err)
		}
	}
}

// TestGoneBefore_JRN_2 is JRN-2: a client that goes away does not end the writing half-way, which could leave a record of
// what was not done.
func TestGoneBefore_JRN_2(t *testing.T) {
	k, j, c := newJournalBench(t)
	var ran bool
	guarded := k.RP.RequireAction("a:do")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
	j.fails(audit.ActionBegun, func(ctx context.Context) error { return ctx.Err() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", k.URL+"/act", nil)
	r.Header.Set("Cookie", k.Cookies(c))
	guarded.ServeHTTP(httptest.NewRecorder(), r)
	if j.want(t, "JRN-2", "a:do begun", "a:do ok status 200"); !ran {
		t.Error("JRN-2: on record and not done")
	}
}

// TestEnds_JRN_3 is JRN-3 and JRN-4: however a handler ends, the end is on record.
func TestEnds_JRN_3(t *testing.T) {
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string
	}{
		"says nothing": {func(http.ResponseWriter, *http.Request) {}, "ok status 200"},
		"201":          {answer(201), "ok status 201"},
		"303":          {answer(303), "ok status 303"},
		"409":          {answer(409), "refused status 409"},
		"503":          {answer(503), "failed status 503"},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(404)
		}, "refused status 404"},
		"writes": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x"); w.WriteHeader(500) }, "ok status 200"},
		"streams": {func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				fmt.Fprint(w, "data: x\n\n")
				w.(http.Flusher).Flush()
			}
		}, "ok status 200"},
		"panics":            {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "unknown"},
		"panics afterwards": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); panic(http.ErrAbortHandler) }, "unknown status 201"},
		"its client is gone": {func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			*r = *r.WithContext(ctx)
		}, "ok status 200"},
		"hijacks": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			conn.Close()
		}, "ok the connection was taken over"},
		"times out inside": {http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Millisecond, "late").ServeHTTP, "failed status 503"},
	} {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			k := newBench(t, func(_ *bench, c *authagent.Config) { c.Journal = j }) // with a real server
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			k.Mux("").Handle("POST /act", k.RP.RequireAction("a:do")(test.handle))
			resp, err := c.Post(k.URL+"/act", "text/plain", strings.NewReader("x"))
			if err == nil {
				resp.Body.Close()
			} else if !strings.Contains(test.want, "unknown") && name != "hijacks" {
				t.Error(err)
			}
			for range 100 { // a connection that is taken over is closed before its handler returns
				if len(j.All()) == 2 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			j.want(t, "JRN-3 JRN-4", "a:do begun", "a:do "+test.want)
		})
	}
}

// TestTimeoutOutside_JRN_3 is JRN-3: a handler that goes on after its client was told that it took too long has its own end.
func TestTimeoutOutside_JRN_3(t *testing.T) {
	k, j, c := newJournalBench(t)
	goOn := make(chan struct{})
	guarded := k.RP.RequireAction("a:do")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-goOn; w.WriteHeader(201) }))
	k.Mux("").Handle("POST /act", http.TimeoutHandler(guarded, 10*time.Millisecond, "late"))
	if resp := k.Send(c, "POST", "/act", "x"); resp.StatusCode != 503 {
		t.Errorf("%d", resp.StatusCode)
	}
	j.want(t, "JRN-3 under way", "a:do begun")
	close(goOn)
	for i := 0; i < 100 && len(j.All()) < 2; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	j.want(t, "JRN-3 done", "a:do begun", "a:do ok status 201")
}

// TestEndLost_JRN_3 is JRN-3: an end that cannot be written is in the log, and its request is answered.
func TestEndLost_JRN_3(t *testing.T) {
	for name, write := range map[string]func(context.Context) error{
		"fails": func(context.Context) error { return errors.New("connection refused") }, "panics": func(context.Context) error { panic("nil map") },
		"blocks": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		synctest.Test(t, func(t *testing.T) {
			k, j, c := newJournalBench(t)
			k.handle("/act", k.RP.RequireAction("a:do"))
			j.fails(audit.ActionPerformed, write)
			began := time.Now()
			if resp := k.Send(c, "POST", "/act", "x"); resp.StatusCode != 200 || time.Since(began) > 11*time.Second {
				t.Errorf("JRN-3 %s: %d after %v", name, resp.StatusCode, time.Since(began))
			}
			j.want(t, "JRN-3 "+name, "a:do begun")
			deed := j.All()[0].Deed
			if log := k.Log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "its outcome is unknown") || !strings.Contains(log, "deed="+deed) {
				t.Errorf("JRN-3 %s: log %s", name, log)
			}
		})
	}
}

// settled is an Approver whose store finds out how an action has ended.
type settled struct {
	reserver
	found action.Outcome
	lost  error
}

func (a *settled) Approve(ctx context.Context, r action.Request) (*action.Reservation, string, error) {
	reserved, path, err := a.reserver.Approve(ctx, r)
	record := reserved.Record
	reserved.Record = func(ctx context.Context, outcome action.Outcome) (action.Outcome, error) {
		outcome, err := record(ctx, outcome)
		if outcome == action.InTransaction && a.found != "" {
			outcome = a.found
		}
		return outcome, errors.Join(err, a.lost)
	}
	return reserved, path, err
}

// TestReserved_JRN_4 is JRN-4: the end of what was approved is the end of the deed.
func TestReserved_JRN_4(t *testing.T) {
	reserved := func(use func(*action.Reservation)) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { use(action.ReservationFrom(r.Context())) }
	}
	for name, test := range map[string]struct {
		handle   http.HandlerFunc
		approver *settled
		want     string
	}{
		"performed":     {func(http.ResponseWriter, *http.Request) {}, &settled{}, "ok"},
		"answers 500":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, &settled{}, "ok status 500"},
		"nothing done":  {reserved((*action.Reservation).NothingDone), &settled{}, "nothing done"},
		"committed":     {reserved((*action.Reservation).UseInTransaction), &settled{found: action.Performed}, "ok"},
		"rolled back":   {reserved((*action.Reservation).UseInTransaction), &settled{found: action.NothingDone}, "nothing done"},
		"nobody says":   {reserved((*action.Reservation).UseInTransaction), &settled{}, "unknown"},
		"panics":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, &settled{}, "unknown"},
		"lost":          {func(http.ResponseWriter, *http.Request) {}, &settled{lost: errors.New("connection refused")}, "unknown"},
		"ends it early": {reserved(func(r *action.Reservation) { r.NothingDone(); r.End(context.Background()) }), &settled{}, "nothing done"},
	} {
		t.Run(name, func(t *testing.T) {
			k, j, c := newJournalBench(t)
			k.Mux("").Handle("POST /pay", k.RP.RequireApproval("a:pay", test.approver)(test.handle))
			if resp, err := c.Post(k.URL+"/pay", "text/plain", strings.NewReader("x")); err == nil {
				resp.Body.Close()
			}
			all := j.All()
			if len(all) != 2 || all[0].Outcome != audit.Begun || all[1].Outcome != strings.TrimSuffix(test.want, " status 500") ||
				all[0].Amount.Value != 1250 || all[1].Amount.Value != 1250 {
				t.Fatalf("JRN-4: %+v", all)
			}
			if strings.Contains(test.want, "status") && all[1].Detail != "status 500" {
				t.Errorf("JRN-4: detail %q", all[1].Detail)
			}
		})
	}
}

// TestOneDeed_JRN_5 is JRN-5: how many deeds a request is, by the guards around its handler.
func TestOneDeed_JRN_5(t *testing.T) {
	k, j, c := newJournalBench(t)
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	act, pay := k.RP.RequireAction("a:do"), k.RP.RequireApproval("a:pay", &reserver{})
	onMux := func(pattern string, h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(pattern, h)
		return mux
	}
	hidden := func(h http.Handler) http.Handler { // as a middleware of the site would be
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
	}
	generic, named := []string{"begun", "ok status 200"}, []string{"a:do begun", "a:do ok status 200"}
	for name, test := range map[string]struct {
		h    http.Handler
		want []string
	}{
		"attach, attach":                    {k.RP.Attach(k.RP.Attach(plain)), generic},
		"attach, hidden attach":             {k.RP.Attach(hidden(k.RP.RequireAgent(plain))), generic},
		"attach, mux, agent":                {k.RP.Attach(onMux("/x", k.RP.RequireAgent(plain))), generic},
		"attach, mux, nothing":              {k.RP.Attach(onMux("/x", plain)), generic},
		"attach, mux, not found":            {k.RP.Attach(onMux("/y", plain)), []string{"begun", "refused status 404"}},
		"attach, mux, action":               {k.RP.Attach(onMux("/x", act(plain))), named},
		"agent, mux, action":                {k.RP.RequireAgent(onMux("/x", act(plain))), named},
		"agent, action":                     {k.RP.RequireAgent(act(plain)), named},
		"attach, mux, humans":               {k.RP.Attach(onMux("/x", k.RP.ForbidAgents(plain))), nil},
		"attach, mux, an endpoint":          {k.RP.Attach(onMux("/x", k.RP.SignedOutHandler())), nil},
		"action, agent":                     {act(k.RP.RequireAgent(plain)), named},
		"action, attach, hidden agent":      {act(k.RP.Attach(hidden(k.RP.RequireAgent(plain)))), named},
		"action, approval":                  {act(pay(plain)), []string{"a:do begun", "a:pay begun", "a:pay ok status 200", "a:do ok status 200"}},
		"attach, hidden action":             {k.RP.Attach(hidden(act(plain))), []string{"begun", "a:do begun", "a:do ok status 200", "ok status 200"}},
		"attach, logout, whatever is there": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(j.All())
			path, h := "/x", test.h
			if h == nil {
				path, h = "/auth/agent/logout", k.RP.Attach(plain)
			}
			r := httptest.NewRequest("POST", k.URL+path, strings.NewReader("x"))
			r.Header.Set("Cookie", k.Cookies(c))
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got := j.deeds()[before:]; !slices.Equal(got, test.want) {
				t.Errorf("JRN-5: %q, want %q", got, test.want)
			}
		})
		if name == "attach, logout, whatever is there" {
			k.MustSignIn(c, k.Agent)
		}
	}
}

// TestDeedID_JRN_6 is JRN-6: the handler finds the ID that is on record.
func TestDeedID_JRN_6(t *testing.T) {
	k, j, c := newJournalBench(t, func(_ *bench, c *authagent.Config) { c.Human = testsite.Human })
	ids := make(map[string]bool)
	for path, guard := range map[string]func(http.Handler) http.Handler{
		"/a": k.RP.RequireAction("a:do"), "/b": k.RP.RequireApproval("a:pay", &reserver{}), "/c": k.RP.Attach,
		"/d": func(h http.Handler) http.Handler { return k.RP.RequireAction("a:do")(k.RP.Attach(h)) },
	} {
		var found string
		k.Mux("").Handle(path, guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if found = audit.DeedFrom(r.Context()); action.ReservationFrom(r.Context()) != nil && action.ReservationFrom(r.Context()).Deed != found {
				t.Error("JRN-6: the reservation has another")
			}
		})))
		k.Send(c, "POST", path, "x")
		last := j.All()[len(j.All())-2:]
		if found == "" || last[0].Deed != found || last[1].Deed != found || ids[found] {
			t.Errorf("JRN-6 %s: found %q, on record %+v", path, found, last)
		}
		ids[found] = true
		person := k.Browser()
		k.SignInPerson(person, "alice")
		if k.Send(person, "POST", path, "x"); found != "" {
			t.Errorf("JRN-6 %s: a person does %q", path, found)
		}
	}
	if audit.DeedFrom(t.Context()) != "" || audit.DeedFrom(audit.WithDeed(t.Context(), "d")) != "d" {
		t.Error("JRN-6: of a context")
	}
}

// TestNowhereTwice_JRN_7 is JRN-7: Config.Audit hears of no deed, and of all else; the log has each deed once.
func TestNowhereTwice_JRN_7(t *testing.T) {
	k, j, c := newJournalBench(t)
	k.handle("/act", k.RP.RequireAction("a:do"))
	k.Send(c, "POST", "/act", "x")
	k.Send(c, "POST", "/open", "x")
	k.Do(c, "POST", "/humans")
	if len(k.Events.Named(audit.ActionPerformed))+len(k.Events.Named(audit.ActionBegun)) != 0 || len(k.Events.Named(audit.LoginSucceeded)) != 1 ||
		len(k.Events.Named(audit.PermissionDenied)) != 1 {
		t.Errorf("JRN-7: Audit has %+v", k.Events.All())
	}
	if done, begun := k.Logged(audit.ActionPerformed), k.Logged(audit.ActionBegun); len(done) != 2 || done[0].Outcome != "ok" || len(begun) != 0 {
		t.Errorf("JRN-7: the log has %+v and %+v", done, begun)
	}
	if !strings.Contains(k.Log.String(), "deed="+j.All()[0].Deed) {
		t.Error("JRN-7: the log lacks the deed's ID")
	}
}

// TestElsewhere_JRN_8 is JRN-8: what is no HTTP request is a deed as well.
func TestElsewhere_JRN_8(t *testing.T) {
	k, j, c := newJournalBench(t)
	var s *authagent.Session
	k.Mux("").Handle("GET /whoami", k.RP.RequireAgent(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s, _ = authagent.FromContext(r.Context()) })))
	k.Get(c, "/whoami")
	ctx, failed := t.Context(), errors.New("the card was declined")
	var id string
	does := func(err error) func(context.Context) error {
		return func(ctx context.Context) error {
			id = audit.DeedFrom(ctx)
			if all := j.All(); len(all) == 0 || all[len(all)-1].Outcome != audit.Begun || all[len(all)-1].Deed != id {
				t.Errorf("JRN-8: while it is done, on record are %+v", all)
			}
			return err
		}
	}
	next := func(name string, want ...string) {
		t.Helper()
		if got := j.deeds(); !slices.Equal(got, want) {
			t.Errorf("JRN-8 %s: %q, want %q", name, got, want)
		}
		j.Events = testsite.Events{}
	}
	read := *s
	read.Scenario = "another" // it does not hold
	for name, test := range map[string]struct {
		err, want error
		outcome   string
	}{"ok": {nil, nil, "ok"}, "fails": {failed, failed, "failed"}, "refuses": {problem.NotFound, problem.NotFound, "refused"}} {
		if err := k.RP.Perform(ctx, s, "a:do", does(test.err)); !errors.Is(err, test.want) || err != test.err {
			t.Errorf("JRN-8 Perform %s: %v", name, err)
		}
		next(name, "a:do begun", "a:do "+test.outcome)
		if err := k.RP.Change(ctx, s, does(test.err)); err != test.err {
			t.Errorf("JRN-8 Change %s: %v", name, err)
		}
		next(name, "begun", test.outcome)
	}
	panicked := func() (value any) {
		defer func() { value = recover() }()
		return k.RP.Perform(ctx, s, "a:do", func(context.Context) error { panic("own") })
	}()
	if panicked != "own" {
		t.Errorf("JRN-8: the panic is %v", panicked)
	}
	next("panics", "a:do begun", "a:do unknown")
	never := func(context.Context) error { t.Error("JRN-8: a refused one is done"); return nil }
	for name, err := range map[string]error{
		"Perform, ended": k.RP.Perform(ctx, &read, "a:do", never), "Change, ended": k.RP.Change(ctx, &read, never),
	} {
		if !errors.Is(err, problem.NoSession) {
			t.Errorf("JRN-8 %s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"Perform nobody": k.RP.Perform(ctx, nil, "a:do", never), "Perform nothing": k.RP.Perform(ctx, s, "a:do", nil), "Perform, no name": k.RP.Perform(ctx, s, "", never),
		"Change nobody": k.RP.Change(ctx, nil, never), "Change nothing": k.RP.Change(ctx, s, nil),
	} {
		if !errors.Is(err, problem.StoreFailed) {
			t.Errorf("JRN-8 %s: %v", name, err)
		}
	}
	next("refused")

	approver := &reserver{}
	reserved, _, err := k.RP.Approve(ctx, s, "tool:pay", []byte("x"), approver)
	if err != nil || reserved.Deed == "" || audit.DeedFrom(reserved.With(ctx)) != reserved.Deed {
		t.Fatalf("JRN-8 Approve: %+v, %v", reserved, err)
	}
	next("reserved", "tool:pay begun")
	if err := errors.Join(reserved.End(ctx), reserved.End(ctx)); err != nil {
		t.Error(err)
	}
	next("ended", "tool:pay ok")
	reserved, _, err = k.RP.Approve(ctx, s, "tool:pay", []byte("x"), approver)
	if err != nil || reserved.EndUnknown(ctx) != nil {
		t.Fatal(err)
	}
	next("unknown", "tool:pay begun", "tool:pay unknown")

	j.fails(audit.ActionBegun, func(context.Context) error { return errors.New("connection refused") })
	approver.outcomes = nil
	if reserved, _, err := k.RP.Approve(ctx, s, "tool:pay", []byte("x"), approver); reserved != nil || !errors.Is(err, problem.StoreFailed) ||
		!slices.Equal(approver.outcomes, []action.Outcome{action.NothingDone}) {
		t.Errorf("JRN-8 Approve without record: %v, %v, ended %q", reserved, err, approver.outcomes)
	}
	if err := errors.Join(k.RP.Perform(ctx, s, "a:do", never), k.RP.Change(ctx, s, never)); !errors.Is(err, problem.StoreFailed) {
		t.Error(err)
	}
	next("without record")
}

// TestUsedApproval_JRN_1 is JRN-1: a request whose approval is used, pending or denied is no deed.
func TestUsedApproval_JRN_1(t *testing.T) {
	k, j, c := newJournalBench(t)
	for i, reason := range []problem.Reason{"approval_used", problem.ApprovalPending, problem.ActionDenied} {
		path := fmt.Sprint("/pay", i)
		k.handle(path, k.RP.RequireApproval("a:pay", approverFunc(func(action.Request) (string, error) { return "/look", reason })))
		if resp := k.Send(c, "POST", path, "x"); resp.StatusCode == 200 {
			t.Errorf("%s: %d", reason, resp.StatusCode)
		}
	}
	j.want(t, "JRN-1 not approved")
}

// TestAccessToken_JRN_1 is JRN-1: an agent that comes with an access token is on record with its door.
func TestAccessToken_JRN_1(t *testing.T) {
	j := &journal{}
	d := newDoorBench(t, func(_ *bench, c *authagent.Config) { c.Journal = j })
	d.Mux("").Handle("/act", d.RP.RequireAction("a:do")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	if resp := d.Send(d.Bare(), "POST", "/act", "x", "Authorization", "Bearer "+d.token()); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, resp.Text)
	}
	if j.want(t, "JRN-1", "a:do begun", "a:do ok status 200"); j.All()[0].Door != audit.API {
		t.Errorf("JRN-1: %+v", j.All()[0])
	}
}

// TestWithout_JRN_11 is JRN-11: without a journal an action is an event of Config.Audit, before it is done, and nothing else is.
func TestWithout_JRN_11(t *testing.T) {
	k := newCluster(t)
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	var before int
	k.Mux("").Handle("/act", k.RP.RequireAction("a:do")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before = len(k.Events.Named(audit.ActionPerformed)); audit.DeedFrom(r.Context()) != "" {
			t.Error("JRN-11: there is a deed")
		}
		w.WriteHeader(500)
	})))
	k.Send(c, "POST", "/act", "x")
	k.Send(c, "POST", "/open", "x")
	if all := k.Events.Named(audit.ActionPerformed); before != 1 || len(all) != 1 || all[0].Outcome != "ok" || all[0].Detail+all[0].Deed != "" {
		t.Errorf("JRN-11: %d before, %+v", before, all)
	}
}

// TestNilJournal_JRN_12 is JRN-12.
func TestNilJournal_JRN_12(t *testing.T) {
	c := newCluster(t).Config
	c.Journal, c.Revocations = (*journal)(nil), &memstore.Revocations{}
	if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "Journal") {
		t.Errorf("JRN-12: %v", err)
	}
}

// TestErasedMeanwhile_ERA_4 is ERA-4: a deed that ends after its account was erased has the pseudonym on record, and a site
// that has a journal alone is told of its events.
func TestErasedMeanwhile_ERA_4(t *testing.T) {
	k, j, c := newJournalBench(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	k.Mux("").Handle("POST /slow", k.RP.RequireAction("a:do")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-goOn
	})))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := c.Post(k.URL+"/slow", "text/plain", strings.NewReader("x")); err == nil {
			resp.Body.Close()
		}
	}()
	<-began
	user := j.All()[0].UserID
	receipt, err := k.RP.EraseUser(t.Context(), "", user)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	close(goOn)
	<-done
	all := j.All()
	if end := all[len(all)-1]; len(all) != 2 || end.Name != audit.ActionPerformed || end.UserID != receipt.Pseudonym || end.RemoteAddr != "" {
		t.Errorf("ERA-4: the end of the deed is %+v", end)
	}
	if !slices.ContainsFunc(receipt.Stores, func(s stores.Erased) bool {
		return slices.ContainsFunc(s.Left, func(l stores.Left) bool { return l.What == "events" })
	}) {
		t.Errorf("ERA-3: the receipt does not say that events are left: %+v", receipt.Stores)
	}
}
