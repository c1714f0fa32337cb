package requirements_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

const linkPath = "/auth/agent/link"

// A linkBench is a site with an API, people, and addresses for browsers.
type linkBench struct{ *doorBench }

func newLinkBench(t testing.TB, change ...func(*bench, *authagent.Config)) *linkBench {
	t.Helper()
	return &linkBench{newDoorBench(t, append([]func(*bench, *authagent.Config){linked}, change...)...)}
}

func linked(_ *bench, c *authagent.Config) { c.Paths.Link = linkPath }

// ask asks for an address with a token.
func (l *linkBench) ask(token, body string, header ...string) *response {
	l.T.Helper()
	return l.Send(l.Bare(), http.MethodPost, linkPath, body,
		replaced([]string{"Authorization", "Bearer " + token, "Content-Type", "application/json"}, header)...)
}

// address returns an address, as a path.
func (l *linkBench) address(token string) string {
	l.T.Helper()
	resp := l.ask(token, `{"path":"/me?x=1","description":"See what I am"}`)
	var given struct {
		URL       string
		ExpiresIn int `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(resp.Text), &given); err != nil || resp.StatusCode != http.StatusOK || given.ExpiresIn != 60 {
		l.T.Fatalf("status %d, %s\n%s", resp.StatusCode, resp.Text, l.Log)
	}
	path, ok := strings.CutPrefix(given.URL, l.URL)
	if !ok || !strings.HasPrefix(path, linkPath+"?ticket=") {
		l.T.Fatalf("the address is %s", given.URL)
	}
	return path
}

// ticket returns what is sealed in an address.
func ticket(address string) string {
	_, query, _ := strings.Cut(address, "?")
	values, _ := url.ParseQuery(query)
	return values.Get("ticket")
}

// press sends what the page's button sends.
func (l *linkBench) press(c *http.Client, address string, header ...string) *response {
	l.T.Helper()
	form := url.Values{"ticket": {ticket(address)}}.Encode()
	return l.Send(c, http.MethodPost, linkPath, form, replaced([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin", "Accept", "text/html",
	}, header)...)
}

// replaced returns names and values of a header, with others in the place of those of the same names.
func replaced(header, others []string) []string {
	for i := 0; i+1 < len(header); i += 2 {
		if j := slices.Index(others, header[i]); j >= 0 && j%2 == 0 {
			header[i+1] = others[j+1]
			others = slices.Delete(slices.Clone(others), j, j+2)
		}
	}
	return append(header, others...)
}

// mustContinue presses the button and returns the session that has begun.
func (l *linkBench) mustContinue(c *http.Client, address string) *authagent.Session {
	l.T.Helper()
	if resp := l.press(c, address); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/me?x=1" {
		l.T.Fatalf("status %d, Location %q, %s\n%s", resp.StatusCode, resp.Header.Get("Location"), resp.Text, l.Log)
	}
	s := l.Me(c)
	if s == nil {
		l.T.Fatalf("no session\n%s", l.Log)
	}
	return s
}

// refusedAt checks how the page and the button of an address are refused in a browser.
func (l *linkBench) refusedAt(what string, c *http.Client, address string, status int, reason problem.Reason) {
	l.T.Helper()
	had := l.Cookies(c)
	for name, resp := range map[string]*response{
		"page": l.Get(c, address, "Accept", "text/html"), "button": l.press(c, address), "button of a program": l.press(c, address, "Accept", "application/json"),
	} {
		if resp.StatusCode != status || !strings.Contains(resp.Text, string(reason)) || len(resp.Cookies()) > 0 {
			l.T.Errorf("%s, %s: status %d, want %s, cookies %v, %s", what, name, resp.StatusCode, reason, resp.Cookies(), resp.Text)
		}
	}
	if l.Cookies(c) != had {
		l.T.Errorf("%s: a refusal has changed the cookies", what)
	}
}

// TestAddress_LINK_1: who gets an address, and who does not.
func TestAddress_LINK_1(t *testing.T) {
	l := newLinkBench(t)
	l.address(l.token())
	l.address(l.token(opaque))
	if resp := l.ask(l.token(), url.Values{"path": {"/me"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded"); resp.StatusCode != http.StatusOK {
		t.Errorf("a form: %s", resp.Text)
	}
	agent, person := l.Browser(), l.Browser()
	l.MustSignIn(agent, l.agent)
	l.SignInPerson(person, l.AliceID)
	for what, test := range map[string]struct {
		c      *http.Client
		header []string
		status int
		reason problem.Reason
	}{
		"a cookie":           {agent, nil, 400, "invalid_credentials"},
		"a cookie and token": {agent, []string{"Authorization", "Bearer " + l.token()}, 400, "invalid_credentials"},
		"a person":           {person, nil, 403, "agent_required"},
		"a stranger":         {l.Browser(), nil, 401, problem.NoSession},
		"a bad token":        {l.Browser(), []string{"Authorization", "Bearer made-up"}, 401, "invalid_token"},
		"another site":       {l.Browser(), []string{"Origin", "https://evil.example"}, 403, "cross_origin"},
	} {
		resp := l.Send(test.c, http.MethodPost, linkPath, `{"path":"/me"}`, append([]string{"Content-Type", "application/json"}, test.header...)...)
		if resp.StatusCode != test.status || resp.Reason() != test.reason {
			t.Errorf("%s: status %d, %s", what, resp.StatusCode, resp.Text)
		}
	}
	closed := newBench(t)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if resp := closed.Send(closed.Browser(), method, linkPath, ""); resp.StatusCode != http.StatusNotFound || resp.Reason() != problem.NotFound {
			t.Errorf("the API is closed: %d %s", resp.StatusCode, resp.Text)
		}
	}
	if resp := l.Send(l.Browser(), http.MethodPut, linkPath, ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("PUT: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

// TestWish_LINK_2: what an agent may say of the address that it asks for.
func TestWish_LINK_2(t *testing.T) {
	l := newLinkBench(t)
	for body, field := range map[string]string{
		`{"path":"https://evil.example/"}`:       "path",
		`{"path":"//evil.example/"}`:             "path",
		`{"path":"/a/../b"}`:                     "path",
		`{"path":""}`:                            "path",
		`{}`:                                     "path",
		`{"path":7}`:                             "path",
		`{"path":"/auth/agent/logout"}`:          "path",
		`{"path":"/auth/agent/login"}`:           "path",
		`{"path":"` + linkPath + `?ticket=abc"}`: "path",
		`{"path":"/me","path":"/full"}`:          "",
		`{"path":"/me","description":["x"]}`:     "description",
		`{"path":"/me","description":"` + strings.Repeat("\u00e9", 201) + `"}`: "description",
		`nonsense`: "",
		`{"path":"/me","x":"` + strings.Repeat("x", 20000) + `"}`: "",
	} {
		resp := l.ask(l.token(), body)
		var said struct{ Field string }
		json.Unmarshal([]byte(resp.Text), &said)
		if resp.StatusCode != http.StatusBadRequest || resp.Reason() != problem.InvalidRequest || said.Field != field {
			t.Errorf("%.60s: status %d, %s", body, resp.StatusCode, resp.Text)
		}
	}
	for body, contentType := range map[string]string{
		"path=/me&path=/full": "application/x-www-form-urlencoded", "path=%zz": "application/x-www-form-urlencoded", `{"path":"/me"}`: "text/plain",
	} {
		if resp := l.ask(l.token(), body, "Content-Type", contentType); resp.Reason() != problem.InvalidRequest {
			t.Errorf("%s: %s", body, resp.Text)
		}
	}
	resp := l.ask(l.token(), `{"path":"/me","description":" Pay\n\u202ethe <b>bill</b>\u0000 "}`)
	var given struct{ URL string }
	json.Unmarshal([]byte(resp.Text), &given)
	page := l.Get(l.Browser(), given.URL, "Accept", "text/html").Text
	if !strings.Contains(page, "<q><bdi>Pay the &lt;b&gt;bill&lt;/b&gt;</bdi></q>") {
		t.Errorf("page: %s", page)
	}
}

// TestPage_LINK_3: what the page says, and that looking at it uses nothing up.
func TestPage_LINK_3(t *testing.T) {
	l := newLinkBench(t)
	address, c := l.address(l.token()), l.Browser()
	page := l.Get(c, address, "Accept", "text/html")
	for _, want := range []string{
		`<bdi>agent_1</bdi>`, `<bdi>` + l.AliceID + `</bdi>`, `<code>/me?x=1</code>`, `In the agent&#39;s words</dt><dd><q><bdi>See what I am</bdi></q>`,
		" UTC</time></dd>", `<form class="actions" method="post" action="` + linkPath + `">`, `name="ticket" value="` + ticket(address) + `"`,
	} {
		if page.StatusCode != http.StatusOK || !strings.Contains(page.Text, want) {
			t.Errorf("status %d, no %s in %s", page.StatusCode, want, page.Text)
		}
	}
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || !strings.HasSuffix(policy, "form-action 'self'; frame-ancestors 'none'") {
		t.Errorf("policy %q", policy)
	}
	if resp := l.Get(c, address); !strings.Contains(resp.Text, `"description":"See what I am"`) || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("for a program: %s", resp.Text)
	}
	for range 2 {
		l.Send(l.Browser(), http.MethodHead, address, "")
		l.Get(l.Bare(), address, "User-Agent", "scanner")
	}
	for name, header := range map[string][]string{"prefetch": {"Sec-Purpose", "prefetch"}, "frame": {"Sec-Fetch-Dest", "iframe"}} {
		if resp := l.Get(c, address, header...); resp.StatusCode != http.StatusForbidden || resp.Reason() != "not_a_navigation" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
		}
	}
	if l.Cookies(c) != "" || l.Me(c) != nil {
		t.Error("a look has begun a session")
	}
	l.mustContinue(c, address)
}

