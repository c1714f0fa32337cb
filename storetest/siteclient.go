package storetest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
)

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
