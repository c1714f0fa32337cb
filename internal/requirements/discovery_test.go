package requirements_test

import (
	"encoding/json"
	"encoding/xml"
	"html/template"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

// element is a piece of a page that is well-formed XML too, as the button is.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

func (e *element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// all calls f for e and everything in it.
func (e *element) all(f func(*element)) {
	f(e)
	for i := range e.Children {
		e.Children[i].all(f)
	}
}

func parseElement(t *testing.T, s string) *element {
	t.Helper()
	var e element
	if err := xml.Unmarshal([]byte(s), &e); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return &e
}

// name is the accessible name of an element: its text, without what is hidden
// from assistive technology.
func (e *element) name() string {
	if e.attr("aria-hidden") == "true" {
		return ""
	}
	text := e.Text
	for i := range e.Children {
		text += e.Children[i].name()
	}
	return text
}

// TestButton: a real link, or a real form, that works without script under a
// strict policy, and that agents know by name and attributes.
func TestButton(t *testing.T) {
	for _, test := range []struct {
		name, returnTo, target string
		post                   bool
	}{
		{"default", "", "/auth/agent/login", false},
		{"return", "/orders?a=b&c=d", "/auth/agent/login?return_to=%2Forders%3Fa%3Db%26c%3Dd", false},
		{"RET-1 return elsewhere", "//evil.example", "/auth/agent/login", false},
		{"RET-1 return to a script", "javascript:alert(1)", "/auth/agent/login", false},
		{"RET-1 markup", `/"><script>alert(1)</script>`, "", false},
		{"POST", "/orders", "/auth/agent/login?return_to=%2Forders", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(_ *bench, c *authagent.Config) { c.RequirePOST = test.post })
			root := parseElement(t, string(b.RP.Button(test.returnTo)))
			root.all(func(e *element) {
				if e.XMLName.Local == "script" || e.XMLName.Local == "style" || e.XMLName.Local == "img" {
					t.Errorf("there is a %s in it", e.XMLName.Local)
				}
				for _, a := range e.Attrs {
					if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") {
						t.Errorf("%s has the attribute %s, which a strict policy blocks", e.XMLName.Local, a.Name.Local)
					}
				}
			})
			control, target := root, root.attr("href")
			if test.post {
				control, target = &root.Children[0], root.attr("action")
				if root.XMLName.Local != "form" || root.attr("method") != "post" || control.XMLName.Local != "button" || control.attr("type") != "submit" {
					t.Errorf("it is no form that is posted: %s", b.RP.Button(test.returnTo))
				}
			} else if root.XMLName.Local != "a" || !strings.Contains(root.attr("rel"), "nofollow") {
				t.Errorf("it is no link for agents: %s", b.RP.Button(test.returnTo))
			}
			if test.target != "" && target != test.target {
				t.Errorf("target %q, want %q", target, test.target)
			}
			if got := control.name(); got != "Sign in with Auth Agent" {
				t.Errorf("name %q", got)
			}
			for name, want := range map[string]string{
				"data-auth-agent-button": "true", "data-agent-signin": "oauth2-code",
				"data-agent-issuer": b.AS.URL, "data-agent-access": "full",
			} {
				if got := control.attr(name); got != want {
					t.Errorf("%s=%q, want %q", name, got, want)
				}
			}
		})
	}
}

// sitePage is a page with the button, under the strictest policy that it can have.
func sitePage(rp *authagent.RelyingParty) http.Handler {
	page := template.Must(template.New("page").Funcs(template.FuncMap{"signInButton": rp.Button}).Parse(
		`<!doctype html><title>Shop</title><style>` + signpost.Style + `</style>{{signInButton "/me"}}`))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'none'; style-src '"+signpost.StyleHash+"'; form-action 'self'")
		page.Execute(w, nil)
	})
}

var (
	hrefOfButton = regexp.MustCompile(`<a [^>]*href="([^"]*)"[^>]*data-auth-agent-button="true"`)
	signInLink   = regexp.MustCompile(`<([^>]*)>; rel="authenticate"`)
	challenge    = regexp.MustCompile(`^AuthAgent sign_in="([^"]*)", issuer="([^"]*)"$`)
)

