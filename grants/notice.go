package grants

import (
	"strconv"
	"strings"

	"github.com/authagent-go/authagent/audit"
)

// A Notice is something that an owner should hear of.
type Notice struct {
	Kind     audit.Name // EventPending, EventApproved, EventSuspended, EventActionAsked and so on
	UserID   string     // whom to tell
	Grant    *Grant     // the grant that it is about, or
	Approval *Approval  // the single action that it is about
	Action   string     // what Policy.Approvals or Policy.Actions says of it; empty if they say nothing
	Path     string     // where on the site to see and decide it, signed in

	// Count is how many events of its kind it tells of. If there are several, Grant or
	// Approval is that of the first; the page has all.
	Count int
}

// Text says in plain English what has happened. All of it is constant or the site's
// own, except the agent's ID. Whoever registered the agent has chosen that ID: unless
// it is a short plain word, it is left out, because it could contain a text or an
// address.
func (n Notice) Text() string {
	switch {
	case n.Count == 2:
		return n.text() + " There is one more notice of this kind."
	case n.Count > 2:
		return n.text() + " There are " + strconv.Itoa(n.Count-1) + " more notices of this kind."
	}
	return n.text()
}

func (n Notice) text() string {
	agent := "agent"
	switch {
	case n.Grant != nil:
		agent = named(n.Grant.Agent.ID)
	case n.Approval != nil:
		agent = named(n.Approval.Agent.ID)
	}
	_, text := telling(n.Kind)
	text = strings.Replace(text, "AGENT", agent, 1)
	if n.Kind == EventActionAsked && n.Action != "" {
		text = strings.TrimSuffix(text, ".") + ": " + n.Action + "."
	}
	return text
}

// A rank says in which order notices are told.
type rank int

const (
	rankChange rank = iota // something has changed in the account
	rankWaits              // something waits for its owner
	rankNews
)

func (n Notice) rank() rank {
	r, _ := telling(n.Kind)
	return r
}

// telling says how an owner is told of a kind of event: when, and in which words. AGENT
// stands for the agent.
func telling(kind audit.Name) (rank, string) {
	switch kind {
	case EventPending:
		return rankWaits, "The AGENT asks to act in your account. Nothing is open to it unless you approve it."
	case EventApproved:
		return rankChange, "The AGENT may now act in your account."
	case EventChanged:
		return rankChange, "What the AGENT may do in your account has been changed."
	case EventDenied:
		return rankNews, "The AGENT was refused."
	case EventSuspended:
		return rankChange, "The AGENT has been stopped: its owner's e-mail address has changed, or you suspended it. Approve it anew if it is still yours."
	case EventRevoked:
		return rankChange, "The AGENT may no longer act in your account."
	case EventActionAsked:
		return rankWaits, "The AGENT wants to do something that needs your approval."
	case EventFirstUse:
		return rankNews, "The AGENT acts in your account for the first time."
	case EventNewNetwork:
		return rankNews, "The AGENT acts in your account from a new network address."
	}
	return rankNews, "There is news about the AGENT."
}

// maxNamed is how long an ID may be that is named in a mail.
const maxNamed = 24

// named is "agent" and its ID, if that is nothing but a short word, or two: a mail that
// says "agent Win_at_evil_example asks ..." would be an attacker's, in the site's name.
func named(id string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	parts := strings.FieldsFunc(id, func(r rune) bool { return r == '-' || r == '_' })
	if len(id) > maxNamed || len(parts) < 1 || len(parts) > 2 || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return "agent"
	}
	return "agent " + id
}
