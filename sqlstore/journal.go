package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/authagent-go/authagent/audit"
)

// Journal is the [audit.Journal] of a [Store], for authagent.Config.Journal: it appends to the
// same audit trail as [Store.Audit]. It is safe for concurrent use.
type Journal struct{ s *Store }

// Journal returns what puts deeds of agents into the audit trail before they are done. Two rows are
// one deed: [Store.Unfinished] finds the first ones that have no second.
func (s *Store) Journal() *Journal { return &Journal{s} }

// Write implements [audit.Journal]. After it has returned nil, the event is committed. It does not
// wait for a database that cannot be reached: within Config.Timeout it returns an error, and the
// agent's request is refused. Texts are cut and replaced as in [Store.Audit].
func (j *Journal) Write(ctx context.Context, e audit.Event) error {
	_, err := j.s.exec(ctx, "write to the journal", insertEvent, eventValues(e)...)
	return err
}

const (
	// maxUnfinished bounds what Unfinished keeps in memory: deeds that are open at one time.
	maxUnfinished = 10_000

	// unfinishedPage is how many rows Unfinished reads at a time, and unfinishedWindow in how many events it looks for them.
	unfinishedPage, unfinishedWindow = 1000, 10_000
)

// ErrManyUnfinished is what [Store.Unfinished] returns if more than 10 000 deeds are open at one
// time. Ask for a shorter time.
var ErrManyUnfinished = errors.New("more than 10000 deeds are open at one time: ask for a shorter time")

// Unfinished returns the events of those deeds that began in a time, not before from and before
// to, and have no event of their end: the process was killed, the end could not be written, or the
// deed is still under way. So let to be longer ago than your slowest request takes. The oldest is
// first. What has happened in such a deed, the site's own rows say, if they have its ID
// ([audit.DeedFrom]).
//
// A request that was refused because its event could not be written can be among them: if the
// connection breaks at the wrong moment, the event is stored all the same, and nothing was done.
//
// It reads all deeds from that time on, in pages, until none is open any more. Config.Timeout
// bounds each page. In memory it keeps the deeds that are open at one time.
func (s *Store) Unfinished(ctx context.Context, from, to time.Time) ([]audit.Event, error) {
	open, until := make(map[string]audit.Event), nanos(to)
	var order []string // of their IDs, by time
	for at, more := (place{nanos(from), -1}), true; more && (at.at < until || len(order) > 0); {
		var page []deedRow
		var err error
		if page, at, more, err = s.deeds(ctx, at); err != nil {
			return nil, err
		}
		for _, row := range page {
			switch e := row.Event; {
			case e.Name != audit.ActionBegun:
				delete(open, e.Deed)
			case row.at < until:
				open[e.Deed], order = e, append(order, e.Deed)
			}
		}
		if order = stillOpen(order, open); len(order) > maxUnfinished {
			return nil, fmt.Errorf("sqlstore: %s: %w", stepUnfinished, ErrManyUnfinished)
		}
	}
	found := make([]audit.Event, len(order))
	for i, deed := range order {
		found[i] = open[deed]
	}
	return found, nil
}

// stillOpen returns those of some deeds that are open, in their order.
func stillOpen(order []string, open map[string]audit.Event) []string {
	left := order[:0]
	for _, deed := range order {
		if _, is := open[deed]; is {
			left = append(left, deed)
		}
	}
	return left
}

// A place is one in the order of the trail.
type place struct{ at, id int64 }

// A deedRow is an event of a deed, and its place.
type deedRow struct {
	audit.Event
	place
}

const stepUnfinished = "find unfinished deeds"

// An index finds the rows between the first conditions. There is none on deed, which would make each event dearer to store.
// Without the place up to which a statement looks, it would read all of the trail if deeds are rare.
const (
	afterPlace = ` FROM authagent_events WHERE happened_at >= ? AND (happened_at > ? OR id > ?)`
	windowEnd  = `SELECT happened_at, id` + afterPlace + ` ORDER BY happened_at, id LIMIT 1 OFFSET ?`
)

var deedsWithin = `SELECT id, ` + reading(eventColumns, "detail") + afterPlace + ` AND happened_at <= ? AND (happened_at < ? OR id <= ?)
	AND deed IS NOT NULL ORDER BY happened_at, id LIMIT ?`

// deeds returns a page of the events of deeds that come after a place in the trail, the oldest first. It returns up to which
// place it has looked, and whether there is more behind.
func (s *Store) deeds(ctx context.Context, from place) (page []deedRow, to place, more bool, err error) {
	more, err = s.row(ctx, stepUnfinished, windowEnd, []any{from.at, from.at, from.id, unfinishedWindow - 1}, &to.at, &to.id)
	if err != nil {
		return nil, to, false, err
	}
	if !more {
		to = place{math.MaxInt64, math.MaxInt64}
	}
	query, args := s.bind(deedsWithin, []any{from.at, from.at, from.id, to.at, to.at, to.id, unfinishedPage})
	err = s.run(ctx, stepUnfinished, func(ctx context.Context, db querier) error {
		page = nil // of an attempt that was given up half-way
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var row deedRow
			if row.Event, row.at, row.id, err = scanEvent(rows); err != nil {
				return err
			}
			page = append(page, row)
		}
		return rows.Err()
	})
	if len(page) == unfinishedPage {
		to, more = page[len(page)-1].place, true
	}
	return page, to, more, err
}