// TestOnce_LINK_4: an address is good for one time, at all instances together.
func TestOnce_LINK_4(t *testing.T) {
	states := &memstore.States{}
	l := newLinkBench(t, func(_ *bench, c *authagent.Config) { c.States = states })
	l.Instance("second")
	address, c := l.address(l.token()), l.Browser()
	s := l.mustContinue(c, address)
	for _, instance := range []string{"", "second"} {
		if resp := l.press(l.Browser(), address, "X-Instance", instance); resp.StatusCode != http.StatusConflict || !strings.Contains(resp.Text, "address_used") {
			t.Errorf("at %q again: %d %s", instance, resp.StatusCode, resp.Text)
		}
	}
	for name, resp := range map[string]*response{"reload": l.press(c, address), "back": l.Get(c, address)} {
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/me?x=1" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
		}
	}
	if now := l.Me(c); now == nil || now.ID != s.ID {
		t.Errorf("session %+v, want %s", now, s.ID)
	}
	if events := l.Events.Named(audit.SessionContinued); len(events) != 1 {
		t.Errorf("events %+v", events)
	}
}

// TestNotOurs_LINK_5: what is too old, was changed, or is another's.
func TestNotOurs_LINK_5(t *testing.T) {
	l := newLinkBench(t)
	l.Instance("other", func(c *authagent.Config) { c.ClientID = "another site" })
	newKey := testsite.NewKey()
	l.Instance("rotated", func(c *authagent.Config) { c.SessionKeys = append([][]byte{newKey}, c.SessionKeys...) })
	l.Instance("foreign", func(c *authagent.Config) { c.SessionKeys = [][]byte{newKey} })
	address := l.address(l.token())
	sealed := ticket(address)
	c := l.Browser()
	changed := linkPath + "?ticket=" + sealed[:40] + map[bool]string{true: "A", false: "B"}[sealed[40] != 'A'] + sealed[41:]
	for what, wrong := range map[string]string{
		"changed": changed, "cut": address[:len(address)-4], "none": linkPath, "empty": linkPath + "?ticket=",
		"long": linkPath + "?ticket=" + strings.Repeat("A", 17000), "a cookie's": linkPath + "?ticket=" + sealedCookie(l),
	} {
		if resp := l.Get(c, wrong); resp.StatusCode != http.StatusBadRequest || resp.Reason() != "address_unknown" {
			t.Errorf("%s: %d %s", what, resp.StatusCode, resp.Text)
		}
		if what != "none" && what != "empty" {
			if resp := l.press(c, wrong, "Accept", "application/json"); resp.StatusCode != http.StatusBadRequest || resp.Reason() != "address_unknown" {
				t.Errorf("%s, button: %d %s", what, resp.StatusCode, resp.Text)
			}
		}
	}
	for _, instance := range []string{"other", "foreign"} {
		if resp := l.press(c, address, "X-Instance", instance); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("at %s: %d %s", instance, resp.StatusCode, resp.Text)
		}
	}
	if resp := l.press(c, address, "X-Instance", "rotated"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("with a new key first: %d %s", resp.StatusCode, resp.Text)
	}
}

