package requirements_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
)

// newTrail returns a site whose clients say what address they have, and are not
// limited: that would be another reason.
func newTrail(t *testing.T) *bench {
	return newCluster(t, func(_ *bench, c *authagent.Config) {
		c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Client") }
		c.Limits.Callbacks.N = -1
	})
}

// counts returns the events of one name with their numbers and addresses.
func (k *bench) counts(name audit.Name) string {
	var all []string
	for _, e := range k.Events.Named(name) {
		all = append(all, fmt.Sprintf("%s×%d", e.RemoteAddr, e.Count))
	}
	return strings.Join(all, " ")
}

// TestFlood: a thousand refusals of one kind are a thousand records in the log, and
// two events.
func TestFlood(t *testing.T) {
	const forged = "/auth/agent/callback?code=a&state=b"
	for _, test := range []struct {
		name   string
		client func(i int) string
		path   string
		event  audit.Name
		want   string
	}{
		{"LOG-7 one address", func(int) string { return "203.0.113.7" }, forged, audit.LoginFailed, "203.0.113.7×1 203.0.113.7×999"},
		{
			"LOG-7 one network", func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }, forged, audit.LoginFailed,
			"2001:db8::×1 2001:db8::3e7×999",
		},
		{
			"LOG-7 one agent, wherever it is", func(i int) string { return fmt.Sprintf("203.0.%d.7", i%250) }, "/humans", audit.PermissionDenied,
			"203.0.0.7×1 203.0.249.7×999",
		},
		{"LOG-7 no address", func(int) string { return "" }, forged, audit.LoginFailed, "×1 ×999"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newTrail(t)
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				for i := range 1000 {
					k.Get(c, test.path, "X-Client", test.client(i))
				}
				first := k.Events.Named(test.event)
				if len(first) != 1 || first[0].Count != 1 {
					t.Fatalf("LOG-7: at once %+v", first)
				}
				ids, logged := make(map[string]bool), k.Logged(test.event)
				for _, e := range logged {
					ids[e.RequestID] = true
				}
				if len(ids) != 1000 {
					t.Errorf("LOG-7: %d request IDs in the log", len(ids))
				}
				began := time.Now()
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := k.counts(test.event); got != test.want {
					t.Fatalf("LOG-7: %s, want %s", got, test.want)
				}
				all := k.Events.Named(test.event)
				if last := all[1]; last.RequestID != logged[999].RequestID || last.Detail == "" || last.Reason != first[0].Reason || last.Time.Before(began) {
					t.Errorf("LOG-7: %+v, the last is %+v", last, logged[999])
				}
				if attributes := all[1].LogValue().Group(); attributes[len(attributes)-1].String() != "count=999" {
					t.Errorf("LOG-7: logged as %v", attributes)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := k.counts(test.event); got != test.want {
					t.Errorf("LOG-7: %s an hour later, want %s", got, test.want)
				}
			})
		})
	}
}

// TestFloodHidesNobody: while the refusals of one are counted, those of others, and of
// other kinds, are events of their own.
func TestFloodHidesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrail(t)
		agents := []*authagenttest.Agent{k.Agent, k.AS.AddAgent(authagenttest.Agent{ID: "other", Email: "alice@example.com"})}
		var browsers []*http.Client
		for _, agent := range agents {
			c := k.Browser()
			k.MustSignIn(c, agent)
			browsers = append(browsers, c)
		}
		stranger := k.Browser()
		flood := func() {
			for range 10 {
				k.Get(stranger, "/auth/agent/callback?code=a&state=b", "X-Client", "203.0.113.7")
				k.Get(browsers[0], "/humans", "X-Client", "203.0.113.7")
			}
		}
		for _, test := range []struct {
			name    string
			c       *http.Client
			path    string
			address string
			event   audit.Name
		}{
			{"LOG-8 another address", stranger, "/auth/agent/callback?code=a&state=b", "203.0.113.8", audit.LoginFailed},
			{"LOG-8 another network", stranger, "/auth/agent/callback?code=a&state=b", "2001:db8:0:1::7", audit.LoginFailed},
			{"LOG-8 another reason", stranger, "/auth/agent/callback", "203.0.113.7", audit.LoginFailed},
			{"LOG-8 another agent", browsers[1], "/humans", "203.0.113.7", audit.PermissionDenied},
			{"LOG-8 another route", browsers[0], "/auth/agent/logout", "203.0.113.7", audit.LogoutFailed},
		} {
			flood()
			before := len(k.Events.Named(test.event))
			k.Get(test.c, test.path, "X-Client", test.address)
			all := k.Events.Named(test.event)
			if len(all) != before+1 || all[before].RemoteAddr != test.address || all[before].Count != 1 {
				t.Errorf("%s: %+v", test.name, all[before:])
			}
		}
	})
}

