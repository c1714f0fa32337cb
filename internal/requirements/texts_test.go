package requirements_test

import (
	"html/template"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/messages"
)

func inTwoLanguages(c *authagent.Config) {
	c.Languages = []*messages.Language{messages.English(), messages.German()}
}

// TestLanguage_TXT_2 is TXT-2: which language a page is in, and that it says so.
func TestLanguage_TXT_2(t *testing.T) {
	const refused, signedOut = "/auth/agent/callback?code=a&state=b", "/signed-out"
	byCookie := func(r *http.Request) string {
		if c, err := r.Cookie("language"); err == nil {
			return c.Value
		}
		return ""
	}
	for _, test := range []struct {
		name          string
		language      func(*http.Request) string
		accept        string // Accept-Language
		cookie        string
		lang, heading string // of the refused page
	}{
		{"TXT-2 no preference", nil, "", "", "en", "No such sign-in"},
		{"TXT-2 German", nil, "de-AT, en;q=0.5", "", "de", "Keine solche Anmeldung"},
		{"TXT-2 a language that is not there", nil, "fr", "", "en", "No such sign-in"},
		{"TXT-2 the site's choice", byCookie, "en", "de", "de", "Keine solche Anmeldung"},
		{"TXT-2 the site has no choice", byCookie, "de", "", "de", "Keine solche Anmeldung"},
		{"TXT-2 the site's choice is not there", byCookie, "de", "fr", "de", "Keine solche Anmeldung"},
		{"TXT-2 the site's choice panics", func(*http.Request) string { panic("x") }, "de", "", "de", "Keine solche Anmeldung"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(_ *bench, c *authagent.Config) { inTwoLanguages(c); c.Language = test.language })
			b.Mux("").Handle(signedOut, b.RP.SignedOutHandler())
			for path, heading := range map[string]string{refused: test.heading, signedOut: map[string]string{"en": "Signed out", "de": "Abgemeldet"}[test.lang]} {
				header := []string{"Accept", page, "Accept-Language", test.accept}
				if test.cookie != "" {
					header = append(header, "Cookie", "language="+test.cookie)
				}
				resp := b.Get(b.Browser(), path, header...)
				if !strings.Contains(resp.Text, `<html lang="`+test.lang+`">`) || !strings.Contains(resp.Text, "<h1>"+heading+"</h1>") {
					t.Errorf("TXT-2 %s: %s", path, resp.Text)
				}
				if got := resp.Header.Get("Content-Language"); got != test.lang || !strings.Contains(strings.Join(resp.Header["Vary"], ","), "Accept-Language") {
					t.Errorf("TXT-2 %s: Content-Language %q, Vary %q", path, got, resp.Header["Vary"])
				}
			}
			program := b.Get(b.Browser(), refused, "Accept-Language", "de")
			if !strings.Contains(program.Text, `"title":"No such sign-in"`) || program.Header.Get("Content-Language") != "" {
				t.Errorf("TXT-2 a program gets %v %s", program.Header, program.Text)
			}
		})
	}
	b := newBench(t)
	if resp := b.Get(b.Browser(), refused, "Accept", page, "Accept-Language", "de"); strings.Contains(strings.Join(resp.Header["Vary"], ","), "Language") || !strings.Contains(resp.Text, `lang="en"`) {
		t.Errorf("TXT-2 one language: %v %s", resp.Header, resp.Text)
	}
}

// TestTemplateLanguage_TXT_2 is TXT-2 for a site's own page.
func TestTemplateLanguage_TXT_2(t *testing.T) {
	b := newBench(t, func(_ *bench, c *authagent.Config) {
		inTwoLanguages(c)
		c.Pages = template.Must(template.New("refused").Parse(`{{.Lang.Tag}}: {{.Title}} {{.Detail}} {{.Lang.Text "page.back" "site" "S"}}`))
	})
	resp := b.Get(b.Browser(), "/auth/agent/callback?code=a&state=b", "Accept", page, "Accept-Language", "de")
	if want := "de: Keine solche Anmeldung In diesem Browser läuft keine Anmeldung, zu der diese Antwort gehört. Beginnen Sie von vorn. Zurück zu S"; resp.Text != want {
		t.Errorf("TXT-2: %s", resp.Text)
	}
}

// TestFrame_TXT_3 is TXT-3: the site's frame is around the package's pages, may load what is
// the site's but no script, and a mistake in it costs no page.
func TestFrame_TXT_3(t *testing.T) {
	pages := template.Must(template.New("").Parse(`
{{define "header"}}<link rel="stylesheet" href="/frame.css"><a href="/">Shop {{.Lang.Tag}}</a>{{end}}
{{define "footer"}}<p>The shop's foot</p>{{end}}{{define "back"}}<a href="{{.Home}}">The shop's way back</a>{{end}}`))
	b := newBench(t, func(_ *bench, c *authagent.Config) { inTwoLanguages(c); c.Pages = pages })
	b.Mux("").Handle("/signed-out", b.RP.SignedOutHandler())
	for _, path := range []string{"/auth/agent/callback?code=a&state=b", "/signed-out"} {
		resp := b.Get(b.Browser(), path, "Accept", page, "Accept-Language", "de")
		for _, want := range []string{
			`<header><link rel="stylesheet" href="/frame.css"><a href="/">Shop de</a></header>`, "<footer><p>The shop&#39;s foot</p></footer>",
			`<a href="/">The shop&#39;s way back</a>`, "<h1>",
		} {
			if !strings.Contains(strings.ReplaceAll(resp.Text, "'s", "&#39;s"), want) {
				t.Errorf("TXT-3 %s lacks %s:\n%s", path, want, resp.Text)
			}
		}
		styleAllowed(t, path, resp)
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || !strings.Contains(policy, " 'self'; img-src 'self'; font-src 'self'; base-uri 'none'") || strings.Contains(policy, "script") {
			t.Errorf("TXT-3 %s: policy %q", path, policy)
		}
	}

	b = newBench(t, func(_ *bench, c *authagent.Config) {
		c.Pages = template.Must(template.New("").Parse(`{{define "header"}}half {{.Nothing}}{{end}}{{define "footer"}}foot{{end}}{{define "refused"}}half a page {{.Nothing}}{{end}}`))
	})
	resp := b.Get(b.Browser(), "/auth/agent/callback?code=a&state=b", "Accept", page)
	if resp.StatusCode != 400 || strings.Contains(resp.Text, "half") || !strings.Contains(resp.Text, "<h1>No such sign-in</h1>") || !strings.Contains(resp.Text, "<footer>foot</footer>") {
		t.Errorf("TXT-3 with a mistake: %d %s", resp.StatusCode, resp.Text)
	}
	if log := b.Log.String(); !strings.Contains(log, "part header of the frame") || !strings.Contains(log, `template: :1:`) {
		t.Errorf("TXT-3 the log does not say so: %s", log)
	}
}
