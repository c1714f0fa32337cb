package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/sessions"
)

// Sessions is a [sessions.Store] that keeps sessions on the server, for
// Config.Session.Store. The client has a random ID of 130 bits, and the database has
// the SHA-256 of the ID. So a reader of the database cannot enter a session.
//
// It keeps only values whose key and value are strings, as those of authagent are. It
// refuses to save others. A session whose Options say MaxAge 0 lasts as long as the
// browser does, and a day at most.
type Sessions struct{ s *Store }

// Sessions returns the store of sessions.
func (s *Store) Sessions() *Sessions { return &Sessions{s} }

// browserSession is how long a session is kept whose cookie has no MaxAge.
const browserSession = 24 * time.Hour

const (
	insertSession = `INSERT INTO authagent_sessions (session_key, data, expires_at, marks, grant_id) VALUES (?, ?, ?, ?, ?)`
	selectSession = `SELECT data FROM authagent_sessions WHERE session_key = ? AND expires_at > ?`
	updateSession = `UPDATE authagent_sessions SET data = ?, expires_at = ? WHERE session_key = ?`
	deleteSession = `DELETE FROM authagent_sessions WHERE session_key = ?`
)

// Get returns the request's session of this name. Every call for one request returns
// the same session.
func (m *Sessions) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(m, name)
}

// New returns the session that the request's cookie names. Without a cookie, or
// with one that names no session, it returns a new one, which gets its ID when it
// is saved: an ID that comes from a client is never used. After an error it is not known
// whether there is a session.
func (m *Sessions) New(r *http.Request, name string) (*sessions.Session, error) {
	gs := sessions.NewSession(m, name)
	gs.IsNew = true
	gs.Options = &sessions.Options{
		Path: "/", MaxAge: int(browserSession / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	cookie, err := r.Cookie(name)
	if err != nil || cookie.Value == "" {
		return gs, nil
	}
	data, found, err := m.load(r.Context(), key(cookie.Value))
	if err != nil || !found {
		return gs, err
	}
	var values map[string]string
	if err := json.Unmarshal(data, &values); err != nil {
		return gs, fmt.Errorf("sqlstore: load session: %w", err)
	}
	for k, v := range values {
		gs.Values[k] = v
	}
	gs.ID, gs.IsNew = cookie.Value, false
	return gs, nil
}

// load returns what is kept of a session, and reads what its row expects together with it.
func (m *Sessions) load(ctx context.Context, key []byte) (data []byte, found bool, err error) {
	if x := m.s.expected(ctx); x != nil {
		if data, found, ok, err := x.session(ctx, key); ok {
			return data, found, err
		}
	}
	found, err = m.s.row(ctx, "load session", selectSession, []any{key, time.Now().UnixNano()}, &data)
	return data, found, err
}

// Save stores a session and sets its cookie. A session without ID gets a new one. A
// session that was deleted in the meantime, such as by a logout in another tab, stays
// deleted. A negative MaxAge deletes the session.
func (m *Sessions) Save(r *http.Request, w http.ResponseWriter, gs *sessions.Session) error {
	if err := m.store(r, gs); err != nil {
		return err
	}
	http.SetCookie(w, sessions.NewCookie(gs.Name(), gs.ID, gs.Options))
	return nil
}

func (m *Sessions) store(r *http.Request, gs *sessions.Session) error {
	if gs.Options == nil {
		return errors.New("sqlstore: save session: it has no Options")
	}
	ctx := r.Context()
	if gs.Options.MaxAge < 0 {
		_, err := m.s.exec(ctx, "delete session", deleteSession, key(gs.ID))
		return err
	}
	data, err := encodeValues(gs.Values)
	if err != nil {
		return err
	}
	lasts := browserSession
	if gs.Options.MaxAge > 0 {
		lasts = time.Duration(gs.Options.MaxAge) * time.Second
	}
	expires := nanos(time.Now().Add(lasts))
	if gs.ID != "" {
		_, err := m.s.exec(ctx, "save session", updateSession, data, expires, key(gs.ID))
		return err
	}
	id := newID()
	marks, grantID := m.s.expected(ctx).columns()
	if _, err := m.s.exec(ctx, "save session", insertSession, key(id), data, expires, marks, grantID); err != nil {
		return err
	}
	gs.ID = id
	return nil
}

func encodeValues(values map[any]any) ([]byte, error) {
	text := make(map[string]string, len(values))
	var refused []string
	for k, v := range values {
		name, isName := k.(string)
		value, isText := v.(string)
		if !isName || !isText {
			refused = append(refused, fmt.Sprintf("value %v is a %T under a %T", k, v, k))
		}
		text[name] = value
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("sqlstore: save session: %s, and only strings are kept", slices.Min(refused)) // the same one each time
	}
	return json.Marshal(text)
}
