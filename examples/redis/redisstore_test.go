package redisstore_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/redis/go-redis/v9"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	redisstore "github.com/authagent-go/authagent/examples/redis"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
	"github.com/authagent-go/authagent/tokens"
)

func connect(t *testing.T) *redis.Client {
	t.Helper()
	addr := os.Getenv("AUTHAGENT_REDIS")
	if addr == "" {
		t.Skip("Redis is not tested: set AUTHAGENT_REDIS to the address of one for tests")
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	return client
}

// TestStores runs the kit for stores on Redis: TXN-4, SES-2, SES-3, SES-6, SES-11.
func TestStores(t *testing.T) {
	client := connect(t)
	t.Run("States", func(t *testing.T) {
		storetest.States(t, func() authagent.StateStore { return &redisstore.States{Client: client} })
	})
	t.Run("Revocations", func(t *testing.T) {
		storetest.Revocations(t, func() authagent.RevocationStore { return &redisstore.Revocations{Client: client} })
	})
	t.Run("Sessions", func(t *testing.T) {
		storetest.SessionStore(t, func() sessions.Store { return &redisstore.Sessions{Client: client} })
	})
}

// TestTokens: REF-2, REF-3, REF-8, REF-10.
func TestTokens(t *testing.T) {
	client := connect(t)
	storetest.Tokens(t, func() tokens.Store { return &redisstore.Tokens{Client: client} })
}

// TestExpiry: everything in Redis has a time to live, and a revocation keeps the
// longest that it was given.
func TestExpiry(t *testing.T) {
	client := connect(t)
	revocations := &redisstore.Revocations{Client: client}
	key := "user:" + t.Name() + time.Now().String()
	before := keys(t, client)
	now := time.Now()
	for _, lasts := range []time.Duration{time.Hour, time.Minute, -time.Hour} {
		if err := revocations.Revoke(t.Context(), key, "mark", now.Add(lasts)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (&redisstore.States{Client: client}).UseState(t.Context(), key, now); err != nil {
		t.Fatal(err)
	}
	found := 0
	for name := range keys(t, client) {
		if before[name] {
			continue
		}
		found++
		ttl, err := client.TTL(t.Context(), name).Result()
		least := 59 * time.Second
		if strings.Contains(name, ":revoked:") {
			least = 59 * time.Minute
		}
		if err != nil || ttl < least || ttl > time.Hour {
			t.Errorf("%s lives %v, %v", name, ttl, err)
		}
	}
	if found != 2 {
		t.Errorf("%d new keys", found)
	}
}

func keys(t *testing.T, client *redis.Client) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for scan := client.Scan(t.Context(), 0, "authagent:*", 1000).Iterator(); scan.Next(t.Context()); {
		found[scan.Val()] = true
	}
	return found
}

// TestUnreachable: without Redis every call fails, in the time that its context has.
func TestUnreachable(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer client.Close()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "name", Value: "x"})
	gs := sessions.NewSession(nil, "name")
	gs.Options = &sessions.Options{}
	store := &redisstore.Sessions{Client: client}
	_, newErr := store.New(r, "name")
	_, stateErr := (&redisstore.States{Client: client}).UseState(t.Context(), "x", time.Now())
	_, limitErr := (&redisstore.Limits{Client: client}).Take(t.Context(), limits.Budget{Key: "x", Rate: limits.Rate{N: 1, Per: time.Hour}})
	_, tokensErr := (&redisstore.Tokens{Client: client}).LoadTokens(t.Context(), "x")
	_, revokedErr := (&redisstore.Revocations{Client: client}).Marks(t.Context(), []string{"a", "b"})
	for what, err := range map[string]error{
		"New": newErr, "Save": store.Save(r, httptest.NewRecorder(), gs), "UseState": stateErr, "Marks": revokedErr, "Take": limitErr, "LoadTokens": tokensErr,
		"Revoke": (&redisstore.Revocations{Client: client}).Revoke(t.Context(), "x", "mark", time.Now()),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "redisstore: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&redisstore.States{Client: client}).UseState(ctx, "x", time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSignIn: with everything in Redis, a logout at one instance counts at the
// other (SES-3), and so does a state that was used (TXN-4).
func TestSignIn(t *testing.T) {
	client := connect(t)
	as := authagenttest.NewServer()
	defer as.Close()
	var instances [2]http.Handler
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Instance") == "2" {
			instances[1].ServeHTTP(w, r)
			return
		}
		instances[0].ServeHTTP(w, r)
	}))
	defer site.Close()
	registered := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
	agent := as.AddAgent(authagenttest.Agent{})
	profiles := &memstore.Profiles{}
	for i := range instances {
		rp, err := authagent.New(authagent.Config{
			Issuer: as.URL, ClientID: registered.ID, ClientSecret: registered.Secret,
			RedirectURL: site.URL + "/auth/agent/callback", SessionKeys: [][]byte{[]byte("a key of thirty-two bytes or more")},
			Scenario:    authagent.FreshProfile(profiles),
			Session:     authagent.SessionSettings{Store: &redisstore.Sessions{Client: client}},
			Revocations: &redisstore.Revocations{Client: client},
			States:      &redisstore.States{Client: client},
		})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("/auth/agent/login", rp.LoginHandler())
		mux.Handle("/auth/agent/callback", rp.CallbackHandler())
		mux.Handle("/auth/agent/logout", rp.LogoutHandler())
		mux.Handle("/", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })))
		instances[i] = mux
	}
	send := func(method, target, cookies, instance string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookies)
		r.Header.Set("X-Instance", instance)
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	cookies := func(c *http.Client) string {
		u, _ := url.Parse(site.URL)
		var all []string
		for _, cookie := range c.Jar.Cookies(u) {
			all = append(all, cookie.Name+"="+cookie.Value)
		}
		return strings.Join(all, "; ")
	}

	browser := as.NewBrowser()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := browser.Get(site.URL + "/auth/agent/login")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	callback, err := agent.Authorize(t.Context(), as.Client(), resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	pending := cookies(browser)
	if resp, err = browser.Get(callback); err != nil || resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("callback: %v, %v", resp, err)
	}
	resp.Body.Close()
	if got := send(http.MethodGet, callback, pending, "2").StatusCode; got < 400 {
		t.Errorf("TXN-4: the state works a second time, at another instance: %d", got)
	}
	session := cookies(browser)
	for _, instance := range []string{"1", "2"} {
		if got := send(http.MethodGet, site.URL+"/", session, instance).StatusCode; got != http.StatusOK {
			t.Errorf("instance %s: %d", instance, got)
		}
	}
	if got := send(http.MethodPost, site.URL+"/auth/agent/logout", session, "1").StatusCode; got != http.StatusSeeOther {
		t.Errorf("logout: %d", got)
	}
	if got := send(http.MethodGet, site.URL+"/", session, "2").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("SES-3: after logout, instance 2: %d", got)
	}
}
