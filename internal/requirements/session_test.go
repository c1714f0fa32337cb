package requirements_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
)

func isSessionCookie(name string) bool {
	return strings.HasPrefix(name, "__Host-authagent-") && !strings.Contains(name, "-login-")
}

// sessionCookie returns name and value of the session cookie that c has.
func (b *bench) sessionCookie(c *http.Client) (name, value string) {
	b.T.Helper()
	for _, cookie := range c.Jar.Cookies(mustParse(b.T, b.URL)) {
		if isSessionCookie(cookie.Name) {
			return cookie.Name, cookie.Value
		}
	}
	b.T.Fatal("no session cookie")
	return "", ""
}

// sessionCookies returns the session cookies that a response sets.
func sessionCookies(r *response) (set []*http.Cookie) {
	for _, cookie := range r.Cookies() {
		if isSessionCookie(cookie.Name) {
			set = append(set, cookie)
		}
	}
	return set
}

// eachStore runs f in a bubble of its own for each way to keep sessions.
func eachStore(t *testing.T, f func(t *testing.T, k *bench)) {
	for _, test := range []struct {
		name  string
		store func(t *testing.T) sessions.Store
	}{
		{"default", func(*testing.T) sessions.Store { return nil }},
		{"CookieStore with hash key", func(*testing.T) sessions.Store { return sessions.NewCookieStore(testsite.NewKey()) }},
		{"CookieStore with block key", func(*testing.T) sessions.Store { return sessions.NewCookieStore(testsite.NewKey(), testsite.NewKey()) }},
		{"FilesystemStore", func(t *testing.T) sessions.Store { return sessions.NewFilesystemStore(t.TempDir(), testsite.NewKey()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := test.store(t)
			synctest.Test(t, func(t *testing.T) {
				f(t, newCluster(t, func(_ *bench, c *authagent.Config) {
					c.Session.Store = store
					c.Revocations = &memstore.Revocations{}
				}))
			})
		})
	}
}

// TestSessionCookie_SES_1 is SES-1: the attributes are ours, whatever the store's
// defaults are, and a response sets the cookie once.
func TestSessionCookie_SES_1(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		check := func(step string, resp *response, live bool) {
			t.Helper()
			set := sessionCookies(resp)
			if len(set) != 1 {
				t.Errorf("SES-1 %s: %d session cookies: %q", step, len(set), resp.Header["Set-Cookie"])
				return
			}
			got := set[0]
			if !got.Secure || !got.HttpOnly || got.SameSite != http.SameSiteLaxMode || got.Path != "/" || got.Domain != "" {
				t.Errorf("SES-1 %s: %s", step, got)
			}
			if (got.MaxAge > 0) != live {
				t.Errorf("SES-1 %s: Max-Age %d", step, got.MaxAge)
			}
		}
		c := k.Browser()
		callback := k.Authorize(k.Agent, k.Begin(c, ""))
		check("sign in", k.Get(c, callback, "X-Forwarded-Proto", "http"), true)
		time.Sleep(2 * time.Minute)
		check("touch", k.Get(c, "/me"), true)
		if set := sessionCookies(k.Get(c, "/me")); len(set) != 0 {
			t.Errorf("a session that was just touched is touched again: %v", set)
		}
		saved := k.Cookies(c)
		check("log out", k.Do(c, http.MethodPost, "/auth/agent/logout"), false)
		time.Sleep(2 * time.Minute) // the saved cookie is due for a touch, and revoked
		if set := sessionCookies(k.Get(k.Bare(), "/me", "Cookie", saved)); len(set) != 0 {
			t.Errorf("SES-6: the cookie of a revoked session is touched: %v", set)
		}
	})
}

