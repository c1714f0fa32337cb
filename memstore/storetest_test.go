package memstore_test

import (
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
	"github.com/authagent-go/authagent/tokens"
)

// TestKit runs the kit for stores: LNK-12, LNK-13, ID-3, TXN-4, SES-3, SES-11,
// REF-2, REF-3, REF-8, REF-10, SUB-6, LIM-1 to LIM-5.
func TestKit(t *testing.T) {
	t.Run("Profiles", func(t *testing.T) {
		storetest.Profiles(t, func() authagent.ProfileStore { return &memstore.Profiles{} })
	})
	t.Run("Links", func(t *testing.T) { storetest.Links(t, func() authagent.AgentLinker { return &memstore.Users{} }) })
	t.Run("States", func(t *testing.T) { storetest.States(t, func() authagent.StateStore { return &memstore.States{} }) })
	t.Run("Revocations API-13", func(t *testing.T) {
		storetest.Revocations(t, func() authagent.RevocationStore { return &memstore.Revocations{} })
	})
	t.Run("Limits LIM-1 LIM-2 LIM-4 LIM-5", func(t *testing.T) { storetest.Limits(t, func() limits.Store { return &memstore.Limits{} }) })
	t.Run("Tokens", func(t *testing.T) { storetest.Tokens(t, func() tokens.Store { return &memstore.Tokens{} }) })
}
