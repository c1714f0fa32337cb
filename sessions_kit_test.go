package authagent_test

import (
	"testing"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/storetest"
)

// TestSessionsKit holds the package's own sessions, and those of the example, to
// what the kit asks of a site's (SES-2, SES-3, SES-6).
func TestSessionsKit(t *testing.T) {
	// Without sockets and clients: the kit makes the requests itself.
	own := func(store sessions.Store) func() authagent.Sessions {
		config := authagent.Config{
			Issuer: "https://as.example", ClientID: "c", ClientSecret: "s", RedirectURL: "https://site.example/auth/agent/callback",
			SessionKeys: [][]byte{newKey()}, Session: authagent.SessionSettings{Store: store}, Scenario: authagent.FreshProfile(verbose{}),
		}
		return func() authagent.Sessions {
			rp, err := authagent.New(config)
			if err != nil {
				t.Fatal(err)
			}
			return rp.Sessions()
		}
	}
	key := newKey()
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
