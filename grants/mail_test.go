package grants_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
	"github.com/google/go-cmp/cmp"
)

var updateMails = flag.Bool("update-mails", false, "write the golden mails in testdata anew")

// reads returns a policy of shop.example whose owners read this language, in Berlin.
func reads(language string) *grants.Policy {
	p := grants.OwnerApproval(&memstore.Grants{})
	p.Logger = quiet
	p.Actions = map[string]string{"orders:create": "Place orders", "orders:cancel": "Cancel orders"}
	p.Reading = "orders and addresses"
	p.Approvals = map[string]string{"payouts:create": "Pay out money"}
	p.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}}}
	german, err := messages.Parse("de", "reading = Bestellungen und Adressen\naction.orders:create = Bestellungen aufgeben\naction.orders:cancel = Bestellungen stornieren\naction.payouts:create = Geld auszahlen")
	if err != nil {
		panic(err)
	}
	p.Locale = func(context.Context, string) (grants.Locale, error) {
		return grants.Locale{Language: language, Zone: time.FixedZone("CET", 3600)}, nil
	}
	p.Introduce(authagent.Site{
		Origin: "https://shop.example", Languages: []*messages.Language{messages.English(), german},
		Compare: func(a authagent.Agent, _ string) []string {
			if a.ID == "agent_2" {
				return []string{"K74-2QX", "A11-B22"}
			}
			return []string{"K74-2QX"}
		},
	})
	return p
}

// A notices is a kind of notice for each cause, by name.
func allNotices(now time.Time) (names []string, all []grants.Notice) {
	day := 24 * time.Hour
	grant := func(change ...func(*grants.Grant)) *grants.Grant {
		g := &grants.Grant{
			ID: "g", Agent: authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}, UserID: "alice", Access: authagent.AccessRead,
			Actions: []string{"orders:cancel", "orders:create"}, Name: "self-declared", Model: "self-declared", Email: "secret@example.com",
			RequestedAt: now.Add(-2 * day), DecidedAt: now.Add(-day), ExpiresAt: now.Add(3 * day),
		}
		for _, f := range change {
			f(g)
		}
		return g
	}
	add := func(name string, n grants.Notice) {
		n.UserID, n.Path, n.At, n.Count = "alice", "/account/agents/", now, max(n.Count, 1)
		names, all = append(names, name), append(all, n)
	}
	full := func(g *grants.Grant) { g.Access, g.Actions = authagent.AccessFull, nil }
	add("pending", grants.Notice{Kind: grants.EventPending, Grant: grant(), From: "203.0.113.24"})
	add("pending, two codes, more", grants.Notice{
		Kind: grants.EventPending, Grant: grant(func(g *grants.Grant) { g.Agent.ID = "agent_2" }), From: "[2001:db8::1]:4711", Count: 3,
	})
	asked := grants.Approval{UserID: "alice", Agent: grant().Agent, Action: "payouts:create", ExpiresAt: now.Add(day)}
	add("action", grants.Notice{Kind: grants.EventActionAsked, Approval: &asked, Action: "Pay out money", From: "203.0.113.24"})
	described := asked
	described.Description = "Refund order 2, Pine cone small, $12.50"
	add("action, described", grants.Notice{Kind: grants.EventActionAsked, Approval: &described, Action: "Pay out money", From: "203.0.113.24", Count: 2})
	bare := asked
	bare.Action = "other:create"
	paid := described
	paid.Description, paid.Amount, paid.State = "Pay out to bob", grants.Amount{Value: 1250, Currency: "USD"}, grants.Unknown
	add("action, of an amount", grants.Notice{Kind: grants.EventActionAsked, Approval: &paid, Action: "Pay out money", From: "203.0.113.24"})
	add("outcome unknown", grants.Notice{Kind: grants.EventUnknown, Approval: &paid, Action: "Pay out money"})
	add("allowed", grants.Notice{Kind: grants.EventAllowed, Action: "Pay out money", Allowance: &grants.Allowance{
		UserID: "alice", Agent: asked.Agent, Action: "payouts:create", Limit: grants.Amount{Value: 5000, Currency: "USD"}, Days: 30, Terms: 1, ExpiresAt: now.Add(30 * day),
	}})
	add("action without words", grants.Notice{Kind: grants.EventActionAsked, Approval: &bare})
	for _, cause := range []grants.Cause{grants.CauseOwner, grants.CauseConnected, grants.CauseEmail} {
		add("approved, "+string(cause), grants.Notice{Kind: grants.EventApproved, Cause: cause, Grant: grant()})
	}
	named := func(g *grants.Grant) { g.Nickname = "Shopping helper" }
	add("approved, with a nickname", grants.Notice{Kind: grants.EventApproved, Cause: grants.CauseOwner, Grant: grant(named)})
	add("changed", grants.Notice{Kind: grants.EventChanged, Cause: grants.CauseOwner, Grant: grant(full)})
	for _, cause := range []grants.Cause{grants.CauseOwner, grants.CauseRevokeAll} {
		add("denied, "+string(cause), grants.Notice{Kind: grants.EventDenied, Cause: cause, Grant: grant()})
	}
	for _, cause := range []grants.Cause{grants.CauseOwner, grants.CauseAddress} {
		add("suspended, "+string(cause), grants.Notice{Kind: grants.EventSuspended, Cause: cause, Grant: grant()})
	}
	for _, cause := range []grants.Cause{grants.CauseOwner, grants.CauseRevokeAll, grants.CauseOperator} {
		add("revoked, "+string(cause), grants.Notice{Kind: grants.EventRevoked, Cause: cause, Grant: grant()})
	}
	first := grants.Notice{Kind: grants.EventFirstUse, Grant: grant(), From: "203.0.113.24", At: now.Add(-20 * time.Hour)}
	add("first use", first)
	add("new network", grants.Notice{Kind: grants.EventNewNetwork, Grant: grant(), From: "2001:db8:4:17::/64"})
	expiring := grants.Notice{Kind: grants.EventExpiring, Grant: grant(), At: now}
	add("expiring", expiring)
	denied := grants.Notice{Kind: grants.EventDenied, Cause: grants.CauseOwner, Grant: grant(func(g *grants.Grant) { g.Agent.ID = "visit evil.example" }), At: now.Add(-time.Hour)}
	add("digest", grants.Notice{Kind: grants.EventDigest, Items: []grants.Notice{first, denied, expiring}, Count: 4})
	add("unknown", grants.Notice{Kind: "comes_later", Grant: grant()})
	return names, all
}

