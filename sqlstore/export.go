package sqlstore

import (
	"context"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/records"
)

const stepExport = "export user"

const (
	exportLinks      = `SELECT issuer, agent_id, linked_at FROM authagent_links WHERE user_id = ?`
	exportApprovals  = `SELECT ` + approvalColumns + ` FROM authagent_approvals WHERE user_id = ?`
	exportAllowances = allowancesOfUser
	exportActivity   = `SELECT ` + activityColumns + ` FROM authagent_activity WHERE user_id = ?`
	exportUses       = usesOfUser
)

var (
	exportProfiles = `SELECT ` + reading("id, issuer, agent_id, scenario, model, name", "model", "name") + `, created_at FROM authagent_profiles WHERE user_id = ? AND user_id <> ''`
	exportGrants   = grantsOfUser
	exportDeeds    = `SELECT id, ` + reading(deedColumns, "route") + ` FROM authagent_deeds
	WHERE user_id = ? AND happened_at >= ? AND (happened_at > ? OR id > ?) ORDER BY happened_at, id LIMIT ?`
	exportHumanEvents = `SELECT id, ` + reading(eventColumns, "detail") + ` FROM authagent_events
	WHERE human_id = ? AND human_id <> '' AND user_id <> ? AND id > ? ORDER BY id LIMIT ?` // not empty, as the index has it
)

// ExportUser implements [authagent.Exporter].
func (l *Links) ExportUser(ctx context.Context, x *authagent.Export) error {
	if err := checkUser(stepExport, x.UserID); err != nil {
		return err
	}
	all, err := list(ctx, l.s, stepExport, exportLinks, []any{x.UserID}, func(r *records.Link) []any {
		return []any{&r.Agent.Issuer, &r.Agent.ID, instant{&r.LinkedAt}}
	})
	return addAll(x, records.Links, all, err)
}

// ExportUser implements [authagent.Exporter]. Of a Subject, only a digest is kept, which is not in it.
func (p *Profiles) ExportUser(ctx context.Context, x *authagent.Export) error {
	if err := checkUser(stepExport, x.UserID); err != nil {
		return err
	}
	all, err := list(ctx, p.s, stepExport, exportProfiles, []any{x.UserID}, func(r *records.Profile) []any {
		return []any{&r.ID, &r.Agent.Issuer, &r.Agent.ID, &r.Scenario, &r.Model, &r.Name, instant{&r.CreatedAt}}
	})
	return addAll(x, records.Profiles, all, err)
}

// addAll adds records of one kind, unless they could not be read.
func addAll[T any](x *authagent.Export, kind string, all []T, err error) error {
	if err == nil {
		err = x.Begin(kind)
	}
	for _, r := range all {
		if err == nil {
			err = x.Add(kind, r)
		}
	}
	return err
}

// UserRecords implements [grants.UserExporter].
func (t *Grants) UserRecords(ctx context.Context, userID string, each func(record any) error) error {
	if err := checkUser(stepExport, userID); err != nil {
		return err
	}
	err := eachOf(ctx, t.s, exportGrants, userID, grantDest, each)
	if err == nil {
		err = eachOf(ctx, t.s, exportApprovals, userID, approvalDest, each)
	}
	if err == nil {
		err = eachOf(ctx, t.s, exportAllowances, userID, allowanceDest, each)
	}
	if err == nil {
		err = eachOf(ctx, t.s, exportActivity, userID, activityDest, each)
	}
	if err == nil {
		err = eachOf(ctx, t.s, exportUses, userID, useDest, each)
	}
	if err == nil {
		err = t.eachDeed(ctx, userID, each)
	}
	return err
}

// eachOf calls each with all rows of an account that a query finds.
func eachOf[T any](ctx context.Context, s *Store, query, userID string, dest func(*T) []any, each func(any) error) error {
	all, err := list(ctx, s, stepExport, query, []any{userID}, dest)
	for _, r := range all {
		if err == nil {
			err = each(r)
		}
	}
	return err
}

// eachDeed calls each with all deeds in an account, the oldest first, page by page.
func (t *Grants) eachDeed(ctx context.Context, userID string, each func(any) error) error {
	type row struct {
		id int64
		grants.Deed
	}
	for at, after := nanos(time.Time{}), int64(0); ; {
		page, err := list(ctx, t.s, stepExport, exportDeeds, []any{userID, at, at, after, maxPage}, func(r *row) []any {
			return append([]any{&r.id}, deedDest(&r.Deed)...)
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := each(r.Deed); err != nil {
				return err
			}
			at, after = nanos(r.At), r.id
		}
		if len(page) < maxPage {
			return nil
		}
	}
}

// ExportUser implements [authagent.Exporter]: the events of the account, the newest first, page by page, and
// then those of what its holder did in person to another account. Of that one they say nothing.
func (t *Trail) ExportUser(ctx context.Context, x *authagent.Export) error {
	if err := checkUser(stepExport, x.UserID); err != nil {
		return err
	}
	if err := x.Begin(records.Events); err != nil {
		return err
	}
	add := func(page []audit.Event) error {
		for _, e := range page {
			if err := x.Add(records.Events, records.EventOf(e, x.UserID)); err != nil {
				return err
			}
		}
		return nil
	}
	for q := (EventQuery{UserID: x.UserID, Limit: maxPage}); ; {
		page, next, err := t.s.Events(ctx, q)
		if err == nil {
			err = add(page)
		}
		if err != nil {
			return err
		}
		if q.After = next; next == "" {
			break
		}
	}
	return t.eachHumanPage(ctx, clean(x.UserID, maxID), add)
}

// eachHumanPage calls f with pages of the events of what the holder of an account did in person to another one, the oldest
// first.
func (t *Trail) eachHumanPage(ctx context.Context, id string, f func([]audit.Event) error) error {
	for last := int64(0); ; {
		query, args := t.s.bind(exportHumanEvents, []any{id, id, last, maxPage + 1})
		var page []audit.Event
		var next string
		err := t.s.run(ctx, stepExport, func(ctx context.Context, db querier) (err error) {
			page, next, err = t.s.events(ctx, db, query, args, maxPage)
			return err
		})
		if err == nil {
			err = f(page)
		}
		if err != nil || next == "" {
			return err
		}
		if _, last, err = parseCursor(next); err != nil {
			return err
		}
	}
}
