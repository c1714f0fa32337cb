package site_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/examples/shop/site"
	"github.com/authagent-go/authagent/grants"
)

// onEngines runs a test on each engine that is there.
func onEngines(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		db, err := database.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "shop.db"))
		if err != nil {
			t.Fatal(err)
		}
		test(t, newBench(t, db))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		dsn := os.Getenv("AUTHAGENT_POSTGRES")
		if dsn == "" {
			t.Skip("set AUTHAGENT_POSTGRES to the DSN of a database for tests")
		}
		db, err := database.OpenPostgres(t.Context(), ownSchema(t, dsn))
		if err != nil {
			t.Fatal(err)
		}
		test(t, newBench(t, db))
	})
}

// ownSchema returns the DSN of a schema that the test has to itself.
func ownSchema(t *testing.T, dsn string) string {
	name := "shop_" + strings.ToLower(rand.Text()[:10])
	server, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.ExecContext(context.Background(), "DROP SCHEMA "+name+" CASCADE"); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + "search_path=" + name
}

// A bench is a shop with an authorization server.
type bench struct {
	as    *authagenttest.Server
	agent *authagenttest.Agent // Alice's
	url   string

	mu    sync.Mutex
	mails []string
}

const password = "alice's password"

func newBench(t *testing.T, db *database.DB) *bench {
	b := &bench{as: authagenttest.NewServer()}
	var shop *site.Site
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { shop.ServeHTTP(w, r) }))
	b.url = web.URL
	client := b.as.AddClient(authagenttest.Client{ID: "shop", RedirectURIs: []string{web.URL + "/auth/agent/callback"}})
	b.agent = b.as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com", Name: "Alice"})
	hash, err := argon2id.CreateHash(password, argon2id.DefaultParams)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Seed(t.Context(), database.User{Email: "alice@example.com", Name: "Alice", PasswordHash: hash}); err != nil {
		t.Fatal(err)
	}
	shop, err = site.New(t.Context(), site.Config{
		URL: web.URL, Issuer: b.as.URL, ClientID: client.ID, Secret: client.Secret, SessionKeys: [][]byte{[]byte(rand.Text() + rand.Text())},
		DB: db, Logger: slog.New(slog.DiscardHandler),
		Mail: func(m site.Mail) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.mails = append(b.mails, m.To+": "+m.Text)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		web.Close()
		if err := shop.Close(context.Background()); err != nil {
			t.Error(err)
		}
		b.as.Close()
		db.Close()
	})
	return b
}

var link = regexp.MustCompile(`http\S+token=\S+`)

// link returns the link in the last mail.
func (b *bench) link(t *testing.T, to string) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.mails) - 1; i >= 0; i-- {
		if found := link.FindString(b.mails[i]); strings.HasPrefix(b.mails[i], to+": ") && found != "" {
			return found
		}
	}
	t.Fatalf("no mail to %s with a link: %q", to, b.mails)
	return ""
}

// A client is a program with cookies, which asks for JSON.
type client struct {
	t      *testing.T
	b      *bench
	accept string
	*http.Client
}

func (b *bench) client(t *testing.T) *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, b, "application/json", &http.Client{Jar: jar}}
}

// human returns a client in which somebody is signed in.
func (b *bench) human(t *testing.T, email, password string) *client {
	t.Helper()
	c := b.client(t)
	if got := c.do("POST", "/sign-in", "email", email, "password", password); got.status != 200 {
		t.Fatalf("sign-in: %+v", got)
	}
	return c
}

// signIn signs the agent in and returns the status at which it lands.
func (c *client) signIn(agent *authagenttest.Agent, path string) int {
	c.t.Helper()
	resp, err := agent.SignIn(c.t.Context(), c.Client, c.b.url+"/auth/agent/login?return_to="+url.QueryEscape(path))
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A reply is what the shop answers, at the end of redirects.
type reply struct {
	status int
	path   string
	body   string
	Error  string `json:"error"`
	header http.Header
}

// do sends a request with these fields of a form.
func (c *client) do(method, path string, fields ...string) (got reply) {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	if !strings.HasPrefix(path, "http") {
		path = c.b.url + path
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", c.accept)
	resp, err := c.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	got.status, got.path, got.body, got.header = resp.StatusCode, resp.Request.URL.Path, string(body), resp.Header
	json.Unmarshal(body, &got) // what is not JSON has no error
	return got
}

// want is do, of which the status, with the reason if it is a refusal, is this.
func (c *client) want(outcome, method, path string, fields ...string) reply {
	c.t.Helper()
	got := c.do(method, path, fields...)
	if have := strings.TrimSpace(strconv.Itoa(got.status) + " " + got.Error); have != outcome {
		c.t.Fatalf("%s %s %q: got %s, want %s: %s", method, path, fields, have, outcome, got.body)
	}
	return got
}

// decode reads the body of a reply.
func decode[T any](t *testing.T, got reply) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(got.body), &v); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	return v
}

// agents is the page of connected agents, once it shows what ready says.
func (c *client) agents(ready func(grants.Overview) bool) grants.Overview {
	c.t.Helper()
	for {
		o := decode[grants.Overview](c.t, c.want("200", "GET", "/account/agents/"))
		if ready(o) {
			return o
		}
		if c.t.Context().Err() != nil {
			c.t.Fatal("the page of connected agents never showed it")
		}
	}
}
