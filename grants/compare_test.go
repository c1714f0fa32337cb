package grants_test

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

var (
	codeForm  = regexp.MustCompile(`^[2-9BCDFGHJKMNPQRSTVWXZ]{3}-[2-9BCDFGHJKMNPQRSTVWXZ]{3}$`)
	codeShown = regexp.MustCompile(`<p class="compare"><code>([^<]*)</code></p>`)
	differing = regexp.MustCompile(`"request_id":"[^"]*"|(request|Anfrage) [A-Z2-7]{16}|-login-[^=]*=`)
)

// observed is a policy that keeps what New tells it.
type observed struct {
	*grants.Policy
	site *authagent.Site
}

func (o observed) Introduce(site authagent.Site) {
	*o.site = site
	o.Policy.Introduce(site)
}

// TestCompare_LNK_47 is LNK-47: what an agent is shown is the same, to the letter, whether
// there is an account or not and whatever has become of its requests there.
func TestCompare_LNK_47(t *testing.T) {
	var first []string // the answers in the first case
	for name, prepare := range map[string]func(s *shop){
		"unknown":    func(*shop) {},
		"known":      func(s *shop) { s.users.Add("x@example.com", "X") },
		"unverified": func(s *shop) { s.users.Put(memstore.Account{Email: "x@example.com"}) },
		"disabled": func(s *shop) {
			s.users.Put(memstore.Account{User: authagent.User{Disabled: true, EmailVerified: true}, Email: "x@example.com"})
		},
		"denied": func(s *shop) {
			id := s.users.Add("x@example.com", "X")
			s.wantSignIn(s.browser(), s.agent("agent_x", "x@example.com"), 403, problem.ApprovalNeeded)
			s.decide(id, "agent_x", grants.Denied)
		},
		"flooded": func(s *shop) {
			s.users.Add("x@example.com", "X")
			for i := range 20 {
				s.wantSignIn(s.browser(), s.agent(fmt.Sprint("flood_", i), "x@example.com"), 403, problem.ApprovalNeeded)
			}
		},
	} {
		bubble(t, name, func(t *testing.T) {
			var site authagent.Site
			s := newShop(t, options{
				config: func(_ *shop, c *authagent.Config) {
					c.SignInPath, c.SessionKeys = "/sign-in", [][]byte{[]byte("a key that all of these sites have")}
					c.Rules = nil // the policy has them
					c.Languages = []*messages.Language{messages.English(), messages.German()}
				},
				link: func(p *grants.Policy) authagent.LinkPolicy { return observed{p, &site} },
			})
			prepare(s)
			agent := s.agent("agent_x", "x@example.com")
			var answers []string
			for _, header := range [][]string{nil, {"Accept", htmlOnly}, {"Accept", htmlOnly, "Accept-Language", "de"}} {
				c := s.browser()
				resp := s.get(c, s.callback(c, agent), header...)
				resp.Header.Del("Date")
				answers = append(answers, differing.ReplaceAllString(fmt.Sprint(resp.StatusCode, resp.Header, resp.body), ""))
			}
			code := site.Compare(s.named("agent_x"), "x@example.com")[0]
			if !codeForm.MatchString(code) || !strings.Contains(answers[0], `"compare":"`+code+`","owner_page":"https://shop.example/account/agents/"`) {
				t.Errorf("LNK-47 a program is told, with the code %q,\n%s", code, answers[0])
			}
			for _, page := range answers[1:] {
				shown := codeShown.FindStringSubmatch(page)
				if shown == nil || shown[1] != code {
					t.Errorf("LNK-47 code %q, want %q:\n%s", shown, code, page)
				}
				for _, want := range []string{
					`<a href="https://shop.example/account/agents/">https://shop.example/account/agents/</a>`,
					`<a href="/sign-in?return_to=%2Faccount%2Fagents%2F">`, `<p class="quiet" lang="en"><a class="auth-agent-button"`,
				} {
					if !strings.Contains(html.UnescapeString(page), html.UnescapeString(want)) {
						t.Errorf("the page lacks %s:\n%s", want, page)
					}
				}
			}
			if first == nil {
				first = answers
			}
			for i := range answers {
				if diff := cmp.Diff(first[i], answers[i]); diff != "" {
					t.Errorf("LNK-47 an agent can tell that the account is %s:\n%s", name, diff)
				}
			}
		})
	}
}

// TestCompareSuspended_LNK_48 is LNK-48: an agent that has to be approved again has the
// code that its owner's page shows, and where only owners connect agents there is no code.
func TestCompareSuspended_LNK_48(t *testing.T) {
	bubble(t, "LNK-48", func(t *testing.T) {
		var site authagent.Site
		link := func(p *grants.Policy) authagent.LinkPolicy { return observed{p, &site} }
		s := newShop(t, options{link: link, config: func(_ *shop, c *authagent.Config) { c.Rules = nil }})
		agent, c := s.approved("agent_1")
		agent.Email = "changed@example.com"
		s.as.AddAgent(*agent)
		resp := s.signIn(c, agent)
		want := `"compare":"` + site.Compare(s.named("agent_1"), "changed@example.com")[0] + `"`
		if resp.reason() != problem.Suspended || !strings.Contains(resp.body, want) {
			t.Errorf("LNK-48 suspended: %s, want %s", resp.body, want)
		}
		if got := s.grants(s.alice)["agent_1"].Email; got != "changed@example.com" {
			t.Errorf("the owner's page makes the code of %q", got)
		}

		s = newShop(t, options{policy: func(p *grants.Policy) { p.OwnerStartedOnly = true }})
		c = s.browser()
		page := s.get(c, s.callback(c, s.agent("agent_1", "alice@example.com")), "Accept", htmlOnly).body
		if strings.Contains(page, `class="compare"`) || !strings.Contains(page, "and connect this agent") {
			t.Errorf("LNK-48 owner-started only: %s", page)
		}
	})
}
