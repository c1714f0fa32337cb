package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/meter"
)

const eventColumns = `happened_at, name, request_id, method, route, remote_addr, issuer, session_id, agent_issuer, agent_id, user_id,
	human_id, scenario, profile_id, grant_id, access, action, outcome, reason, detail, count, amount, currency, door, deed`

var insertEvent = insertInto("authagent_events", "agent_key, "+eventColumns)

// Audit appends an event to the audit trail; it is for [authagent.Config.Audit]. [Store.Journal]
// leaves no gap for what agents change. While
// the database refuses connections, such as during a restart, it waits up to 30 seconds. An event whose
// connection breaks while it is sent may be stored, and is not sent again.
// An event that cannot be stored goes to Config.Logger, and is counted by Config.Metrics. No event is lost because of its
// text: a text that is longer than its column (255 bytes for most) is cut, and bytes in
// it that are not text are replaced. A Count below 1 is stored as 1.
//
// The trail is append-only: nothing in this package but [Trail.EraseUser] changes an event, and
// nothing but [Store.DeleteEvents] removes one. A site that wants the database to
// enforce this grants its user only SELECT and INSERT on the table of events. Such a site
// erases with a user that may UPDATE four columns.
func (s *Store) Audit(ctx context.Context, e audit.Event) {
	if err := s.record(ctx, "store audit event", insertEvent, eventValues(e)...); err != nil {
		s.meter.Lost(meter.Events, meter.Store)
		s.logger.LogAttrs(ctx, slog.LevelError, "sqlstore: audit event lost", slog.String("event", string(e.Name)),
			slog.String("request_id", e.RequestID), slog.String("agent_session", e.SessionID), slog.Any("err", err))
	}
}

const (
	// awaited is how long record waits for a database that cannot be reached, and
	// retryPause how long it waits between two attempts.
	awaited    = 30 * time.Second
	retryPause = 250 * time.Millisecond
)

// record is exec for statements that nobody waits for: while the database cannot be
// reached, it waits and sends the statement again. Once it has waited in vain, no call
// waits until the database has been reached again, so that a long outage does not hold
// up each of them.
func (s *Store) record(ctx context.Context, step, query string, args ...any) error {
	for {
		_, err := s.exec(ctx, step, query, args...)
		if err == nil || !unreached(s.engine, err) { // in any other case it may have been stored
			s.awaySince.Store(0)
			return err
		}
		now := time.Now().UnixNano()
		s.awaySince.CompareAndSwap(0, now)
		if now-s.awaySince.Load() >= int64(awaited) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryPause):
		}
	}
}

// eventValues are in the order of insertEvent.
func eventValues(e audit.Event) []any {
	id := func(s string) string { return clean(s, maxID) }
	var agent, deed any // null
	if e.Agent != (authagent.Agent{}) {
		agent = agentKey(e.Agent)
	}
	if e.Deed != "" {
		deed = id(e.Deed)
	}
	return []any{
		agent, nanos(e.Time), id(string(e.Name)), id(e.RequestID), id(e.Method), id(e.Route), id(e.RemoteAddr),
		clean(e.Issuer, maxIssuer), id(e.SessionID), clean(e.Agent.Issuer, maxIssuer), id(e.Agent.ID), id(e.UserID),
		id(e.HumanID), id(e.Scenario), id(e.ProfileID), id(e.GrantID), id(e.Access), id(e.Action), id(e.Outcome),
		id(string(e.Reason)), clean(e.Detail, maxText), max(1, e.Count),
		e.Amount.Value, id(e.Amount.Currency), id(string(e.Door)), deed,
	}
}

// An EventQuery asks for events of the audit trail. The zero value asks for all.
type EventQuery struct {
	UserID   string          // only of this account
	Agent    authagent.Agent // only of this agent
	From, To time.Time       // not before From, and before To
	Limit    int             // events a page; 100 by default, and 1000 at most
	After    string          // the next that the page before returned
}

