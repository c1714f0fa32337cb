package grants

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
)

// State is how a grant stands.
type State string

// The states of a grant. A grant whose time is over is Expired, whatever the
// store has: see [Grant.Now].
const (
	Pending   State = "pending"   // the agent has asked, the owner has yet to decide
	Approved  State = "approved"  // the agent may act
	Suspended State = "suspended" // it may not, until the owner approves it anew
	Denied    State = "denied"    // the owner said no
	Revoked   State = "revoked"   // the owner said yes, and then no
	Expired   State = "expired"   // nobody decided in time, or the approval has run out
)

// A Grant is what one agent may do in one account.
type Grant struct {
	ID       string           `json:"id"`
	Version  int64            `json:"version"` // grows with each change
	Agent    authagent.Agent  `json:"agent"`
	Scenario string           `json:"scenario"`
	UserID   string           `json:"user_id"`
	State    State            `json:"state"`
	Access   authagent.Access `json:"access"`
	Actions  []string         `json:"actions,omitempty"` // beyond Access, by name

	// Access and Actions say what the agent may do while the grant is Approved. In the states
	// Suspended, Revoked and Expired they say what it could do before, and give nothing.

	// Cause says why a grant is Suspended: CauseOwner, CauseAddress or CauseRestored. It is empty in every other
	// state, and for a grant that was suspended by a version of this package which did not keep it.
	Cause Cause `json:"cause,omitempty"`

	// Nickname is what the owner calls the agent. It is the owner's word.
	Nickname string `json:"nickname,omitempty"`

	// Hidden says that the owner does not want to see a grant that is over. It decides nothing,
	// and means nothing while the grant is Pending or Approved.
	Hidden bool `json:"hidden,omitempty"`

	// Name and Model are what the agent says of itself. They are for display, and
	// to be marked as such.
	Name  string `json:"name,omitempty"`
	Model string `json:"model,omitempty"`

	// Subject is the user of the authorization server for whom the agent acts, where
	// Config.Provider.SubjectIsUser is set. The grant is for this user alone, since the
	// same agent acts for others too. Of a guest, which acts for nobody there, it is the
	// agent's ID. It is empty where the agent has no user but its owner, as at Auth Agent.
	Subject string `json:"subject,omitempty"`

	// Email is the owner's address as the authorization server had it when the grant
	// was asked for or approved. If the address has changed, the grant is suspended.
	Email string `json:"-"`

	RequestedAt   time.Time `json:"requested_at"`
	RequestedFrom string    `json:"requested_from,omitempty"` // the client's address
	DecidedAt     time.Time `json:"decided_at,omitzero"`
	ExpiresAt     time.Time `json:"expires_at"`

	// AskedBefore are the times at which the agent has asked before, in requests that have
	// expired and whose place this one has taken. Those of the last 24 hours count against
	// Policy.MaxNotices; older ones may be missing.
	AskedBefore []time.Time `json:"-"`

	// Era grows when the agent is let in again, or asks again, after it was stopped or
	// its time was over. Until then it is 0. Sessions of another era have ended,
	// whether or not they were used in between. It is no less than the time at which it was stopped, in
	// nanoseconds since 1970, so that access tokens from before then are known too. In JSON it is a string:
	// a program in JavaScript would round a number of this size.
	Era int64 `json:"era,omitempty,string"`

	// Warned is the Version that the grant got when its owner was told that the approval
	// ends soon, and 0 as long as the owner was not. A new approval has 0.
	Warned int64 `json:"-"`
}

// What a state means is in the methods below. How one leads to another is in Policy.apply,
// and what owners read of it is in the page's template.

// enters reports whether an agent enters by a grant in state s, or would if its owner had
// not suspended it. See EntryFinder.
func (s State) enters() bool { return s == Approved || s == Suspended }

// over reports whether a grant that is in state s at this moment is over: its agent neither
// enters nor waits.
func (s State) over() bool { return s != Pending && s != Approved }

