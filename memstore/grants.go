package memstore

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// Grants is a [grants.Store]. It keeps allowances ([grants.AllowanceStore]), and can erase
// an account ([authagent.Eraser]) and say what it has of one ([grants.UserExporter]).
type Grants struct {
	mu         sync.RWMutex
	grants     map[string]grants.Grant // by ID; what is in it is never changed, only replaced
	approvals  map[string]grants.Approval
	allowances map[string]grants.Allowance
	sessions   map[string]grants.Activity
	networks   map[string]map[string]grants.LastUse // by grant and network
	deeds      map[string][]grants.Deed             // by account, oldest first
	swept      time.Time
	rules      grants.Rules
}

// put sets m[key], and makes the map if there is none.
func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = value
}

// Grant implements [grants.GrantStore].
func (m *Grants) Grant(_ context.Context, id string) (grants.Grant, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if g, ok := m.grants[id]; ok {
		return cloneGrant(g), nil
	}
	return grants.Grant{}, authagent.ErrNotFound
}

// AgentGrants implements [grants.GrantStore].
func (m *Grants) AgentGrants(_ context.Context, agent authagent.Agent) ([]grants.Grant, error) {
	return m.grantsOf(func(g grants.Grant) bool { return g.Agent == agent }), nil
}

// Entries implements [grants.EntryFinder].
func (m *Grants) Entries(_ context.Context, agent authagent.Agent) ([]grants.Grant, error) {
	return m.grantsOf(func(g grants.Grant) bool {
		return g.Agent == agent && (g.State == grants.Approved || g.State == grants.Suspended)
	}), nil
}

// OwnerGrants implements [grants.GrantStore].
func (m *Grants) OwnerGrants(_ context.Context, userID string) ([]grants.Grant, error) {
	return m.grantsOf(func(g grants.Grant) bool { return g.UserID == userID }), nil
}

func (m *Grants) grantsOf(match func(grants.Grant) bool) []grants.Grant {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return pick(m.grants, match, cloneGrant)
}

// cloneGrant returns g with nothing that a caller could change in the store.
func cloneGrant(g grants.Grant) grants.Grant {
	g.Actions, g.AskedBefore = slices.Clone(g.Actions), slices.Clone(g.AskedBefore)
	return g
}

// pick returns a copy of each of all that matches, in the order of their keys.
func pick[T any](all map[string]T, match func(T) bool, clone func(T) T) []T {
	var keys []string
	for key, v := range all {
		if match(v) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var found []T
	for _, key := range keys {
		found = append(found, clone(all[key]))
	}
	return found
}

// CreateGrant implements [grants.GrantStore].
func (m *Grants) CreateGrant(_ context.Context, g grants.Grant) (have grants.Grant, created bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, have := range m.grants {
		if have.Agent == g.Agent && have.Subject == g.Subject && have.Scenario == g.Scenario && have.UserID == g.UserID {
			return cloneGrant(have), false, nil
		}
	}
	put(&m.grants, g.ID, cloneGrant(g))
	return g, true, nil
}

// UpdateGrant implements [grants.GrantStore].
func (m *Grants) UpdateGrant(_ context.Context, g grants.Grant) (grants.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.grants[g.ID]; !ok || have.Version != g.Version {
		return grants.Grant{}, authagent.ErrConflict
	}
	g.Version++
	put(&m.grants, g.ID, cloneGrant(g))
	return g, nil
}

// cloneApproval is like cloneGrant.
func cloneApproval(a grants.Approval) grants.Approval {
	a.Body = slices.Clone(a.Body)
	return a
}

// Approval implements [grants.ApprovalStore].
func (m *Grants) Approval(_ context.Context, id string) (grants.Approval, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if a, ok := m.approvals[id]; ok {
		return cloneApproval(a), nil
	}
	return grants.Approval{}, authagent.ErrNotFound
}

// OwnerApprovals implements [grants.ApprovalStore].
func (m *Grants) OwnerApprovals(_ context.Context, userID string) ([]grants.Approval, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return pick(m.approvals, func(a grants.Approval) bool { return a.UserID == userID && a.Now() != grants.Expired }, cloneApproval), nil
}

// CreateApproval implements [grants.ApprovalStore].
func (m *Grants) CreateApproval(_ context.Context, a grants.Approval) (have grants.Approval, created bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, have := range m.approvals {
		switch {
		case have.UserID == a.UserID && have.Digest == a.Digest:
			return cloneApproval(have), false, nil
		case have.Now() == grants.Expired:
			delete(m.approvals, id)
		}
	}
	put(&m.approvals, a.ID, cloneApproval(a))
	return a, true, nil
}

// UpdateApproval implements [grants.ApprovalStore].
func (m *Grants) UpdateApproval(_ context.Context, a grants.Approval) (grants.Approval, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.approvals[a.ID]; !ok || have.Version != a.Version {
		return grants.Approval{}, authagent.ErrConflict
	}
	a.Version++
	put(&m.approvals, a.ID, cloneApproval(a))
	return a, nil
}

// maxNetworks bounds how many networks are remembered for one grant.
const maxNetworks = 100

// Touch implements [grants.ActivityStore].
func (m *Grants) Touch(_ context.Context, a grants.Activity) (grants.Use, error) {
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
	put(&m.sessions, a.SessionID, a)
	known := m.networks[a.GrantID]
	if known == nil {
		known = make(map[string]grants.LastUse)
		put(&m.networks, a.GrantID, known)
	}
	use := grants.KnownUse
	switch _, seen := known[a.Network]; {
	case len(known) == 0:
		use = grants.FirstUse
	case !seen:
		use = grants.NewNetwork
		if len(known) >= maxNetworks {
			forgetOldest(known)
		}
	}
	known[a.Network] = grants.LastUse{GrantID: a.GrantID, RemoteAddr: a.RemoteAddr, SeenAt: a.SeenAt}
	return use, nil
}

func forgetOldest(known map[string]grants.LastUse) {
	oldest := ""
	for network, use := range known {
		if oldest == "" || use.SeenAt.Before(known[oldest].SeenAt) {
			oldest = network
		}
	}
	delete(known, oldest)
}

// EndActivity implements [grants.ActivityStore].
func (m *Grants) EndActivity(_ context.Context, sessionID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, sessionID)
	return nil
}

