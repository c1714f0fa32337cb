package grants_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// shown is the owner's page as its reader sees it, without tags and escapes.
func (s *site) shown() string {
	s.t.Helper()
	page := s.page(s.human(s.alice))
	if i := strings.Index(page, "<body>"); i >= 0 {
		page = page[i:]
	}
	return html.UnescapeString(page)
}

// TestAttackUnreadable: the owner is shown what was sent and not what it means. An agent
// writes the request so that a usual handler reads one thing and the owner cannot
// read it anywhere on the page.
func TestAttackUnreadable(t *testing.T) {
	escaped := func(format, s string) (out string) {
		for _, c := range []byte(s) {
			out += fmt.Sprintf(format, c)
		}
		return out
	}
	for name, test := range map[string]struct {
		target, contentType, body string
		read                      func(r *http.Request) string
	}{
		"JSON, the value that counts is escaped": {
			"/transfer/x", "application/json", `{"to":"alice-savings","` + escaped(`\u%04x`, "to") + `":"` + escaped(`\u%04x`, "mallory") + `"}`,
			func(r *http.Request) string {
				var order struct{ To string }
				if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
					return err.Error()
				}
				return order.To
			},
		},
		"a form with a pair that url.ParseQuery skips": {
			"/transfer/x", "application/x-www-form-urlencoded", "to" + "=" + escaped("%%%02x", "mallory") + "&to=alice-savings&;",
			func(r *http.Request) string { return r.FormValue("to") },
		},
		"a form in hexadecimal": {
			"/transfer/x", "application/x-www-form-urlencoded", "to=" + escaped("%%%02x", "mallory") + "&note=\xff",
			func(r *http.Request) string { return r.FormValue("to") },
		},
		"a form with a parameter that mime does not know": {
			"/transfer/x", "application/x-www-form-urlencoded; x", "to=" + escaped("%%%02x", "mallory"),
			func(r *http.Request) string { return r.FormValue("to") },
		},
		"a path": {
			"/transfer/" + escaped("%%%02x", "mallory"), "application/x-www-form-urlencoded", "amount=1",
			func(r *http.Request) string { return r.PathValue("to") },
		},
		"a query": {
			"/transfer/x?to=" + escaped("%%%02x", "mallory") + "&;", "application/x-www-form-urlencoded", "amount=1",
			func(r *http.Request) string { return r.URL.Query().Get("to") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			c := s.signedInAgent("agent_1")
			got := ""
			s.server.Config.Handler.(*http.ServeMux).Handle("POST /transfer/{to}", s.rp.RequireApproval("transfer", s.owners)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = test.read(r)
			})))
			send := func() *answered {
				return s.do(c, "POST", test.target, test.body, "Content-Type", test.contentType)
			}
			if resp := send(); resp.StatusCode != 202 {
				t.Skipf("refused: %d %s", resp.StatusCode, resp.body)
			}
			shown := s.shown()
			a := s.overviewOf().Approvals[0]
			if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); err != nil {
				t.Fatal(err)
			}
			if resp := send(); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			if got == "mallory" && !strings.Contains(shown, "mallory") {
				i := strings.Index(shown, "<dt>Request</dt>")
				t.Errorf("the handler reads to=%q, which the owner was not shown anywhere:\n%s", got, shown[i:min(len(shown), i+900)])
			}
		})
	}
}

