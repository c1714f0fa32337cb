package authagent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

// While a new first key is rolled out, an instance that does not have it yet takes
// tokens that another has refreshed for altered ones, and ends the session for good
// at all instances. The server is not asked to revoke the tokens.
func TestAttack2KeyRolloutEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.SessionIdle, c.SessionLifetime = 8*time.Hour, 8*time.Hour })
		anew := k.instance("2", func(c *authagent.Config) { c.SessionKeys = [][]byte{newKey(), c.SessionKeys[0]} })
		c := k.browser()
		s := k.mustSignIn(c, k.agent)
		time.Sleep(59*time.Minute + 30*time.Second)
		if _, err := anew.TokenSource(context.Background(), s).Token(); err != nil || k.refreshes() != 1 {
			t.Fatalf("%v, %d refreshes", err, k.refreshes())
		}
		_, err := k.rp.TokenSource(context.Background(), s).Token()
		t.Logf("at the instance without the new key: %v", err)
		if k.me(c) == nil {
			t.Error("the session has ended")
		}
		if _, err := anew.TokenSource(context.Background(), s).Token(); err != nil {
			t.Errorf("at the instance with the new key: %v", err)
		}
		if n := len(k.as.Requests(authagenttest.PathRevoke)); n == 0 {
			t.Error("and its tokens live on at the server, which was not asked to revoke them")
		}
	})
}
