package authagent_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
)

// rows are what *sql.Rows has.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// sqlUsers finds accounts in the site's table of users. query stands for
// QueryContext of a *sql.DB, so that the example needs no driver.
type sqlUsers struct {
	query func(ctx context.Context, query string, args ...any) (rows, error)
}

// The condition is PostgreSQL's; docs/database.md has those of others. The lower-cased
// address is to have a unique index.
const userByEmail = `SELECT id, email, email_verified_at IS NOT NULL, disabled FROM users WHERE lower(email COLLATE "C") = $1`

func (u sqlUsers) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	rows, err := u.query(ctx, userByEmail, email)
	if err != nil {
		return authagent.User{}, err
	}
	defer rows.Close()
	var found []authagent.User
	for rows.Next() {
		var user authagent.User
		if err := rows.Scan(&user.ID, &user.Name, &user.EmailVerified, &user.Disabled); err != nil {
			return authagent.User{}, err
		}
		// Some databases find more than was asked for.
		if stored, ok := authagent.ParseEmail(user.Name); ok && stored == email {
			found = append(found, user)
		}
	}
	switch {
	case rows.Err() != nil:
		return authagent.User{}, rows.Err()
	case len(found) == 0:
		return authagent.User{}, authagent.ErrNotFound
	case len(found) > 1:
		return authagent.User{}, authagent.ErrAmbiguous
	}
	return found[0], nil
}

// addressRows are rows with these addresses.
type addressRows struct {
	all  []string
	next int
}

func (r *addressRows) Next() bool { r.next++; return r.next <= len(r.all) }

func (r *addressRows) Scan(dest ...any) error {
	*dest[0].(*string), *dest[1].(*string), *dest[2].(*bool), *dest[3].(*bool) = fmt.Sprint(r.next), r.all[r.next-1], true, false
	return nil
}

func (*addressRows) Err() error { return nil }

func (*addressRows) Close() error { return nil }

// Agents find accounts in the table of users that the site has.
func ExampleUserStore() {
	table := map[any][]string{ // what a careless database finds
		"alice@example.com": {"Alice@example.com", "al\u00edce@example.com"},
		"kate@example.com":  {"\u212Aate@example.com"},
		"twin@example.com":  {"twin@example.com", "TWIN@example.com"},
	}
	users := sqlUsers{func(_ context.Context, _ string, args ...any) (rows, error) {
		return &addressRows{all: table[args[0]]}, nil
	}}
	var _ authagent.Scenario = authagent.FullAccount(users, authagent.InsecureTrustEmail)

	for _, email := range []string{"alice@example.com", "bob@example.com", "kate@example.com", "twin@example.com"} {
		user, err := users.UserByEmail(context.Background(), email)
		fmt.Printf("%q %t %v\n", user.ID, user.EmailVerified, err)
	}
	// Output:
	// "1" true <nil>
	// "" false authagent: not found
	// "" false authagent: not found
	// "" false authagent: several accounts have this address
}

// Bob wants to know what the site keeps of his agents, and then to be gone.
func ExampleRelyingParty_EraseUser() {
	users := &memstore.Users{}
	bob := users.Add("bob@example.com", "Bob")
	profiles := &memstore.Profiles{}
	rp, err := authagent.New(authagent.Config{
		Issuer: "https://agents.example", ClientID: "shop", ClientSecret: "from your vault", RedirectURL: "https://shop.example/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Logger: slog.New(slog.DiscardHandler),
		Scenario: authagent.ContextualProfile(users, profiles, authagent.InsecureTrustEmail),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	agent := authagent.Agent{Issuer: "https://agents.example", ID: "agent_1"} // has signed in before
	profiles.FindOrCreateProfile(ctx, authagent.Profile{Agent: agent, Scenario: "ContextualProfile", UserID: bob})

	if err := rp.ExportUser(ctx, bob, io.Discard); err != nil { // to a file that Bob gets
		log.Fatal(err)
	}
	users.Remove(bob) // first: nobody signs in meanwhile
	receipt, err := rp.EraseUser(ctx, "", bob)
	if err != nil {
		log.Fatal(err)
	}
	for _, store := range receipt.Stores {
		if n := store.Rows["profiles"]; n > 0 {
			fmt.Println(store.Store, "has deleted", n, "profile")
		}
	}
	// Output: ProfileStore has deleted 1 profile
}
