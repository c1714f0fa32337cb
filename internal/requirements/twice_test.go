package requirements_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// slowly has the server take its time for each code.
func slowly(d time.Duration) wrapper {
	return onCode(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(d)
			next.ServeHTTP(w, r)
		})
	})
}

// A navigation is one browser's navigation to the callback. What the browser gets are
// cookies of its own, as it shows one of several answers.
type navigation struct {
	b        *bench
	callback string
	cookies  string // of the browser
}

func newNavigation(b *bench) *navigation {
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	return &navigation{b, callback, b.Cookies(c)}
}

// open returns the answer, and the session of a browser that takes its cookies.
func (n *navigation) open(ctx context.Context, instance string) (status int, reason problem.Reason, s *authagent.Session) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, n.callback, nil)
	r.Header.Set("Cookie", n.cookies)
	w := httptest.NewRecorder()
	n.b.Mux(instance).ServeHTTP(w, r)
	resp := testsite.Read(n.b.T, w.Result())
	c := n.b.Browser()
	for _, cookie := range w.Result().Cookies() {
		if cookie.MaxAge >= 0 {
			n.b.SetCookie(c, cookie.Name, cookie.Value)
		}
	}
	return resp.StatusCode, resp.Reason(), n.b.Me(c)
}

// TestCallbackTwice_TXN_18: a browser that navigates to the callback once more, while the
// first is under way or within a minute, gets the same session, whatever keeps it, and the
// code is sent once.
func TestCallbackTwice_TXN_18(t *testing.T) {
	for name, change := range map[string]func(*bench, *authagent.Config){
		"cookie": func(*bench, *authagent.Config) {},
		"store": func(_ *bench, c *authagent.Config) {
			c.Session.Store = sessions.NewFilesystemStore(t.TempDir(), []byte("0123456789abcdef0123456789abcdef"))
		},
		"own": func(_ *bench, c *authagent.Config) { c.Session.Own = &mapSessions{} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t, change)
				b.AS.Wrap("/token", slowly(400*time.Millisecond))
				n := newNavigation(b)
				var ids [3]string
				var wg sync.WaitGroup
				for i := range ids {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * 100 * time.Millisecond)
						status, reason, s := n.open(t.Context(), "")
						if status != http.StatusSeeOther || s == nil {
							t.Errorf("navigation %d: %d %s, session %v", i, status, reason, s)
							return
						}
						ids[i] = s.ID
					})
				}
				wg.Wait()
				if ids[0] != ids[1] || ids[0] != ids[2] {
					t.Errorf("sessions %q", ids)
				}
				time.Sleep(58 * time.Second)
				if status, reason, s := n.open(t.Context(), ""); s == nil || s.ID != ids[0] {
					t.Errorf("within a minute: %d %s, %v", status, reason, s)
				}
				if got, events := b.grants("authorization_code"), b.Events.Named(audit.LoginSucceeded); got != 1 || len(events) != 1 {
					t.Errorf("%d token requests, events %v", got, events)
				}
				time.Sleep(3 * time.Second)
				if status, reason, s := n.open(t.Context(), ""); s != nil || reason != "state_used" {
					t.Errorf("after a minute: %d %s, %v", status, reason, s)
				}
			})
		})
	}
}

// TestCallbackTwiceRefused_TXN_18: a refusal is repeated as it was.
func TestCallbackTwiceRefused_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t, func(_ *bench, c *authagent.Config) {
			c.Scenario = authagent.FullAccount(&memstore.Users{}, authagent.InsecureTrustEmail)
		})
		b.AS.Wrap("/token", slowly(400*time.Millisecond))
		n := newNavigation(b)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if status, reason, s := n.open(t.Context(), ""); reason != problem.NoAccount || s != nil {
					t.Errorf("%d %s, %v", status, reason, s)
				}
			})
		}
		wg.Wait()
		if got := b.grants("authorization_code"); got != 1 {
			t.Errorf("%d token requests", got)
		}
	})
}

