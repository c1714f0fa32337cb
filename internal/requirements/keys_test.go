package requirements_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A rotation is a site of two instances whose session keys are replaced while agents
// sign in and act.
type rotation struct {
	*bench
	earlier *http.Client // an agent that signed in before anything was changed
}

func newRotation(t *testing.T, old []byte) *rotation {
	t.Helper()
	r := &rotation{bench: newCluster(t, func(b *bench, c *authagent.Config) {
		b.AS.Quirks.SameSecondTokens = false
		c.SessionKeys = [][]byte{old}
		c.Revocations, c.States = &memstore.Revocations{}, &memstore.States{}
	})}
	r.deploy("1", old)
	r.deploy("2", old)
	r.earlier, _ = r.across("1", "1")
	return r
}

// deploy starts an instance with these keys in the place of the one before.
func (r *rotation) deploy(instance string, keys ...[]byte) {
	r.Instance(instance, func(c *authagent.Config) { c.SessionKeys = keys })
}

// across begins a login at one instance and finishes it at another.
func (r *rotation) across(begun, finished string) (*http.Client, *response) {
	r.T.Helper()
	c := r.Browser()
	login := r.Get(c, "/auth/agent/login", "X-Instance", begun)
	return c, r.Get(c, r.Authorize(r.Agent, login.Header.Get("Location")), "X-Instance", finished)
}

// wantAll: a login begun at either instance finishes at the other, and each session,
// those from before too, counts at both.
func (r *rotation) wantAll(when string) {
	r.T.Helper()
	sessions := map[string]*http.Client{"from before": r.earlier}
	for _, way := range [][2]string{{"1", "2"}, {"2", "1"}} {
		c, resp := r.across(way[0], way[1])
		if resp.StatusCode != http.StatusSeeOther {
			r.T.Errorf("CFG-12 %s: a login from instance %s to %s: %d %s", when, way[0], way[1], resp.StatusCode, resp.Reason())
		}
		sessions["of instance "+way[1]] = c
	}
	for whose, c := range sessions {
		cookies := r.Cookies(c) // a copy, so that no instance gives the browser a fresh one for the other
		for _, instance := range []string{"1", "2"} {
			if got := r.Get(r.Bare(), "/me", "X-Instance", instance, "Cookie", cookies).StatusCode; got != http.StatusOK {
				r.T.Errorf("CFG-12 %s: a session %s gets %d at instance %s", when, whose, got, instance)
			}
		}
	}
}

// TestKeyRotation_CFG_12: three steps, each at every instance before the next, and
// nothing fails at any moment.
func TestKeyRotation_CFG_12(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, young := testsite.NewKey(), testsite.NewKey()
		r := newRotation(t, old)
		for _, step := range []struct {
			name string
			keys [][]byte
			wait time.Duration // before the step
		}{
			{"1, the new key last", [][]byte{old, young}, time.Minute},
			{"2, the new key first", [][]byte{young, old}, time.Minute},
			{"3, the old key away", [][]byte{young}, 12 * time.Hour}, // Session.Lifetime
		} {
			time.Sleep(step.wait)
			if step.wait > time.Hour { // no session is as old as the old key by now
				r.earlier, _ = r.across("2", "1")
			}
			r.deploy("1", step.keys...)
			r.wantAll("step " + step.name + ", at one instance")
			r.deploy("2", step.keys...)
			r.wantAll("step " + step.name + ", at both")
		}
	})
}

// TestKeyRotationGuessed_CFG_12 is why there are three: what people would guess breaks
// sign-ins and sessions.
func TestKeyRotationGuessed_CFG_12(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, young := testsite.NewKey(), testsite.NewKey()

		r := newRotation(t, old)
		r.deploy("1", young, old) // first at once; instance 2 has yet to hear of it
		if _, resp := r.across("1", "2"); resp.StatusCode != http.StatusBadRequest || resp.Reason() != problem.Reason("state_mismatch") {
			t.Errorf("CFG-12 without step 1, a login from the new instance to the old: %d %s", resp.StatusCode, resp.Reason())
		}
		c, resp := r.across("2", "1")
		if resp.StatusCode != http.StatusSeeOther {
			t.Errorf("CFG-12 without step 1, the other way: %d %s", resp.StatusCode, resp.Reason())
		}
		if got := r.Get(c, "/me", "X-Instance", "2").StatusCode; got != http.StatusUnauthorized {
			t.Errorf("CFG-12 without step 1, a session of the new instance at the old: %d", got)
		}

		r = newRotation(t, old)
		r.deploy("1", young) // the old key away before instance 2 has the new one first
		r.deploy("2", old, young)
		if _, resp := r.across("2", "1"); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("CFG-12 without step 2, a login from the old instance to the new: %d", resp.StatusCode)
		}

		r = newRotation(t, old)
		r.deploy("1", young) // step 3 at once, where sessions that were begun before go on
		if got := r.Get(r.earlier, "/me", "X-Instance", "1").StatusCode; got != http.StatusUnauthorized {
			t.Errorf("CFG-12 without the wait, a session from before: %d", got)
		}
	})
}