// TestShortSession_SES_1 is SES-1: a lifetime that is no whole number of seconds does not
// become the Max-Age that deletes.
func TestShortSession_SES_1(t *testing.T) {
	for name, store := range map[string]sessions.Store{"cookie": nil, "FilesystemStore": sessions.NewFilesystemStore(t.TempDir(), testsite.NewKey())} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) {
					c.Session.Store, c.Session.Lifetime = store, 900*time.Millisecond
				})
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				if time.Sleep(900 * time.Millisecond); k.Me(c) != nil {
					t.Error("the session outlives its lifetime")
				}
			})
		})
	}
}

// TestSessionCookieInsideAttach_SES_1 is SES-1 for a site that puts Attach around
// everything, the package's own handlers included.
func TestSessionCookieInsideAttach_SES_1(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		inner := k.Mux("")
		outer := http.NewServeMux()
		outer.Handle("/", k.RP.Attach(inner))
		k.SetMux("", outer)
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		callback := k.Authorize(k.Agent, k.Begin(c, ""))
		time.Sleep(2 * time.Minute) // the session that it replaces is due for a touch
		if set := sessionCookies(k.Get(c, callback)); len(set) != 1 || set[0].MaxAge <= 0 {
			t.Errorf("SES-1 second sign-in sets %v", set)
		}
		if k.Me(c) == nil {
			t.Error("not signed in after the second sign-in")
		}
		time.Sleep(2 * time.Minute)
		if set := sessionCookies(k.Do(c, http.MethodPost, "/auth/agent/logout")); len(set) != 1 || set[0].MaxAge >= 0 {
			t.Errorf("SES-1 logout sets %v", set)
		}
		if k.Me(c) != nil {
			t.Error("still signed in")
		}
	})
}

// TestSessionIsNew is SES-2: no cookie from before a sign-in is signed in by it.
func TestSessionIsNew(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		first := k.Browser()
		k.MustSignIn(first, k.Agent)
		name, ended := k.sessionCookie(first)
		k.Do(first, http.MethodPost, "/auth/agent/logout")
		planted := map[string]string{"SES-2 client-chosen": "AAAAAAAAAAAAAAAA", "SES-2 of an ended session": ended}
		if store := k.Config.Session.Store; store != nil {
			// A session of the store that nobody is signed in to.
			w := httptest.NewRecorder()
			empty := sessions.NewSession(store, name)
			empty.Options = &sessions.Options{Path: "/", MaxAge: 3600}
			if err := store.Save(httptest.NewRequest("GET", "/", nil), w, empty); err != nil {
				t.Fatal(err)
			}
			planted["SES-2 of the store"] = w.Result().Cookies()[0].Value
		}
		for test, value := range planted {
			time.Sleep(2 * time.Second)
			c := k.Browser()
			c.Jar.SetCookies(mustParse(t, k.URL), []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
			k.MustSignIn(c, k.Agent)
			if _, got := k.sessionCookie(c); got == value {
				t.Errorf("%s: the cookie was adopted", test)
			}
			if resp := k.Get(k.Bare(), "/me", "Cookie", name+"="+value); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: the planted cookie gets %d", test, resp.StatusCode)
			}
		}
	})
}

// TestSignInEndsFormerSession is SES-2 for a browser that is signed in already:
// a copy of its cookie is of no use once another agent has signed in there.
func TestSignInEndsFormerSession(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		k.Users.Add("bob@example.com", "Bob")
		bob := k.AS.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		former := k.Cookies(c)
		if s := k.MustSignIn(c, bob); s.Agent.ID != "agent_bob" {
			t.Errorf("session %+v", s)
		}
		if resp := k.Get(k.Bare(), "/me", "Cookie", former); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-2: the former session's cookie gets %d", resp.StatusCode)
		}
	})
}

// TestLogoutEndsCopies is SES-3.
func TestLogoutEndsCopies(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		k.Instance("2")
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		saved := k.Cookies(c)
		other := k.Browser()
		time.Sleep(2 * time.Second)
		k.MustSignIn(other, k.Agent)
		if resp := k.Do(c, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("logout: %d", resp.StatusCode)
		}
		for _, instance := range []string{"", "2"} {
			if resp := k.Get(k.Bare(), "/me", "Cookie", saved, "X-Instance", instance); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("SES-3 instance %q: the saved cookie gets %d after logout", instance, resp.StatusCode)
			}
			if resp := k.Get(other, "/me", "X-Instance", instance); resp.StatusCode != http.StatusOK {
				t.Errorf("SES-3 instance %q: another session of the agent gets %d", instance, resp.StatusCode)
			}
		}
	})
}

