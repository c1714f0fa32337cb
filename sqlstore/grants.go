package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/stores"
)

// Grants is a [grants.Store], a [grants.AllowanceStore], a [grants.Settler] and a
// [grants.TurnTaker]. It refuses values that are too long if they decide
// something, or are part of a request that an owner approves: an issuer has at most 2048
// bytes, an e-mail address 4096, the target and the body of a request 1 MiB each, an
// allowance as JSON 1 MiB, a description 1024, and IDs, states, digests, currencies and the
// names of scenarios and actions 255. It cuts values that are for display only, such as an
// agent's name.
type Grants struct{ s *Store }

// Grants returns the store of grants, approvals, activity and rules.
func (s *Store) Grants() *Grants { return &Grants{s} }

const (
	grantColumns = `id, issuer, agent_id, scenario, user_id, version, state, access, actions, name, model, email,
	requested_at, requested_from, decided_at, expires_at, sessions_from, warned, nickname, hidden, cause, cause_era, asked_before, subject`

	replaceGrant = `UPDATE authagent_grants SET version = version + 1, state = ?, access = ?, actions = ?, name = ?, model = ?, email = ?,
	requested_at = ?, requested_from = ?, decided_at = ?, expires_at = ?, sessions_from = ?, warned = ?, nickname = ?, hidden = ?, cause = ?, cause_era = ?,
	asked_before = ? WHERE id = ? AND version = ?`
)

var (
	insertGrant = insertInto("authagent_grants", "grant_key, agent_key, "+grantColumns)

	selectGrant    = `SELECT ` + reading(grantColumns, "name", "model") + ` FROM authagent_grants WHERE `
	grantByID      = selectGrant + `id = ?`
	grantByKey     = selectGrant + `grant_key = ?`
	grantsOfAgent  = selectGrant + `agent_key = ?`
	entriesOfAgent = selectGrant + `agent_key = ? AND state IN ('approved', 'suspended')`
	grantsOfUser   = selectGrant + `user_id = ?`
)

// grantDest is in the order of grantColumns.
func grantDest(g *grants.Grant) []any {
	return []any{
		&g.ID, &g.Agent.Issuer, &g.Agent.ID, &g.Scenario, &g.UserID, &g.Version, &g.State, access{&g.Access}, document[[]string]{&g.Actions},
		&g.Name, &g.Model, &g.Email, instant{&g.RequestedAt}, &g.RequestedFrom, instant{&g.DecidedAt}, instant{&g.ExpiresAt},
		era{&g.Era}, &g.Warned, &g.Nickname, &g.Hidden, &g.Cause, causeEra{g}, instants{&g.AskedBefore}, &g.Subject,
	}
}

// grantValues returns the values of the columns from state to asked_before, in
// their order. It cuts text for display that is too long.
func grantValues(step string, g *grants.Grant) ([]any, error) {
	fields := append(agentFields(g.Agent), field{"grant ID", g.ID, maxID}, field{"scenario", g.Scenario, maxID}, field{"user ID", g.UserID, maxID},
		field{"state", string(g.State), maxID}, field{"e-mail address", g.Email, maxText},
		field{"subject", g.Subject, maxID}, field{"cause", string(g.Cause), maxID})
	for _, action := range g.Actions {
		fields = append(fields, field{"action", action, maxID})
	}
	if err := checkFields(step, fields...); err != nil {
		return nil, err
	}
	actions, err := json.Marshal(g.Actions)
	before := instantsText(g.AskedBefore)
	switch {
	case err != nil:
		return nil, fmt.Errorf("sqlstore: %s: %w", step, err)
	case len(actions) > maxBlob:
		return nil, fmt.Errorf("sqlstore: %s: %d actions are too many", step, len(g.Actions))
	case len(before) > maxBlob:
		return nil, fmt.Errorf("sqlstore: %s: %d requests before are too many", step, len(g.AskedBefore))
	}
	g.Name, g.Model, g.RequestedFrom = clean(g.Name, maxText), clean(g.Model, maxText), clean(g.RequestedFrom, maxID)
	g.Nickname = clean(g.Nickname, maxID)
	hidden := 0
	if g.Hidden {
		hidden = 1
	}
	return []any{
		string(g.State), g.Access.String(), string(actions), g.Name, g.Model, g.Email,
		nanos(g.RequestedAt), g.RequestedFrom, nanos(g.DecidedAt), nanos(g.ExpiresAt),
		storedEra(g.Era), g.Warned, g.Nickname, hidden, string(g.Cause), g.Era, before,
	}, nil
}

// Grant implements [grants.GrantStore].
func (t *Grants) Grant(ctx context.Context, id string) (grants.Grant, error) {
	ahead, known, err := t.ahead(ctx, func(e stores.Expected) bool { return id != "" && e.GrantID == id })
	switch {
	case err != nil:
		return grants.Grant{}, fmt.Errorf("sqlstore: find grant: %w", err)
	case !known:
		return byID(ctx, t.s, "find grant", grantByID, id, grantDest)
	case len(ahead) == 0:
		return grants.Grant{}, authagent.ErrNotFound
	}
	return ahead[0], nil
}

