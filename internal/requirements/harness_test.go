package requirements_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
)

// repository is where the module's root is from here.
const repository = "../.."

// A bench is the shared site, with what these suites alone ask of it.
type bench struct{ *testsite.Site }

type response = testsite.Response

// newBench is testsite.New.
func newBench(t testing.TB, change ...func(b *bench, c *authagent.Config)) *bench {
	t.Helper()
	return &bench{testsite.New(t, changes(change)...)}
}

// newBenchOn is testsite.NewOn.
func newBenchOn(t testing.TB, as *authagenttest.Server, change ...func(b *bench, c *authagent.Config)) *bench {
	t.Helper()
	return &bench{testsite.NewOn(t, as, changes(change)...)}
}

// newCluster is testsite.NewCluster.
func newCluster(t testing.TB, change ...func(b *bench, c *authagent.Config)) *bench {
	t.Helper()
	return &bench{testsite.NewCluster(t, changes(change)...)}
}

func changes(all []func(b *bench, c *authagent.Config)) []testsite.Change {
	changes := make([]testsite.Change, len(all))
	for i, f := range all {
		changes[i] = func(s *testsite.Site, c *authagent.Config) { f(&bench{s}, c) }
	}
	return changes
}

func mustParse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// authorizationURL begins a login at a relying party and returns where the browser is
// sent, or the refusal.
func authorizationURL(ctx context.Context, rp *authagent.RelyingParty) (string, error) {
	w := httptest.NewRecorder()
	rp.LoginHandler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "https://site.example/auth/agent/login", nil))
	if w.Code != http.StatusSeeOther {
		return "", fmt.Errorf("login: %d %s", w.Code, w.Body)
	}
	return w.Header().Get("Location"), nil
}

// askServer sends the server a request that is not the relying party's, about a token.
// It returns the members of the answer.
func (b *bench) askServer(path, token string) map[string]any {
	b.T.Helper()
	form := url.Values{"token": {token}, "client_id": {b.Config.ClientID}, "client_secret": {b.Config.ClientSecret}}
	body, contentType := form.Encode(), "application/x-www-form-urlencoded"
	if b.AS.Quirks.JSONBodies {
		object, _ := json.Marshal(map[string]string{"token": token, "client_id": b.Config.ClientID, "client_secret": b.Config.ClientSecret})
		body, contentType = string(object), "application/json"
	}
	resp := b.Send(b.Bare(), http.MethodPost, b.AS.URL+path, body, "Content-Type", contentType)
	members := map[string]any{}
	if json.Unmarshal([]byte(resp.Text), &members); resp.StatusCode != http.StatusOK { // a revocation may say nothing
		b.T.Fatalf("%s: %d %s", path, resp.StatusCode, resp.Text)
	}
	return members
}
