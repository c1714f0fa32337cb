package grants_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// has checks that a page has each text, and none of those that begin with "!".
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		without, not := strings.CutPrefix(text, "!")
		if strings.Contains(page, without) == not {
			t.Errorf("want %q:\n%s", text, page[strings.Index(page, "<body>"):])
		}
	}
}

// TestPageIsBounded_OWN_1: no number of agents makes the list long, whatever their state,
// and all of them can be reached by its pages.
func TestPageIsBounded_OWN_1(t *testing.T) {
	for _, state := range []grants.State{grants.Approved, grants.Denied, grants.Pending} {
		s := newSite(t)
		for i := range 1000 {
			s.grant(func(g *grants.Grant) {
				g.ID, g.Agent.ID, g.Name = fmt.Sprintf("grant%d.", i), fmt.Sprintf("agent_%032x", i), strings.Repeat("n", 60)
				if g.State = state; state == grants.Pending {
					pending(g)
				}
			})
		}
		alice := s.human(s.alice)
		view := map[grants.State]string{grants.Approved: "?", grants.Denied: "?past=1&", grants.Pending: "?waiting=1&"}[state]
		found := make(map[string]bool)
		last := 100
		if state != grants.Pending {
			last = 40
		}
		for page := range last {
			body := s.at(alice, fmt.Sprintf("%spage=%d", view, page+1))
			if len(body) > 60<<10 {
				t.Fatalf("%s: page %d has %d bytes", state, page+1, len(body))
			}
			for _, m := range regexp.MustCompile(`grant\d+\.`).FindAllString(body, -1) {
				found[m] = true
			}
		}
		if len(found) != 1000 {
			t.Errorf("%s: the pages have %d of 1000", state, len(found))
		}
		if first := s.page(alice); len(first) > 60<<10 {
			t.Errorf("%s: the list has %d bytes", state, len(first))
		}
		for _, page := range []string{"0", "-1", "x", "99999999999999999999", "1000000"} {
			s.at(alice, view+"page="+page)
		}
	}
}

// TestList_OWN_2: an agent is one row, by the owner's word or by its own, which is marked.
func TestList_OWN_2(t *testing.T) {
	s := newSite(t)
	s.owners.Reading = "orders and invoices"
	s.grant(func(g *grants.Grant) { g.Name, g.Actions = "Botty", []string{"orders:create"} })
	s.grant(func(g *grants.Grant) { g.ID, g.Scenario = "g2", "ContextualProfile" })
	s.grant(func(g *grants.Grant) { g.ID, g.Subject = "g3", "user_1" }) // another agent to its owner
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Access = "g4", "agent_4444444444", authagent.AccessFull })
	s.store.Touch(context.Background(), grants.Activity{SessionID: "s", GrantID: "g2", UserID: s.alice, SeenAt: time.Now().Add(-2 * time.Minute), ExpiresAt: time.Now().Add(time.Hour)})
	alice := s.human(s.alice)
	page := s.page(alice)
	has(t, page, "“Botty”</bdi> <span class=\"tag\">its own word, not checked</span>", "An agent (…444444)",
		">See your orders and invoices, and place orders<", "Do almost everything that you can do here", ">2 minutes ago</time>", "never used")
	if n := strings.Count(page, `href="/account/agents/agents/`); n != 3 {
		t.Errorf("%d rows", n)
	}
	own := s.at(alice, "agents/g2")
	has(t, own, "When it acts as you", "When it acts as itself", "It may</strong>", "It can never</strong>", "!203.0.113.7:")
	var o struct{ Grants []struct{ ID, May string } }
	if err := json.Unmarshal([]byte(s.do(alice, "GET", agents, "").body), &o); err != nil || len(o.Grants) != 4 {
		t.Fatal(err)
	}
	for _, g := range o.Grants {
		if g.ID == "g4" && g.May != "Do almost everything that you can do here" {
			t.Errorf("JSON: %+v", g)
		}
	}
	if err := json.Unmarshal([]byte(s.do(alice, "GET", agents+"agents/g1", "").body), &o); err != nil || len(o.Grants) != 2 {
		t.Errorf("JSON of the agent: %v %+v", err, o)
	}
}

