package enginetest_test

import (
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"testing"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/sqlstore"
)

var loopback = regexp.MustCompile(`(127\.0\.0\.1|localhost):\d+`)

// TestAway: no event is lost, and none stored twice, while the server cannot be
// reached for a while.
func TestAway(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		near, db := d.migrated(t)
		server := loopback.FindString(d.dsn)
		if server == "" { // SQLite, which is never away
			return
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		far, err := sql.Open(d.driver, loopback.ReplaceAllString(d.dsn, address))
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		s, err := sqlstore.New(far, sqlstore.Config{Prefix: d.prefix, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		const events = 5
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range events {
				s.Audit(t.Context(), audit.Event{Name: "x", Time: time.Now(), RequestID: fmt.Sprint(i)})
			}
		}()
		select {
		case <-done:
			t.Fatal("Audit did not wait")
		case <-time.After(500 * time.Millisecond):
		}
		forward(t, address, server)
		<-done
		stored, _, err := near.Events(t.Context(), sqlstore.EventQuery{})
		if err != nil || len(stored) != events || d.count(t, db, `SELECT COUNT(*) FROM authagent_events`) != events {
			t.Errorf("%d events of %d, %v", len(stored), events, err)
		}
	})
}

// forward has connections to address go on to server.
func forward(t *testing.T, address, server string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			go func() { defer in.Close(); io.Copy(in, out) }()
			go func() { defer out.Close(); io.Copy(out, in) }()
		}
	}()
}
