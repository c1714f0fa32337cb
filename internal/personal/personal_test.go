package personal_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/stores"
)

// orders is a further store of a site, and named one that says what it is called.
type orders struct{}

func (*orders) EraseUser(_ context.Context, e *stores.Erasure) error {
	e.Count("orders", 1)
	return nil
}

type named struct{ orders }

func (*named) Name() string { return "order book" }

// TestNames_ERA_14: further stores have names of their own, a store that is not set is not named, and one that cannot
// export is.
func TestNames_ERA_14(t *testing.T) {
	site := testsite.New(t, func(_ *testsite.Site, c *authagent.Config) {
		c.Tokens.Store = nil
		c.Erasers = []authagent.Eraser{&orders{}, &named{}}
	})
	receipt, err := site.RP.EraseUser(t.Context(), "", "alice")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := site.RP.ExportUser(t.Context(), "alice", &b); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"receipt": fmt.Sprint(receipt), "export": b.String()} {
		for _, want := range []string{"personal_test.orders", "order book", "Config.Revocations"} {
			if !strings.Contains(text, want) {
				t.Errorf("ERA-14: the %s lacks %q: %s", what, want, text)
			}
		}
		for _, bad := range []string{"Config.Tokens.Store", "Erasers[", "*personal_test"} {
			if strings.Contains(text, bad) {
				t.Errorf("ERA-14: the %s has %q: %s", what, bad, text)
			}
		}
	}
}
