// Package reasons is the table of all that requests are refused for. A reason is one
// row of it: adding one is adding a row, and a constant where code names it, here or
// in package problem. What answers, tells and explains refusals goes by the rows.
package reasons

// Who has to do something about a refusal.
const (
	Agent   = "agent"
	Site    = "site"
	Server  = "server"
	Network = "network"
)

// The reasons that only this package's own code names. Those that a site's code
// returns or asks about are constants of package problem.
const (
	RequestTooLong      = "request_too_long"     // the request is longer than the owner could be shown
	AgentRequired       = "agent_required"       // a human is signed in, and this is for agents
	AgentInBrowser      = "agent_in_browser"     // a person signs in where an agent is signed in, or was
	AccessDenied        = "access_denied"        // the authorization server was told no
	InvalidToken        = "invalid_token"        // the access token is not good, or the session that it stands for has ended
	InvalidCredentials  = "invalid_credentials"  // the access token is malformed, or came with a session's cookie
	InsufficientScope   = "insufficient_scope"   // the server granted less than the scenario needs
	StateMismatch       = "state_mismatch"       // the response answers no login that this browser began
	StateExpired        = "state_expired"        // the login began too long ago
	StateUsed           = "state_used"           // the login has come to its end already
	UnderWay            = "sign_in_under_way"    // another request is finishing the login
	CodeRefused         = "code_refused"         // the code is not good (any more)
	TokenRefused        = "token_refused"        // the server does not stand by the token it gave
	IdentityMismatch    = "identity_mismatch"    // the token speaks of somebody or something else
	MethodNotAllowed    = "method_not_allowed"   // the handler takes another HTTP method
	CrossOrigin         = "cross_origin"         // sent by another site's page
	NotNavigation       = "not_a_navigation"     // prefetched or embedded, not opened
	ClientRefused       = "client_refused"       // client ID and secret are refused, or the server's database is down
	InvalidResponse     = "invalid_response"     // the server's answer cannot be accepted
	KeysUnreadable      = "keys_unreadable"      // the keys that the server publishes cannot be read
	ServerNotReady      = "server_not_ready"     // what the server says of itself could not be had, or is not acceptable
	Unavailable         = "server_unavailable"   // the server does not answer
	ServerTimeout       = "server_timeout"       // the server does not answer in time
	Overloaded          = "overloaded"           // too many sign-ins at once
	IssuerMismatch      = "issuer_mismatch"      // the response is of another authorization server
	AuthorizationFailed = "authorization_failed" // the authorization server reports another error
	NoTokens            = "no_tokens"            // the session has no tokens that could be used
	ApprovalUsed        = "approval_used"        // the owner's approval of this one action has been used
	ActionUnderWay      = "action_under_way"     // the one approved action is being performed
	OutcomeUnknown      = "outcome_unknown"      // nobody knows whether the one approved action was performed
	Gone                = "gone"                 // its time is over
	NotOver             = "not_over"             // what waits or is in force cannot be forgotten
	ConfirmationNeeded  = "confirmation_needed"  // the owner has to prove that they are there in person
	ConfirmationFailed  = "confirmation_failed"  // that proof is not accepted
	NotConfirmed        = "not_confirmed"        // the server does not stand by the session any more

	// Of an address at which an agent that uses the API goes on in a browser.
	AddressUnknown      = "address_unknown"          // it is not ours, or was changed
	AddressExpired      = "address_expired"          // it was made too long ago
	AddressUsed         = "address_used"             // it was used
	AccessEnded         = "access_ended"             // the session of the access token that it comes from has ended
	PersonInBrowser     = "person_in_browser"        // it was opened where a person is signed in
	OtherAgentInBrowser = "another_agent_in_browser" // it was opened where an agent is signed in, or was
)

// A Row is what a reason means to whom it is told.
type Row struct {
	Code   string
	Status int    // of the answer
	Fault  string // who has to do something about it
	Flags  Flags

	// Title and Detail are constant: an agent takes what it reads for an instruction,
	// so nobody else's words may be in them. They are English, which programs always
	// get. Package messages has them for pages, in English from here.
	Title, Detail string
}

// Flags say what is so of a reason.
type Flags uint8

const (
	Told  Flags = 1 << iota // an agent may meet it, and is told of it beforehand
	Retry                   // asking anew, later, may succeed
	Again                   // starting a new sign-in is what to do next
)

// Has reports whether all of flags are set.
func (r Row) Has(flags Flags) bool { return r.Flags&flags == flags }

