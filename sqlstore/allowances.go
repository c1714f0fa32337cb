package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/authagent-go/authagent/grants"
)

// The column allowance has all of an allowance. What has a column of its own is read from
// there.
const (
	allowanceColumns = `allowance, id, user_id, grant_id, version, expires_at`

	allowanceByID    = `SELECT ` + allowanceColumns + ` FROM authagent_allowances WHERE id = ?`
	allowancesOfUser = `SELECT ` + allowanceColumns + ` FROM authagent_allowances WHERE user_id = ?`
	replaceAllowance = `UPDATE authagent_allowances SET version = version + 1, allowance = ?, expires_at = ? WHERE id = ? AND version = ?`
)

var insertAllowance = insertInto("authagent_allowances", allowanceColumns)

// allowanceDest is in the order of allowanceColumns: the document first, since it
// replaces all of a. A field that this version does not know is an error, and the
// allowance gives nothing.
func allowanceDest(a *grants.Allowance) []any {
	return []any{document[grants.Allowance]{a}, &a.ID, &a.UserID, &a.GrantID, &a.Version, instant{&a.ExpiresAt}}
}

// allowanceText returns what the column allowance has.
func allowanceText(step string, a grants.Allowance) (string, error) {
	fields := append(agentFields(a.Agent), field{"allowance ID", a.ID, maxID}, field{"user ID", a.UserID, maxID}, field{"grant ID", a.GrantID, maxID},
		field{"action", a.Action, maxID}, field{"currency", a.Limit.Currency, maxID})
	open := make([]grants.Taking, len(a.Open))
	for i, taking := range a.Open {
		fields = append(fields, field{"ID of a taking", taking.ID, maxID}, field{"currency of a taking", taking.Currency, maxID}, field{"description of a taking", taking.Description, maxDescription})
		open[i], open[i].At = taking, taking.At.UTC()
	}
	if err := checkFields(step, fields...); err != nil { // JSON would change what is not valid text
		return "", err
	}
	a.Open, a.ExpiresAt, a.ChangedAt, a.Since = open, a.ExpiresAt.UTC(), a.ChangedAt.UTC(), a.Since.UTC()
	text, err := json.Marshal(a)
	switch {
	case err != nil:
		return "", fmt.Errorf("sqlstore: %s: %w", step, err)
	case len(text) > maxBlob:
		return "", fmt.Errorf("sqlstore: %s: it has %d bytes, at most %d can be stored; %d actions of it are open", step, len(text), maxBlob, len(a.Open))
	}
	return string(text), nil
}

// Allowance implements [grants.AllowanceStore]. One that has expired is found until
// DeleteExpired removes it.
func (t *Grants) Allowance(ctx context.Context, id string) (grants.Allowance, error) {
	return byID(ctx, t.s, "find allowance", allowanceByID, id, allowanceDest)
}

// OwnerAllowances implements [grants.AllowanceStore].
func (t *Grants) OwnerAllowances(ctx context.Context, userID string) ([]grants.Allowance, error) {
	return list(ctx, t.s, "find allowances of account", allowancesOfUser, []any{userID}, allowanceDest)
}

// CreateAllowance implements [grants.AllowanceStore].
func (t *Grants) CreateAllowance(ctx context.Context, a grants.Allowance) (have grants.Allowance, created bool, err error) {
	const step = "create allowance"
	text, err := allowanceText(step, a)
	if err != nil {
		return grants.Allowance{}, false, err
	}
	find := func() (grants.Allowance, error) { return one(ctx, t.s, step, allowanceByID, a.ID, allowanceDest) }
	return create(ctx, t.s, step, a, find, insertAllowance, []any{text, a.ID, a.UserID, a.GrantID, a.Version, nanos(a.ExpiresAt)})
}

// UpdateAllowance implements [grants.AllowanceStore].
func (t *Grants) UpdateAllowance(ctx context.Context, a grants.Allowance) (grants.Allowance, error) {
	const step = "update allowance"
	text, err := allowanceText(step, a)
	if err != nil {
		return grants.Allowance{}, err
	}
	if err := t.s.replace(ctx, step, replaceAllowance, text, nanos(a.ExpiresAt), a.ID, a.Version); err != nil {
		return grants.Allowance{}, err
	}
	a.Version++
	return a, nil
}