// ahead returns the grants that a question is about, if that was expected.
func (t *Grants) ahead(ctx context.Context, asked func(stores.Expected) bool) (all []grants.Grant, known bool, err error) {
	found, err := take(ctx, t.s, asked, func(f *foundAhead) **grantsAhead { return &f.grants })
	if err != nil || found == nil {
		return nil, false, err
	}
	return found.all, true, found.err
}

// AgentGrants implements [grants.GrantStore].
func (t *Grants) AgentGrants(ctx context.Context, agent authagent.Agent) ([]grants.Grant, error) {
	return list(ctx, t.s, "find grants of agent", grantsOfAgent, []any{agentKey(agent)}, grantDest)
}

// Entries implements [grants.EntryFinder].
func (t *Grants) Entries(ctx context.Context, agent authagent.Agent) ([]grants.Grant, error) {
	const step = "find grants of agent"
	ahead, known, err := t.ahead(ctx, func(e stores.Expected) bool { return e.GrantID == "" && e.Agent == agent })
	switch {
	case err != nil:
		return nil, fmt.Errorf("sqlstore: %s: %w", step, err)
	case known:
		return ahead, nil
	}
	return list(ctx, t.s, step, entriesOfAgent, []any{agentKey(agent)}, grantDest)
}

// OwnerGrants implements [grants.GrantStore].
func (t *Grants) OwnerGrants(ctx context.Context, userID string) ([]grants.Grant, error) {
	return list(ctx, t.s, "find grants of account", grantsOfUser, []any{userID}, grantDest)
}

// CreateGrant implements [grants.GrantStore].
func (t *Grants) CreateGrant(ctx context.Context, g grants.Grant) (have grants.Grant, created bool, err error) {
	const step = "create grant"
	values, err := grantValues(step, &g)
	if err != nil {
		return grants.Grant{}, false, err
	}
	k := key(g.Agent.Issuer, g.Agent.ID, g.Scenario, g.UserID)
	if g.Subject != "" { // without one, the key is that of earlier versions
		k = key(g.Agent.Issuer, g.Agent.ID, g.Scenario, g.UserID, g.Subject)
	}
	find := func() (grants.Grant, error) { return one(ctx, t.s, step, grantByKey, k, grantDest) }
	values = append([]any{k, agentKey(g.Agent), g.ID, g.Agent.Issuer, g.Agent.ID, g.Scenario, g.UserID, g.Version}, values...)
	values = append(values, g.Subject)
	return create(ctx, t.s, step, g, find, insertGrant, values)
}

// UpdateGrant implements [grants.GrantStore].
func (t *Grants) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	const step = "update grant"
	values, err := grantValues(step, &g)
	if err != nil {
		return grants.Grant{}, err
	}
	if err := t.s.replace(ctx, step, replaceGrant, append(values, g.ID, g.Version)...); err != nil {
		return grants.Grant{}, err
	}
	g.Version++
	return g, nil
}

const (
	selectRules = `SELECT rules FROM authagent_rules WHERE id = 1`
	insertRules = `INSERT INTO authagent_rules (id, rules) VALUES (1, ?)`
)

// Rules implements [grants.RuleStore].
func (t *Grants) Rules(ctx context.Context) (grants.Rules, error) {
	const step = "read rules"
	var r grants.Rules
	ahead, err := take(ctx, t.s, func(stores.Expected) bool { return true }, func(f *foundAhead) **sql.NullString { return &f.rules })
	switch {
	case err != nil:
	case ahead == nil:
		_, err = t.s.row(ctx, step, selectRules, nil, document[grants.Rules]{&r})
	case ahead.Valid:
		if err = (document[grants.Rules]{&r}).Scan(ahead.String); err != nil {
			err = fmt.Errorf("sqlstore: %s: %w", step, err)
		}
	}
	if err != nil {
		return grants.Rules{}, err
	}
	return r, nil
}

// SetRules implements [grants.RuleStore]. They have at most 1 MiB as JSON.
func (t *Grants) SetRules(ctx context.Context, r grants.Rules) error {
	const step = "set rules"
	if err := checkFields(step, ruleFields(r)...); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	switch {
	case err != nil:
		return fmt.Errorf("sqlstore: %s: %w", step, err)
	case len(text) > maxBlob:
		return fmt.Errorf("sqlstore: %s: they have %d bytes, at most %d can be stored", step, len(text), maxBlob)
	}
	_, err = t.s.exec(ctx, step, upsert(t.s.engine, insertRules, "id", "rules"), string(text))
	return err
}

// ruleFields returns all names in r. JSON would change a name that is not valid text.
func ruleFields(r grants.Rules) (fields []field) {
	for _, names := range [...][]string{r.AllowIssuers, r.DenyIssuers, r.AllowDomains, r.DenyDomains} {
		for _, name := range names {
			fields = append(fields, field{"name", name, maxIssuer})
		}
	}
	for _, agents := range [...][]authagent.Agent{r.AllowAgents, r.DenyAgents} {
		for _, agent := range agents {
			fields = append(fields, agentFields(agent)...)
		}
	}
	return fields
}
