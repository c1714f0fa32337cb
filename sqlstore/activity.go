package sqlstore

import (
	"context"
	"time"

	"github.com/authagent-go/authagent/grants"
)

const (
	activityColumns = `session_id, grant_id, user_id, remote_addr, network, started_at, seen_at, expires_at, door`

	activityOfUser = `SELECT ` + activityColumns + ` FROM authagent_activity WHERE user_id = ? AND expires_at > ?`
	deleteActivity = `DELETE FROM authagent_activity WHERE session_id = ?`

	updateUse  = `UPDATE authagent_uses SET remote_addr = ?, seen_at = ? WHERE use_key = ?`
	usesOfUser = `SELECT grant_id, remote_addr, seen_at FROM authagent_uses WHERE user_id = ?`
	oldestUse  = `SELECT seen_at FROM authagent_uses WHERE grant_id = ? ORDER BY seen_at DESC LIMIT 1 OFFSET ?`

	// deleteUses compares first_of within a function, so that no engine uses its index, in
	// which most rows are null.
	deleteUses = `DELETE FROM authagent_uses WHERE grant_id = ? AND seen_at <= ? AND COALESCE(first_of, '') = ''`

	deedColumns = `grant_id, user_id, happened_at, event, action, route, outcome, reason`
)

var (
	insertActivity = insertInto("authagent_activity", activityColumns)
	insertUse      = insertInto("authagent_uses", "first_of, use_key, grant_id, user_id, remote_addr, seen_at")
	deedsOfUser    = `SELECT ` + reading(deedColumns, "route") + ` FROM authagent_deeds WHERE user_id = ? ORDER BY happened_at DESC, id DESC LIMIT ?`
	insertDeed     = insertInto("authagent_deeds", deedColumns)
)

// maxNetworks is how many networks of one grant are remembered.
const maxNetworks = 100

// Touch implements [grants.ActivityStore]. It remembers the last 100 networks of each
// grant.
func (t *Grants) Touch(ctx context.Context, a grants.Activity) (grants.Use, error) {
	const step = "record activity"
	err := checkFields(step, field{"session ID", a.SessionID, maxID}, field{"grant ID", a.GrantID, maxID}, field{"user ID", a.UserID, maxID})
	if err != nil {
		return grants.KnownUse, err
	}
	address, seen := clean(a.RemoteAddr, maxID), nanos(a.SeenAt)
	replace := upsert(t.s.engine, insertActivity, "session_id", "grant_id", "user_id", "remote_addr", "network", "started_at", "seen_at", "expires_at", "door")
	_, err = t.s.exec(ctx, step, replace, a.SessionID, a.GrantID, a.UserID, address, clean(a.Network, maxID), nanos(a.StartedAt), seen, nanos(a.ExpiresAt),
		clean(string(a.Door), maxID))
	if err != nil {
		return grants.KnownUse, err
	}
	k := key(a.GrantID, a.Network)
	if known, err := t.s.exec(ctx, step, updateUse, address, seen, k); err != nil || known > 0 {
		return grants.KnownUse, err
	}
	return t.firstUse(ctx, step, a.GrantID, []any{k, a.GrantID, a.UserID, address, seen})
}

// firstUse records the use of a grant from a network that has no row yet. A grant has one
// row that is its first use, and one row for each network. These two constraints decide
// what each of several concurrent calls returns.
func (t *Grants) firstUse(ctx context.Context, step, grantID string, row []any) (grants.Use, error) {
	insert := t.s.engine.insertNew(insertUse)
	inserted, err := t.s.exec(ctx, step, insert, append([]any{grantID}, row...)...)
	switch {
	case err != nil:
		return grants.KnownUse, err
	case inserted == 1:
		return grants.FirstUse, nil
	}
	// Before the INSERT, so that no error can follow once it has succeeded.
	if err := t.forgetNetworks(ctx, step, grantID); err != nil {
		return grants.KnownUse, err
	}
	inserted, err = t.s.exec(ctx, step, insert, append([]any{nil}, row...)...)
	if err == nil && inserted == 1 {
		return grants.NewNetwork, nil
	}
	return grants.KnownUse, err
}

// forgetNetworks makes room for one more network of a grant. The row of the first use
// stays; without it, the next use would be reported as the first.
func (t *Grants) forgetNetworks(ctx context.Context, step, grantID string) error {
	var oldest int64
	full, err := t.s.row(ctx, step, oldestUse, []any{grantID, maxNetworks - 2}, &oldest)
	if err == nil && full {
		_, err = t.s.exec(ctx, step, deleteUses, grantID, oldest)
	}
	return err
}

// EndActivity implements [grants.ActivityStore].
func (t *Grants) EndActivity(ctx context.Context, sessionID string) error {
	_, err := t.s.exec(ctx, "end activity", deleteActivity, sessionID)
	return err
}

// OwnerActivity implements [grants.ActivityStore].
func (t *Grants) OwnerActivity(ctx context.Context, userID string) ([]grants.Activity, error) {
	return list(ctx, t.s, "find activity in account", activityOfUser, []any{userID, nanos(time.Now())}, activityDest)
}

// activityDest is in the order of activityColumns.
func activityDest(a *grants.Activity) []any {
	return []any{
		&a.SessionID, &a.GrantID, &a.UserID, &a.RemoteAddr, &a.Network, instant{&a.StartedAt}, instant{&a.SeenAt}, instant{&a.ExpiresAt},
		&a.Door,
	}
}

// OwnerUses implements [grants.ActivityStore].
func (t *Grants) OwnerUses(ctx context.Context, userID string) ([]grants.LastUse, error) {
	all, err := list(ctx, t.s, "find uses in account", usesOfUser, []any{userID}, useDest)
	var uses []grants.LastUse
	place := make(map[string]int)
	for _, u := range all {
		i, known := place[u.GrantID]
		switch {
		case !known:
			place[u.GrantID] = len(uses)
			uses = append(uses, u)
		case u.SeenAt.After(uses[i].SeenAt):
			uses[i] = u
		}
	}
	return uses, err
}

// useDest is in the order of usesOfUser.
func useDest(u *grants.LastUse) []any {
	return []any{&u.GrantID, &u.RemoteAddr, instant{&u.SeenAt}}
}

// AddDeed implements [grants.ActivityStore]. It waits for the database as
// [Store.Audit] does.
func (t *Grants) AddDeed(ctx context.Context, d grants.Deed) error {
	const step = "record deed"
	if err := checkFields(step, field{"grant ID", d.GrantID, maxID}, field{"user ID", d.UserID, maxID}); err != nil {
		return err
	}
	return t.s.record(ctx, step, insertDeed, d.GrantID, d.UserID, nanos(d.At), clean(string(d.Event), maxID), clean(d.Action, maxID),
		clean(d.Route, maxText), clean(d.Outcome, maxID), clean(string(d.Reason), maxID))
}

// OwnerDeeds implements [grants.ActivityStore].
func (t *Grants) OwnerDeeds(ctx context.Context, userID string, n int) ([]grants.Deed, error) {
	if n <= 0 {
		return nil, nil // SQLite takes a negative LIMIT for none
	}
	return list(ctx, t.s, "find deeds in account", deedsOfUser, []any{userID, n}, deedDest)
}

// deedDest is in the order of deedColumns.
func deedDest(d *grants.Deed) []any {
	return []any{&d.GrantID, &d.UserID, instant{&d.At}, &d.Event, &d.Action, &d.Route, &d.Outcome, &d.Reason}
}
