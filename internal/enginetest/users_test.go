package enginetest_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/storetest"
)

// A userTable is a site's table of accounts, with the UserStore of the documentation.
type userTable struct {
	*database
	db    *sql.DB
	where string
}

func newUserTable(t *testing.T, d *database, column string) *userTable {
	t.Helper()
	u := &userTable{d, d.connect(t), d.documented}
	u.must(t, u.db, `CREATE TABLE authagent_users (id VARCHAR(64) PRIMARY KEY, email `+column+` NOT NULL, email_verified BOOLEAN NOT NULL, disabled BOOLEAN NOT NULL)`+d.accountOptions)
	t.Cleanup(func() {
		if _, err := u.db.ExecContext(context.Background(), u.sql(`DROP TABLE authagent_users`)); err != nil {
			t.Error(err)
		}
	})
	return u
}

// UserByEmail is the one of docs/database.md.
func (u *userTable) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	rows, err := u.db.QueryContext(ctx, u.sql(`SELECT id, email, email_verified, disabled FROM authagent_users WHERE `+u.where), email)
	if err != nil {
		return authagent.User{}, err
	}
	defer rows.Close()
	var found []authagent.User
	for rows.Next() {
		var user authagent.User
		var stored string
		if err := rows.Scan(&user.ID, &stored, &user.EmailVerified, &user.Disabled); err != nil {
			return authagent.User{}, err
		}
		if plain, ok := authagent.ParseEmail(stored); ok && plain == email {
			found = append(found, user)
		}
	}
	switch err := rows.Err(); {
	case err != nil:
		return authagent.User{}, err
	case len(found) == 0:
		return authagent.User{}, authagent.ErrNotFound
	case len(found) > 1:
		return authagent.User{}, authagent.ErrAmbiguous
	}
	return found[0], nil
}

// UserByID is the one of docs/database.md.
func (u *userTable) UserByID(ctx context.Context, id string) (user authagent.User, err error) {
	err = u.db.QueryRowContext(ctx, u.sql(`SELECT id, email_verified, disabled FROM authagent_users WHERE id = `+u.placeholder(1)), id).
		Scan(&user.ID, &user.EmailVerified, &user.Disabled)
	if errors.Is(err, sql.ErrNoRows) || err == nil && user.ID != id {
		return authagent.User{}, authagent.ErrNotFound
	}
	return user, err
}

func (u *userTable) AddAccount(ctx context.Context, email string, user authagent.User) (string, error) {
	id := "U_" + rand.Text()
	values := make([]string, 4)
	for i := range values {
		values[i] = u.placeholder(i + 1)
	}
	_, err := u.db.ExecContext(ctx, u.sql(`INSERT INTO authagent_users (id, email, email_verified, disabled) VALUES (`+strings.Join(values, ", ")+`)`), id, email, user.EmailVerified, user.Disabled)
	return id, err
}

// TestUsers_LNK_35 runs the kit for a site's accounts on the documented statements, on each
// engine and collation: LNK-7, LNK-8, LNK-9, LNK-35.
func TestUsers_LNK_35(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, column := range d.accountColumns {
			t.Run(column, func(t *testing.T) {
				u := newUserTable(t, newDatabase(t, d.engine), column)
				storetest.Users(t, func() storetest.UserTable { return u })
			})
		}
	})
}

// firstRow is a UserStore as sites write it: one row, and what the database takes for
// the address.
type firstRow struct {
	*userTable
	where string
}

func (f firstRow) UserByEmail(ctx context.Context, email string) (user authagent.User, err error) {
	err = f.db.QueryRowContext(ctx, f.sql(`SELECT id, email_verified, disabled FROM authagent_users WHERE `+f.where), email).
		Scan(&user.ID, &user.EmailVerified, &user.Disabled)
	if errors.Is(err, sql.ErrNoRows) {
		err = authagent.ErrNotFound
	}
	return user, err
}

// userFaults are statements that are wrong, and the subtests that are to find it.
var userFaults = map[string]struct {
	engine        engine
	column, where string
	found         []string
}{
	"lower() of PostgreSQL":   {postgres, "TEXT", `lower(email) = $1`, []string{"Kelvin_sign", "several"}},
	"ILIKE":                   {postgres, "TEXT", `email ILIKE $1`, []string{"wildcard_for_one", "wildcard_for_many", "several"}},
	"lower(), the first row":  {sqlite, "TEXT", `lower(email) = ?`, []string{"several"}},
	"LIKE":                    {sqlite, "TEXT", `email LIKE ?`, []string{"wildcard_for_one", "wildcard_for_many"}},
	"a column without spaces": {sqlite, "TEXT COLLATE RTRIM", `email = ?`, []string{"trailing_space"}},
	"the usual collation": {mysql, "VARCHAR(191) COLLATE utf8mb4_general_ci", `email = ?`,
		[]string{"accent", "trailing_space", "several", "long_s"}},
	"a Unicode collation": {mysql, "VARCHAR(191) COLLATE utf8mb4_unicode_ci", `email = ?`,
		[]string{"sharp_s", "Kelvin_sign", "accent", "trailing_space", "full_width"}},
	"LOWER() of a binary collation": {mysql, "VARCHAR(191) COLLATE utf8mb4_bin", `LOWER(email) = ?`,
		[]string{"Kelvin_sign", "trailing_space", "several"}},
}

// TestUserFaultsAreFound_LNK_35 is LNK-35: the kit fails for each of the faults, each in a
// process of its own.
func TestUserFaultsAreFound_LNK_35(t *testing.T) {
	for name, fault := range inOrder(userFaults) {
		t.Run(name, func(t *testing.T) {
			newDatabase(t, fault.engine) // skips where there is none
			child := exec.Command(os.Args[0], "-test.run=^TestUserFault$")
			child.Env = append(os.Environ(), "ENGINETEST_FAULT="+name)
			out, err := child.CombinedOutput()
			for _, found := range fault.found {
				if err == nil || !failed(string(out), found) {
					t.Errorf("not found in %s: %v\n%s", found, err, out)
				}
			}
		})
	}
}

// failed reports whether the output says that a subtest has failed.
func failed(out, subtest string) bool {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "--- FAIL: TestUserFault/") && strings.Contains(line, subtest) {
			return true
		}
	}
	return false
}

// TestUserFault is run by TestUserFaultsAreFound_LNK_35, and fails there.
func TestUserFault(t *testing.T) {
	fault, ok := userFaults[os.Getenv("ENGINETEST_FAULT")]
	if !ok {
		return
	}
	u := newUserTable(t, newDatabase(t, fault.engine), fault.column)
	storetest.Users(t, func() storetest.UserTable { return firstRow{u, fault.where} })
}

// TestDocumentedStatements: what the documentation tells sites to copy is what is
// tested here.
func TestDocumentedStatements(t *testing.T) {
	const file = "../../docs/database.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range engines {
		if !strings.Contains(string(text), e.documented) {
			t.Errorf("%s lacks %q", file, e.documented)
		}
	}
}
