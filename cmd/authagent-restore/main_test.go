package main

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
)

// TestRun_RST_5: the command says what it would do, does it, and says what it did and what is left to do.
func TestRun_RST_5(t *testing.T) {
	dsn := "file:" + filepath.Join(t.TempDir(), "restored.db")
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.Config{Prefix: "shop_"})
	if err == nil {
		err = store.Migrate(t.Context())
	}
	if err == nil {
		_, _, err = store.Grants().CreateGrant(t.Context(), grants.Grant{
			ID: "g", Version: 1, UserID: "alice", State: grants.Approved, Access: authagent.AccessRead, ExpiresAt: time.Now().Add(time.Hour),
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	state := func() grants.State {
		t.Helper()
		g, err := store.Grants().Grant(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		return g.State
	}
	for _, test := range []struct {
		args   []string
		status int
		says   string
		state  grants.State
	}{
		{[]string{"-prefix", "shop_"}, exitUsage, "With -yes, it", grants.Approved},
		{[]string{"-yes", "now"}, exitUsage, `unexpected argument "now"`, grants.Approved},
		{[]string{"-yes", "-driver", "oracle"}, exitUsage, "none of pgx, mysql and sqlite", grants.Approved},
		{[]string{"-yes"}, exitWrong, "lacks tables of this package", grants.Approved},
		{[]string{"-yes", "-prefix", "shop_"}, exitOK, "1 grants are suspended", grants.Suspended},
		{[]string{"-yes", "-prefix", "shop_", "-migrate"}, exitOK, "Config.Session.Epoch", grants.Suspended},
		{[]string{"-help"}, exitOK, "DATABASE_URL", grants.Suspended},
	} {
		var out bytes.Buffer
		status := run(t.Context(), test.args, func(string) string { return dsn }, &out, &out)
		if status != test.status || !strings.Contains(out.String(), test.says) || state() != test.state {
			t.Errorf("RST-5 %q: status %d, grant %s\n%s", test.args, status, state(), out.String())
		}
	}
	var out bytes.Buffer
	if status := run(t.Context(), []string{"-yes"}, func(string) string { return "" }, &out, &out); status != exitUsage {
		t.Errorf("RST-5 without a database: status %d\n%s", status, out.String())
	}
}

// TestDriver_RST_5: the driver follows from the DSN.
func TestDriver_RST_5(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u@h/db": "pgx", "postgresql://h/db": "pgx", "host=h user=u": "pgx", "file:a.db": "sqlite", "/var/a.sqlite": "sqlite",
		"u:p@tcp(h:3306)/db": "mysql",
	} {
		if got := driverOf(dsn); got != want {
			t.Errorf("RST-5 %s: %s, want %s", dsn, got, want)
		}
	}
}