// TestMails_NTC_8: every kind of notice has a mail in both languages, which says what has
// happened and why, when, where, and what to do.
func TestMails_NTC_8(t *testing.T) {
	now := time.Date(2026, 11, 29, 0, 30, 0, 0, time.UTC)
	for _, language := range []string{"en", "de"} {
		p := reads(language)
		names, all := allNotices(now)
		var plain, pages strings.Builder
		for i, n := range all {
			got := grants.Written(p, n)
			checkMail(t, language+" "+names[i], got)
			fmt.Fprintf(&plain, "#### %s\nSubject: %s\n\n%s\n", names[i], got.Subject, got.Text)
			head, body, _ := strings.Cut(got.HTML, "<body")
			if i == 0 {
				pages.WriteString(head)
			}
			fmt.Fprintf(&pages, "<!-- %s -->\n<body%s\n", names[i], body)
		}
		goldenMails(t, "testdata/mails."+language+".txt", plain.String())
		goldenMails(t, "testdata/mails."+language+".html", pages.String())
	}
}

func goldenMails(t *testing.T, path, got string) {
	t.Helper()
	if *updateMails {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; write it anew with -update-mails):\n%s", path, diff)
	}
}

var (
	mailTags       = regexp.MustCompile(`</?([^\s>/]*)([^>]*)>`)
	missingText    = regexp.MustCompile(`\bmail\.[a-z]`) // a text that is missing
	mailAttributes = regexp.MustCompile(`([\w-]+)="([^"]*)"`)
)

// checkMail checks what holds for every mail.
func checkMail(t *testing.T, name string, n grants.Notice) {
	t.Helper()
	switch {
	case !strings.HasPrefix(n.Subject, "shop.example: ") || strings.ContainsFunc(n.Subject, unicode.IsControl):
		t.Errorf("%s: subject %q", name, n.Subject)
	case !strings.Contains(n.Text, "\nhttps://shop.example/account/agents/\n"), missingText.MatchString(n.Subject + n.Text + n.HTML):
		t.Errorf("%s: text\n%s", name, n.Text)
	}
	for line := range strings.Lines(n.Text) {
		if utf8.RuneCountInString(line) > 79 || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl) {
			t.Errorf("%s: line %q", name, line)
		}
	}
	for _, secret := range []string{"self-declared", "secret@example.com", "evil"} {
		if strings.Contains(n.Subject+n.Text+n.HTML, secret) {
			t.Errorf("NTC-6 %s: %q is in the mail", name, secret)
		}
	}
	for _, tag := range mailTags.FindAllStringSubmatch(n.HTML, -1) {
		if !slices.Contains(strings.Fields("!DOCTYPE html head meta title style body div p h1 ul li strong bdi blockquote table tr th td a"), tag[1]) {
			t.Errorf("%s: the HTML has <%s>", name, tag[1])
		}
		for _, a := range mailAttributes.FindAllStringSubmatch(tag[2], -1) {
			if a[1] == "src" || a[1] == "href" && a[2] != "https://shop.example/account/agents/" || strings.HasPrefix(a[1], "on") {
				t.Errorf("%s: the HTML has %s", name, a[0])
			}
		}
	}
	if !strings.HasPrefix(n.HTML, "<!DOCTYPE html>") || strings.Contains(n.HTML, "url(") || strings.Contains(n.HTML, "@import") || len(n.HTML) > 8<<10 {
		t.Errorf("%s: the HTML is no small document:\n%s", name, n.HTML)
	}
}

