package enginetest_test

import (
	"testing"

	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/grantstest"
)

// TestGrants runs the kit for stores of grants on each engine, and on each as in
// TestStores: LNK-1, LNK-3, LNK-12, LNK-15.
func TestGrants(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, setting := range settings[d.name] {
			t.Run(setting, func(t *testing.T) {
				grantstest.Store(t, func(t *testing.T) grants.Store {
					var more []string
					if setting != "" {
						more = append(more, setting)
					}
					s, _ := newDatabase(t, d.engine).migrated(t, more...) // has to be empty
					return s.Grants()
				})
			})
		}
	})
}
