package grants

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
)

// Memory is a [Store] in the memory of one process: for examples, tests and
// development. What it holds is gone when the process ends. Make one with
// [NewMemory].
type Memory struct {
	mu        sync.RWMutex
	grants    map[string]Grant // by ID; what is in it is never changed, only replaced
	approvals map[string]Approval
	sessions  map[string]Activity
	networks  map[string]map[string]LastUse // by grant and network
	deeds     map[string][]Deed             // by account, oldest first
	swept     time.Time
	rules     Rules
}

// NewMemory returns a Memory that is empty.
func NewMemory() *Memory {
	return &Memory{
		grants: make(map[string]Grant), approvals: make(map[string]Approval), sessions: make(map[string]Activity),
		networks: make(map[string]map[string]LastUse), deeds: make(map[string][]Deed),
	}
}

// Grant implements [GrantStore].
func (m *Memory) Grant(_ context.Context, id string) (Grant, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if g, ok := m.grants[id]; ok {
		return g.clone(), nil
	}
	return Grant{}, authagent.ErrNotFound
}

// AgentGrants implements [GrantStore].
func (m *Memory) AgentGrants(_ context.Context, agent authagent.Agent) ([]Grant, error) {
	return m.grantsOf(func(g Grant) bool { return g.Agent == agent }), nil
}

// OwnerGrants implements [GrantStore].
func (m *Memory) OwnerGrants(_ context.Context, userID string) ([]Grant, error) {
	return m.grantsOf(func(g Grant) bool { return g.UserID == userID }), nil
}

func (m *Memory) grantsOf(match func(Grant) bool) []Grant {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return clones(pick(m.grants, match))
}

// clone returns g with nothing that a caller could change in the store.
func (g Grant) clone() Grant {
	g.Actions = slices.Clone(g.Actions)
	return g
}

func pick[T any](all map[string]T, match func(T) bool) []T {
	var found []T
	for _, v := range all {
		if match(v) {
			found = append(found, v)
		}
	}
	return found
}

// clones replaces each of all by its clone.
func clones[T interface{ clone() T }](all []T) []T {
	for i, v := range all {
		all[i] = v.clone()
	}
	return all
}

// CreateGrant implements [GrantStore].
func (m *Memory) CreateGrant(_ context.Context, g Grant) (have Grant, created bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, have := range m.grants {
		if have.Agent == g.Agent && have.Subject == g.Subject && have.Scenario == g.Scenario && have.UserID == g.UserID {
			return have.clone(), false, nil
		}
	}
	m.grants[g.ID] = g.clone()
	return g, true, nil
}

// UpdateGrant implements [GrantStore].
func (m *Memory) UpdateGrant(_ context.Context, g Grant) (Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.grants[g.ID]; !ok || have.Version != g.Version {
		return Grant{}, authagent.ErrConflict
	}
	g.Version++
	m.grants[g.ID] = g.clone()
	return g, nil
}

// clone is like that of a Grant.
func (a Approval) clone() Approval {
	a.Body = slices.Clone(a.Body)
	return a
}

// Approval implements [ApprovalStore].
func (m *Memory) Approval(_ context.Context, id string) (Approval, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if a, ok := m.approvals[id]; ok {
		return a.clone(), nil
	}
	return Approval{}, authagent.ErrNotFound
}

// OwnerApprovals implements [ApprovalStore].
func (m *Memory) OwnerApprovals(_ context.Context, userID string) ([]Approval, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return clones(pick(m.approvals, func(a Approval) bool { return a.UserID == userID && a.Now() != Expired })), nil
}

// CreateApproval implements [ApprovalStore].
func (m *Memory) CreateApproval(_ context.Context, a Approval) (have Approval, created bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, have := range m.approvals {
		switch {
		case have.UserID == a.UserID && have.Digest == a.Digest:
			return have.clone(), false, nil
		case have.Now() == Expired:
			delete(m.approvals, id)
		}
	}
	m.approvals[a.ID] = a.clone()
	return a, true, nil
}

// UpdateApproval implements [ApprovalStore].
func (m *Memory) UpdateApproval(_ context.Context, a Approval) (Approval, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.approvals[a.ID]; !ok || have.Version != a.Version {
		return Approval{}, authagent.ErrConflict
	}
	a.Version++
	m.approvals[a.ID] = a.clone()
	return a, nil
}

