package storetest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
)

// Sessions checks an implementation of authagent.Sessions, for Config.Session.Own.
// open returns it over the same store each time, as another instance of the site
// would have it.
//
// Clients come to https://site.example with the cookies that a browser would have
// kept. If sessions need a middleware around each request, as those of scs do, what
// open returns has one more method, which the tests call:
//
//	Middleware(next http.Handler) http.Handler
//
// All exported fields of a Session come back but RemoteAddr: StartedAt less than a
// millisecond early, ExpiresAt less than a second early, and neither late. A cookie
// that was copied opens nothing after its session has ended, unless it holds the
// session itself, which the tests know by its length: the relying party has to
// revoke that one. What is left to the relying party, revocations and ExpiresAt,
// and idle limits are not checked. A client without a session, also after End, gets
// ErrNoSession; for one whose session cannot be had any more ErrSessionEnded is as good.
func Sessions(t *testing.T, open func() authagent.Sessions) {
	for what, session := range sampleSessions() {
		t.Run("loaded as started: "+what, func(t *testing.T) {
			one, other := open(), open()
			c := signedIn(t, one, session)
			for range 2 {
				c.expect("where it was started", one, session)
				c.expect("at another instance", other, session)
			}
		})
	}
	t.Run("SES-2 a new identifier", func(t *testing.T) { newIdentifier(t, open(), open()) })
	t.Run("SES-2 the ID opens nothing", func(t *testing.T) {
		s, session := open(), sampleSession()
		c := signedIn(t, s, session)
		c.changed(func(string) string { return session.ID }).expect("by a cookie that holds its ID", s, nil)
	})
	t.Run("SES-2 it cannot be guessed", func(t *testing.T) {
		s, session := open(), sampleSession()
		one, other := signedIn(t, s, session).values(), signedIn(t, s, session).values()
		differ := 0
		for i := range min(len(one), len(other)) {
			if one[i] != other[i] {
				differ++
			}
		}
		if len(one) < 16 || differ < 8 {
			t.Errorf("one client has cookie %q, the next %q", one, other)
		}
	})
	t.Run("SES-3 ended", func(t *testing.T) { ended(t, open(), open()) })
	t.Run("SES-6 no session", func(t *testing.T) { noSession(t, open()) })
	t.Run("SES-6 nonsense bars nobody", func(t *testing.T) {
		s := open()
		c := signedIn(t, s, sampleSession())
		for _, value := range append(nonsense(), c.values()+"x") {
			odd, session := c.changed(func(string) string { return value }), sampleSession()
			odd.copied().end(s)
			odd.start(s, session)
			odd.expect(fmt.Sprintf("started over cookie %.40q", value), s, session)
		}
	})
	t.Run("started where another was ended", func(t *testing.T) {
		s, session := open(), sampleSession()
		c := signedIn(t, s, sampleSession())
		copied := c.copied()
		// The relying party ends a session that was revoked when it meets it, which
		// may be in the callback.
		c.visit(s, callbackPath, func(w http.ResponseWriter, r *http.Request) {
			if err := s.End(httptest.NewRecorder(), r); err != nil {
				t.Errorf("End: %v", err)
			}
			if err := s.Start(w, r, clone(session)); err != nil {
				t.Errorf("Start: %v", err)
			}
		})
		c.expect("started in one request with the end of another", s, session)
		if got := copied.load(s); got != nil && got.ID == session.ID {
			t.Error("the cookie from before opens it")
		}
	})
	t.Run("kept apart from the caller's", func(t *testing.T) {
		s, session := open(), sampleSession()
		given := clone(session)
		c := signedIn(t, s, given)
		scribble(given)
		c.expect("after the caller has changed what it gave to Start", s, session)
		scribble(c.load(s))
		c.expect("after the caller has changed what Load returned", s, session)
	})
	t.Run("many clients at once", func(t *testing.T) {
		one, other := open(), open()
		together(func(int) error {
			c, session := newClient(t), sampleSession()
			c.expect("without a cookie", one, nil)
			c.start(one, session)
			c.expect("among many clients", one, session)
			c.expect("among many clients, at another instance", other, session)
			c.end(other)
			c.expect("ended among many clients", one, nil)
			return nil
		})
	})
	t.Run("many requests of one client at once", func(t *testing.T) {
		one, other, session := open(), open(), sampleSession()
		c := signedIn(t, one, session)
		together(func(i int) error {
			at := one
			if i%2 > 0 {
				at = other
			}
			copied := c.copied()
			copied.expect("in one of many requests", at, session)
			scribble(copied.load(at))
			return nil
		})
		c.expect("after many requests", one, session)
	})
}

