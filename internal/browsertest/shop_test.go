package browsertest_test

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
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/examples/shop/site"
)

// A shop is the example with an authorization server.
type shop struct {
	t     *testing.T
	url   string
	as    *authagenttest.Server
	agent *authagenttest.Agent // Alice's

	mu     sync.Mutex
	mails  map[string]string // the last one, by address
	visits []visit           // the requests to the login and the callback
}

// A visit is a request, and how it was answered.
type visit struct {
	url    *url.URL
	header http.Header
	status int
}

const password = "alice's password"

func newShop(t *testing.T) *shop {
	t.Helper()
	return newShopAt(t, "127.0.0.1", nil)
}

// newShopAt returns a shop on a host name of this machine. The files are served
// beside its own pages, by their paths. To a browser, the authorization server at
// 127.0.0.1 is of the same site as a shop at 127.0.0.1, and of another than one at
// localhost.
func newShopAt(t *testing.T, host string, files map[string]file) *shop {
	t.Helper()
	db, err := database.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := argon2id.CreateHash(password, argon2id.DefaultParams)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Seed(t.Context(), database.User{Email: "alice@example.com", Name: "Alice", PasswordHash: hash}); err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, as: authagenttest.NewServer(), mails: make(map[string]string)}
	var handler *site.Site
	web := httptest.NewServer(stayWhere(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch f, ok := files[r.URL.Path]; {
		case ok:
			w.Header().Set("Content-Type", f.mediaType)
			io.WriteString(w, f.text)
		case r.URL.Path == "/auth/agent/login", r.URL.Path == "/auth/agent/callback":
			handler.ServeHTTP(visitWriter{w, s, r}, r)
		default:
			handler.ServeHTTP(w, r)
		}
	})))
	s.url = strings.Replace(web.URL, "127.0.0.1", host, 1)
	client := s.as.AddClient(authagenttest.Client{ID: "shop", Name: "Leaf & Kettle", RedirectURIs: []string{s.url + "/auth/agent/callback"}})
	s.agent = s.as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com", Name: "Alice"})
	handler, err = site.New(t.Context(), site.Config{
		URL: s.url, Issuer: s.as.URL, ClientID: client.ID, Secret: client.Secret, SessionKeys: [][]byte{[]byte(rand.Text() + rand.Text())},
		DB: db, Logger: slog.New(slog.DiscardHandler),
		Mail: func(m site.Mail) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.mails[m.To] = m.Text
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		if err := handler.Close(context.Background()); err != nil {
			t.Error(err)
		}
		s.as.Close()
		db.Close()
	})
	return s
}

// A file is what a shop serves beside its own pages.
type file struct{ mediaType, text string }

// A visitWriter keeps what is asked and how it is answered, before the browser knows.
type visitWriter struct {
	http.ResponseWriter
	s *shop
	r *http.Request
}

func (w visitWriter) WriteHeader(status int) {
	w.s.mu.Lock()
	w.s.visits = append(w.s.visits, visit{w.r.URL, w.r.Header, status})
	w.s.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w visitWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// visited returns the visits of a path so far.
func (s *shop) visited(path string) (found []visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.visits {
		if v.url.Path == path {
			found = append(found, v)
		}
	}
	return found
}

var link = regexp.MustCompile(`/confirm\?token=\S+`)

// mailedLink is the path that the last mail to an address leads to.
func (s *shop) mailedLink(to string) string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := link.FindString(s.mails[to])
	if found == "" {
		s.t.Fatalf("no link was mailed to %s: %q", to, s.mails[to])
	}
	return found
}

// lastCallback is the last path and query that the authorization server has sent a
// browser back to.
func (s *shop) lastCallback() string {
	callbacks := s.visited("/auth/agent/callback")
	if len(callbacks) == 0 {
		return ""
	}
	return callbacks[len(callbacks)-1].url.RequestURI()
}

// authenticate does at the waiting page what published agent tools do: it reads
// the request's ID from the page and posts it with the agent's secret. The page
// then goes on by itself.
func (s *shop) authenticate(b *tab, agent *authagenttest.Agent) {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{
		"request_id": b.requestID(), "agent_id": agent.ID, "agent_secret": agent.Secret, "model": "model-1",
	})
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Post(s.as.URL+authagenttest.PathAuthenticate, "application/json", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("the agent is not authenticated: %s", resp.Status)
	}
}

// signIn signs Alice in.
func (s *shop) signIn() *tab {
	s.t.Helper()
	b := newTab(s.t, s.url)
	b.open("/sign-in")
	b.fill("email", "alice@example.com", "password", password)
	b.pressButton("Sign in")
	b.see("/", "Account")
	return b
}

// admitted returns Alice's tab and one in which her agent is signed in, with what
// she has chosen by the selectors.
func (s *shop) admitted(chosen ...string) (alice, agent *tab) {
	s.t.Helper()
	alice, agent = s.signIn(), newTab(s.t, s.url)
	s.enter(agent, "/orders")
	agent.see("/auth/agent/callback", "approval_needed")
	s.approve(alice, chosen...)
	s.enter(agent, "/orders")
	agent.see("/orders", "agent_alice acts here for Alice")
	return alice, agent
}

// enter has the agent look for a page, find the button and sign in.
func (s *shop) enter(agent *tab, path string) {
	s.t.Helper()
	agent.open(path)
	agent.see("/sign-in", "You are an AI agent")
	agent.click(`[data-auth-agent-button="true"]`)
	s.authenticate(agent, s.agent)
}

// approve has the owner approve the request that waits for them. It is filed in
// the background, a moment after the agent was answered.
func (s *shop) approve(owner *tab, chosen ...string) {
	s.t.Helper()
	for {
		owner.open("/account/agents/")
		if found := owner.see("/account/agents/", "Your agents"); strings.Contains(found.Text, "An agent wants to use your account") {
			break
		}
	}
	for _, selector := range chosen {
		owner.click(selector)
	}
	owner.pressButton("Allow")
	owner.see("/account/agents/", "Allowed. The agent may act")
}
