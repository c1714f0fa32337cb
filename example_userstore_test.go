package authagent_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/authagent-go/authagent"
)

// row is what *sql.Row does.
type row interface{ Scan(dest ...any) error }

// sqlUsers finds accounts in the site's table of users. queryRow stands for
// QueryRowContext of a *sql.DB, so that the example needs no driver.
type sqlUsers struct {
	queryRow func(ctx context.Context, query string, args ...any) row
}

// The lower-cased address is to have a unique index.
const userByEmail = `SELECT id, email_verified_at IS NOT NULL, disabled FROM users WHERE lower(email) = $1`

func (u sqlUsers) UserByEmail(ctx context.Context, email string) (user authagent.User, err error) {
	err = u.queryRow(ctx, userByEmail, email).Scan(&user.ID, &user.EmailVerified, &user.Disabled)
	if errors.Is(err, sql.ErrNoRows) {
		return authagent.User{}, authagent.ErrNotFound
	}
	return user, err
}

// aliceRow is the only row of a table.
type aliceRow struct{ found bool }

func (r aliceRow) Scan(dest ...any) error {
	if !r.found {
		return sql.ErrNoRows
	}
	*dest[0].(*string), *dest[1].(*bool), *dest[2].(*bool) = "42", true, false
	return nil
}

// Agents find accounts in the table of users that the site has.
func ExampleUserStore() {
	users := sqlUsers{func(_ context.Context, _ string, args ...any) row {
		return aliceRow{found: args[0] == "alice@example.com"}
	}}
	var _ authagent.Scenario = authagent.FullAccount(users, authagent.TrustEmail)

	for _, email := range []string{"alice@example.com", "bob@example.com"} {
		user, err := users.UserByEmail(context.Background(), email)
		fmt.Printf("%q %t %v\n", user.ID, user.EmailVerified, err)
	}
	// Output:
	// "42" true <nil>
	// "" false authagent: not found
}