// TestAgentFindsTheWay: an agent that knows no more than the site's address
// signs in by each thing that points to the sign-in.
func TestAgentFindsTheWay(t *testing.T) {
	find := func(t *testing.T, expression *regexp.Regexp, text string) string {
		found := expression.FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s in %q", expression, text)
		}
		return found[1]
	}
	member := func(t *testing.T, body string, path ...string) string {
		var v any
		json.Unmarshal([]byte(body), &v)
		for _, name := range path {
			object, _ := v.(map[string]any)
			v = object[name]
		}
		s, _ := v.(string)
		return s
	}
	for _, test := range []struct {
		name, start string
		find        func(t *testing.T, r *response) string
	}{
		{"from the button in a page", "/page", func(t *testing.T, r *response) string { return find(t, hrefOfButton, r.Text) }},
		{"from Link of a 401", "/me", func(t *testing.T, r *response) string {
			return find(t, signInLink, strings.Join(r.Header["Link"], ","))
		}},
		{"from the challenge of a 401", "/me", func(t *testing.T, r *response) string { return find(t, challenge, r.Header.Get("WWW-Authenticate")) }},
		{"from the problem of a 401", "/me", func(t *testing.T, r *response) string { return member(t, r.Text, "sign_in") }},
		{"from the document, JSON", "/agents.json", func(t *testing.T, r *response) string { return member(t, r.Text, "sign_in", "url") }},
		{"from the document, text", "/auth.md", func(t *testing.T, r *response) string {
			return find(t, regexp.MustCompile(`(?m)^- Sign-in: GET (\S+)$`), r.Text)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newDiscoveryBench(t)
			c := b.Browser()
			target := test.find(t, b.Get(c, test.start))
			resp := b.Get(c, target)
			resp = b.Get(c, b.Authorize(b.Agent, resp.Header.Get("Location")))
			if resp.StatusCode != http.StatusSeeOther || b.Me(c) == nil {
				t.Errorf("not signed in by %q: %d %s", target, resp.StatusCode, resp.Text)
			}
		})
	}
}

// newDiscoveryBench is a site that tells agents the way.
func newDiscoveryBench(t *testing.T, change ...func(*bench, *authagent.Config)) *bench {
	b := newBench(t, append([]func(*bench, *authagent.Config){func(_ *bench, c *authagent.Config) { c.Paths.Discovery = "/auth.md" }}, change...)...)
	mux := b.Mux("")
	mux.Handle("/page", sitePage(b.RP))
	for _, path := range []string{"/auth.md", "/llms.txt", "/agents.json", "/agents.css"} {
		mux.Handle(path, b.RP.DiscoveryHandler())
	}
	return b
}

// TestSignInByPOST: where sign-in takes POST only, everything says so, and a page
// is not sent to where it would be refused.
func TestSignInByPOST(t *testing.T) {
	b := newDiscoveryBench(t, func(_ *bench, c *authagent.Config) { c.RequirePOST = true })
	c := b.Browser()
	if resp := b.Get(c, "/me"); !strings.Contains(resp.Text, `"sign_in_method":"POST"`) {
		t.Errorf("the problem does not say POST: %s", resp.Text)
	}
	resp := b.Get(c, "/me?a=b", "Accept", page)
	action := regexp.MustCompile(`<form [^>]*action="([^"]*)"`).FindStringSubmatch(resp.Text)
	if resp.StatusCode != http.StatusUnauthorized || action == nil {
		t.Fatalf("page: status %d %s", resp.StatusCode, resp.Text)
	}
	// Chromium holds the redirect to the server to form-action as well.
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' "+b.AS.URL+";") {
		t.Errorf("the page's policy %q forbids where its form leads", policy)
	}
	resp = b.Do(c, http.MethodPost, action[1], "Sec-Fetch-Site", "same-origin")
	resp = b.Get(c, b.Authorize(b.Agent, resp.Header.Get("Location")))
	if got := resp.Header.Get("Location"); got != "/me?a=b" {
		t.Errorf("landed at %q", got)
	}
}

