package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"
)

// emptyPause is how long a database that is read-only by every connection is not
// connected to anew for that reason.
const emptyPause = time.Second

// onPrimary calls f with the pool, and where that is told that the database is
// read-only, with its connections one by one. A pool keeps connections to a server
// that was the primary when they were made; after a failover they are good for
// nothing, and nothing but a use tells. What is refused as read-only has done
// nothing, so it can be sent again.
func (s *Store) onPrimary(ctx context.Context, f func(querier) error) error {
	refused := f(s.db)
	if !s.demoted(refused) {
		return refused
	}
	for range s.db.Stats().OpenConnections + 1 { // the last one is new
		if since := time.Now().UnixNano() - s.emptied.Load(); since >= 0 && since < int64(emptyPause) {
			return refused
		}
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return refused
		}
		err = f(conn)
		if !s.demoted(err) && !errors.Is(err, driver.ErrBadConn) {
			conn.Close()
			return err
		}
		discard(conn)
	}
	s.emptied.Store(time.Now().UnixNano())
	return refused
}

// demoted reports whether an error says that the connection is to a server, or in a
// state, that takes no writes.
func (s *Store) demoted(err error) bool {
	return err != nil && s.dialect.meaning(err) == ErrReadOnlyDatabase
}

// discard closes a connection instead of giving it back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	conn.Close()
}