// TestIdleLimit is SES-4: 30 minutes by default, counted by the server.
func TestIdleLimit(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		for range 2 {
			time.Sleep(25 * time.Minute)
			if k.Me(c) == nil {
				t.Fatal("SES-4: a session in use has ended")
			}
		}
		saved := k.Cookies(c)
		time.Sleep(31 * time.Minute)
		if resp := k.Get(k.Bare(), "/me", "Cookie", saved); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-4: status %d after 31 minutes without a request", resp.StatusCode)
		}
	})
}

// TestIdleLimitIsKept is SES-4 for other settings: a session may end up to a
// tenth early and never late.
func TestIdleLimitIsKept(t *testing.T) {
	for _, idle := range []time.Duration{10 * time.Second, 5 * time.Minute, 24 * time.Hour} {
		t.Run("SES-4 "+idle.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Idle, c.Session.Lifetime = idle, 100*time.Hour })
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				for range 3 {
					time.Sleep(idle * 9 / 10)
					if k.Me(c) == nil {
						t.Fatal("ended early")
					}
				}
				time.Sleep(idle + time.Millisecond)
				if k.Me(c) != nil {
					t.Error("ended late")
				}
			})
		})
	}
}

// TestAbsoluteLimit is SES-5: 12 hours by default, however busy the session is.
func TestAbsoluteLimit(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		start := time.Now()
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		if d := s.ExpiresAt.Sub(start); d <= 0 || d > 12*time.Hour {
			t.Errorf("SES-5: lifetime %v", d)
		}
		var saved string
		for at := 20 * time.Minute; at < 12*time.Hour; at += 20 * time.Minute {
			time.Sleep(time.Until(start.Add(at)))
			if k.Me(c) == nil {
				t.Fatalf("SES-5: ended after %v", at)
			}
			saved = k.Cookies(c)
		}
		time.Sleep(time.Until(s.ExpiresAt.Add(-time.Second)))
		if resp := k.Get(k.Bare(), "/me", "Cookie", saved); resp.StatusCode != http.StatusOK {
			t.Errorf("SES-5: status %d a second before the limit", resp.StatusCode)
		}
		time.Sleep(2 * time.Second)
		if resp := k.Get(k.Bare(), "/me", "Cookie", saved); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-5: status %d a second after the limit", resp.StatusCode)
		}
	})
}

