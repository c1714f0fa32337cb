package grants_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
)

// inGerman gives a site the German texts too.
func inGerman(t *testing.T) func(*site, *authagent.Config) {
	german, err := messages.Parse("de", "")
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *site, c *authagent.Config) {
		c.Languages = []*messages.Language{messages.English(), german}
	}
}

// TestListSaysConsent_OWN_18: the list says what lets an agent in. Where consent at the server is
// enough, it does not say that nothing gets in without the owner.
func TestListSaysConsent_OWN_18(t *testing.T) {
	const (
		approve, consent     = "No agent gets in unless you approve it.", "or if you have agreed to it at the service where it signs in."
		asks, enters         = "here by itself. Its request then appears", "it gets in at once. Otherwise its request appears"
		german, germanEnters = "oder ihm bei dem Dienst zugestimmt haben, bei dem er sich anmeldet.", "kommt er sofort hinein."
	)
	s := newSite(t, inGerman(t))
	alice := s.human(s.alice)
	has(t, s.page(alice), approve, asks, "!"+consent, "!"+enters)
	s.owners.ApproveByConsent = []string{s.as.URL}
	has(t, s.page(alice), consent, enters, "!"+approve, "!"+asks)
	has(t, s.do(alice, "GET", agents, "", "Accept", htmlOnly, "Accept-Language", "de").body, german, germanEnters, "!ohne Ihre Zustimmung", "!"+consent)
	s.owners.OwnerStartedOnly = true
	has(t, s.page(alice), "!"+asks, "!"+enters)
	s.owners.OwnerStartedOnly = false
	s.grant(pending) // the lead stands elsewhere then
	has(t, s.page(alice), "Waiting for your answer", consent, "!"+approve)
}

// TestLimitedByScopes_OWN_18: where an agent acts for a user of the server, each place where it is
// given something says that the server may allow it less.
func TestLimitedByScopes_OWN_18(t *testing.T) {
	const says, saysGerman = "The service where it signs in may allow it less than you do here.", "Der Dienst, bei dem er sich anmeldet, erlaubt ihm vielleicht weniger als Sie hier."
	for _, subject := range []string{"", "user_1"} {
		s := newSite(t, inGerman(t))
		alice, want := s.human(s.alice), says
		if subject == "" {
			want = "!" + says
		}
		of := func(state grants.State) grants.Grant {
			return s.grant(func(g *grants.Grant) {
				if state == grants.Pending {
					pending(g)
				}
				g.ID, g.Agent.ID, g.State, g.Subject = "g-"+string(state), "agent_"+string(state), state, subject
			})
		}
		waits := of(grants.Pending)
		page := s.page(alice)
		has(t, page, "An agent wants to use your account", want)
		if n := strings.Count(page, says); n > 1 {
			t.Errorf("it is said %d times", n)
		}
		in := of(grants.Approved)
		for _, state := range []grants.State{grants.Revoked, grants.Suspended} {
			of(state)
			has(t, s.at(alice, "agents/g-"+string(state)), want)
		}
		own := s.at(alice, "agents/"+in.ID)
		has(t, own, "It may</strong>", want)
		if n := strings.Count(own, says); n > 1 {
			t.Errorf("it is said %d times", n)
		}
		if subject != "" {
			has(t, s.do(alice, "GET", agents+"agents/"+in.ID, "", "Accept", htmlOnly, "Accept-Language", "de").body, saysGerman)
		}
		stopped := s.do(alice, "POST", agents+"revoke", form(append(versionOf(in), "agent", in.ID)...), "Accept", htmlOnly)
		if stopped.StatusCode != http.StatusSeeOther {
			t.Fatalf("revoke: %d %s", stopped.StatusCode, stopped.body)
		}
		undo := s.at(alice, "agents/"+in.ID+"?done=revoked")
		_, undo, _ = strings.Cut(undo, `<form class="undo"`)
		undo, _, _ = strings.Cut(undo, "</form>")
		if strings.Contains(undo, says) != (subject != "") {
			t.Errorf("to undo it: %q", undo)
		}
		s.owners.Confirm = &fixedPrompt{}
		asked := s.do(alice, "POST", agents+"approve", form(append(versionOf(waits), "access", "read")...), "Accept", htmlOnly)
		has(t, asked.body, "Confirm that it is you", want)
	}
}

// TestConsentWithoutEffect_OWN_19: consent that can let nobody in is told at New, once and with the reason.
func TestConsentWithoutEffect_OWN_19(t *testing.T) {
	const warning, users, issuer = "ApproveByConsent has no effect", "Provider.SubjectIsUser and a UserStore with UserBySubject", "no entry is equal to Config.Issuer, byte for byte"
	for name, test := range map[string]struct {
		consent  []string
		subjects bool // a UserStore that has them
		isUser   bool
		why      string
	}{
		"it counts":                    {[]string{"https://other.example", "https://as.example"}, true, true, ""},
		"not set":                      {nil, false, false, ""},
		"the server names no user":     {[]string{"https://as.example"}, true, false, users},
		"no account is found by users": {[]string{"https://as.example"}, false, true, users},
		"another issuer":               {[]string{"https://as.example/"}, true, true, issuer},
		"neither":                      {[]string{"https://other.example"}, false, false, users},
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			o := options{
				policy: func(p *grants.Policy) {
					p.ApproveByConsent, p.Logger = test.consent, slog.New(slog.NewTextHandler(&logged, nil))
				},
				config: func(_ *shop, c *authagent.Config) { c.Provider.SubjectIsUser = test.isUser },
			}
			if test.subjects {
				o.users = func(*shop) authagent.UserStore { return &memstore.SubjectUsers{} }
			}
			newShop(t, o)
			got := logged.String()
			if test.why == "" {
				if strings.Contains(got, "ApproveByConsent") {
					t.Errorf("logged %s", got)
				}
				return
			}
			if strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, warning) || !strings.Contains(got, test.why) || !strings.Contains(got, "issuer=https://as.example ") {
				t.Errorf("logged %s", got)
			}
		})
	}
}
