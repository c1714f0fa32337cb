package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// TestCallbackMethod_CB_1: CB-1. Only GET finishes a login, and nothing else uses it up.
func TestCallbackMethod_CB_1(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	for _, method := range []string{"POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"} {
		before := b.BackChannel()
		resp := b.Do(c, method, callback)
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" || b.BackChannel() != before || len(resp.Cookies()) != 0 {
			t.Errorf("%s: status %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	// What a form says counts for nothing (the body would win over the query).
	form := strings.NewReader(url.Values{"state": {"evil"}, "code": {"evil"}}.Encode())
	req, _ := http.NewRequest(http.MethodGet, callback, form)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		t.Errorf("GET: status %d", resp.StatusCode)
	}
}

// TestCallbackQuery: CB-2, CB-3, CB-4, CB-8. STATE and CODE stand for the real ones.
func TestCallbackQuery(t *testing.T) {
	for _, test := range []struct {
		name, query string
		want        problem.Reason // empty for a sign-in
	}{
		{"CB-2 code twice", "code=CODE&code=CODE&state=STATE", problem.InvalidRequest},
		{"CB-2 state twice", "code=CODE&state=STATE&state=STATE", problem.InvalidRequest},
		{"CB-2 iss twice", "code=CODE&state=STATE&iss=AS&iss=AS", problem.InvalidRequest},
		{"CB-2 error twice", "error=a&error=b&state=STATE", problem.InvalidRequest},
		{"CB-2 unknown ones", "code=CODE&state=STATE&session_state=x&foo=bar&foo=baz", ""},
		{"CB-3 semicolon", "code=CODE;state=STATE", problem.InvalidRequest},
		{"CB-3 bad escape", "code=%zz&state=STATE", problem.InvalidRequest},
		{"CB-3 bad escape elsewhere", "code=CODE&state=STATE&x=%", problem.InvalidRequest},
		{"CB-3 16 KB", "code=CODE&state=STATE&x=" + strings.Repeat("a", 16<<10), problem.InvalidRequest},
		{"CB-4 code and error", "code=CODE&error=access_denied&state=STATE", problem.InvalidRequest},
		{"CB-4 code and empty error", "code=CODE&error=&state=STATE", problem.InvalidRequest},
		{"CB-4 neither", "state=STATE", problem.InvalidRequest},
		{"CB-4 empty code", "code=&state=STATE", problem.InvalidRequest},
		{"CB-4 empty error", "error=&state=STATE", problem.InvalidRequest},
		{"CB-4 line break", "code=a%0d%0ab&state=STATE", problem.InvalidRequest},
		{"CB-4 NUL", "code=%00&state=STATE", problem.InvalidRequest},
		{"CB-4 not ASCII", "code=%C3%A9&state=STATE", problem.InvalidRequest},
		{"CB-4 long", "code=" + strings.Repeat("a", 2049) + "&state=STATE", problem.InvalidRequest},
		{"CB-8 access_token", "access_token=X&state=STATE", problem.InvalidRequest},
		{"CB-8 id_token", "id_token=X&state=STATE", problem.InvalidRequest},
		{"CB-8 code and access_token", "code=CODE&access_token=X&state=STATE", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			c := b.Browser()
			good := mustParse(t, b.Authorize(b.Agent, b.Begin(c, ""))).Query()
			query := strings.NewReplacer("STATE", good.Get("state"), "CODE", good.Get("code"), "AS", url.QueryEscape(b.AS.URL)).Replace(test.query)
			if test.want != "" {
				resp := b.MustRefuse(c, "/auth/agent/callback?"+query, test.want)
				if strings.Contains(resp.Text, good.Get("state")) || strings.Contains(resp.Text, good.Get("code")) {
					t.Errorf("the answer repeats the request: %s", resp.Text)
				}
				return
			}
			if resp := b.Get(c, "/auth/agent/callback?"+query); resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
			}
			for _, r := range b.AS.Requests(authagenttest.PathUserInfo) {
				if r.Header.Get("Authorization") == "Bearer X" {
					t.Error("the token of the front channel was used")
				}
			}
		})
	}
}

