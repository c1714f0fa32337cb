package grants_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// TestCause_OWN_13: whatever has paused an agent, its owner reads that and nothing else, and a program
// gets it as a code. Without a cause, from a version that kept none, nothing is guessed.
func TestCause_OWN_13(t *testing.T) {
	address := func(s *site) {
		r := authagent.LinkRequest{Agent: s.now("g1").Agent, Scenario: "FullAccount", User: &authagent.User{ID: s.alice}, Email: "alice@other.example"}
		if _, err := s.owners.Link(t.Context(), r); !errors.Is(err, problem.Suspended) {
			t.Fatal(err)
		}
	}
	store := func(change func(*grants.Grant)) func(*site) {
		return func(s *site) {
			g := s.now("g1")
			change(&g)
			if _, err := s.store.UpdateGrant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
	}
	pause := func(s *site) {
		if resp := s.do(s.human(s.alice), "POST", agents+"suspend", form(versionOf(s.now("g1"))...)); resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode, resp.body)
		}
	}
	for name, test := range map[string]struct {
		pause           func(*site)
		cause           grants.Cause
		english, german string
	}{
		"its owner": {pause, grants.CauseOwner, "You paused it on 1 January 2000.", "Sie haben ihn am 1. Januar 2000 pausiert."},
		"another address": {
			address, grants.CauseAddress,
			"Paused: at the server where it signs in, its owner has another e-mail address now. So it may belong to somebody else.",
			"Pausiert: Auf dem Server, an dem er sich anmeldet, hat sein Besitzer jetzt eine andere E-Mail-Adresse. Er gehört vielleicht jemand anderem.",
		},
		"not kept":                {store(func(g *grants.Grant) { g.State = grants.Suspended }), "", "Paused.", "Pausiert."},
		"kept by a newer version": {store(func(g *grants.Grant) { g.State, g.Cause = grants.Suspended, "moon" }), "moon", "Paused.", "Pausiert."},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(_ *site, c *authagent.Config) {
				c.Languages = []*messages.Language{messages.English(), messages.German()}
			})
			s.grant(nil)
			test.pause(s)
			store(func(g *grants.Grant) { g.DecidedAt = time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC) })(s)
			alice := s.human(s.alice)
			for language, want := range map[string]string{"en": test.english, "de": test.german} {
				for _, path := range []string{"agents/g1", "?past=1"} {
					page := s.do(alice, "GET", agents+path, "", "Accept", htmlOnly, "Accept-Language", language).body
					if got := standing(page); got != want {
						t.Errorf("OWN-13 %s in %s: %q, want %q", path, language, got, want)
					}
				}
			}
			var told grants.Overview
			if err := json.Unmarshal([]byte(s.do(alice, "GET", agents+"agents/g1", "").body), &told); err != nil || told.Grants[0].Cause != test.cause {
				t.Errorf("OWN-13 JSON: %+v, %v, want cause %q", told.Grants, err, test.cause)
			}
		})
	}
}

// TestCauseEnds_OWN_13: what ends a suspension takes its cause away, so that a later one is not taken
// for it.
func TestCauseEnds_OWN_13(t *testing.T) {
	for name, end := range map[string]func(*site, grants.Grant) error{
		"approved": func(s *site, g grants.Grant) error {
			_, err := s.owners.Decide(t.Context(), s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
			return err
		},
		"stopped": func(s *site, g grants.Grant) error {
			_, err := s.owners.Decide(t.Context(), s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Revoked})
			return err
		},
		"all stopped": func(s *site, _ grants.Grant) error { return s.owners.RevokeAll(t.Context(), s.alice) },
		"connected": func(s *site, g grants.Grant) error {
			return s.owners.LinkByOwner(t.Context(), authagent.LinkRequest{Agent: g.Agent, Scenario: g.Scenario, User: &authagent.User{ID: s.alice}})
		},
		"forgotten by an operator": func(s *site, g grants.Grant) error { return s.owners.ForgetAgent(t.Context(), "", g.Agent) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.grant(func(g *grants.Grant) { g.State, g.Cause = grants.Suspended, grants.CauseOwner })
			if err := end(s, g); err != nil {
				t.Fatal(err)
			}
			if g := s.now("g1"); g.State == grants.Suspended || g.Cause != "" {
				t.Errorf("OWN-13: %s, cause %q", g.State, g.Cause)
			}
		})
	}
}

// standing returns how the only agent of a page stands.
func standing(page string) string {
	m := regexp.MustCompile(`(?s)<p class="lead">(.*?) (?:Never used|Nie genutzt)|<span class="may">(.*?)</span>`).FindStringSubmatch(page)
	return strings.Join(regexp.MustCompile(`<[^>]*>`).Split(m[1]+m[2], -1), "")
}
