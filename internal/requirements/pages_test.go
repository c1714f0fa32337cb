package requirements_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"

	"github.com/authagent-go/authagent/internal/signpost"
)

// TestSignedOutPage: it says how it is, and signing out leads to it.
func TestSignedOutPage(t *testing.T) {
	b := newBench(t)
	b.Mux("").Handle("/signed-out", b.RP.SignedOutHandler())
	c := b.Browser()
	expect := func(when string, resp *response, title string, texts, not []string) {
		t.Helper()
		if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Text, "<h1>"+title+"</h1>") {
			t.Errorf("%s: status %d, want %q\n%s", when, resp.StatusCode, title, resp.Text)
		}
		for _, text := range texts {
			if !strings.Contains(resp.Text, text) {
				t.Errorf("%s: the page lacks %q\n%s", when, text, resp.Text)
			}
		}
		for _, text := range not {
			if strings.Contains(resp.Text, text) {
				t.Errorf("%s: the page has %q\n%s", when, text, resp.Text)
			}
		}
		h := resp.Header
		if h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-") {
			t.Errorf("WEB-3 %s: %v", when, h)
		}
	}
	expect("nobody", b.Get(c, "/signed-out", "Accept", page), "Signed out", []string{"Sign in with Auth Agent", `href="/"`}, []string{"<form"})
	b.MustSignIn(c, b.Agent)
	in := b.Get(c, "/signed-out", "Accept", page)
	expect("signed in", in, "An agent is signed in", []string{"Sign the agent out"}, []string{"Sign in with"})
	action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(in.Text)
	if action == nil {
		t.Fatal("no form")
	}
	out := b.Do(c, http.MethodPost, action[1], "Sec-Fetch-Site", "same-origin")
	if got := out.Header.Get("Location"); out.StatusCode != http.StatusSeeOther || got != "/signed-out" {
		t.Fatalf("sign-out: %d to %q", out.StatusCode, got)
	}
	expect("signed out", b.Get(c, "/signed-out", "Accept", page), "Signed out", nil, []string{"<form"})

	if resp := b.Get(c, "/signed-out"); !strings.Contains(resp.Text, `"signed_in":false`) || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a program gets %s %s", resp.Header.Get("Content-Type"), resp.Text)
	}
	if resp := b.Do(c, http.MethodPost, "/signed-out"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

// TestAccountIsNamed is LNK-33: an agent and its owner can see in whose account it
// acts, in the site's words.
func TestAccountIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		scenario func(b *bench) authagent.Scenario
		account  string // what the site calls it
		want     []string
		not      string
	}{
		"a name": {func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) }, "mallory@example.com",
			[]string{`"account":"mallory@example.com"`, `"user_id":"user_1"`, `"agent":{"issuer":"`, `"id":"agent_alice"`}, ""},
		"behind a wrapper": {func(b *bench) authagent.Scenario {
			return unwrapped{authagent.FullAccount(b.Users, authagent.InsecureTrustEmail)}
		}, "mallory@example.com", []string{`"account":"mallory@example.com"`}, ""},
		"no name": {func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) }, "",
			[]string{`"account":"user_1"`}, ""},
		"markup": {func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) }, "<b>x\x1b[1m",
			[]string{"x[1m"}, "<b>x"},
		"no account": {func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) }, "Alice",
			[]string{`"agent":{`}, "account"},
	} {
		t.Run("LNK-33 "+name, func(t *testing.T) {
			b := newScenarioBench(t, test.scenario)
			a, _ := b.Users.Get("user_1")
			a.Name = test.account
			b.Users.Put(a)
			b.Mux("").Handle("/signed-out", b.RP.SignedOutHandler())
			c := b.Browser()
			if resp := b.Get(c, "/signed-out"); strings.Contains(resp.Text, "account") {
				t.Errorf("nobody: %s", resp.Text)
			}
			b.MustSignIn(c, b.Agent)
			program, person := b.Get(c, "/signed-out").Text, b.Get(c, "/signed-out", "Accept", page).Text
			for _, text := range test.want {
				if !strings.Contains(program, text) {
					t.Errorf("a program gets %s, want %s", program, text)
				}
			}
			if test.not != "" && (strings.Contains(program, test.not) || strings.Contains(person, test.not)) {
				t.Errorf("%q in %s and %s", test.not, program, person)
			}
			shown := "It acts in the account <strong><bdi>" + template.HTMLEscapeString(strings.ReplaceAll(or(test.account, "user_1"), "\x1b", "")) + "</bdi></strong>"
			if strings.Contains(person, shown) != (name != "no account") {
				t.Errorf("a person gets %s, want %s", person, shown)
			}
		})
	}
}

// unwrapped is a scenario around another.
type unwrapped struct{ authagent.Scenario }