// sealedCookie returns the value of an agent's session cookie.
func sealedCookie(l *linkBench) string {
	c := l.Browser()
	l.MustSignIn(c, l.agent)
	_, value, _ := strings.Cut(l.Cookies(c), "=")
	return value
}

// TestExpires_LINK_5: an address is good for a minute.
func TestExpires_LINK_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinkCluster(t)
		first, second := l.address(l.token()), l.address(l.token())
		time.Sleep(59 * time.Second)
		l.mustContinue(l.Browser(), first)
		time.Sleep(2 * time.Second)
		l.refusedAt("after a minute", l.Browser(), second, http.StatusGone, "address_expired")
	})
}

// newLinkCluster is newLinkBench without sockets.
func newLinkCluster(t testing.TB, change ...func(*bench, *authagent.Config)) *linkBench {
	t.Helper()
	users := &memstore.SubjectUsers{}
	alice := users.Put(memstore.Account{Email: "alice@example.com"})
	b := newCluster(t, append([]func(*bench, *authagent.Config){func(b *bench, c *authagent.Config) {
		b.AS.Quirks, b.AS.Features = authagenttest.Quirks{}, authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true}
		c.Provider.SubjectIsUser, c.Scenario, c.Human = true, fullBySubject(users, b), testsite.Human
		users.AddSubject(c.Issuer, "user_a", alice)
		c.API.Resource, c.Paths.Link = b.URL+"/api", linkPath
	}}, change...)...)
	b.AliceID = alice
	agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	return &linkBench{&doorBench{bench: b, resource: b.URL + "/api", agent: agent}}
}