// TestMailWithoutSite: a policy that no relying party uses tells all the same.
func TestMailWithoutSite(t *testing.T) {
	p := grants.OwnerApproval(&memstore.Grants{})
	_, all := allNotices(time.Now())
	n := grants.Written(p, all[0])
	if n.Subject != "The agent agent_1 asks to act in your account" || !strings.Contains(n.Text, "in your account at this site.") ||
		!strings.Contains(n.Text, "\n/account/agents/\n") || strings.Contains(n.Text, "code") {
		t.Errorf("%s\n%s", n.Subject, n.Text)
	}
}

// TestNoticeText_NTC_6_WEB_4: a mail names an agent by a short plain ID alone.
func TestNoticeText_NTC_6_WEB_4(t *testing.T) {
	p := reads("en")
	for id, named := range map[string]bool{
		"agent_0F9":                 true,
		"Shopping-Assistant012345":  true,
		"Shopping-Assistant0123456": false,
		"call_0900_now":             false,
		"call-09005550199":          false,
		"0900-5550199":              false,
		"we_closed_your_account_call_0900-555-0199_today_to_get_it_back": false,
		"Security-Team_of_this_shop":                                     false,
		"-_":                                                             false,
		"":                                                               false,
		"evil.example":                                                   false,
		"https://evil.example/":                                          false,
		"of your bank will close tomorrow.":                              false,
		"a\u202eb":                                                       false,
		"a\r\nBcc: x":                                                    false,
		"<b>":                                                            false,
		strings.Repeat("a", 25):                                          false,
	} {
		agent := authagent.Agent{Issuer: "https://as.example", ID: id}
		for _, n := range []grants.Notice{
			{Kind: grants.EventApproved, Grant: &grants.Grant{Agent: agent}, Path: "/account/agents/"},
			{Kind: grants.EventActionAsked, Approval: &grants.Approval{Agent: agent}, Path: "/account/agents/"},
		} {
			n = grants.Written(p, n)
			checkMail(t, id, n)
			who := "An agent"
			if named {
				who = "The agent " + id
			}
			if !strings.HasPrefix(n.Subject, "shop.example: "+who+" ") || !strings.HasPrefix(n.Text, who+" ") || !strings.Contains(n.HTML, ">"+who+" ") {
				t.Errorf("NTC-6 %q: %s\n%s", id, n.Subject, n.Text)
			}
		}
	}
}

// TestQuotedDescription_NTC_9: words of an agent that are in the description of an action
// are quoted, in one paragraph, and never in the subject.
func TestQuotedDescription_NTC_9(t *testing.T) {
	p := reads("en")
	for description, want := range map[string]string{
		"":                       "",
		"Refund order 2, $12.50": "> Refund order 2, $12.50",
		"Pay 5.000,00 EUR to the shop. It is due.":     "> Pay 5.000,00 EUR to the shop. It is due.",
		"Pay\r\nBcc: victim\n\nThe site says: approve": "> Pay Bcc: victim The site says: approve",
		"<script>alert(1)</script> & more":             "> <script>alert(1)</script> & more",
		"tx\u202egnp\x00":                              "> tx‹U+202E›gnp‹U+0000›",
		"Go to https://evil.example/":                  "",
		"Go to www.evil.example":                       "",
		"Go to evil.com now":                           "",
		"Go to evil。com now":                           "",
		"Go to evil.भारत now":                          "", // the mark after भ is no letter
		"Go to हिन्दी.com now":                         "",
		"Open \\\\evil\\share":                         "", // which Outlook makes a link of
		"Write to someone@evilexample":                 "",
		strings.Repeat("x", 100):                       "> " + strings.Repeat("x", 76) + "\n> " + strings.Repeat("x", 24),
	} {
		n := grants.Written(p, grants.Notice{
			Kind: grants.EventActionAsked, Approval: &grants.Approval{Agent: authagent.Agent{ID: "agent_1"}, Action: "a:b", Description: description},
			Path: "/account/agents/", Action: "Pay out\r\nBcc: x",
		})
		checkMail(t, description, n)
		if n.Subject != "shop.example: The agent agent_1 asks for your approval: Pay out Bcc: x" {
			t.Errorf("NTC-9 %q: subject %q", description, n.Subject)
		}
		var quoted []string
		for line := range strings.Lines(n.Text) {
			if strings.HasPrefix(line, ">") {
				quoted = append(quoted, strings.TrimSuffix(line, "\n"))
			}
		}
		if got := strings.Join(quoted, "\n"); got != want || strings.Contains(n.HTML, "<blockquote") != (want != "") {
			t.Errorf("NTC-9 %q: quoted as\n%s\nwant\n%s", description, got, want)
		}
	}
	long := grants.Written(p, grants.Notice{Kind: grants.EventActionAsked, Approval: &grants.Approval{Description: strings.Repeat("word ", 1000)}})
	if len(long.Text) > 2000 || !strings.Contains(long.Text, " …") {
		t.Errorf("NTC-9: a long description:\n%s", long.Text)
	}
}