// TestSearch_OWN_2 finds agents by the owner's word, their own words and their IDs.
func TestSearch_OWN_2(t *testing.T) {
	s := newSite(t)
	s.grant(func(g *grants.Grant) { g.Name, g.Model, g.Nickname, g.Agent.ID = "Botty", "gpt", "Helper", "agent_abc" })
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_xyz" })
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.State = "g3", "agent_denied", grants.Denied })
	alice := s.human(s.alice)
	for query, want := range map[string][]string{
		"bott": {"agents/g1"}, "GPT": {"agents/g1"}, "help": {"agents/g1"}, "_xyz": {"agents/g2"}, "agent_": {"agents/g1", "agents/g2"}, "nobody": {}, "denied": {},
	} {
		page := s.at(alice, "?q="+query)
		for _, id := range []string{"agents/g1", "agents/g2", "agents/g3"} {
			found := false
			for _, w := range want {
				found = found || w == id
			}
			if strings.Contains(page, id) != found {
				t.Errorf("%q finds %s: %v", query, id, !found)
			}
		}
	}
	has(t, s.at(alice, "?past=1&q=denied"), "agents/g3")
	has(t, s.at(alice, "?q=denied"), `?past=1&amp;q=denied`)
}

// TestNickname_OWN_3: a nickname is the owner's word, for all grants of the agent, and
// survives what is decided later.
func TestNickname_OWN_3(t *testing.T) {
	s := newSite(t)
	g := s.grant(func(g *grants.Grant) { pending(g); g.Name = "Account security" })
	s.grant(func(g *grants.Grant) { g.ID, g.Scenario = "g2", "ContextualProfile" })
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g3", "agent_other" })
	alice := s.human(s.alice)
	resp := s.do(alice, "POST", agents+"approve", form(append(versionOf(g), "nickname", "  My\u202e  helper "+strings.Repeat("é", 50))...))
	want := "My helper " + strings.Repeat("é", 30)
	var got grants.Grant
	if json.Unmarshal([]byte(resp.body), &got); got.Nickname != want || s.now("g2").Nickname != want || s.now("g3").Nickname != "" {
		t.Fatalf("%d %s, others %q %q", resp.StatusCode, resp.body, s.now("g2").Nickname, s.now("g3").Nickname)
	}
	s.do(alice, "POST", agents+"change", form(versionOf(s.now("g1"))...))
	s.do(alice, "POST", agents+"revoke", form(versionOf(s.now("g1"))...))
	if name := s.now("g1").Nickname; name != want {
		t.Errorf("after a change: %q", name)
	}
	stale := s.now("g1")
	if resp := s.do(alice, "POST", agents+"rename", form(append(versionOf(stale), "nickname", "<b>Robo</b>", "agent", "g1")...), "Accept", htmlOnly); resp.Header.Get("Location") != agents+"agents/g1?done=renamed" {
		t.Errorf("rename: %d %v", resp.StatusCode, resp.Header)
	}
	if resp := s.do(alice, "POST", agents+"rename", form(append(versionOf(stale), "nickname", "x")...)); resp.StatusCode != 409 {
		t.Errorf("rename what has changed: %d", resp.StatusCode)
	}
	if got := s.now("g2").Nickname; got != "<b>Robo</b>" {
		t.Errorf("the other scenario: %q", got)
	}
	has(t, s.page(alice), "<bdi>&lt;b&gt;Robo&lt;/b&gt;</bdi>", "!its own word")
	if got := s.now("g1"); got.State != grants.Revoked {
		t.Errorf("a name has decided: %s", got.State)
	}
	s.do(alice, "POST", agents+"rename", form(append(versionOf(s.now("g1")), "nickname", "")...))
	if s.now("g1").Nickname != "" || s.now("g2").Nickname != "" {
		t.Error("a nickname cannot be taken away")
	}
	if resp := s.do(alice, "POST", agents+"rename", form(versionOf(s.now("g1"))...)); resp.StatusCode != 400 {
		t.Errorf("no nickname: %d", resp.StatusCode)
	}
}

// TestNicknameOfRequest_OWN_3: an agent that asks again, or is connected, keeps its name.
func TestNicknameOfRequest_OWN_3(t *testing.T) {
	s := newShop(t, options{})
	agent, _ := s.approved("agent_1")
	g := s.grants(s.alice)["agent_1"]
	if _, err := s.owners.Rename(t.Context(), s.alice, g.ID, g.Version, "Helper"); err != nil {
		t.Fatal(err)
	}
	s.options.scenario = "ContextualProfile"
	s.instance("contextual")
	s.signIn(s.browser(), agent, "X-Instance", "contextual")
	for _, g := range s.overview(s.alice).Grants {
		if g.Nickname != "Helper" {
			t.Errorf("%s: %q", g.Scenario, g.Nickname)
		}
	}
}

