package authagent_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/problem"
)

// TestSessionFromTheFuture is SES-5 for a session that began at an instance whose
// clock is far ahead: a revocation at the right time would not end it.
func TestSessionFromTheFuture(t *testing.T) {
	for name, store := range map[string]sessions.Store{"SES-5 cookie": nil, "SES-5 store": sessions.NewFilesystemStore(t.TempDir(), newKey())} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Store = store })
				for ahead, good := range map[time.Duration]bool{0: true, 5 * time.Minute: true, 5*time.Minute + time.Second: false, 24 * time.Hour: false} {
					start := time.Now().Add(ahead)
					s := &authagent.Session{
						ID: "s", Agent: authagent.Agent{Issuer: k.as.URL, ID: "agent_alice"}, UserID: k.aliceID,
						Access: authagent.AccessFull, StartedAt: start, ExpiresAt: start.Add(time.Hour),
					}
					w := httptest.NewRecorder()
					if err := k.rp.Sessions().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), s); err != nil {
						t.Fatal(err)
					}
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					for _, c := range w.Result().Cookies() {
						r.AddCookie(c)
					}
					_, err := k.rp.Sessions().Load(httptest.NewRecorder(), r)
					if good && err != nil || !good && !errors.Is(err, authagent.ErrSessionEnded) {
						t.Errorf("%v ahead: %v", ahead, err)
					}
				}
			})
		})
	}
}

// TestLoginFromTheFuture_TXN_5 is TXN-5 for a login that began at an instance whose clock
// is far ahead: it would be good for longer than a login may take.
func TestLoginFromTheFuture_TXN_5(t *testing.T) {
	k := newCluster(t)
	box, err := seal.NewBox(k.config.SessionKeys, "authagent", "login", k.config.Issuer, k.config.ClientID, k.config.RedirectURL, k.config.Scenario.Name())
	if err != nil {
		t.Fatal(err)
	}
	for ahead, good := range map[time.Duration]bool{0: true, 4 * time.Minute: true, 6 * time.Minute: false, 24 * time.Hour: false} {
		c := k.browser()
		callback := k.authorize(k.agent, k.begin(c, ""))
		for _, cookie := range c.Jar.Cookies(mustParse(t, k.site.URL)) {
			if !strings.Contains(cookie.Name, "-login-") {
				continue
			}
			plain, err := box.Open(cookie.Value, cookie.Name)
			if err != nil {
				t.Fatal(err)
			}
			fields := seal.NewReader(plain)
			start := fields.Int()
			rest := plain[len(seal.AppendInt(nil, start)):]
			value := append(seal.AppendInt(nil, start+int64(ahead/time.Second)), rest...)
			c.Jar.SetCookies(mustParse(t, k.site.URL), []*http.Cookie{{Name: cookie.Name, Value: box.Seal(value, cookie.Name), Path: "/", Secure: true}})
		}
		resp := k.get(c, callback)
		if got := k.me(c) != nil; got != good || !good && resp.reason() != problem.Reason("state_expired") {
			t.Errorf("TXN-5: %v ahead: signed in %v, status %d %s", ahead, got, resp.StatusCode, resp.body)
		}
	}
}
