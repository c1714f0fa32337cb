package requirements_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// tardy is an endpoint that takes a second.
func tardy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second)
		next.ServeHTTP(w, r)
	})
}

// atOnce sends 50 requests with a token at once, and returns how often which status was answered.
func (d *doorBench) atOnce(token func(i int) string) map[int]int {
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := make(map[int]int)
	for i := range 50 {
		all.Go(func() {
			resp := d.call("/me", token(i))
			mu.Lock()
			defer mu.Unlock()
			answers[resp.StatusCode]++
			if resp.StatusCode >= 429 && resp.Header.Get("Retry-After") == "" && resp.StatusCode != 502 {
				d.T.Errorf("%d without Retry-After", resp.StatusCode)
			}
		})
	}
	all.Wait()
	return answers
}

func same(token string) func(int) string { return func(int) string { return token } }

// TestIntrospectedOnce_API_26: a token is introspected once in a period, however many requests wait, also while its owner
// has not let the agent in. What the server says then counts at every instance.
func TestIntrospectedOnce_API_26(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t)
		d.Instance("b")
		d.AS.Wrap(authagenttest.PathIntrospect, tardy)
		asked := func(what string, want int) {
			t.Helper()
			if n := d.AS.Count(authagenttest.PathIntrospect); n != want {
				t.Errorf("%s: introspected %d times, want %d", what, n, want)
			}
		}
		token := d.token(opaque)
		if got := d.atOnce(same(token)); got[200] != 50 {
			t.Errorf("at once: %v", got)
		}
		asked("at once", 1)
		time.Sleep(20 * time.Second)
		d.good("at another instance", token, "X-Instance", "b")
		asked("at another instance", 2)
		time.Sleep(8 * time.Second)
		d.good("within the period", token)
		asked("within the period", 2)
		time.Sleep(2 * time.Second)
		d.good("after the period", token)
		asked("after the period", 3)
		d.AS.RevokeToken(token)
		time.Sleep(29 * time.Second)
		d.good("revoked, and not yet known", token)
		d.good("revoked, and asked again", d.token(opaque), "X-Instance", "b")
		before := d.AS.Count(authagenttest.PathIntrospect)
		time.Sleep(time.Second)
		d.bad("revoked", token)
		asked("revoked", before+1)
		d.bad("revoked, at another instance", token) // which has asked a moment ago
		resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", "b")
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("revoked, at another instance: %d %s", resp.StatusCode, resp.Text)
		}
		time.Sleep(10 * time.Second)
		d.bad("revoked, later", token)
	})
	synctest.Test(t, func(t *testing.T) { // a revocation that one instance has found out counts at one that has just asked
		d := newDoorCluster(t)
		d.Instance("b")
		token := d.token(opaque)
		d.good("", token)
		time.Sleep(29 * time.Second)
		d.good("b", token, "X-Instance", "b")
		d.AS.RevokeToken(token)
		time.Sleep(2 * time.Second)
		d.bad("found out", token)
		if resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", "b"); resp.Reason() != "invalid_token" {
			t.Errorf("at an instance that has asked 2 seconds ago: %d %s", resp.StatusCode, resp.Text)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newOwnedDoor(t)
		token := d.token(opaque)
		for range 10 {
			d.refused("waiting", "/me", token, 403, problem.ApprovalNeeded, "")
		}
		d.letIn(token)
		d.good("let in", token)
		if n := d.AS.Count(authagenttest.PathIntrospect); n != 1 {
			t.Errorf("an agent that waits: introspected %d times", n)
		}
		time.Sleep(30 * time.Second)
		d.AS.RevokeToken(token)
		d.bad("revoked", token)
	})
}

