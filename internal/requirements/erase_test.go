package requirements_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/stores"
	"github.com/authagent-go/authagent/tokens"
)

// bareTokens hides that a store finds tokens by their account.
type bareTokens struct{ tokens.Store }

// TestLateEvents_ERA_4: where nothing but the relying party knows of an account that was erased, the revocation of its
// tokens on the next request of a session carries the pseudonym.
func TestLateEvents_ERA_4(t *testing.T) {
	for name, store := range map[string]tokens.Store{"found by account": &memstore.Tokens{}, "not found": bareTokens{&memstore.Tokens{}}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(_ *bench, c *authagent.Config) { c.Tokens.Store = store })
			c := b.Browser()
			b.MustSignIn(c, b.Agent)
			receipt, err := b.RP.EraseUser(t.Context(), "", b.AliceID)
			if err != nil {
				t.Fatal(err)
			}
			before := len(b.Events.All())
			b.Get(c, "/me")
			if err := b.RP.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			revoked := 0
			for i, e := range b.Events.All() {
				if e.Name == audit.TokensRevoked && e.UserID == receipt.Pseudonym {
					revoked++
				}
				if i >= before && e.UserID == b.AliceID {
					t.Errorf("ERA-4: event %+v", e)
				}
			}
			if revoked != 1 {
				t.Errorf("ERA-3 ERA-4: tokens were revoked %d times under the pseudonym, want once", revoked)
			}
		})
	}
}

// A panickingEraser panics, and an askedEraser knows that it was asked.
type panickingEraser struct{}

func (panickingEraser) EraseUser(context.Context, *authagent.Erasure) error { panic("secret") }

type askedEraser struct{ asked int }

func (c *askedEraser) EraseUser(_ context.Context, e *authagent.Erasure) error {
	c.asked++
	e.Count("rows", 1)
	return nil
}

// panickingUsers are a UserStore whose eraser panics.
type panickingUsers struct {
	authagent.UserStore
	panickingEraser
}

// TestPanickingEraser_ERA_11: an eraser that panics is named in the receipt, within the scenario and beside it, and all others are
// asked. The log has its stack, and nothing has the value.
func TestPanickingEraser_ERA_11(t *testing.T) {
	last := &askedEraser{}
	b := newBench(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(panickingUsers{UserStore: b.Users}, authagent.InsecureTrustEmail)
		c.Erasers = []authagent.Eraser{panickingEraser{}, last}
	})
	receipt, err := b.RP.EraseUser(t.Context(), "", b.AliceID)
	if err == nil || last.asked != 1 {
		t.Errorf("ERA-11: %v, and the last was asked %d times", err, last.asked)
	}
	said := make(map[string]string)
	for _, store := range receipt.Stores {
		said[store.Store] = store.Error
	}
	for _, name := range []string{"UserStore", "requirements_test.panickingEraser"} {
		if said[name] != "panic: string" {
			t.Errorf("ERA-11: the receipt says of %s: %q", name, said[name])
		}
	}
	if log := b.Log.String(); !strings.Contains(log, "panickingEraser.EraseUser") || strings.Contains(log, "secret") {
		t.Errorf("ERA-11: the log is %s", log)
	}
}

// TestNilEraser_ERA_11: a nil eraser is found when the relying party is made.
func TestNilEraser_ERA_11(t *testing.T) {
	for _, none := range []authagent.Eraser{nil, (*askedEraser)(nil)} {
		c := validConfig()
		c.Erasers = []authagent.Eraser{&askedEraser{}, none}
		if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "Erasers[1]") {
			t.Errorf("ERA-11: New with %T: %v", none, err)
		}
	}
}

// TestAuditOfSite_ERA_12: a LinkPolicy that hears of events is no Config.Audit.
func TestAuditOfSite_ERA_12(t *testing.T) {
	for _, set := range []bool{true, false} {
		b := newBench(t, func(b *bench, c *authagent.Config) {
			c.Scenario = authagent.FullAccount(b.Users, grants.OwnerApproval(&memstore.Grants{}))
			if !set {
				c.Audit = nil
			}
		})
		receipt, err := b.RP.EraseUser(t.Context(), "", b.AliceID)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.ContainsFunc(receipt.Stores, func(s stores.Erased) bool { return s.Store == "Config.Audit" }); got != set {
			t.Errorf("ERA-12: Config.Audit is set: %v, and the receipt: %+v", set, receipt)
		}
	}
}

// TestLongestLifetime_ERA_13: what is remembered of sessions that were ended outlasts every session.
func TestLongestLifetime_ERA_13(t *testing.T) {
	const most = 365 * 24 * time.Hour
	for lifetime, good := range map[time.Duration]bool{most: true, most + 1: false} {
		c := validConfig()
		c.Session.Lifetime = lifetime
		if _, err := authagent.New(c); (err == nil) != good || !good && !strings.Contains(err.Error(), "Session.Lifetime") {
			t.Errorf("ERA-13: New with %v: %v", lifetime, err)
		}
	}
}