// TestSamePrincipal_LINK_6: the session is the token's, in a browser.
func TestSamePrincipal_LINK_6(t *testing.T) {
	for name, change := range map[string]func(*bench, *authagent.Config){
		"cookie": func(*bench, *authagent.Config) {},
		"own":    func(_ *bench, c *authagent.Config) { c.Session.Own = &mapSessions{} },
	} {
		l := newLinkBench(t, change, func(_ *bench, c *authagent.Config) {
			c.Permissions = map[string]authagent.Permission{"orders:read": {Access: authagent.AccessRead}, "orders:write": {Access: authagent.AccessFull}}
		})
		l.agent.Scopes = nil
		token := l.token(func(a *authagenttest.APIToken) { a.Scopes, a.Lifetime = []string{"orders:read"}, 10*time.Minute })
		parent := l.call("/me", token).Session(t)
		c := l.Browser()
		s := l.mustContinue(c, l.address(token))
		if s.ParentID != parent.ID || s.ID == parent.ID || len(s.ID) < 20 || s.ExpiresAt.After(parent.ExpiresAt) || s.StartedAt.Before(parent.StartedAt) {
			t.Errorf("%s: session %+v of %+v", name, s, parent)
		}
		same := *s
		same.ID, same.ParentID, same.StartedAt, same.ExpiresAt = parent.ID, "", parent.StartedAt, parent.ExpiresAt
		if got, want := marshal(same), marshal(*parent); got != want {
			t.Errorf("%s: session %s, want %s", name, got, want)
		}
		if s.Access != authagent.AccessRead || l.Get(c, "/full").StatusCode != http.StatusForbidden || l.Send(c, http.MethodPost, "/data", "").StatusCode != http.StatusForbidden {
			t.Errorf("%s: it may do more than the token: %v", name, s.Access)
		}
	}
}