// Of returns the row of a code. One that is not in the table is a reason of the
// site's own, from its scenario, policy or session check.
func Of(code string) Row {
	if i, ok := index[code]; ok {
		return table[i]
	}
	return Row{code, 403, Agent, 0, "Refused", "This site refuses the request."}
}

// Known reports whether a code is in the table.
func Known(code string) bool { _, known := index[code]; return known }

// All returns the rows, in the order in which agents are told of them.
func All() []Row { return append([]Row(nil), table[:]...) }

// index finds the rows. Nothing changes it.
var index = func() map[string]int {
	found := make(map[string]int, len(table))
	for i, row := range table {
		found[row.Code] = i
	}
	return found
}()

// table is in the order in which agents are told of the reasons, those that they are
// not told of last.
var table = [...]Row{
	{"no_session", 401, Agent, Told, "Sign-in required", "No agent is signed in. Sign in and ask again."},
	{"invalid_token", 401, Agent, Told, "Access token not accepted", "The access token has expired, was revoked, or is not for this API. Get another one from the authorization server."},
	{"invalid_credentials", 400, Agent, Told, "Malformed credentials", "Send one Authorization header with one access token, and no session's cookie beside it."},
	{"agent_read_only", 403, Agent, Told, "Read-only", "The agent may only read, so nothing was changed. GET and HEAD are allowed."},
	{"access_too_low", 403, Agent, Told, "Access too low", "The agent's access to its user's data is not enough for this."},
	{"action_not_granted", 403, Agent, Told, "Action not granted", "The agent may not perform this action. The account's owner can allow it on the page of connected agents. Then ask again."},
	{"approval_pending", 202, Agent, Told | Retry, "Approval pending", "Nothing was done yet. The account's owner has been asked to approve this one request. Send the same request again once it is approved."},
	{"action_denied", 403, Agent, Told, "Action denied", "The account's owner has refused this request. Nothing was done."},
	{"approval_used", 409, Agent, Told, "Approval used", "This request was approved for one time, and that time is used. To do the same again, send the request with another Idempotency-Key."},
	{"action_under_way", 409, Agent, Told | Retry, "Action under way", "This request was let through and is being performed. It is not performed twice. Ask again in a moment how it has ended."},
	{"outcome_unknown", 409, Agent, Told, "Outcome unknown", "This request was let through, and it is not known whether it was performed. It is not performed again. The account's owner has been told and can find out."},
	{"request_too_long", 413, Agent, Told, "Request too long", "The request is too long to be shown to the account's owner as a whole."},
	{"agent_forbidden", 403, Agent, Told, "Not for agents", "No agent may do this. It is for the account's owner in person."},
	{"human_required", 401, Agent, Told, "Sign-in required", "This is for people. Sign in to the site as yourself."},
	{"agent_required", 403, Agent, Told | Again, "For agents", "This is for agents, and a person is signed in with this browser. Sign in as an agent first."},
	{"no_account", 403, Agent, Told, "No account", "The agent's owner has no account here that the agent may enter."},
	{"approval_needed", 403, Agent, Told | Again, "The account's owner has to approve this agent first", "Nothing is open yet. If there is an account that this agent belongs to, its owner finds the request on the page of connected agents. Try again afterwards."},
	{"link_suspended", 403, Agent, Told | Again, "The account's owner has to approve this agent again", "The agent is suspended. The account's owner can approve it again on the page of connected agents. Try again afterwards."},
	{"link_refused", 403, Agent, Told, "Not linked", "The agent may not enter the account. It acts for another account, the account has the most agents allowed, or no agent may enter it."},
	{"agent_blocked", 403, Agent, Told, "Agent not admitted", "This site does not let this agent in."},
	{"agents_paused", 503, Site, Told | Retry | Again, "Agents paused", "This site lets no agent in at the moment. Try again later."},
	{"rate_limited", 429, Agent, Told | Retry, "Too many requests", "There were too many requests in too short a time. Wait a while, then try again. Programs find the time in Retry-After."},
	{"access_denied", 403, Agent, Told | Again, "Sign-in refused", "The authorization server was told to refuse this sign-in."},
	{"insufficient_scope", 403, Agent, Told, "Too little granted", "The authorization server granted too little for this. Have it grant all the scopes that are named."},
	{"state_mismatch", 400, Agent, Told | Again, "No such sign-in", "This browser has no sign-in under way that this response belongs to. Start again."},
	{"state_expired", 400, Agent, Told | Again, "Sign-in expired", "The sign-in took too long. Start again."},
	{"state_used", 400, Agent, Told | Again, "Sign-in already finished", "This response has been used. Start again."},
	{"sign_in_under_way", 409, Agent, Told | Retry, "Sign-in under way", "Another request is finishing this sign-in, or has finished it. Ask again in a moment. Then you are signed in, or you can start again."},
	{"code_refused", 400, Agent, Told | Again, "Sign-in not accepted", "The authorization server does not accept the code. Start again."},
	{"token_refused", 400, Server, Told | Retry | Again, "Sign-in not confirmed", "The authorization server did not confirm the sign-in. Start again."},
	{"identity_mismatch", 400, Server, Told, "Identity not confirmed", "What the authorization server says about the agent is contradictory."},
	{"address_unknown", 400, Agent, Told, "No such address", "This site has not made the address, or it was changed. Ask the site for another one, with your access token."},
	{"address_expired", 410, Agent, Told, "Address expired", "The address was good for 60 seconds. Ask the site for another one, with your access token."},
	{"address_used", 409, Agent, Told, "Address used", "The address was good for one time, and that time is used. Ask the site for another one, with your access token."},
	{"access_ended", 403, Agent, Told, "Access ended", "The access through the API that the address comes from has ended. Nothing was started."},
	{"person_in_browser", 403, Agent, Told, "A person is signed in here", "This browser is a person's, so nothing was started. Open the address in a browser in which nobody is signed in."},
	{"another_agent_in_browser", 403, Agent, Told, "An agent is or was signed in here", "Nothing was started. Sign that agent out of this browser first, or open the address in another browser, without an access token."},
	{"invalid_request", 400, Agent, Told | Again, "Malformed request", "The parameters are malformed, missing or repeated."},
	{"method_not_allowed", 405, Agent, Told, "Method not allowed", "This address takes another HTTP method."},
	{"cross_origin", 403, Agent, Told, "Sent by another site", "The request was sent by a page of another site."},
	{"not_a_navigation", 403, Agent, Told, "Not opened", "Open this address directly. It cannot be loaded in advance or inside another page."},
	{"client_refused", 502, Server, Told | Retry | Again, "Authorization server refused", "The authorization server refused this site. Start again later."},
	{"invalid_response", 502, Server, Told, "Authorization server failed", "The authorization server gave an answer that this site does not accept."},
	{"keys_unreadable", 502, Server, Told | Retry | Again, "Authorization server's keys unreadable", "The authorization server's published keys cannot be read, so its signatures cannot be verified. Start again later."},
	{"server_not_ready", 503, Server, Told | Retry | Again, "Sign-in unavailable", "The authorization server cannot be used at the moment. Start again later."},
	{"server_unavailable", 502, Network, Told | Retry | Again, "Authorization server unavailable", "The authorization server does not answer. Start again later."},
	{"server_timeout", 504, Network, Told | Retry | Again, "Authorization server unavailable", "The authorization server does not answer in time. Start again later."},
	{"overloaded", 503, Site, Told | Retry | Again, "Too many sign-ins", "Too many sign-ins are under way. Start again later."},
	{"store_failed", 500, Site, Told | Retry, "Site error", "Something went wrong at this site. Try again later."},
	{"agent_in_browser", 403, Agent, 0, "An agent is signed in here", "Sign the agent out of this browser first. Then sign in as yourself."},
	{"issuer_mismatch", 400, Agent, 0, "Another server", "The response does not come from the authorization server that was asked."},
	{"authorization_failed", 400, Server, Again, "Sign-in failed", "The authorization server reports an error. Start again."},
	{"no_tokens", 401, Agent, 0, "Sign-in needed again", "This needs the authorization server, which no longer accepts the sign-in. Sign in again."},
	{"not_confirmed", 401, Agent, 0, "Sign-in needed again", "The authorization server does not confirm the sign-in any more. Sign in again."},
	{"not_found", 404, Agent, 0, "Not found", "Nothing at this address or with that name is visible to you."},
	{"conflict", 409, Agent, 0, "Changed in the meantime", "Somebody has decided or changed this since it was shown, or it cannot be decided that way. Nothing was done. Look at it again."},
	{"confirmation_needed", 403, Agent, 0, "Confirm that it is you", "The account's owner has to confirm this in person. Nothing was done. Send the same form again with the proof."},
	{"confirmation_failed", 403, Agent, 0, "Not confirmed", "The proof that the account's owner is there in person is wrong, too old or used already. Nothing was done."},
	{"gone", 410, Agent, 0, "Too late", "The time to decide this is over. Nothing was done. The agent can ask again."},
	{"not_over", 409, Agent, 0, "Not over yet", "Only what is over can be forgotten. This agent waits for a decision, or may act. Deny it or stop it first. Nothing was done."},
}