// TestForget_OWN_4: what is over can be hidden, and nothing is decided by that.
func TestForget_OWN_4(t *testing.T) {
	for _, test := range []struct {
		state grants.State
		over  bool // its time
		want  int
	}{
		{grants.Denied, false, 200}, {grants.Revoked, false, 200}, {grants.Suspended, false, 200}, {grants.Approved, true, 200}, {grants.Pending, true, 200},
		{grants.Approved, false, 409}, {grants.Pending, false, 409},
	} {
		s := newSite(t)
		g := s.grant(func(g *grants.Grant) {
			g.State = test.state
			if test.over {
				g.ExpiresAt = time.Now().Add(-time.Minute)
			}
		})
		alice := s.human(s.alice)
		resp := s.do(alice, "POST", agents+"forget", form(versionOf(g)...))
		if resp.StatusCode != test.want || s.now(g.ID).Hidden != (test.want == 200) || s.now(g.ID).State != test.state {
			t.Errorf("%s: %d, then %+v", test.state, resp.StatusCode, s.now(g.ID))
		}
		if test.want != 200 {
			page := s.do(alice, "POST", agents+"forget", form(versionOf(g)...), "Accept", htmlOnly)
			if reason, _ := resp.reason(); reason != "not_over" || page.StatusCode != 409 || !strings.Contains(page.body, "Only what is over can be forgotten.") {
				t.Errorf("%s: refused as %q, and to a browser %d %s", test.state, reason, page.StatusCode, page.body)
			}
			continue
		}
		has(t, s.at(alice, "?past=1"), "!agents/g1")
		has(t, s.at(alice, "?past=1&hidden=1"), "agents/g1")
		has(t, s.at(alice, "agents/g1"), "You have chosen to forget it")
		if test.state == grants.Denied {
			s.do(alice, "POST", agents+"approve", form(versionOf(s.now(g.ID))...))
			if s.now(g.ID).Hidden {
				t.Error("an approval leaves the grant hidden")
			}
			has(t, s.page(alice), "agents/g1")
		}
	}
}

// TestForgottenStaysOut_OWN_4: an agent that was denied and forgotten cannot ask again. What
// waits or is in force is shown, even if an earlier version has left it hidden.
func TestForgottenStaysOut_OWN_4(t *testing.T) {
	s := newSite(t)
	for _, state := range []grants.State{grants.Approved, grants.Pending} {
		s.grant(func(g *grants.Grant) {
			g.ID, g.Agent.ID, g.State, g.Hidden = "hidden-"+string(state), string(state), state, true
		})
	}
	page := s.page(s.human(s.alice))
	has(t, page, "agents/hidden-approved", "h-hidden-pending")

	shop := newShop(t, options{})
	a := shop.agent("agent_1", "alice@example.com")
	shop.wantSignIn(shop.browser(), a, 403, problem.ApprovalNeeded)
	shop.decide(shop.alice, "agent_1", grants.Denied)
	g := shop.grants(shop.alice)["agent_1"]
	if _, err := shop.owners.Hide(t.Context(), shop.bob, g.ID, g.Version); !errors.Is(err, authagent.ErrNotFound) {
		t.Errorf("of another account: %v", err)
	}
	if _, err := shop.owners.Hide(t.Context(), shop.alice, g.ID, g.Version); err != nil {
		t.Fatal(err)
	}
	shop.told()
	shop.wantSignIn(shop.browser(), a, 403, problem.ApprovalNeeded)
	if g := shop.grants(shop.alice)["agent_1"]; g.State != grants.Denied || !g.Hidden {
		t.Errorf("it has asked again: %+v", g)
	}
	if told := shop.told(); len(told) != 0 {
		t.Errorf("its owner was told %v", told)
	}
}

