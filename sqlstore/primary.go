package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"
)

// emptyPause is how long a pool whose connections were all read-only is not emptied
// again.
const emptyPause = time.Second

// onPrimary calls f with the pool. If the database answers that it is read-only, it
// closes the pool's connections one by one until f succeeds with one: after a failover,
// a pool still has connections to the server that was the primary, which only a write
// finds out. A statement that was refused as read-only has done nothing, so it can be
// sent again.
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

// demoted reports whether an error says that the connection takes no writes.
func (s *Store) demoted(err error) bool {
	return err != nil && s.engine.fault(err) == readOnly
}

// discard closes a connection instead of giving it back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	conn.Close()
}
