package authagent_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/memstore"
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
			root := parseElement(t, string(b.rp.Button(test.returnTo)))
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
					t.Errorf("it is no form that is posted: %s", b.rp.Button(test.returnTo))
				}
			} else if root.XMLName.Local != "a" || !strings.Contains(root.attr("rel"), "nofollow") {
				t.Errorf("it is no link for agents: %s", b.rp.Button(test.returnTo))
			}
			if test.target != "" && target != test.target {
				t.Errorf("target %q, want %q", target, test.target)
			}
			if got := control.name(); got != "Sign in with Auth Agent" {
				t.Errorf("name %q", got)
			}
			for name, want := range map[string]string{
				"data-auth-agent-button": "true", "data-agent-signin": "oauth2-code",
				"data-agent-issuer": b.as.URL, "data-agent-access": "full",
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
		{"from the button in a page", "/page", func(t *testing.T, r *response) string { return find(t, hrefOfButton, r.body) }},
		{"from Link of a 401", "/me", func(t *testing.T, r *response) string {
			return find(t, signInLink, strings.Join(r.Header["Link"], ","))
		}},
		{"from the challenge of a 401", "/me", func(t *testing.T, r *response) string { return find(t, challenge, r.Header.Get("WWW-Authenticate")) }},
		{"from the problem of a 401", "/me", func(t *testing.T, r *response) string { return member(t, r.body, "sign_in") }},
		{"from the document, JSON", "/agents.json", func(t *testing.T, r *response) string { return member(t, r.body, "sign_in", "url") }},
		{"from the document, text", "/auth.md", func(t *testing.T, r *response) string {
			return find(t, regexp.MustCompile(`(?m)^- Sign-in: GET (\S+)$`), r.body)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newDiscoveryBench(t)
			c := b.browser()
			target := test.find(t, b.get(c, test.start))
			resp := b.get(c, target)
			resp = b.get(c, b.authorize(b.agent, resp.Header.Get("Location")))
			if resp.StatusCode != http.StatusSeeOther || b.me(c) == nil {
				t.Errorf("not signed in by %q: %d %s", target, resp.StatusCode, resp.body)
			}
		})
	}
}

// newDiscoveryBench is a site that tells agents the way.
func newDiscoveryBench(t *testing.T, change ...func(*bench, *authagent.Config)) *bench {
	b := newBench(t, append([]func(*bench, *authagent.Config){func(_ *bench, c *authagent.Config) { c.Paths.Discovery = "/auth.md" }}, change...)...)
	mux := b.site.Config.Handler.(*http.ServeMux)
	mux.Handle("/page", sitePage(b.rp))
	for _, path := range []string{"/auth.md", "/llms.txt", "/agents.json", "/agents.css"} {
		mux.Handle(path, b.rp.DiscoveryHandler())
	}
	return b
}

// TestSignInByPOST: where sign-in takes POST only, everything says so, and a page
// is not sent to where it would be refused.
func TestSignInByPOST(t *testing.T) {
	b := newDiscoveryBench(t, func(_ *bench, c *authagent.Config) { c.RequirePOST = true })
	c := b.browser()
	if resp := b.get(c, "/me"); !strings.Contains(resp.body, `"sign_in_method":"POST"`) {
		t.Errorf("the problem does not say POST: %s", resp.body)
	}
	resp := b.get(c, "/me?a=b", "Accept", page)
	action := regexp.MustCompile(`<form [^>]*action="([^"]*)"`).FindStringSubmatch(resp.body)
	if resp.StatusCode != http.StatusUnauthorized || action == nil {
		t.Fatalf("page: status %d %s", resp.StatusCode, resp.body)
	}
	// Chromium holds the redirect to the server to form-action as well.
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' "+b.as.URL+";") {
		t.Errorf("the page's policy %q forbids where its form leads", policy)
	}
	resp = b.do(c, http.MethodPost, action[1], "Sec-Fetch-Site", "same-origin")
	resp = b.get(c, b.authorize(b.agent, resp.Header.Get("Location")))
	if got := resp.Header.Get("Location"); got != "/me?a=b" {
		t.Errorf("landed at %q", got)
	}
}

