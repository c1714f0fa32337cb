package requirements_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

// guardPaths mounts every guard of docs/guards.md, and returns their paths with the status that an agent with full
// access gets for a GET.
func (d *doorBench) guardPaths() map[string]int {
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.Handled.Add()
		if human, person := authagent.HumanFromContext(r.Context()); person {
			w.Header().Set("X-Person", human)
		}
		if s, is := authagent.FromContext(r.Context()); is {
			w.Header().Set("X-Agent", s.Agent.ID)
		}
	})
	d.Mux("").Handle("/g/attach", d.RP.Attach(ok))
	d.Mux("").Handle("/g/agent", d.RP.RequireAgent(ok))
	d.Mux("").Handle("/g/access", d.RP.RequireAccess(authagent.AccessRead)(ok))
	d.Mux("").Handle("/g/action", d.RP.RequireAction("orders:create")(ok))
	d.Mux("").Handle("/g/approval", d.RP.RequireApproval("orders:pay", approverFunc(approveAll))(ok))
	d.Mux("").Handle("/g/human", d.RP.RequireHuman(ok))
	d.Mux("").Handle("/g/forbid", d.RP.ForbidAgents(ok))
	mux := http.NewServeMux()
	mux.Handle("/g/mux", d.RP.RequireHuman(ok))
	d.Mux("").Handle("/g/mux", d.RP.Attach(mux))
	return map[string]int{
		"/g/attach": 200, "/g/agent": 200, "/g/access": 200, "/g/action": 200, "/g/approval": 200, "/g/human": 403, "/g/forbid": 403, "/g/mux": 403,
	}
}

// TestNeverAPerson_API_7: at no guard is a request with an access token that of the person whose cookie it has, whether the
// token is good or not.
func TestNeverAPerson_API_7(t *testing.T) {
	d := newDoorCluster(t)
	good, bad := d.token(), d.AS.ForgedToken(d.agent, authagenttest.APIToken{Audience: []string{d.resource}}, "another audience")
	for path, status := range d.guardPaths() {
		if resp := d.Get(d.Bare(), path, "Cookie", "human="+d.AliceID); path != "/g/agent" && resp.StatusCode != http.StatusOK {
			t.Errorf("%s: a person: %d %s", path, resp.StatusCode, resp.Text)
		}
		resp := d.Get(d.Bare(), path, "Cookie", "human="+d.AliceID, "Authorization", "Bearer "+good)
		if resp.StatusCode != status || resp.Header.Get("X-Person") != "" || status == 200 && resp.Header.Get("X-Agent") != "agent_1" {
			t.Errorf("%s: a good token: %d %v %s, want %d", path, resp.StatusCode, resp.Header, resp.Text, status)
		}
		before := d.Handled.Count()
		for _, line := range []string{"Bearer " + bad, "Bearer opaque", "Bearer a.b.c"} {
			resp := d.Get(d.Bare(), path, "Cookie", "human="+d.AliceID, "Authorization", line)
			if resp.StatusCode != http.StatusUnauthorized || resp.Reason() != "invalid_token" {
				t.Errorf("%s: a bad token: %d %s", path, resp.StatusCode, resp.Text)
			}
		}
		if d.Handled.Count() != before {
			t.Errorf("%s: a bad token has passed", path)
		}
	}
	d.Mux("").Handle("/connect", d.RP.ConnectHandler())
	for token, want := range map[string]int{good: 403, bad: 401} {
		if resp := d.Do(d.Bare(), "POST", "/connect", "Cookie", "human="+d.AliceID, "Authorization", "Bearer "+token); resp.StatusCode != want {
			t.Errorf("connect: %d %s, want %d", resp.StatusCode, resp.Text, want)
		}
	}
}

