package grants_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A shop is a site without a network, of any number of instances that share all
// their stores. It works inside a bubble of testing/synctest.
type shop struct {
	t         testing.TB
	site      *testsite.Site
	options   options
	as        *authagenttest.Server
	hosts     authagenttest.Hosts
	store     grants.Store // what the policies use
	users     *memstore.Users
	profiles  *memstore.Profiles
	alice     string // verified, as is bob
	bob       string
	config    authagent.Config
	owners    *grants.Policy // of the instance ""
	instances map[string]*instance
	notices   log[grants.Notice]
	events    log[audit.Event]
	ran       atomic.Int32 // requests that reached a handler
}

type instance struct {
	owners *grants.Policy
	rp     *authagent.RelyingParty
	mux    *http.ServeMux
}

// options are what differs from the usual shop, which has FullAccount.
type options struct {
	scenario string                          // by name
	store    func(grants.Store) grants.Store // around the one in memory
	policy   func(*grants.Policy)
	config   func(*shop, *authagent.Config)
	link     func(*grants.Policy) authagent.LinkPolicy // in place of the policy
	users    func(*shop) authagent.UserStore           // in place of the users in memory
}

func newShop(t testing.TB, o options) *shop {
	t.Helper()
	s := &shop{t: t, options: o, store: &memstore.Grants{}, instances: make(map[string]*instance)}
	s.site = testsite.NewCluster(t, func(site *testsite.Site, c *authagent.Config) {
		site.AS.Quirks.SameSecondTokens = false
		c.Human, c.Logger, c.Audit, c.Revocations = testsite.Human, quiet, nil, &memstore.Revocations{}
	})
	s.as, s.hosts, s.users, s.profiles, s.alice = s.site.AS, s.site.Hosts, s.site.Users, s.site.Profiles, s.site.AliceID
	s.bob = s.users.Add("bob@example.com", "Bob")
	if o.store != nil {
		s.store = o.store(s.store)
	}
	s.config = s.site.Config
	s.owners = s.instance("").owners
	return s
}

// instance starts a further instance of the site.
func (s *shop) instance(name string) *instance {
	s.t.Helper()
	i := &instance{owners: grants.OwnerApproval(s.store), mux: http.NewServeMux()}
	i.owners.Actions = map[string]string{"orders:create": "Place orders", "orders:delete": "Cancel orders"}
	i.owners.Logger = slog.New(slog.DiscardHandler)
	i.owners.Notify = func(_ context.Context, n grants.Notice) { s.notices.add(n) }
	i.owners.Audit = func(_ context.Context, e audit.Event) { s.events.add(e) }
	if s.options.policy != nil {
		s.options.policy(i.owners)
	}
	rp := s.site.Instance(name, func(c *authagent.Config) {
		*c = s.config
		c.Scenario = s.scenario(i.owners)
		if s.options.link != nil || s.options.scenario == "FreshProfile" {
			c.Rules = i.owners // no policy has them
		}
		if s.options.config != nil {
			s.options.config(s, c)
		}
	})
	i.rp = rp
	done := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ran.Add(1)
		if session, ok := authagent.FromContext(r.Context()); ok {
			json.NewEncoder(w).Encode(session)
		}
	})
	i.mux.Handle("/auth/agent/login", rp.LoginHandler())
	i.mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	i.mux.Handle("/auth/agent/logout", rp.LogoutHandler())
	i.mux.Handle("/connect", rp.ConnectHandler())
	i.mux.Handle("/me", rp.RequireAgent(done))
	i.mux.Handle("/full", rp.RequireAccess(authagent.AccessFull)(done))
	i.mux.Handle("/orders", rp.RequireAction("orders:create")(rp.RequireAgent(done)))
	i.mux.Handle("DELETE /orders/{id}", rp.RequireAction("orders:delete")(rp.RequireAgent(done)))
	i.mux.Handle("/payouts", rp.RequireApproval("payouts:create", i.owners)(rp.RequireAgent(done)))
	i.mux.Handle("/humans", rp.RequireHuman(done))
	i.mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	s.site.SetMux(name, i.mux)
	s.instances[name] = i
	return i
}

func (s *shop) scenario(p *grants.Policy) authagent.Scenario {
	var link authagent.LinkPolicy = p
	if s.options.link != nil {
		link = s.options.link(p)
	}
	var users authagent.UserStore = s.users
	if s.options.users != nil {
		users = s.options.users(s)
	}
	switch s.options.scenario {
	case "ContextualProfile":
		return authagent.ContextualProfile(users, s.profiles, link)
	case "FreshProfile":
		return authagent.FreshProfile(s.profiles)
	}
	return authagent.FullAccount(users, link)
}

func (s *shop) agent(id, email string) *authagenttest.Agent {
	return s.as.AddAgent(authagenttest.Agent{ID: id, Email: email, Name: "N", Model: "m"})
}

// named is the agent as grants know it.
func (s *shop) named(id string) authagent.Agent {
	return authagent.Agent{Issuer: s.as.URL, ID: id}
}

func (s *shop) browser() *http.Client { return s.site.Browser() }

// human is a browser in which a human is signed in to the site.
func (s *shop) human(id string) *http.Client {
	c := s.browser()
	s.site.SignInPerson(c, id)
	return c
}

type response struct {
	*http.Response
	body string
}

// read reads a response.
func read(resp *http.Response) *response {
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return &response{resp, string(text)}
}

// quiet is a log that nobody reads.
var quiet = slog.New(slog.DiscardHandler)

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })

