package requirements_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/testsite"
)

// boxOf opens what a relying party of these settings seals.
func boxOf(t testing.TB, c authagent.Config, purpose string, own ...string) *seal.Box {
	t.Helper()
	box, err := seal.NewBox(c.SessionKeys, append([]string{"authagent", purpose, c.Issuer, c.ClientID}, own...)...)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// recode has an instance of another version write the session of c anew: change
// is given the encoded session. It returns what the cookie was and is.
func (k *bench) recode(c *http.Client, change func([]byte) []byte) (name, value string) {
	k.T.Helper()
	box := boxOf(k.T, k.Config, "session")
	name, value = k.sessionCookie(c)
	reseal := func(sealed string) string {
		plain, err := box.Open(sealed, name)
		if err != nil {
			k.T.Fatal(err)
		}
		return box.Seal(change([]byte(plain)), name)
	}
	if k.Config.Session.Store == nil {
		value = reseal(value)
		k.SetCookie(c, name, value)
		return name, value
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: name, Value: value})
	gs, err := k.Config.Session.Store.New(r, name)
	if err != nil {
		k.T.Fatal(err)
	}
	gs.Values["authagent"] = reseal(gs.Values["authagent"].(string))
	w := httptest.NewRecorder()
	if err := k.Config.Session.Store.Save(r, w, gs); err != nil {
		k.T.Fatal(err)
	}
	value = w.Result().Cookies()[0].Value
	k.SetCookie(c, name, value)
	return name, value
}

// TestLaterFields is CMP-1: an instance goes on with a session to which a later
// version has added fields, and gives them back when it writes the session anew.
func TestLaterFields(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		k.recode(c, func(plain []byte) []byte { return append(plain, "\x05later"...) })
		if time.Sleep(2 * time.Minute); k.Me(c) == nil {
			t.Fatal("CMP-1: no session with a later field")
		}
		before := 0
		k.recode(c, func(plain []byte) []byte {
			if !strings.HasSuffix(string(plain), "\x05later") {
				t.Error("CMP-1: the later field is gone after a touch")
			}
			before = len(plain)
			return plain
		})
		if time.Sleep(2 * time.Minute); k.Me(c) == nil {
			t.Fatal("CMP-1: no session after a touch")
		}
		k.recode(c, func(plain []byte) []byte {
			if len(plain) != before {
				t.Errorf("CMP-1: %d bytes have become %d", before, len(plain))
			}
			return plain
		})
	})
}

// TestLaterVersion is CMP-2: a session of a version that an instance cannot read is
// none there, and goes on at the instances that can.
func TestLaterVersion(t *testing.T) {
	eachStore(t, func(t *testing.T, k *bench) {
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		k.recode(c, func(plain []byte) []byte { plain[0]++; return plain })
		time.Sleep(2 * time.Minute)
		if resp := k.Get(c, "/me"); resp.StatusCode != http.StatusUnauthorized || len(resp.Header["Set-Cookie"]) != 0 {
			t.Errorf("CMP-2: %d, and sets %q", resp.StatusCode, resp.Header["Set-Cookie"])
		}
		k.recode(c, func(plain []byte) []byte { plain[0]--; return plain })
		if k.Me(c) == nil {
			t.Error("CMP-2: the session is gone where it can be read")
		}
	})
}

// TestLaterVersionIsNoPerson_SES_22: in a rolling deployment the session of a newer
// version has ended at the older instances. So the agent does not pass there as the
// person in whose browser it works.
func TestLaterVersionIsNoPerson_SES_22(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Human = testsite.Human })
		reached := 0
		h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })
		site := k.Mux("")
		site.Handle("/forbids", k.RP.ForbidAgents(h))
		site.Handle("/attaches", k.RP.Attach(h))
		site.Handle("/human", k.RP.RequireHuman(h))
		c := k.Browser()
		k.MustSignIn(c, k.Agent)
		k.SignInPerson(c, "alice")
		k.recode(c, func(plain []byte) []byte { plain[0]++; return plain })
		for _, path := range []string{"/forbids", "/attaches", "/human"} {
			if resp := k.Do(c, http.MethodPost, path); resp.StatusCode != http.StatusForbidden || reached != 0 {
				t.Errorf("SES-22 %s: %d, reached %d times", path, resp.StatusCode, reached)
			}
		}
	})
}

// TestLaterLogin is CMP-1 and CMP-2 for a login that is under way.
func TestLaterLogin(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]byte) []byte
		want   int
	}{
		"CMP-1 a later field": {func(plain []byte) []byte { return append(plain, "\x05later"...) }, http.StatusSeeOther},
		"CMP-2 another version": {func(plain []byte) []byte {
			r := seal.NewReader(string(plain))
			return append(seal.AppendInt(nil, -r.Int()), r.Rest()...)
		}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCluster(t)
			c := k.Browser()
			callback := k.Authorize(k.Agent, k.Begin(c, ""))
			name, value, _ := strings.Cut(k.Cookies(c), "=")
			box := k.loginBox()
			plain, err := box.Open(value, name)
			if err != nil {
				t.Fatal(err)
			}
			k.SetCookie(c, name, box.Seal(test.change([]byte(plain)), name))
			resp := k.Get(c, callback)
			if resp.StatusCode != test.want {
				t.Errorf("callback: %d %s", resp.StatusCode, resp.Text)
			}
			if test.want != http.StatusSeeOther && len(resp.Header["Set-Cookie"]) != 0 {
				t.Errorf("sets %q", resp.Header["Set-Cookie"])
			}
		})
	}
}

// loginBox opens the logins of the first instance.
func (k *bench) loginBox() *seal.Box {
	return boxOf(k.T, k.Config, "login", k.Config.RedirectURL, k.Config.Scenario.Name())
}

// TestLaterTokens is CMP-1 and CMP-2 for tokens that are kept.
func TestLaterTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		name := s.ID + " " + s.Agent.Issuer + " " + s.Agent.ID
		box := boxOf(t, k.Config, "tokens")
		rewrite := func(change func([]byte) []byte) (was, is []byte) {
			t.Helper()
			was, err := k.store.LoadTokens(t.Context(), s.ID)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := box.Open(string(was), name)
			if err != nil {
				t.Fatal(err)
			}
			is = []byte(box.Seal(change([]byte(plain)), name))
			if err := k.store.SaveTokens(t.Context(), s.ID, was, is, s.ExpiresAt); err != nil {
				t.Fatal(err)
			}
			return was, is
		}
		rewrite(func(plain []byte) []byte { return append(plain, "\x05later"...) })
		k.mustCall(k.RP, s)
		_, is := rewrite(func(plain []byte) []byte { plain[0]++; return plain })
		if _, err := k.call(k.RP, s); err == nil {
			t.Error("CMP-2: tokens of another version are used")
		}
		if have, err := k.store.LoadTokens(t.Context(), s.ID); err != nil || string(have) != string(is) {
			t.Errorf("CMP-2: tokens of another version are touched: %v", err)
		}
		if k.Me(c) == nil {
			t.Error("CMP-2: tokens of another version end the session")
		}
		rewrite(func(plain []byte) []byte { plain[0]--; return plain })
		k.mustCall(k.RP, s)
	})
}
