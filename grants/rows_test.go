package grants_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// TestPagesOfList_OWN_1: a page has links to those beside it, and what waits is on the first one alone,
// where nothing was searched for.
func TestPagesOfList_OWN_1(t *testing.T) {
	s := newSite(t)
	for i := range 60 {
		s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = fmt.Sprint("in", i), fmt.Sprint("agent_in", i) })
	}
	s.grant(func(g *grants.Grant) { pending(g); g.ID, g.Agent.ID = "asks", "agent_asks" })
	alice := s.human(s.alice)
	const first, second, third = `href="?page=1"`, `href="?page=2"`, `href="?page=3"`
	for page, want := range map[string][]string{
		"":        {"!" + first, "!rel=\"prev\"", second, "Page 1 of 3", "h-asks"},
		"?page=0": {"!" + first, "!rel=\"prev\"", second, "Page 1 of 3", "h-asks"},
		"?page=x": {"!" + first, "!rel=\"prev\"", second, "Page 1 of 3", "h-asks"},
		"?page=2": {first, third, "Page 2 of 3", "!h-asks", `<a class="button" href="?waiting=1">`},
		"?page=3": {second, "!rel=\"next\"", "Page 3 of 3", "!h-asks"},
		"?page=9": {second, "!rel=\"next\"", "Page 3 of 3", "!h-asks"},
		"?q=in1":  {"!h-asks", "agents/in1", "!agents/in2", "!rel=\"next\""},
		"?q=asks": {"!h-asks", "!agents/in1"},
	} {
		has(t, s.at(alice, page), want...)
	}
}

// TestRowOfMany_OWN_2: an agent with several grants stands where the best of them puts it: in force,
// over and shown, hidden, and last what only waits, which stands above all agents.
func TestRowOfMany_OWN_2(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	for _, agent := range []struct {
		id     string
		states []string
	}{
		{"in", []string{"hidden", "denied", "pending", "approved"}}, {"out", []string{"hidden", "pending", "denied"}}, {"away", []string{"pending", "hidden"}},
		{"asks", []string{"pending", "pending"}},
	} {
		for i, state := range agent.states {
			s.grant(func(g *grants.Grant) {
				g.ID, g.Agent.ID, g.Scenario, g.State = fmt.Sprint(agent.id, "-", state, i), "agent_"+agent.id, fmt.Sprint("Scenario", i), grants.State(state)
				g.DecidedAt = now.Add(-time.Duration(i) * time.Minute)
				switch state {
				case "hidden":
					g.State, g.Hidden = grants.Denied, true
				case "pending":
					pending(g)
				}
			})
		}
	}
	alice := s.human(s.alice)
	rows := func(below string) (ids []string) {
		for _, m := range regexp.MustCompile(`<li><a href="`+agents+`agents/([^"]+)">`).FindAllStringSubmatch(s.at(alice, below), -1) {
			ids = append(ids, m[1])
		}
		return ids
	}
	for below, want := range map[string][]string{"": {"in-approved3"}, "?past=1": {"out-denied2"}, "?past=1&hidden=1": {"away-hidden1"}} {
		if diff := cmp.Diff(want, rows(below)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", below, diff)
		}
	}
}

// TestRestoredWaits_RST_7: an agent that a restored backup has stopped waits for its owner, until the owner decides.
func TestRestoredWaits_RST_7(t *testing.T) {
	restored := func(g *grants.Grant) {
		g.ID, g.Agent.ID, g.State, g.Cause = "back", "agent_back", grants.Suspended, grants.CauseRestored
	}
	const waits, link = `h-back`, `href="` + agents + `agents/back"`
	for name, test := range map[string]struct {
		change      func(*grants.Grant)
		first, past []string
	}{
		"restored": {restored, []string{waits, link, "This site was restored from a backup", "!?past=1"}, []string{"!" + link}},
		"paused by its owner": {func(g *grants.Grant) { restored(g); g.Cause = grants.CauseOwner },
			[]string{"!" + waits, "!restored from a backup", "?past=1"}, []string{link}},
		"hidden since":  {func(g *grants.Grant) { restored(g); g.Hidden = true }, []string{"!" + waits}, []string{"!" + link}},
		"stopped since": {func(g *grants.Grant) { restored(g); g.State, g.Cause = grants.Revoked, "" }, []string{"!" + waits}, []string{link}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(test.change)
			alice := s.human(s.alice)
			has(t, s.at(alice, ""), test.first...)
			has(t, s.at(alice, "?past=1"), test.past...)
			has(t, s.at(alice, "?waiting=1"), test.first[0])
		})
	}
}