// maxNetworks bounds how many networks are remembered for one grant.
const maxNetworks = 100

// Touch implements [ActivityStore].
func (m *Memory) Touch(_ context.Context, a Activity) (Use, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.SeenAt.Sub(m.swept) > time.Minute {
		for id, s := range m.sessions {
			if !a.SeenAt.Before(s.ExpiresAt) {
				delete(m.sessions, id)
			}
		}
		m.swept = a.SeenAt
	}
	m.sessions[a.SessionID] = a
	known := m.networks[a.GrantID]
	if known == nil {
		known = make(map[string]LastUse)
		m.networks[a.GrantID] = known
	}
	use := KnownUse
	switch _, seen := known[a.Network]; {
	case len(known) == 0:
		use = FirstUse
	case !seen:
		use = NewNetwork
		if len(known) >= maxNetworks {
			forgetOldest(known)
		}
	}
	known[a.Network] = LastUse{GrantID: a.GrantID, RemoteAddr: a.RemoteAddr, SeenAt: a.SeenAt}
	return use, nil
}

func forgetOldest(known map[string]LastUse) {
	oldest := ""
	for network, use := range known {
		if oldest == "" || use.SeenAt.Before(known[oldest].SeenAt) {
			oldest = network
		}
	}
	delete(known, oldest)
}

// EndActivity implements [ActivityStore].
func (m *Memory) EndActivity(_ context.Context, sessionID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, sessionID)
	return nil
}

// OwnerActivity implements [ActivityStore].
func (m *Memory) OwnerActivity(_ context.Context, userID string) ([]Activity, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := time.Now()
	return pick(m.sessions, func(a Activity) bool { return a.UserID == userID && now.Before(a.ExpiresAt) }), nil
}

// OwnerUses implements [ActivityStore].
func (m *Memory) OwnerUses(_ context.Context, userID string) ([]LastUse, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var uses []LastUse
	for id, networks := range m.networks {
		if m.grants[id].UserID != userID {
			continue
		}
		var last LastUse
		for _, use := range networks {
			if use.SeenAt.After(last.SeenAt) {
				last = use
			}
		}
		uses = append(uses, last)
	}
	return uses, nil
}

// keptDeeds is how many deeds are kept for each account.
const keptDeeds = readDeeds

// AddDeed implements [ActivityStore].
func (m *Memory) AddDeed(_ context.Context, d Deed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := append(m.deeds[d.UserID], d)
	if len(all) > 2*keptDeeds {
		all = slices.Clone(all[keptDeeds:])
	}
	m.deeds[d.UserID] = all
	return nil
}

// OwnerDeeds implements [ActivityStore].
func (m *Memory) OwnerDeeds(_ context.Context, userID string, n int) ([]Deed, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := m.deeds[userID]
	latest := slices.Clone(all[max(0, len(all)-n):])
	slices.Reverse(latest)
	return latest, nil
}

// EraseUser implements [UserEraser].
func (m *Memory) EraseUser(_ context.Context, userID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, g := range m.grants {
		if g.UserID == userID {
			delete(m.grants, id)
			delete(m.networks, id)
		}
	}
	maps.DeleteFunc(m.approvals, func(_ string, a Approval) bool { return a.UserID == userID })
	maps.DeleteFunc(m.sessions, func(_ string, a Activity) bool { return a.UserID == userID })
	delete(m.deeds, userID)
	return nil
}

// Rules implements [RuleStore].
func (m *Memory) Rules(context.Context) (Rules, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.rules.clone(), nil
}

func (r Rules) clone() Rules {
	r.AllowIssuers, r.AllowAgents, r.AllowDomains = slices.Clone(r.AllowIssuers), slices.Clone(r.AllowAgents), slices.Clone(r.AllowDomains)
	r.DenyIssuers, r.DenyAgents, r.DenyDomains = slices.Clone(r.DenyIssuers), slices.Clone(r.DenyAgents), slices.Clone(r.DenyDomains)
	return r
}

// SetRules implements [RuleStore].
func (m *Memory) SetRules(_ context.Context, r Rules) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules = r.clone()
	return nil
}