// newIdentifier checks that no cookie from before a sign-in opens what it started.
func newIdentifier(t *testing.T, one, other authagent.Sessions) {
	held := heldByClient(t, one)
	c := newClient(t)
	c.expect("without a cookie", one, nil)
	before, session := c.copied(), sampleSession()
	c.start(one, session)
	before.expect("with what the client had before", one, nil)

	last := sampleSession()
	copied := c.copied()
	c.start(other, last)
	c.expect("the second session of a client", one, last)
	copied.expectOver("the first session of a client, after its second has started", one, session, held)

	for what, plant := range map[string]func(*client) *client{
		"that was made up":   func(c *client) *client { return c.changed(func(string) string { return rand.Text() }) },
		"that looks right":   func(c *client) *client { return c.changed(func(v string) string { return v[1:] + v[:1] }) },
		"of another session": func(c *client) *client { return c },
		"of an ended session": func(c *client) *client {
			copied := c.copied()
			c.end(other)
			return copied
		},
	} {
		theirs, mine := sampleSession(), sampleSession()
		attacker := plant(signedIn(t, one, theirs))
		victim := attacker.copied()
		victim.start(one, mine)
		victim.expect("started over a planted cookie "+what, other, mine)
		attacker.expectOver("a cookie "+what+" that was planted", one, theirs, held)
		attacker.expectOver("a cookie "+what+" that was planted, at another instance", other, theirs, held)
	}
}

func ended(t *testing.T, one, other authagent.Sessions) {
	held := heldByClient(t, one)
	session, others := sampleSession(), sampleSession()
	c, neighbour := signedIn(t, one, session), signedIn(t, one, others)
	copied := c.copied()
	for range 2 { // the second time there is nothing to end
		c.end(other)
		c.nobody("after End", one)
		c.nobody("after End, at another instance", other)
		copied.expectOver("the copy of an ended session's cookie", one, session, held)
		copied.expectOver("the copy of an ended session's cookie, at another instance", other, session, held)
	}
	newClient(t).end(one)
	neighbour.changed(func(string) string { return rand.Text() }).end(one)
	neighbour.expect("after others have ended theirs", one, others)
}

func noSession(t *testing.T, s authagent.Sessions) {
	session := sampleSession()
	c := signedIn(t, s, session)
	newClient(t).nobody("without a cookie", s)
	foreign := []*http.Cookie{{Name: "theme", Value: "dark"}, {Name: "odd", Value: `"d ark,\xff=`}}
	newClient(t, foreign...).nobody("with other cookies", s)
	newClient(t, append(foreign, c.cookies(pagePath)...)...).expect("with other cookies beside its own", s, session)
	for _, value := range nonsense() {
		c.changed(func(string) string { return value }).expect(fmt.Sprintf("with cookie %.40q", value), s, nil)
	}
	for what, change := range map[string]func(v string) string{
		"doubled":             func(v string) string { return v + v },
		"with more after it":  func(v string) string { return v + "xxxx" },
		"with more before it": func(v string) string { return "xxxx" + v },
		"cut at the end":      func(v string) string { return v[:max(0, len(v)-4)] },
		"cut at the start":    func(v string) string { return v[min(4, len(v)):] },
		"cut to a half":       func(v string) string { return v[:len(v)/2] },
		"cut to another half": func(v string) string { return v[len(v)/2:] },
	} {
		c.changed(change).expect("with its cookie "+what, s, nil)
	}
	// A character that means nothing may be another one, such as that of a version.
	for i := range 64 {
		odd := c.changed(func(v string) string { return altered(v, i*len(v)/64) })
		if got := odd.load(s); got != nil && differs(got, session) != "" {
			t.Errorf("with cookie %q, where %q was set: loaded %s", odd.values(), c.values(), differs(got, session))
		}
	}
	// Which of two with one name is taken is left open.
	other := sampleSession()
	for what, planted := range map[string]*client{
		"another client's": signedIn(t, s, other), "nonsense": c.changed(func(string) string { return rand.Text() }),
	} {
		twice := c.copied()
		for _, cookie := range planted.cookies(pagePath) {
			cookie.Path = pagePath
			twice.jar.SetCookies(siteURL(pagePath), []*http.Cookie{cookie})
		}
		if got := twice.load(s); got != nil && differs(got, session) != "" && differs(got, other) != "" {
			t.Errorf("with two cookies of one name, one of them %s: loaded %s", what, differs(got, session))
		}
	}
	c.expect("after all that", s, session)
}

