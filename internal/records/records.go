// Package records has what an export of an account says of each thing that is kept, for all stores. The
// names of the fields are stable.
package records

import (
	"time"

	"github.com/authagent-go/authagent/audit"
)

// The kinds of records that are here.
const (
	Links    = "links"
	Profiles = "profiles"
	Events   = "events"
)

// A Link says that an agent entered the account first.
type Link struct {
	Agent    audit.Agent `json:"agent"`
	LinkedAt time.Time   `json:"linked_at,omitzero"`
}

// A Profile is one of an agent that is linked to the account.
type Profile struct {
	ID        string      `json:"id"`
	Agent     audit.Agent `json:"agent"`
	Subject   string      `json:"subject,omitempty"`
	Scenario  string      `json:"scenario"`
	Model     string      `json:"model,omitempty"`
	Name      string      `json:"name,omitempty"`
	CreatedAt time.Time   `json:"created_at,omitzero"`
}

// An Event is one of the audit trail.
type Event struct {
	Name       string       `json:"name"`
	At         time.Time    `json:"at"`
	UserID     string       `json:"user_id,omitempty"`  // empty if the account is another's
	HumanID    string       `json:"human_id,omitempty"` // likewise
	RequestID  string       `json:"request_id,omitempty"`
	Method     string       `json:"method,omitempty"`
	Route      string       `json:"route,omitempty"`
	RemoteAddr string       `json:"remote_addr,omitempty"`
	Issuer     string       `json:"issuer,omitempty"`
	Session    string       `json:"session,omitempty"`
	Agent      *audit.Agent `json:"agent,omitempty"`
	Scenario   string       `json:"scenario,omitempty"`
	Profile    string       `json:"profile,omitempty"`
	Grant      string       `json:"grant,omitempty"`
	Door       string       `json:"door,omitempty"`
	Access     string       `json:"access,omitempty"`
	Action     string       `json:"action,omitempty"`
	Amount     audit.Amount `json:"amount,omitzero"`
	Outcome    string       `json:"outcome,omitempty"`
	Reason     string       `json:"reason,omitempty"`
	Detail     string       `json:"detail,omitempty"`
	Count      int          `json:"count,omitempty"`
}

// EventOf returns the record of an event for the account userID. Of another account that is in it, such
// as that of the human who decided, it says nothing.
func EventOf(e audit.Event, userID string) Event {
	r := Event{
		Name: string(e.Name), At: e.Time.UTC(), UserID: e.UserID, HumanID: e.HumanID, RequestID: e.RequestID, Method: e.Method, Route: e.Route,
		RemoteAddr: e.RemoteAddr, Issuer: e.Issuer, Session: e.SessionID, Scenario: e.Scenario, Profile: e.ProfileID, Grant: e.GrantID,
		Door: string(e.Door), Access: e.Access, Action: e.Action, Amount: e.Amount, Outcome: e.Outcome, Reason: string(e.Reason),
		Detail: e.Detail, Count: e.Count,
	}
	if e.Agent != (audit.Agent{}) {
		r.Agent = &e.Agent
	}
	if r.UserID != userID {
		r.UserID = ""
	}
	if r.HumanID != userID {
		r.HumanID = ""
	}
	return r
}