// TestServerFails_API_27: while the server cannot be asked, no token passes that has to be asked about, none is refused for
// good, and those who wait do not ask one by one.
func TestServerFails_API_27(t *testing.T) {
	cut := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
	for what, test := range map[string]struct {
		answer func(http.Handler) http.Handler
		status int
		retry  bool
	}{
		"500":               {authagenttest.Reply(500, "application/json", "{}"), 502, true},
		"503":               {authagenttest.Reply(503, "text/html", "busy"), 502, true},
		"cut":               {cut, 502, true},
		"client refused":    {authagenttest.Reply(401, "application/json", `{"error":"invalid_client"}`), 502, true},
		"no JSON":           {authagenttest.Reply(200, "text/html", "<html>"), 502, false},
		"active is no bool": {authagenttest.Reply(200, "application/json", `{"active":"true"}`), 502, false},
		"refused":           {authagenttest.Reply(400, "application/json", `{"error":"invalid_request"}`), 502, false},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoorCluster(t)
				known, fresh := d.token(opaque), d.token(opaque)
				s := d.good("before", known)
				d.AS.Wrap(authagenttest.PathIntrospect, func(next http.Handler) http.Handler { return tardy(test.answer(next)) })
				before := d.AS.Count(authagenttest.PathIntrospect)
				if got := d.atOnce(same(fresh)); got[test.status] != 50 {
					t.Errorf("at once: %v, want %d", got, test.status)
				}
				if n := d.AS.Count(authagenttest.PathIntrospect) - before; n > 3 { // a request may be tried again
					t.Errorf("those who wait asked %d times", n)
				}
				resp := d.call("/me", fresh)
				if resp.StatusCode != test.status || (resp.Header.Get("Retry-After") != "") != test.retry || resp.Header.Get("WWW-Authenticate") != "" {
					t.Errorf("%d %v", resp.StatusCode, resp.Header)
				}
				d.good("known, within its period", known)
				time.Sleep(30 * time.Second)
				if resp := d.call("/me", known); resp.StatusCode != test.status {
					t.Errorf("known, after its period: %d %s", resp.StatusCode, resp.Text)
				}
				d.AS.Wrap(authagenttest.PathIntrospect, nil)
				time.Sleep(2 * time.Second)
				d.good("the server is back", fresh)
				if now := d.good("the session goes on", known); now.ID != s.ID {
					t.Errorf("another session: %+v, was %+v", now, s)
				}
			})
		})
	}
}

// TestRefusedForAWhile_API_24: a token that was refused is not asked about again at once, and is again after that.
func TestRefusedForAWhile_API_24(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t)
		for range 20 {
			d.bad("made up", "made-up")
		}
		if n := d.AS.Count(authagenttest.PathIntrospect); n != 1 {
			t.Errorf("introspected %d times", n)
		}
		time.Sleep(10 * time.Second)
		d.bad("made up", "made-up")
		if n := d.AS.Count(authagenttest.PathIntrospect); n != 2 {
			t.Errorf("after a while: introspected %d times in all", n)
		}
		d.good("another", d.token(opaque))
	})
	synctest.Test(t, func(t *testing.T) { // and floods do not become floods elsewhere
		d := newDoorCluster(t)
		d.good("a good one", d.token())
		fetched := d.AS.Count(authagenttest.PathJWKS)
		for range 100 {
			d.bad("a key that is not known", d.AS.ForgedToken(d.agent, authagenttest.APIToken{Audience: []string{d.resource}}, "key of another server"))
		}
		if n := d.AS.Count(authagenttest.PathJWKS) - fetched; n > 1 {
			t.Errorf("keys were fetched %d times", n)
		}
		if n := d.AS.Count(authagenttest.PathIntrospect); n != 0 {
			t.Errorf("introspected %d times", n)
		}
		if lines := strings.Count(d.Log.String(), "permission_denied"); lines > 10 {
			t.Errorf("the log has %d lines", lines)
		}
		d.RP.Shutdown(t.Context())
		if n := len(d.Events.Named(audit.PermissionDenied)); n > 10 {
			t.Errorf("%d events", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // nor in the log while the server is down
		d := newDoorCluster(t)
		d.AS.Wrap(authagenttest.PathIntrospect, authagenttest.Reply(500, "text/plain", ""))
		d.atOnce(func(i int) string { return fmt.Sprint("made-up-", i) })
		if lines := strings.Count(d.Log.String(), "permission_denied"); lines == 0 || lines > 10 {
			t.Errorf("the log has %d lines", lines)
		}
	})
}

// TestUnderWay_API_25: introspections under way are bounded for each client address.
func TestUnderWay_API_25(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t, func(_ *bench, c *authagent.Config) {
			c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Client") }
		})
		d.AS.Wrap(authagenttest.PathIntrospect, tardy)
		var all sync.WaitGroup
		var mu sync.Mutex
		answers := make(map[string]int)
		send := func(from, token string) {
			all.Go(func() {
				resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Client", from)
				mu.Lock()
				defer mu.Unlock()
				answers[fmt.Sprint(from, " ", resp.StatusCode)]++
				if resp.StatusCode == 429 && (resp.Header.Get("Retry-After") == "" || resp.Reason() != problem.Limited) {
					t.Errorf("429: %v %s", resp.Header, resp.Text)
				}
			})
		}
		for i := range 20 {
			send("8.8.8.8", fmt.Sprint("made-up-", i))
		}
		for i := range 5 {
			send("9.9.9.9", fmt.Sprint("made-up-too-", i))
		}
		all.Wait()
		if answers["8.8.8.8 401"] != 8 || answers["8.8.8.8 429"] != 12 || answers["9.9.9.9 401"] != 5 {
			t.Errorf("answers %v", answers)
		}
		d.bad("it is not refused for that", "made-up-19")
		d.good("a good one", d.token(opaque))
	})
}