func marshal(s authagent.Session) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// TestEndsWithToken_LINK_6: the session ends when the token does.
func TestEndsWithToken_LINK_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinkCluster(t)
		c := l.Browser()
		l.mustContinue(c, l.address(l.token(func(a *authagenttest.APIToken) { a.Lifetime = 10 * time.Minute })))
		time.Sleep(9 * time.Minute)
		if l.Me(c) == nil {
			t.Error("it has ended before the token")
		}
		time.Sleep(2 * time.Minute)
		if s := l.Me(c); s != nil {
			t.Errorf("it outlives the token: %+v", s)
		}
	})
}

// endings are the ways in which the session of a token ends.
var endings = map[string]func(*linkBench, string, *authagent.Session){
	"EndSession": func(l *linkBench, _ string, s *authagent.Session) { l.RP.EndSession(l.T.Context(), s.ID) },
	"all of the agent": func(l *linkBench, _ string, s *authagent.Session) {
		l.RP.EndAgentSessions(l.T.Context(), s.Agent)
	},
	"all of the user": func(l *linkBench, _ string, s *authagent.Session) { l.RP.EndUserSessions(l.T.Context(), s.UserID) },
	"logout by sid": func(l *linkBench, _ string, s *authagent.Session) {
		l.logout(l.AS.Logout(l.T.Context(), l.AS.Client(), l.Config.ClientID, "", s.SID))
	},
	"logout by sub": func(l *linkBench, _ string, s *authagent.Session) {
		l.logout(l.AS.Logout(l.T.Context(), l.AS.Client(), l.Config.ClientID, s.Subject, ""))
	},
	"revoked": func(l *linkBench, token string, _ *authagent.Session) {
		l.AS.RevokeToken(token)
		l.call("/me", token) // which finds out, as nothing is remembered
	},
}

func (l *linkBench) logout(err error) {
	l.T.Helper()
	if err != nil {
		l.T.Fatal(err)
	}
}

// TestEndsWithParent_LINK_7: what ends the token's session ends the browser's, and what ended in between begins nothing.
func TestEndsWithParent_LINK_7(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			l := newLinkBench(t, func(_ *bench, c *authagent.Config) { c.API.IntrospectEvery = 1 })
			l.Mux("").Handle(logoutPath, l.RP.BackChannelLogoutHandler())
			l.AS.AddClient(authagenttest.Client{
				ID: l.Config.ClientID, Secret: l.Config.ClientSecret, RedirectURIs: []string{l.Config.RedirectURL}, LogoutURL: l.URL + logoutPath,
			})
			token := l.token(opaque, func(a *authagenttest.APIToken) { a.Claims = map[string]any{"sid": "sid_1"} })
			parent := l.call("/me", token).Session(t)
			c, later := l.Browser(), l.address(token)
			l.mustContinue(c, l.address(token))
			end(l, token, parent)
			if s := l.Me(c); s != nil {
				t.Errorf("it goes on: %+v\n%s", s, l.Log)
			}
			l.refusedAt("afterwards", l.Browser(), later, http.StatusForbidden, "access_ended")
		})
	}
	l := newLinkBench(t)
	token := l.token()
	parent := l.call("/me", token).Session(t)
	c := l.Browser()
	s := l.mustContinue(c, l.address(token))
	l.RP.EndSession(t.Context(), s.ID)
	if l.Me(c) != nil || l.call("/me", token).Session(t).ID != parent.ID {
		t.Error("the end of the browser's session is not its own")
	}
}

