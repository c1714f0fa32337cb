package grants_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// TestFailuresAreLogged: what a store refuses in the background is told to nobody but the
// operator, who is told what was being done.
func TestFailuresAreLogged(t *testing.T) {
	for _, test := range []struct {
		method string
		what   func(s *shop, in *http.Client)
		log    string
	}{
		{"OwnerGrants", func(s *shop, _ *http.Client) { s.signIn(s.browser(), s.agent("agent_2", "alice@example.com")) }, "find grants of account: connection refused"},
		{"CreateGrant", func(s *shop, _ *http.Client) { s.signIn(s.browser(), s.agent("agent_2", "alice@example.com")) }, "connection refused"},
		{"EndActivity", func(s *shop, in *http.Client) { s.do(in, "POST", "/auth/agent/logout", "") }, "could not record what an agent did"},
		{"AddDeed", func(s *shop, in *http.Client) { s.get(in, "/orders") }, "could not record what an agent did"},
		{"Touch", func(s *shop, in *http.Client) { s.get(in, "/me") }, "connection refused"},
	} {
		bubble(t, test.method, func(t *testing.T) {
			var written buffer
			store := &broken{method: test.method}
			s := newShop(t, options{
				store:  func(in grants.Store) grants.Store { store.Store = in; return store },
				policy: func(p *grants.Policy) { p.Logger = slog.New(slog.NewTextHandler(&written, nil)) },
			})
			_, in := s.approved("agent_1")
			store.now.Store(true)
			test.what(s, in)
			s.wait()
			if !store.hit.Load() || !strings.Contains(written.String(), test.log) {
				t.Errorf("the store was asked: %v; the log has\n%s", store.hit.Load(), written.String())
			}
		})
	}
}

// TestEventKeys_LOG_3: what a policy logs of an event is under the keys that the relying party's events
// have, so that one search in the log finds both.
func TestEventKeys_LOG_3(t *testing.T) {
	bubble(t, "LOG-3", func(t *testing.T) {
		var written buffer
		logger := slog.New(slog.NewJSONHandler(&written, nil))
		s := newShop(t, options{
			policy: func(p *grants.Policy) { p.Logger = logger },
			config: func(_ *shop, c *authagent.Config) { c.Logger = logger },
		})
		_, agent := s.approved("agent_1")
		s.do(agent, "POST", "/orders", "")
		s.decide(s.alice, "agent_1", grants.Suspended)
		s.wait()
		records := make(map[string]map[string]any)
		for line := range strings.Lines(written.String()) {
			var record map[string]any
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatal(err)
			}
			records[record["msg"].(string)] = record
		}
		own, signIn := records["grants: link_suspended"], records["authagent: login_succeeded"]
		for _, key := range []string{"issuer", "on_behalf_of", "grant", "scenario"} {
			if own[key] == nil || own[key] != signIn[key] {
				t.Errorf("LOG-3: %s is %v of the policy's event, and %v of the relying party's", key, own[key], signIn[key])
			}
		}
		if own["agent"] != signIn["performed_by"] || own["performed_by"] != s.alice || own["detail"] != "owner" {
			t.Errorf("LOG-3: %v, and %v", own, signIn)
		}
	})
}

// A buffer is written to by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
