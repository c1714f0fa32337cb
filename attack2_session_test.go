package authagent_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
)

// asPerson is a site's own handler: it goes by the site's cookie of a person.
func asPerson(w http.ResponseWriter, r *http.Request) {
	_, agent := authagent.FromContext(r.Context())
	human, _ := humanCookie(r)
	json.NewEncoder(w).Encode(map[string]any{"agent": agent, "acts_as": human})
}

// sessionCookie returns the session cookie of a browser.
func sessionCookieOf(t *testing.T, b *bench, c *http.Client) *http.Cookie {
	t.Helper()
	for _, cookie := range c.Jar.Cookies(mustParse(t, b.site.URL)) {
		if isSessionCookie(cookie.Name) {
			return cookie
		}
	}
	return nil
}

// The same after the site got another client ID (or issuer): the agent's cookie is
// that of no relying party any more, none of whose guards decide.
func TestAttack2FormerClientIsThePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Human = humanCookie })
		rp := k.instance("2", func(c *authagent.Config) { c.ClientID = "site-2" })
		k.instances["2"].Handle("/forbid2", rp.ForbidAgents(http.HandlerFunc(asPerson)))
		c := k.browser()
		k.mustSignIn(c, k.agent)
		k.signInPerson(c, "alice")
		if resp := k.do(c, http.MethodPost, "/forbid2", "X-Instance", "2"); resp.StatusCode == http.StatusOK {
			t.Errorf("ForbidAgents beside an agent's cookie: %d %s", resp.StatusCode, resp.body)
		}
	})
}

// A browser forgets the session's cookie at the moment when the session ends by its
// absolute limit, so that there the session never "has ended": without anybody
// signing out, the agent is the person.
func TestAttack2ExpiredAgentBecomesThePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Human = humanCookie })
		k.instances[""].Handle("/human2", k.rp.RequireHuman(http.HandlerFunc(asPerson)))
		c := k.browser()
		k.mustSignIn(c, k.agent)
		k.signInPerson(c, "alice")
		for _, after := range []time.Duration{time.Minute / 2, 2 * time.Hour, 10*time.Hour + time.Minute} {
			time.Sleep(after)
			resp := k.do(c, http.MethodPost, "/human2")
			t.Logf("after a further %v: %d %s", after, resp.StatusCode, resp.reason())
			if resp.StatusCode == http.StatusOK {
				t.Errorf("the agent, which never signed out, passes RequireHuman: %s", resp.body)
			}
		}
	})
}

// So it is with a session that its owner has ended.
func TestAttack2EndedAgentBecomesThePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Human = humanCookie })
		k.instances[""].Handle("/human2", k.rp.RequireHuman(http.HandlerFunc(asPerson)))
		c := k.browser()
		s := k.mustSignIn(c, k.agent)
		k.signInPerson(c, "alice")
		if err := k.rp.EndAgentSessions(t.Context(), s.Agent); err != nil {
			t.Fatal(err)
		}
		for hour := range 14 {
			if resp := k.do(c, http.MethodPost, "/human2"); resp.StatusCode == http.StatusOK {
				t.Fatalf("%d hours after its sessions were ended, the agent passes RequireHuman: %s", hour, resp.body)
			}
			time.Sleep(time.Hour)
		}
	})
}

// Two relying parties, each with its ForbidAgents in front, as the documentation asks for.
// Only one knows people. The session of the other's agent has ended: that one sees an
// ended session and knows no person, the one that knows the person does not look.
func TestAttack2ForbidAgentsOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t) // Config.Human is not set
		people := k.instance("2", func(c *authagent.Config) { c.ClientID, c.Human = "site-2", humanCookie })
		both := people.ForbidAgents(http.HandlerFunc(asPerson))
		k.instances[""].Handle("/both", k.rp.ForbidAgents(both))
		c := k.browser()
		s := k.mustSignIn(c, k.agent)
		k.signInPerson(c, "alice")
		if resp := k.do(c, http.MethodPost, "/both"); resp.StatusCode != http.StatusForbidden {
			t.Fatalf("before: %d", resp.StatusCode)
		}
		if err := k.rp.EndAgentSessions(t.Context(), s.Agent); err != nil {
			t.Fatal(err)
		}
		if resp := k.do(c, http.MethodPost, "/both"); resp.StatusCode == http.StatusOK {
			t.Errorf("ended, the agent passes both: %s", resp.body)
		}
	})
}

// A read-only session may not upgrade the connection, whatever route: "an upgraded
// connection could carry anything". CONNECT, by which HTTP/1.1 opens a tunnel (net/rpc
// does so at a path) and HTTP/2 upgrades (RFC 8441), passes where an action is allowed.
func TestAttack2ConnectIsAnUpgrade(t *testing.T) {
	b := newBench(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(b.users, linkAs(authagent.Link{UserID: b.aliceID, Access: authagent.AccessRead, Actions: []string{"orders:create"}}))
	})
	c := b.browser()
	b.mustSignIn(c, b.agent)
	cookie := sessionCookieOf(t, b, c)
	mux := http.NewServeMux()
	mux.Handle("/chat", b.rp.RequireAction("orders:create")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 Connected\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, "echo "+line)
	})))
	server := httptest.NewServer(mux)
	defer server.Close()
	for name, head := range map[string]string{
		"(control) upgrade": "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
		"CONNECT":           "CONNECT /chat HTTP/1.1\r\nHost: x\r\n",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, head+"Cookie: "+cookie.Name+"="+cookie.Value+"\r\n\r\nanything at all\n")
		answer := make([]byte, 4096)
		n, _ := io.ReadAtLeast(conn, answer, 45)
		if got := string(answer[:n]); strings.Contains(got, "echo anything at all") {
			t.Errorf("%s: a session that may read and create orders has a connection that carries anything", name)
		}
	}
}
