package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/tokens"
)

// The interfaces that each store is documented to implement. What they do is
// tested on real engines, in internal/enginetest.
var (
	_ authagent.ProfileStore    = (*sqlstore.Profiles)(nil)
	_ authagent.AgentLinker     = (*sqlstore.Links)(nil)
	_ authagent.StateStore      = (*sqlstore.States)(nil)
	_ authagent.RevocationStore = (*sqlstore.Revocations)(nil)
	_ tokens.Store              = (*sqlstore.Tokens)(nil)
	_ sessions.Store            = (*sqlstore.Sessions)(nil)

	_ func(context.Context, audit.Event) = (*sqlstore.Store)(nil).Audit
)

// unreachable is a database whose driver is not one of those that are known, and
// that nothing connects to.
type unreachable struct{ err error }

func (u unreachable) Connect(context.Context) (driver.Conn, error) { return nil, u.err }
func (u unreachable) Driver() driver.Driver                        { return u }
func (u unreachable) Open(string) (driver.Conn, error)             { return nil, u.err }

// dialects are all that there are.
var dialects = []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL, sqlstore.SQLite}

func TestNew(t *testing.T) {
	db := sql.OpenDB(unreachable{errors.New("unreachable")})
	for _, test := range []struct {
		name   string
		config sqlstore.Config
		want   string // in the error; empty for none
	}{
		{"unknown driver", sqlstore.Config{}, "unknown engine: the driver is sqlstore_test.unreachable"},
		{"named", sqlstore.Config{Dialect: sqlstore.Postgres}, ""},
		{"unknown dialect", sqlstore.Config{Dialect: 9}, "unknown engine: Dialect 9"},
		{"negative dialect", sqlstore.Config{Dialect: -1}, "unknown engine: Dialect -1"},
		{"prefix", sqlstore.Config{Dialect: sqlstore.SQLite, Prefix: "_a1_"}, ""},
		{"longest prefix", sqlstore.Config{Dialect: sqlstore.MySQL, Prefix: strings.Repeat("p", 32)}, ""},
		{"too long a prefix", sqlstore.Config{Dialect: sqlstore.MySQL, Prefix: strings.Repeat("p", 33)}, "has 33 characters"},
		{"digit first", sqlstore.Config{Dialect: sqlstore.MySQL, Prefix: "1a"}, `Prefix "1a"`},
		{"capital", sqlstore.Config{Dialect: sqlstore.MySQL, Prefix: "A_"}, `Prefix "A_"`},
		{"schema", sqlstore.Config{Dialect: sqlstore.Postgres, Prefix: "x.a_"}, `Prefix "x.a_"`},
		{"SQL", sqlstore.Config{Dialect: sqlstore.Postgres, Prefix: `a; DROP TABLE b; --`}, "Prefix"},
		{"quote", sqlstore.Config{Dialect: sqlstore.Postgres, Prefix: "a\"`'"}, "Prefix"},
		{"not ASCII", sqlstore.Config{Dialect: sqlstore.Postgres, Prefix: "\u00e9"}, "Prefix"},
		{"timeout", sqlstore.Config{Dialect: sqlstore.Postgres, Timeout: -1}, "Timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := sqlstore.New(db, test.config)
			if (err == nil) != (test.want == "") || (err == nil) != (s != nil) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("New: %v, want %q", err, test.want)
			}
		})
	}
}

// TestUnreachable: every call says that there is no database, and what the driver said.
func TestUnreachable(t *testing.T) {
	refused := errors.New("connection refused")
	for _, d := range dialects {
		s, err := sqlstore.New(sql.OpenDB(unreachable{refused}), sqlstore.Config{Dialect: d})
		if err != nil {
			t.Fatal(err)
		}
		_, profileErr := s.Profiles().FindOrCreateProfile(t.Context(), authagent.Profile{})
		_, stateErr := s.States().UseState(t.Context(), "x", time.Now())
		_, revokedErr := s.Revocations().Marks(t.Context(), []string{"x"})
		_, _, eventsErr := s.Events(t.Context(), sqlstore.EventQuery{})
		for _, call := range []struct {
			step string
			err  error
		}{
			{"connect", s.Check(t.Context())}, {"migrate", s.Migrate(t.Context())}, {"profile", profileErr}, {"state", stateErr},
			{"revocations", revokedErr}, {"audit trail", eventsErr},
		} {
			if !errors.Is(call.err, refused) || !strings.Contains(call.err.Error(), "sqlstore: ") || !strings.Contains(call.err.Error(), call.step) {
				t.Errorf("%v, %s: %v", d, call.step, call.err)
			}
		}
	}
}

