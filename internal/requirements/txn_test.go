package requirements_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// loginCookies returns the pending logins that a browser holds, by name.
func (b *bench) loginCookies(c *http.Client) map[string]string {
	found := make(map[string]string)
	for _, cookie := range c.Jar.Cookies(mustParse(b.T, b.URL)) {
		if strings.Contains(cookie.Name, "-login-") {
			found[cookie.Name] = cookie.Value
		}
	}
	return found
}

// withQuery replaces parameters of a URL; an empty value removes one.
func withQuery(t testing.TB, address string, change map[string]string) string {
	u := mustParse(t, address)
	q := u.Query()
	for name, value := range change {
		if q.Set(name, value); value == "" {
			q.Del(name)
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// TestOtherBrowser_TXN_1_TXN_2: TXN-1, TXN-2. A response finishes a login only in the browser
// that began it, whether the other one has a login of its own or not.
func TestOtherBrowser_TXN_1_TXN_2(t *testing.T) {
	b := newBench(t)
	attacker, victim := b.Browser(), b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(attacker, ""))
	b.MustRefuse(victim, callback, problem.Reason("state_mismatch")) // TXN-1: an empty jar
	own := b.Begin(victim, "")
	resp := b.MustRefuse(victim, callback, problem.Reason("state_mismatch")) // TXN-2
	if len(resp.Cookies()) != 0 {
		t.Errorf("cookies %v after a foreign state, want none (TXN-13)", resp.Cookies())
	}
	if got := b.Get(victim, b.Authorize(b.Agent, own)); got.StatusCode != http.StatusSeeOther {
		t.Errorf("the victim's own login: status %d %s", got.StatusCode, got.Text)
	}
}

// TestAlteredState_TXN_3: TXN-3. With and without the cookie, only the state itself will do.
func TestAlteredState_TXN_3(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	state := mustParse(t, callback).Query().Get("state")
	flip := func(s string, i int) string {
		other := "A"
		if s[i] == 'A' {
			other = "B"
		}
		return s[:i] + other + s[i+1:]
	}
	for name, altered := range map[string]string{
		"missing": "", "first": flip(state, 0), "ninth": flip(state, 8), "last": flip(state, len(state)-1),
		"upper": strings.ToUpper(state), "lower": strings.ToLower(state), "prefix": state[:8],
		// The first eight characters name the cookie; so far, these find it.
		"upper after the ID": state[:8] + strings.ToUpper(state[8:]), "lower after the ID": state[:8] + strings.ToLower(state[8:]),
		"the ID only": state[:8] + strings.Repeat("A", len(state)-8), "shorter": state[:len(state)-1],
		"longer": state + "A", "NUL": state + "\x00", "space": state + " ", "padded": state + "=", "before": " " + state,
	} {
		for browser, client := range map[string]*http.Client{"own": c, "empty": b.Browser()} {
			t.Run(name+"/"+browser, func(t *testing.T) {
				b.T = t
				b.MustRefuse(client, withQuery(t, callback, map[string]string{"state": altered}), problem.Reason("state_mismatch"))
			})
		}
	}
	b.T = t
	b.MustRefuse(c, callback+"&x=1&state=", problem.InvalidRequest)
	if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the state itself: status %d %s", resp.StatusCode, resp.Text)
	}
	// All but a character of it would be as good as the whole.
	if all := b.Log.String() + fmt.Sprintf("%+v", b.Events.All()); strings.Contains(all, state[9:40]) {
		t.Errorf("LOG-1: the state is in the log: %s", all)
	}
}

// TestReplay_TXN_4: TXN-4. A response starts one session, even at a server that takes a code
// twice, and with the cookies of before: whoever has those gets that session.
func TestReplay_TXN_4(t *testing.T) {
	b := newBench(t)
	b.AS.Wrap(authagenttest.PathToken, onCode(repeated()))
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	before := b.loginCookies(c)
	if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
	}
	replay := b.Browser()
	for name, value := range before {
		b.SetCookie(replay, name, value)
	}
	first := b.Me(c)
	if resp := b.Get(replay, callback); resp.StatusCode != http.StatusSeeOther || first == nil || b.Me(replay).ID != first.ID {
		t.Errorf("the replay: status %d %s, session %v", resp.StatusCode, resp.Text, b.Me(replay))
	}
	if err := b.RP.EndSession(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	replay = b.Browser()
	for name, value := range before {
		b.SetCookie(replay, name, value)
	}
	b.MustRefuse(replay, callback, problem.Reason("state_used"))
	if got := b.grants("authorization_code"); got != 1 {
		t.Errorf("%d token requests, want one", got)
	}
}

// repeated answers each further request as the first one.
func repeated() wrapper {
	var once sync.Once
	first := httptest.NewRecorder()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			once.Do(func() { next.ServeHTTP(first, r) })
			maps.Copy(w.Header(), first.Header())
			w.WriteHeader(first.Code)
			w.Write(first.Body.Bytes())
		})
	}
}

