package jar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent/internal/jar"
	"github.com/authagent-go/authagent/internal/seal"
)

// badCookie is what securecookie says of a cookie that it cannot decode.
type badCookie bool

func (b badCookie) Error() string  { return "the value is not valid" }
func (b badCookie) IsDecode() bool { return bool(b) }

// A store finds always the same.
type store struct {
	found      *sessions.Session
	err, saves error
	asked      int
	saved      []*sessions.Session
}

func (s *store) Get(*http.Request, string) (*sessions.Session, error) { panic("New is asked") }

func (s *store) New(*http.Request, string) (*sessions.Session, error) {
	s.asked++
	return s.found, s.err
}

func (s *store) Save(_ *http.Request, _ http.ResponseWriter, gs *sessions.Session) error {
	s.saved = append(s.saved, gs)
	return s.saves
}

func newBox(t *testing.T) *seal.Box {
	t.Helper()
	box, err := seal.NewBox([][]byte{bytes.Repeat([]byte{1}, 32)}, "session")
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// session is what a store has for a cookie.
func session(s *store, value any, isNew bool) *sessions.Session {
	gs := sessions.NewSession(s, "c")
	gs.IsNew = isNew
	gs.Values["authagent"] = value
	return gs
}

func request(cookies ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, value := range cookies {
		r.AddCookie(&http.Cookie{Name: "c", Value: value})
	}
	return r
}

// TestStored: what a server-side store says of a browser's cookie. What it fails at is no
// answer, and a cookie that it never made is nobody's.
func TestStored(t *testing.T) {
	box := newBox(t)
	down := errors.New("connection refused")
	sealed := box.Seal([]byte("value"), "c")
	for name, test := range map[string]struct {
		value any
		isNew bool
		none  bool // the store has no session at all
		err   error
		want  error // of Get; nil for the value
		ended bool  // by Remove
		fails error // of Remove
	}{
		"there":                {value: sealed, ended: true},
		"new":                  {value: sealed, isNew: true, want: jar.ErrUnreadable},
		"nothing":              {none: true, want: jar.ErrUnreadable},
		"not sealed":           {value: "value", want: jar.ErrUnreadable, ended: true},
		"no text":              {value: 1, want: jar.ErrUnreadable, ended: true},
		"a bad cookie":         {value: sealed, err: badCookie(true), want: jar.ErrUnreadable},
		"no file":              {value: sealed, err: fmt.Errorf("open: %w", fs.ErrNotExist), want: jar.ErrUnreadable},
		"another cookie error": {value: sealed, err: badCookie(false), want: badCookie(false), fails: badCookie(false)},
		"down":                 {value: sealed, err: down, want: down, fails: down},
	} {
		s := &store{err: test.err}
		if !test.none {
			s.found = session(s, test.value, test.isNew)
		}
		j := jar.New(s, box, "c", 60, true)
		got, err := j.Get(request("id"))
		if !errors.Is(err, test.want) || test.want == nil && got.Opened != "value" || test.want != nil && got.Opened != "" {
			t.Errorf("%s: %q, %v", name, got.Opened, err)
		}
		if err := j.Remove(httptest.NewRecorder(), request("id")); !errors.Is(err, test.fails) || (len(s.saved) == 1) != test.ended {
			t.Errorf("%s: %v, saved %v", name, err, s.saved)
		}
		if test.ended && s.saved[0].Options.MaxAge != -1 {
			t.Errorf("%s: saved with %+v", name, s.saved[0].Options)
		}
		put := j.Put(httptest.NewRecorder(), request("id"), []byte("other"))
		if !errors.Is(put, test.fails) {
			t.Errorf("%s: put: %v", name, put)
		}
	}
}

// TestNotEnded: a session that could not be ended is not said to have been, unless it was
// gone already.
func TestNotEnded(t *testing.T) {
	for saves, fails := range map[error]bool{errors.New("disk full"): true, fmt.Errorf("remove: %w", fs.ErrNotExist): false} {
		s := &store{saves: saves}
		s.found = session(s, "x", false)
		w := httptest.NewRecorder()
		err := jar.New(s, newBox(t), "c", 60, true).Remove(w, request("id"))
		if (err != nil) != fails || (len(w.Header()["Set-Cookie"]) == 0) != fails {
			t.Errorf("%v: %v, %v", saves, err, w.Header())
		}
	}
}

// TestPlanted: of two cookies one was planted, and no store is asked about either.
func TestPlanted(t *testing.T) {
	s := &store{}
	s.found = session(s, newBox(t).Seal([]byte("value"), "c"), false)
	j := jar.New(s, newBox(t), "c", 60, true)
	if _, err := j.Get(request("a", "b")); err != jar.ErrUnreadable {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	if err := j.Remove(w, request("a", "b")); err != nil || s.asked != 0 || len(w.Header()["Set-Cookie"]) != 1 {
		t.Errorf("%v, asked %d times, %v", err, s.asked, w.Header())
	}
	w = httptest.NewRecorder()
	if err := j.Remove(w, request()); err != nil || s.asked != 0 || len(w.Header()["Set-Cookie"]) != 0 {
		t.Errorf("without a cookie: %v, asked %d times, %v", err, s.asked, w.Header())
	}
	if _, err := j.Get(request()); err != jar.ErrNone {
		t.Error(err)
	}
}

// TestUnset: a response sets one value, and all other cookies of it stay.
func TestUnset(t *testing.T) {
	j := jar.New(nil, newBox(t), "c", 60, true)
	w := httptest.NewRecorder()
	j.Unset(w)
	if _, ok := w.Header()["Set-Cookie"]; ok {
		t.Error("a header out of nothing")
	}
	for range 2 {
		if err := j.Put(w, request(), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.Header()["Set-Cookie"]); n != 1 {
		t.Errorf("%d cookies", n)
	}
	w.Header().Add("Set-Cookie", "cc=1")
	if j.Unset(w); len(w.Header()["Set-Cookie"]) != 1 || w.Header().Get("Set-Cookie") != "cc=1" {
		t.Errorf("%v", w.Header())
	}
}

// TestTooLong: a cookie that browsers do not keep is not set, and one that no browser
// sends by itself is not read.
func TestTooLong(t *testing.T) {
	j := jar.New(nil, newBox(t), "c", 60, true)
	for size, fits := range map[int]bool{100: true, 3500: false} {
		w := httptest.NewRecorder()
		if err := j.Put(w, request(), make([]byte, size)); (err == nil) != fits || (len(w.Header()["Set-Cookie"]) == 1) != fits {
			t.Errorf("%d bytes: %v, %v", size, err, w.Header())
		}
		if _, err := j.Get(request(newBox(t).Seal(make([]byte, size), "c"))); (err == nil) != fits {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	s := &store{saves: errors.New("disk full")}
	if err := jar.New(s, newBox(t), "c", 60, true).Put(httptest.NewRecorder(), request(), []byte("value")); !errors.Is(err, s.saves) {
		t.Error(err)
	}
}