// TestIssuer: CB-5, CB-6 (RFC 9207 section 2.4), on success and on error.
func TestIssuer(t *testing.T) {
	for _, test := range []struct {
		name      string
		announced bool
		iss       string // "AS" for the right one, "-" for none
		want      problem.Reason
	}{
		{"CB-5 right", false, "AS", ""},
		{"CB-5 other", false, "https://evil.example", problem.Reason("issuer_mismatch")},
		{"CB-5 trailing slash", false, "AS/", problem.Reason("issuer_mismatch")},
		{"CB-5 empty", false, "", problem.Reason("issuer_mismatch")},
		{"CB-6 absent, not announced", false, "-", ""},
		{"CB-6 absent, announced", true, "-", problem.Reason("issuer_mismatch")},
		{"CB-6 right, announced", true, "AS", ""},
		{"CB-6 other, announced", true, "https://evil.example", problem.Reason("issuer_mismatch")},
	} {
		for _, kind := range []string{"code", "error"} {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				b := newBench(t, func(b *bench, _ *authagent.Config) {
					b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.IssParameter = test.announced })
				})
				c := b.Browser()
				u := mustParse(t, b.Authorize(b.Agent, b.Begin(c, "")))
				q := u.Query()
				q.Del("iss")
				if test.iss != "-" {
					q.Set("iss", strings.ReplaceAll(test.iss, "AS", b.AS.URL))
				}
				want := test.want
				if kind == "error" {
					q.Del("code")
					q.Set("error", "access_denied")
					if want == "" {
						want = problem.Reason("access_denied")
					}
				}
				u.RawQuery = q.Encode()
				if want != "" {
					b.MustRefuse(c, u.String(), want)
				} else if resp := b.Get(c, u.String()); resp.StatusCode != http.StatusSeeOther {
					t.Errorf("status %d %s", resp.StatusCode, resp.Text)
				}
			})
		}
	}
}

// TestReportedError_CB_7_CB_12: CB-7, CB-12. An error counts only with a valid state, is
// told in our own words, and leads to no further login by itself.
func TestReportedError_CB_7_CB_12(t *testing.T) {
	for code, want := range map[string]struct {
		status int
		reason problem.Reason
	}{
		"access_denied": {403, problem.Reason("access_denied")}, "server_error": {502, problem.Reason("server_unavailable")},
		"temporarily_unavailable": {502, problem.Reason("server_unavailable")}, "invalid_scope": {400, problem.Reason("authorization_failed")},
		"<script>alert(1)</script>": {400, problem.Reason("authorization_failed")},
	} {
		t.Run(code, func(t *testing.T) {
			b := newBench(t)
			c := b.Browser()
			state := mustParse(t, b.Begin(c, "")).Query().Get("state")
			query := "/auth/agent/callback?" + url.Values{"error": {code}, "error_description": {"Call this number"}}.Encode()
			b.MustRefuse(c, query, problem.Reason("state_mismatch"))
			if resp := b.Get(c, query, "Accept", "text/html"); strings.Contains(resp.Text, "this number") {
				t.Errorf("CB-7: the sender's text is shown: %s", resp.Text)
			}
			if len(b.loginCookies(c)) != 1 {
				t.Error("an error without state has used the login up")
			}
			replay := b.Browser()
			for name, value := range b.loginCookies(c) {
				b.SetCookie(replay, name, value)
			}
			for _, accept := range []string{"text/html", "application/json"} {
				resp := b.Get(c, query+"&state="+state, "Accept", accept)
				if strings.Contains(resp.Text, "this number") || strings.Contains(resp.Text, "<script>") || resp.Header.Get("Location") != "" {
					t.Errorf("CB-7, CB-12: Location %q, body %s", resp.Header.Get("Location"), resp.Text)
				}
				if accept == "text/html" && resp.StatusCode != want.status {
					t.Errorf("status %d, want %d", resp.StatusCode, want.status)
				}
			}
			// With the state, an error uses the login up: here, and where its cookie was copied to.
			if failed := b.Logged(audit.LoginFailed); len(failed) != 4 || failed[2].Reason != want.reason || failed[3].Reason != problem.Reason("state_mismatch") {
				t.Errorf("events %+v", failed)
			}
			b.MustRefuse(replay, "/auth/agent/callback?code=a&state="+state, problem.Reason("state_used"))
		})
	}
}

// TestCallbackNotOpened_CB_9: CB-9. A prefetch uses nothing up.
func TestCallbackNotOpened_CB_9(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	for _, header := range [][]string{
		{"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"}, {"Sec-Fetch-Dest", "iframe"}, {"Sec-Fetch-Dest", "image"}, {"Sec-Fetch-Dest", "empty"},
	} {
		b.MustRefuse(c, callback, problem.Reason("not_a_navigation"), header...)
	}
	if resp := b.Get(c, callback, "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("opened: status %d %s", resp.StatusCode, resp.Text)
	}
}

