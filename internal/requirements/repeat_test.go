package requirements_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestCallbackAgainLater_TXN_18: a browser that asks again while it cannot be said whether its
// session holds, is told to retry, and keeps what it needs for that.
func TestCallbackAgainLater_TXN_18(t *testing.T) {
	for _, test := range []struct {
		name   string
		why    error
		reason problem.Reason
	}{
		{"paused", problem.Paused, problem.Paused},
		{"store", errors.New("out of order"), problem.StoreFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				own := &checkedScenario{}
				b := newCluster(t, func(b *bench, c *authagent.Config) {
					own.Scenario, c.Scenario = c.Scenario, own
				})
				c := b.Browser()
				n := &navigation{b: b, callback: b.Authorize(b.Agent, b.Begin(c, ""))}
				n.cookies = b.Cookies(c)
				n.open(t.Context(), "") // the answer does not reach the browser
				own.end = test.why
				resp := b.Get(c, n.callback)
				if resp.Reason() != test.reason || resp.Header.Get("Retry-After") == "" {
					t.Fatalf("%d %s", resp.StatusCode, resp.Text)
				}
				own.end = nil
				if resp := b.Get(c, n.callback); resp.StatusCode != http.StatusSeeOther || b.Me(c) == nil {
					t.Errorf("when it holds again: %d %s", resp.StatusCode, resp.Text)
				}
			})
		})
	}
	t.Run("sessions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			own := &failingStart{}
			b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Own = own })
			c := b.Browser()
			n := &navigation{b: b, callback: b.Authorize(b.Agent, b.Begin(c, ""))}
			n.cookies = b.Cookies(c)
			n.open(t.Context(), "")
			own.fails.Store(true)
			if resp := b.Get(c, n.callback); resp.Reason() != problem.StoreFailed || resp.Header.Get("Retry-After") == "" {
				t.Fatalf("%d %s", resp.StatusCode, resp.Text)
			}
			own.fails.Store(false)
			if resp := b.Get(c, n.callback); resp.StatusCode != http.StatusSeeOther || b.Me(c) == nil {
				t.Errorf("when sessions can be started again: %d %s", resp.StatusCode, resp.Text)
			}
		})
	})
}

type failingStart struct {
	mapSessions
	fails atomic.Bool
}

func (f *failingStart) Start(w http.ResponseWriter, r *http.Request, s *authagent.Session) error {
	if f.fails.Load() {
		return errors.New("out of order")
	}
	return f.mapSessions.Start(w, r, s)
}

// narrowing is a scenario that takes an action away in place, as it may do, while a switch is on.
type narrowing struct {
	ownScenario
	on atomic.Bool
}

func (s *narrowing) CheckSession(_ context.Context, session *authagent.Session) error {
	if s.on.Load() {
		session.Actions = slices.DeleteFunc(session.Actions, func(name string) bool { return name == "a" })
	}
	return nil
}

// TestCallbackAgainIsWhole_TXN_18: what a check takes away for one request is not missing from the
// session that is given again.
func TestCallbackAgainIsWhole_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &narrowing{}
		own.signIn = func(context.Context, *authagent.SignIn) (authagent.Principal, error) {
			return authagent.Principal{UserID: "u", Access: authagent.AccessRead, Actions: []string{"a", "b"}}, nil
		}
		b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Scenario = own })
		n := newNavigation(b)
		n.open(t.Context(), "")
		own.on.Store(true)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, _, s := n.open(t.Context(), ""); s == nil || !slices.Equal(s.Actions, []string{"b"}) {
					t.Errorf("session %+v", s)
				}
			})
		}
		wg.Wait()
		own.on.Store(false)
		if _, _, s := n.open(t.Context(), ""); s == nil || !slices.Equal(s.Actions, []string{"a", "b"}) {
			t.Errorf("session %+v", s)
		}
	})
}

// TestCallbackAgainBesideAnother_TXN_18: a session that is given again takes no other's place, also
// not that of one at another relying party of this client.
func TestCallbackAgainBesideAnother_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t)
		b.Instance("second", func(c *authagent.Config) { c.Scenario = authagent.FreshProfile(&memstore.Profiles{}) })
		first, second := b.Mux(""), b.Mux("second")
		n := newNavigation(b)
		n.open(t.Context(), "") // the answer does not reach the browser
		b.SetMux("", second)
		other := b.Browser()
		b.MustSignIn(other, b.Agent)
		b.SetMux("", first)
		moved := &navigation{b, n.callback, n.cookies + "; " + b.Cookies(other)}
		_, reason, s := moved.open(t.Context(), "")
		b.SetMux("", second)
		if s != nil || reason != "state_used" || b.Me(other) == nil {
			t.Errorf("%s %v", reason, s)
		}
	})
}

// TestCallbackAgainIdle_TXN_18: what has been idle for longer than is allowed is not given again.
func TestCallbackAgainIdle_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Idle = 20 * time.Second })
		n := newNavigation(b)
		n.open(t.Context(), "")
		time.Sleep(40 * time.Second)
		if status, reason, s := n.open(t.Context(), ""); s != nil {
			t.Errorf("idle and given again: %d %s %v", status, reason, s)
		}
	})
}

// TestCallbackAgainPanics_TXN_18: the site's code panics when it is asked whether the session holds.
func TestCallbackAgainPanics_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &panicking{}
		b := newCluster(t, func(_ *bench, c *authagent.Config) { own.Scenario, c.Scenario = c.Scenario, own })
		n := newNavigation(b)
		n.open(t.Context(), "")
		own.on.Store(true)
		defer func() {
			if recover() != nil {
				t.Error("the panic goes on")
			}
		}()
		if status, reason, s := n.open(t.Context(), ""); s != nil || reason != problem.StoreFailed {
			t.Errorf("%d %s %v", status, reason, s)
		}
	})
}

