package enginetest_test

import (
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/sessions"
)

// TestDeleteExpired: what has expired goes, in batches, however many clean up at
// once, and nothing else does.
func TestDeleteExpired(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		ctx, now := t.Context(), time.Now()
		const expired, live = 50, 10
		for i := range expired + live {
			until := now.Add(-time.Duration(i+1) * time.Second)
			if i >= expired {
				until = now.Add(time.Hour)
			}
			name := fmt.Sprint("n", i)
			if _, err := s.States().UseState(ctx, name, until); err != nil {
				t.Fatal(err)
			}
			if err := s.Revocations().Revoke(ctx, name, name, until); err != nil {
				t.Fatal(err)
			}
			if err := s.Tokens().SaveTokens(ctx, name, nil, []byte(name), until); err != nil {
				t.Fatal(err)
			}
			gs := sessions.NewSession(s.Sessions(), "x")
			gs.Options = &sessions.Options{MaxAge: 3600}
			if err := s.Sessions().Save(httptest.NewRequest("GET", "/", nil), httptest.NewRecorder(), gs); err != nil {
				t.Fatal(err)
			}
		}
		// Sessions count from now, so that they cannot be saved as expired.
		const first = `SELECT session_key FROM (SELECT session_key FROM authagent_sessions LIMIT 50) x` // MySQL takes no LIMIT in IN
		d.must(t, db, `UPDATE authagent_sessions SET expires_at = 1 WHERE session_key IN (`+first+`)`)

		var deleted atomic.Int64
		var group sync.WaitGroup
		for range 4 { // instances
			instance := d.open(t, d.connect(t))
			group.Go(func() {
				n, err := instance.DeleteExpired(ctx, 7)
				if err != nil {
					t.Error(err)
				}
				deleted.Add(n)
			})
		}
		group.Wait()
		n, err := s.DeleteExpired(ctx, 0)
		if total := deleted.Add(n); total != 4*expired || err != nil {
			t.Errorf("%d rows deleted, want %d; %v", total, 4*expired, err)
		}
		for _, table := range []string{"states", "revocations", "tokens", "sessions"} {
			if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_`+table); n != live {
				t.Errorf("%d rows of %s are left, want %d", n, table, live)
			}
		}
		if _, err := s.DeleteExpired(ctx, -1); err == nil {
			t.Error("a batch of -1 is accepted")
		}
	})
}

// TestExpiredSession: SES-5. A session that has expired is none, whether or not
// its row has been deleted.
func TestExpiredSession(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		b := newSite(t, s)
		cookies := b.signIn(t, b.Browser())
		d.must(t, db, fmt.Sprint(`UPDATE authagent_sessions SET expires_at = `, time.Now().UnixNano()))
		if resp := b.get(t, "/me", cookies); resp.StatusCode != 401 {
			t.Errorf("SES-5: %d %s", resp.StatusCode, resp.Text)
		}
	})
}
