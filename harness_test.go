package authagent_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A bench is what most tests need: an authorization server, a site with
// authagent mounted on it, both on TLS, and the stores behind the site.
type bench struct {
	t        testing.TB
	as       *authagenttest.Server
	site     *httptest.Server
	rp       *authagent.RelyingParty
	config   authagent.Config
	users    *memstore.Users
	profiles *memstore.Profiles
	aliceID  string
	agent    *authagenttest.Agent // alice's
	handled  *counter             // requests that reached a guarded handler
	events   *eventLog
	log      *lockedBuffer
}

// newBench starts server and site. The configuration is complete, with
// FullAccount and InsecureTrustEmail; change alters it before it is used. b.site.URL,
// b.users and b.profiles are set by then.
func newBench(t testing.TB, change ...func(b *bench, c *authagent.Config)) *bench {
	t.Helper()
	as := authagenttest.NewTLSServer()
	t.Cleanup(as.Close)
	return newBenchOn(t, as, change...)
}

// newBenchOn is newBench with a server that runs already.
func newBenchOn(t testing.TB, as *authagenttest.Server, change ...func(b *bench, c *authagent.Config)) *bench {
	t.Helper()
	b := &bench{
		t: t, as: as, users: &memstore.Users{}, profiles: &memstore.Profiles{},
		handled: &counter{}, events: &eventLog{}, log: &lockedBuffer{},
	}
	mux := http.NewServeMux()
	b.site = httptest.NewTLSServer(mux)
	t.Cleanup(b.site.Close)
	b.aliceID = b.users.Add("alice@example.com", "Alice")
	b.agent = as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com", Name: "Alice", Model: "model-1"})
	client := as.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{b.site.URL + "/auth/agent/callback"}})
	b.config = authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret,
		RedirectURL: b.site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{newKey()},
		Scenario:    authagent.FullAccount(b.users, authagent.InsecureTrustEmail),
		Provider:    authagent.Provider{HTTPClient: as.Client()},
		Logger:      slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Audit:       b.events.add,
	}
	for _, f := range change {
		f(b, &b.config)
	}
	rp, err := authagent.New(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.rp = rp
	b.mount(mux, rp)
	return b
}

