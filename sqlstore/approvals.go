package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/authagent-go/authagent/grants"
)

const (
	approvalColumns = `id, user_id, digest, version, grant_id, issuer, agent_id, action, state, method, target, content_type, body,
	requested_at, expires_at, host, description, amount, currency, reservation, reserved_at, ends_at`

	approvalByID    = `SELECT ` + approvalColumns + ` FROM authagent_approvals WHERE id = ?`
	approvalByKey   = `SELECT ` + approvalColumns + ` FROM authagent_approvals WHERE approval_key = ?`
	approvalsOfUser = `SELECT ` + approvalColumns + ` FROM authagent_approvals WHERE user_id = ? AND expires_at > ?`
	replaceApproval = `UPDATE authagent_approvals SET version = version + 1, grant_id = ?, issuer = ?, agent_id = ?, action = ?, state = ?,
	method = ?, target = ?, content_type = ?, body = ?, requested_at = ?, expires_at = ?, host = ?, description = ?,
	amount = ?, currency = ?, reservation = ?, reserved_at = ?, ends_at = ? WHERE id = ? AND version = ?`
)

var insertApproval = insertInto("authagent_approvals", "approval_key, "+approvalColumns)

// approvalDest is in the order of approvalColumns.
func approvalDest(a *grants.Approval) []any {
	return []any{
		&a.ID, &a.UserID, &a.Digest, &a.Version, &a.GrantID, &a.Agent.Issuer, &a.Agent.ID, &a.Action, &a.State, &a.Method,
		&a.Target, &a.ContentType, &a.Body, instant{&a.RequestedAt}, instant{&a.ExpiresAt}, &a.Host, &a.Description,
		&a.Amount.Value, &a.Amount.Currency, &a.Reservation, instant{&a.ReservedAt}, instant{&a.Until},
	}
}

// approvalValues are the columns from grant_id on, in the order of
// approvalColumns.
func approvalValues(step string, a grants.Approval) ([]any, error) {
	fields := append(agentFields(a.Agent), field{"approval ID", a.ID, maxID}, field{"user ID", a.UserID, maxID}, field{"digest", a.Digest, maxID},
		field{"grant ID", a.GrantID, maxID}, field{"action", a.Action, maxID}, field{"state", string(a.State), maxID}, field{"method", a.Method, maxID}, field{"host", a.Host, maxID},
		field{"description", a.Description, maxDescription}, field{"currency", a.Amount.Currency, maxID}, field{"reservation", a.Reservation, maxID})
	if err := checkFields(step, fields...); err != nil {
		return nil, err
	}
	if len(a.Target) > maxBlob || len(a.Body) > maxBlob || len(a.ContentType) > maxText {
		return nil, fmt.Errorf("sqlstore: %s: the request is too long: target %d, content type %d, body %d bytes",
			step, len(a.Target), len(a.ContentType), len(a.Body))
	}
	return []any{
		a.GrantID, a.Agent.Issuer, a.Agent.ID, a.Action, string(a.State), a.Method,
		bytesOf(a.Target), bytesOf(a.ContentType), a.Body, nanos(a.RequestedAt), nanos(a.ExpiresAt),
		a.Host, a.Description, a.Amount.Value, a.Amount.Currency, a.Reservation, nanos(a.ReservedAt), nanos(a.Until),
	}, nil
}

// Approval implements [grants.ApprovalStore]. One that has expired is found until
// DeleteExpired removes it.
func (t *Grants) Approval(ctx context.Context, id string) (grants.Approval, error) {
	return byID(ctx, t.s, "find approval", approvalByID, id, approvalDest)
}

// OwnerApprovals implements [grants.ApprovalStore].
func (t *Grants) OwnerApprovals(ctx context.Context, userID string) ([]grants.Approval, error) {
	return list(ctx, t.s, "find approvals of account", approvalsOfUser, []any{userID, nanos(time.Now())}, approvalDest)
}

// CreateApproval implements [grants.ApprovalStore].
func (t *Grants) CreateApproval(ctx context.Context, a grants.Approval) (have grants.Approval, created bool, err error) {
	const step = "create approval"
	values, err := approvalValues(step, a)
	if err != nil {
		return grants.Approval{}, false, err
	}
	k := key(a.UserID, a.Digest)
	find := func() (grants.Approval, error) { return one(ctx, t.s, step, approvalByKey, k, approvalDest) }
	return create(ctx, t.s, step, a, find, insertApproval, append([]any{k, a.ID, a.UserID, a.Digest, a.Version}, values...))
}

// UpdateApproval implements [grants.ApprovalStore].
func (t *Grants) UpdateApproval(ctx context.Context, a grants.Approval) (grants.Approval, error) {
	const step = "update approval"
	values, err := approvalValues(step, a)
	if err != nil {
		return grants.Approval{}, err
	}
	if err := t.s.replace(ctx, step, replaceApproval, append(values, a.ID, a.Version)...); err != nil {
		return grants.Approval{}, err
	}
	a.Version++
	return a, nil
}