// TestBadSessionCookie is SES-6: nobody is signed in by it, it stays as that of a
// session that has ended, and a sign-in works all the same.
func TestBadSessionCookie(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		name, value := k.sessionCookie(c)
		alien := newCluster(t, func(_ *bench, c *authagent.Config) {
			c.ClientSecret = "another"
			if _, cookies := k.Config.Session.Store.(*sessions.CookieStore); cookies {
				c.Session.Store = sessions.NewCookieStore(testsite.NewKey())
			}
		})
		alien.Config.ClientSecret = alien.AS.AddClient(authagenttest.Client{
			ID: "again", RedirectURIs: []string{k.URL + "/auth/agent/callback"},
		}).Secret
		for _, test := range []struct{ name, cookie string }{
			{"SES-6 empty", name + "="},
			{"SES-6 garbage", name + "=!!!"},
			{"SES-6 quoted", name + `="` + value + `"`},
			{"SES-6 cut", name + "=" + value[:len(value)/2]},
			{"SES-6 extended", name + "=" + value + "AAAA"},
			{"SES-6 first byte", name + "=" + flip(value, 0)},
			{"SES-6 middle byte", name + "=" + flip(value, len(value)/2)},
			{"SES-6 late byte", name + "=" + flip(value, len(value)-8)},
			{"SES-6 oversized", name + "=" + strings.Repeat("A", 200_000)},
			{"SES-6 twice", name + "=" + value + "; " + name + "=AAAA"},
			{"SES-6 twice the same", name + "=" + value + "; " + name + "=" + value},
			{"SES-6 a login's", name + "=" + alienLogin(k)},
			{"SES-6 JSON", name + `={"user_id":"user_1"}`},
		} {
			resp := k.Get(k.Bare(), "/me", "Cookie", test.cookie)
			if test.name == "SES-6 quoted" && resp.StatusCode == http.StatusOK {
				continue // net/http strips the quotes: the value is the same
			}
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: status %d", test.name, resp.StatusCode)
			}
			if set := sessionCookies(resp); len(set) != 0 {
				t.Errorf("%s: it is set or taken away: %v", test.name, set)
			}
			time.Sleep(2 * time.Second)
			victim := k.Browser()
			if _, v, _ := strings.Cut(test.cookie, "="); !strings.ContainsAny(v, `;"! `) {
				victim.Jar.SetCookies(mustParse(t, k.URL), []*http.Cookie{{Name: name, Value: v, Path: "/", Secure: true}})
			}
			if resp := k.SignIn(victim, k.Agent); resp.StatusCode != http.StatusSeeOther || k.Me(victim) == nil {
				t.Errorf("%s: sign-in gets %d %s", test.name, resp.StatusCode, resp.Text)
			}
		}
		if k.Me(c) == nil {
			t.Error("SES-6: the good cookie has stopped working")
		}
	})
}

// flip changes the character at i into another of the same alphabet.
func flip(s string, i int) string {
	b := []byte(s)
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// alienLogin returns the value of a login cookie, sealed by the same site for
// another purpose.
func alienLogin(k *bench) string {
	for _, cookie := range k.Get(k.Browser(), "/auth/agent/login").Cookies() {
		if strings.Contains(cookie.Name, "-login-") {
			return cookie.Value
		}
	}
	k.T.Fatal("no login cookie")
	return ""
}

// TestForeignSession is SES-6 between relying parties: the sessions of one are
// nothing to another, even with the same keys.
func TestForeignSession(t *testing.T) {
	keys := [][]byte{testsite.NewKey()}
	one := newCluster(t, func(_ *bench, c *authagent.Config) { c.SessionKeys = keys })
	two := newCluster(t, func(b *bench, c *authagent.Config) {
		client := b.AS.AddClient(authagenttest.Client{ID: "site2", RedirectURIs: []string{c.RedirectURL}})
		c.SessionKeys, c.ClientID, c.ClientSecret = keys, client.ID, client.Secret
	})
	c1, c2 := one.Browser(), two.Browser()
	one.MustSignIn(c1, one.Agent)
	two.MustSignIn(c2, two.Agent)
	name1, value1 := one.sessionCookie(c1)
	name2, _ := two.sessionCookie(c2)
	if name1 == name2 {
		t.Errorf("SES-6: both are called %s", name1)
	}
	for _, name := range []string{name1, name2} {
		if resp := two.Get(two.Bare(), "/me", "Cookie", name+"="+value1); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-6: another site's session as %s gets %d", name, resp.StatusCode)
		}
	}
}

