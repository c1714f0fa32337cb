package grants

import (
	"strings"
	"time"

	"github.com/authagent-go/authagent/audit"
)

// A Notice is something that an owner should hear of. Subject, Text and HTML are ready
// to be mailed, in the owner's language and time zone ([Policy.Locale]). Nothing in them
// has to be changed, and no link in them decides anything.
type Notice struct {
	Kind     audit.Name // EventPending, EventApproved, EventSuspended, EventActionAsked and so on
	UserID   string     // whom to tell
	Grant    *Grant     // the grant that it is about, or
	Approval *Approval  // the single action that it is about, or

	// Allowance is the one that it is about.
	Allowance *Allowance

	Action string    // what Policy.Approvals or Policy.Actions says of it; empty if they say nothing
	Path   string    // where on the site to see and decide it, signed in
	At     time.Time // when it happened
	From   string    // the address or network that it came from, without a port; empty if that is not known
	Cause  Cause     // why it happened; empty if its kind has one cause only

	// Count is how many events of its kind it tells of. If there are several, Grant or
	// Approval is that of the first; the page has all.
	Count int

	// Items are what an EventDigest tells of, the oldest first. Beyond fifty they are
	// only counted: see Count.
	Items []Notice

	// Subject is one line that begins with the site's host. It can have letters beyond
	// ASCII: a program that writes the header of a mail itself has to encode them
	// (mime.QEncoding). Text is plain, in lines of at most 78 characters, but for the
	// address of the page. HTML is a whole document that loads nothing. All three
	// are the package's words and the site's, with three exceptions, each bounded:
	// the agent's ID if it is a short plain word, an IP address, and, in Text and HTML
	// alone, the quoted Approval.Description.
	Subject, Text, HTML string
}

// A Cause says why something happened. It is the Detail of the event, too.
type Cause string

// The causes.
const (
	CauseOwner     Cause = "owner"           // the owner decided it
	CauseConnected Cause = "connected"       // the owner connected the agent in person
	CauseEmail     Cause = "email"           // EmailApproval let the agent in
	CauseConsent   Cause = "consent"         // the owner has consented at the server (Policy.ApproveByConsent)
	CauseAddress   Cause = "address_changed" // the agent's owner has another e-mail address at the server
	CauseRevokeAll Cause = "revoke_all"      // Policy.RevokeAll
	CauseOperator  Cause = "operator"        // Policy.ForgetAgent
	CauseRestored  Cause = "restored"        // the database is that of a backup, which does not know what was decided since; see sqlstore.Store.AfterRestore
)

// A rank says in which order notices are told.
type rank int

const (
	rankChange rank = iota // something has changed in the account
	rankWaits              // something waits for its owner
	rankNews
)

func (n Notice) rank() rank {
	switch n.Kind {
	case EventApproved, EventChanged, EventSuspended, EventRevoked, EventAllowed:
		return rankChange
	case EventPending, EventActionAsked, EventUnknown:
		return rankWaits
	}
	return rankNews
}

// isCalm reports whether a notice can wait for the day's digest. The owner has denied
// or let in the agent, and so knows of it already; the end of an approval is calm while
// there are days left to renew it. What an owner may have to act on at once is not:
// what waits, what has changed, and a new network, which a stolen session comes from.
func (n Notice) isCalm(now time.Time) bool {
	switch n.Kind {
	case EventFirstUse, EventDenied:
		return true
	case EventExpiring:
		return n.Grant.ExpiresAt.Sub(now) > 2*digestEvery
	}
	return false
}

// maxNamed is how long an ID may be that is named in a mail.
const maxNamed = 24

// isPlainName reports whether an ID is nothing but a short word, or two, so that a mail
// can name it: a mail that says "agent Win_at_evil_example asks ..." would be an
// attacker's, in the site's name. Telephones make a number that can be called of seven digits.
func isPlainName(id string) bool {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	parts := strings.FieldsFunc(id, func(r rune) bool { return r == '-' || r == '_' })
	return len(id) <= maxNamed && len(parts) >= 1 && len(parts) <= 2 && !isNumber(strings.Join(parts, "")) && !strings.ContainsFunc(id, func(r rune) bool { return !plain(r) })
}

// isNumber reports whether s has seven digits in a row.
func isNumber(s string) bool {
	row := 0
	for _, c := range []byte(s) {
		if row++; c < '0' || c > '9' {
			row = 0
		}
		if row == 7 {
			return true
		}
	}
	return false
}
