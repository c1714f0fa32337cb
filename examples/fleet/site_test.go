package main

import (
	"crypto/rand"
	"database/sql"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
)

// newDatabase returns the DSN of a database that the test has to itself.
func newDatabase(t *testing.T) string {
	t.Helper()
	dsn := os.Getenv("AUTHAGENT_POSTGRES")
	if dsn == "" {
		t.Skip("PostgreSQL is not tested: set AUTHAGENT_POSTGRES to the DSN of a database for tests")
	}
	server, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := "fleet_" + strings.ToLower(rand.Text()[:10])
	if _, err := server.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// TestSite: instances that start at once make the tables once; a person gets in
// by a code, once, and sees their agents; and an instance without a database is
// alive and not ready.
func TestSite(t *testing.T) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	dsn := newDatabase(t)
	var all [3]*stores
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			var err error
			if all[i], err = openStores(t.Context(), dsn, redisSettings{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, s := range all {
		defer s.close()
	}
	const redirectURL = "http://127.0.0.1:8080/auth/agent/callback"
	site, err := newSite(settings{agents: authagent.Config{
		Issuer: "http://127.0.0.1:1", ClientID: "fleet", ClientSecret: "secret", RedirectURL: redirectURL,
		SessionKeys: [][]byte{[]byte("a key of thirty-two bytes or more")},
	}}, all[0])
	if err != nil {
		t.Fatal(err)
	}
	health := &health{stores: all[0], rp: site.rp}
	public, internal := httptest.NewServer(site.handler), httptest.NewServer(health.handler())
	defer public.Close()
	defer internal.Close()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	want := func(what string, status int, resp *http.Response, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", what, resp.StatusCode, body, status)
		}
	}
	get := func(what string, status int, address string) {
		t.Helper()
		resp, err := client.Get(address)
		want(what, status, resp, err)
	}
	// A browser that asks for the agents is led to the sign-in, and its form leads back.
	signIn := func(what string, status int, code string) {
		t.Helper()
		req, _ := http.NewRequest("GET", public.URL+"/account/agents/?x=1", nil)
		req.Header.Set("Accept", "text/html")
		resp, err := (&http.Client{}).Do(req) // somebody who has never been here
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer resp.Body.Close()
		page, _ := io.ReadAll(resp.Body)
		form := regexp.MustCompile(`action="([^"]+)"`).FindSubmatch(page)
		if form == nil || !strings.Contains(string(page), "data-auth-agent-button") {
			t.Fatalf("%s: no form and no button at %s:\n%s", what, resp.Request.URL, page)
		}
		resp, err = client.PostForm(public.URL+html.UnescapeString(string(form[1])), url.Values{"code": {code}})
		want(what, status, resp, err)
		if landed := resp.Request.URL.RequestURI(); status == 200 && landed != "/account/agents/?x=1" {
			t.Errorf("%s: landed at %s", what, landed)
		}
	}

	get("ready", 200, internal.URL+"/ready")
	get("the server cannot be reached", 503, internal.URL+"/agents")
	get("home", 200, public.URL+"/")
	get("orders of nobody", 401, public.URL+"/orders")
	get("agents of nobody", 401, public.URL+"/account/agents/")
	code, err := (&people{db: all[1].db}).invite(t.Context(), "Alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	signIn("a wrong code", 403, "x")
	get("after a wrong code", 401, public.URL+"/account/agents/")
	signIn("the code", 200, code)
	get("agents of Alice", 200, public.URL+"/account/agents/")
	signIn("the code again", 403, code)

	health.stopping.Store(true)
	get("stopping", 503, internal.URL+"/ready")
	health.stopping.Store(false)
	all[0].db.Close()
	get("not ready", 503, internal.URL+"/ready")
	get("alive", 200, internal.URL+"/live")
	if err := site.wait(t.Context()); err != nil {
		t.Error(err)
	}
}