// nonsense are values that no implementation gives to a cookie.
func nonsense() []string {
	return []string{
		"", "x", "0", "null", "{}", "e30", rand.Text(), strings.Repeat("x", 4000), "'--", "%00", "%zz", "../x", "a b", `"`, "\xff\xfe",
	}
}

// altered changes one letter or digit of v, at i or after. The last eight stay:
// several characters may stand for the same end of a value in base64.
func altered(v string, i int) string {
	for ; i < len(v)-8; i++ {
		switch c := v[i]; {
		case c == '7':
			return v[:i] + "2" + v[i+1:]
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			return v[:i] + "7" + v[i+1:]
		}
	}
	return v
}

// heldByClient reports whether the cookie holds the session itself: it is longer
// for a longer session.
func heldByClient(t *testing.T, s authagent.Sessions) bool {
	t.Helper()
	long := sampleSession()
	for range 20 {
		long.Model += rand.Text()
	}
	return len(signedIn(t, s, long).values()) > len(signedIn(t, s, sampleSession()).values())+300
}

// Where the relying party calls Start, Load and End.
const (
	callbackPath = "/auth/agent/callback"
	pagePath     = "/orders"
	logoutPath   = "/auth/agent/logout"
)

func siteURL(path string) *url.URL {
	return &url.URL{Scheme: "https", Host: "site.example", Path: path}
}

// A client is a browser at the site.
type client struct {
	t   *testing.T
	jar *cookiejar.Jar
}

func newClient(t *testing.T, cookies ...*http.Cookie) *client {
	jar, _ := cookiejar.New(nil) // never an error
	for _, cookie := range cookies {
		cookie.Path = "/"
	}
	jar.SetCookies(siteURL("/"), cookies)
	return &client{t, jar}
}

// signedIn is a client whose session was started.
func signedIn(t *testing.T, s authagent.Sessions, session *authagent.Session) *client {
	t.Helper()
	c := newClient(t)
	c.start(s, session)
	return c
}

// cookies are what the client sends to a path of the site.
func (c *client) cookies(path string) []*http.Cookie { return c.jar.Cookies(siteURL(path)) }

// values are the values of all cookies, one after the other.
func (c *client) values() string {
	var all strings.Builder
	for _, cookie := range c.cookies(pagePath) {
		all.WriteString(cookie.Value)
	}
	return all.String()
}

// copied is somebody else with the same cookies.
func (c *client) copied() *client { return newClient(c.t, c.cookies(pagePath)...) }

// changed is a client with the same cookies and other values.
func (c *client) changed(change func(value string) string) *client {
	cookies := c.cookies(pagePath)
	for _, cookie := range cookies {
		cookie.Value = change(cookie.Value)
	}
	return newClient(c.t, cookies...)
}

// visit is one request of the client's, in which the site calls do.
func (c *client) visit(s authagent.Sessions, path string, do http.HandlerFunc) {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), http.MethodGet, siteURL(path).String(), nil)
	if path == logoutPath {
		r.Method = http.MethodPost
	}
	var pairs []string
	for _, cookie := range c.cookies(path) { // as they are: AddCookie would leave out what is odd
		value := cookie.Value
		if cookie.Quoted {
			value = `"` + value + `"`
		}
		pairs = append(pairs, cookie.Name+"="+value)
	}
	if len(pairs) > 0 {
		r.Header.Set("Cookie", strings.Join(pairs, "; "))
	}
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do(w, r)
		w.WriteHeader(http.StatusNoContent)
	})
	if around, ok := s.(interface {
		Middleware(next http.Handler) http.Handler
	}); ok {
		handler = around.Middleware(handler)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || w.Body.Len() > 0 {
		c.t.Errorf("%s: something was written before the site's own answer: status %d, %q", path, w.Code, w.Body)
	}
	for _, cookie := range w.Result().Cookies() {
		if why := refused(cookie); why != "" {
			c.t.Errorf("%s: browsers do not keep the cookie %.100q: %s", path, cookie, why)
			continue
		}
		c.jar.SetCookies(siteURL(path), []*http.Cookie{cookie})
	}
}