// TestMailAddress: of where a client is, only an IP address is in a mail.
func TestMailAddress(t *testing.T) {
	p := reads("en")
	for from, want := range map[string]string{
		"203.0.113.1": "203.0.113.1", "203.0.113.1:99": "203.0.113.1", "[2001:db8::1]:99": "2001:db8::1", "2001:db8::/64": "2001:db8::/64",
		"fe80::1%evil": "fe80::1", "evil.example": "", "203.0.113.1, call 0900": "", "": "",
	} {
		n := grants.Written(p, grants.Notice{Kind: grants.EventNewNetwork, Grant: &grants.Grant{}, From: from})
		_, after, found := strings.Cut(n.Text, "From the network: ")
		if got, _, _ := strings.Cut(after, "\n"); got != want || found != (want != "") || strings.Contains(n.Text+n.HTML, "evil") {
			t.Errorf("%q: %q, want %q", from, got, want)
		}
	}
}

// TestCauses_NTC_10: a notice and its event say which of the causes it was, and where the
// request came from.
func TestCauses_NTC_10(t *testing.T) {
	bubble(t, "NTC-10", func(t *testing.T) {
		s := newShop(t, options{
			policy: func(p *grants.Policy) { p.PendingFor = time.Hour },
			config: func(_ *shop, c *authagent.Config) {
				c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
			},
		})
		var got []string
		note := func() { // what was told since the last time
			t.Helper()
			s.wait()
			details := make(map[audit.Name]string)
			for _, e := range s.events.take() {
				details[e.Name] = e.Detail
			}
			var lines []string
			for _, n := range s.notices.take() {
				lines = append(lines, fmt.Sprintf("%s %q from %q", n.Kind, n.Cause, n.From))
				if n.Cause != "" && details[n.Kind] != string(n.Cause) {
					t.Errorf("NTC-10: the event %s has %q, want %q", n.Kind, details[n.Kind], n.Cause)
				}
				if n.Subject == "" || n.At.IsZero() {
					t.Errorf("no mail: %+v", n)
				}
			}
			slices.Sort(lines) // what comes at the same moment comes in any order
			got = append(got, lines...)
		}
		agent, c := s.agent("agent_1", "alice@example.com"), s.browser()
		s.signIn(c, agent, "X-Addr", "198.51.100.1:1234")
		note()
		s.decide(s.alice, "agent_1", grants.Approved)
		note()
		s.signIn(c, agent, "X-Addr", "198.51.100.1")
		s.get(c, "/me", "X-Addr", "198.51.100.1")
		s.do(c, "POST", "/payouts", "amount=1", "X-Addr", "198.51.100.2")
		note()
		s.decide(s.alice, "agent_1", grants.Suspended)
		note()
		s.decide(s.alice, "agent_1", grants.Approved)
		note()
		s.signIn(c, s.agent("agent_1", "other@example.com"))
		note()
		s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
		note()
		if err := s.owners.RevokeAll(t.Context(), s.alice); err != nil {
			t.Fatal(err)
		}
		note()
		s.decide(s.alice, "agent_1", grants.Approved)
		note()
		if err := s.owners.ForgetAgent(t.Context(), "operator", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		note()
		want := []string{
			`link_pending "" from "198.51.100.1"`, `link_approved "owner" from ""`,
			`action_asked "" from "198.51.100.2"`, `link_first_used "" from "198.51.100.1"`, `link_new_network "" from "198.51.100.2"`,
			`link_suspended "owner" from ""`, `link_approved "owner" from ""`, `link_suspended "address_changed" from ""`, `link_approved "owner" from ""`,
			`link_revoked "revoke_all" from ""`, `link_approved "owner" from ""`, `link_revoked "operator" from ""`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("NTC-10 (-want +got):\n%s", diff)
		}
	})
}

// TestDailyDigest_NTC_11: what is not urgent is told once a day, together, and what is
// urgent at once.
func TestDailyDigest_NTC_11(t *testing.T) {
	bubble(t, "NTC-11", func(t *testing.T) {
		m := &mailbox{}
		s := mailed(t, m)
		for n := range 3 {
			s.letIn(fmt.Sprint("a", n), "alice@example.com", s.alice)
			later(2 * time.Minute)
		}
		s.letIn("b", "bob@example.com", s.bob)
		later(time.Hour)
		s.signIn2("asks", "alice@example.com")
		s.decide2(s.alice, "asks", grants.Denied)
		later(22 * time.Hour)
		if diff := cmp.Diff([]string{"link_approved", "link_pending"}, kindsTold(m.all.take())); diff != "" {
			t.Errorf("NTC-11: within a day (-want +got):\n%s", diff)
		}
		later(2 * time.Hour)
		told := m.all.take()
		if len(told) != 2 || told[0].Kind != grants.EventDigest || told[0].Count != 4 || told[1].Kind != grants.EventFirstUse {
			t.Fatalf("NTC-11: after a day: %v", kindsTold(told))
		}
		var items []string
		for _, n := range told[0].Items {
			items = append(items, string(n.Kind)+" "+n.Grant.Agent.ID)
		}
		want := []string{"link_first_used a0", "link_first_used a1", "link_first_used a2", "link_denied asks"}
		if diff := cmp.Diff(want, items); diff != "" {
			t.Errorf("NTC-11: items (-want +got):\n%s", diff)
		}
		for _, text := range []string{"- 1 January 2000, 00:0", "The agent a1 acted in your account for the first time", "The agent asks was not let into"} {
			if joined := strings.Join(strings.Fields(told[0].Text), " "); !strings.Contains(joined, text) || !strings.Contains(told[0].HTML, strings.TrimPrefix(text, "- ")) {
				t.Errorf("NTC-11: the digest lacks %q:\n%s", text, told[0].Text)
			}
		}
		later(48 * time.Hour)
		if told := m.all.take(); len(told) != 0 {
			t.Errorf("NTC-11: told again: %v", kindsTold(told))
		}
	})
	bubble(t, "NTC-11 NTC-5 Wait tells all", func(t *testing.T) {
		m := &mailbox{}
		s := mailed(t, m)
		s.letIn("a", "alice@example.com", s.alice)
		s.letIn("b", "alice@example.com", s.alice)
		m.all.take()
		s.wait()
		if told := m.all.take(); !slices.Contains(kindsTold(told), "digest") {
			t.Errorf("NTC-5: Wait told %v", kindsTold(told))
		}
	})
	synctest.Test(t, func(t *testing.T) { // NTC-3 room
		m := &mailbox{}
		p := grants.OwnerApproval(&memstore.Grants{})
		p.Logger, p.Notify, p.MaxAgents = quiet, m.notify, 1000
		use := func(user string, n int) {
			for i := range n {
				r := authagent.LinkRequest{Agent: authagent.Agent{Issuer: user, ID: fmt.Sprint("a", i)}, Scenario: "S", User: &authagent.User{ID: user}}
				if err := p.LinkByOwner(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			o, err := p.Overview(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range o.Grants {
				p.CheckSession(t.Context(), &authagent.Session{ID: g.ID, GrantID: g.ID, UserID: user, Agent: g.Agent, Scenario: "S", StartedAt: time.Now()})
			}
		}
		use("many", 60)
		later(25 * time.Hour)
		for _, n := range m.all.take() {
			if n.Kind == grants.EventDigest && (len(n.Items) != 50 || n.Count != 60 || !strings.Contains(n.Text, "There are 10 more. The page has all.")) {
				t.Errorf("NTC-11: a digest with %d items of %d", len(n.Items), n.Count)
			}
		}
	})
}

func kindsTold(all []grants.Notice) (kinds []string) {
	for _, n := range all {
		if n.UserID == all[0].UserID || n.Kind != grants.EventApproved {
			kinds = append(kinds, string(n.Kind))
		}
	}
	return slices.Compact(kinds)
}
