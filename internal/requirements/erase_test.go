package requirements_test

import (
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/memstore"
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