// refused says why browsers ignore a cookie that net/http takes (RFC 6265bis
// section 5.7), if they do.
func refused(c *http.Cookie) string {
	name, host := strings.ToLower(c.Name), siteURL("").Host
	domain := strings.TrimPrefix(strings.ToLower(c.Domain), ".")
	switch {
	case len(c.Name)+len(c.Value) > 4096:
		return fmt.Sprintf("it is too long, with %d bytes", len(c.Name)+len(c.Value))
	case domain != "" && domain != host:
		return "its Domain is not " + host + ", where the tests are"
	case strings.HasPrefix(name, "__host-") && (!c.Secure || c.Path != "/" || domain != ""):
		return "__Host- needs Secure, Path=/ and no Domain"
	case strings.HasPrefix(name, "__secure-") && !c.Secure:
		return "__Secure- needs Secure"
	case c.SameSite == http.SameSiteNoneMode && !c.Secure:
		return "SameSite=None needs Secure"
	}
	return ""
}

// start has the client finish a sign-in, as the relying party does.
func (c *client) start(s authagent.Sessions, session *authagent.Session) {
	c.t.Helper()
	c.visit(s, callbackPath, func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Load(httptest.NewRecorder(), r); err != nil && !none(err) {
			c.t.Errorf("Load before Start, with cookies %.40q: %v", c.values(), err)
		}
		if err := s.Start(w, r, session); err != nil {
			c.t.Errorf("Start, with cookies %.40q: %v", c.values(), err)
		}
	})
}

// none reports whether an error of Load says that the client has no session that
// is valid.
func none(err error) bool {
	return errors.Is(err, authagent.ErrNoSession) || errors.Is(err, authagent.ErrSessionEnded)
}

// nobody checks that the client is one that has no session, and none that has ended.
func (c *client) nobody(what string, s authagent.Sessions) {
	c.t.Helper()
	c.visit(s, pagePath, func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Load(w, r); !errors.Is(err, authagent.ErrNoSession) || errors.Is(err, authagent.ErrSessionEnded) {
			c.t.Errorf("%s: Load returns %v, want ErrNoSession; the browser would never be a person's", what, err)
		}
	})
}

// load returns the client's session, or nil if it has none.
func (c *client) load(s authagent.Sessions) (session *authagent.Session) {
	c.t.Helper()
	c.visit(s, pagePath, func(w http.ResponseWriter, r *http.Request) {
		var err error
		session, err = s.Load(w, r)
		switch {
		case none(err):
			session = nil
		case err != nil:
			c.t.Errorf("Load, with cookies %.40q: %v; authagent takes that for a failure of the store", c.values(), err)
			session = nil
		case session == nil:
			c.t.Errorf("Load, with cookies %.40q: neither a session nor ErrNoSession", c.values())
		}
	})
	return session
}

// end has the client sign out, as the relying party does.
func (c *client) end(s authagent.Sessions) {
	c.t.Helper()
	c.visit(s, logoutPath, func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Load(httptest.NewRecorder(), r); err != nil && !none(err) {
			c.t.Errorf("Load before End, with cookies %.40q: %v", c.values(), err)
		}
		if err := s.End(w, r); err != nil {
			c.t.Errorf("End, with cookies %.40q: %v", c.values(), err)
		}
	})
}

// expect checks which session the client has; nil is none.
func (c *client) expect(what string, s authagent.Sessions, want *authagent.Session) {
	c.t.Helper()
	got := c.load(s)
	switch {
	case want == nil && got != nil:
		c.t.Errorf("%s: loaded session %q, want none", what, got.ID)
	case want != nil && got == nil:
		c.t.Errorf("%s: loaded none", what)
	case want != nil:
		if diff := differs(got, want); diff != "" {
			c.t.Errorf("%s: loaded %s", what, diff)
		}
	}
}

// expectOver checks that the client has no session any more, unless its cookie
// holds that.
func (c *client) expectOver(what string, s authagent.Sessions, was *authagent.Session, held bool) {
	c.t.Helper()
	if held && c.load(s) != nil {
		c.expect(what, s, was)
		return
	}
	c.expect(what, s, nil)
}

