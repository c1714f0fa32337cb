package storetest

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/sessions"
)

// SessionStore checks a gorilla/sessions Store that keeps sessions on the server, for
// Config.Session.Store. CookieStore is no such store: a copied cookie goes on working
// there after the session has ended.
func SessionStore(t *testing.T, open func() sessions.Store) {
	t.Run("SES-2 a new session", func(t *testing.T) { newSession(t, open()) })
	t.Run("loaded", func(t *testing.T) { loaded(t, open()) })
	t.Run("saved again", func(t *testing.T) { savedAgain(t, open()) })
	t.Run("SES-3 ended", func(t *testing.T) { endedSession(t, open()) })
	t.Run("SES-3 a late save does not bring it back", func(t *testing.T) { lateSave(t, open()) })
	t.Run("SES-2 SES-6 a cookie that names no session", func(t *testing.T) { unknownCookie(t, open()) })
	t.Run("other values are refused or kept", func(t *testing.T) { otherValues(t, open()) })
	t.Run("many at once", func(t *testing.T) { manyAtOnce(t, open()) })
}

func newSession(t *testing.T, s sessions.Store) {
	gs, err := s.New(request(""), cookieName)
	if err != nil || !gs.IsNew || len(gs.Values) != 0 {
		t.Fatalf("New without a cookie: %+v, %v", gs, err)
	}
	one, other := start(t, s, "x"), start(t, s, "x")
	if one == other || len(one) < 16 || strings.Contains(one, "sealed value") {
		t.Errorf("cookies %q and %q", one, other)
	}
}

func loaded(t *testing.T, s sessions.Store) {
	for _, value := range []string{"sealed value", "", "\u00e9\U0001F916 '\"\\%", strings.Repeat("x", 8<<10)} {
		gs := load(t, s, start(t, s, value))
		if gs.IsNew || gs.Values[valueKey] != value || gs.Name() != cookieName {
			t.Errorf("loaded %v, want %.20q", gs.Values, value)
		}
	}
}

func savedAgain(t *testing.T, s sessions.Store) {
	cookie := start(t, s, "first")
	gs := load(t, s, cookie)
	gs.Values[valueKey] = "second"
	if again := save(t, s, gs, 3600); again != cookie {
		t.Errorf("the cookie changed from %q to %q", cookie, again)
	}
	if got := load(t, s, cookie).Values[valueKey]; got != "second" {
		t.Errorf("loaded %q", got)
	}
}

func endedSession(t *testing.T, s sessions.Store) {
	cookie, other := start(t, s, "x"), start(t, s, "y")
	end(t, s, cookie)
	absent(t, s, cookie)
	if load(t, s, other).IsNew {
		t.Error("another session ended too")
	}
}

func lateSave(t *testing.T, s sessions.Store) {
	cookie := start(t, s, "x")
	late := load(t, s, cookie)
	end(t, s, cookie)
	late.Options = &sessions.Options{MaxAge: 3600}
	_ = s.Save(request(cookie), httptest.NewRecorder(), late)
	absent(t, s, cookie)
}

func unknownCookie(t *testing.T, s sessions.Store) {
	known := start(t, s, "x")
	otherCase := strings.ToLower(known)
	if otherCase == known {
		otherCase = strings.ToUpper(known)
	}
	for _, cookie := range []string{rand.Text(), "x", otherCase, known + "x", known[1:], strings.Repeat("x", 4000), "'--", "%00", "../x"} {
		absent(t, s, cookie)
	}
	planted := rand.Text()
	gs, err := s.New(request(planted), cookieName)
	if err != nil && !badCookie(err) {
		t.Fatal(err)
	}
	gs.Values[valueKey] = "x"
	if got := save(t, s, gs, 3600); got == planted {
		t.Error("the store took the ID that the client brought along")
	}
}

func otherValues(t *testing.T, s sessions.Store) {
	gs := sessions.NewSession(s, cookieName)
	gs.IsNew, gs.Options = true, &sessions.Options{MaxAge: 3600}
	gs.Values["n"] = 42
	w := httptest.NewRecorder()
	if err := s.Save(request(""), w, gs); err != nil {
		return
	}
	if got := load(t, s, w.Result().Cookies()[0].Value).Values["n"]; got != 42 {
		t.Errorf("saved 42, loaded %v", got)
	}
}

func manyAtOnce(t *testing.T, s sessions.Store) {
	seen := make(map[string]bool)
	for _, cookie := range together(func(int) string { return start(t, s, "x") }) {
		if seen[cookie] {
			t.Fatalf("cookie %q twice", cookie)
		}
		seen[cookie] = true
		if load(t, s, cookie).IsNew {
			t.Errorf("session %q is lost", cookie)
		}
	}
}

const (
	cookieName = "__Host-storetest"
	valueKey   = "authagent"
)

func request(cookie string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://site.example/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookieName+"="+cookie)
	}
	return r
}

// start starts a session with a value and returns the cookie's.
func start(t *testing.T, s sessions.Store, value string) string {
	t.Helper()
	gs := sessions.NewSession(s, cookieName)
	gs.IsNew = true
	gs.Values[valueKey] = value
	return save(t, s, gs, 3600)
}

func save(t *testing.T, s sessions.Store, gs *sessions.Session, maxAge int) string {
	t.Helper()
	gs.Options = &sessions.Options{Path: "/", MaxAge: maxAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	w := httptest.NewRecorder()
	if err := s.Save(request(""), w, gs); err != nil {
		t.Errorf("Save: %v", err)
		return ""
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || cookies[0].Name != cookieName || cookies[0].MaxAge != maxAge || !cookies[0].Secure || !cookies[0].HttpOnly {
		t.Errorf("Save set cookies %v", cookies)
		return ""
	}
	return cookies[0].Value
}

func load(t *testing.T, s sessions.Store, cookie string) *sessions.Session {
	t.Helper()
	gs, err := s.New(request(cookie), cookieName)
	if err != nil {
		t.Errorf("New: %v", err)
	}
	return gs
}

func end(t *testing.T, s sessions.Store, cookie string) {
	t.Helper()
	save(t, s, load(t, s, cookie), -1)
}

// absent checks that a cookie names no session.
func absent(t *testing.T, s sessions.Store, cookie string) {
	t.Helper()
	gs, err := s.New(request(cookie), cookieName)
	switch {
	case err != nil && !badCookie(err):
		t.Errorf("New with cookie %.40q: %v; authagent takes that for a failure of the store", cookie, err)
	case err == nil && !gs.IsNew:
		t.Errorf("cookie %.40q names a session", cookie)
	}
}

// badCookie reports what authagent, too, takes for a cookie that is no good.
func badCookie(err error) bool {
	var decode interface{ IsDecode() bool }
	return errors.As(err, &decode) && decode.IsDecode() || errors.Is(err, fs.ErrNotExist)
}
