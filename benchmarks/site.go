package benchmarks

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	origin       = "http://127.0.0.1:8080"
	loginPath    = "/auth/agent/login"
	callbackPath = "/auth/agent/callback"
	ordersPath   = "/orders"
	action       = "orders:create"
)

// A site is a website on which somebody can sign in.
type site struct {
	pkce   bool
	login  http.Handler
	finish http.Handler // the callback
	orders http.Handler // for those who are signed in: reads who it is, answers 200; nil if the library has no sessions
	act    http.Handler // orders behind authagent's Action
	server *provider
}

// A subject is a site that is not set up yet. Each is measured with no other
// one's memory and connections around it: a heap that is larger is collected less
// often, so that whoever came last would look the best.
type subject struct {
	name  string
	setUp func(*provider) *site
}

// subjects are all that are compared.
func subjects() []subject {
	return []subject{
		{"authagent", authagentDefault}, {"floor", floorSite}, {"byhand", byHandSite}, {"zitadel", zitadelSite}, {"cap", capSite},
		{"goth", gothSite}, {"gologin", gologinSite}, {"pkgz", func(p *provider) *site { return pkgzSite(p, 15*time.Minute) }},
	}
}

// run runs f with the site, at a provider of its own.
func (s subject) run(b *testing.B, provider func() *provider, f func(*testing.B, *site)) {
	b.Run(s.name, func(b *testing.B) {
		site := s.setUp(provider())
		defer site.server.Close()
		f(b, site)
	})
}

// pooled is a transport that does not dial for each sign-in, for the floor and
// the limit. The peers are taken as they come.
func pooled() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        128,
		MaxIdleConnsPerHost: 128,
	}
}

// A discard is a ResponseWriter that can be used again and costs nothing, so
// that what is measured is the handler.
type discard struct {
	header http.Header
	status int
}

func newDiscard() *discard { return &discard{header: make(http.Header, 8)} }

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}

func (d *discard) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return len(p), nil
}

func (d *discard) reset() {
	clear(d.header)
	d.status = 0
}

// get returns a request that a server would hand to a handler.
func get(target string, cookies ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if len(cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	return r
}

// pairs are the name=value parts of what an answer sets, as a browser sends
// them back. Those that it deletes are left out.
func pairs(h http.Header) (cookies []string) {
	for _, line := range h["Set-Cookie"] {
		pair, attributes, _ := strings.Cut(line, ";")
		if !strings.Contains(attributes, "Max-Age=0") {
			cookies = append(cookies, pair)
		}
	}
	return cookies
}

// callbackQuery is how the provider sends the browser back: with a code and
// with the state of the authorization request, as it is written there.
func callbackQuery(authorizationURL string) string {
	_, rest, _ := strings.Cut(authorizationURL, "state=")
	state, _, _ := strings.Cut(rest, "&")
	its := nonce // of those who are told to send this one
	if _, rest, ok := strings.Cut(authorizationURL, "nonce="); ok {
		its, _, _ = strings.Cut(rest, "&")
	}
	return "?code=" + codePrefix + its + "&state=" + state
}

// begin starts a login and returns the request that comes back from it.
func (s *site) begin() *http.Request {
	w := newDiscard()
	s.login.ServeHTTP(w, get(origin+loginPath))
	return get(origin+callbackPath+callbackQuery(w.header.Get("Location")), pairs(w.header)...)
}

// signIn signs in and returns the cookies of the session.
func (s *site) signIn() []string {
	w := newDiscard()
	s.finish.ServeHTTP(w, s.begin())
	return pairs(w.header)
}