// TestKeyRotation is SES-7: [k1], [k2, k1], [k2], with one browser, and with a
// login that spans each change.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k1, k2 := testsite.NewKey(), testsite.NewKey()
		k := newCluster(t, func(_ *bench, c *authagent.Config) { c.SessionKeys = [][]byte{k1} })
		keys := func(keys ...[]byte) {
			k.Instance("", func(c *authagent.Config) { c.SessionKeys = keys })
		}
		c, spanning, late := k.Browser(), k.Browser(), k.Browser()
		k.MustSignIn(c, k.Agent)
		callback := k.Authorize(k.Agent, k.Begin(spanning, ""))
		old := k.Cookies(c)

		keys(k2, k1)
		if k.Me(c) == nil {
			t.Error("SES-7: the new key logs out")
		}
		if resp := k.Get(spanning, callback); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("SES-7: a login that spans the change gets %d %s", resp.StatusCode, resp.Text)
		}
		time.Sleep(2 * time.Minute)
		if k.Me(c) == nil || k.Cookies(c) == old {
			t.Error("SES-7: the session does not move to the new key")
		}
		callback = k.Authorize(k.Agent, k.Begin(late, ""))

		keys(k2)
		if k.Me(c) == nil {
			t.Error("SES-7: a session that was moved is lost")
		}
		if resp := k.Get(late, callback); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("SES-7: a login that spans the removal gets %d %s", resp.StatusCode, resp.Text)
		}
		if resp := k.Get(k.Bare(), "/me", "Cookie", old); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-7: a session of the removed key gets %d", resp.StatusCode)
		}
	})
}

// TestNoTokenInCookies is SES-8, with and without a store for the tokens.
func TestNoTokenInCookies(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("SES-8 keep=%v", keep), func(t *testing.T) {
			eachStore(t, func(t *testing.T, k *bench) {
				if keep {
					k.Instance("", func(c *authagent.Config) { c.Tokens.Store = &memstore.Tokens{} })
				}
				issued := k.watchTokens()
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				if len(*issued) == 0 {
					t.Fatal("no token was issued")
				}
				found := []byte(k.Cookies(c))
				for range 4 {
					for _, token := range *issued {
						if bytes.Contains(found, []byte(token)) {
							t.Errorf("SES-8: token in a cookie: %q", found)
						}
					}
					found = decodeAll(found)
				}
			})
		})
	}
}

// watchTokens collects the tokens that the server issues from now on.
func (b *bench) watchTokens() *[]string {
	issued := &[]string{}
	b.AS.Wrap(authagenttest.PathToken, authagenttest.Rewrite(func(body map[string]any) {
		for _, member := range body {
			if text, ok := member.(string); ok && len(text) > 30 {
				*issued = append(*issued, text)
			}
		}
	}))
	return issued
}

// decodeAll decodes whatever in text looks like base64, in place.
func decodeAll(text []byte) []byte {
	var out []byte
	for _, word := range bytes.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("=;, |\"{}:.~", r) }) {
		for _, encoding := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
			if decoded, err := encoding.DecodeString(string(word)); err == nil {
				out = append(append(out, decoded...), ' ')
			}
		}
	}
	return out
}

// TestLargeClaims_SES_9 is SES-9.
func TestLargeClaims_SES_9(t *testing.T) {
	email := strings.Repeat("a", 60) + "@" + strings.Repeat(strings.Repeat("d", 62)+".", 3) + "exam"
	if len(email) != 254 {
		email += strings.Repeat("x", 254-len(email))
	}
	eachStore(t, func(t *testing.T, k *bench) {
		// With the model in it, an access token that speaks for itself would be longer than NET-8 has it.
		k.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.OpaqueTokens = true })
		k.Users.Add(email, "")
		for name, scenario := range map[string]authagent.Scenario{
			"FullAccount":       authagent.FullAccount(k.Users, authagent.InsecureTrustEmail),
			"ContextualProfile": authagent.ContextualProfile(k.Users, k.Profiles, authagent.InsecureTrustEmail),
			"FreshProfile":      authagent.FreshProfile(k.Profiles),
		} {
			k.Instance("", func(c *authagent.Config) { c.Scenario = scenario })
			agent := k.AS.AddAgent(authagenttest.Agent{
				ID: name + strings.Repeat("i", 255-len(name)), Email: email,
				Name: strings.Repeat("n", 8<<10), Model: strings.Repeat("m", 8<<10),
			})
			c := k.Browser()
			for _, line := range k.SignIn(c, agent).Header["Set-Cookie"] {
				if len(line) > 4096 {
					t.Errorf("SES-9 %s: a Set-Cookie of %d bytes", name, len(line))
				}
			}
			if s := k.Me(c); s == nil || s.Agent.ID != agent.ID {
				t.Errorf("SES-9 %s: session %+v\n%s", name, s, k.Log)
			}
		}
	})
}

