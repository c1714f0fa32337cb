package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/tokens"
)

// What a site writes; which driver it imports is its own affair.
func Example() {
	db, err := sql.Open("pgx", "postgres://shop@db.example/shop")
	if err != nil {
		fmt.Println("import the driver:", err)
		return
	}
	store, err := sqlstore.New(db, sqlstore.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your vault",
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(store.Profiles()),
		Session:      authagent.SessionSettings{Store: store.Sessions()},
		Revocations:  store.Revocations(),
		States:       store.States(),
		Tokens:       tokens.Settings{Store: store.Tokens()},
		Audit:        store.Audit,
	})
	fmt.Println(rp, err)
	// Output: import the driver: sql: unknown driver "pgx" (forgotten import?)
}

// Users is a site's own table of accounts. Links makes it an
// authagent.AgentLinker, which holds an agent to the account that it entered
// first.
type Users struct {
	*sqlstore.Links
	db *sql.DB
}

// UserByEmail stands for what docs/database.md has about accounts.
func (u *Users) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	return userByEmail(ctx, u.db, email)
}

func ExampleLinks() {
	db := openYours()
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.Postgres})
	if err != nil {
		log.Fatal(err)
	}
	var users authagent.UserStore = &Users{Links: store.Links(), db: db}
	_, links := users.(authagent.AgentLinker)
	fmt.Println(links)
	// Output: true
}

// The SQL, for a migration tool of the site's own.
func ExampleMigrations() {
	migrations, err := sqlstore.Migrations(sqlstore.Postgres, "shop_agent_")
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range strings.SplitAfter(migrations[0].SQL, "\n") {
		if strings.Contains(line, "CREATE TABLE") {
			fmt.Printf("%d %s: %s", migrations[0].Version, migrations[0].Name, line)
		}
	}
	// Output:
	// 1 stores: CREATE TABLE shop_agent_migrations (
	// 1 stores: CREATE TABLE shop_agent_profiles (
	// 1 stores: CREATE TABLE shop_agent_links (
	// 1 stores: CREATE TABLE shop_agent_states (
	// 1 stores: CREATE TABLE shop_agent_revocations (
	// 1 stores: CREATE TABLE shop_agent_tokens (
	// 1 stores: CREATE TABLE shop_agent_sessions (
	// 1 stores: CREATE TABLE shop_agent_events (
}

// A health check that says what to do.
func ExampleStore_Check() {
	store, err := sqlstore.New(openYours(), sqlstore.Config{Dialect: sqlstore.Postgres})
	if err != nil {
		log.Fatal(err)
	}
	switch err := store.Check(context.Background()); {
	case err == nil:
	case errors.Is(err, sqlstore.ErrNotMigrated):
		fmt.Println("run the migrations")
	case errors.Is(err, sqlstore.ErrNewerSchema):
		fmt.Println("deploy the new version here too")
	default:
		fmt.Println(err)
	}
	// Output: sqlstore: connect: no database in this example
}

// What somebody is shown who asks what an agent did in an account.
func ExampleStore_Events() {
	show := func(ctx context.Context, store *sqlstore.Store, userID string) error {
		query := sqlstore.EventQuery{UserID: userID, From: time.Now().AddDate(0, -1, 0), Limit: 50}
		for {
			events, next, err := store.Events(ctx, query)
			if err != nil {
				return err
			}
			for _, e := range events {
				fmt.Println(e.Time, e.Name, e.Agent.ID)
			}
			if next == "" {
				return nil
			}
			query.After = next
		}
	}
	_ = show
}

// A payout that is committed together with the record that it was made. A handler behind
// RequireApproval gets the reservation from action.ReservationFrom.
func ExampleGrants_Use() {
	db := openYours()
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.Postgres})
	if err != nil {
		log.Fatal(err)
	}
	payOut := func(ctx context.Context, account string, cents int64) error {
		reserved := action.ReservationFrom(ctx) // nil for people
		reserved.NothingDone()                  // counts until Use is called; from then on, the transaction decides
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // does nothing after Commit
		if err := store.Grants().Use(ctx, tx, reserved); err != nil {
			return err // authagent.ErrConflict: it was paid, or never can be
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO payouts (account, cents) VALUES ($1, $2)`, account, cents); err != nil {
			return err
		}
		return tx.Commit()
	}
	fmt.Println(payOut(context.Background(), "DE02120300000000202051", 1250))
	// Output: no database in this example
}

// Cleaning up, at each instance, for as long as the site runs.
func ExampleStore_DeleteExpired() {
	clean := func(ctx context.Context, store *sqlstore.Store) {
		for ticker := time.Tick(5 * time.Minute); ; {
			select {
			case <-ctx.Done():
				return
			case <-ticker:
				if n, err := store.DeleteExpired(ctx, 1000); err != nil {
					slog.Error("clean up", "deleted", n, "err", err)
				}
			}
		}
	}
	_ = clean
}

func userByEmail(context.Context, *sql.DB, string) (authagent.User, error) {
	return authagent.User{}, authagent.ErrNotFound
}

// openYours stands for the site's own database.
func openYours() *sql.DB { return sql.OpenDB(unreachable{errors.New("no database in this example")}) }