// TestRemembered_API_28: what is remembered of a token serves no other, and only as long as the server stands by it.
func TestRemembered_API_28(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t)
		bobs := d.users.Add("bob@example.com", "Bob")
		d.users.AddSubject(d.AS.URL, "user_b", bobs)
		other := d.AS.AddAgent(authagenttest.Agent{ID: "agent_2", UserID: "user_b"})
		for _, form := range []string{"JWT", "opaque"} {
			like := authagenttest.APIToken{Audience: []string{d.resource}, Form: form}
			one, two := d.AS.AccessToken(d.agent, like), d.AS.AccessToken(other, like)
			for range 2 {
				if a, b := d.good(form, one), d.good(form, two); a.UserID != d.AliceID || b.UserID != bobs || a.ID == b.ID {
					t.Errorf("%s: sessions %+v and %+v", form, a, b)
				}
			}
			for _, near := range []string{one[:len(one)-1], one + "A", one + "=", strings.ToUpper(one), one[:len(one)/2] + two[len(two)/2:]} {
				if resp := d.call("/me", near); resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s: like one that is good: %d %s", form, resp.StatusCode, resp.Text)
				}
			}
			d.good(form+", after others were refused", one)
		}
	})
	for what, test := range map[string]struct {
		claim       string
		first, then any
	}{
		"another agent": {"act", map[string]any{"sub": "agent_1"}, map[string]any{"sub": "agent_2"}},
		"another user":  {"sub", "user_a", "user_b"},
		"another jti":   {"jti", "one", "two"},
		"another aud":   {"aud", "https://shop.example/api", "https://other.example/api"},
		"bound now":     {"cnf", nil, map[string]any{"jkt": "x"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDoorCluster(t)
			token := d.token(opaque)
			d.AS.Wrap(authagenttest.PathIntrospect, rewrite(map[string]any{test.claim: test.first}))
			d.good(what, token)
			d.AS.Wrap(authagenttest.PathIntrospect, rewrite(map[string]any{test.claim: test.then}))
			d.good(what+", within the period", token)
			time.Sleep(30 * time.Second)
			d.bad(what, token)
			d.AS.Wrap(authagenttest.PathIntrospect, rewrite(map[string]any{test.claim: test.first}))
			time.Sleep(10 * time.Second)
			d.bad(what+", and back", token)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t, permitted)
		token := d.token(opaque, func(t *authagenttest.APIToken) { t.Scopes = []string{"shop:all"} })
		if s := d.good("all", token); s.Access != authagent.AccessFull {
			t.Errorf("session %+v", s)
		}
		d.AS.Wrap(authagenttest.PathIntrospect, rewrite(map[string]any{"scope": "shop:read"}))
		time.Sleep(30 * time.Second)
		if s := d.good("less", token); s.Access != authagent.AccessRead {
			t.Errorf("with fewer scopes: %+v", s)
		}
	})
}

// TestKeyRotation_API_28: a token is good under a key that is new, and not for long under one that is withdrawn.
func TestKeyRotation_API_28(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t)
		old := d.token()
		s := d.good("the first key", old)
		d.AS.RotateKeys()
		time.Sleep(10 * time.Second)
		d.good("the second key", d.token())
		d.good("the first key is published yet", old)
		d.AS.RotateKeys()
		time.Sleep(10 * time.Second)
		d.good("the third key", d.token())
		time.Sleep(5 * time.Minute)
		d.bad("the first key is withdrawn", old)
		if resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+old, "X-Instance", ""); resp.StatusCode != 401 {
			t.Errorf("session %s: %d", s.ID, resp.StatusCode)
		}
	})
}
