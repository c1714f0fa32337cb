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
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// A Site is one address with any number of instances behind it. A request goes to the
// instance that the header X-Instance names, and without it to the first, which has no
// name.
type Site struct {
	T         testing.TB
	AS        *authagenttest.Server
	URL       string                    // of the site
	HTTP      *httptest.Server          // nil without sockets
	Hosts     authagenttest.Hosts       // what answers at each host; nil with sockets
	Config    authagent.Config          // of the first instance
	RP        *authagent.RelyingParty   // of the first instance
	Instances map[string]*http.ServeMux // by name
	Users     *memstore.Users
	Profiles  *memstore.Profiles
	AliceID   string
	Agent     *authagenttest.Agent // alice's
	Handled   *Counter             // requests that reached a guarded handler
	Events    *Events              // what Config.Audit was told
	Log       *Log                 // what Config.Logger was told
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
	s.HTTP = httptest.NewTLSServer(http.HandlerFunc(s.balance))
	t.Cleanup(s.HTTP.Close)
	s.URL = s.HTTP.URL
	s.start(as.Client(), change)
	return s
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
		T: t, AS: as, Users: &memstore.Users{}, Profiles: &memstore.Profiles{}, Instances: make(map[string]*http.ServeMux),
		Handled: &Counter{}, Events: &Events{}, Log: &Log{},
	}
	s.AliceID = s.Users.Add("alice@example.com", "Alice")
	s.Agent = as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com", Name: "Alice", Model: "model-1"})
	return s
}

// start makes the settings and the first instance.
func (s *Site) start(client *http.Client, change []Change) {
	s.T.Helper()
	registered := s.AS.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{s.URL + "/auth/agent/callback"}})
	s.Config = authagent.Config{
		Issuer: s.AS.URL, ClientID: registered.ID, ClientSecret: registered.Secret,
		RedirectURL: s.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{NewKey()},
		Scenario:    authagent.FullAccount(s.Users, authagent.InsecureTrustEmail),
		Provider:    authagent.Provider{HTTPClient: client},
		Logger:      slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Audit:       s.Events.Add,
	}
	for _, f := range change {
		f(s, &s.Config)
	}
	s.RP = s.Instance("")
}

// balance is the load balancer.
func (s *Site) balance(w http.ResponseWriter, r *http.Request) {
	s.Instances[r.Header.Get("X-Instance")].ServeHTTP(w, r)
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
	s.Instances[name] = mux
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
