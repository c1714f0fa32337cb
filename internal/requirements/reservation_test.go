package requirements_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// A reserver is an Approver that approves everything, for an amount, and notes what it is asked
// and how each action has ended.
type reserver struct {
	asked    []action.Request
	sessions []string // in the contexts of the questions
	outcomes []action.Outcome
	err      error // of recording an outcome
}

func (a *reserver) Approve(ctx context.Context, r action.Request) (*action.Reservation, string, error) {
	a.asked = append(a.asked, r)
	if s, ok := authagent.FromContext(ctx); ok {
		a.sessions = append(a.sessions, s.ID)
	}
	return &action.Reservation{
		ID: "r1", Request: r, Amount: audit.Amount{Value: 1250, Currency: "USD"},
		Record: func(ctx context.Context, outcome action.Outcome) (action.Outcome, error) {
			a.outcomes = append(a.outcomes, outcome)
			return outcome, errors.Join(a.err, ctx.Err())
		},
	}, "", nil
}

// TestReservationEnds_RES_8 is RES-8: how a handler ends says what becomes of what was reserved for
// it, whatever it answers and whether its client is still there.
func TestReservationEnds_RES_8(t *testing.T) {
	for name, test := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request)
		want   action.Outcome
	}{
		"returns":        {func(http.ResponseWriter, *http.Request) {}, action.Performed},
		"answers 500":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, action.Performed},
		"nothing done":   {func(_ http.ResponseWriter, r *http.Request) { action.ReservationFrom(r.Context()).NothingDone() }, action.NothingDone},
		"in transaction": {func(_ http.ResponseWriter, r *http.Request) { action.ReservationFrom(r.Context()).UseInTransaction() }, action.InTransaction},
		"both": {func(_ http.ResponseWriter, r *http.Request) {
			action.ReservationFrom(r.Context()).UseInTransaction()
			action.ReservationFrom(r.Context()).NothingDone()
		}, action.InTransaction},
		"panics": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, action.Unknown},
		"panics after nothing": {func(_ http.ResponseWriter, r *http.Request) {
			action.ReservationFrom(r.Context()).NothingDone()
			panic(http.ErrAbortHandler)
		}, action.Unknown},
		"panics in transaction": {func(_ http.ResponseWriter, r *http.Request) {
			action.ReservationFrom(r.Context()).UseInTransaction()
			panic(http.ErrAbortHandler)
		}, action.InTransaction},
		"ends it itself": {func(_ http.ResponseWriter, r *http.Request) {
			action.ReservationFrom(r.Context()).NothingDone()
			action.ReservationFrom(r.Context()).End(r.Context())
			panic(http.ErrAbortHandler)
		}, action.NothingDone},
		"its client is gone": {func(_ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			*r = *r.WithContext(ctx)
		}, action.Performed},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCluster(t)
			approver := &reserver{}
			var found *action.Reservation
			k.Mux("").Handle("POST /pay", k.RP.RequireApproval("a:do", approver)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				found = action.ReservationFrom(r.Context())
				test.handle(w, r)
			})))
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			resp, err := c.Post(k.URL+"/pay", "text/plain", strings.NewReader("x"))
			if err == nil {
				resp.Body.Close()
			}
			if diff := cmp.Diff([]action.Outcome{test.want}, approver.outcomes); diff != "" || found == nil || found.ID != "r1" {
				t.Errorf("%+v: %s", found, diff)
			}
			events := k.Events.Named(audit.ActionPerformed)
			if len(events) != 1 || events[0].Amount != (audit.Amount{Value: 1250, Currency: "USD"}) {
				t.Errorf("events %+v", events)
			}
		})
	}
}

// TestOutcomeLost_RES_9 is RES-9: an outcome that cannot be recorded is in the log.
func TestOutcomeLost_RES_9(t *testing.T) {
	k := newCluster(t)
	k.handle("POST /pay", k.RP.RequireApproval("a:do", &reserver{err: errors.New("connection refused")}))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	if resp := k.Send(c, "POST", "/pay", "x"); resp.StatusCode != 200 || !strings.Contains(k.Log.String(), "it counts as unknown") {
		t.Errorf("%d, log %s", resp.StatusCode, k.Log.String())
	}
}

