package redisstore_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	redisstore "github.com/authagent-go/authagent/examples/redis"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
)

// BenchmarkLimits is a GET behind a guard, with limits for the agent and its owner: counted by the
// process, and in Redis. All else is in memory.
func BenchmarkLimits(b *testing.B) {
	client := redis.NewClient(&redis.Options{Addr: os.Getenv("AUTHAGENT_REDIS")})
	defer client.Close()
	if os.Getenv("AUTHAGENT_REDIS") == "" || client.Ping(b.Context()).Err() != nil {
		b.Skip("there is no Redis")
	}
	for _, test := range []struct {
		name  string
		store limits.Store
	}{{"local", nil}, {"shared", &redisstore.Limits{Client: client}}} {
		b.Run(test.name, func(b *testing.B) {
			as := authagenttest.NewServer()
			defer as.Close()
			mux := http.NewServeMux()
			site := httptest.NewServer(mux)
			defer site.Close()
			registered := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
			users := &memstore.Users{}
			users.Add("alice@example.com", "Alice")
			often := limits.Rate{N: 1e7, Per: time.Second}
			rp, err := authagent.New(authagent.Config{
				Issuer: as.URL, ClientID: registered.ID, ClientSecret: registered.Secret, RedirectURL: site.URL + "/auth/agent/callback",
				SessionKeys: [][]byte{[]byte("a key of thirty-two bytes or more")}, Logger: slog.New(slog.DiscardHandler),
				Scenario: authagent.FullAccount(users, authagent.InsecureTrustEmail),
				Limits:   limits.Settings{Store: test.store, Agent: often, Owner: often},
			})
			if err != nil {
				b.Fatal(err)
			}
			mux.Handle("/auth/agent/login", rp.LoginHandler())
			mux.Handle("/auth/agent/callback", rp.CallbackHandler())
			guarded := rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			browser := as.NewBrowser()
			resp, err := as.AddAgent(authagenttest.Agent{Email: "alice@example.com"}).SignIn(b.Context(), browser, site.URL+"/auth/agent/login")
			if err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
			r := httptest.NewRequest(http.MethodGet, site.URL+"/", nil)
			for _, cookie := range browser.Jar.Cookies(r.URL) {
				r.AddCookie(cookie)
			}
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				if guarded.ServeHTTP(w, r); w.Code != http.StatusNoContent {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
