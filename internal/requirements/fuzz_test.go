package requirements_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

// A fuzzSite is a relying party and its server in one process, without sockets.
type fuzzSite struct {
	as    *authagenttest.Server
	rp    *authagent.RelyingParty
	agent *authagenttest.Agent
}

const fuzzOrigin = "https://site.example"

func newFuzzSite(f *testing.F) *fuzzSite {
	f.Helper()
	s := &fuzzSite{as: authagenttest.NewUnstartedServer()}
	s.as.URL = "https://as.example"
	// What would be a secret in an error or a page stands out.
	s.as.AddClient(authagenttest.Client{ID: "site", Secret: "canary-secret", RedirectURIs: []string{fuzzOrigin + "/auth/agent/callback"}})
	s.agent = s.as.AddAgent(authagenttest.Agent{ID: "agent_fuzz"})
	rp, err := authagent.New(authagent.Config{
		Issuer: s.as.URL, ClientID: "site", ClientSecret: "canary-secret",
		RedirectURL: fuzzOrigin + "/auth/agent/callback", SessionKeys: [][]byte{testsite.NewKey()},
		Scenario: authagent.FreshProfile(&memstore.Profiles{}),
		Provider: provider.Settings{TokenEncoding: "application/json", HTTPClient: &http.Client{Transport: authagenttest.Hosts{"as.example": s.as, "as.example:443": s.as}}},
		Logger:   discardLog(),
	})
	if err != nil {
		f.Fatal(err)
	}
	s.rp = rp
	return s
}