// TestUndo_OWN_5: to undo a revoke is an approval like any other. It gives what the agent
// had but for full access, for the time that was left, and revives no session.
func TestUndo_OWN_5(t *testing.T) {
	s := newSite(t)
	g := s.grant(func(g *grants.Grant) {
		g.Actions, g.Access = []string{"orders:create", "gone:do"}, authagent.AccessFull
	})
	agent, alice := s.signedInAgent("agent_1"), s.human(s.alice)
	idle := s.as.NewBrowser() // asks for nothing while the grant is revoked, so that its session does not end by that
	s.signInAgent(idle, "agent_1")
	resp := s.do(alice, "POST", agents+"revoke", form(append(versionOf(g), "agent", g.ID)...), "Accept", htmlOnly)
	if resp.Header.Get("Location") != agents+"agents/g1?done=revoked" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	if got := s.do(agent, "POST", "/orders", "").StatusCode; got != 401 {
		t.Errorf("a revoked grant that keeps its actions lets the agent order: %d", got)
	}
	page := s.at(alice, "agents/g1?done=revoked")
	undo := regexp.MustCompile(`(?s)<form class="undo".*?</form>`).FindString(page)
	has(t, "<body>"+undo, ">Undo<", `name="access" value="read"`, `name="action" value="orders:create"`, `name="days" value="keep"`, "!gone:do", "without full access")
	has(t, s.at(alice, "agents/g1"), "!>Undo<")
	var fields []string
	for _, m := range regexp.MustCompile(`name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(undo, -1) {
		fields = append(fields, m[1], m[2])
	}
	if resp := s.do(alice, "POST", agents+"approve", form(fields...)); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, resp.body)
	}
	got := s.now("g1")
	if got.State != grants.Approved || got.Access != authagent.AccessRead || !cmp.Equal(got.Actions, []string{"orders:create"}) || !got.ExpiresAt.Equal(g.ExpiresAt) {
		t.Errorf("after undo: %+v", got)
	}
	for _, c := range []*http.Client{agent, idle} {
		if got := s.do(c, "GET", "/me", "").StatusCode; got != 401 {
			t.Errorf("OWN-5: undo has revived a session: %d", got)
		}
	}
	if resp := s.do(alice, "POST", agents+"approve", form(fields...)); resp.StatusCode != 409 {
		t.Errorf("undo twice: %d", resp.StatusCode)
	}
}

// TestUndoIsOffered_OWN_5: to stop an agent whose time is over, and to undo that, would give it
// a time that it did not have.
func TestUndoIsOffered_OWN_5(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*grants.Grant)
		want   bool
	}{
		"in force": {func(*grants.Grant) {}, true},
		"was over": {func(g *grants.Grant) { g.ExpiresAt = time.Now().Add(-time.Hour) }, false},
	} {
		s := newSite(t)
		s.grant(func(g *grants.Grant) { g.State = grants.Revoked; test.change(g) })
		page := s.at(s.human(s.alice), "agents/g1?done=revoked")
		if got := strings.Contains(page, `class="undo"`); got != test.want {
			t.Errorf("OWN-5 %s: undo is offered: %v", name, got)
		}
	}
}

// TestStopPaused_OWN_5: to stop an agent that is suspended leads to no undo, which would let in
// one that was not.
func TestStopPaused_OWN_5(t *testing.T) {
	s := newSite(t)
	s.grant(func(g *grants.Grant) { g.State = grants.Suspended })
	alice := s.human(s.alice)
	page := s.at(alice, "agents/g1")
	button := regexp.MustCompile(`<button class="stop" form="([^"]+)">`).FindStringSubmatch(page)
	if button == nil {
		t.Fatalf("no form of its own stops the agent: %s", page)
	}
	_, stop, _ := strings.Cut(page, `<form id="`+button[1]+`"`)
	stop, _, _ = strings.Cut(stop, "</form>")
	has(t, "<body>"+stop, `action="/account/agents/revoke"`)
	var fields []string
	for _, m := range regexp.MustCompile(`name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(stop, -1) {
		fields = append(fields, m[1], m[2])
	}
	resp := s.do(alice, "POST", agents+"revoke", form(fields...), "Accept", htmlOnly)
	if got := s.now("g1").State; got != grants.Revoked || resp.Header.Get("Location") != agents+"?done=revoked" {
		t.Errorf("OWN-5: %s, %d %v", got, resp.StatusCode, resp.Header)
	}
}

// TestUndoIsChecked_OWN_5: what speaks against an approval speaks against undo.
func TestUndoIsChecked_OWN_5(t *testing.T) {
	s := newSite(t)
	g := s.grant(func(g *grants.Grant) { g.State = grants.Revoked })
	s.grant(func(g *grants.Grant) { g.ID, g.UserID, g.Email = "bobs", s.bob, "bob@example.com" })
	if resp := s.do(s.human(s.alice), "POST", agents+"approve", form(append(versionOf(g), "days", "keep")...)); resp.StatusCode != 403 {
		t.Errorf("the agent acts for bob by now: %d %s", resp.StatusCode, resp.body)
	}
}

// TestKeep_OWN_6: a change opens with what is so now, and can leave the time as it is.
func TestKeep_OWN_6(t *testing.T) {
	s := newSite(t)
	g := s.grant(func(g *grants.Grant) { g.Actions = []string{"orders:create"} })
	alice := s.human(s.alice)
	has(t, s.at(alice, "agents/g1"), `value="orders:create" checked`, `<option value="keep" selected>keep until `)
	s.do(alice, "POST", agents+"change", form(append(versionOf(g), "days", "keep")...))
	if got := s.now("g1"); !got.ExpiresAt.Equal(g.ExpiresAt) || got.Actions != nil {
		t.Errorf("kept: %+v", got)
	}
	for name, change := range map[string]func(*grants.Grant){
		"waits":  pending,
		"denied": func(g *grants.Grant) { g.State = grants.Denied },
		"over":   func(g *grants.Grant) { g.ExpiresAt = time.Now().Add(-time.Second) },
	} {
		s := newSite(t)
		g := s.grant(change)
		resp := s.do(s.human(s.alice), "POST", agents+"approve", form(append(versionOf(g), "days", "keep")...))
		if resp.StatusCode != 409 || s.now("g1").State != g.State {
			t.Errorf("keep the time of what %s: %d", name, resp.StatusCode)
		}
	}
	long := newSite(t)
	long.owners.ApprovedFor = 24 * time.Hour
	g = long.grant(func(g *grants.Grant) { g.State = grants.Revoked })
	long.do(long.human(long.alice), "POST", agents+"approve", form(append(versionOf(g), "days", "keep")...))
	if left := time.Until(long.now("g1").ExpiresAt); left > 24*time.Hour {
		t.Errorf("a revoked grant gets %v", left)
	}
}

// TestDenyAll_OWN_7 denies what waits and nothing else.
func TestDenyAll_OWN_7(t *testing.T) {
	s := newSite(t)
	s.grant(pending)
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "in", "agent_in" })
	bobs := s.grant(func(g *grants.Grant) { pending(g); g.ID, g.UserID, g.Agent.ID = "bobs", s.bob, "agent_bob" })
	agent := s.signedInAgent("agent_in")
	waits := s.payout(agent, "amount=1")
	alice := s.human(s.alice)
	done := s.payout(agent, "amount=2")
	s.do(alice, "POST", agents+"approvals/approve", form("id", done.ID, "version", "1"))
	if resp := s.do(alice, "POST", agents+"deny-all", "", "Accept", htmlOnly); resp.Header.Get("Location") != agents+"?done=denied-all" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	got, _ := s.store.Approval(context.Background(), waits.ID)
	kept, _ := s.store.Approval(context.Background(), done.ID)
	if s.now("g1").State != grants.Denied || got.State != grants.Denied || kept.State != grants.Approved || s.now("in").State != grants.Approved || s.now("bobs").State != bobs.State {
		t.Errorf("%s %s %s %s %s", s.now("g1").State, got.State, kept.State, s.now("in").State, s.now("bobs").State)
	}
}

// TestDenyAllFirst_OWN_7: where more than one request waits, the owner can deny all of them before
// reading any. For one, its own button is enough.
func TestDenyAllFirst_OWN_7(t *testing.T) {
	s := newSite(t)
	alice := s.human(s.alice)
	for n, want := range []bool{false, false, true, true, true, true} {
		for _, view := range []string{"", "?waiting=1"} {
			page := s.at(alice, view)
			button, card := strings.Index(page, `action="/account/agents/deny-all"`), strings.Index(page, "<article")
			if got := button >= 0; got != want || got && button > card || strings.Count(page, "deny-all") > 1 {
				t.Errorf("OWN-7 %q with %d that wait: the button is at %d, the first card at %d", view, n, button, card)
			}
		}
		s.grant(func(g *grants.Grant) { pending(g); g.ID, g.Agent.ID = fmt.Sprint("g", n), fmt.Sprint("agent_", n) })
	}
}

// TestNumbers_OWN_14: a program in JavaScript reads every number as it is, and gets all of the era.
func TestNumbers_OWN_14(t *testing.T) {
	const era = int64(1)<<62 + 1
	s := newSite(t)
	s.grant(func(g *grants.Grant) { g.Era = era })
	alice := s.human(s.alice)
	for _, path := range []string{"", "agents/g1"} {
		body := s.do(alice, "GET", agents+path, "").body
		var told grants.Overview
		if err := json.Unmarshal([]byte(body), &told); err != nil || told.Grants[0].Era != era {
			t.Errorf("OWN-14 %q: %v, %s", path, err, body)
		}
		if large := regexp.MustCompile(`[:\[,]-?\d{16,}`).FindString(body); large != "" {
			t.Errorf("OWN-14 %q: %s in %s", path, large, body)
		}
	}
	if resp := s.do(alice, "POST", agents+"suspend", form(versionOf(s.now("g1"))...)); resp.StatusCode != 200 || !strings.Contains(resp.body, `"era":"4611686018427387905"`) {
		t.Errorf("OWN-14 a form: %d %s", resp.StatusCode, resp.body)
	}
}

// TestCodes_OWN_8: a request has the codes by which its owner recognises it, on the page and
// in JSON.
func TestCodes_OWN_8(t *testing.T) {
	s := newSite(t)
	s.grant(pending)
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
	alice := s.human(s.alice)
	var o struct {
		Grants []struct {
			ID    string
			Codes []string
		}
	}
	if err := json.Unmarshal([]byte(s.do(alice, "GET", agents, "").body), &o); err != nil {
		t.Fatal(err)
	}
	for _, g := range o.Grants {
		if (len(g.Codes) > 0) != (g.ID == "g1") {
			t.Errorf("%s has the codes %q", g.ID, g.Codes)
		}
		for _, code := range g.Codes {
			has(t, s.page(alice), ">"+code+"</code>", "Ask your agent for its code")
		}
	}
}

// TestDescription_OWN_9: what the site says of a single action is shown as its account of
// the agent's request, and all that would be done is there, folded; without it, unfolded.
func TestDescription_OWN_9(t *testing.T) {
	for _, description := range []string{"Refund \u202eorder <2>", ""} {
		s := newSite(t)
		s.grant(func(g *grants.Grant) { g.Name = "Botty" })
		s.store.CreateApproval(context.Background(), grants.Approval{
			ID: "a", Version: 1, UserID: s.alice, GrantID: "g1", Agent: authagent.Agent{Issuer: s.as.URL, ID: "agent_1"}, Action: "payouts:create", Digest: "d", State: grants.Pending,
			Description: description, Method: "POST", Target: "/payouts", Body: []byte("x=1"), ContentType: "application/x-www-form-urlencoded", ExpiresAt: time.Now().Add(time.Hour),
		})
		alice := s.human(s.alice)
		page := s.page(alice)
		folded := strings.Join(regexp.MustCompile(`(?s)<details.*?</details>`).FindAllString(page, -1), "")
		has(t, page, "“Botty”", "asks to do this <strong>once</strong>", "POST /payouts")
		if described := description != ""; strings.Contains(folded, "POST /payouts") != described || strings.Contains(page, "Refund ‹U&#43;202E›order &lt;2&gt;") != described ||
			strings.Contains(page, "This is how") != described {
			t.Errorf("%q: %s", description, page)
		}
		if body := s.do(alice, "GET", agents, "").body; strings.Contains(body, `"description"`) != (description != "") {
			t.Errorf("JSON: %s", body)
		}
	}
}

// TestLanguages_OWN_10: the pages are in the language and the time zone of the account, and
// the site has its own words for each language.
func TestLanguages_OWN_10(t *testing.T) {
	german, err := messages.Parse("de", "action.orders:create = Bestellungen aufgeben\nreading = Bestellungen")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(s *site, c *authagent.Config) {
		c.Languages = []*messages.Language{messages.English(), german}
		s.owners.Locale = func(_ context.Context, userID string) (grants.Locale, error) {
			return grants.Locale{Language: map[bool]string{true: "de"}[userID == s.bob], Zone: time.FixedZone("CET", 3600)}, nil
		}
	})
	day := time.Date(2020, 1, 31, 23, 30, 0, 0, time.UTC)
	for _, owner := range []string{s.alice, s.bob} {
		s.grant(func(g *grants.Grant) {
			g.ID, g.UserID, g.Agent.ID, g.Actions, g.DecidedAt = "of-"+owner, owner, "agent_"+owner, []string{"orders:create"}, day
		})
	}
	has(t, s.page(s.human(s.alice)), `<html lang="en">`, "See your account, and place orders")
	has(t, s.do(s.human(s.alice), "GET", agents, "", "Accept", htmlOnly, "Accept-Language", "de").body, `<html lang="de">`)
	bob := s.human(s.bob)
	has(t, s.page(bob), `<html lang="de">`, "Ihre Bestellungen sehen und Bestellungen aufgeben", "!Allowed", "!See your")
	has(t, s.at(bob, "agents/of-"+s.bob), "Erlaubt am", "1. Februar 2020", "Er darf</strong>", "!It may")
}

// TestFrame_OWN_11: a site gives the pages its frame by four blocks, with texts by their
// keys, and can replace the page of an agent.
func TestFrame_OWN_11(t *testing.T) {
	s := newSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Template = template.Must(grants.PageTemplate().Parse(`{{define "title"}}{{.T "owner.title"}} at Pine{{end}}
{{define "header"}}Pine{{end}}{{define "footer"}}End{{end}}{{define "back"}}<p><a href="/account">Account</a></p>{{end}}`))
	})
	s.grant(func(g *grants.Grant) { g.Nickname = "Robo" })
	alice := s.human(s.alice)
	for below, title := range map[string]string{"": "Your agents at Pine", "agents/g1": "Robo · Your agents at Pine"} {
		has(t, s.at(alice, below), "<title>"+title+"</title>", "<header>Pine</header>", "<footer>End</footer>", `<a href="/account">Account</a>`)
	}
	own := newSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Template = template.Must(template.New("").Parse(`list{{define "agent.html"}}{{.Label}}: {{range .Grants}}{{.May}}{{end}}{{end}}`))
	})
	own.grant(func(g *grants.Grant) { g.Nickname = "Robo" })
	if got := own.at(own.human(own.alice), "agents/g1"); got != "Robo: see your account" {
		t.Errorf("the site's own page: %s", got)
	}
}

// TestAgentPage_OWN_12: the page of an agent is for the account's owner alone, and shows its
// deeds by pages.
func TestAgentPage_OWN_12(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	s.store.Touch(context.Background(), grants.Activity{SessionID: "s1", GrantID: "g1", UserID: s.alice, RemoteAddr: "203.0.113.9:4711", SeenAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)})
	for i := range 35 {
		s.store.AddDeed(context.Background(), grants.Deed{GrantID: "g1", UserID: s.alice, Event: "action_performed", Action: fmt.Sprintf("number:%d.", i), At: time.Now().Add(time.Duration(i-40) * time.Minute)})
	}
	alice := s.human(s.alice)
	has(t, s.at(alice, "agents/g1"), "203.0.113.9", "!4711", "number: 34.", "!number: 24.", "?page=2#deeds")
	has(t, s.at(alice, "agents/g1?page=4"), "number: 0.", "!number: 34.", "?page=3#deeds", "!?page=5")
	for _, test := range []struct {
		who    *http.Client
		method string
		below  string
		want   int
	}{
		{alice, "GET", "agents/none", 404}, {alice, "GET", "agents/", 404}, {alice, "GET", "agents/g1/x", 404}, {alice, "POST", "agents/g1", 405},
		{s.human(s.bob), "GET", "agents/g1", 404}, {s.human(""), "GET", "agents/g1", 401}, {s.signedInAgent("agent_1"), "GET", "agents/g1", 403},
	} {
		if resp := s.do(test.who, test.method, agents+test.below, "", "Accept", htmlOnly); resp.StatusCode != test.want || strings.Contains(resp.body, "203.0.113.9") {
			t.Errorf("%s %s: %d, want %d", test.method, test.below, resp.StatusCode, test.want)
		}
	}
}
