package requirements_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
)

// controls says which controls a page of orders has.
func controls(page string) string {
	var all []string
	for _, c := range [...]struct{ name, mark string }{{"order", `action="/orders"`}, {"password", `href="/account/password"`}} {
		if strings.Contains(page, c.mark) {
			all = append(all, c.name)
		}
	}
	return strings.Join(all, " ")
}

// TestHandlersTellWhoActs_WIR_9 is WIR-9: the handlers of a site know for whom a request is and who
// acts, record it, log it, and offer nobody what they may not do.
func TestHandlersTellWhoActs_WIR_9(t *testing.T) {
	reader := authagent.Principal{Access: authagent.AccessRead}
	buyer := authagent.Principal{Access: authagent.AccessRead, Actions: []string{"orders:create"}}
	for _, test := range []struct {
		name   string
		link   authagent.Principal
		person bool
		home   string
		orders int // the status of POST /orders
		offers string
		log    string // what the log has of an order
	}{
		{"WIR-9 person", reader, true, "hello, by Alice", 303, "order password", "by=person"},
		{"WIR-9 agent that reads", reader, false, "hello, by agent_alice for Alice", 403, "", ""},
		{"WIR-9 agent that orders", buyer, false, "hello, by agent_alice for Alice", 303, "order", "by.performed_by=agent_alice by.on_behalf_of="},
		{"WIR-9 agent with full access", authagent.Principal{Access: authagent.AccessFull}, false, "hello, by agent_alice for Alice", 303, "order", "by.agent_session="},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShop(t, test.link, true)
			c, password := s.personBrowser(), 200
			if !test.person {
				c, password = s.agentBrowser(), 403
			}
			if got := s.Get(c, "/home").Text; got != test.home {
				t.Errorf("home: %q", got)
			}
			if got := s.Do(c, "POST", "/orders").StatusCode; got != test.orders {
				t.Errorf("POST /orders: %d", got)
			}
			page := s.Get(c, "/orders")
			if got := controls(page.Text); page.StatusCode != 200 || got != test.offers {
				t.Errorf("the page offers %q, want %q: %d %s", got, test.offers, page.StatusCode, page.Text)
			}
			if got := s.Get(c, "/account/password").StatusCode; got != password {
				t.Errorf("password: %d", got)
			}
			placed := s.of(s.AliceID)
			if ran := len(placed) == 1; ran != (test.orders == 303) {
				t.Fatalf("%d orders", len(placed))
			} else if !ran {
				return
			}
			if o := placed[0]; test.person != (o.Agent.ID == "") || test.person != (o.SessionID == "") || "hello, "+o.Byline != test.home {
				t.Errorf("recorded as %+v", o)
			}
			if !strings.Contains(s.Log.String(), `msg="order placed" user=`+s.AliceID+" by") || !strings.Contains(lineOfOrder(s.Log.String()), test.log) {
				t.Errorf("the log has %q, want %q", lineOfOrder(s.Log.String()), test.log)
			}
		})
	}
	t.Run("WIR-9 stranger", func(t *testing.T) {
		s := newShop(t, reader, true)
		if got := s.Get(s.Browser(), "/home").Text; got != "hello, stranger" {
			t.Error(got)
		}
	})
	t.Run("WIR-9 agent without a user", func(t *testing.T) {
		s := newShop(t, reader, false)
		c := s.agentBrowser()
		if got := s.Get(c, "/home").Text; got != "hello, by agent_alice" {
			t.Error(got)
		}
		if got := s.Do(c, "POST", "/notes"); got.StatusCode != 200 || !strings.HasPrefix(got.Text, "a note of profile_") {
			t.Errorf("a note: %d %s", got.StatusCode, got.Text)
		}
		if s.Get(c, "/orders").StatusCode != 403 || s.Do(c, "POST", "/orders").StatusCode != 403 {
			t.Error("it comes to somebody's orders")
		}
	})
}

func lineOfOrder(log string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "order placed") {
			return line
		}
	}
	return ""
}

// TestPersonAndAgent_WIR_10 is WIR-10: the table of docs/handlers.md says for whom the handlers of
// a site take a browser in which a person and an agent have signed in, and what each guard does.
func TestPersonAndAgent_WIR_10(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(repository, "docs/handlers.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := newShop(t, authagent.Principal{Access: authagent.AccessFull}, true)
	approve := approverFunc(approveAll)
	guards := []struct {
		name  string
		guard func(http.Handler) http.Handler
	}{
		{"`Attach`", s.rp.Attach}, {"`RequireAgent`", s.rp.RequireAgent}, {"`RequireAccess`", s.rp.RequireAccess(authagent.AccessRead)},
		{"`RequireAction`", s.rp.RequireAction("orders:create")}, {"`RequireApproval`", s.rp.RequireApproval("payouts:create", approve)},
		{"`RequireHuman`", s.rp.RequireHuman}, {"`ForbidAgents`", s.rp.ForbidAgents}, {"no guard", func(h http.Handler) http.Handler { return h }},
	}
	path := func(guard string) string { return "/" + strings.Trim(strings.TrimPrefix(guard, "no "), "`") }
	for _, g := range guards {
		s.Mux("").Handle(path(g.name), g.guard(http.HandlerFunc(s.showHome)))
	}
	both, ended := s.agentBrowser(), s.agentBrowser()
	s.SignInPerson(both, s.AliceID)
	alone := s.agentBrowser()
	for _, c := range []*http.Client{ended, alone} {
		if err := s.rp.EndSession(t.Context(), s.Me(c).ID); err != nil {
			t.Fatal(err)
		}
	}
	s.SignInPerson(ended, s.AliceID)
	said := func(c *http.Client, guard string) string {
		resp := s.Get(c, path(guard), pageLoad...)
		switch {
		case resp.StatusCode == 303 && strings.HasPrefix(resp.Header.Get("Location"), "/sign-in?"):
			return "sign-in page"
		case resp.StatusCode != 200 && strings.Contains(resp.Text, `action="/auth/agent/logout`):
			return fmt.Sprint(resp.StatusCode, ", form")
		case resp.StatusCode != 200 && strings.Contains(resp.Text, "/auth/agent/login"):
			return fmt.Sprint(resp.StatusCode, ", button")
		case resp.StatusCode != 200:
			return fmt.Sprint(resp.StatusCode)
		}
		return map[string]string{
			"hello, stranger": "a stranger", "hello, by Alice": "the person", "hello, by agent_alice for Alice": "the agent",
		}[resp.Text]
	}
	for _, g := range guards {
		row := "| " + strings.Join([]string{g.name, said(both, g.name), said(ended, g.name), said(alone, g.name)}, " | ") + " |"
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/handlers.md lacks %s", row)
		}
	}
	// After a sign-out the browser is the person's again.
	if resp := s.Do(ended, "POST", "/auth/agent/logout?return_to=/orders"); resp.Header.Get("Location") != "/orders" {
		t.Errorf("sign-out: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if got := s.Get(ended, "/orders"); got.StatusCode != 200 || controls(got.Text) != "order password" {
		t.Errorf("after the sign-out: %d %s", got.StatusCode, got.Text)
	}
}
