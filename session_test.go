package authagent_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
)

// TestSessionsKit holds the package's own sessions, and those of the example, to
// what the kit asks of a site's (SES-2, SES-3, SES-6).
func TestSessionsKit(t *testing.T) {
	// Without sockets and clients: the kit makes the requests itself.
	own := func(store sessions.Store) func() authagent.Sessions {
		config := authagent.Config{
			Issuer: "https://as.example", ClientID: "c", ClientSecret: "s", RedirectURL: "https://site.example/auth/agent/callback",
			SessionKeys: [][]byte{testsite.NewKey()}, Session: authagent.SessionSettings{Store: store}, Scenario: authagent.FreshProfile(&memstore.Profiles{}),
		}
		return func() authagent.Sessions {
			rp, err := authagent.New(config)
			if err != nil {
				t.Fatal(err)
			}
			return rp.Sessions()
		}
	}
	key := testsite.NewKey()
	mine := &siteSessions{byToken: make(map[string]authagent.Session)}
	for name, open := range map[string]func() authagent.Sessions{
		"cookies alone":   own(nil),
		"CookieStore":     own(sessions.NewCookieStore(key)),
		"FilesystemStore": own(sessions.NewFilesystemStore(t.TempDir(), key)),
		"example":         func() authagent.Sessions { return mine },
	} {
		t.Run(name, func(t *testing.T) { storetest.Sessions(t, open) })
	}
}

// TestSessionFromTheFuture is SES-5 for a session that began at an instance whose
// clock is far ahead: a revocation at the right time would not end it.
func TestSessionFromTheFuture(t *testing.T) {
	for name, store := range map[string]sessions.Store{"SES-5 cookie": nil, "SES-5 store": sessions.NewFilesystemStore(t.TempDir(), testsite.NewKey())} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := testsite.NewCluster(t, func(_ *testsite.Site, c *authagent.Config) { c.Session.Store = store })
				for ahead, good := range map[time.Duration]bool{0: true, 5 * time.Minute: true, 5*time.Minute + time.Second: false, 24 * time.Hour: false} {
					start := time.Now().Add(ahead)
					s := &authagent.Session{
						ID: "s", Agent: authagent.Agent{Issuer: k.AS.URL, ID: "agent_alice"}, UserID: k.AliceID,
						Access: authagent.AccessFull, StartedAt: start, ExpiresAt: start.Add(time.Hour),
					}
					w := httptest.NewRecorder()
					if err := k.RP.Sessions().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), s); err != nil {
						t.Fatal(err)
					}
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					for _, c := range w.Result().Cookies() {
						r.AddCookie(c)
					}
					_, err := k.RP.Sessions().Load(httptest.NewRecorder(), r)
					if good && err != nil || !good && !errors.Is(err, authagent.ErrSessionEnded) {
						t.Errorf("%v ahead: %v", ahead, err)
					}
				}
			})
		})
	}
}

// TestSessionsDoNotPrint is CFG-9 for what has the keys of the cookies.
func TestSessionsDoNotPrint(t *testing.T) {
	s := testsite.NewCluster(t)
	for name, text := range testsite.Printed(s.RP.Sessions(), false) {
		testsite.NoSecrets(t, "CFG-9 Sessions "+name, text, &s.Config)
	}
}