func (s *site) overviewOf() grants.Overview {
	s.t.Helper()
	o, err := s.owners.Overview(context.Background(), s.alice)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// TestAttackHiddenFilename: a part of a multipart form is shown by its name and value
// unless it says more. One with a filename and no name says more, and is shown as a
// field without a name; a handler that goes by FileName stores it.
func TestAttackHiddenFilename(t *testing.T) {
	for name, disposition := range map[string]string{
		"a filename, no name":      `form-data; filename="authorized_keys"`,
		"of another kind":          `attachment; name="authorized_keys"`,
		"none that mime can parse": `form-data; name="authorized_keys"; x`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			c := s.signedInAgent("agent_1")
			var stored []string
			s.server.Config.Handler.(*http.ServeMux).Handle("POST /upload", s.rp.RequireApproval("upload", s.owners)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				parts, err := r.MultipartReader()
				for err == nil {
					var part *multipart.Part
					if part, err = parts.NextPart(); err == nil {
						stored = append(stored, part.FileName())
					}
				}
			})))
			body := "--b\r\nContent-Disposition: " + disposition + "\r\n\r\nssh-rsa AAAA\r\n--b--\r\n"
			if resp := s.do(c, "POST", "/upload", body, "Content-Type", "multipart/form-data; boundary=b"); resp.StatusCode != 202 {
				t.Skipf("refused: %d %s", resp.StatusCode, resp.body)
			}
			shown := s.shown()
			a := s.overviewOf().Approvals[0]
			if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); err != nil {
				t.Fatal(err)
			}
			s.do(c, "POST", "/upload", body, "Content-Type", "multipart/form-data; boundary=b")
			if !strings.Contains(shown, "authorized_keys") {
				t.Errorf("the handler stores %q, and the owner was not shown the name", stored)
			}
		})
	}
}

// TestAttackLongMethod: an owner is shown all of a request, which is why its address and
// body are bounded. Its method is not.
func TestAttackLongMethod(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	c := s.signedInAgent("agent_1")
	s.server.Config.Handler.(*http.ServeMux).Handle("/any", s.rp.RequireApproval("any", s.owners)(http.NotFoundHandler()))
	for i := range 3 {
		if resp := s.do(c, strings.Repeat("A", 500<<10)+string(rune('A'+i)), "/any", ""); resp.StatusCode != 202 {
			t.Logf("refused: %d %s", resp.StatusCode, resp.body)
		}
	}
	if page := s.page(s.human(s.alice)); len(page) > 100<<10 {
		t.Errorf("the owner's page has %d bytes after three requests without a body", len(page))
	}
}

// TestAttackDeedsHidden: what an agent was refused is bounded for its owner, lest a flood
// of it hides what the agent did (maxNoes). Sign-ins, and reading an address that has
// RequireAction, are not, and hide it as well.
func TestAttackDeedsHidden(t *testing.T) {
	for name, flood := range map[string]func(s *shop, agent *authagenttest.Agent, c *http.Client){
		"by sign-ins": func(s *shop, agent *authagenttest.Agent, _ *http.Client) { s.signIn(s.browser(), agent) },
		"by reading":  func(s *shop, _ *authagenttest.Agent, c *http.Client) { s.want(c, "GET", "/orders", 200, "") },
	} {
		bubble(t, name, func(t *testing.T) {
			s := newShop(t, options{})
			agent, c := s.approved("agent_1", func(d *grants.Decision) { d.Actions = []string{"orders:create", "orders:delete"} })
			s.want(c, "DELETE", "/orders/1", 200, "")
			did := func() bool {
				for _, d := range s.overview(s.alice).Deeds {
					if d.Action == "orders:delete" {
						return true
					}
				}
				return false
			}
			if !did() {
				t.Fatal("it is not shown at all")
			}
			for range 50 {
				flood(s, agent, c)
			}
			if !did() {
				t.Error("the owner is not shown any more that the agent has deleted an order a moment ago")
			}
		})
	}
}