// TestRowSaysWhatIsInForce_OWN_2: the row of an agent has what its grants in force give, each in its
// scenario, and not what another one gave.
func TestRowSaysWhatIsInForce_OWN_2(t *testing.T) {
	for name, test := range map[string]struct {
		second func(*grants.Grant)
		want   []string
	}{
		"over":                  {func(g *grants.Grant) { g.State = grants.Revoked }, []string{">See your account<"}},
		"soon over":             {func(g *grants.Grant) { g.Access = authagent.AccessRead }, []string{">See your account, and place orders · until"}},
		"full where nothing is": {func(g *grants.Grant) { g.Actions = nil }, []string{">See your account · until"}},
		"full":                  {func(g *grants.Grant) { g.Scenario = "FreshProfile" }, []string{">Do almost everything that you can do here · until"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			s.grant(func(g *grants.Grant) {
				g.ID, g.Scenario, g.Access, g.Actions, g.ExpiresAt = "second", "ContextualProfile", authagent.AccessFull, []string{"orders:create"}, time.Now().Add(time.Hour)
				test.second(g)
			})
			_, row, _ := strings.Cut(s.page(s.human(s.alice)), `<ul class="rows">`)
			has(t, "<body>"+row, test.want...)
		})
	}
}

// TestLastUseOfMany_OWN_2: the row of an agent says when it was used last, by whichever of its grants.
func TestLastUseOfMany_OWN_2(t *testing.T) {
	for _, last := range []string{"g1", "g2"} {
		s := newSite(t)
		s.grant(nil)
		s.grant(func(g *grants.Grant) { g.ID, g.Scenario = "g2", "ContextualProfile" })
		for _, id := range []string{"g1", "g2"} {
			seen := time.Now().Add(-5 * time.Hour)
			if id == last {
				seen = time.Now().Add(-2 * time.Hour)
			}
			if _, err := s.store.Touch(t.Context(), grants.Activity{SessionID: "s" + id, GrantID: id, UserID: s.alice, SeenAt: seen, ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		}
		has(t, s.page(s.human(s.alice)), "2 hours ago", "!5 hours ago")
	}
}

// TestSearchable: a list is searched where that helps, and where it was searched already.
func TestSearchable(t *testing.T) {
	for _, test := range []struct {
		page grants.Page
		want bool
	}{
		{grants.Page{Allowed: 10}, false}, {grants.Page{Allowed: 11}, true}, {grants.Page{Past: 99, HiddenPast: 99}, false}, {grants.Page{Query: "x"}, true},
		{grants.Page{View: "past", Past: 5, HiddenPast: 5}, false}, {grants.Page{View: "past", Past: 5, HiddenPast: 6}, true}, {grants.Page{View: "past", Allowed: 99}, false},
		{grants.Page{View: "past", Query: "x"}, true}, {grants.Page{View: "waiting", Allowed: 99, Past: 99}, false}, {grants.Page{View: "actions", Allowed: 99, Past: 99}, false},
	} {
		if got := test.page.Searchable(); got != test.want {
			t.Errorf("view %q, query %q, %d, %d and %d: %v", test.page.View, test.page.Query, test.page.Allowed, test.page.Past, test.page.HiddenPast, got)
		}
	}
}

// TestHiddenOfPast_OWN_4: what is hidden belongs to the agents that may not act. In another view
// there is nothing of it to ask for.
func TestHiddenOfPast_OWN_4(t *testing.T) {
	s := newSite(t)
	for i := range 30 {
		s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = fmt.Sprint("in", i), fmt.Sprint("agent_in", i) })
	}
	for i := range 30 {
		s.grant(func(g *grants.Grant) {
			g.ID, g.Agent.ID, g.State, g.Hidden = fmt.Sprint("out", i), fmt.Sprint("agent_out", i), grants.Denied, true
		})
	}
	alice := s.human(s.alice)
	has(t, s.at(alice, "?past=1&hidden=1"), "agents/out", `href="?hidden=1&amp;page=2&amp;past=1"`, "<h1>Forgotten")
	has(t, s.at(alice, "?past=1&hidden=1&q=out"), `href="?hidden=1&amp;page=2&amp;past=1&amp;q=out"`)
	has(t, s.at(alice, "?hidden=1"), "agents/in", `href="?page=2"`, "<h1>", "!<h1>Forgotten", "!agents/out")
}
