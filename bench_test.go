package authagent_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// benchSite is a relying party without sockets, and its signed-in agent's cookie.
func benchSite(b *testing.B) (*authagent.RelyingParty, *http.Cookie) {
	b.Helper()
	as := authagenttest.NewUnstartedServer()
	as.URL = "https://as.example"
	as.AddClient(authagenttest.Client{ID: "site", Secret: "secret", RedirectURIs: []string{"https://site.example/auth/agent/callback"}})
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1"})
	hosts := authagenttest.Hosts{"as.example": as}
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: "site", ClientSecret: "secret",
		RedirectURL: "https://site.example/auth/agent/callback", SessionKeys: [][]byte{newKey()},
		Scenario: authagent.FreshProfile(&memstore.Profiles{}), TokenEncoding: authagent.EncodingJSON,
		HTTPClient: &http.Client{Transport: hosts}, Logger: discardLog(),
	})
	if err != nil {
		b.Fatal(err)
	}
	site := &fuzzSite{as: as, rp: rp, agent: agent}
	return rp, site.signIn(b)
}

func BenchmarkLogin(b *testing.B) {
	rp, _ := benchSite(b)
	h := rp.LoginHandler()
	r := httptest.NewRequest(http.MethodGet, "https://site.example/auth/agent/login?return_to=/orders", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusSeeOther {
			b.Fatal(w.Code)
		}
	}
}

func BenchmarkSession(b *testing.B) {
	rp, cookie := benchSite(b)
	reached := false
	h := rp.RequireAgent(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	forged := *cookie
	forged.Value = "A" + cookie.Value[1:]
	for _, test := range []struct {
		name   string
		cookie *http.Cookie
		want   bool
	}{{"valid", cookie, true}, {"absent", nil, false}, {"forged", &forged, false}} {
		b.Run(test.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "https://site.example/orders", nil)
			if test.cookie != nil {
				r.AddCookie(test.cookie)
			}
			b.ReportAllocs()
			for b.Loop() {
				reached = false
				h.ServeHTTP(httptest.NewRecorder(), r)
				if reached != test.want {
					b.Fatal("reached:", reached)
				}
			}
		})
	}
}