func (u unwrapped) Unwrap() authagent.Scenario { return u.Scenario }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// TestPages: a site's own pages, with everything that Page says.
func TestPages(t *testing.T) {
	pages := template.Must(template.New("").Parse(`
{{define "refused"}}<title>Shop: {{.Title}}</title>{{.Status}} {{.Code}} {{.Retry}} {{.Home}} {{.RequestID}} {{.Button}}{{end}}
{{define "signed-out"}}<title>Shop: {{.Title}}</title>{{with .Session}}{{.Agent.ID}} acts{{end}}{{end}}`))
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.Pages = pages })
	mux := b.Mux("")
	mux.Handle("/signed-out", b.RP.SignedOutHandler())
	mux.HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src https://cdn.example")
		b.RP.CallbackHandler().ServeHTTP(w, r)
	})
	c := b.Browser()
	resp := b.Get(c, "/auth/agent/callback?code=a&state=b", "Accept", page)
	for _, want := range []string{"Shop: No such sign-in", "400 state_mismatch false / ", "Sign in with Auth Agent"} {
		if !strings.Contains(resp.Text, want) {
			t.Errorf("the page lacks %q: %s", want, resp.Text)
		}
	}
	policy := resp.Header.Get("Content-Security-Policy")
	if resp.StatusCode != 400 || !strings.Contains(policy, "default-src 'self'") || !strings.Contains(policy, signpost.StyleHash) {
		t.Errorf("status %d, policy %q", resp.StatusCode, policy)
	}
	resp = b.Get(c, "/own?code=a&state=b", "Accept", page)
	if got := resp.Header.Get("Content-Security-Policy"); got != "default-src https://cdn.example" {
		t.Errorf("the site's policy became %q", got)
	}
	b.MustSignIn(c, b.Agent)
	if resp := b.Get(c, "/signed-out", "Accept", page); !strings.Contains(resp.Text, "Shop: An agent is signed in") || !strings.Contains(resp.Text, "agent_alice acts") {
		t.Errorf("signed-out: %s", resp.Text)
	}
	if resp := b.Get(c, "/auth/agent/callback?code=a"); resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a program gets %s", resp.Header.Get("Content-Type"))
	}
}

// TestPagesFail: a mistake in the site's page is no reason to leave a client
// without an answer, and is in the log.
func TestPagesFail(t *testing.T) {
	b := newBench(t, func(_ *bench, c *authagent.Config) {
		c.Pages = template.Must(template.New("refused").Parse(`<h1>half a page</h1>{{.NoSuchField}}`))
	})
	resp := b.Get(b.Browser(), "/auth/agent/callback?code=a&state=b", "Accept", page)
	if resp.StatusCode != 400 || !strings.Contains(resp.Text, "<h1>No such sign-in</h1>") || strings.Contains(resp.Text, "half a page") {
		t.Errorf("status %d: %s", resp.StatusCode, resp.Text)
	}
	if !strings.Contains(b.Log.String(), "NoSuchField") {
		t.Errorf("the log does not say so: %s", b.Log)
	}
	c := validConfig()
	c.Pages = template.Must(template.New("refusal").Parse(``))
	if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "authagent: Pages: ") {
		t.Errorf("templates that replace nothing: %v", err)
	}
}

// styleAllowed checks that the page's policy has the hash of its style sheet:
// a browser drops the sheet otherwise.
func styleAllowed(t *testing.T, when string, resp *response) {
	t.Helper()
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(resp.Text)
	if style == nil {
		t.Fatalf("%s: no style in %s", when, resp.Text)
	}
	sum := sha256.Sum256([]byte(style[1]))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(resp.Header.Get("Content-Security-Policy"), want) {
		t.Errorf("%s: the policy %q lacks %s", when, resp.Header.Get("Content-Security-Policy"), want)
	}
}

// TestStyleIsAllowed_WEB_3 is WEB-3: on the package's own pages, and on a site's, however
// the site puts the style sheet into its template.
func TestStyleIsAllowed_WEB_3(t *testing.T) {
	b := newDiscoveryBench(t)
	mux := b.Mux("")
	mux.Handle("/signed-out", b.RP.SignedOutHandler())
	asFunction := template.Must(template.New("").Funcs(template.FuncMap{
		"style": func() template.CSS { return signpost.Style },
	}).Parse(`<style>{{style}}</style>`))
	mux.HandleFunc("/function", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "style-src '"+signpost.StyleHash+"'")
		asFunction.Execute(w, nil)
	})
	for _, path := range []string{"/signed-out", "/auth/agent/callback", "/page", "/function"} {
		styleAllowed(t, path, b.Get(b.Browser(), path, "Accept", page))
	}
}

// TestPagesNameTheSite: a page of the package says which site it is of.
func TestPagesNameTheSite(t *testing.T) {
	k := newCluster(t)
	if host := k.RP.Host(); host != "shop.example" {
		t.Errorf("Host %q", host)
	}
	for _, want := range []string{"<title>Sign-in required · shop.example</title>", `">Back to shop.example</a>`} {
		if resp := k.Do(k.Browser(), http.MethodPost, "/me", "Accept", "text/html"); !strings.Contains(resp.Text, want) {
			t.Errorf("the page lacks %q:\n%s", want, resp.Text)
		}
	}
}