// OwnerActivity implements [grants.ActivityStore].
func (m *Grants) OwnerActivity(_ context.Context, userID string) ([]grants.Activity, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := time.Now()
	return pick(m.sessions, func(a grants.Activity) bool { return a.UserID == userID && now.Before(a.ExpiresAt) }, same), nil
}

// OwnerUses implements [grants.ActivityStore].
func (m *Grants) OwnerUses(_ context.Context, userID string) ([]grants.LastUse, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var uses []grants.LastUse
	for id, networks := range m.networks {
		if m.grants[id].UserID == userID {
			uses = append(uses, slices.MaxFunc(slices.Collect(maps.Values(networks)), earlier))
		}
	}
	slices.SortFunc(uses, func(a, b grants.LastUse) int { return cmp.Compare(a.GrantID, b.GrantID) })
	return uses, nil
}

// earlier compares uses by time, and those of one moment by address.
func earlier(a, b grants.LastUse) int {
	return cmp.Or(a.SeenAt.Compare(b.SeenAt), cmp.Compare(a.RemoteAddr, b.RemoteAddr))
}

func same[T any](v T) T { return v }

// keptDeeds is how many deeds are kept for each account: as many as package grants
// looks at.
const keptDeeds = 2000

// AddDeed implements [grants.ActivityStore].
func (m *Grants) AddDeed(_ context.Context, d grants.Deed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := append(m.deeds[d.UserID], d)
	if len(all) > 2*keptDeeds {
		all = slices.Clone(all[keptDeeds:])
	}
	put(&m.deeds, d.UserID, all)
	return nil
}

// OwnerDeeds implements [grants.ActivityStore].
func (m *Grants) OwnerDeeds(_ context.Context, userID string, n int) ([]grants.Deed, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := m.deeds[userID]
	latest := slices.Clone(all[max(0, len(all)-n):])
	slices.Reverse(latest)
	return latest, nil
}

// EraseUser implements [authagent.Eraser].
func (m *Grants) EraseUser(_ context.Context, e *authagent.Erasure) error {
	if e.UserID == "" {
		return errNoUser
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var uses int
	for id, networks := range m.networks {
		if m.grants[id].UserID == e.UserID {
			uses += len(networks)
			delete(m.networks, id)
		}
	}
	e.Count("uses", int64(uses))
	e.Count("grants", erase(m.grants, func(_ string, g grants.Grant) bool { return g.UserID == e.UserID }))
	e.Count("approvals", erase(m.approvals, func(_ string, a grants.Approval) bool { return a.UserID == e.UserID }))
	e.Count("allowances", erase(m.allowances, func(_ string, a grants.Allowance) bool { return a.UserID == e.UserID }))
	e.Count("activity", erase(m.sessions, func(_ string, a grants.Activity) bool { return a.UserID == e.UserID }))
	e.Count("deeds", int64(len(m.deeds[e.UserID])))
	delete(m.deeds, e.UserID)
	return nil
}

// UserRecords implements [grants.UserExporter].
func (m *Grants) UserRecords(_ context.Context, userID string, each func(any) error) error {
	for _, record := range m.recordsOf(userID) {
		if err := each(record); err != nil {
			return err
		}
	}
	return nil
}

func (m *Grants) recordsOf(userID string) (all []any) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, g := range pick(m.grants, func(g grants.Grant) bool { return g.UserID == userID }, cloneGrant) {
		all = append(all, g)
	}
	for _, a := range pick(m.approvals, func(a grants.Approval) bool { return a.UserID == userID }, cloneApproval) {
		all = append(all, a)
	}
	for _, a := range pick(m.allowances, func(a grants.Allowance) bool { return a.UserID == userID }, cloneAllowance) {
		all = append(all, a)
	}
	for _, a := range pick(m.sessions, func(a grants.Activity) bool { return a.UserID == userID }, same) {
		all = append(all, a)
	}
	for _, id := range slices.Sorted(maps.Keys(m.networks)) {
		if m.grants[id].UserID != userID {
			continue
		}
		for _, use := range m.networks[id] {
			all = append(all, use)
		}
	}
	for _, d := range m.deeds[userID] {
		all = append(all, d)
	}
	return all
}

// Rules implements [grants.RuleStore].
func (m *Grants) Rules(context.Context) (grants.Rules, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return cloneRules(m.rules), nil
}

func cloneRules(r grants.Rules) grants.Rules {
	r.AllowIssuers, r.AllowAgents, r.AllowDomains = slices.Clone(r.AllowIssuers), slices.Clone(r.AllowAgents), slices.Clone(r.AllowDomains)
	r.DenyIssuers, r.DenyAgents, r.DenyDomains = slices.Clone(r.DenyIssuers), slices.Clone(r.DenyAgents), slices.Clone(r.DenyDomains)
	return r
}

// SetRules implements [grants.RuleStore].
func (m *Grants) SetRules(_ context.Context, r grants.Rules) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules = cloneRules(r)
	return nil
}
