package database_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/storetest"
)

// userTable is the shop's accounts, for the kit.
type userTable struct{ *database.DB }

func (t userTable) AddAccount(ctx context.Context, email string, u authagent.User) (string, error) {
	if !u.EmailVerified || u.Disabled {
		return "", errors.ErrUnsupported
	}
	if plain, ok := authagent.ParseEmail(email); !ok || plain != email { // as the shop's sign-up has it
		return "", errors.New("no plain address in lower case")
	}
	return t.AddUser(ctx, database.User{Email: email})
}

// TestUsers_LNK_35 runs the kit for a site's accounts, LNK-35, in SQLite and, where there is
// one, PostgreSQL.
func TestUsers_LNK_35(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		db, err := database.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "shop.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		storetest.Users(t, func() storetest.UserTable { return userTable{db} })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		dsn := os.Getenv("AUTHAGENT_POSTGRES")
		if dsn == "" {
			t.Skip("set AUTHAGENT_POSTGRES to the DSN of a database for tests")
		}
		schema := "shop_" + strings.ToLower(rand.Text()[:10])
		admin, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		if _, err := admin.Exec("CREATE SCHEMA " + schema); err != nil {
			t.Fatal(err)
		}
		defer admin.Exec("DROP SCHEMA " + schema + " CASCADE")
		separator := "?"
		if strings.Contains(dsn, "?") {
			separator = "&"
		}
		db, err := database.OpenPostgres(t.Context(), dsn+separator+"search_path="+schema)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		storetest.Users(t, func() storetest.UserTable { return userTable{db} })
	})
}

// TestCheckSession: a session in an account that is gone ends, even where the
// grant that it rests on was forgotten.
func TestCheckSession(t *testing.T) {
	db, err := database.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	id, err := db.AddUser(t.Context(), database.User{Email: "alice@example.com", Name: "Alice"})
	if err != nil {
		t.Fatal(err)
	}
	s := &authagent.Session{UserID: id}
	if err := db.CheckSession(t.Context(), s); err != nil {
		t.Errorf("while the account is there: %v", err)
	}
	if err := db.DeleteUser(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := db.CheckSession(t.Context(), s); !errors.Is(err, problem.NoAccount) {
		t.Errorf("once it is gone: %v", err)
	}
}
