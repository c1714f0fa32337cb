// Package audit has what an audit trail records: events. The Name of an [Event] says
// what has happened, and its Outcome says what came of it. A site gets the events from
// authagent.Config.Audit; package sqlstore has a trail that keeps them.
package audit

import (
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/problem"
)

// An Agent is named by its issuer and its ID there, together: two issuers may
// give the same ID to different agents. It can be compared and be a map key.
type Agent struct {
	Issuer string `json:"issuer"`
	ID     string `json:"id"`
}

// An Amount is a number of the smallest units of a currency: 1250 of "USD" are $12.50. The zero
// value is no amount.
type Amount struct {
	Value    int64  `json:"value"`
	Currency string `json:"currency"`
}

// String returns the amount as in "1250 USD"; the zero value is empty.
func (a Amount) String() string {
	if a == (Amount{}) {
		return ""
	}
	return strconv.FormatInt(a.Value, 10) + " " + a.Currency
}

// A Name says what kind of event it is. The names are stable.
type Name string

// The events of package authagent. Package grants has further ones.
const (
	LoginStarted     Name = "login_started"
	LoginSucceeded   Name = "login_succeeded"
	LoginFailed      Name = "login_failed"
	PersonSignedIn   Name = "person_signed_in"  // a person has signed in at the server, and was handed to the site; see provider.Settings.OnPerson
	TokenAccepted    Name = "token_accepted"    // an agent has come to the API with an access token that this instance did not know, or no longer
	AddressMade      Name = "address_made"      // an agent with an access token was given an address to go on in a browser; Detail has its own words
	SessionContinued Name = "session_continued" // it goes on there, in a session that ends with the one in Detail; see LinkHandler of authagent.RelyingParty
	SessionEnded     Name = "session_ended"

	// ActionPerformed: an agent's request was let through to a route with an action. With a
	// Journal, it says how a deed has ended, and comes after that.
	ActionPerformed Name = "action_performed"

	// ActionBegun: a deed of an agent begins. It is written to a Journal alone.
	ActionBegun Name = "action_begun"

	ActionPending    Name = "action_pending" // it waits for its owner's approval
	PermissionDenied Name = "permission_denied"
	LogoutFailed     Name = "logout_failed" // a sign-out, the page after it, or what the server says of a logout was refused

	// RefreshFailed: kept tokens could not be refreshed. One event stands for all
	// attempts until one succeeds. With the reason no_tokens, the server has refused
	// the tokens for good. With any other Reason, the tokens are kept, and the refresh
	// is tried again.
	RefreshFailed Name = "refresh_failed"

	// TokensRevoked: the server was asked to revoke the tokens of a session
	// that has ended. Outcome says what came of it.
	TokensRevoked Name = "tokens_revoked"

	// SubjectMismatch: the server says that a session's tokens belong to somebody else
	// than at sign-in. The session is ended.
	SubjectMismatch Name = "subject_mismatch"

	// SessionsEndedByServer: the server says that sessions have ended there, and those here
	// that came from them have ended with them (BackChannelLogoutHandler). Detail says
	// which. The server does not say how many, or of which agents.
	SessionsEndedByServer Name = "sessions_ended_by_server"

	// An operator has freed an agent; the site has erased what was kept of an account, whose
	// pseudonym is the UserID from then on. See ForgetAgent and EraseUser of authagent.RelyingParty.
	AgentForgotten Name = "agent_forgotten"
	UserErased     Name = "user_erased"

	// Restored: what a backup had brought back to life was ended, and Detail says how much of what. See
	// AfterRestore of sqlstore.Store.
	Restored Name = "restored"
)

// The outcomes of events.
const (
	OK      = "ok"
	Pending = "pending" // it waits for the owner's approval
	Refused = "refused" // the agent is at fault
	Failed  = "failed"  // the site, the server or the network is at fault

	// Of TokensRevoked alone.
	Requested = "requested"  // the server has accepted the request; at the published server, that proves nothing
	StillLive = "still live" // the server has not accepted it, so the tokens live until they expire

	// Of deeds alone, see Journal.
	Begun       = "begun"
	NothingDone = "nothing done" // the handler says so, or the transaction of the site
	Unknown     = "unknown"      // the handler has panicked, or it was not recorded how it has ended
)

