package memstore

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// keptAllowance is how long an allowance is kept after it has expired, as package sqlstore
// keeps it.
const keptAllowance = 90 * 24 * time.Hour

// cloneAllowance is like cloneGrant.
func cloneAllowance(a grants.Allowance) grants.Allowance {
	a.Open = slices.Clone(a.Open)
	return a
}

// Allowance implements [grants.AllowanceStore].
func (m *Grants) Allowance(_ context.Context, id string) (grants.Allowance, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if a, ok := m.allowances[id]; ok {
		return cloneAllowance(a), nil
	}
	return grants.Allowance{}, authagent.ErrNotFound
}

// OwnerAllowances implements [grants.AllowanceStore].
func (m *Grants) OwnerAllowances(_ context.Context, userID string) ([]grants.Allowance, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return pick(m.allowances, func(a grants.Allowance) bool { return a.UserID == userID }, cloneAllowance), nil
}

// CreateAllowance implements [grants.AllowanceStore].
func (m *Grants) CreateAllowance(_ context.Context, a grants.Allowance) (have grants.Allowance, created bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.allowances[a.ID]; ok {
		return cloneAllowance(have), false, nil
	}
	maps.DeleteFunc(m.allowances, func(_ string, old grants.Allowance) bool { return time.Since(old.ExpiresAt) > keptAllowance })
	put(&m.allowances, a.ID, cloneAllowance(a))
	return a, true, nil
}

// UpdateAllowance implements [grants.AllowanceStore].
func (m *Grants) UpdateAllowance(_ context.Context, a grants.Allowance) (grants.Allowance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.allowances[a.ID]; !ok || have.Version != a.Version {
		return grants.Allowance{}, authagent.ErrConflict
	}
	a.Version++
	put(&m.allowances, a.ID, cloneAllowance(a))
	return a, nil
}
