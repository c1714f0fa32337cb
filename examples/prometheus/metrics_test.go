package prometheus_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	example "github.com/authagent-go/authagent/examples/prometheus"
	"github.com/authagent-go/authagent/memstore"
)

// slow is a RevocationStore that takes its time, and fails if it is to.
type slow struct {
	authagent.RevocationStore
	wait atomic.Int64
	fail atomic.Bool
}

func (s *slow) Marks(ctx context.Context, keys []string) ([]string, error) {
	time.Sleep(time.Duration(s.wait.Load()))
	if s.fail.Load() {
		return nil, errors.New("connection refused")
	}
	return s.RevocationStore.Marks(ctx, keys)
}

// TestMetrics: a sign-in, a refusal, a slow store, one that fails, and an event that is lost are in the text that
// Prometheus reads.
func TestMetrics(t *testing.T) {
	registry, mux := prometheus.NewRegistry(), http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	web := httptest.NewServer(mux)
	defer web.Close()
	as := authagenttest.NewServer()
	defer as.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{web.URL + "/auth/agent/callback"}})
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com"})
	users, store := &memstore.Users{}, &slow{RevocationStore: &memstore.Revocations{}}
	users.Add("alice@example.com", "Alice")
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: web.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")}, Scenario: authagent.FullAccount(users, authagent.InsecureTrustEmail),
		Revocations: store, Logger: slog.New(slog.DiscardHandler),
		Audit:   func(context.Context, audit.Event) { panic("the trail is broken") },
		Metrics: example.NewRecorder(registry),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") })
	mux.Handle("/orders", rp.RequireAgent(ok))
	mux.Handle("/password", rp.ForbidAgents(ok))
	browser := as.NewBrowser()
	get := func(path string) string {
		t.Helper()
		resp, err := browser.Get(web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}

	for _, zero := range []string{`authagent_sign_ins_total{door="browser",outcome="ok"} 0`, `authagent_queue_lost_total{cause="full",queue="events"} 0`} {
		if !strings.Contains(get("/metrics"), zero) {
			t.Errorf("before anything has happened, there is no %s", zero)
		}
	}
	resp, err := agent.SignIn(t.Context(), browser, web.URL+"/auth/agent/login")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	get("/password")
	store.wait.Store(int64(60 * time.Millisecond))
	get("/orders")
	store.fail.Store(true)
	get("/orders")
	if err := rp.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	text := get("/metrics")
	for _, want := range []string{
		`authagent_sign_ins_total\{door="browser",outcome="ok"\} 1`,
		`authagent_refusals_total\{fault="agent",reason="agent_forbidden"\} 1`,
		`authagent_refusals_total\{fault="site",reason="store_failed"\} 1`,
		`authagent_session_check_seconds_bucket\{door="browser",outcome="failed",le="0.05"\} 0`, // it took longer
		`authagent_session_check_seconds_count\{door="browser",outcome="failed"\} 1`,
		`authagent_server_request_seconds_count\{endpoint="userinfo",status="200"\} 1`,
		`authagent_store_failures_total\{store="revocations"\} 1`,
		`authagent_queue_lost_total\{cause="panic",queue="events"\} [1-9]`,
		`authagent_queue_waiting\{queue="events"\} 0`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(text) {
			t.Errorf("no line %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	for _, private := range []string{"agent_alice", "alice@example.com", "/orders", "127.0.0.1"} {
		if strings.Contains(text, private) {
			t.Errorf("%s is in the metrics", private)
		}
	}
}