// TestRefusalsPointTheWay: what comes with a refusal.
func TestRefusalsPointTheWay(t *testing.T) {
	b := newDiscoveryBench(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.ContextualProfile(b.users, b.profiles, authagent.InsecureTrustEmail)
	})
	reader := b.browser()
	b.mustSignIn(reader, b.agent)
	login := b.site.URL + "/auth/agent/login"
	links := []string{`</auth/agent/login>; rel="authenticate"; title="Sign in with Auth Agent"`, `</auth.md>; rel="service-doc"; type="text/markdown"`}
	for _, test := range []struct {
		name, method, path string
		c                  *http.Client
		status             int
		links              []string
		challenge          string
		want               map[string]any // of the problem
	}{
		{"nobody", "GET", "/data", b.browser(), 401, links, `AuthAgent sign_in="` + login + `", issuer="` + b.as.URL + `"`,
			map[string]any{"type": b.site.URL + "/auth.md#no_session", "sign_in": login, "issuer": b.as.URL, "allowed": nil}},
		{"MW-4 a reader writes", "POST", "/data", reader, 403, links, "",
			map[string]any{"type": b.site.URL + "/auth.md#agent_read_only", "allowed": []any{"GET", "HEAD"}, "sign_in": nil}},
		{"no agents", "GET", "/humans", reader, 403, links, "", map[string]any{"type": b.site.URL + "/auth.md#agent_forbidden", "allowed": nil}},
		{"callback of nothing", "GET", "/auth/agent/callback?code=a&state=b", b.browser(), 400, nil, "", map[string]any{"sign_in": login}},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := b.do(test.c, test.method, test.path)
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
			if err := json.Unmarshal([]byte(resp.body), &problem); err != nil {
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
	doc := b.get(b.browser(), "/auth.md").body
	for _, code := range []string{"no_session", "agent_read_only", "agent_forbidden", "state_mismatch"} {
		if !strings.Contains(doc, `<a id="`+code+`">`) {
			t.Errorf("/auth.md does not explain %s", code)
		}
	}
}

// TestDiscovery: each form of the document.
func TestDiscovery(t *testing.T) {
	b := newDiscoveryBench(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.ContextualProfile(b.users, b.profiles, authagent.InsecureTrustEmail)
	})
	for path, want := range map[string]struct {
		media string
		texts []string
	}{
		"/auth.md":     {"text/markdown; charset=utf-8", []string{"Authorization server: " + b.as.URL, "GET " + b.site.URL + "/auth/agent/login", "with GET and HEAD", "## Your owner"}},
		"/llms.txt":    {"text/plain; charset=utf-8", []string{"# Signing in as an agent"}},
		"/agents.css":  {"text/css; charset=utf-8", []string{signpost.Style}},
		"/agents.json": {"application/json", []string{`"scenario": "ContextualProfile"`, `"access": "read"`, `"issuer": "` + b.as.URL + `"`, `"documentation": "` + b.site.URL + `/auth.md"`}},
	} {
		resp := b.get(b.browser(), path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != want.media || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: status %d, header %v", path, resp.StatusCode, resp.Header)
		}
		for _, text := range want.texts {
			if !strings.Contains(resp.body, text) {
				t.Errorf("%s lacks %q:\n%s", path, text, resp.body)
			}
		}
		noSecrets(t, path, resp.body, &b.config)
		if head := b.do(b.browser(), http.MethodHead, path); head.StatusCode != http.StatusOK || head.body != "" {
			t.Errorf("HEAD %s: status %d, body %q", path, head.StatusCode, head.body)
		}
		if post := b.do(b.browser(), http.MethodPost, path); post.StatusCode != http.StatusMethodNotAllowed || post.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: status %d, Allow %q", path, post.StatusCode, post.Header.Get("Allow"))
		}
	}
	fresh := newDiscoveryBench(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.profiles) })
	if body := fresh.get(fresh.browser(), "/auth.md").body; strings.Contains(body, "Your owner") || !strings.Contains(body, "see nobody's data") {
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
		"full":       func(b *bench) authagent.Scenario { return authagent.FullAccount(b.users, owners) },
		"contextual": func(b *bench) authagent.Scenario { return authagent.ContextualProfile(b.users, b.profiles, owners) },
		"fresh":      func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.profiles) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newDiscoveryBench(t, func(b *bench, c *authagent.Config) { c.Scenario = scenario(b) })
			document := func(path string) string {
				body := b.get(b.browser(), path).body
				return strings.NewReplacer(b.site.URL, "https://shop.example", b.as.URL, "https://agents.example").Replace(body)
			}
			before := document("/auth.md") + document("/agents.json")
			for _, action := range []string{"orders:create", "orders:create", "notes:add", "no-owner:can"} {
				b.rp.RequireAction(action)
			}
			b.rp.RequireApproval("payouts:create", owners)
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

// The button on a sign-in page, with its style sheet under a strict policy.
func ExampleRelyingParty_Button() {
	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your environment",
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}),
	})
	if err != nil {
		log.Fatal(err)
	}
	page := template.Must(template.New("sign-in").Funcs(template.FuncMap{
		"signInButton": rp.Button,
		"buttonStyle":  func() template.CSS { return signpost.Style },
	}).Parse(`<style>{{buttonStyle}}</style>
<h1>Sign in</h1>
{{signInButton "/orders"}}
`))
	http.HandleFunc("/sign-in", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src '"+signpost.StyleHash+"'")
		if err := page.Execute(w, nil); err != nil {
			log.Print(err)
		}
	})

	markup := string(rp.Button("/orders"))
	fmt.Println(regexp.MustCompile(`href="[^"]*"`).FindString(markup))
	// Output: href="/auth/agent/login?return_to=%2Forders"
}

// What agents read about signing in.
func ExampleRelyingParty_DiscoveryHandler() {
	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your environment",
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}),
		Paths:        authagent.Paths{Discovery: "/auth.md"},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth.md", rp.DiscoveryHandler())
	mux.Handle("/auth-agent.json", rp.DiscoveryHandler())

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/auth-agent.json", nil))
	fmt.Print(w.Body)
	// Output:
	// {
	//   "sign_in": {
	//     "kind": "oauth2-code",
	//     "method": "GET",
	//     "url": "https://shop.example/auth/agent/login",
	//     "label": "Sign in with Auth Agent",
	//     "return_to_parameter": "return_to"
	//   },
	//   "sign_out": {
	//     "method": "POST",
	//     "url": "https://shop.example/auth/agent/logout"
	//   },
	//   "issuer": "https://agents.example",
	//   "scenario": "FreshProfile",
	//   "access": "none",
	//   "documentation": "https://shop.example/auth.md"
	// }
}
