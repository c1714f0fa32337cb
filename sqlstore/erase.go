package sqlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/internal/records"
)

// Each table that has an account's ID in a column is in a statement here and in one of export.go:
// TestPersonalTables goes by the schema, and finds one that is missing.

const stepErase = "erase user"

const (
	linksOfUser = `SELECT agent_key FROM authagent_links WHERE user_id = ?`

	// deleteLinkTo keeps a link that the agent has made to another account since.
	deleteLinkTo   = `DELETE FROM authagent_links WHERE agent_key = ? AND user_id = ?`
	profilesOfUser = `SELECT id FROM authagent_profiles WHERE user_id = ? AND user_id <> ''` // as the index has it

	// Deeds and events may be many, and are found and erased in batches: see eachBatch.
	deedIDsOfUser   = `SELECT id, happened_at FROM authagent_deeds WHERE user_id = ? AND happened_at >= ? ORDER BY happened_at, id LIMIT ?`
	deleteDeeds     = `DELETE FROM authagent_deeds WHERE user_id = ? AND id IN (`
	eventIDsOfUser  = `SELECT id, happened_at FROM authagent_events WHERE user_id = ? AND happened_at >= ? ORDER BY happened_at, id LIMIT ?`
	eventIDsOfHuman = `SELECT id, id FROM authagent_events WHERE human_id = ? AND human_id <> '' AND id >= ? ORDER BY id LIMIT ?`
	renameEvents    = `UPDATE authagent_events SET user_id = CASE WHEN user_id = ? THEN ? ELSE user_id END,
	human_id = CASE WHEN human_id = ? THEN ? ELSE human_id END, remote_addr = '', detail = '' WHERE id IN (`

	renameRevocation = `UPDATE authagent_revocations SET subject = ? WHERE revocation_key = ?`
	revocationEnds   = `SELECT expires_at FROM authagent_revocations WHERE revocation_key = ?`

	// The tokens that it finds are deleted one by one (deleteTokens), since each is revoked first.
	tokensOfUser = `SELECT session_id, agent_id, expires_at FROM authagent_tokens WHERE user_id = ?`
)

// eraseGrants deletes the grants last, so that after an error they still lead to the rest. The deeds are
// deleted before all of these.
var eraseGrants = [...]struct{ kind, statement string }{
	{"approvals", `DELETE FROM authagent_approvals WHERE user_id = ?`},
	{"allowances", `DELETE FROM authagent_allowances WHERE user_id = ?`},
	{"activity", `DELETE FROM authagent_activity WHERE user_id = ?`},
	{"uses", `DELETE FROM authagent_uses WHERE user_id = ?`},
	{"grants", `DELETE FROM authagent_grants WHERE user_id = ?`},
}

// EraseUser implements [authagent.Eraser].
func (l *Links) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if err := checkUser(stepErase, e.UserID); err != nil {
		return err
	}
	keys, err := list(ctx, l.s, stepErase, linksOfUser, []any{e.UserID}, func(k *[]byte) []any { return []any{k} })
	e.Count(records.Links, 0)
	for _, k := range keys {
		if err == nil {
			var n int64
			n, err = l.s.exec(ctx, stepErase, deleteLinkTo, k, e.UserID)
			e.Count(records.Links, n)
		}
	}
	return err
}

// EraseUser implements [authagent.Eraser].
func (p *Profiles) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if err := checkUser(stepErase, e.UserID); err != nil {
		return err
	}
	n, err := p.remove(ctx, stepErase, profilesOfUser, e.UserID)
	e.Count(records.Profiles, n)
	return err
}

// EraseUser implements [authagent.Eraser].
func (t *Grants) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if err := checkUser(stepErase, e.UserID); err != nil {
		return err
	}
	e.Count("deeds", 0)
	err := t.s.eachBatch(ctx, deedIDsOfUser, e.UserID, func(ids []any) error {
		n, err := t.s.exec(ctx, stepErase, in(deleteDeeds, ids), append([]any{e.UserID}, ids...)...)
		e.Count("deeds", n)
		return err
	})
	for _, erase := range eraseGrants {
		if err != nil {
			break
		}
		var n int64
		n, err = t.s.exec(ctx, stepErase, erase.statement, e.UserID)
		e.Count(erase.kind, n)
	}
	if err == nil { // a digest of the ID, which says nothing to anybody who reads a receipt
		_, err = t.s.exec(ctx, stepErase, deleteTurn, turnKey(e.UserID))
	}
	return err
}

// EraseUser implements [authagent.Eraser]. That an account's sessions were ended has to be known as long as
// one could go on. It is kept under a digest, and an earlier version of this package has written the
// account's ID beside it, for people: that is replaced.
func (v *Revocations) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if err := checkUser(stepErase, e.UserID); err != nil {
		return err
	}
	k := key(marks.User(e.UserID))
	if _, err := v.s.exec(ctx, stepErase, renameRevocation, marks.User(e.Pseudonym), k); err != nil {
		return err
	}
	var until time.Time
	found, err := v.s.row(ctx, stepErase, revocationEnds, []any{k}, instant{&until})
	if err == nil && found {
		e.Leave("that the sessions were ended", "it is kept under a digest of the account's ID as long as a session could go on", until)
	}
	return err
}

const (
	sessionsInOrder = `SELECT session_key, marks, expires_at FROM authagent_sessions WHERE session_key > ? ORDER BY session_key LIMIT ?`
	deleteSessions  = `DELETE FROM authagent_sessions WHERE session_key IN (`

	// searched is how many sessions a statement reads, so that none takes long.
	searched = 2000
)