// TestReplayElsewhere_TXN_4: TXN-4 across instances that share a StateStore, and at one
// whose StateStore fails.
func TestReplayElsewhere_TXN_4(t *testing.T) {
	failing := &failingStates{StateStore: &memstore.States{}}
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.States = failing.StateStore })
	b.Instance("second")
	b.Instance("failing", func(c *authagent.Config) { c.States = failing })
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	replay := b.Browser()
	for name, value := range b.loginCookies(c) {
		b.SetCookie(replay, name, value)
	}
	failing.fails.Store(1)
	before := b.BackChannel()
	resp := b.Get(c, callback, "X-Instance", "failing")
	if resp.StatusCode != http.StatusInternalServerError || resp.Reason() != problem.StoreFailed || b.Me(c) != nil {
		t.Errorf("where the store fails: status %d %s", resp.StatusCode, resp.Text)
	}
	if n := b.BackChannel() - before; n != 0 {
		t.Errorf("where the store fails: %d requests to the server", n)
	}
	if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
	}
	b.MustRefuse(replay, callback, problem.Reason("sign_in_under_way"), "X-Instance", "second")
}

// TestExpiry_TXN_5: TXN-5. The server gives the agent 120 seconds; a login lives 10 minutes.
func TestExpiry_TXN_5(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		want  problem.Reason // empty for a sign-in
	}{{150 * time.Second, ""}, {9*time.Minute + 50*time.Second, ""}, {10*time.Minute + 2*time.Second, problem.Reason("state_expired")}, {16 * time.Minute, problem.Reason("state_expired")}} {
		t.Run(test.after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := authagenttest.NewUnstartedServer()
				as.URL = "https://as.example"
				as.AddClient(authagenttest.Client{ID: "site", Secret: "secret", RedirectURIs: []string{fuzzOrigin + "/auth/agent/callback"}})
				agent := as.AddAgent(authagenttest.Agent{ID: "agent_1"})
				hosts := authagenttest.Hosts{"as.example": as}
				rp, err := authagent.New(authagent.Config{
					Issuer: as.URL, ClientID: "site", ClientSecret: "secret", RedirectURL: fuzzOrigin + "/auth/agent/callback",
					SessionKeys: [][]byte{testsite.NewKey()}, Scenario: authagent.FreshProfile(&memstore.Profiles{}),
					Provider: provider.Settings{HTTPClient: &http.Client{Transport: hosts}}, Logger: discardLog(),
				})
				if err != nil {
					t.Fatal(err)
				}
				login := serve(rp.LoginHandler(), "/auth/agent/login")
				callback, err := agent.Authorize(t.Context(), &http.Client{Transport: hosts}, login.Header().Get("Location"))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(test.after)
				w := serve(rp.CallbackHandler(), "/auth/agent/callback?"+mustParse(t, callback).RawQuery, login.Result().Cookies()...)
				switch {
				case test.want == "" && w.Code != http.StatusSeeOther:
					t.Errorf("status %d %s", w.Code, w.Body)
				case test.want != "" && (w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), string(test.want))):
					t.Errorf("status %d %s, want %s", w.Code, w.Body, test.want)
				}
				synctest.Wait()
			})
		})
	}
}

