package enginetest_test

import (
	"context"
	"database/sql"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/stores"
)

// TestPlansOfAccount is like TestPlans for what is not done on a request: to erase and export an account, to find unfinished
// deeds and to delete what is old. None of it reads all of a table, since some tables grow for ever.
func TestPlansOfAccount(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		_, db := d.migrated(t)
		d.fill(t, db, 20_000, slices.DeleteFunc(slices.Clone(tables), func(table string) bool { return table == "events" })...)
		d.fill(t, db, 60_000, "events") // many more than Unfinished looks through at once
		d.must(t, db, `UPDATE authagent_events SET human_id = 'human', deed = 'deed' WHERE happened_at < 50000000000`)
		spied := &spy{on: db.Driver(), dsn: d.with(d.prepares...)}
		observed := sql.OpenDB(spied)
		t.Cleanup(func() { observed.Close() })
		s, err := sqlstore.New(observed, sqlstore.Config{Prefix: d.prefix, Dialect: d.dialect, Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err != nil { // which is not repeated for a minute
			t.Fatal(err)
		}
		spied.take()
		for name, call := range inOrder(accountCalls(t, s)) {
			t.Run(name, func(t *testing.T) {
				if err := call(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, q := range spied.take() {
					if !searches.MatchString(q.text) {
						continue
					}
					index := "" // any
					if strings.Contains(q.text, "WHERE human_id") {
						index = "events_human"
					}
					plan := d.explain(t, db, q)
					found := plan
					if name == "Unfinished" { // what it has found in so many events and no more, it may sort
						found = strings.ReplaceAll(plan, "Sort", "")
					}
					if !d.byIndex(found, d.prefix) || !strings.Contains(plan, index) {
						t.Errorf("%s\n%s", q.text, plan)
					}
				}
			})
		}
	})
}

// accountCalls are those calls. Of each account there is one row in each table.
func accountCalls(t *testing.T, s *sqlstore.Store) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{
		"Unfinished": func(ctx context.Context) error {
			_, err := s.Unfinished(ctx, time.Unix(1, 0), time.Unix(100, 0))
			return err
		},
		"DeleteEvents": func(ctx context.Context) error {
			_, err := s.DeleteEvents(ctx, time.Unix(3, 0), 1)
			return err
		},
		"DeleteExpired": func(ctx context.Context) error {
			_, err := s.DeleteExpired(ctx, 10)
			return err
		},
		"UserRecords": func(ctx context.Context) error {
			return s.Grants().UserRecords(ctx, "user 9", func(any) error { return nil })
		},
		"UserTokens": func(ctx context.Context) error {
			_, err := s.Tokens().UserTokens(ctx, "user 9")
			return err
		},
	}
	for name, store := range map[string]authagent.Eraser{
		"Trail": s.Trail(), "Trail of human": s.Trail(), "Links": s.Links(), "Profiles": s.Profiles(), "Grants": s.Grants(), "Revocations": s.Revocations(),
	} {
		account := "user 9"
		if name == "Trail of human" {
			account = "human"
		}
		calls["EraseUser of "+name] = func(ctx context.Context) error {
			e, err := stores.NewErasure("", account)
			if err != nil {
				t.Fatal(err)
			}
			return store.EraseUser(ctx, e)
		}
		if exporter, ok := store.(authagent.Exporter); ok {
			calls["Before, ExportUser of "+name] = func(ctx context.Context) error {
				x, err := stores.NewExport(io.Discard, account)
				if err != nil {
					t.Fatal(err)
				}
				return exporter.ExportUser(ctx, x)
			}
		}
	}
	return calls
}
