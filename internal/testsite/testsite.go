// Package testsite is the site that the tests of this repository share: a relying
// party with its handlers mounted, the authorization server that it uses, the stores
// behind it, and the browsers in front. Tests alone import it.
package testsite

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

// A Site is one address with any number of instances behind it. A request goes to the
// instance that the header X-Instance names, and without it to the first, which has no
// name.
type Site struct {
	T        testing.TB
	AS       *authagenttest.Server   // nil where the server is somebody else's
	URL      string                  // of the site
	HTTP     *httptest.Server        // nil without sockets
	Hosts    authagenttest.Hosts     // what answers at each host; nil with sockets
	Config   authagent.Config        // of the first instance
	RP       *authagent.RelyingParty // of the first instance
	Users    *memstore.Users
	Profiles *memstore.Profiles
	AliceID  string
	Agent    *authagenttest.Agent // alice's
	Handled  *Counter             // requests that reached a guarded handler
	Events   *Events              // what Config.Audit was told
	Log      *Log                 // what Config.Logger was told

	instances *instances
}

// instances are the handlers by name. They may change while requests are served.
type instances struct {
	mu     sync.RWMutex
	byName map[string]*http.ServeMux
}

// A Change alters the settings of a site before its relying party is made. The site's
// address, its server and its stores are there by then.
type Change = func(s *Site, c *authagent.Config)

// New starts a site and its server, both on TLS. The settings are complete, with
// FullAccount and InsecureTrustEmail.
func New(t testing.TB, change ...Change) *Site {
	t.Helper()
	as := authagenttest.NewTLSServer()
	t.Cleanup(as.Close)
	return NewOn(t, as, change...)
}

// NewOn is New with a server that runs already.
func NewOn(t testing.TB, as *authagenttest.Server, change ...Change) *Site {
	t.Helper()
	s := newSite(t, as)
	s.listen(httptest.NewTLSServer(http.HandlerFunc(s.balance)))
	s.start(as.Client(), change)
	return s
}

// NewPlain is NewOn without TLS, which takes most of a test's time, and is there for
// development. Where as is nil, change names another server.
func NewPlain(t testing.TB, as *authagenttest.Server, change ...Change) *Site {
	t.Helper()
	s := newSite(t, as)
	s.listen(httptest.NewServer(http.HandlerFunc(s.balance)))
	var client *http.Client
	if as != nil {
		client = as.Client()
	}
	s.start(client, change)
	return s
}

func (s *Site) listen(server *httptest.Server) {
	s.T.Cleanup(server.Close)
	s.HTTP, s.URL = server, server.URL
}

// NewCluster makes a site without sockets, https://shop.example, whose server is
// https://as.example. It works in a bubble of testing/synctest.
func NewCluster(t testing.TB, change ...Change) *Site {
	t.Helper()
	as := authagenttest.NewUnstartedServer()
	as.URL = "https://as.example"
	s := newSite(t, as)
	s.URL = "https://shop.example"
	s.Hosts = authagenttest.Hosts{"as.example": as, "shop.example": http.HandlerFunc(s.balance)}
	s.start(&http.Client{Transport: s.Hosts}, change)
	return s
}

func newSite(t testing.TB, as *authagenttest.Server) *Site {
	s := &Site{
		T: t, AS: as, Users: &memstore.Users{}, Profiles: &memstore.Profiles{},
		Handled: &Counter{}, Events: &Events{}, Log: &Log{}, instances: &instances{byName: make(map[string]*http.ServeMux)},
	}
	s.AliceID = s.Users.Add("alice@example.com", "Alice")
	if as != nil {
		s.Agent = as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com", Name: "Alice", Model: "model-1"})
	}
	return s
}

// start makes the settings and the first instance.
func (s *Site) start(client *http.Client, change []Change) {
	s.T.Helper()
	s.Config = authagent.Config{
		RedirectURL: s.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{NewKey()},
		Scenario:    authagent.FullAccount(s.Users, authagent.InsecureTrustEmail),
		Provider:    provider.Settings{HTTPClient: client},
		Logger:      slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Audit:       s.Events.Add,
	}
	if s.AS != nil {
		client := s.AS.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{s.Config.RedirectURL}})
		s.Config.Issuer, s.Config.ClientID, s.Config.ClientSecret = s.AS.URL, client.ID, client.Secret
	}
	for _, f := range change {
		f(s, &s.Config)
	}
	s.RP = s.Instance("")
}

// balance is the load balancer.
func (s *Site) balance(w http.ResponseWriter, r *http.Request) {
	s.Mux(r.Header.Get("X-Instance")).ServeHTTP(w, r)
}

// Mux returns the handlers of an instance, to which a test may add some.
func (s *Site) Mux(name string) *http.ServeMux {
	s.instances.mu.RLock()
	defer s.instances.mu.RUnlock()
	return s.instances.byName[name]
}

// SetMux puts other handlers in place of an instance.
func (s *Site) SetMux(name string, mux *http.ServeMux) {
	s.instances.mu.Lock()
	defer s.instances.mu.Unlock()
	s.instances.byName[name] = mux
}

// For returns the site for a subtest, at which what is wrong is reported.
func (s *Site) For(t testing.TB) *Site {
	of := *s
	of.T = t
	return &of
}

// Instance starts an instance, in place of the one of that name where there is one.
func (s *Site) Instance(name string, change ...func(c *authagent.Config)) *authagent.RelyingParty {
	s.T.Helper()
	c := s.Config
	for _, f := range change {
		f(&c)
	}
	rp, err := authagent.New(c)
	if err != nil {
		s.T.Fatal(err)
	}
	mux := http.NewServeMux()
	s.Mount(mux, rp)
	s.SetMux(name, mux)
	return rp
}

// Mount mounts everything that the tests ask for:
//
//	/me       any signed-in agent; answers with the session as JSON
//	/data     AccessRead, any method
//	/full     AccessFull, any method
//	/open     everybody, session attached
//	/humans   no agents
func (s *Site) Mount(mux *http.ServeMux, rp *authagent.RelyingParty) {
	me := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Handled.Add()
		w.Header().Set("Content-Type", "application/json")
		if session, ok := authagent.FromContext(r.Context()); ok {
			json.NewEncoder(w).Encode(session)
			return
		}
		io.WriteString(w, "null\n")
	})
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())
	mux.Handle("/auth/agent/link", rp.LinkHandler())
	mux.Handle("/me", rp.RequireAgent(me))
	mux.Handle("/data", rp.RequireAccess(authagent.AccessRead)(me))
	mux.Handle("/full", rp.RequireAccess(authagent.AccessFull)(me))
	mux.Handle("/open", rp.Attach(me))
	mux.Handle("/humans", rp.ForbidAgents(me))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "home") })
}

// NewKey returns a key for SessionKeys.
func NewKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}
