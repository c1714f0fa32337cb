package authagenttest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"
)

// The endpoints, as paths under [Server.URL]. They name an endpoint to
// [Server.Requests], [Server.Count] and [Server.Wrap].
const (
	PathAuthorize    = "/authorize"
	PathToken        = "/token"
	PathUserInfo     = "/userinfo"
	PathIntrospect   = "/introspect"
	PathRevoke       = "/revoke"
	PathPushed       = "/par"
	PathMetadata     = "/.well-known/oauth-authorization-server"
	PathDiscovery    = "/.well-known/openid-configuration"
	PathJWKS         = "/.well-known/jwks.json"
	PathAuthenticate = "/api/agent/authenticate"
	PathCheckStatus  = "/api/check-status"
	PathHealth       = "/api/health"
	PathError        = "/error"
	PathDevAnswer    = "/dev/answer"

	PathAdminAgents        = "/api/admin/agents"
	PathAdminClients       = "/api/admin/clients"
	PathAdminClientsUpdate = "/api/admin/clients/update"
)

// A Server is an Auth Agent authorization server that keeps everything in
// memory. It is made by [NewServer], [NewTLSServer] or [NewUnstartedServer];
// the zero value is of no use.
//
// The fields are set before the first request. After that, [Server.Configure]
// changes Quirks and Features.
//
// A Server is an [http.Handler], so it also works without a socket, for example behind
// [Hosts]. It takes the time from [time.Now], so inside a testing/synctest bubble its
// lifetimes pass at will.
type Server struct {
	// URL is the issuer, without a trailing slash. Start and StartTLS fill it in from
	// the listener unless it was set before. If it is empty, as in an unstarted server,
	// every request is answered for the host it was sent to. The published server does
	// that without its JWT_ISSUER binding.
	URL string

	// Quirks are the published server's departures from the standards: all on
	// in a new Server.
	Quirks Quirks

	// Features are what the published server does not do: all off in a new Server.
	Features Features

	// JWTSecret signs access tokens with HS256, unless Features says otherwise.
	// It is random in a new Server. A site that is trusted with it can verify them.
	JWTSecret []byte

	// Attended puts one button per registered agent on the waiting page, by
	// which a person plays that agent. It is meant for development: whoever
	// sees the page can sign in as anyone. The agents' secrets are not in the page.
	Attended bool

	// HTTPClient fetches the keys at Client.JWKSURL; nil means that of [Server.Client].
	HTTPClient *http.Client

	// Listener is what Start and StartTLS listen on; nil means a free port of
	// the loopback interface.
	Listener net.Listener

	mu       sync.Mutex // guards the fields above once there is traffic, and all below
	db       database
	keys     keyRing
	keyInUse bool // a token for an API was signed with one of the keys
	log      requestLog
	wraps    map[string]func(http.Handler) http.Handler
	outage   Outage
	http     *httptest.Server // nil while not started
	cancel   func()           // ends the contexts of the requests in flight
}

// NewServer starts a Server on a free loopback port. The caller calls Close when done.
func NewServer() *Server {
	s := NewUnstartedServer()
	s.Start()
	return s
}

// NewTLSServer is like NewServer, with TLS. [Server.Client] and [Server.NewBrowser]
// trust its certificate, which is the one of net/http/httptest. So they also trust a
// site started by httptest.NewTLSServer.
func NewTLSServer() *Server {
	s := NewUnstartedServer()
	s.StartTLS()
	return s
}

// NewUnstartedServer returns a Server that does not listen yet, so that its
// fields can be set. It can also be used as an [http.Handler] and never be started.
func NewUnstartedServer() *Server {
	secret := make([]byte, 32)
	rand.Read(secret)
	return &Server{
		Quirks:    PublishedQuirks(),
		JWTSecret: secret,
		db:        newDatabase(),
		wraps:     make(map[string]func(http.Handler) http.Handler),
	}
}

// Start starts an unstarted Server over plain HTTP.
func (s *Server) Start() { s.start((*httptest.Server).Start) }

// StartTLS starts an unstarted Server over TLS.
func (s *Server) StartTLS() { s.start((*httptest.Server).StartTLS) }

func (s *Server) start(start func(*httptest.Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		panic("authagenttest: Server already started")
	}
	s.http = httptest.NewUnstartedServer(s)
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.http.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	if s.Listener != nil {
		s.http.Listener.Close()
		s.http.Listener = s.Listener
	}
	start(s.http)
	if s.URL == "" {
		s.URL = s.http.URL
	}
}

// Close stops the server, ends the contexts of the requests in flight, and waits for
// these requests. On an unstarted Server it does nothing.
func (s *Server) Close() {
	s.mu.Lock()
	started, cancel := s.http, s.cancel
	s.mu.Unlock()
	if started != nil {
		cancel()
		started.Close() // outside the lock: it waits for handlers, which take it
	}
}

// Client returns a new client that reaches s and trusts its certificate. It
// keeps no cookies, as a site's own client does not. The client of an unstarted
// Server calls s without a socket, and reaches nothing else.
func (s *Server) Client() *http.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return &http.Client{Transport: s.http.Client().Transport}
	}
	host := ""
	if u, err := url.Parse(s.URL); err == nil {
		host = u.Host
	}
	return &http.Client{Transport: Hosts{host: s}}
}

// NewBrowser returns a new client as [Server.Client] does, with a cookie jar of
// its own: what [Agent.SignIn] needs to carry a site's cookies.
func (s *Server) NewBrowser() *http.Client {
	c := s.Client()
	c.Jar = newJar()
	return c
}

func newJar() http.CookieJar {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // cookiejar.New fails only for options that were not given
	}
	return jar
}

// Configure changes quirks and features of a Server that is in use. It waits
// for the requests being decided at that moment; change must not call s.
func (s *Server) Configure(change func(*Quirks, *Features)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.Quirks, &s.Features)
}

// issuerFor is the issuer that a request is answered with. The lock is held.
func (s *Server) issuerFor(r *http.Request) string {
	if s.URL != "" {
		return strings.TrimSuffix(s.URL, "/")
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// randomHex returns n random bytes in hex. [rand.Read] never fails.
func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// timestamp is a time as the published server's database writes it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000+00:00") }
