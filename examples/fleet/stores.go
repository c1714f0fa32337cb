package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"log/slog"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/go-redis/v9"

	"github.com/authagent-go/authagent"
	redisstore "github.com/authagent-go/authagent/examples/redis"
	"github.com/authagent-go/authagent/sqlstore"
)

// stores are what the instances share.
type stores struct {
	db       *sql.DB
	sql      *sqlstore.Store
	redis    redis.UniversalClient // nil for none
	replicas int                   // that have a write to Redis before it counts as done
}

// redisSettings say where Redis is, if there is one.
type redisSettings struct {
	addresses string // with commas between; empty for none
	primary   string // the Sentinels' name for it; empty for a single Redis
	replicas  int
}

// openStores connects, and brings the schema up to date. Any number of instances
// may start at once.
func openStores(ctx context.Context, database string, r redisSettings) (*stores, error) {
	db, err := sql.Open("pgx", database)
	if err != nil {
		return nil, err
	}
	// All instances together stay below the server's max_connections.
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	db.SetConnMaxLifetime(30 * time.Minute)
	s := &stores{db: db, replicas: r.replicas}
	if r.addresses != "" {
		// By Sentinels it finds the primary, and after a failover the next one.
		s.redis = redis.NewUniversalClient(&redis.UniversalOptions{
			Addrs: strings.Split(r.addresses, ","), MasterName: r.primary, DialTimeout: 2 * time.Second,
		})
	}
	s.sql, err = sqlstore.New(db, sqlstore.Config{})
	if err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stores) close() {
	s.db.Close()
	if s.redis != nil {
		s.redis.Close()
	}
}

// patience is how long a starting instance waits for a database that is starting
// as well.
const patience = time.Minute

func (s *stores) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := s.sql.Migrate(ctx)
		if err == nil {
			err = s.migrateShop(ctx)
		}
		if err == nil || errors.Is(err, sqlstore.ErrNewerSchema) || errors.Is(err, sqlstore.ErrReadOnlyDatabase) {
			return err
		}
		slog.Warn("the database is not ready", "err", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

//go:embed schema.sql
var schema string

// migrateShop makes the site's own tables. CREATE TABLE IF NOT EXISTS alone is
// no good to several at once; the lock, which ends with the transaction, lets one
// work.
func (s *stores) migrateShop(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(7306084)`); err != nil { // a number of this site's own
		return err
	}
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	return tx.Commit()
}

// share has the relying party keep in the shared stores all that it keeps.
func (s *stores) share(c *authagent.Config) {
	c.Session.Store, c.States, c.Revocations = s.sql.Sessions(), s.sql.States(), s.sql.Revocations()
	c.Tokens.Store, c.Limits.Store = s.sql.Tokens(), s.sql.Limits()
	if s.redis == nil {
		return
	}
	c.Session.Store = &redisstore.Sessions{Client: s.redis, Replicas: s.replicas}
	c.States = &redisstore.States{Client: s.redis, Replicas: s.replicas}
	c.Revocations = &redisstore.Revocations{Client: s.redis, Replicas: s.replicas}
	c.Tokens.Store = &redisstore.Tokens{Client: s.redis, Replicas: s.replicas}
	c.Limits.Store = &redisstore.Limits{Client: s.redis}
}

// check says why this instance cannot serve, if so.
func (s *stores) check(ctx context.Context) error {
	if err := s.sql.Check(ctx); err != nil || s.redis == nil {
		return err
	}
	return s.redis.Ping(ctx).Err()
}

// cleanUp removes what has expired. Every instance does it; they do not get in
// each other's way.
func (s *stores) cleanUp(ctx context.Context) {
	for ticker := time.Tick(5 * time.Minute); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker:
		}
		if n, err := s.sql.DeleteExpired(ctx, 1000); err != nil {
			slog.Error("clean up", "deleted", n, "err", err)
		}
		if _, err := s.db.ExecContext(ctx, `DELETE FROM fleet_people WHERE expires_at < now()`); err != nil {
			slog.Error("clean up", "err", err)
		}
	}
}
