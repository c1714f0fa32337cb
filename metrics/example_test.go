package metrics_test

import (
	"context"
	"expvar"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/metrics"
)

// A Vars publishes numbers with package expvar, under names such as
// "authagent_sign_ins_total browser ok". Of histograms it has the count and the sum.
type Vars struct{ *expvar.Map }

// Record implements metrics.Recorder.
func (v Vars) Record(name metrics.Name, value float64, labels metrics.Labels) {
	series := strings.TrimSpace(strings.Join(append([]string{string(name)}, labels[:]...), " "))
	if strings.HasSuffix(string(name), "_seconds") {
		v.Add(series+" count", 1)
	}
	v.AddFloat(series, value)
}

// A Recorder for package expvar, whose numbers a program serves at /debug/vars.
func ExampleRecorder() {
	vars := Vars{new(expvar.Map).Init()} // expvar.NewMap("agents") publishes it
	for _, metric := range metrics.All() {
		for _, labels := range metric.Series {
			vars.Record(metric.Name, 0, labels)
		}
	}

	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Logger: slog.New(slog.DiscardHandler),
		Scenario: authagent.FullAccount(users, authagent.InsecureTrustEmail),
		Metrics:  vars,
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())

	agent := as.AddAgent(authagenttest.Agent{Email: "alice@example.com"})
	resp, err := agent.SignIn(context.Background(), as.NewBrowser(), site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	for _, series := range []string{
		"authagent_sign_ins_total browser ok", "authagent_sign_ins_total browser failed", "authagent_server_request_seconds userinfo 200 count",
	} {
		fmt.Println(series, vars.Get(series))
	}
	// Output:
	// authagent_sign_ins_total browser ok 1
	// authagent_sign_ins_total browser failed 0
	// authagent_server_request_seconds userinfo 200 count 1
}
