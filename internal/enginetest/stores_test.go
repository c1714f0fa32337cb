package enginetest_test

import (
	"testing"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/storetest"
	"github.com/authagent-go/authagent/tokens"
)

// TestStores runs the kit for stores on each engine, and on each engine as sites
// set it up that had other things in mind: LNK-12, LNK-13, ID-3, TXN-4, SES-2,
// SES-3, SES-11, REF-10, LIM-1 to LIM-5.
func TestStores(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, setting := range d.settings {
			t.Run(setting, func(t *testing.T) {
				s, _ := d.migrated(t, setting)
				kit(t, s)
			})
		}
	})
}

func kit(t *testing.T, s *sqlstore.Store) {
	t.Run("Profiles", func(t *testing.T) { storetest.Profiles(t, func() authagent.ProfileStore { return s.Profiles() }) })
	t.Run("Links", func(t *testing.T) { storetest.Links(t, func() authagent.AgentLinker { return s.Links() }) })
	t.Run("States", func(t *testing.T) { storetest.States(t, func() authagent.StateStore { return s.States() }) })
	t.Run("Revocations", func(t *testing.T) {
		storetest.Revocations(t, func() authagent.RevocationStore { return s.Revocations() })
	})
	t.Run("Tokens", func(t *testing.T) { storetest.Tokens(t, func() tokens.Store { return s.Tokens() }) })
	t.Run("Limits", func(t *testing.T) { storetest.Limits(t, func() limits.Store { return s.Limits() }) })
	t.Run("Sessions", func(t *testing.T) { storetest.SessionStore(t, func() sessions.Store { return s.Sessions() }) })
}