// TestCallbackHeaders_CB_10: CB-10. Nothing of the response leaks on, on no path.
func TestCallbackHeaders_CB_10(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, "?return_to=/orders"))
	q := mustParse(t, callback).Query()
	for _, target := range []string{"/auth/agent/callback", withQuery(t, callback, map[string]string{"state": ""}), callback} {
		resp := b.Get(c, target)
		for _, secret := range []string{q.Get("code"), q.Get("state")} {
			if strings.Contains(resp.Text, secret) || strings.Contains(resp.Header.Get("Location"), secret) {
				t.Errorf("%d: %s %s", resp.StatusCode, resp.Header.Get("Location"), resp.Text)
			}
		}
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%d: headers %v", resp.StatusCode, resp.Header)
		}
		if resp.StatusCode == http.StatusSeeOther && (resp.Text != "" || resp.Header.Get("Location") != "/orders") {
			t.Errorf("Location %q, body %q", resp.Header.Get("Location"), resp.Text)
		}
	}
}

// TestSessionSurvives_CB_11: CB-11. Neither a login that begins nor callbacks that fail
// harm the session that is there.
func TestSessionSurvives_CB_11(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	was := b.MustSignIn(c, b.Agent)
	b.Begin(c, "")
	for range 50 {
		b.Get(c, "/auth/agent/callback?code=a&state=b")
	}
	if is := b.Me(c); is == nil || is.ID != was.ID {
		t.Errorf("session %+v, was %+v", is, was)
	}
}

// brokenSessions cannot start one.
type brokenSessions struct{ authagent.Sessions }

func (brokenSessions) Start(http.ResponseWriter, *http.Request, *authagent.Session) error {
	return errors.New("disk full")
}

func (brokenSessions) Load(http.ResponseWriter, *http.Request) (*authagent.Session, error) {
	return nil, authagent.ErrNoSession
}

// brokenStore is a gorilla store that cannot save.
type brokenStore struct{ sessions.Store }

func (s brokenStore) New(_ *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	session.IsNew = true
	return session, nil
}

func (brokenStore) Save(*http.Request, http.ResponseWriter, *sessions.Session) error {
	return errors.New("disk full")
}

// verbose gives profiles IDs that are longer than a cookie may be.
type verbose struct{}

func (verbose) FindOrCreateProfile(_ context.Context, p authagent.Profile) (authagent.Profile, error) {
	p.ID = strings.Repeat("p", 4000)
	return p, nil
}

// TestSessionNotSaved_CB_13: CB-13. Without a session there is no way on.
func TestSessionNotSaved_CB_13(t *testing.T) {
	for name, change := range map[string]func(*bench, *authagent.Config){
		"Sessions": func(_ *bench, c *authagent.Config) { c.Session.Own = brokenSessions{} },
		"Store":    func(_ *bench, c *authagent.Config) { c.Session.Store = brokenStore{} },
		"cookie":   func(_ *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(verbose{}) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, change)
			resp := b.SignIn(b.Browser(), b.Agent)
			if resp.StatusCode != http.StatusInternalServerError || resp.Reason() != problem.StoreFailed || resp.Header.Get("Location") != "" {
				t.Errorf("status %d, Location %q, body %s", resp.StatusCode, resp.Header.Get("Location"), resp.Text)
			}
			if strings.Contains(resp.Text, "disk full") || len(sessionCookies(resp)) != 0 || len(b.Events.Named(audit.LoginSucceeded)) != 0 {
				t.Errorf("body %s", resp.Text)
			}
		})
	}
}

// TestCallbackReloaded_TXN_4: a reload of a callback that went well leads on, and asks
// the server nothing; without the session it is refused (TXN-4).
func TestCallbackReloaded_TXN_4(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, "?return_to=/orders"))
	b.Get(c, callback)
	was, before := b.Me(c), b.BackChannel()
	resp := b.Get(c, callback)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" || b.BackChannel() != before {
		t.Errorf("status %d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if is := b.Me(c); is == nil || was == nil || is.ID != was.ID {
		t.Errorf("session %+v, was %+v", is, was)
	}
	b.MustRefuse(b.Browser(), callback, problem.Reason("state_mismatch"))
}

// forgetfulSessions keep what a site can see of a session.
type forgetfulSessions struct{ mapSessions }

func (s *forgetfulSessions) Start(w http.ResponseWriter, r *http.Request, session *authagent.Session) error {
	value, err := json.Marshal(session)
	if err != nil {
		return err
	}
	var kept authagent.Session
	if err := json.Unmarshal(value, &kept); err != nil {
		return err
	}
	return s.mapSessions.Start(w, r, &kept)
}

// TestCallbackReloadedOwnSessions: a site's own sessions do not know the login that
// they came from, so that a reload is refused; the session goes on.
func TestCallbackReloadedOwnSessions(t *testing.T) {
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.Session.Own = &forgetfulSessions{} })
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	b.Get(c, callback)
	was, before := b.Me(c), b.BackChannel()
	b.MustRefuse(c, callback, problem.Reason("state_mismatch"))
	if is := b.Me(c); is == nil || was == nil || is.ID != was.ID || b.BackChannel() != before {
		t.Errorf("session %+v, was %+v", is, was)
	}
}