// TestRefusalsPointTheWay: what comes with a refusal.
func TestRefusalsPointTheWay(t *testing.T) {
	b := newDiscoveryBench(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
	})
	reader := b.Browser()
	b.MustSignIn(reader, b.Agent)
	login := b.URL + "/auth/agent/login"
	links := []string{`</auth/agent/login>; rel="authenticate"; title="Sign in with Auth Agent"`, `</auth.md>; rel="service-doc"; type="text/markdown"`}
	for _, test := range []struct {
		name, method, path string
		c                  *http.Client
		status             int
		links              []string
		challenge          string
		want               map[string]any // of the problem
	}{
		{"nobody", "GET", "/data", b.Browser(), 401, links, `AuthAgent sign_in="` + login + `", issuer="` + b.AS.URL + `"`,
			map[string]any{"type": b.URL + "/auth.md#no_session", "sign_in": login, "issuer": b.AS.URL, "allowed": nil}},
		{"MW-4 a reader writes", "POST", "/data", reader, 403, links, "",
			map[string]any{"type": b.URL + "/auth.md#agent_read_only", "allowed": []any{"GET", "HEAD"}, "sign_in": nil}},
		{"no agents", "GET", "/humans", reader, 403, links, "", map[string]any{"type": b.URL + "/auth.md#agent_forbidden", "allowed": nil}},
		{"callback of nothing", "GET", "/auth/agent/callback?code=a&state=b", b.Browser(), 400, nil, "", map[string]any{"sign_in": login}},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := b.Do(test.c, test.method, test.path)
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
			if diff := cmp.Diff(test.links, resp.Header["Link"]); diff != "" {
				t.Errorf("Link:\n%s", diff)
			}
			if got := resp.Header.Get("WWW-Authenticate"); got != test.challenge {
				t.Errorf("WWW-Authenticate %q, want %q", got, test.challenge)
			}
			var problem map[string]any
			if err := json.Unmarshal([]byte(resp.Text), &problem); err != nil {
				t.Fatal(err)
			}
			for name, want := range test.want {
				if diff := cmp.Diff(want, problem[name]); diff != "" {
					t.Errorf("%s:\n%s", name, diff)
				}
			}
		})
	}
	// Where a problem's type leads, it is explained.
	doc := b.Get(b.Browser(), "/auth.md").Text
	for _, code := range []string{"no_session", "agent_read_only", "agent_forbidden", "state_mismatch"} {
		if !strings.Contains(doc, `<a id="`+code+`">`) {
			t.Errorf("/auth.md does not explain %s", code)
		}
	}
}

// TestDiscovery: each form of the document.
func TestDiscovery(t *testing.T) {
	b := newDiscoveryBench(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
	})
	for path, want := range map[string]struct {
		media string
		texts []string
	}{
		"/auth.md":     {"text/markdown; charset=utf-8", []string{"Authorization server: " + b.AS.URL, "GET " + b.URL + "/auth/agent/login", "with GET and HEAD", "## Your owner"}},
		"/llms.txt":    {"text/plain; charset=utf-8", []string{"# Signing in as an agent"}},
		"/agents.css":  {"text/css; charset=utf-8", []string{signpost.Style}},
		"/agents.json": {"application/json", []string{`"scenario": "ContextualProfile"`, `"access": "read"`, `"issuer": "` + b.AS.URL + `"`, `"documentation": "` + b.URL + `/auth.md"`}},
	} {
		resp := b.Get(b.Browser(), path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != want.media || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: status %d, header %v", path, resp.StatusCode, resp.Header)
		}
		for _, text := range want.texts {
			if !strings.Contains(resp.Text, text) {
				t.Errorf("%s lacks %q:\n%s", path, text, resp.Text)
			}
		}
		testsite.NoSecrets(t, path, resp.Text, &b.Config)
		if head := b.Do(b.Browser(), http.MethodHead, path); head.StatusCode != http.StatusOK || head.Text != "" {
			t.Errorf("HEAD %s: status %d, body %q", path, head.StatusCode, head.Text)
		}
		if post := b.Do(b.Browser(), http.MethodPost, path); post.StatusCode != http.StatusMethodNotAllowed || post.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: status %d, Allow %q", path, post.StatusCode, post.Header.Get("Allow"))
		}
	}
	fresh := newDiscoveryBench(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) })
	if body := fresh.Get(fresh.Browser(), "/auth.md").Text; strings.Contains(body, "Your owner") || !strings.Contains(body, "see nobody's data") {
		t.Errorf("FreshProfile: %s", body)
	}
}