// TestHumanSessionUntouched_SES_10 is SES-10.
func TestHumanSessionUntouched_SES_10(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		c := k.Browser()
		human := &http.Cookie{Name: "session", Value: "human-0123456789", Path: "/", Secure: true}
		c.Jar.SetCookies(mustParse(t, k.URL), []*http.Cookie{human})
		untouched := func(step string, resp *response) {
			t.Helper()
			for _, line := range resp.Header["Set-Cookie"] {
				if !strings.HasPrefix(line, "__Host-authagent-") {
					t.Errorf("SES-10 %s sets %s", step, line)
				}
			}
			if !strings.Contains(k.Cookies(c), "session=human-0123456789") {
				t.Errorf("SES-10 %s: the human's cookie is gone", step)
			}
		}
		begun := k.Get(c, "/auth/agent/login")
		untouched("login", begun)
		untouched("callback", k.Get(c, k.Authorize(k.Agent, begun.Header.Get("Location"))))
		if s := k.Me(c); s == nil || s.Agent.ID != "agent_alice" || s.UserID != k.AliceID {
			t.Errorf("SES-10: session %+v", s)
		}
		untouched("logout", k.Do(c, http.MethodPost, "/auth/agent/logout"))
		if resp := k.Get(c, "/me"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-10: the human's cookie passes for an agent: %d", resp.StatusCode)
		}
	})
}

// TestEndSessions is SES-11, at the instance that is told and at another one.
func TestEndSessions(t *testing.T) {
	type ended struct{ alice1, alice2, bob bool }
	for _, test := range []struct {
		name string
		end  func(k *bench, first *authagent.Session) error
		want ended
	}{
		{"SES-11 EndSession", func(k *bench, s *authagent.Session) error { return k.RP.EndSession(context.Background(), s.ID) }, ended{true, false, false}},
		{"SES-11 EndAgentSessions", func(k *bench, s *authagent.Session) error {
			return k.RP.EndAgentSessions(context.Background(), s.Agent)
		}, ended{true, true, false}},
		{"SES-11 EndAgentSessions of a namesake", func(k *bench, s *authagent.Session) error {
			return k.RP.EndAgentSessions(context.Background(), authagent.Agent{Issuer: "https://as2.example", ID: s.Agent.ID})
		}, ended{}},
		{"SES-11 EndUserSessions", func(k *bench, s *authagent.Session) error {
			return k.RP.EndUserSessions(context.Background(), s.UserID)
		}, ended{true, true, false}},
		{"SES-11 EndAllSessions", func(k *bench, _ *authagent.Session) error { return k.RP.EndAllSessions(context.Background()) }, ended{true, true, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, k *bench) {
				k.Instance("2")
				k.Users.Add("bob@example.com", "Bob")
				bob := k.AS.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
				a1, a2, b1 := k.Browser(), k.Browser(), k.Browser()
				first := k.MustSignIn(a1, k.Agent)
				time.Sleep(2 * time.Second)
				k.MustSignIn(a2, k.Agent)
				k.MustSignIn(b1, bob)
				if err := test.end(k, first); err != nil {
					t.Fatal(err)
				}
				for _, instance := range []string{"2", ""} {
					gone := func(c *http.Client) bool {
						return k.Get(k.Bare(), "/me", "Cookie", k.Cookies(c), "X-Instance", instance).StatusCode == http.StatusUnauthorized
					}
					if got := (ended{gone(a1), gone(a2), gone(b1)}); got != test.want {
						t.Errorf("instance %q: ended %+v, want %+v", instance, got, test.want)
					}
				}
				time.Sleep(2 * time.Second)
				if k.MustSignIn(k.Browser(), k.Agent) == nil {
					t.Error("a sign-in afterwards does not work")
				}
			})
		})
	}
}
