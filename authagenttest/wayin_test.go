package authagenttest_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// newRealSite is a site with authagent's relying party and pages that lead to its sign-in.
func newRealSite(t *testing.T, as *authagenttest.Server, post bool) string {
	t.Helper()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/agent/callback"}})
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:    authagent.FreshProfile(&memstore.Profiles{}),
		SignInPath:  "/people",
		RequirePOST: post,
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	page := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	mux.Handle("/agent/login", rp.LoginHandler())
	mux.Handle("/agent/callback", rp.CallbackHandler())
	mux.Handle("/orders", rp.RequireAgent(page("the orders")))
	mux.HandleFunc("/people", page(`<form method="post" action="/people"><button>Sign in</button></form>`+string(rp.Button("/orders?a=b&c=d"))))
	mux.Handle("/start", http.RedirectHandler("/people", http.StatusSeeOther))
	mux.HandleFunc("/linked", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `</terms>; rel="license", </agent/login>; rel="authenticate"; title="Sign in"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.HandleFunc("/lost", page(`<a href="/agent/login">sign in</a>`))
	mux.HandleFunc("/loop", page(`<a href="/loop" data-auth-agent-button="true">`))
	mux.HandleFunc("/round-1", page(`<a href="/round-2" data-auth-agent-button="true">`))
	mux.HandleFunc("/round-2", page(`<a href="/round-1" data-auth-agent-button="true">`))
	return site.URL
}

// TestWayIn: an agent signs in wherever it is let loose at a site, whichever method the
// sign-in takes.
func TestWayIn(t *testing.T) {
	as := authagenttest.NewUnstartedServer()
	as.Quirks.SameSecondTokens = false
	as.Start()
	defer as.Close()
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1"})
	for _, post := range []bool{false, true} {
		site := newRealSite(t, as, post)
		for _, test := range []struct{ path, landed, failed string }{
			{"/agent/login?return_to=/orders", "/orders", ""},
			{"/people", "/orders?a=b&c=d", ""},
			{"/start", "/orders?a=b&c=d", ""},
			{"/orders?x=1", "/orders?a=b&c=d", ""}, // by way of SignInPath
			{"/linked", "/", ""},
			{"/lost", "", "or the sign-in button"},
			{"/loop", "", "200 OK at " + site + "/loop, where"},
			{"/round-1", "", "200 OK at " + site + "/round-2, where"},
		} {
			t.Run(fmt.Sprintf("POST %t %s", post, test.path), func(t *testing.T) {
				resp, err := agent.SignIn(t.Context(), as.NewBrowser(), site+test.path)
				if test.failed != "" {
					if err == nil || !strings.Contains(err.Error(), test.failed) {
						t.Errorf("error %v, want %q in it", err, test.failed)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if got := resp.Request.URL.RequestURI(); got != test.landed {
					t.Errorf("landed at %s (%d), want %s", got, resp.StatusCode, test.landed)
				}
			})
		}
	}
}

// TestFormsStayAtHome: a form that leads to another site is sent as browsers send it, so
// that a site which takes its own forms only refuses it.
func TestFormsStayAtHome(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	site := newRealSite(t, as, true)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<form method="post" action="%s/agent/login"><button data-auth-agent-button="true">`, site)
	}))
	defer evil.Close()
	_, err := as.AddAgent(authagenttest.Agent{}).SignIn(t.Context(), as.NewBrowser(), evil.URL)
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden at "+site+"/agent/login") {
		t.Errorf("error %v", err)
	}
}
