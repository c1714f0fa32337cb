package authagent_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// failingMarks is a RevocationStore that can be told to fail.
type failingMarks struct {
	authagent.RevocationStore
	fails atomic.Bool
}

func (f *failingMarks) Marks(ctx context.Context, keys []string) ([]string, error) {
	if f.fails.Load() {
		return nil, errors.New("the database is gone")
	}
	return f.RevocationStore.Marks(ctx, keys)
}

// A session is ended while its tokens are refreshed, and then the revocation store
// fails: the fresh token is given out, though nobody can say that the session holds.
func TestAttack2RefreshPassesOnAStoreError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		marks := &failingMarks{RevocationStore: &memstore.Revocations{}}
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.Revocations = marks })
		s := k.mustSignIn(k.browser(), k.agent)
		time.Sleep(time.Hour - 20*time.Second)
		k.as.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := k.rp.EndSession(context.Background(), s.ID); err != nil {
					t.Error(err)
				}
				marks.fails.Store(true)
				next.ServeHTTP(w, r)
			})
		})
		if token, err := k.rp.TokenSource(context.Background(), s).Token(); err == nil {
			t.Errorf("an ended session gets a fresh token (%d characters), as the store failed", len(token.AccessToken))
		} else {
			t.Log(err)
		}
	})
}