// TestAttackNetworkUnseen: an owner is told when an agent acts from a network that it
// has not used before. Whoever has a copy of its cookie acts within a minute of the
// agent's own request, and nobody is told, nor is the address shown.
func TestAttackNetworkUnseen(t *testing.T) {
	bubble(t, "stolen cookie", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
		}})
		agent, c := s.agent("agent_1", "alice@example.com"), s.browser()
		s.signIn(c, agent, "X-Addr", "198.51.100.1")
		s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
		s.signIn(c, agent, "X-Addr", "198.51.100.1")
		s.get(c, "/me", "X-Addr", "198.51.100.1")
		s.told()
		for range 20 { // the agent goes on working, and so does the thief
			time.Sleep(61 * time.Second)
			s.get(c, "/me", "X-Addr", "198.51.100.1")
			time.Sleep(50 * time.Second)
			if resp := s.do(c, "POST", "/orders", "", "X-Addr", "203.0.113.66"); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			time.Sleep(9 * time.Second) // within the minute
		}
		told := s.told()
		seen := false
		for _, a := range s.overview(s.alice).Sessions {
			seen = seen || a.RemoteAddr == "203.0.113.66"
		}
		if !seen && !strings.Contains(fmt.Sprint(told), string(grants.EventNewNetwork)) {
			t.Errorf("20 orders from another network: the owner is told %v, and is shown %v", told, s.overview(s.alice).Uses)
		}
	})
}

// TestAttackPageFlood: what waits for an owner is bounded in bytes, and so is the page's
// share of JSON (maxIndented); of forms it is not: two bytes make a row of a table.
func TestAttackPageFlood(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	c := s.signedInAgent("agent_1")
	sent := 0
	for i := range 20 {
		target, body := "/payouts?"+strings.Repeat("a&", 3900)+fmt.Sprint(i), strings.Repeat("a&", 8000)+fmt.Sprint(i)
		if resp := s.do(c, "POST", target, body); resp.StatusCode != 202 {
			t.Fatalf("%d %s", resp.StatusCode, resp.body)
		}
		sent += len(target) + len(body)
	}
	page := s.page(s.human(s.alice))
	if rows := strings.Count(page, "<tr>"); rows > 50_000 {
		t.Errorf("%d bytes that the agent has sent make a page of %d bytes with %d rows of tables", sent, len(page), rows)
	}
}

// TestAttackSessionsFlood: an owner sees each live session of an agent. How many an agent
// may have is bounded by nothing but the limit of sign-ins of one address.
func TestAttackSessionsFlood(t *testing.T) {
	bubble(t, "sessions", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
		}})
		agent, _ := s.approved("agent_1")
		for i := range 300 {
			c := s.browser()
			addr := fmt.Sprintf("[2a00:1:%x::1]:443", i) // one /32 has 2^32 networks
			s.signIn(c, agent, "X-Addr", addr)
			s.get(c, "/me", "X-Addr", addr)
		}
		if n := len(s.overview(s.alice).Sessions); n > 100 {
			t.Errorf("the owner's page has %d sessions of one agent, each with a form", n)
		}
	})
}

// TestAttackMailText: the text of a notice is the site's own but for the agent's ID, which
// is left out where it could have a text of its own in it. A text without spaces passes.
func TestAttackMailText(t *testing.T) {
	for _, id := range []string{
		"we_closed_your_account_call_0900-555-0199_today_to_get_it_back", "Security-Team_of_this_shop",
	} {
		n := grants.Notice{Kind: grants.EventPending, Grant: &grants.Grant{Agent: authagent.Agent{ID: id}}}
		if text := n.Text(); strings.Contains(text, id) {
			t.Errorf("an owner gets, in the site's name: %s", text)
		}
	}
}

// TestAttackLookalike: the page tells its owner to compare the agent's ID. One with a
// letter that only looks the same, or another space, is shown as it is.
func TestAttackLookalike(t *testing.T) {
	s := newSite(t)
	s.grant(func(g *grants.Grant) { pending(g); g.Agent.ID = "\u0430gent_7f3a9c52e1" }) // a Cyrillic a
	page := s.page(s.human(s.alice))
	if strings.Contains(page, "<bdi>\u0430gent_7f3a9c52e1</bdi>") {
		t.Error("the page shows an agent ID that no eye can tell from agent_7f3a9c52e1")
	}
}