type panicking struct {
	authagent.Scenario
	on atomic.Bool
}

func (s *panicking) CheckSession(ctx context.Context, session *authagent.Session) error {
	if s.on.Load() {
		panic("no")
	}
	return s.Scenario.CheckSession(ctx, session)
}

// TestCallbackAgainOverEnded_TXN_18: the cookie of the session that the sign-in has ended is in
// nobody's way, and neither is one at another relying party of this client that it has ended.
func TestCallbackAgainOverEnded_TXN_18(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newCluster(t)
			b.Instance("second", func(c *authagent.Config) { c.Scenario = authagent.FreshProfile(&memstore.Profiles{}) })
			first, second := b.Mux(""), b.Mux("second")
			c := b.Browser()
			if elsewhere {
				b.SetMux("", second)
			}
			b.MustSignIn(c, b.Agent)
			b.SetMux("", first)
			n := &navigation{b: b, callback: b.Authorize(b.Agent, b.Begin(c, ""))}
			n.cookies = b.Cookies(c)
			n.open(t.Context(), "") // the answer does not reach the browser
			if status, reason, s := n.open(t.Context(), ""); s == nil {
				t.Errorf("elsewhere %t: %d %s", elsewhere, status, reason)
			}
		})
	}
}

// TestCallbackAgainBehindAttach_TXN_18: what an Attach around everything has found out before the
// sign-in ended the browser's former session, is not what counts after it.
func TestCallbackAgainBehindAttach_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t)
		outer := http.NewServeMux()
		outer.Handle("/", b.RP.Attach(b.Mux("")))
		b.SetMux("", outer)
		c := b.Browser()
		b.MustSignIn(c, b.Agent)
		n := &navigation{b: b, callback: b.Authorize(b.Agent, b.Begin(c, ""))}
		n.cookies = b.Cookies(c)
		b.AS.Wrap("/token", slowly(400*time.Millisecond))
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if status, reason, s := n.open(t.Context(), ""); s == nil {
					t.Errorf("%d %s", status, reason)
				}
			})
		}
		wg.Wait()
	})
}

// TestCallbackAgainStopped_TXN_18: whatever ends a session, it is not given again.
func TestCallbackAgainStopped_TXN_18(t *testing.T) {
	for name, stop := range map[string]func(*bench, *authagent.Session) error{
		"user":  func(b *bench, s *authagent.Session) error { return b.RP.EndUserSessions(b.T.Context(), s.UserID) },
		"agent": func(b *bench, s *authagent.Session) error { return b.RP.EndAgentSessions(b.T.Context(), s.Agent) },
		"all":   func(b *bench, _ *authagent.Session) error { return b.RP.EndAllSessions(b.T.Context()) },
		"disabled": func(b *bench, s *authagent.Session) error {
			account, _ := b.Users.Get(s.UserID)
			account.Disabled = true
			b.Users.Put(account)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t)
				n := newNavigation(b)
				_, _, s := n.open(t.Context(), "")
				if err := stop(b, s); err != nil {
					t.Fatal(err)
				}
				if status, reason, s := n.open(t.Context(), ""); s != nil || reason != "state_used" {
					t.Errorf("%d %s %v", status, reason, s)
				}
			})
		})
	}
}

// TestCheckInPlace: what a check takes away for one request is neither missing from what the
// site's own sessions keep, nor taken from a request that goes on.
func TestCheckInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &narrowing{}
		own.signIn = func(context.Context, *authagent.SignIn) (authagent.Principal, error) {
			return authagent.Principal{UserID: "u", Access: authagent.AccessRead, Actions: []string{"a", "b"}}, nil
		}
		b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Scenario, c.Session.Own = own, &mapSessions{} })
		c := b.Browser()
		b.MustSignIn(c, b.Agent)
		own.on.Store(true)
		if s := b.Me(c); s == nil || !slices.Equal(s.Actions, []string{"b"}) {
			t.Errorf("session %+v", s)
		}
		own.on.Store(false)
		if s := b.Me(c); s == nil || !slices.Equal(s.Actions, []string{"a", "b"}) {
			t.Errorf("session %+v", s)
		}
	})
}

// TestCallbackAgainConnect_TXN_18: a connection that is asked for again is asked for by the same
// human, and signs nobody in.
func TestCallbackAgainConnect_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owners := grants.OwnerApproval(&memstore.Grants{})
		owners.Logger = discardLog()
		b := newCluster(t, func(b *bench, c *authagent.Config) {
			c.Human, c.Scenario = testsite.Human, authagent.FullAccount(b.Users, owners)
		})
		b.Mux("").Handle("/connect", b.RP.ConnectHandler())
		c := b.Browser()
		b.SignInPerson(c, b.AliceID)
		n := &navigation{b: b, callback: b.Authorize(b.Agent, b.Do(c, "POST", "/connect").Header.Get("Location"))}
		n.cookies = b.Cookies(c)
		for range 2 {
			if status, reason, s := n.open(t.Context(), ""); status != http.StatusSeeOther || s != nil {
				t.Errorf("%d %s %v", status, reason, s)
			}
		}
		b.SignInPerson(c, b.Users.Add("bob@example.com", "Bob"))
		n.cookies = b.Cookies(c)
		if status, reason, s := n.open(t.Context(), ""); reason != problem.HumanRequired || s != nil {
			t.Errorf("by another human: %d %s %v", status, reason, s)
		}
		if got := b.grants("authorization_code"); got != 1 {
			t.Errorf("%d token requests", got)
		}
	})
}