// TestLowered_LINK_6: a session in a browser ends when its token may do less than when it began.
func TestLowered_LINK_6(t *testing.T) {
	l := newLinkBench(t, func(_ *bench, c *authagent.Config) {
		c.API.IntrospectEvery = 1
		c.Permissions = map[string]authagent.Permission{"read": {Access: authagent.AccessRead}, "write": {Access: authagent.AccessFull}}
	})
	token := l.token(opaque, func(a *authagenttest.APIToken) { a.Scopes = []string{"read", "write"} })
	c := l.Browser()
	if s := l.mustContinue(c, l.address(token)); s.Access != authagent.AccessFull {
		t.Fatalf("%+v", s)
	}
	l.AS.Wrap(authagenttest.PathIntrospect, authagenttest.WithMember("scope", "read"))
	if s := l.call("/me", token).Session(t); s.Access != authagent.AccessRead {
		t.Errorf("the token's session: %+v", s)
	}
	if s := l.Me(c); s != nil {
		t.Errorf("the browser's session goes on: %+v", s)
	}
}

// TestPaused_LINK_7: while agents are paused, nothing begins.
func TestPaused_LINK_7(t *testing.T) {
	check := &saying{}
	l := newLinkBench(t, func(_ *bench, c *authagent.Config) { check.Scenario, c.Scenario = c.Scenario, check })
	token := l.token()
	address := l.address(token)
	check.err = problem.Paused
	l.refusedAt("paused", l.Browser(), address, http.StatusServiceUnavailable, problem.Paused)
	if resp := l.ask(token, `{"path":"/me"}`); resp.Reason() != problem.Paused {
		t.Errorf("an address while paused: %s", resp.Text)
	}
	check.err = nil
	l.mustContinue(l.Browser(), address)
}

