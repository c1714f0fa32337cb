package requirements_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestReach_MCP_5: what is no HTTP request can ask whether a session still holds and has access, by the same rules as
// RequireAccess. What is refused is recorded.
func TestReach_MCP_5(t *testing.T) {
	session := func(d *doorBench, token string) *authagent.Session {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		s, err := d.RP.SessionByToken(r)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ctx := context.Background()
	d := newDoorBench(t)
	full := session(d, d.token())
	read := *full
	read.Access = authagent.AccessRead
	for _, test := range []struct {
		s     *authagent.Session
		least authagent.Access
		want  error
	}{
		{full, authagent.AccessFull, nil},
		{full, authagent.AccessNone, nil},
		{&read, authagent.AccessRead, nil},
		{&read, authagent.AccessFull, problem.AccessTooLow},
		{nil, authagent.AccessNone, problem.NoSession},
	} {
		if err := d.RP.Reach(ctx, test.s, test.least); !errors.Is(err, test.want) {
			t.Errorf("%+v, %s: %v", test.s, test.least, err)
		}
	}
	if events := d.Events.Named(audit.PermissionDenied); len(events) != 1 || events[0].Reason != problem.AccessTooLow || events[0].Door != audit.API {
		t.Errorf("events %+v", events)
	}
	if err := d.RP.EndSession(ctx, full.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.RP.Reach(ctx, full, authagent.AccessNone); !errors.Is(err, problem.NoSession) {
		t.Errorf("a session that has ended: %v", err)
	}

	d = newDoorBench(t, func(_ *bench, c *authagent.Config) {
		c.Permissions = map[string]authagent.Permission{"r": {Access: authagent.AccessRead}, "w": {Access: authagent.AccessFull}}
	})
	s := session(d, d.token(func(a *authagenttest.APIToken) { a.Scopes = []string{"r"} }))
	if err := d.RP.Reach(ctx, s, authagent.AccessRead); err != nil {
		t.Error(err)
	}
	if err := d.RP.Reach(ctx, s, authagent.AccessFull); !errors.Is(err, problem.Reason("insufficient_scope")) {
		t.Errorf("with too few scopes: %v", err)
	}
}

// TestReachPanics_NET_15: what asks outside of an HTTP request, such as a tool, gets an error where the site's code panics. There,
// nobody else would catch it.
func TestReachPanics_NET_15(t *testing.T) {
	var broken bool
	d := newDoorBench(t, func(_ *bench, c *authagent.Config) {
		c.Revocations = panickyRevocations{&memstore.Revocations{}, func(string) {
			if broken {
				panic("nil map")
			}
		}}
	})
	r := httptest.NewRequest("POST", "/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+d.token())
	s, err := d.RP.SessionByToken(r)
	if err != nil {
		t.Fatal(err)
	}
	broken = true
	if err := d.RP.Reach(t.Context(), s, authagent.AccessRead); !errors.Is(err, problem.StoreFailed) {
		t.Errorf("Reach: %v", err)
	}
	if err := d.RP.Perform(t.Context(), s, "orders:create", func(context.Context) error { return nil }); !errors.Is(err, problem.StoreFailed) {
		t.Errorf("Perform: %v", err)
	}
}