// sampleSessions are sessions with all that can be in one. They fit into a cookie.
func sampleSessions() map[string]*authagent.Session {
	samples := map[string]*authagent.Session{
		"a profile of its own": {Agent: newAgent(), Scenario: "FreshProfile", ProfileID: "p_1", Access: authagent.AccessNone},
		"everything":           sampleSession(),
		"full access":          {Agent: newAgent(), Scenario: "FullAccount", UserID: "u_1", Access: authagent.AccessFull},
		"one action": {
			Agent: newAgent(), Scenario: "FullAccount", UserID: "u_1", GrantID: "g_1", Actions: []string{"orders:create"},
		},
		"odd names": {
			Agent: authagent.Agent{Issuer: "https://as.example/a?b=c&d", ID: "\U0001F916 \u00e9 "}, Model: "<b>\t</b>&amp;",
			Scenario: "'); DROP TABLE x; --", UserID: `"\'%_?$1;,=`, ProfileID: " 007", Access: authagent.AccessRead,
			Actions: []string{"b:\u00fc", "a,b", `"x"`, "a|b;c", "A", "a"}, GrantID: "null",
		},
		"long names": {
			Agent: authagent.Agent{Issuer: "https://as.example", ID: strings.Repeat("a", 255)}, Model: strings.Repeat("\u00e9", 256),
			Scenario: "S", UserID: strings.Repeat("u", 255), ProfileID: strings.Repeat("p", 128), GrantID: strings.Repeat("g", 64),
			Access: authagent.AccessRead,
		},
	}
	for _, s := range samples {
		s.ID = rand.Text()
		s.StartedAt, s.ExpiresAt = sampleTimes()
		s.RedirectURL = "https://site.example/auth/agent/callback"
	}
	return samples
}

// sampleSession returns a session like no other.
func sampleSession() *authagent.Session {
	s := &authagent.Session{
		ID: rand.Text(), Agent: newAgent(), Model: "model-1", Scenario: "ContextualProfile", UserID: "u_" + rand.Text(),
		ProfileID: "p_" + rand.Text(), Access: authagent.AccessRead, Actions: []string{"orders:create", "orders:cancel"},
		GrantID: "g_" + rand.Text(), RedirectURL: "https://site.example/auth/agent/callback",
		SiteMark: rand.Text(), AgentMark: rand.Text(), UserMark: rand.Text(),
		GrantEra: math.MaxInt64, Epoch: "e_" + rand.Text(),
	}
	s.StartedAt, s.ExpiresAt = sampleTimes()
	return s
}

// sampleTimes are a nanosecond short of a full second, so that whoever rounds is
// late.
func sampleTimes() (started, expires time.Time) {
	started = time.Now().Truncate(time.Second).Add(-1)
	return started, started.Add(12 * time.Hour)
}

// differs says how a session is another than it was when it was started, if it is.
func differs(got, want *authagent.Session) string {
	if early := want.StartedAt.Sub(got.StartedAt); early < 0 || early >= time.Millisecond {
		return fmt.Sprintf("StartedAt %v, want %v or less than a millisecond before", got.StartedAt, want.StartedAt)
	}
	if early := want.ExpiresAt.Sub(got.ExpiresAt); early < 0 || early >= time.Second {
		return fmt.Sprintf("ExpiresAt %v, want %v or less than a second before", got.ExpiresAt, want.ExpiresAt)
	}
	same := *got
	same.StartedAt, same.ExpiresAt = want.StartedAt, want.ExpiresAt
	have, _ := json.Marshal(&same) // never an error, and no RemoteAddr
	need, _ := json.Marshal(want)
	if string(have) != string(need) {
		return fmt.Sprintf("%s, want %s", have, need)
	}
	return ""
}

func clone(s *authagent.Session) *authagent.Session {
	own := *s
	own.Actions = slices.Clone(s.Actions)
	return &own
}

// scribble changes all that can be changed in a session.
func scribble(s *authagent.Session) {
	if s == nil {
		return // which was reported
	}
	for i := range s.Actions {
		s.Actions[i] = "scribbled"
	}
	*s = authagent.Session{ID: "scribbled", UserID: "scribbled", Access: authagent.AccessFull}
}
