package mcpauth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/mcpauth"
	"github.com/authagent-go/authagent/problem"
)

// A journal keeps deeds in memory, unless it is down.
type journal struct {
	mu   sync.Mutex
	down bool
	all  []string // action and outcome
}

func (j *journal) Write(_ context.Context, e audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down {
		return errors.New("connection refused")
	}
	j.all = append(j.all, strings.TrimSpace(e.Action+" "+e.Outcome))
	return nil
}

func (j *journal) take() (all []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	all, j.all = j.all, nil
	return all
}

// TestTools_JRN_8 is JRN-8: the tools that change something are deeds, and those that read are not.
func TestTools_JRN_8(t *testing.T) {
	j := &journal{}
	b := admitted(t, authagent.AccessFull, "", stateless, func(_ *bench, c *authagent.Config) { c.Journal = j })
	var id string
	rp := b.Instance("own")
	own := mcp.NewServer(&mcp.Implementation{Name: "own", Version: "1"}, nil)
	for name, result := range map[string]func() (*mcp.CallToolResult, error){
		"says": func() (*mcp.CallToolResult, error) { return &mcp.CallToolResult{IsError: true}, nil }, "fails": func() (*mcp.CallToolResult, error) { return nil, errors.New("no money") },
		"refuses": func() (*mcp.CallToolResult, error) { return nil, problem.Conflict }, "panics": func() (*mcp.CallToolResult, error) { panic("no money") },
		"does": func() (*mcp.CallToolResult, error) { return nil, nil },
	} {
		mcpauth.AddTool(own, &mcp.Tool{Name: name}, mcpauth.RequireAction(rp, "orders:create"), func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			id = audit.DeedFrom(ctx)
			r, err := result()
			return r, nil, err
		})
	}
	b.Mux("own").Handle("/mcp", mcpauth.Handler(rp, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return own }, &b.options)))
	s := b.mustConnect(b.token())
	for _, test := range []struct {
		tool string
		want []string
	}{
		{"list_orders", nil}, {"who_am_i", nil},
		{"close_account", []string{"begun", "ok"}},
		{"place_order", []string{"orders:create begun", "orders:create ok"}},
	} {
		if b.call(s, test.tool, struct{}{}); !slices.Equal(j.take(), test.want) {
			t.Errorf("JRN-8 %s: not %q", test.tool, test.want)
		}
	}
	mine := b.mustConnect(b.token(), "own")
	for tool, outcome := range map[string]string{"says": "failed", "fails": "failed", "refuses": "refused", "panics": "unknown", "does": "ok"} {
		id = ""
		mine.CallTool(t.Context(), &mcp.CallToolParams{Name: tool})
		if got := j.take(); !slices.Equal(got, []string{"orders:create begun", "orders:create " + outcome}) || id == "" {
			t.Errorf("JRN-8 %s: %q, the tool finds %q", tool, got, id)
		}
	}
	b.pay = func(ctx context.Context, _ *mcp.CallToolRequest, _ payment) error {
		id = audit.DeedFrom(ctx)
		return nil
	}
	id = ""
	b.refused(s, "pay_out", payment{To: "Bob"}, problem.ApprovalPending)
	if got := j.take(); got != nil {
		t.Errorf("JRN-8: %q", got)
	}
	b.decide(true)
	b.call(s, "pay_out", payment{To: "Bob"})
	if got := j.take(); !slices.Equal(got, []string{"payouts:create begun", "payouts:create ok"}) || id == "" {
		t.Errorf("JRN-8: %q, the tool finds %q", got, id)
	}
	j.down = true
	for _, tool := range []string{"close_account", "place_order"} {
		b.refused(s, tool, struct{}{}, problem.StoreFailed)
	}
}