// TestBadLoginCookie_TXN_6_TXN_7: TXN-6, TXN-7. A cookie that is not exactly the one that was
// given is none, and never an error of the site's.
func TestBadLoginCookie_TXN_6_TXN_7(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	session := ""
	for _, cookie := range c.Jar.Cookies(mustParse(t, b.URL)) {
		session = cookie.Value
	}
	sessionName := c.Jar.Cookies(mustParse(t, b.URL))[0].Name
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	for name, good := range b.loginCookies(c) {
		config := b.Config
		config.SessionKeys = [][]byte{testsite.NewKey()}
		foreign, err := authagent.New(config)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]string{
			"garbage": "garbage", "empty": "", "64 KB": strings.Repeat("A", 64<<10), "session": session, "truncated": good[:len(good)-2],
			"another key": serve(foreign.LoginHandler(), "/auth/agent/login").Result().Cookies()[0].Value,
		}
		for i := range good {
			flipped := []byte(good)
			if flipped[i] = 'A'; good[i] == 'A' {
				flipped[i] = 'B'
			}
			values["byte "+string(flipped)] = string(flipped)
		}
		for kind, value := range values {
			w := serve(b.RP.CallbackHandler(), "/auth/agent/callback?"+mustParse(t, callback).RawQuery, &http.Cookie{Name: name, Value: value})
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "state_mismatch") {
				t.Errorf("%.40s: status %d %s", kind, w.Code, w.Body)
			}
		}
		// TXN-7, the other way round.
		w := serve(b.RP.RequireAgent(http.NotFoundHandler()), "/me", &http.Cookie{Name: sessionName, Value: good})
		if w.Code != http.StatusUnauthorized {
			t.Errorf("a login's value as a session: status %d", w.Code)
		}
	}
	if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the cookie itself: status %d %s", resp.StatusCode, resp.Text)
	}
}

// TestOtherRelyingParty_TXN_8: TXN-8. Of two servers at one site, with the same keys, a
// response of one never reaches the other's token endpoint.
func TestOtherRelyingParty_TXN_8(t *testing.T) {
	key := testsite.NewKey()
	same := func(b *bench, c *authagent.Config) { c.SessionKeys = [][]byte{key} }
	a, other := newBench(t, same), newBench(t, same)
	c := a.Browser()
	callback := a.Authorize(a.Agent, a.Begin(c, ""))
	beforeA, beforeB := a.BackChannel(), other.BackChannel()
	var cookies []*http.Cookie
	for name, value := range a.loginCookies(c) {
		cookies = append(cookies, &http.Cookie{Name: name, Value: value})
		// The names differ as well; put the value where the other one looks.
		otherName := ""
		oc := other.Browser()
		other.Begin(oc, "")
		for n := range other.loginCookies(oc) {
			otherName = n[:len(n)-8] + name[len(name)-8:]
		}
		if otherName != name { // two of one name would be refused for that
			cookies = append(cookies, &http.Cookie{Name: otherName, Value: value})
		}
	}
	w := serve(other.RP.CallbackHandler(), "/auth/agent/callback?"+mustParse(t, callback).RawQuery, cookies...)
	if w.Code != http.StatusBadRequest || a.BackChannel() != beforeA || other.BackChannel() != beforeB {
		t.Errorf("status %d %s, %d and %d requests", w.Code, w.Body, a.BackChannel()-beforeA, other.BackChannel()-beforeB)
	}
}

// TestCodeInjection_TXN_9: TXN-9. A code that was issued for another challenge buys
// nothing, is tried once, and leaves the next login alone.
func TestCodeInjection_TXN_9(t *testing.T) {
	b := newBench(t)
	stolen := mustParse(t, b.Authorize(b.Agent, b.Begin(b.Browser(), ""))).Query().Get("code")
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	before := b.BackChannel()
	resp := b.Get(c, withQuery(t, callback, map[string]string{"code": stolen}))
	if resp.StatusCode != http.StatusBadRequest || resp.Reason() != problem.Reason("code_refused") {
		t.Errorf("status %d %s", resp.StatusCode, resp.Text)
	}
	if n := b.BackChannel() - before; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	b.MustSignIn(c, b.Agent)
}