// TestTaken_LINK_8: where nothing begins.
func TestTaken_LINK_8(t *testing.T) {
	l := newLinkBench(t)
	address := l.address(l.token())
	agent, ended, elsewhere, person := l.Browser(), l.Browser(), l.Browser(), l.Browser()
	l.MustSignIn(agent, l.agent)
	l.RP.EndSession(t.Context(), l.MustSignIn(ended, l.agent).ID)
	l.SetCookie(elsewhere, "__Host-authagent-AAAAAAAA", "of another relying party")
	l.SignInPerson(person, l.AliceID)
	l.refusedAt("agent", agent, address, 403, "another_agent_in_browser")
	l.refusedAt("ended agent", ended, address, 403, "another_agent_in_browser")
	l.refusedAt("another relying party", elsewhere, address, 403, "another_agent_in_browser")
	l.refusedAt("person", person, address, 403, "person_in_browser")
	if page := l.Get(agent, address, "Accept", "text/html").Text; !strings.Contains(page, `action="/auth/agent/logout?return_to=%2F"`) {
		t.Errorf("no sign-out: %s", page)
	}
	c := l.Browser()
	if resp := l.press(c, address, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 || !strings.Contains(resp.Text, "cross_origin") {
		t.Errorf("another site's form: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := l.Get(c, address, "Authorization", "Bearer "+l.token()); resp.Reason() != "another_agent_in_browser" {
		t.Errorf("with a token: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := l.press(c, address, "Authorization", "Bearer "+l.token()); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the button with a token: %d %s", resp.StatusCode, resp.Text)
	}
	broken := newLinkBench(t, func(_ *bench, c *authagent.Config) { c.Human = func(*http.Request) (string, error) { panic("down") } })
	broken.refusedAt("nobody knows", broken.Browser(), broken.address(broken.token()), 500, problem.StoreFailed)
	l.mustContinue(c, address)
}

// TestNowhere_LINK_9: what is sealed reaches no log, error or event, whatever happens.
func TestNowhere_LINK_9(t *testing.T) {
	var told []string
	l := newLinkBench(t, func(_ *bench, c *authagent.Config) {
		c.ErrorHandler = func(_ http.ResponseWriter, _ *http.Request, e *problem.Error) bool {
			told = append(told, e.Error(), marshalAny(e))
			return false
		}
	})
	address := l.address(l.token())
	person, c := l.Browser(), l.Browser()
	l.SignInPerson(person, l.AliceID)
	answers := []*response{
		l.Get(person, address, "Accept", "text/html"), l.press(person, address), l.Get(c, address+"x"), l.Get(c, address), l.press(c, address+"x"), l.press(c, address),
		l.press(l.Browser(), address),
	}
	for _, resp := range answers {
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("headers %v", resp.Header)
		}
	}
	l.RP.Shutdown(t.Context())
	all := l.Log.String() + marshalAny(l.Events.All()) + strings.Join(told, "\n")
	if sealed := ticket(address); strings.Contains(all, sealed[:20]) || strings.Contains(all, sealed[len(sealed)-20:]) || strings.Contains(all, "/me?x=1") {
		t.Errorf("the address is in %s", all)
	}
	if len(told) < 4 {
		t.Errorf("told %q", told)
	}
}

func marshalAny(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// TestTrail_LINK_10: what the trail and the log have.
func TestTrail_LINK_10(t *testing.T) {
	l := newLinkBench(t)
	token := l.token()
	parent := l.call("/me", token).Session(t)
	s := l.mustContinue(l.Browser(), l.address(token))
	l.RP.Shutdown(t.Context())
	made, began := l.Events.Named(audit.AddressMade), l.Events.Named(audit.SessionContinued)
	if len(made) != 1 || made[0].SessionID != parent.ID || made[0].Door != audit.API || made[0].Detail != "See what I am" {
		t.Errorf("made %+v", made)
	}
	if len(began) != 1 || began[0].SessionID != s.ID || began[0].Door != audit.Link || !strings.Contains(began[0].Detail, parent.ID) || began[0].Agent != s.Agent {
		t.Errorf("began %+v", began)
	}
}

// TestOwner_LINK_7_LINK_10: a grant's owner sees the session, and ends it with the API's or alone.
func TestOwner_LINK_7_LINK_10(t *testing.T) {
	store := &memstore.Grants{}
	policy := grants.OwnerApproval(store)
	b, _, _ := newSubjectBench(t, func(users authagent.UserStore, _ *bench) authagent.Scenario {
		return authagent.FullAccount(users, policy)
	}, func(b *bench, c *authagent.Config) {
		c.API.Resource, c.Paths.Link = b.URL+"/api", linkPath
		c.ClientAddr = func(r *http.Request) string { return cmp.Or(r.Header.Get("X-From"), "198.51.100.1") }
	})
	l := &linkBench{&doorBench{bench: b, resource: b.URL + "/api", agent: b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})}}
	l.Mux("").Handle("/account/agents/", grants.Handler(policy, l.RP))
	if resp := l.call("/me", l.token()); resp.Reason() != problem.ApprovalNeeded {
		t.Fatalf("%d %s", resp.StatusCode, resp.Text)
	}
	owner := l.Browser()
	l.SignInPerson(owner, l.AliceID)
	policy.Wait() // a request is kept in the background
	waiting, err := store.OwnerGrants(t.Context(), l.AliceID)
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%v %v", waiting, err)
	}
	g, err := policy.Decide(t.Context(), l.AliceID, grants.Decision{
		GrantID: waiting[0].ID, Version: waiting[0].Version, State: grants.Approved, Access: authagent.AccessRead,
	})
	if err != nil {
		t.Fatal(err)
	}
	token := l.token()
	parent := l.call("/me", token).Session(t)
	c := l.Browser()
	address := l.address(token)
	l.Get(c, address, "X-From", "203.0.113.9") // a scanner, which is not where the agent is
	if seen, err := store.OwnerActivity(t.Context(), l.AliceID); err != nil || len(seen) != 1 || seen[0].RemoteAddr != "198.51.100.1" {
		t.Errorf("seen %+v, %v", seen, err)
	}
	s := l.mustContinue(c, address)
	page := l.Get(owner, "/account/agents/agents/"+g.ID, "Accept", "text/html").Text
	if !regexp.MustCompile(`with a browser, continued from the site’s API`).MatchString(page) || s.GrantID != parent.GrantID || s.GrantEra != parent.GrantEra {
		t.Errorf("page %s", page)
	}
	if err := policy.EndSession(t.Context(), l.RP, l.AliceID, parent.ID); err != nil {
		t.Fatal(err)
	}
	if l.Me(c) != nil {
		t.Error("it goes on")
	}
}