// TestFloodOfNetworks: a flood from more networks than are held hides nobody either.
func TestFloodOfNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrail(t)
		c, sum := k.Bare(), 0
		const networks = 10_000
		for i := range networks {
			k.Get(c, "/auth/agent/callback?code=a&state=b", "X-Client", fmt.Sprintf("2001:db8:0:%x::1", i))
		}
		if got := len(k.Events.Named(audit.LoginFailed)); got != networks {
			t.Errorf("LOG-8: %d events of %d networks", got, networks)
		}
		for range 3 {
			k.Get(c, "/auth/agent/callback?code=a&state=b", "X-Client", "203.0.113.8")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, e := range k.Events.Named(audit.LoginFailed) {
			if e.RemoteAddr == "203.0.113.8" {
				sum += e.Count
			}
		}
		if sum != 3 {
			t.Errorf("LOG-8: %d refusals of another source", sum)
		}
	})
}

// TestNotCounted: what was done, what waits and what has ended is an event each.
func TestNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newGuardSite(t, authagent.Principal{Access: authagent.AccessFull}, true)
		const times = 5
		for range times {
			c := s.Browser()
			s.MustSignIn(c, s.Agent)
			s.Do(c, "POST", "/action")
			s.Do(c, "POST", "/approval")
			s.Do(c, "POST", "/auth/agent/logout")
		}
		for _, name := range []audit.Name{
			audit.LoginStarted, audit.LoginSucceeded, audit.ActionPerformed, audit.ActionPending,
			audit.SessionEnded,
		} {
			all := s.Events.Named(name)
			if len(all) != times {
				t.Errorf("LOG-9 %s: %d events, want %d", name, len(all), times)
			}
			for _, e := range all {
				if e.Count != 1 {
					t.Errorf("LOG-9 %s: Count %d", name, e.Count)
				}
			}
		}
	})
}

// TestCountedAtShutdown: what is being counted when the site stops, or forgets whom it
// is about, is passed on.
func TestCountedAtShutdown(t *testing.T) {
	for name, end := range map[string]func(k *bench, ctx context.Context) error{
		"LOG-9 Shutdown": func(k *bench, ctx context.Context) error { return k.RP.Shutdown(ctx) },
		"LOG-9 EraseUser": func(k *bench, ctx context.Context) error {
			_, _ = k.RP.EraseUser(ctx, "", k.AliceID) // not all of these stores erase
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newTrail(t)
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				for range 10 {
					k.Get(c, "/humans", "X-Client", "203.0.113.7")
				}
				if err := end(k, t.Context()); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				want := "203.0.113.7×1 203.0.113.7×9"
				if name == "LOG-9 EraseUser" { // ERA-4: what was on its way names nobody
					want = "203.0.113.7×1 ×9"
				}
				if got := k.counts(audit.PermissionDenied); got != want {
					t.Errorf("LOG-9: %s, want %s", got, want)
				}
				if name != "LOG-9 Shutdown" {
					return
				}
				for range 2 { // of stragglers nobody would report the number
					k.Get(c, "/humans", "X-Client", "203.0.113.7")
				}
				if got := k.counts(audit.PermissionDenied); !strings.HasSuffix(got, "×9 203.0.113.7×1 203.0.113.7×1") {
					t.Errorf("LOG-9 afterwards: %s", got)
				}
			})
		})
	}
}
