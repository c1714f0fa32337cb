package testsite

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// Browser returns a client with a cookie jar of its own that reaches both servers and
// follows no redirect.
func (s *Site) Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.T.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	switch {
	case s.Hosts != nil:
		c.Transport = s.Hosts
	case s.AS != nil:
		c = s.AS.NewBrowser()
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Bare returns a browser that keeps no cookies.
func (s *Site) Bare() *http.Client {
	c := s.Browser()
	c.Jar = nil
	return c
}

// Human is a site's own sign-in of people, for Config.Human: a cookie has the ID.
func Human(r *http.Request) (string, error) {
	if c, err := r.Cookie("human"); err == nil {
		return c.Value, nil
	}
	return "", nil
}

// SignInPerson signs a person in where Human finds them, beside whoever else is in the
// browser.
func (s *Site) SignInPerson(c *http.Client, id string) { s.SetCookie(c, "human", id) }

// SetCookie puts a cookie of the site into a browser.
func (s *Site) SetCookie(c *http.Client, name, value string) {
	c.Jar.SetCookies(s.url(), []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// Cookies returns what a browser sends to the site, as a Cookie header.
func (s *Site) Cookies(c *http.Client) string {
	var pairs []string
	for _, cookie := range c.Jar.Cookies(s.url()) {
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	return strings.Join(pairs, "; ")
}

func (s *Site) url() *url.URL {
	u, err := url.Parse(s.URL)
	if err != nil {
		s.T.Fatal(err)
	}
	return u
}

// Begin starts a login and returns the authorization URL. query is appended to the
// login's path, with its question mark.
func (s *Site) Begin(c *http.Client, query string) string {
	s.T.Helper()
	resp := s.Get(c, "/auth/agent/login"+query)
	if resp.StatusCode != http.StatusSeeOther {
		s.T.Fatalf("login: status %d, body %s", resp.StatusCode, resp.Text)
	}
	return resp.Header.Get("Location")
}

// Authorize has an agent answer an authorization request and returns the callback URL.
func (s *Site) Authorize(agent *authagenttest.Agent, authorizationURL string) string {
	s.T.Helper()
	callback, err := agent.Authorize(context.Background(), s.AS.Client(), authorizationURL)
	if err != nil {
		s.T.Fatal(err)
	}
	return callback
}

// SignIn signs an agent in and returns the callback's response.
func (s *Site) SignIn(c *http.Client, agent *authagenttest.Agent) *Response {
	s.T.Helper()
	return s.Get(c, s.Authorize(agent, s.Begin(c, "")))
}

// MustSignIn is SignIn that has to succeed; it returns the session.
func (s *Site) MustSignIn(c *http.Client, agent *authagenttest.Agent) *authagent.Session {
	s.T.Helper()
	if resp := s.SignIn(c, agent); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		s.T.Fatalf("callback: status %d, Location %q, body %s\nlog: %s", resp.StatusCode, resp.Header.Get("Location"), resp.Text, s.Log)
	}
	session := s.Me(c)
	if session == nil {
		s.T.Fatalf("not signed in after a callback that succeeded\nlog: %s", s.Log)
	}
	return session
}

// Me returns the session of a browser, or nil when it has none.
func (s *Site) Me(c *http.Client) *authagent.Session {
	s.T.Helper()
	resp := s.Get(c, "/me")
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return resp.Session(s.T)
}

// Get requests a path of the site, or any address. header is key, value, key, value.
func (s *Site) Get(c *http.Client, target string, header ...string) *Response {
	s.T.Helper()
	return s.Do(c, http.MethodGet, target, header...)
}

// Do is Get with a method.
func (s *Site) Do(c *http.Client, method, target string, header ...string) *Response {
	s.T.Helper()
	return s.Send(c, method, target, "", header...)
}

// Send is Do with a body.
func (s *Site) Send(c *http.Client, method, target, body string, header ...string) *Response {
	s.T.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.URL + target
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		s.T.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := c.Do(req)
	if err != nil {
		s.T.Fatal(err)
	}
	return Read(s.T, resp)
}

// A Response is a response whose body has been read.
type Response struct {
	*http.Response
	Text string
}

// Read reads the body of a response and closes it.
func Read(t testing.TB, resp *http.Response) *Response {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &Response{resp, string(text)}
}

// Session decodes the body of /me.
func (r *Response) Session(t testing.TB) *authagent.Session {
	t.Helper()
	var s authagent.Session
	if err := json.Unmarshal([]byte(r.Text), &s); err != nil {
		t.Fatalf("decode session %q: %v", r.Text, err)
	}
	return &s
}

// Reason returns the reason code of a refusal that was answered as JSON.
func (r *Response) Reason() problem.Reason {
	var p struct{ Error problem.Reason }
	json.Unmarshal([]byte(r.Text), &p)
	return p.Error
}