// mount mounts everything that the tests ask for:
//
//	/me       any signed-in agent; answers with the session as JSON
//	/data     AccessRead, any method
//	/full     AccessFull, any method
//	/open     everybody, session attached
//	/humans   no agents
func (b *bench) mount(mux *http.ServeMux, rp *authagent.RelyingParty) {
	me := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.handled.add()
		w.Header().Set("Content-Type", "application/json")
		if s, ok := authagent.FromContext(r.Context()); ok {
			json.NewEncoder(w).Encode(s)
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

// browser returns a client with a cookie jar of its own, that trusts both
// servers and follows no redirect.
func (b *bench) browser() *http.Client {
	c := b.as.NewBrowser()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// begin starts a login and returns the authorization URL. query is appended to
// the login's path, with its question mark.
func (b *bench) begin(c *http.Client, query string) string {
	b.t.Helper()
	resp := b.get(c, "/auth/agent/login"+query)
	if resp.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("login: status %d, body %s", resp.StatusCode, resp.body)
	}
	return resp.Header.Get("Location")
}

// authorize has agent answer an authorization request and returns the callback URL.
func (b *bench) authorize(agent *authagenttest.Agent, authorizationURL string) string {
	b.t.Helper()
	callback, err := agent.Authorize(context.Background(), b.as.Client(), authorizationURL)
	if err != nil {
		b.t.Fatal(err)
	}
	return callback
}

// signIn signs agent in and returns the callback's response.
func (b *bench) signIn(c *http.Client, agent *authagenttest.Agent) *response {
	b.t.Helper()
	return b.get(c, b.authorize(agent, b.begin(c, "")))
}

// mustSignIn is signIn that has to succeed; it returns the session.
func (b *bench) mustSignIn(c *http.Client, agent *authagenttest.Agent) *authagent.Session {
	b.t.Helper()
	if resp := b.signIn(c, agent); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		b.t.Fatalf("callback: status %d, Location %q, body %s\nlog: %s", resp.StatusCode, resp.Header.Get("Location"), resp.body, b.log)
	}
	s := b.me(c)
	if s == nil {
		b.t.Fatalf("not signed in after a callback that succeeded\nlog: %s", b.log)
	}
	return s
}

// me returns the session of c, or nil when it has none.
func (b *bench) me(c *http.Client) *authagent.Session {
	b.t.Helper()
	resp := b.get(c, "/me")
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return resp.session(b.t)
}

// response is a response whose body has been read.
type response struct {
	*http.Response
	body string
}

// session decodes the body of /me.
func (r *response) session(t testing.TB) *authagent.Session {
	t.Helper()
	var s authagent.Session
	if err := json.Unmarshal([]byte(r.body), &s); err != nil {
		t.Fatalf("decode session %q: %v", r.body, err)
	}
	return &s
}

// reason returns the reason code of a refusal that was answered as JSON.
func (r *response) reason() problem.Reason {
	var p struct{ Error problem.Reason }
	json.Unmarshal([]byte(r.body), &p)
	return p.Error
}

// get requests a path of the site, or any address.
func (b *bench) get(c *http.Client, target string, header ...string) *response {
	b.t.Helper()
	return b.do(c, http.MethodGet, target, header...)
}

// do sends a request; header is key, value, key, value.
func (b *bench) do(c *http.Client, method, target string, header ...string) *response {
	b.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.site.URL + target
	}
	req, err := http.NewRequest(method, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return &response{resp, string(body)}
}

// backChannel returns how many requests the server has had that only a relying
// party sends, probes left out.
func (b *bench) backChannel() int {
	n := 0
	for _, path := range []string{
		authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathRevoke,
	} {
		for _, r := range b.as.Requests(path) {
			if !isProbe(r) {
				n++
			}
		}
	}
	return n
}

// rejected checks everything that a refused callback has to be, and returns the
// reason. before is what backChannel returned beforehand.
func (b *bench) rejected(c *http.Client, resp *response, before int) problem.Reason {
	b.t.Helper()
	if resp.StatusCode < 400 {
		b.t.Errorf("status %d with Location %q, want a refusal", resp.StatusCode, resp.Header.Get("Location"))
	}
	if got := b.backChannel() - before; got != 0 {
		b.t.Errorf("%d requests to the server, want none", got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		b.t.Errorf("Cache-Control %q, want no-store", got)
	}
	for _, cookie := range resp.Cookies() {
		if cookie.MaxAge >= 0 {
			b.t.Errorf("a refusal sets cookie %s", cookie.Name)
		}
	}
	return resp.reason()
}

func newKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

func mustParse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() { c.mu.Lock(); c.n++; c.mu.Unlock() }

func (c *counter) count() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

// eventLog is an audit trail.
type eventLog struct {
	mu  sync.Mutex
	all []audit.Event
}

func (l *eventLog) add(_ context.Context, e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

// named returns the events of one name.
func (l *eventLog) named(name audit.Name) (found []audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		if e.Name == name {
			found = append(found, e)
		}
	}
	return found
}

// logged returns what the log has of the events of one name. It has each refusal,
// and the trail counts those of a kind together.
func (b *bench) logged(name audit.Name) (found []audit.Event) {
	for line := range strings.Lines(b.log.String()) {
		if !strings.Contains(line, ` msg="authagent: `+string(name)+`" `) {
			continue
		}
		has := make(map[string]string)
		for _, m := range logAttribute.FindAllStringSubmatch(line, -1) {
			value, err := strconv.Unquote(m[2])
			if err != nil {
				value = m[2] // it has no quotes
			}
			has[m[1]] = value
		}
		found = append(found, audit.Event{
			Name: name, RequestID: has["request_id"], Outcome: has["outcome"], Reason: problem.Reason(has["reason"]), Detail: has["detail"],
		})
	}
	return found
}

var logAttribute = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|\S*)`)

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