// TestCallbackTwiceEnded_TXN_18: a session that has ended is not given again, and neither is
// one whose browser has another by now.
func TestCallbackTwiceEnded_TXN_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t)
		n := newNavigation(b)
		n.open(t.Context(), "")

		other := b.Browser()
		b.MustSignIn(other, b.Agent)
		moved := &navigation{b, n.callback, n.cookies + "; " + b.Cookies(other)}
		if status, reason, s := moved.open(t.Context(), ""); s != nil || reason != "state_used" {
			t.Errorf("in a browser with another session: %d %s, %v", status, reason, s)
		}
		n = newNavigation(b)
		if _, _, s := n.open(t.Context(), ""); s == nil || b.RP.EndSession(t.Context(), s.ID) != nil {
			t.Fatal(s)
		}
		if status, reason, s := n.open(t.Context(), ""); s != nil || reason != "state_used" {
			t.Errorf("after its end: %d %s, %v", status, reason, s)
		}
	})
}

// TestCallbackCancelled_TXN_17: a browser that goes away costs nobody the sign-in.
func TestCallbackCancelled_TXN_17(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t)
		b.AS.Wrap("/token", slowly(400*time.Millisecond))
		n := newNavigation(b)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		go n.open(ctx, "")
		time.Sleep(200 * time.Millisecond)
		if status, reason, s := n.open(t.Context(), ""); status != http.StatusSeeOther || s == nil {
			t.Errorf("%d %s, %v", status, reason, s)
		}
		if got := b.grants("authorization_code"); got != 1 {
			t.Errorf("%d token requests", got)
		}
	})
}

// TestCallbackIsBounded_TXN_17: what goes on without a browser ends.
func TestCallbackIsBounded_TXN_17(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		b := newCluster(t, func(b *bench, c *authagent.Config) {
			c.Scenario = authagent.FullAccount(hangingUsers{b.Users, block}, authagent.InsecureTrustEmail)
		})
		n := newNavigation(b)
		began := time.Now()
		status, reason, s := n.open(t.Context(), "")
		if took := time.Since(began); s != nil || reason != problem.StoreFailed || took > time.Minute+time.Second {
			t.Errorf("%d %s, %v after %v", status, reason, s, took)
		}
		close(block)
	})
}

// hangingUsers find nobody until their context ends.
type hangingUsers struct {
	*memstore.Users
	block chan struct{}
}

func (u hangingUsers) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	select {
	case <-ctx.Done():
		return authagent.User{}, ctx.Err()
	case <-u.block:
		return u.Users.UserByEmail(ctx, email)
	}
}

// TestCallbackElsewhere_TXN_19: another instance does not say that the sign-in has failed.
func TestCallbackElsewhere_TXN_19(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t, func(_ *bench, c *authagent.Config) { c.States = &memstore.States{} })
		b.Instance("second")
		b.AS.Wrap("/token", slowly(400*time.Millisecond))
		n := newNavigation(b)
		go n.open(t.Context(), "")
		time.Sleep(100 * time.Millisecond)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, n.callback, nil)
		r.Header.Set("Cookie", n.cookies)
		w := httptest.NewRecorder()
		b.Mux("second").ServeHTTP(w, r)
		if resp := testsite.Read(b.T, w.Result()); resp.Reason() != "sign_in_under_way" || w.Header().Get("Retry-After") == "" || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s %v", fmt.Sprint(w.Code, resp.Text), w.Header())
		}
		if status, reason, s := n.open(t.Context(), ""); status != http.StatusSeeOther || s == nil {
			t.Errorf("at the first again: %d %s, %v", status, reason, s)
		}
		time.Sleep(30 * time.Second)
		if _, reason, _ := n.open(t.Context(), "second"); reason != "sign_in_under_way" {
			t.Errorf("half a minute later: %s", reason)
		}
		time.Sleep(31 * time.Second)
		if _, reason, _ := n.open(t.Context(), "second"); reason != "state_used" {
			t.Errorf("after a minute: %s", reason)
		}
	})
}