// Now returns the grant's state at this moment: a pending or approved grant whose time
// is over is Expired. A suspended one stays Suspended: the owner's no does not expire.
func (g Grant) Now() State { return g.at(time.Now()) }

func (g Grant) at(now time.Time) State {
	if (g.State == Pending || g.State == Approved) && !now.Before(g.ExpiresAt) {
		return Expired
	}
	return g.State
}

// anew is what Era is to be if the agent asks or is let in now. It grows, and is no less than
// the time at which the agent was stopped: sessions and access tokens from before then have ended.
func (g Grant) anew() int64 {
	stopped := time.Now()
	switch state := g.Now(); {
	case g.State == Pending || state == Approved: // no session has ended with it
		return g.Era
	case state == Expired:
		stopped = g.ExpiresAt
	case state == Revoked || state == Denied: // it has let nobody in since
		stopped = g.DecidedAt
	}
	return max(g.Era+1, stopped.UnixNano())
}

// asked reports whether the agent asked for the grant: otherwise the owner
// connected it, or it was admitted unasked.
func (g Grant) asked() bool { return !g.DecidedAt.Equal(g.RequestedAt) }

const (
	// renewedFor is how long an approval that has run out holds its agent after the
	// agent has asked for it anew: a stranger would else have to wait for that moment
	// only. It is bounded, as the store forgets requests. sqlstore has the same.
	renewedFor = 365 * 24 * time.Hour

	// claimedFor is how long a claim holds an agent. It takes a moment; this is for
	// clocks that differ.
	claimedFor = time.Hour
)

// holds reports whether g keeps its agent from every other account: its owner has let
// the agent in, also if that has run out, or is about to.
func (g Grant) holds() bool {
	return g.letIn() && (g.State != Pending || time.Since(g.ExpiresAt) < renewedFor) || g.claimed()
}

// letIn reports whether the owner has let the agent in and has not ended it. A request
// in the place of an approval that has run out keeps the time of that, which is before
// its own.
func (g Grant) letIn() bool {
	return g.State.enters() ||
		g.State == Pending && !g.DecidedAt.IsZero() && g.DecidedAt.Before(g.RequestedAt)
}

// claimed reports whether the owner is letting the agent in at this moment: see claim.
func (g Grant) claimed() bool {
	return g.State == Pending && !g.DecidedAt.Before(g.RequestedAt) && time.Since(g.DecidedAt) < claimedFor
}

// claim is g as a claim: a request that its owner has decided. One that waits for the
// owner goes on waiting if nothing comes of it.
func (g Grant) claim() Grant {
	now := time.Now()
	if g.Now() != Pending {
		g.ExpiresAt = now
	}
	if g.RequestedAt.After(now) { // by the clock of another instance
		g.RequestedAt = now
	}
	g.Era = g.anew() // by the state that g still has: what comes of the claim may not be known
	g.State, g.DecidedAt, g.Hidden = Pending, now, false
	return g
}

func (g Grant) link() authagent.Principal {
	return authagent.Principal{UserID: g.UserID, Access: g.Access, Actions: g.Actions, GrantID: g.ID, GrantEra: g.Era}
}

// newGrant is the grant of the agent that r is about, for the account r.User.
func newGrant(r authagent.LinkRequest, state State, lifetime time.Duration) Grant {
	now := time.Now()
	g := Grant{
		ID: newID(), Version: 1, Agent: r.Agent, Subject: r.Subject, Scenario: r.Scenario, UserID: r.User.ID, State: state, Access: authagent.AccessRead,
		Name: r.Name, Model: r.Model, Email: r.Email, RequestedAt: now, RequestedFrom: r.RemoteAddr, ExpiresAt: now.Add(lifetime),
	}
	if state == Approved {
		g.DecidedAt = now
	}
	return g
}

// same finds the grant that r would have.
func same(r authagent.LinkRequest) func(Grant) bool {
	return func(g Grant) bool { return g.Agent == r.Agent && g.Subject == r.Subject && g.Scenario == r.Scenario }
}

func newID() string { return strings.ToLower(rand.Text()) }
