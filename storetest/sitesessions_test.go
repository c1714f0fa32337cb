package storetest_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/storetest"
)

// TestSessions runs the kit on sessions that are good, as small as they can be,
// and on some that need a middleware. The root package runs it on its own.
func TestSessions(t *testing.T) {
	s := &siteSessions{}
	t.Run("plain", func(t *testing.T) { storetest.Sessions(t, func() authagent.Sessions { return s }) })
	t.Run("middleware", func(t *testing.T) { storetest.Sessions(t, func() authagent.Sessions { return wrapped{s} }) })
	t.Run("times of a database", func(t *testing.T) {
		s := &siteSessions{alter: func(s *authagent.Session) {
			s.StartedAt, s.ExpiresAt = s.StartedAt.Truncate(time.Millisecond).UTC(), s.ExpiresAt.Truncate(time.Second).UTC()
		}}
		storetest.Sessions(t, func() authagent.Sessions { return s })
	})
}

// sessionFaults are what can be wrong with siteSessions, and the subtests that are
// to find it.
var sessionFaults = map[string]string{
	"cookie is planted":               "SES-2_a_new_identifier",
	"cookie stays":                    "SES-2_a_new_identifier",
	"former lives on":                 "SES-2_a_new_identifier",
	"cookie is the ID":                "SES-2_the_ID_opens_nothing",
	"cookie is a number":              "SES-2_it_cannot_be_guessed",
	"cookie is found by its start":    "SES-6_no_session",
	"cookie is the session":           "SES-6_no_session",
	"cookie for one path":             "loaded_as_started",
	"cookie for another host":         "loaded_as_started",
	"cookie too long":                 "loaded_as_started",
	"cookie set late":                 "loaded_as_started",
	"cookie __Host- without Secure":   "loaded_as_started",
	"cookie changes on each request":  "many_requests_of_one_client",
	"answer is written":               "loaded_as_started",
	"one instance":                    "loaded_as_started",
	"one session for all":             "SES-2_a_new_identifier",
	"not ended":                       "SES-3_ended",
	"ended for the client alone":      "SES-3_ended",
	"ended for all":                   "SES-3_ended",
	"nothing to end is an error":      "SES-3_ended",
	"no cookie is an error":           "SES-6_no_session",
	"unknown cookie is an error":      "SES-6_no_session",
	"nothing for no session":          "SES-6_no_session",
	"two cookies are an error":        "SES-6_no_session",
	"cookie of the site is the first": "SES-6_no_session",
	"unknown cookie bars a start":     "SES-6_nonsense_bars_nobody",
	"nothing is started after an end": "started_where_another_was_ended",
	"session is the caller's":         "kept_apart_from_the_caller",
	"session is everybody's":          "kept_apart_from_the_caller",
	"actions are the caller's":        "kept_apart_from_the_caller",
	"raced":                           "many_clients_at_once",
}

// alterations are what a store can make of a session.
var alterations = map[string]func(*authagent.Session){
	"times to the second":   func(s *authagent.Session) { s.StartedAt = s.StartedAt.Truncate(time.Second) },
	"times rounded":         func(s *authagent.Session) { s.StartedAt = s.StartedAt.Round(time.Millisecond) },
	"expiry rounded":        func(s *authagent.Session) { s.ExpiresAt = s.ExpiresAt.Round(time.Second) },
	"access to read or not": func(s *authagent.Session) { s.Access = min(s.Access, authagent.AccessRead) },
	"one action":            func(s *authagent.Session) { s.Actions = s.Actions[:min(1, len(s.Actions))] },
	"actions sorted":        func(s *authagent.Session) { slices.Sort(s.Actions) },
	"actions split":         func(s *authagent.Session) { s.Actions = strings.FieldsFunc(strings.Join(s.Actions, ","), isComma) },
	"names trimmed":         func(s *authagent.Session) { s.Agent.ID = strings.TrimSpace(s.Agent.ID) },
	"names escaped":         func(s *authagent.Session) { s.UserID = strings.ReplaceAll(s.UserID, "'", "''") },
	"names cut":             func(s *authagent.Session) { s.ProfileID = s.ProfileID[:min(64, len(s.ProfileID))] },
}

func isComma(r rune) bool { return r == ',' }

func init() {
	fault := func(name, found string, s func() authagent.Sessions) {
		faults["site sessions, "+name] = struct {
			run   func(t *testing.T)
			found string
		}{func(t *testing.T) { storetest.Sessions(t, s) }, "TestFault/" + found}
	}
	for name, found := range sessionFaults {
		s := &siteSessions{fault: name}
		fault(name, found, func() authagent.Sessions {
			if name == "one instance" {
				return &siteSessions{}
			}
			return s
		})
	}
	for name, alter := range alterations {
		s := &siteSessions{alter: alter}
		fault(name, "loaded_as_started", func() authagent.Sessions { return s })
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[authagent.Session]()) {
		if !field.IsExported() || field.Tag.Get("json") == "-" { // of this request, and not kept
			continue
		}
		s := &siteSessions{alter: func(s *authagent.Session) { reflect.ValueOf(s).Elem().FieldByIndex(field.Index).SetZero() }}
		fault("without "+field.Name, "loaded_as_started", func() authagent.Sessions { return s })
	}
}

