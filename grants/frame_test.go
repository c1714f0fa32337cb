package grants_test

import (
	"html/template"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/messages"
)

// TestFrame_TXT_3 is TXT-3 for the pages of this package.
func TestFrame_TXT_3(t *testing.T) {
	s := newSite(t, func(_ *site, c *authagent.Config) {
		c.Languages = []*messages.Language{messages.English(), messages.German()}
		c.Pages = template.Must(template.New("").Parse(`{{define "header"}}<b>shop {{.Lang.Tag}}</b>{{end}}{{define "footer"}}<b>foot</b>{{end}}{{define "back"}}<a href="/">way back</a>{{end}}`))
	})
	s.grant(nil)
	agent, alice := s.signedInAgent("agent_1"), s.human(s.alice)
	where := s.ask(agent, "POST", "/payouts", "amount=1")
	german := []string{"Accept", htmlOnly, "Accept-Language", "de"}
	whole := []string{"<header><b>shop de</b></header>", "<footer><b>foot</b></footer>", `<a href="/">way back</a>`, `<html lang="de">`}
	for name, test := range map[string]struct {
		resp *answered
		want []string
	}{
		"standing": {s.do(agent, "GET", where, "", german...), append(whole, "<h1>Warten auf den Inhaber des Kontos</h1>", "<dt>Gefragt</dt>")},
		"leave":    {s.do(alice, "POST", agents+"connect", "", german...), append(whole, "<h1>Einen Agenten verbinden</h1>")},
		"owner's":  {s.do(alice, "GET", agents, "", german...), whole},
	} {
		for _, want := range test.want {
			if !strings.Contains(test.resp.body, want) {
				t.Errorf("TXT-3 %s lacks %s:\n%s", name, want, test.resp.body)
			}
		}
		h := test.resp.Header
		if policy := h.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || !strings.Contains(policy, " 'self'; img-src 'self'; font-src 'self'; ") || strings.Contains(policy, "script") {
			t.Errorf("TXT-3 %s: policy %q", name, policy)
		}
		if h.Get("Content-Language") != "de" || !strings.Contains(strings.Join(h["Vary"], ","), "Accept-Language") {
			t.Errorf("TXT-2 %s: %v", name, h)
		}
	}
}

// TestWithoutFrame_TXT_3: a page for an agent, or one that leads away, says which site it is of. That
// loosens no policy.
func TestWithoutFrame_TXT_3(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	agent := s.signedInAgent("agent_1")
	for name, resp := range map[string]*answered{
		"standing": s.do(agent, "GET", s.ask(agent, "POST", "/payouts", "amount=1"), "", "Accept", htmlOnly),
		"leave":    s.do(s.human(s.alice), "POST", agents+"connect", "", "Accept", htmlOnly),
	} {
		if want := "<header>" + s.rp.Host() + "</header>"; !strings.Contains(resp.body, want) {
			t.Errorf("TXT-3 %s lacks %s:\n%s", name, want, resp.body)
		}
		if policy := resp.Header.Get("Content-Security-Policy"); strings.Contains(policy, "img-src") {
			t.Errorf("TXT-3 %s: policy %q", name, policy)
		}
	}
}