// TestBothCredentials_API_8: beside the cookie of an agent's session, live, ended or another relying party's, no token is
// looked at.
func TestBothCredentials_API_8(t *testing.T) {
	d := newDoorCluster(t)
	browser := d.Browser()
	s := d.MustSignIn(browser, d.agent)
	cookie, token := d.Cookies(browser), d.token()
	check := func(what, cookie string) {
		t.Helper()
		for path := range map[string]bool{"/me": true, "/data": true, "/open": true, "/humans": true, "/auth/agent/logout": true} {
			resp := d.Get(d.Bare(), path, "Cookie", cookie, "Authorization", "Bearer "+token)
			if path == "/auth/agent/logout" {
				resp = d.Do(d.Bare(), "POST", path, "Cookie", cookie, "Authorization", "Bearer "+token)
			}
			if resp.StatusCode != 400 || resp.Reason() != "invalid_credentials" {
				t.Errorf("%s at %s: %d %s", what, path, resp.StatusCode, resp.Text)
			}
		}
	}
	check("live", cookie)
	d.RP.EndSession(t.Context(), s.ID)
	check("ended", cookie)
	name, value, _ := strings.Cut(cookie, "=")
	check("unreadable", name+"="+value[:len(value)/2])
	another := name[:len(name)-2] + "AA"
	if another == name {
		another = name[:len(name)-2] + "BA"
	}
	check("another relying party's", another+"=x")
	d.good("alone", token)
	if n := d.AS.Count(authagenttest.PathIntrospect); n != 0 {
		t.Errorf("introspected %d times", n)
	}

	own := &mapSessions{}
	d = newDoorCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Own = own })
	browser, token = d.Browser(), d.token()
	d.MustSignIn(browser, d.agent)
	d.good("alone, with the site's own sessions", token)
	resp := d.Get(d.Bare(), "/me", "Cookie", d.Cookies(browser), "Authorization", "Bearer "+token)
	if resp.StatusCode != 400 || resp.Reason() != "invalid_credentials" {
		t.Errorf("the site's own session: %d %s", resp.StatusCode, resp.Text)
	}
}

// TestOwnTokens_API_9: the site's own tokens are people's, as Human says, and a doubt about whose a token is refuses it.
func TestOwnTokens_API_9(t *testing.T) {
	human := func(r *http.Request) (string, error) {
		return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer own_"), nil
	}
	var own func(*http.Request) bool
	d := newDoorCluster(t, func(_ *bench, c *authagent.Config) {
		c.Human, c.API.Own = human, func(r *http.Request) bool { return own(r) }
	})
	own = func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Authorization"), "Bearer own_") }
	paths := d.guardPaths()
	for _, path := range []string{"/g/access", "/g/human", "/g/action", "/g/approval"} {
		if resp := d.Get(d.Bare(), path, "Authorization", "Bearer own_alice"); resp.StatusCode != 200 || resp.Header.Get("X-Person") != "alice" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
	if resp := d.Get(d.Bare(), "/g/agent", "Authorization", "Bearer own_alice"); resp.StatusCode != 403 || resp.Reason() != "agent_required" {
		t.Errorf("/g/agent: %d %s", resp.StatusCode, resp.Text)
	}
	r := httptest.NewRequest(http.MethodGet, d.URL+"/g/access", nil) // with two lines, nobody knows whose it is
	r.Header["Authorization"] = []string{"Bearer own_alice", "Bearer " + d.token()}
	w := httptest.NewRecorder()
	if d.Mux("").ServeHTTP(w, r); w.Code != 400 || w.Header().Get("X-Person") != "" {
		t.Errorf("an own token beside another: %d %s", w.Code, w.Body)
	}
	d.good("an agent's", d.token())
	d.refused("an agent's", "/g/human", d.token(), 403, "agent_forbidden", "")
	own = func(*http.Request) bool { panic("nil map") }
	for path := range paths {
		if resp := d.Get(d.Bare(), path, "Authorization", "Bearer own_alice"); resp.StatusCode != 500 || resp.Header.Get("X-Person") != "" {
			t.Errorf("%s: a panic: %d %s", path, resp.StatusCode, resp.Text)
		}
	}
	if asked := len(d.AS.Requests(authagenttest.PathIntrospect)); asked != 0 {
		t.Errorf("the site's own tokens were introspected %d times", asked)
	}
}

// TestClosed_API_10: where the API is closed, nothing is different, and the settings of one agree with each other.
func TestClosed_API_10(t *testing.T) {
	d := newDoorCluster(t, func(_ *bench, c *authagent.Config) { c.API.Resource = "" })
	d.Mux("").Handle("/.well-known/oauth-protected-resource/api", d.RP.ResourceMetadataHandler())
	resp := d.call("/me", d.token())
	if lines := resp.Header["Www-Authenticate"]; resp.StatusCode != 401 || resp.Reason() != "no_session" || len(lines) != 1 || strings.Contains(lines[0], "Bearer") {
		t.Errorf("%d %s %q", resp.StatusCode, resp.Text, lines)
	}
	if resp := d.Get(d.Bare(), "/data", "Authorization", "Bearer "+d.token(), "Cookie", "human="+d.AliceID); resp.StatusCode != 200 {
		t.Errorf("a person: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := d.Get(d.Bare(), "/.well-known/oauth-protected-resource/api"); resp.StatusCode != 404 {
		t.Errorf("metadata: %d %s", resp.StatusCode, resp.Text)
	}
}