// siteSessions are those of a site, in memory; its fields are what is wrong with
// them.
type siteSessions struct {
	fault string
	alter func(*authagent.Session)

	mu   sync.Mutex
	kept map[string]*authagent.Session
	n    int
}

var errUnknown = errors.New("no such session")

func (s *siteSessions) cookie() string {
	if s.fault == "cookie __Host- without Secure" {
		return "__Host-site"
	}
	return "site"
}

func (s *siteSessions) set(w http.ResponseWriter, token string) {
	cookie := &http.Cookie{Name: s.cookie(), Value: token, Path: "/", HttpOnly: true}
	switch s.fault {
	case "cookie for one path":
		cookie.Path = ""
	case "cookie for another host":
		cookie.Domain = "shop.example"
	case "cookie too long":
		cookie.Value += strings.Repeat("x", 4096)
	case "answer is written":
		fmt.Fprint(w, "welcome")
	case "cookie set late":
		w.WriteHeader(http.StatusNoContent)
	}
	http.SetCookie(w, cookie)
}

// find returns the session of a request and its token.
func (s *siteSessions) find(r *http.Request) (*authagent.Session, string) {
	cookie, err := r.Cookie(s.cookie())
	if err != nil {
		return nil, ""
	}
	switch s.fault {
	case "cookie is found by its start":
		for token, session := range s.kept {
			if cookie.Value != "" && strings.HasPrefix(token, cookie.Value) {
				return session, token
			}
		}
	case "cookie is the session":
		value, _ := base64.RawURLEncoding.DecodeString(cookie.Value)
		session := &authagent.Session{}
		if json.Unmarshal(value, session) == nil && session.ID != "" {
			return session, cookie.Value
		}
	case "one session for all":
		return s.kept[""], ""
	case "cookie of the site is the first":
		cookie = r.Cookies()[0]
	case "cookie too long":
		return s.kept[strings.TrimRight(cookie.Value, "x")], cookie.Value
	}
	return s.kept[cookie.Value], cookie.Value
}

// token names a session to a client that had another one, or none.
func (s *siteSessions) token(had *authagent.Session, was string, session *authagent.Session) string {
	s.n++
	switch {
	case s.fault == "cookie is planted" && was != "", s.fault == "cookie stays" && had != nil:
		return was
	case s.fault == "cookie is the ID":
		return session.ID
	case s.fault == "cookie is a number":
		return fmt.Sprintf("session-number-%06d", s.n)
	case s.fault == "cookie is the session":
		value, _ := json.Marshal(session)
		return base64.RawURLEncoding.EncodeToString(value)
	case s.fault == "one session for all":
		return ""
	}
	return rand.Text()
}

func (s *siteSessions) Start(w http.ResponseWriter, r *http.Request, session *authagent.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, was := s.find(r)
	switch {
	case s.fault == "unknown cookie bars a start" && was != "" && had == nil:
		return errUnknown
	case s.fault == "nothing is started after an end" && was != "" && had == nil:
		return nil
	case s.fault != "former lives on":
		delete(s.kept, was)
	}
	token := s.token(had, was, session)
	if s.fault == "raced" {
		s.n--
		token = fmt.Sprintf("%d-%s", s.n, strings.Repeat("x", 20))
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
		s.n++
	}
	if s.kept == nil {
		s.kept = make(map[string]*authagent.Session)
	}
	own := session
	if s.fault != "session is the caller's" {
		own = s.copied(session)
	}
	if s.alter != nil {
		s.alter(own)
	}
	s.kept[token] = own
	s.set(w, token)
	return nil
}

func (s *siteSessions) copied(session *authagent.Session) *authagent.Session {
	own := *session
	if s.fault != "actions are the caller's" {
		own.Actions = slices.Clone(own.Actions)
	}
	return &own
}

func (s *siteSessions) Load(w http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, token := s.find(r)
	switch {
	case s.fault == "two cookies are an error" && len(r.CookiesNamed(s.cookie())) > 1:
		return nil, errUnknown
	case session == nil && s.fault == "nothing for no session":
		return nil, nil
	case session == nil && s.fault == "no cookie is an error" && token == "":
		return nil, http.ErrNoCookie
	case session == nil && s.fault == "unknown cookie is an error" && token != "":
		return nil, errUnknown
	case session == nil:
		return nil, authagent.ErrNoSession
	case s.fault == "session is everybody's":
		return session, nil
	case s.fault == "cookie changes on each request" && r.URL.Path == "/orders":
		fresh := rand.Text()
		s.kept[fresh] = session
		delete(s.kept, token)
		s.set(w, fresh)
	}
	return s.copied(session), nil
}

func (s *siteSessions) End(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, token := s.find(r)
	switch {
	case session == nil && s.fault == "nothing to end is an error":
		return errUnknown
	case s.fault == "not ended":
		return nil
	case s.fault == "ended for all":
		clear(s.kept)
	case s.fault != "ended for the client alone":
		delete(s.kept, token)
	}
	http.SetCookie(w, &http.Cookie{Name: s.cookie(), Path: "/", MaxAge: -1, Secure: true})
	return nil
}

// wrapped are sessions that work only inside a middleware.
type wrapped struct{ authagent.Sessions }

type insideKey struct{}

func (wrapped) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), insideKey{}, true)))
	})
}

func (s wrapped) Load(w http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	if r.Context().Value(insideKey{}) == nil {
		return nil, errors.New("no middleware")
	}
	return s.Sessions.Load(w, r)
}