// TestDiscoveryActions: the document says which actions there are, what they need and
// how to ask again, whichever routes are mounted after the site was made.
func TestDiscoveryActions(t *testing.T) {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Actions = map[string]string{"orders:create": "Place orders", "notes:add": "Add notes"}
	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	for name, scenario := range map[string]func(b *bench) authagent.Scenario{
		"full":       func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, owners) },
		"contextual": func(b *bench) authagent.Scenario { return authagent.ContextualProfile(b.Users, b.Profiles, owners) },
		"fresh":      func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newDiscoveryBench(t, func(b *bench, c *authagent.Config) { c.Scenario = scenario(b) })
			document := func(path string) string {
				body := b.Get(b.Browser(), path).Text
				return strings.NewReplacer(b.URL, "https://shop.example", b.AS.URL, "https://agents.example").Replace(body)
			}
			before := document("/auth.md") + document("/agents.json")
			for _, action := range []string{"orders:create", "orders:create", "notes:add", "no-owner:can"} {
				b.RP.RequireAction(action)
			}
			b.RP.RequireApproval("payouts:create", owners)
			text, _, _ := strings.Cut(document("/auth.md"), "## When you are refused")
			golden(t, "discovery/"+name+".md", text)
			golden(t, "discovery/"+name+".json", document("/agents.json"))
			for _, word := range []string{"## Actions", "## Approvals", "orders:create", `"actions"`, `"approvals"`} {
				if strings.Contains(before, word) {
					t.Errorf("%s stands there before there is a route with an action", word)
				}
			}
		})
	}
}

// TestDiscoveryScopes_WEB_17: where scopes limit what agents may do, and tokens name users, agents are told so.
func TestDiscoveryScopes_WEB_17(t *testing.T) {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Actions = map[string]string{"orders:create": "Place orders", "orders:delete": "Delete orders"}
	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	b := newDiscoveryBench(t, delegated, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(b.Users, owners)
		c.Provider.OnPerson = func(http.ResponseWriter, *http.Request, provider.Person) error { return nil }
		c.Permissions = map[string]authagent.Permission{
			"orders:read": {Access: authagent.AccessRead}, "orders:write": {Actions: []string{"orders:create"}},
		}
	})
	for _, action := range []string{"orders:create", "orders:delete"} {
		b.RP.RequireAction(action)
	}
	b.RP.RequireApproval("payouts:create", owners)
	document := func(path string) string {
		body := b.Get(b.Browser(), path).Text
		return strings.NewReplacer(b.URL, "https://shop.example", b.AS.URL, "https://agents.example").Replace(body)
	}
	text, _, _ := strings.Cut(document("/auth.md"), "## When you are refused")
	golden(t, "discovery/scopes.md", text)
	golden(t, "discovery/scopes.json", document("/agents.json"))
	if got := parseElement(t, string(b.RP.Button(""))).attr("data-agent-access"); got != "read" {
		t.Errorf("the button says access %q, want read", got)
	}
}

// TestDiscoveryAccess_WEB_17: the access that agents are told is the least of the scenario and all scopes together.
func TestDiscoveryAccess_WEB_17(t *testing.T) {
	type permissions = map[string]authagent.Permission
	for name, test := range map[string]struct {
		permissions permissions
		contextual  bool
		want        string
	}{
		"no permissions":            {nil, false, "full"},
		"a scope for everything":    {permissions{"all": {Access: authagent.AccessFull}, "a": {}}, false, "full"},
		"a scope to read":           {permissions{"read": {Access: authagent.AccessRead}, "a": {}}, false, "read"},
		"more than the scenario":    {permissions{"all": {Access: authagent.AccessFull}}, true, "read"},
		"permissions without scope": {permissions{}, false, "none"},
	} {
		b := newDiscoveryBench(t, func(b *bench, c *authagent.Config) {
			c.Permissions = test.permissions
			if c.Scenario = authagent.FullAccount(b.Users, letIn{}); test.contextual {
				c.Scenario = authagent.ContextualProfile(b.Users, b.Profiles, letIn{})
			}
		})
		if got := b.Get(b.Browser(), "/agents.json").Text; !strings.Contains(got, `"access": "`+test.want+`"`) {
			t.Errorf("%s: want access %s in\n%s", name, test.want, got)
		}
		if got := parseElement(t, string(b.RP.Button(""))).attr("data-agent-access"); got != test.want {
			t.Errorf("%s: the button says access %q, want %q", name, got, test.want)
		}
	}
}

// TestDiscoveryPath: what is not a path is refused.
func TestDiscoveryPath(t *testing.T) {
	for path, ok := range map[string]bool{
		"": true, "/auth.md": true, "auth.md": false, "https://evil.example/": false, "/auth.md?x": false, "/auth/agent/login": false,
	} {
		c := validConfig()
		c.Paths.Discovery = path
		if _, err := authagent.New(c); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "Paths.Discovery") {
			t.Errorf("%q: %v", path, err)
		}
	}
}