// A searchedSession is a row with what the session is checked against; null if it is no agent's, or an earlier version has stored it.
type searchedSession struct {
	key, marks []byte
	expires    time.Time
}

func (s searchedSession) has(mark []byte) bool {
	for part := range slices.Chunk(s.marks, markLength) {
		if bytes.Equal(part, mark) {
			return true
		}
	}
	return false
}

// EraseUser implements [authagent.Eraser]. It reads what all sessions are checked against, some at a time, and deletes those of
// the account. One that is no agent's, or that an earlier version of this package has stored, says nothing of that, and stays until
// it expires.
func (m *Sessions) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if err := checkUser(stepErase, e.UserID); err != nil {
		return err
	}
	e.Count("sessions", 0)
	mark, silent := key(marks.User(e.UserID)), time.Time{}
	for last := []byte{}; ; {
		rows, err := list(ctx, m.s, stepErase, sessionsInOrder, []any{last, searched}, func(r *searchedSession) []any { return []any{&r.key, &r.marks, instant{&r.expires}} })
		switch {
		case err != nil:
			return err
		case len(rows) == 0:
			if !silent.IsZero() {
				e.Leave("sessions that do not say whose they are", "they are no agent's, or an earlier version has stored them: those have ended", silent)
			}
			return nil
		}
		var found []any
		for _, r := range rows {
			if r.marks == nil && r.expires.After(silent) {
				silent = r.expires
			}
			if r.has(mark) {
				found = append(found, r.key)
			}
		}
		for part := range slices.Chunk(found, eraseBatch) {
			n, err := m.s.exec(ctx, stepErase, in(deleteSessions, part), part...)
			e.Count("sessions", n)
			if err != nil {
				return err
			}
		}
		last = rows[len(rows)-1].key
	}
}

// Trail is the audit trail, for [authagent.Config.Erasers]: its events stay under a pseudonym when an account is
// erased, and are in what is exported of one. [Store.Audit] writes it, and [Store.Events] reads it.
type Trail struct{ s *Store }

// Trail returns the audit trail as an [authagent.Eraser] and an [authagent.Exporter].
func (s *Store) Trail() *Trail { return &Trail{s} }

// Name is what receipts and exports call it: "audit trail".
func (*Trail) Name() string { return "audit trail" }

// EraseUser implements [authagent.Eraser]. In the events of the account, and in those of what its holder did in
// person, the ID is replaced by the pseudonym, and the client's address and the detail are emptied. All else
// stays.
//
// The database user has to have the right to UPDATE the columns user_id, human_id, remote_addr and detail of the
// table of events. Without it, the error is [ErrNoRight] and names it.
func (t *Trail) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if err := checkUser(stepErase, e.UserID); err != nil {
		return err
	}
	if e.Pseudonym == "" {
		return fmt.Errorf("sqlstore: %s: there is no pseudonym", stepErase)
	}
	e.Count(records.Events, 0)
	id := clean(e.UserID, maxID) // as eventValues has it
	rename := func(ids []any) error {
		n, err := t.s.exec(ctx, stepErase, in(renameEvents, ids), append([]any{id, e.Pseudonym, id, e.Pseudonym}, ids...)...)
		e.Count(records.Events, n)
		if errors.Is(err, ErrNoRight) {
			err = fmt.Errorf("%w; it needs UPDATE (user_id, human_id, remote_addr, detail) ON %sevents", err, t.s.prefix)
		}
		return err
	}
	if err := t.s.eachBatch(ctx, eventIDsOfUser, id, rename); err != nil {
		return err
	}
	return t.s.eachBatch(ctx, eventIDsOfHuman, id, rename)
}

// eraseBatch is how many rows a statement changes.
const eraseBatch = 500

// eachBatch calls f with the IDs that a query finds for an account, until it finds none. The query finds rows from a place
// on, each with its place, in that order. f has to change the rows so that the query does not find them again.
//
// Each search begins where the one before has ended, since the index still leads to rows that were changed. In the end it
// searches from the beginning, for what others have stored meanwhile.
func (s *Store) eachBatch(ctx context.Context, find, userID string, f func(ids []any) error) error {
	const beginning = math.MinInt64
	type row struct{ id, place int64 }
	var last int64
	for from := int64(beginning); ; {
		rows, err := list(ctx, s, stepErase, find, []any{userID, from, eraseBatch}, func(r *row) []any { return []any{&r.id, &r.place} })
		switch {
		case err != nil || len(rows) == 0 && from == beginning:
			return err
		case len(rows) == 0:
			from = beginning
			continue
		case rows[0].id == last: // a trigger of the site, for instance, has kept it
			return fmt.Errorf("sqlstore: %s: the database has not changed row %d", stepErase, last)
		}
		ids := make([]any, len(rows))
		for i, r := range rows {
			ids[i] = r.id
		}
		last, from = rows[0].id, rows[len(rows)-1].place
		if err := f(ids); err != nil {
			return err
		}
	}
}

func anyOf[T any](ids []T) []any {
	all := make([]any, len(ids))
	for i, id := range ids {
		all[i] = id
	}
	return all
}

// in ends a statement that ends with "IN (" by a placeholder for each of ids.
func in(statement string, ids []any) string {
	return statement + "?" + strings.Repeat(", ?", len(ids)-1) + ")"
}
