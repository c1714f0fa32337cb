package main

import (
	"bytes"
	"database/sql"
	"os"
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
		{[]string{"-prefix", "shop_"}, exitAsked, "suspends 1 grants", grants.Approved},
		{[]string{"-prefix", "shop_", "-migrate"}, exitAsked, "Nothing was changed.", grants.Approved},
		{nil, exitWrong, "another -prefix?", grants.Approved},
		{[]string{"-yes", "-migrate"}, exitWrong, "is this the restored database", grants.Approved},
		{[]string{"-migrate"}, exitWrong, "-migrate changes nothing without -yes", grants.Approved},
		{[]string{"-prefix", "a b"}, exitWrong, "-prefix: ", grants.Approved},
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
}

// TestWrongDatabase_RST_5: a database that is not named, or not there, is said by the name of its flag, with -yes and
// without; no file is made.
func TestWrongDatabase_RST_5(t *testing.T) {
	t.Chdir(t.TempDir())
	missing := filepath.Join(t.TempDir(), "mis typed.db")
	for _, test := range []struct {
		flag, env string
		status    int
		says      string
	}{
		{"", "", exitUsage, "neither -dsn nor DATABASE_URL"},
		{"file:" + missing, "", exitWrong, "-dsn, with the driver sqlite: "},
		{"file:" + strings.ReplaceAll(missing, " ", "%20") + "?_pragma=busy_timeout(10)", "", exitWrong, "-dsn, with the driver sqlite: "},
		{"", missing, exitWrong, "DATABASE_URL, with the driver sqlite: "},
		{"", "file:here.db", exitWrong, "no such file"},
		{"", "/var/lib/shop", exitWrong, "DATABASE_URL, with the driver mysql: "},
		{"postgres://nobody@127.0.0.1:1/none", "", exitWrong, "-dsn, with the driver pgx: "},
	} {
		for _, more := range [][]string{nil, {"-yes"}, {"-yes", "-migrate"}} {
			var out bytes.Buffer
			status := run(t.Context(), append([]string{"-dsn", test.flag}, more...), func(string) string { return test.env }, &out, &out)
			if status != test.status || !strings.Contains(out.String(), test.says) {
				t.Errorf("RST-5 %+v %q: status %d\n%s", test, more, status, out.String())
			}
		}
	}
	for _, dir := range []string{".", filepath.Dir(missing)} {
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("RST-5: %v, files were made: %v", err, files)
		}
	}
}

// TestPath_RST_5: the file of a DSN is found as SQLite finds it.
func TestPath_RST_5(t *testing.T) {
	for dsn, want := range map[string]string{
		"a.db": "a.db", "/v/a.db?x=1": "/v/a.db", "file:a.db?mode=rw": "a.db", "file:a%20b.db": "a b.db", "file:/v/a%20b.db": "/v/a b.db", "file:///v/a.db": "/v/a.db",
	} {
		if got := pathOf(dsn); got != want {
			t.Errorf("RST-5 %s: %s, want %s", dsn, got, want)
		}
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
