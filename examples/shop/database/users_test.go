package database_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/examples/shop/database"
)

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
	if err := db.CheckSession(t.Context(), s); !errors.Is(err, authagent.ErrNoAccount) {
		t.Errorf("once it is gone: %v", err)
	}
}