const (
	defaultPage = 100
	maxPage     = 1000
)

// Events returns a page of the audit trail, the newest event first, and the value of
// After for the next page, which is empty after the last page. Events that are stored
// between the reading of two pages appear on none of the later pages, and move no other
// event from one page to another.
func (s *Store) Events(ctx context.Context, q EventQuery) (page []audit.Event, next string, err error) {
	query, args, limit, err := q.sql()
	if err != nil {
		return nil, "", err
	}
	query, args = s.bind(query, args)
	err = s.run(ctx, "read audit trail", func(ctx context.Context, db querier) error {
		page, next, err = s.events(ctx, db, query, args, limit)
		return err
	})
	return page, next, err
}

// sql returns a query for limit events and one more, which tells whether there is a next
// page.
func (q EventQuery) sql() (query string, args []any, limit int, err error) {
	if q.Limit < 0 {
		return "", nil, 0, fmt.Errorf("sqlstore: read audit trail: Limit %d is negative", q.Limit)
	}
	limit = min(cmp.Or(q.Limit, defaultPage), maxPage)
	where := []string{"1 = 1"}
	if !q.From.IsZero() {
		where, args = append(where, "happened_at >= ?"), append(args, nanos(q.From))
	}
	if !q.To.IsZero() {
		where, args = append(where, "happened_at < ?"), append(args, nanos(q.To))
	}
	if q.UserID != "" {
		where, args = append(where, "user_id = ?"), append(args, clean(q.UserID, maxID))
	}
	if q.Agent != (authagent.Agent{}) {
		where, args = append(where, "agent_key = ?"), append(args, agentKey(q.Agent))
	}
	if q.After != "" {
		at, id, err := parseCursor(q.After)
		if err != nil {
			return "", nil, 0, err
		}
		// An index finds the rows of the first condition.
		where, args = append(where, "happened_at <= ?", "(happened_at < ? OR id < ?)"), append(args, at, at, id)
	}
	query = `SELECT id, ` + reading(eventColumns, "detail") + ` FROM authagent_events WHERE ` + strings.Join(where, " AND ") +
		` ORDER BY happened_at DESC, id DESC LIMIT ?`
	return query, append(args, limit+1), limit, nil
}

func (s *Store) events(ctx context.Context, db querier, query string, args []any, limit int) (page []audit.Event, next string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	for cursor := ""; rows.Next(); {
		if len(page) == limit {
			next = cursor
			break
		}
		e, at, id, err := scanEvent(rows)
		if err != nil {
			return nil, "", err
		}
		page, cursor = append(page, e), formatCursor(at, id)
	}
	return page, next, rows.Err()
}

// scanEvent reads a row of id and eventColumns.
func scanEvent(rows *sql.Rows) (e audit.Event, at, id int64, err error) {
	var deed sql.NullString
	err = rows.Scan(&id, &at, &e.Name, &e.RequestID, &e.Method, &e.Route, &e.RemoteAddr, &e.Issuer, &e.SessionID,
		&e.Agent.Issuer, &e.Agent.ID, &e.UserID, &e.HumanID, &e.Scenario, &e.ProfileID, &e.GrantID, &e.Access, &e.Action,
		&e.Outcome, &e.Reason, &e.Detail, &e.Count, &e.Amount.Value, &e.Amount.Currency, &e.Door, &deed)
	e.Time, e.Deed = time.Unix(0, at).UTC(), deed.String
	return e, at, id, err
}

// A cursor is the place of an event in the order of the trail.
func formatCursor(at, id int64) string {
	return strconv.FormatInt(at, 36) + "." + strconv.FormatInt(id, 36)
}

func parseCursor(cursor string) (at, id int64, err error) {
	first, second, _ := strings.Cut(cursor, ".")
	at, err = strconv.ParseInt(first, 36, 64)
	if err == nil {
		id, err = strconv.ParseInt(second, 36, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("sqlstore: read audit trail: After %q is not what a page returned", cursor)
	}
	return at, id, nil
}
