package memstore_test

import (
	"slices"
	"testing"
	"time"

	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
)

func TestGrants(t *testing.T) {
	storetest.Grants(t, func(*testing.T) grants.Store { return &memstore.Grants{} })
}

// TestOldAllowances: an allowance goes 90 days after it has expired, when another one is
// made.
func TestOldAllowances(t *testing.T) {
	var m memstore.Grants
	day := 24 * time.Hour
	for id, days := range map[string]int{"gone": 91, "shown": 89} {
		if _, _, err := m.CreateAllowance(t.Context(), grants.Allowance{ID: id, UserID: "u", ExpiresAt: time.Now().Add(-time.Duration(days) * day)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := m.CreateAllowance(t.Context(), grants.Allowance{ID: "new", UserID: "u", ExpiresAt: time.Now().Add(day)}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	all, err := m.OwnerAllowances(t.Context(), "u")
	for _, a := range all {
		ids = append(ids, a.ID)
	}
	if err != nil || !slices.Equal(ids, []string{"new", "shown"}) {
		t.Errorf("allowances %q, %v", ids, err)
	}
}
