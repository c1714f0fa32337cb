package otel_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/examples/otel"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

// TestTelemetry: an agent signs in, reads, and is refused; the spans and the
// numbers say so, and have no secret in them.
func TestTelemetry(t *testing.T) {
	exporter, reader := tracetest.NewInMemoryExporter(), metric.NewManualReader()
	traces := trace.NewTracerProvider(trace.WithSyncer(exporter))
	metrics := metric.NewMeterProvider(metric.WithReader(reader))
	recorder, err := otel.NewRecorder(metrics)
	if err != nil {
		t.Fatal(err)
	}

	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	web := httptest.NewServer(otelhttp.NewHandler(mux, "shop", otelhttp.WithTracerProvider(traces), otelhttp.WithMeterProvider(metrics)))
	defer web.Close()
	client := as.AddClient(authagenttest.Client{ID: "shop", RedirectURIs: []string{web.URL + "/auth/agent/callback"}})
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com"})
	users := &memstore.Users{}
	alice := users.Add("alice@example.com", "Alice")
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: web.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")}, Scenario: authagent.FullAccount(users, authagent.InsecureTrustEmail),
		Provider: provider.Settings{HTTPClient: otel.Client(traces, metrics)}, Metrics: recorder, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") })
	mux.Handle("/orders", rp.RequireAgent(otel.Annotate(ok)))
	mux.Handle("/password", rp.ForbidAgents(otel.Annotate(ok)))

	browser := as.NewBrowser()
	resp, err := agent.SignIn(t.Context(), browser, web.URL+"/auth/agent/login?return_to=/orders")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, path := range []string{"/password", "/orders"} {
		if resp, err = browser.Get(web.URL + path); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if err := rp.Shutdown(t.Context()); err != nil { // all events have been delivered
		t.Fatal(err)
	}

	spans := exporter.GetSpans()
	callback := find(spans, func(s tracetest.SpanStub) bool { return attributes(s)["url.path"] == "/auth/agent/callback" })
	for _, name := range []string{"POST /token", "GET /userinfo"} {
		s := find(spans, func(s tracetest.SpanStub) bool {
			return s.Name == name && s.Parent.SpanID() == callback.SpanContext.SpanID()
		})
		if status := attributes(s)["http.response.status_code"]; status != "200" {
			t.Errorf("no span %s of the callback with status 200, but %q: %v", name, status, spans)
		}
	}
	read := attributes(find(spans, func(s tracetest.SpanStub) bool { return attributes(s)["authagent.agent"] != "" }))
	got := []string{read["url.path"], read["authagent.agent"], read["authagent.user"], read["authagent.access"]}
	if diff := cmp.Diff([]string{"/orders", "agent_alice", alice, "full"}, got); diff != "" {
		t.Errorf("span of /orders (-want +got):\n%s", diff)
	}
	counted := counted(t, reader)
	for series, want := range map[string]float64{
		"authagent_sign_ins_total browser started": 1, "authagent_sign_ins_total browser ok": 1, "authagent_sign_ins_total browser failed": 0,
		"authagent_refusals_total agent agent_forbidden": 1, "authagent_server_request_seconds token 200": 1,
		"authagent_queue_waiting events": 0,
	} {
		if got, there := counted[series]; !there || got != want {
			t.Errorf("%s is %v, want %v: %v", series, got, want, counted)
		}
	}
	// The codes and tokens that the server has given out are in none of it, and
	// neither are the secrets.
	all, err := json.Marshal(spans)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{client.Secret, agent.Secret, "ac_", "eyJ", "rt_"} {
		if strings.Contains(string(all), secret) {
			t.Errorf("%q is in the spans", secret)
		}
	}
}

func find(spans tracetest.SpanStubs, is func(tracetest.SpanStub) bool) tracetest.SpanStub {
	if i := slices.IndexFunc(spans, is); i >= 0 {
		return spans[i]
	}
	return tracetest.SpanStub{}
}

func attributes(s tracetest.SpanStub) map[string]string {
	m := make(map[string]string)
	for _, a := range s.Attributes {
		m[string(a.Key)] = a.Value.String()
	}
	return m
}

// counted has the sums, and how often histograms were given something, by name and attributes.
func counted(t *testing.T, reader metric.Reader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	n := make(map[string]float64)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[float64]:
				for _, point := range d.DataPoints {
					n[series(m.Name, point.Attributes)] += point.Value
				}
			case metricdata.Histogram[float64]:
				for _, point := range d.DataPoints {
					n[series(m.Name, point.Attributes)] += float64(point.Count)
				}
			}
		}
	}
	return n
}

// series is a name and the values of attributes, in the order of their keys.
func series(name string, attributes attribute.Set) string {
	for _, a := range attributes.ToSlice() {
		name += " " + a.Value.String()
	}
	return name
}