// Access is what an agent may do with the data of a user. More is greater.
type Access int8

// What there is to have.
const (
	AccessNone Access = iota // nothing
	AccessRead               // read, and perform the actions that are allowed by name
	AccessFull               // whatever the user may do
)

// String returns "none", "read" or "full".
func (a Access) String() string {
	if names := [...]string{"none", "read", "full"}; a >= AccessNone && a <= AccessFull {
		return names[a]
	}
	return "access(" + strconv.Itoa(int(a)) + ")"
}

// MarshalText returns what String does.
func (a Access) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (a *Access) UnmarshalText(text []byte) error {
	for _, known := range [...]Access{AccessNone, AccessRead, AccessFull} {
		if string(text) == known.String() {
			*a = known
			return nil
		}
	}
	return errors.New("authagent: access is none of none, read and full")
}

// A Door is the way by which an agent comes to a site.
type Door string

// The doors. A browser's is the zero value.
const (
	Browser Door = ""     // with the cookie of a session
	API     Door = "api"  // with an access token, see package api
	Link    Door = "link" // with the cookie of a session that was continued from the API, see LinkHandler of authagent.RelyingParty
)

// An Event is something that an audit trail records.
//
// One event may stand for several refused requests ([LoginFailed], [LogoutFailed] or
// [PermissionDenied]): see Count. They came within a minute, and agree in Name, Reason,
// Route, Action, UserID, HumanID, GrantID, Scenario, Door and Agent. If no agent is
// known, they came from the same address or IPv6 /64 network. The other fields are those
// of the last request; Time is when they were counted.
type Event struct {
	Name       Name
	Time       time.Time // in UTC
	RequestID  string    // the one that a refused client was given; empty otherwise
	Method     string    // of the request; Method and Route are empty for what happens in the background
	Route      string    // the pattern of the site's http.ServeMux that the request matched; empty with other routers
	RemoteAddr string    // the client's IP address, without port; empty if it is not known
	Issuer     string    // of the relying party
	SessionID  string    // this and all fields below: as far as they are known
	Agent      Agent     // who acted, or whom a human decided about
	UserID     string    // on whose behalf
	HumanID    string    // the human who acted in person; empty where it was the agent
	Scenario   string
	ProfileID  string
	GrantID    string
	Door       Door           // by which the agent came
	Access     string         // of the session or grant: "none", "read" or "full"; empty where there is neither
	Action     string         // the name of the action that the request was to perform; empty otherwise
	Amount     Amount         // what the action costs, as far as it is known
	Outcome    string         // one of the outcomes above
	Reason     problem.Reason // why it was refused or ended; empty otherwise
	Detail     string         // for people: the text of the error, the cause of a change, or what an action was described as
	Count      int            // 1, or how many refused requests the event stands for
	Deed       string         // joins the two events of a deed, see Journal; empty for all other events
}

// LogValue returns the fields that are not empty, under stable names. Each value is one
// line, with invisible characters written out, as in "\u202e".
func (e Event) LogValue() slog.Value {
	by, agent := e.Agent.ID, ""
	if e.HumanID != "" {
		by, agent = e.HumanID, e.Agent.ID
	}
	attributes := []slog.Attr{slog.String("issuer", e.Issuer)}
	for _, a := range [...]struct{ key, value string }{
		{"remote_addr", e.RemoteAddr}, {"request_id", e.RequestID}, {"agent_session", e.SessionID}, {"performed_by", by}, {"agent", agent},
		{"on_behalf_of", e.UserID}, {"profile", e.ProfileID}, {"grant", e.GrantID}, {"door", string(e.Door)}, {"scenario", e.Scenario}, {"route", e.Route},
		{"action", e.Action}, {"amount", e.Amount.String()}, {"deed", e.Deed}, {"outcome", e.Outcome}, {"reason", string(e.Reason)}, {"detail", e.Detail},
	} {
		if a.value != "" {
			attributes = append(attributes, slog.String(a.key, claims.Escape(a.value)))
		}
	}
	if e.Count > 1 {
		attributes = append(attributes, slog.Int("count", e.Count))
	}
	return slog.GroupValue(attributes...)
}
