package grants

import (
	"context"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// A Store keeps everything of this package. Implementations are safe for concurrent
// use, at any number of instances; they ensure uniqueness and versions in the write
// itself, not by a check before it. Package memstore has one for a single process.
type Store interface {
	GrantStore
	ApprovalStore
	ActivityStore
	RuleStore
}

// An EntryFinder is a [GrantStore] that finds the grants by which an agent may enter,
// and reads no others. When an agent signs in, a Policy calls Entries in place of
// AgentGrants. The request of an agent is a grant too, and reading it would take
// longer: the answer would be slower if there is an account than if there is none.
type EntryFinder interface {
	// Entries returns the agent's grants in the states Approved and Suspended, in no
	// order, including those whose time is over.
	Entries(ctx context.Context, agent authagent.Agent) ([]Grant, error)
}

// A GrantStore keeps grants. It may be an [EntryFinder].
type GrantStore interface {
	// Grant returns the grant with this ID, or authagent.ErrNotFound. It is called
	// on each request of an agent.
	Grant(ctx context.Context, id string) (Grant, error)

	// AgentGrants returns all grants of an agent, in no order.
	AgentGrants(ctx context.Context, agent authagent.Agent) ([]Grant, error)

	// OwnerGrants returns all grants for an account, in no order.
	OwnerGrants(ctx context.Context, userID string) ([]Grant, error)

	// CreateGrant adds g, with its ID and version, and returns it. If there is already
	// a grant with its Agent, Subject, Scenario and UserID, it returns that one and
	// false. Of concurrent calls, exactly one creates the grant.
	CreateGrant(ctx context.Context, g Grant) (have Grant, created bool, err error)

	// UpdateGrant replaces the grant that has g's ID and Version, and returns g
	// with a Version that is higher by one. If there is none it changes nothing
	// and returns authagent.ErrConflict. ID, Agent, Subject, Scenario and
	// UserID never change.
	UpdateGrant(ctx context.Context, g Grant) (Grant, error)
}

// An ApprovalStore keeps the single actions that owners are asked about.
type ApprovalStore interface {
	// Approval returns the approval with this ID, or authagent.ErrNotFound.
	Approval(ctx context.Context, id string) (Approval, error)

	// OwnerApprovals returns the approvals of an account that have not expired,
	// in no order.
	OwnerApprovals(ctx context.Context, userID string) ([]Approval, error)

	// CreateApproval adds a, with its ID and version, and returns it. If there is
	// already an approval with its UserID and Digest, expired or not, it returns that
	// one and false.
	CreateApproval(ctx context.Context, a Approval) (have Approval, created bool, err error)

	// UpdateApproval replaces the approval that has a's ID and Version, and
	// returns a with a Version that is higher by one. If there is none it changes
	// nothing and returns authagent.ErrConflict.
	UpdateApproval(ctx context.Context, a Approval) (Approval, error)
}

// An AllowanceStore keeps what owners allow up to an amount. A [Store] that is to be used with
// Policy.Allowances is one as well.
type AllowanceStore interface {
	// Allowance returns the allowance with this ID, or authagent.ErrNotFound.
	Allowance(ctx context.Context, id string) (Allowance, error)

	// OwnerAllowances returns the allowances of an account, in no order. It may leave out those
	// whose ExpiresAt is over by more than 90 days, and may forget them.
	OwnerAllowances(ctx context.Context, userID string) ([]Allowance, error)

	// CreateAllowance adds a, with its ID and version, and returns it. If there is already an
	// allowance with its ID, it returns that one and false. Of concurrent calls, exactly one
	// creates it.
	CreateAllowance(ctx context.Context, a Allowance) (have Allowance, created bool, err error)

	// UpdateAllowance replaces the allowance that has a's ID and Version, and returns a with a
	// Version that is higher by one. If there is none it changes nothing and returns
	// authagent.ErrConflict. ID, UserID, GrantID, Agent and Action never change.
	UpdateAllowance(ctx context.Context, a Allowance) (Allowance, error)
}

// A Settler is a [Store] in whose database a site can record, in a transaction of its own, that
// a reservation was used. See Policy.InTransaction.
type Settler interface {
	// Settle reports whether a committed transaction has recorded that the reservation with this
	// ID was used. If none has, none ever can from then on. It returns an error if a transaction
	// that has recorded it is neither committed nor rolled back.
	Settle(ctx context.Context, id string) (used bool, err error)
}

// A TurnTaker is a [Store] in which one instance at a time changes what an account's limits count.
// Where it is one, Policy.MaxAgents, MaxNotices and MaxActions hold across all instances that share
// the store. In any other store they hold within one Policy: of two instances that let agents in, or
// that ask the owner, at the same moment, each may reach the limit. sqlstore.Grants is one.
type TurnTaker interface {
	// InTurn calls do when it is this call's turn for the account, and returns its error. Between two
	// turns of one account, at any instances, nothing overlaps: each sees all that the one before has changed.
	// The store that do gets is for the turn alone. What do changes by it is there when InTurn returns nil. It is
	// not if do returns an error, or if its process ends: then the turn ends too, and the next one begins.
	//
	// The context that do gets ends with the turn at the latest. do may be called again if all that the
	// earlier call has changed is undone. It asks nobody but its store, and takes no other turn.
	InTurn(ctx context.Context, userID string, do func(ctx context.Context, store Store) error) error
}

// An Activity is a session of an agent, as its owner sees it.
type Activity struct {
	SessionID  string    `json:"session"`
	GrantID    string    `json:"grant"`
	UserID     string    `json:"-"`
	RemoteAddr string    `json:"remote_addr"`
	Network    string    `json:"-"` // of RemoteAddr: the address without its port, IPv6 by its /64 network
	StartedAt  time.Time `json:"started_at"`
	SeenAt     time.Time `json:"seen_at"` // accurate to a minute
	ExpiresAt  time.Time `json:"expires_at"`

	Door audit.Door `json:"door,omitempty"` // by which the agent came: a browser, or the site's API
}

// A Use says what is new about the use of a grant.
type Use int

const (
	KnownUse   Use = iota // nothing is new
	FirstUse              // the grant is used for the first time
	NewNetwork            // it is used from a network that it was not used from before
)

// A LastUse is when and from where a grant was used last.
type LastUse struct {
	GrantID    string    `json:"grant"`
	RemoteAddr string    `json:"remote_addr"`
	SeenAt     time.Time `json:"seen_at"` // accurate to a minute
}

// A Deed is something that an agent did, or was refused. A refused one may stand for
// several of its kind within a minute: owners see that it came again, and the audit
// trail says how often.
type Deed struct {
	GrantID string         `json:"grant"`
	UserID  string         `json:"-"`
	At      time.Time      `json:"at"`
	Event   audit.Name     `json:"event"`
	Action  string         `json:"action,omitempty"` // as the site names it
	Route   string         `json:"route,omitempty"`
	Outcome string         `json:"outcome"`
	Reason  problem.Reason `json:"reason,omitempty"`
}

// An ActivityStore keeps what owners see of what their agents do. It is not the
// audit trail, and may forget.
type ActivityStore interface {
	// Touch records that a session was seen, and replaces what was recorded of that
	// session before. It also records that the session's grant was used from a.Network.
	// It returns what is new about that use; of concurrent calls, exactly one is told.
	Touch(ctx context.Context, a Activity) (Use, error)

	// EndActivity forgets a session. Without one it returns nil.
	EndActivity(ctx context.Context, sessionID string) error

	// OwnerActivity returns the sessions of an account that have not expired.
	OwnerActivity(ctx context.Context, userID string) ([]Activity, error)

	// OwnerUses returns the last use of each grant of an account that was used.
	OwnerUses(ctx context.Context, userID string) ([]LastUse, error)

	// AddDeed records a deed.
	AddDeed(ctx context.Context, d Deed) error

	// OwnerDeeds returns the latest deeds in an account, newest first, at most n.
	OwnerDeeds(ctx context.Context, userID string, n int) ([]Deed, error)
}

// A RuleStore keeps the rules of the site about all agents.
type RuleStore interface {
	// Rules returns the rules; without any, the zero value. It is called on each
	// request of an agent.
	Rules(ctx context.Context) (Rules, error)

	// SetRules replaces the rules.
	SetRules(ctx context.Context, r Rules) error
}

// agentGrants returns all grants of an agent.
func (p *Policy) agentGrants(ctx context.Context, agent authagent.Agent) ([]Grant, error) {
	all, err := p.store.AgentGrants(ctx, agent)
	if err != nil {
		return nil, fmt.Errorf("grants: find grants of agent: %w", err)
	}
	return all, nil
}

// entries returns the grants by which an agent may be able to enter.
func (p *Policy) entries(ctx context.Context, agent authagent.Agent) ([]Grant, error) {
	finder, ok := p.store.(EntryFinder)
	if !ok {
		return p.agentGrants(ctx, agent)
	}
	all, err := finder.Entries(ctx, agent)
	if err != nil {
		return nil, fmt.Errorf("grants: find grants of agent: %w", err)
	}
	return all, nil
}

// inTurn calls do in the account's turn, where the store has turns. Nothing else waits in there: not for the
// site's functions, and not for another connection to the database, of which there may be none.
func (p *Policy) inTurn(ctx context.Context, userID string, do func(context.Context, Store) error) error {
	if taker, ok := p.store.(TurnTaker); ok {
		return taker.InTurn(ctx, userID, do)
	}
	return do(ctx, p.store)
}

// ownerGrants returns all grants for an account.
func (p *Policy) ownerGrants(ctx context.Context, userID string) ([]Grant, error) {
	all, err := p.store.OwnerGrants(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("grants: find grants of account: %w", err)
	}
	return all, nil
}
