package storetest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
// All exported fields of a Session come back except RemoteAddr and Door. StartedAt may be less
// than a millisecond early, ExpiresAt less than a second, and neither may be late. A
// copied cookie opens nothing after its session has ended. The exception is a cookie
// that holds the session itself, which the tests know by its length: the relying party
// has to revoke that one. Idle limits are not checked, nor what is left to the relying
// party: revocations and ExpiresAt. A client without a session gets ErrNoSession, also
// after End. If a session existed but cannot be had any more, ErrSessionEnded is as
// good.
func Sessions(t *testing.T, open func() authagent.Sessions) {
	for what, session := range inOrder(sampleSessions()) {
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
	t.Run("SES-2 the ID opens nothing", func(t *testing.T) { idOpensNothing(t, open()) })
	t.Run("SES-2 it cannot be guessed", func(t *testing.T) { notGuessed(t, open()) })
	t.Run("SES-3 ended", func(t *testing.T) { ended(t, open(), open()) })
	t.Run("SES-6 no session", func(t *testing.T) { noSession(t, open()) })
	t.Run("SES-6 nonsense bars nobody", func(t *testing.T) { nonsenseBarsNobody(t, open()) })
	t.Run("started where another was ended", func(t *testing.T) { startedOverEnded(t, open()) })
	t.Run("many clients at once", func(t *testing.T) { manyClients(t, open(), open()) })
	if t.Run("kept apart from the caller's", func(t *testing.T) { keptApart(t, open()) }) {
		// The requests change what they loaded. If they shared it, they would end the process.
		t.Run("many requests of one client at once", func(t *testing.T) { manyRequests(t, open(), open()) })
	}
}

func idOpensNothing(t *testing.T, s authagent.Sessions) {
	session := sampleSession()
	c := signedIn(t, s, session)
	c.changed(func(string) string { return session.ID }).expect("by a cookie that holds its ID", s, nil)
}

func notGuessed(t *testing.T, s authagent.Sessions) {
	session := sampleSession()
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
}

func nonsenseBarsNobody(t *testing.T, s authagent.Sessions) {
	c := signedIn(t, s, sampleSession())
	for _, value := range append(nonsense(), c.values()+"x") {
		odd, session := c.changed(func(string) string { return value }), sampleSession()
		odd.copied().end(s)
		odd.start(s, session)
		odd.expect(fmt.Sprintf("started over cookie %.40q", value), s, session)
	}
}

func startedOverEnded(t *testing.T, s authagent.Sessions) {
	session := sampleSession()
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
}

func keptApart(t *testing.T, s authagent.Sessions) {
	session := sampleSession()
	given := clone(session)
	c := signedIn(t, s, given)
	scribble(given)
	c.expect("after the caller has changed what it gave to Start", s, session)
	scribble(c.load(s))
	c.expect("after the caller has changed what Load returned", s, session)
}

func manyClients(t *testing.T, one, other authagent.Sessions) {
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
}

func manyRequests(t *testing.T, one, other authagent.Sessions) {
	session := sampleSession()
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

	for what, plant := range inOrder(map[string]func(*client) *client{
		"that was made up":   func(c *client) *client { return c.changed(func(string) string { return rand.Text() }) },
		"that looks right":   func(c *client) *client { return c.changed(func(v string) string { return v[1:] + v[:1] }) },
		"of another session": func(c *client) *client { return c },
		"of an ended session": func(c *client) *client {
			copied := c.copied()
			c.end(other)
			return copied
		},
	}) {
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
	for what, change := range inOrder(map[string]func(v string) string{
		"doubled":             func(v string) string { return v + v },
		"with more after it":  func(v string) string { return v + "xxxx" },
		"with more before it": func(v string) string { return "xxxx" + v },
		"cut at the end":      func(v string) string { return v[:max(0, len(v)-4)] },
		"cut at the start":    func(v string) string { return v[min(4, len(v)):] },
		"cut to a half":       func(v string) string { return v[:len(v)/2] },
		"cut to another half": func(v string) string { return v[len(v)/2:] },
	}) {
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
	for what, planted := range inOrder(map[string]*client{
		"another client's": signedIn(t, s, other), "nonsense": c.changed(func(string) string { return rand.Text() }),
	}) {
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