func (r *response) reason() problem.Reason {
	var p struct{ Error problem.Reason }
	json.Unmarshal([]byte(r.body), &p)
	return p.Error
}

// do sends a request with a form; header is key, value, key, value.
func (s *shop) do(c *http.Client, method, target, body string, header ...string) *response {
	s.t.Helper()
	return send(s.site, c, method, target, body, header...)
}

// send sends a request with a form to a path of a site, or to any address.
func send(site *testsite.Site, c *http.Client, method, target, body string, header ...string) *response {
	site.T.Helper()
	if body != "" && !slices.Contains(header, "Content-Type") {
		header = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)
	}
	resp := site.Send(c, method, target, body, header...)
	return &response{resp.Response, resp.Text}
}

func (s *shop) get(c *http.Client, target string, header ...string) *response {
	s.t.Helper()
	return s.do(c, http.MethodGet, target, "", header...)
}

// signIn signs an agent in and returns the callback's answer.
func (s *shop) signIn(c *http.Client, agent *authagenttest.Agent, header ...string) *response {
	s.t.Helper()
	resp := s.get(c, s.callback(c, agent, header...), header...)
	s.wait()
	return resp
}

// callback returns the callback with which the server answers a login.
func (s *shop) callback(c *http.Client, agent *authagenttest.Agent, header ...string) string {
	s.t.Helper()
	resp := s.get(c, "/auth/agent/login", header...)
	if resp.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("login: status %d, body %s", resp.StatusCode, resp.body)
	}
	callback, err := agent.Authorize(context.Background(), &http.Client{Transport: s.hosts}, resp.Header.Get("Location"))
	if err != nil {
		s.t.Fatal(err)
	}
	return callback
}

// wantSignIn signs an agent in, to be answered with this status and reason.
func (s *shop) wantSignIn(c *http.Client, agent *authagenttest.Agent, status int, reason problem.Reason) {
	s.t.Helper()
	if resp := s.signIn(c, agent); resp.StatusCode != status || resp.reason() != reason {
		s.t.Errorf("sign-in of %s: %d %q, want %d %q", agent.ID, resp.StatusCode, resp.reason(), status, reason)
	}
}

// want sends a request, to be answered with this status and reason.
func (s *shop) want(c *http.Client, method, path string, status int, reason problem.Reason, header ...string) {
	s.t.Helper()
	before := s.ran.Load()
	resp := s.do(c, method, path, "", header...)
	if resp.StatusCode != status || resp.reason() != reason {
		s.t.Errorf("%s %s %v: %d %q, want %d %q", method, path, header, resp.StatusCode, resp.reason(), status, reason)
	}
	if ran := s.ran.Load() > before; ran != (status == http.StatusOK) {
		s.t.Errorf("%s %s %v: handler ran: %v", method, path, header, ran)
	}
}

func (s *shop) wait() {
	for _, i := range s.instances {
		i.owners.Wait()
	}
}

func (s *shop) overview(user string) grants.Overview {
	s.t.Helper()
	o, err := s.owners.Overview(context.Background(), user)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// grants returns the grants of an account, by the ID of their agent.
func (s *shop) grants(user string) map[string]grants.Grant {
	s.t.Helper()
	found := make(map[string]grants.Grant)
	for _, g := range s.overview(user).Grants {
		found[g.Agent.ID] = g
	}
	return found
}

// decide is a decision about the grant of an agent as it stands.
func (s *shop) decide(user, agent string, state grants.State, change ...func(*grants.Decision)) grants.Grant {
	s.t.Helper()
	g := s.grants(user)[agent]
	d := grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessRead}
	for _, f := range change {
		f(&d)
	}
	g, err := s.owners.Decide(context.Background(), user, d)
	if err != nil {
		s.t.Fatalf("decide %s about %s: %v", state, agent, err)
	}
	s.wait()
	return g
}

// approved is an agent of alice that she has approved and that is signed in.
func (s *shop) approved(id string, change ...func(*grants.Decision)) (*authagenttest.Agent, *http.Client) {
	s.t.Helper()
	agent, c := s.agent(id, "alice@example.com"), s.browser()
	s.wantSignIn(c, agent, http.StatusForbidden, problem.ApprovalNeeded)
	s.decide(s.alice, id, grants.Approved, change...)
	s.wantSignIn(c, agent, http.StatusSeeOther, "")
	return agent, c
}

func withFullAccess(d *grants.Decision) { d.Access = authagent.AccessFull }

// log is a list that grows from several goroutines.
type log[T any] struct {
	mu  sync.Mutex
	all []T
}

func (l *log[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, v)
}

// take returns what there is and empties the log.
func (l *log[T]) take() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// kinds returns the kinds of notices and whom they went to, and empties the log.
func (s *shop) told() (told []string) {
	s.wait()
	for _, n := range s.notices.take() {
		told = append(told, string(n.Kind)+" "+n.UserID)
	}
	return told
}

// happened returns the names of events of this package, and empties the log.
func (s *shop) happened() (names []audit.Name) {
	s.wait()
	for _, e := range s.events.take() {
		if !strings.HasPrefix(string(e.Name), "login_") {
			names = append(names, e.Name)
		}
	}
	return names
}

// sorted returns lines in an order of their own.
func sorted[T any](lines []T) []string {
	texts := make([]string, len(lines))
	for i, line := range lines {
		texts[i] = fmt.Sprintf("%+v", line)
	}
	slices.Sort(texts)
	return texts
}
