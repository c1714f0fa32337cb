package authagent_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

// TestSameSecond: the published server gives the sign-ins of one agent within
// one second the same token and then refuses it. All of them succeed here, each
// with one refresh at most.
func TestSameSecond(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		for _, introspect := range []bool{false, true} {
			t.Run(fmt.Sprint(n, introspect), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBubble(t, func(_ *bench, c *authagent.Config) { c.Introspect = introspect })
					b.together(n, b.visitor)
					if took := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); took > time.Duration(n)*2*time.Second {
						t.Errorf("took %v", took)
					}
				})
			})
		}
	}
	t.Run("sockets", func(t *testing.T) {
		b := newBench(t)
		b.together(2, b.browser)
	})
}

// TestSameSecondCrowd: where an agent signs in so often within a second that not
// all of it can be sorted out soon, those left over are told to come back (REL-4).
func TestSameSecondCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t)
		const n = 100
		var clients [n]*http.Client
		var callbacks [n]string
		for i := range n {
			clients[i] = b.visitor()
			callbacks[i] = b.authorize(b.agent, b.begin(clients[i], ""))
		}
		var all sync.WaitGroup
		var in atomic.Int32
		for i := range n {
			all.Go(func() {
				start := time.Now()
				resp := b.get(clients[i], callbacks[i])
				if took := time.Since(start); took > 12*time.Second {
					t.Errorf("sign-in %d: status %d after %v", i, resp.StatusCode, took)
				}
				switch {
				case resp.StatusCode == http.StatusSeeOther:
					in.Add(1)
				case resp.reason() != authagent.ErrOverloaded || resp.Header.Get("Retry-After") == "":
					t.Errorf("sign-in %d: status %d %s", i, resp.StatusCode, resp.body)
				}
			})
		}
		all.Wait()
		if in.Load() < 5 {
			t.Errorf("%d sign-ins succeeded", in.Load())
		}
		time.Sleep(2 * time.Second)
		b.mustSignIn(b.visitor(), b.agent)
	})
}

// together has the agent sign in n times at once, and checks that all of it
// succeeds with what is allowed for.
func (b *bench) together(n int, browser func() *http.Client) {
	b.t.Helper()
	clients, callbacks := make([]*http.Client, n), make([]string, n)
	for i := range n {
		clients[i] = browser()
		callbacks[i] = b.authorize(b.agent, b.begin(clients[i], ""))
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if resp := b.get(clients[i], callbacks[i]); resp.StatusCode != http.StatusSeeOther {
				b.t.Errorf("sign-in %d: status %d %s", i, resp.StatusCode, resp.body)
			}
		})
	}
	all.Wait()
	for i, c := range clients {
		if s := b.me(c); s == nil || s.Agent.ID != b.agent.ID {
			b.t.Errorf("sign-in %d: session %+v", i, s)
		}
	}
	if got := b.grants("refresh_token"); got > n {
		b.t.Errorf("%d refreshes for %d sign-ins", got, n)
	}
	if got := b.as.Count(authagenttest.PathUserInfo); got > 2*n {
		b.t.Errorf("%d userinfo requests for %d sign-ins", got, n)
	}
	if n == 1 && b.grants("refresh_token") != 0 {
		b.t.Error("a single sign-in was refreshed")
	}
}

// TestOutage: when the server's database is down, its answers look like bad
// credentials. The agent is told to try again, and succeeds when it does.
func TestOutage(t *testing.T) {
	for _, outage := range []authagenttest.Outage{authagenttest.OutageAll, authagenttest.OutageInserts, authagenttest.OutageUpdates} {
		for _, introspect := range []bool{false, true} {
			t.Run(fmt.Sprint("token ", outage, introspect), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBubble(t, func(_ *bench, c *authagent.Config) { c.Introspect = introspect })
					b.recovers(b.visitor(), func() { b.as.Outage(outage) })
				})
			})
		}
	}
	for _, path := range []string{authagenttest.PathUserInfo, authagenttest.PathIntrospect} {
		t.Run("after the token "+path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, func(_ *bench, c *authagent.Config) { c.Introspect = path == authagenttest.PathIntrospect })
				b.recovers(b.visitor(), func() {
					b.as.Wrap(path, func(next http.Handler) http.Handler {
						b.as.Outage(authagenttest.OutageAll)
						return next
					})
				})
			})
		})
	}
}

// recovers signs in while the server is broken, and again when it is not. A
// session from before lives on.
func (b *bench) recovers(c *http.Client, broken func()) {
	b.t.Helper()
	before := b.visitor()
	b.mustSignIn(before, b.agent)
	time.Sleep(2 * time.Second)
	callback := b.authorize(b.agent, b.begin(c, ""))
	broken()
	resp := b.get(c, callback)
	if resp.StatusCode < 400 || resp.Header.Get("Retry-After") == "" || b.me(c) != nil {
		b.t.Errorf("status %d %s, header %v", resp.StatusCode, resp.body, resp.Header)
	}
	b.as.Outage(authagenttest.OutageNone)
	b.as.Wrap(authagenttest.PathUserInfo, nil)
	b.as.Wrap(authagenttest.PathIntrospect, nil)
	if b.me(before) == nil {
		b.t.Error("the outage ended a session")
	}
	time.Sleep(2 * time.Second)
	b.mustSignIn(c, b.agent)
}
