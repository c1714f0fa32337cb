package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/limits"
)

// Limits is a [limits.Store]. Time is the database's clock. A row of each key says when its
// budget is whole again, and DeleteExpired removes it after that.
//
// An event that passes is one statement, in all but the first for a key. One that is refused
// is two or three.
type Limits struct{ s *Store }

// Limits returns the store of limits.
func (s *Store) Limits() *Limits { return &Limits{s} }

// A taking is a budget as statements have it. Its times are whole nanoseconds, and are
// written into the statement: there are as many statements as there are limits.
type taking struct {
	key           []byte
	every, period int64
}

// next is when the budget is whole again after one more event, in nanoseconds. Where the time is out of
// reach, since the clock went back or the period was another one, there is room for that one event.
func (t taking) next(e engine, column string) string {
	return fmt.Sprintf("CASE WHEN %s > %s + %d THEN %[2]s + %[3]d ELSE %[4]s(%[2]s, %[1]s) + %[5]d END",
		column, e.now(), t.period, e.greatest(), t.every)
}

// fits is whether one more event is within the budget.
func (t taking) fits(e engine, column string) string {
	return fmt.Sprintf("%s - %s <= %d", t.next(e, column), e.now(), t.period)
}

// takings returns budgets in the order of their keys, in which all statements lock rows.
func takings(budgets []limits.Budget) []taking {
	all := make([]taking, len(budgets))
	for i, b := range budgets {
		sum := sha256.Sum256([]byte(b.Key))
		all[i] = taking{sum[:], max(1, int64(b.Rate.Per)/int64(b.Rate.N)), int64(b.Rate.Per)}
	}
	slices.SortFunc(all, func(a, b taking) int { return bytes.Compare(a.key, b.key) })
	return all
}

func keysOf(all []taking) []any {
	args := make([]any, len(all))
	for i, t := range all {
		args[i] = t.key
	}
	return args
}

// byKey returns an expression that is of(t) in the row of each t.
func byKey(all []taking, of func(taking) string) (expression string, args []any) {
	if len(all) == 1 {
		return of(all[0]), nil
	}
	var b strings.Builder
	b.WriteString("CASE limit_key")
	for _, t := range all[1:] {
		b.WriteString(" WHEN ? THEN " + of(t))
		args = append(args, t.key)
	}
	b.WriteString(" ELSE " + of(all[0]) + " END")
	return b.String(), args
}

// these is a condition that finds the rows of n keys.
func these(n int) string {
	if n == 1 {
		return "limit_key = ?"
	}
	return "limit_key IN (?" + strings.Repeat(", ?", n-1) + ")"
}

// Take implements [limits.Store].
func (l *Limits) Take(ctx context.Context, budgets ...limits.Budget) (wait time.Duration, err error) {
	const step = "take from budget"
	all := takings(budgets)
	statement, args := l.s.engine.take(all)
	for range 4 { // again if a row was missing, or has become whole or was deleted in between
		changed, err := l.s.exec(ctx, step, statement, args...)
		if err != nil || changed > 0 {
			return 0, err
		}
		missing, wait, err := l.wait(ctx, step, all)
		if err == nil && len(missing) > 0 {
			err = l.insert(ctx, step, missing)
		}
		if err != nil || len(missing) == 0 && wait > 0 {
			return wait, err
		}
	}
	return time.Duration(all[0].every), nil // others are faster, each time
}

// wait returns which keys have no row, and how long to wait for the others.
func (l *Limits) wait(ctx context.Context, step string, all []taking) (missing []taking, wait time.Duration, err error) {
	late, args := byKey(all, func(t taking) string {
		return fmt.Sprintf("%s - %s - %d", t.next(l.s.engine, "whole_at"), l.s.engine.now(), t.period)
	})
	type row struct {
		key  []byte
		late int64
	}
	rows, err := list(ctx, l.s, step, `SELECT limit_key, `+late+` FROM authagent_limits WHERE `+these(len(all)), append(args, keysOf(all)...),
		func(r *row) []any { return []any{&r.key, &r.late} })
	if err != nil {
		return nil, 0, err
	}
	for _, t := range all {
		i := slices.IndexFunc(rows, func(r row) bool { return bytes.Equal(r.key, t.key) })
		if i < 0 {
			missing = append(missing, t)
			continue
		}
		wait = max(wait, time.Duration(rows[i].late))
	}
	return missing, wait, nil
}

// insert inserts rows whose budget is whole.
func (l *Limits) insert(ctx context.Context, step string, all []taking) error {
	values := strings.TrimSuffix(strings.Repeat("(?, 0), ", len(all)), ", ")
	_, err := l.s.exec(ctx, step, l.s.engine.insertNew(`INSERT INTO authagent_limits (limit_key, whole_at) VALUES `+values), keysOf(all)...)
	return err
}

// Return implements [limits.Store].
func (l *Limits) Return(ctx context.Context, budgets ...limits.Budget) error {
	all := takings(budgets)
	less, args := byKey(all, func(t taking) string { return fmt.Sprintf("whole_at - %d", t.every) })
	_, err := l.s.exec(ctx, "give back to budget", `UPDATE authagent_limits SET whole_at = `+less+` WHERE `+these(len(all)), append(args, keysOf(all)...)...)
	return err
}