// TestPersonReserves_RES_10 is RES-10: a person's request has no reservation, and what a handler
// says of it does nothing.
func TestPersonReserves_RES_10(t *testing.T) {
	k := newCluster(t, func(_ *bench, c *authagent.Config) {
		c.Human = func(*http.Request) (string, error) { return "alice", nil }
	})
	ran := false
	k.Mux("").Handle("POST /pay", k.RP.RequireApproval("a:do", &reserver{})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reserved := action.ReservationFrom(r.Context())
		reserved.NothingDone()
		reserved.UseInTransaction()
		ran = reserved == nil && reserved.End(r.Context()) == nil && reserved.EndUnknown(r.Context()) == nil && reserved.Cost() == audit.Amount{}
	})))
	if resp := k.Send(k.Browser(), "POST", "/pay", "x"); resp.StatusCode != 200 || !ran {
		t.Errorf("%d %s", resp.StatusCode, resp.Text)
	}
}

// TestApprovePayload_RES_11 is RES-11: what is no HTTP request is approved like one, byte for byte,
// and for a session that holds.
func TestApprovePayload_RES_11(t *testing.T) {
	k := newCluster(t)
	approver := &reserver{}
	var s *authagent.Session
	k.Mux("").Handle("GET /whoami", k.RP.RequireAgent(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s, _ = authagent.FromContext(r.Context()) })))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	k.Send(c, "GET", "/whoami", "")
	ctx := t.Context()
	digest := func(name, payload string) string {
		t.Helper()
		reserved, _, err := k.RP.Approve(ctx, s, name, []byte(payload), approver)
		if err != nil || reserved.End(ctx) != nil {
			t.Fatal(err)
		}
		return approver.asked[len(approver.asked)-1].Digest
	}
	first := digest("tool:pay", `{"amount": 1}`)
	got := approver.asked[0]
	if got.Agent != s.Agent || got.UserID != s.UserID || got.SessionID != s.ID || got.GrantID != s.GrantID || got.Action != "tool:pay" ||
		string(got.Body) != `{"amount": 1}` || got.Method+got.Host+got.Target != "" || got.HTTP(ctx) != nil || approver.sessions[0] != s.ID {
		t.Errorf("asked for %+v, sessions %q", got, approver.sessions)
	}
	if digest("tool:pay", `{"amount": 1}`) != first {
		t.Error("the same payload has another digest")
	}
	for name, other := range map[string]string{"payload": digest("tool:pay", `{"amount":1}`), "action": digest("tool:buy", `{"amount": 1}`)} {
		if other == first {
			t.Errorf("another %s has the same digest", name)
		}
	}
	asked := len(approver.asked)
	refused := func(name string, s *authagent.Session, action, payload string, want problem.Reason) {
		t.Helper()
		reserved, _, err := k.RP.Approve(ctx, s, action, []byte(payload), approver)
		if reserved != nil || !errors.Is(err, want) || len(approver.asked) != asked {
			t.Errorf("%s: %v, want %s; asked %d times", name, err, want, len(approver.asked)-asked)
		}
	}
	refused("no session", nil, "tool:pay", "x", problem.StoreFailed)
	refused("no name", s, "tool pay", "x", problem.StoreFailed)
	refused("too long", s, "tool:pay", strings.Repeat("x", 16<<10+1), problem.Reason("request_too_long"))
	other := *s
	other.Scenario = "FreshProfile"
	refused("of another scenario", &other, "tool:pay", "x", problem.NoSession)
	if err := k.RP.EndSession(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	refused("ended", s, "tool:pay", "x", problem.NoSession)
}

// TestApprovePayloadAccess_RES_12 is RES-12: an agent without access to a user's data has nobody to ask.
func TestApprovePayloadAccess_RES_12(t *testing.T) {
	k := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) })
	var s *authagent.Session
	k.Mux("").Handle("GET /whoami", k.RP.RequireAgent(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s, _ = authagent.FromContext(r.Context()) })))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	k.Send(c, "GET", "/whoami", "")
	if _, _, err := k.RP.Approve(t.Context(), s, "tool:pay", nil, &reserver{}); !errors.Is(err, problem.AccessTooLow) {
		t.Error(err)
	}
}