// TestLoginCookie_TXN_10_TXN_11: TXN-10, TXN-11. What the browser holds can be neither read
// nor sent elsewhere.
func TestLoginCookie_TXN_10_TXN_11(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	resp := b.Get(c, "/auth/agent/login?return_to=/secret-path")
	if n := len(resp.Cookies()); n != 1 {
		t.Fatalf("%d cookies, want 1", n)
	}
	cookie := resp.Cookies()[0]
	if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode ||
		cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge <= 0 || cookie.MaxAge > 900 {
		t.Errorf("cookie %v", cookie)
	}
	if resp := b.Get(c, b.Authorize(b.Agent, resp.Header.Get("Location"))); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
	}
	secrets := []string{"/secret-path", mustParse(t, resp.Header.Get("Location")).Query().Get("state")}
	verifier := regexp.MustCompile(`"code_verifier":"([^"]+)"`)
	for _, r := range b.AS.Requests(authagenttest.PathToken) {
		if m := verifier.FindSubmatch(r.Body); m != nil {
			secrets = append(secrets, string(m[1]))
		}
	}
	if len(secrets) != 3 {
		t.Fatal("no verifier was sent")
	}
	text := []byte(cookie.Name + "=" + cookie.Value)
	for range 4 {
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("the cookie shows %q", secret)
			}
		}
		text = decodeAll(text)
	}
}

// TestTwoCookies_TXN_12: TXN-12. Of two cookies of one name, one was planted: neither counts.
func TestTwoCookies_TXN_12(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(c, ""))
	for name, good := range b.loginCookies(c) {
		for _, order := range [][2]string{{good, "planted"}, {"planted", good}, {good, good}} {
			w := serve(b.RP.CallbackHandler(), "/auth/agent/callback?"+mustParse(t, callback).RawQuery,
				&http.Cookie{Name: name, Value: order[0]}, &http.Cookie{Name: name, Value: order[1]})
			if w.Code != http.StatusBadRequest {
				t.Errorf("login: status %d", w.Code)
			}
		}
	}
	b.MustSignIn(c, b.Agent)
	for _, cookie := range c.Jar.Cookies(mustParse(t, b.URL)) {
		if strings.Contains(cookie.Name, "-login-") {
			continue
		}
		for _, order := range [][2]string{{cookie.Value, "planted"}, {"planted", cookie.Value}} {
			w := serve(b.RP.RequireAgent(http.NotFoundHandler()), "/me",
				&http.Cookie{Name: cookie.Name, Value: order[0]}, &http.Cookie{Name: cookie.Name, Value: order[1]})
			if w.Code != http.StatusUnauthorized {
				t.Errorf("session: status %d", w.Code)
			}
		}
	}
}

// TestCookieNames_TXN_1_TXN_11: TXN-1, TXN-11. A neighbouring host can set a cookie whose name
// is ours but for white space that browsers do not count as such. Browsers demand
// nothing of that one, so it must not pass for one with the prefix __Host-.
func TestCookieNames_TXN_1_TXN_11(t *testing.T) {
	b := newBench(t)
	attacker := b.Browser()
	callback := b.Authorize(b.Agent, b.Begin(attacker, ""))
	signedIn := b.Browser()
	b.MustSignIn(signedIn, b.AS.AddAgent(authagenttest.Agent{Email: "alice@example.com"}))
	session, sealed := b.sessionCookie(signedIn)
	for name, value := range b.loginCookies(attacker) {
		for _, blank := range []string{"\u2000", "\u00a0", "\u0085", "\u3000", "\u2028", "\ufeff", "\v", "\f"} {
			for _, disguise := range [][2]string{{blank, ""}, {"", blank}, {"x=y; " + blank, ""}} {
				r := httptest.NewRequest(http.MethodGet, callback, nil)
				r.Header.Set("Cookie", disguise[0]+name+disguise[1]+"="+value)
				w := httptest.NewRecorder()
				b.RP.CallbackHandler().ServeHTTP(w, r)
				if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "state_mismatch") {
					t.Errorf("TXN-1 %q: status %d %s", r.Header.Get("Cookie"), w.Code, w.Body)
				}
				r.Header.Set("Cookie", disguise[0]+session+disguise[1]+"="+sealed)
				w = httptest.NewRecorder()
				b.RP.RequireAgent(http.NotFoundHandler()).ServeHTTP(w, r)
				if w.Code != http.StatusUnauthorized {
					t.Errorf("TXN-11 %q: status %d", r.Header.Get("Cookie"), w.Code)
				}
			}
		}
	}
	if resp := b.Get(attacker, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the cookie itself: status %d %s", resp.StatusCode, resp.Text)
	}
}

