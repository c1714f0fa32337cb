package grants

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// TestTimed: a time that is told by how long ago it was has the moment behind it, and a moment does not
// have itself.
func TestTimed(t *testing.T) {
	to := english()
	to.now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	at := to.now.Add(-3 * time.Hour)
	for got, want := range map[string]string{
		string(Texts{to}.Ago(at)):    `<time datetime="2026-11-29T09:00:00Z" title="29 November 2026, 09:00 UTC">3 hours ago</time>`,
		string(Texts{to}.Moment(at)): `<time datetime="2026-11-29T09:00:00Z">29 November 2026, 09:00 UTC</time>`,
		string(Texts{to}.Day(at)):    `<time datetime="2026-11-29T09:00:00Z" title="29 November 2026, 09:00 UTC">29 November</time>`,
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestPageName: an agent is called by its owner's word, then by its own, which is marked, then by the
// end of its ID.
func TestPageName(t *testing.T) {
	for _, test := range []struct {
		nickname, claimed, id, want string
		unchecked                   bool
	}{
		{"Robot", "Claude", "agent_123456", "Robot", false}, {"", "Claude", "agent_123456", "“Claude”", true}, {"", "", "agent_123456", "An agent (…123456)", false},
		{"Robot", "", "agent_123456", "Robot", false}, {"", "", "abcdef", "An agent (abcdef)", false}, {"", "", "a", "An agent (a)", false}, {"", "", "", "An agent ()", false},
		{"", "", "abcdefg", "An agent (…bcdefg)", false}, {"", "", "agent__-__ab", "An agent (…ab)", false}, {"", "<b>", "a", "“<b>”", true},
	} {
		n := newPageName(english(), test.nickname, Grant{Agent: authagent.Agent{ID: test.id}, Name: test.claimed})
		if n.String() != test.want || n.Unchecked() != test.unchecked || strings.Contains(string(n.HTML()), "<b>") {
			t.Errorf("%+v: %s, unchecked %v, %s", test, n, n.Unchecked(), n.HTML())
		}
	}
}

// TestMay: what a grant gives is said for its access, its scenario and its actions.
func TestMay(t *testing.T) {
	p := OwnerApproval(nil)
	p.Actions = map[string]string{"a": "Place orders"}
	const read, full = "see your account", "do almost everything that you can do here"
	for _, test := range []struct {
		g    Grant
		want string
	}{
		{Grant{Access: authagent.AccessNone, Actions: []string{"a"}}, "see nothing of your account"},
		{Grant{Access: authagent.AccessRead}, read}, {Grant{Access: authagent.AccessRead, Actions: []string{"a"}}, read + ", and place orders"},
		{Grant{Access: authagent.AccessFull, Scenario: "FullAccount"}, full}, {Grant{Access: authagent.AccessFull, Scenario: "FullAccount", Actions: []string{"a"}}, full},
		{Grant{Access: authagent.AccessFull, Scenario: "ContextualProfile"}, read}, {Grant{Access: authagent.AccessRead, Scenario: "FullAccount"}, read},
	} {
		if got := p.may(english(), test.g); got != test.want {
			t.Errorf("%+v: %q, want %q", test.g, got, test.want)
		}
	}
}

// TestDeedInWords: a deed is told with its action and with why it was refused, as far as there are words
// for it.
func TestDeedInWords(t *testing.T) {
	p := OwnerApproval(nil)
	p.Actions = map[string]string{"a": "Place orders"}
	for _, test := range []struct {
		d    Deed
		want string
	}{
		{Deed{Event: audit.LoginSucceeded}, "Signed in"}, {Deed{Event: "of_later"}, "of_later"}, {Deed{Event: audit.ActionPerformed, Action: "a"}, "Did this: place orders"},
		{Deed{Event: audit.ActionPerformed, Action: "a", Outcome: audit.OK}, "Did this: place orders"}, {Deed{Event: audit.ActionPerformed, Action: "a", Outcome: audit.Unknown}, "Tried this: place orders"},
		{Deed{Event: audit.ActionPerformed, Action: "a", Reason: problem.ApprovalPending}, "Did this: place orders"},
		{Deed{Event: "of_later", Reason: "of_later_too"}, "of_later. of_later_too"},
	} {
		if got := p.deed(english(), test.d); got != test.want {
			t.Errorf("%+v: %q, want %q", test.d, got, test.want)
		}
	}
}

// TestNumber: a page's number is positive, whatever a link says.
func TestNumber(t *testing.T) {
	for s, want := range map[string]int{"2": 2, "1": 1, "0": 1, "-1": 1, "": 1, "x": 1, "2x": 1, "99999999999999999999": 1} {
		if got := number(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

// TestNoHostYet: a policy that no relying party uses yet has no host, and names none.
func TestNoHostYet(t *testing.T) {
	if host := OwnerApproval(nil).host(); host != "" {
		t.Errorf("host %q", host)
	}
}

// TestStanding: how a grant stands that gives nothing is said by its state, and by why it was suspended.
func TestStanding(t *testing.T) {
	to := english()
	to.now = time.Now()
	hour := time.Hour
	asked, decided, over, later := to.now.Add(-3*hour), to.now.Add(-50*hour), to.now.Add(-hour), to.now.Add(hour)
	for _, test := range []struct {
		g    Grant
		want string
	}{
		{Grant{State: Pending, RequestedAt: asked, ExpiresAt: later}, "It asked 3 hours ago, and waits for your answer."},
		{Grant{State: Pending, RequestedAt: asked, DecidedAt: decided, ExpiresAt: later}, "It asked 3 hours ago, and waits for your answer."},
		{Grant{State: Pending, RequestedAt: asked, ExpiresAt: over}, "It asked, and nobody decided by "}, {Grant{State: Approved, DecidedAt: decided, ExpiresAt: over}, "Its time was over on "},
		{Grant{State: Denied, DecidedAt: decided}, "Denied on "}, {Grant{State: Denied}, "Denied on "}, {Grant{State: Revoked, DecidedAt: decided}, "Stopped on "},
		{Grant{State: Suspended, DecidedAt: decided}, "Paused."}, {Grant{State: Suspended, DecidedAt: decided, Cause: CauseOwner}, "You paused it on "},
		{Grant{State: Suspended, DecidedAt: decided, Cause: CauseAddress}, "Paused: at the server"}, {Grant{State: Suspended, DecidedAt: decided, Cause: "of_later"}, "Paused."},
	} {
		said := string(Texts{to}.standing(test.g))
		if test.g.State == Approved && !strings.Contains(said, over.UTC().Format(time.RFC3339)) {
			t.Errorf("%+v: %s, want its end", test.g, said)
		}
		got := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(said, "")
		if !strings.HasPrefix(got, test.want) || strings.Contains(got, "{") {
			t.Errorf("%+v: %q, want %q", test.g, got, test.want)
		}
	}
}
