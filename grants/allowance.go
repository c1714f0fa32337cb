package grants

import (
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
)

// An Amount is what an action costs, in whole numbers of the smallest unit of its currency: 1250 of
// "USD" are $12.50. The zero value is no amount. It is [audit.Amount].
type Amount = audit.Amount

// A Currency is what amounts are in.
type Currency struct {
	Code   string // as [Amount] has it, such as "USD"
	Digits int    // how many digits of the smallest unit owners read after the decimal point: 2 for USD, 0 for JPY
}

// An Allowance lets an agent perform an action up to an amount, without a question to its
// owner. There is at most one for each grant and action.
type Allowance struct {
	ID      string          `json:"id"`
	Version int64           `json:"version"` // grows with each change, also when the agent takes something
	UserID  string          `json:"-"`
	GrantID string          `json:"grant"`
	Agent   authagent.Agent `json:"agent"`
	Action  string          `json:"action"`

	// What the owner allows: at most Limit in Days days each, or in total if Days is 0, until
	// ExpiresAt. Terms grows with each change of it. A stopped allowance gives nothing.
	Limit     Amount    `json:"limit"`
	Days      int       `json:"days,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
	Terms     int64     `json:"terms"`
	Stopped   bool      `json:"stopped,omitempty"`
	ChangedAt time.Time `json:"changed_at"`

	// Era is that of the grant when the owner allowed it: in another one it gives nothing. So it
	// does not come back with an agent that was stopped by whatever does not know of allowances.
	Era int64 `json:"era,omitempty,string"`

	// Taken is what was taken of Limit in the period that began at Since: what was performed,
	// what is being performed, and what is not known. Open has those that have not ended.
	Taken int64     `json:"taken"`
	Since time.Time `json:"since"`
	Open  []Taking  `json:"open,omitempty"`
}

// A Taking is an amount that was taken of an allowance for an action that has not ended, or
// of which nobody knows how it has ended.
type Taking struct {
	ID          string    `json:"id"`
	Value       int64     `json:"value"`
	Currency    string    `json:"currency,omitempty"` // the allowance may be in another one by now
	At          time.Time `json:"at"`
	Unknown     bool      `json:"unknown,omitempty"` // nobody knows whether the action was performed
	Past        bool      `json:"past,omitempty"`    // it is not in Taken any more: a new period has begun, or another limit
	Description string    `json:"description,omitempty"`
}