// TestLoginCookieDropped_TXN_13: TXN-13. Whatever end a login comes to, its cookie goes.
func TestLoginCookieDropped_TXN_13(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]map[string]string{
		"success": {}, "denied": {"code": "", "error": "access_denied"}, "other error": {"code": "", "error": "invalid_scope"},
		"invalid_grant": {"code": "ac_unknown"}, "another issuer": {"iss": "https://evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			b.T = t
			c := b.Browser()
			callback := b.Authorize(b.Agent, b.Begin(c, ""))
			b.Get(c, withQuery(t, callback, change))
			if left := b.loginCookies(c); len(left) != 0 {
				t.Errorf("still there: %v", left)
			}
		})
	}
}

// failingStates fails as often as it is told to, before it records anything or
// after.
type failingStates struct {
	authagent.StateStore
	fails    atomic.Int32
	recorded bool
	panics   bool
}

func (f *failingStates) UseState(ctx context.Context, id string, until time.Time) (bool, error) {
	if f.fails.Add(-1) < 0 {
		return f.StateStore.UseState(ctx, id, until)
	}
	if f.recorded {
		f.StateStore.UseState(ctx, id, until)
	}
	if f.panics {
		panic("connection refused")
	}
	return true, errors.New("connection refused")
}

// TestStateStoreFails is TXN-15: a shared store that fails has used nothing up. The
// agent is told to come again, and gets in when it does, at this instance and at
// another one, once.
func TestStateStoreFails(t *testing.T) {
	for _, test := range []struct {
		name             string
		fails            int32
		recorded, panics bool
		again            string // the instance of the second try
		want             problem.Reason
	}{
		{"TXN-15 once", 1, false, false, "", ""},
		{"TXN-15 a panic", 1, false, true, "", ""},
		{"TXN-15 three times", 3, false, false, "", ""},
		{"TXN-15 once, then at another instance", 1, false, false, "b", ""},
		{"TXN-15 once, and recorded it all the same", 1, true, false, "", problem.Reason("sign_in_under_way")},
	} {
		t.Run(test.name, func(t *testing.T) {
			states := &failingStates{StateStore: &memstore.States{}, recorded: test.recorded, panics: test.panics}
			k := newCluster(t, func(_ *bench, c *authagent.Config) { c.States = states })
			k.Instance("b")
			c := k.Browser()
			callback := k.Authorize(k.Agent, k.Begin(c, ""))
			states.fails.Store(test.fails)
			for range test.fails {
				resp := k.Get(c, callback)
				if resp.Reason() != problem.StoreFailed || !strings.Contains(resp.Text, `"retry":true`) || len(k.loginCookies(c)) != 1 {
					t.Fatalf("TXN-15: status %d %s, cookies %v", resp.StatusCode, resp.Text, k.loginCookies(c))
				}
			}
			resp := k.Get(c, callback, "X-Instance", test.again)
			if resp.Reason() != test.want || (resp.StatusCode == 303) != (test.want == "") {
				t.Errorf("TXN-15: status %d %s", resp.StatusCode, resp.Text)
			}
			if stays := len(k.loginCookies(c)) != 0; stays != (test.want != "") {
				t.Errorf("TXN-15: the login's cookie stays: %v", stays)
			}
			if n := k.grants("authorization_code"); n > 1 {
				t.Errorf("TXN-15: the code was sent %d times", n)
			}
		})
	}
}

// TestStateStoreRaces is TXN-16: of many requests with one state, while the store
// fails for some of them, one sends the code, and all others get in with it or are told to
// come again.
func TestStateStoreRaces(t *testing.T) {
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("TXN-16 shared %v", shared), func(t *testing.T) {
			states := &failingStates{StateStore: &memstore.States{}}
			k := newCluster(t, func(_ *bench, c *authagent.Config) {
				if shared {
					c.States = states
				}
			})
			c := k.Browser()
			callback := k.Authorize(k.Agent, k.Begin(c, ""))
			cookies := k.Cookies(c)
			states.fails.Store(5)
			var wait sync.WaitGroup
			var in atomic.Int32
			for range 20 {
				wait.Go(func() {
					if resp := k.Get(k.Bare(), callback, "Cookie", cookies); resp.StatusCode == 303 {
						in.Add(1)
					}
				})
			}
			wait.Wait()
			if in.Load() < 15 || k.grants("authorization_code") != 1 || len(k.Events.Named(audit.LoginSucceeded)) != 1 {
				t.Errorf("TXN-16: %d got in, the code was sent %d times", in.Load(), k.grants("authorization_code"))
			}
		})
	}
}