// TestLimits_LINK_11: addresses are counted like sign-ins, and so is what the session does.
func TestLimits_LINK_11(t *testing.T) {
	l := newLinkBench(t, func(_ *bench, c *authagent.Config) {
		c.ClientAddr = func(*http.Request) string { return "203.0.113.7" }
		c.Limits.Logins = limits.Rate{N: 2, Per: time.Hour}
		c.Limits.Agent = limits.Rate{N: 4, Per: time.Hour}
	})
	c := l.Browser()
	address := l.address(l.token()) // one of the agent's four
	l.mustContinue(c, address)      // and a look at /me
	l.address(l.token())
	if resp := l.ask(l.token(), `{"path":"/me"}`); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a third address: %d %s", resp.StatusCode, resp.Text)
	}
	if first, second := l.Get(c, "/me").StatusCode, l.Get(c, "/me").StatusCode; first != 200 || second != 429 {
		t.Errorf("status %d and %d, want 200 and 429", first, second)
	}
}

// TestDiscovered_LINK_12: agents are told where to ask, and the setting is checked.
func TestDiscovered_LINK_12(t *testing.T) {
	l := newLinkBench(t)
	l.Mux("").Handle("/auth.json", l.RP.DiscoveryHandler())
	l.Mux("").Handle("/auth.md", l.RP.DiscoveryHandler())
	if text := l.Get(l.Bare(), "/auth.json").Text; !strings.Contains(text, `"url": "`+l.URL+linkPath+`"`) {
		t.Errorf("JSON: %s", text)
	}
	if text := l.Get(l.Bare(), "/auth.md").Text; !strings.Contains(text, "POST "+l.URL+linkPath) {
		t.Errorf("text: %s", text)
	}
	for _, wrong := range []string{"/auth/agent/login", "/auth/agent/logout", "/auth/agent/callback", "https://evil.example/", "/a?b", "/a/../b"} {
		c := l.Config
		c.Paths.Link = wrong
		if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "Paths.Link") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if findings := l.RP.CheckSite(t.Context(), l.URL); len(findings) != 0 {
		t.Errorf("findings %+v", findings)
	}
	missing := l.Instance("", func(c *authagent.Config) { c.Paths.Link = "/elsewhere" })
	findings := missing.CheckSite(t.Context(), l.URL)
	if !slices.ContainsFunc(findings, func(f provider.Finding) bool { return f.Setting == "Paths.Link" }) {
		t.Errorf("findings %+v", findings)
	}
}

// TestKit_LINK_4: the kit's agent does all of it.
func TestKit_LINK_4(t *testing.T) {
	l := newLinkBench(t)
	c := l.Browser()
	err := authagenttest.ContinueInBrowser(t.Context(), authagenttest.Bearer(l.Bare(), l.token()), c, l.URL+linkPath, "/me", "look")
	if err != nil || l.Me(c) == nil {
		t.Errorf("%v\n%s", err, l.Log)
	}
	for _, token := range []string{"made-up", l.token()} {
		if err := authagenttest.ContinueInBrowser(t.Context(), authagenttest.Bearer(l.Bare(), token), c, l.URL+linkPath, "/me", "look"); err == nil {
			t.Error("it has gone on with a token that is none, or where an agent is")
		}
	}
}
