// Package jar keeps sealed values for each browser: one in a cookie or in a
// gorilla/sessions store, or several in cookies. What is kept is one sealed value either way, so that it does
// not matter whether a store encrypts, and the limits are inside of it, where no cookie
// attribute can stretch them.
package jar

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/seal"
)

var (
	// ErrNone says that the browser has no cookie.
	ErrNone = errors.New("no cookie")

	// ErrUnreadable says that it has one, from which no value can be read.
	ErrUnreadable = errors.New("the cookie has no value that opens")
)

// A Jar keeps the values. Make one with New.
type Jar struct {
	// store holds the sealed value, and what the cookie holds is the store's
	// business. Without a store the cookie holds the value itself: a CookieStore
	// would do the same, but puts the value into a map and the map into a session
	// on each request, which takes longer than to open the value.
	store sessions.Store

	box        *seal.Box
	cookie     string // its name
	attributes string // of the cookie without a store
	deletion   string // the Set-Cookie line that has clients forget it
	secure     bool
	maxAge     int
}

// New returns a jar whose cookie has this name and lives for maxAge seconds. Its
// values are in store, or, where that is nil, in the cookie.
func New(store sessions.Store, box *seal.Box, cookie string, maxAge int, secure bool) *Jar {
	return &Jar{
		store: store, box: box, cookie: cookie, maxAge: maxAge, secure: secure,
		attributes: browser.Attributes(maxAge, secure), deletion: cookie + "=" + browser.Attributes(0, secure),
	}
}

// valueKey is the key of the sealed value in a gorilla session. Strings need no
// gob.Register.
const valueKey = "authagent"

// maxCookie is the longest cookie that browsers keep (RFC 6265 section 6.1).
// Stores give an error for a longer one that looks like a failure of their own.
const maxCookie = 4096

// A Value is what Get has found.
type Value struct {
	Opened string
	around *sessions.Session // the store's, if there is a store
}

// Get returns the browser's value, ErrNone or ErrUnreadable. Any other error is the
// store's.
func (j *Jar) Get(r *http.Request) (Value, error) {
	cookie, n := browser.Cookie(r, j.cookie)
	switch {
	case n == 0:
		return Value{}, ErrNone
	case n > 1, len(cookie) > maxCookie: // of several, one was planted, and there is no telling which
		return Value{}, ErrUnreadable
	}
	gs, sealed, err := j.read(r, cookie)
	if err != nil {
		return Value{}, err
	}
	opened, err := j.box.Open(sealed, j.cookie)
	if err != nil {
		return Value{}, ErrUnreadable
	}
	return Value{opened, gs}, nil
}

// read returns the sealed value that belongs to a cookie, which is empty if the
// store has none, and the store's session around it if it needs one.
func (j *Jar) read(r *http.Request, cookie string) (gs *sessions.Session, sealed string, err error) {
	if j.store == nil {
		return nil, cookie, nil
	}
	gs, err = j.store.New(r, j.cookie)
	if err != nil && !isBadCookie(err) {
		return nil, "", fmt.Errorf("load session: %w", err)
	}
	if err == nil && gs != nil && !gs.IsNew {
		sealed, _ = gs.Values[valueKey].(string)
	}
	return gs, sealed, nil
}

// Replace makes value the one of a browser whose Value is known.
func (j *Jar) Replace(w http.ResponseWriter, r *http.Request, known Value, value []byte) error {
	return j.put(w, r, known.around, value)
}

// Put makes value the one of a browser, whatever it had.
func (j *Jar) Put(w http.ResponseWriter, r *http.Request, value []byte) error {
	if err := j.discard(r); err != nil {
		return err
	}
	return j.put(w, r, nil, value)
}

// put keeps value in the cookie, or with a store in gs, or in a new gorilla session if
// that is nil. A new one has no ID, so a server-side store gives it one that no
// client has seen: whoever planted an old cookie gains nothing.
func (j *Jar) put(w http.ResponseWriter, r *http.Request, gs *sessions.Session, value []byte) error {
	j.Unset(w)
	if j.store == nil {
		line := j.box.SealCookie(value, j.cookie, j.attributes)
		if len(line) > maxCookie {
			return errors.New("save session: it is too large for a cookie")
		}
		browser.AddCookie(w, line)
		return nil
	}
	if gs == nil {
		gs = sessions.NewSession(j.store, j.cookie)
		gs.IsNew = true
	}
	gs.Options = j.options(j.maxAge)
	gs.Values[valueKey] = j.box.Seal(value, j.cookie)
	if err := j.store.Save(r, w, gs); err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

func (j *Jar) options(maxAge int) *sessions.Options {
	return &sessions.Options{Path: "/", MaxAge: maxAge, Secure: j.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// Unset takes back what this response sets the cookie to so far. It is to be set
// once in a response (RFC 6265 section 4.1.1).
func (j *Jar) Unset(w http.ResponseWriter) {
	h := w.Header()
	if len(h["Set-Cookie"]) == 0 {
		return
	}
	if kept := slices.DeleteFunc(h["Set-Cookie"], func(line string) bool { return strings.HasPrefix(line, j.cookie+"=") }); len(kept) > 0 {
		h["Set-Cookie"] = kept
		return
	}
	h.Del("Set-Cookie")
}

// Remove has a browser and the store forget the value.
func (j *Jar) Remove(w http.ResponseWriter, r *http.Request) error {
	if err := j.discard(r); err != nil {
		return err
	}
	if _, n := browser.Cookie(r, j.cookie); n > 0 {
		j.Unset(w)
		browser.AddCookie(w, j.deletion)
	}
	return nil
}

// discard removes what a server-side store holds for the client's cookie.
func (j *Jar) discard(r *http.Request) error {
	if j.store == nil { // nothing is held
		return nil
	}
	if value, n := browser.Cookie(r, j.cookie); n != 1 || len(value) > maxCookie {
		return nil
	}
	old, err := j.store.New(r, j.cookie)
	if err != nil && !isBadCookie(err) {
		return fmt.Errorf("end session: %w", err)
	}
	if err != nil || old == nil || old.IsNew {
		return nil
	}
	old.Options = j.options(-1)
	// The store sets an expired cookie too; the caller sets the one that counts.
	if err := j.store.Save(r, browser.Nowhere{}, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// isBadCookie tells a cookie that no store will ever take, which means that
// nobody is signed in, from a store that fails. Gorilla's stores give both as an
// error; securecookie marks the first, and a file store lacks the file.
func isBadCookie(err error) bool {
	var decode interface{ IsDecode() bool }
	return errors.As(err, &decode) && decode.IsDecode() || errors.Is(err, fs.ErrNotExist)
}