// TestAuditWaits: an event waits for a database that cannot be reached, but not for
// ever, and the next ones do not wait again.
func TestAuditWaits(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, test := range []struct {
		name string
		err  error
		want time.Duration
	}{
		{"cannot be reached", refused, 30 * time.Second},
		{"was cut off", &net.OpError{Op: "read", Err: errors.New("connection reset")}, 0}, // it may have been stored
		{"is refused", errors.New("wrong password"), 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var lost bytes.Buffer
			db := sql.OpenDB(unreachable{test.err})
			defer db.Close()
			s, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.Postgres, Logger: slog.New(slog.NewTextHandler(&lost, nil))})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			s.Audit(t.Context(), audit.Event{RequestID: "first"})
			if took := time.Since(start); took != test.want {
				t.Errorf("%s: Audit took %v, want %v", test.name, took, test.want)
			}
			start = time.Now()
			s.Audit(t.Context(), audit.Event{RequestID: "second"})
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: the second event took %v", test.name, took)
			}
			if !strings.Contains(lost.String(), "request_id=first") || !strings.Contains(lost.String(), "request_id=second") {
				t.Errorf("%s: the log has %s", test.name, lost.String())
			}
		})
	}
}

// TestMigrationsAgree: the dialects have one logical schema: the same tables with
// the same columns, made by migrations of the same number and name.
func TestMigrationsAgree(t *testing.T) {
	want, wantNames := schemaOf(t, dialects[0])
	if len(want) < 40 {
		t.Fatalf("columns %q", want)
	}
	for _, d := range dialects[1:] {
		got, names := schemaOf(t, d)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("columns of %v (-), of %v (+):\n%s", dialects[0], d, diff)
		}
		if diff := cmp.Diff(wantNames, names); diff != "" {
			t.Errorf("migrations of %v (-), of %v (+):\n%s", dialects[0], d, diff)
		}
	}
}

// schemaOf returns all columns with their tables, and the names of the migrations.
func schemaOf(t *testing.T, d sqlstore.Dialect) (columns, names []string) {
	t.Helper()
	migrations, err := sqlstore.Migrations(d, "p_")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range migrations {
		if m.Version != i+1 || !strings.Contains(m.SQL, fmt.Sprintf("INTO p_migrations (version) VALUES (%d)", i+1)) {
			t.Errorf("%v: migration %d is %d, %s", d, i+1, m.Version, m.Name)
		}
		names = append(names, m.Name)
		table := ""
		for line := range strings.Lines(m.SQL) {
			words := strings.Fields(strings.ReplaceAll(line, "IF NOT EXISTS ", ""))
			switch {
			case len(words) > 2 && words[0] == "CREATE" && words[1] == "TABLE":
				table = words[2]
			case strings.HasPrefix(line, ")"):
				table = ""
			case table != "" && strings.HasPrefix(line, "\t") && !slices.Contains([]string{"KEY", "UNIQUE", "PRIMARY", "--"}, words[0]):
				columns = append(columns, table+"."+words[0])
			}
		}
	}
	return columns, names
}

func TestMigrationsRefuse(t *testing.T) {
	for _, bad := range []struct {
		name    string
		dialect sqlstore.Dialect
		prefix  string
	}{
		{"no dialect", 0, ""},
		{"a dialect after the last", sqlstore.Dialect(len(dialects) + 1), ""},
		{"a prefix", sqlstore.MySQL, "a b"},
	} {
		if m, err := sqlstore.Migrations(bad.dialect, bad.prefix); err == nil {
			t.Errorf("%s: %d migrations and no error", bad.name, len(m))
		}
	}
}

// TestRefusedValue: the error for a session with several values that cannot be kept names
// the same one each time.
func TestRefusedValue(t *testing.T) {
	s, err := sqlstore.New(sql.OpenDB(unreachable{errors.New("unreachable")}), sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	gs := sessions.NewSession(s.Sessions(), "name")
	gs.Options = &sessions.Options{MaxAge: 60}
	for i := range 20 {
		gs.Values[fmt.Sprint("value ", i)] = i
	}
	for range 20 {
		err := s.Sessions().Save(httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder(), gs)
		if err == nil || !strings.Contains(err.Error(), "value value 0 is a int") {
			t.Fatalf("Save: %v", err)
		}
	}
}