// serve sends one GET request to a handler.
func serve(h http.Handler, target string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "https://site.example/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL = &url.URL{Path: path, RawQuery: query}
	for _, c := range cookies {
		r.Header.Add("Cookie", c.Name+"="+c.Value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// begin starts a login and returns its state and cookie.
func (s *fuzzSite) begin(t testing.TB) (state string, cookie *http.Cookie) {
	t.Helper()
	w := serve(s.rp.LoginHandler(), "/auth/agent/login")
	cookies := w.Result().Cookies()
	if w.Code != http.StatusSeeOther || len(cookies) != 1 {
		t.Fatalf("login: status %d, %d cookies", w.Code, len(cookies))
	}
	return mustParse(t, w.Header().Get("Location")).Query().Get("state"), cookies[0]
}

// refused checks what every refusal has to be.
func refused(t *testing.T, w *httptest.ResponseRecorder, secrets ...string) {
	t.Helper()
	if w.Code < 400 || w.Code == http.StatusInternalServerError {
		t.Errorf("status %d with Location %q, want a refusal", w.Code, w.Header().Get("Location"))
	}
	for _, c := range w.Result().Cookies() {
		if c.MaxAge >= 0 {
			t.Errorf("a refusal sets cookie %s", c.Name)
		}
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(w.Body.String(), secret) {
			t.Errorf("the answer contains %q", secret)
		}
	}
}

// FuzzCallbackQuery_REL_8 (REL-8): whatever the query, a sign-in succeeds only with the state
// of this browser and a code that the server gave for it, and no such code is in
// a fuzzed query. (CB-2, CB-3, CB-4, CB-8, TXN-3, REL-3)
func FuzzCallbackQuery_REL_8(f *testing.F) {
	s := newFuzzSite(f)
	for _, seed := range []string{
		"", "code=a", "state=STATE", "code=a&state=STATE", "code=a&state=STATE&state=STATE", "code=a&code=b&state=STATE",
		"error=access_denied&state=STATE", "error=access_denied&code=a&state=STATE", "error=&state=STATE",
		"code=a&state=STATE&iss=https://as.example", "code=a&state=STATE&iss=https://evil.example", "code=a&state=STATE&iss=",
		"code=a;state=STATE", "code=%zz&state=STATE", "code=%00&state=STATE", "code=a%0d%0ab&state=STATE",
		"access_token=x&state=STATE", "id_token=x&state=STATE", "code=a&state=STATE%00", "code=a&state=state", "code=a&state=STATE&foo=bar",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		state, cookie := s.begin(t)
		query = strings.ReplaceAll(query, "STATE", state)
		w := serve(s.rp.CallbackHandler(), "/auth/agent/callback?"+query, cookie)
		refused(t, w, "canary-secret")
		if values, err := url.ParseQuery(query); err == nil && len(values.Get("code")) > 8 && strings.ContainsAny(values.Get("code"), "<>\"'&") {
			refused(t, w, values.Get("code"))
		}
	})
}

// FuzzLoginCookie: no login cookie but the one that was given finishes a login,
// and none breaks anything. (TXN-6, TXN-7)
func FuzzLoginCookie(f *testing.F) {
	s := newFuzzSite(f)
	state, cookie := s.begin(f)
	session := s.signIn(f)
	for _, seed := range []string{"", "garbage", cookie.Value, cookie.Value[1:], cookie.Value + "A", session.Value, strings.Repeat("A", 400)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		w := serve(s.rp.CallbackHandler(), "/auth/agent/callback?code=a&state="+state, &http.Cookie{Name: cookie.Name, Value: value})
		refused(t, w, "canary-secret")
	})
}

// signIn signs the agent in and returns the session's cookie.
func (s *fuzzSite) signIn(t testing.TB) *http.Cookie {
	t.Helper()
	login := serve(s.rp.LoginHandler(), "/auth/agent/login")
	callback, err := s.agent.Authorize(t.Context(), &http.Client{Transport: authagenttest.Hosts{"as.example": s.as}}, login.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	w := serve(s.rp.CallbackHandler(), "/auth/agent/callback?"+mustParse(t, callback).RawQuery, login.Result().Cookies()...)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge > 0 && w.Code == http.StatusSeeOther {
			return c
		}
	}
	t.Fatalf("callback: status %d %s", w.Code, w.Body)
	return nil
}

// FuzzSessionCookie: no value but one that was given is a session. (SES-6, TXN-7)
func FuzzSessionCookie(f *testing.F) {
	s := newFuzzSite(f)
	session := s.signIn(f)
	_, login := s.begin(f)
	for _, seed := range []string{"", "garbage", session.Value, session.Value[1:], session.Value + "A", login.Value, strings.Repeat("A", 400)} {
		f.Add(seed)
	}
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	guarded := s.rp.RequireAgent(reached)
	f.Fuzz(func(t *testing.T, value string) {
		w := serve(guarded, "/me", &http.Cookie{Name: session.Name, Value: value})
		// A value may be given in quotes (RFC 6265 section 4.1.1).
		if own := value == session.Value; own != (w.Code == http.StatusNoContent) {
			t.Errorf("status %d for a value that is ours: %v", w.Code, own)
		}
	})
}

// FuzzReturnTo: wherever the target comes from, Location stays on the site.
// (RET-1, RET-3, RET-4)
func FuzzReturnTo(f *testing.F) {
	s := newFuzzSite(f)
	for _, seed := range []string{
		"/", "/dashboard", "/a/b?tab=1&x=%20y", "//evil.example", `/\evil.example`, "/%2fevil.example", "https://evil.example",
		"/foo/..//evil.example", "/\t/evil.example", "javascript:alert(1)", "/auth/agent/login", "/ok\r\nSet-Cookie: a=b", "／／evil.example",
	} {
		f.Add(seed)
	}
	base := mustParse(f, fuzzOrigin+"/auth/agent/logout")
	f.Fuzz(func(t *testing.T, target string) {
		r := httptest.NewRequest(http.MethodPost, "https://site.example/auth/agent/logout", nil)
		r.URL.RawQuery = url.Values{"return_to": {target}}.Encode()
		w := httptest.NewRecorder()
		s.rp.LogoutHandler().ServeHTTP(w, r)
		location := w.Header().Get("Location")
		if location != "/" && location != target {
			t.Fatalf("Location %q is neither the target nor the default", location)
		}
		for range 3 {
			u, err := base.Parse(location)
			if err != nil { // a decoded % may be no escape; a browser takes it as it is
				u = base
			}
			if u.Host != base.Host || u.Scheme != base.Scheme || strings.HasPrefix(location, "//") || strings.ContainsAny(location, "\\\r\n\t") {
				t.Fatalf("target %q leads to %v", target, u)
			}
			if location, err = url.PathUnescape(location); err != nil {
				return
			}
			location, _, _ = strings.Cut(location, "?")
			location, _, _ = strings.Cut(location, "#")
		}
	})
}
