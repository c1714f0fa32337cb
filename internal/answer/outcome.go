package answer

// Who has to do something about a refusal.
const (
	Agent   = "agent"
	Site    = "site"
	Server  = "server"
	Network = "network"
)

// An Outcome is what a reason means to whom it is told.
type Outcome struct {
	Status        int
	Fault         string
	Retry         bool // asking anew, later, may succeed
	Title, Detail string
}

// OutcomeOf is the one place that says how each refusal is answered, by its code.
// The texts are constant: an agent takes what it reads for an instruction, so
// nobody else's words may be in them.
func OutcomeOf(code string) Outcome {
	switch code {
	case "no_session":
		return Outcome{401, Agent, false, "Sign-in required", "No agent is signed in. Sign in and ask again."}
	case "method_not_allowed":
		return Outcome{405, Agent, false, "Method not allowed", "This address takes another HTTP method."}
	case "not_a_navigation":
		return Outcome{403, Agent, false, "Not opened", "This address is to be opened, not loaded in advance or inside something else."}
	case "cross_origin":
		return Outcome{403, Agent, false, "Sent by another site", "The request was sent by a page of another site."}
	case "invalid_request":
		return Outcome{400, Agent, false, "Malformed request", "The parameters are malformed, missing or repeated."}
	case "state_mismatch":
		return Outcome{400, Agent, false, "No such sign-in", "This browser has no sign-in under way that this response belongs to. Start again."}
	case "state_expired":
		return Outcome{400, Agent, false, "Sign-in expired", "The sign-in took too long. Start again."}
	case "state_used":
		return Outcome{400, Agent, false, "Sign-in already finished", "This response has been used. Start again."}
	case "issuer_mismatch":
		return Outcome{400, Agent, false, "Another server", "The response does not come from the authorization server that was asked."}
	case "access_denied":
		return Outcome{403, Agent, false, "Sign-in refused", "The authorization server was told to refuse this sign-in."}
	case "authorization_failed":
		return Outcome{400, Server, false, "Sign-in failed", "The authorization server reports an error. Start again."}
	case "code_refused":
		return Outcome{400, Agent, false, "Sign-in not accepted", "The authorization server does not accept the code. Start again."}
	case "client_refused":
		return Outcome{502, Server, true, "Authorization server refused", "The authorization server refused this site. Start again later."}
	case "token_refused":
		return Outcome{400, Server, true, "Sign-in not confirmed", "The authorization server did not confirm the sign-in. Start again."}
	case "identity_mismatch":
		return Outcome{400, Server, false, "Identity not confirmed", "What the authorization server says of the agent does not fit together."}
	case "insufficient_scope":
		return Outcome{403, Agent, false, "Too little granted", "The authorization server granted less than this site needs."}
	case "invalid_response":
		return Outcome{502, Server, false, "Authorization server failed", "The authorization server gave an answer that this site does not accept."}
	case "keys_unreadable":
		return Outcome{502, Server, true, "Authorization server's keys unreadable", "The keys that the authorization server publishes cannot be read, so that nothing it signs can be verified. Start again later."}
	case "server_not_ready":
		return Outcome{503, Server, true, "Sign-in unavailable", "The authorization server cannot be used at the moment. Start again later."}
	case "server_unavailable":
		return Outcome{502, Network, true, "Authorization server unavailable", "The authorization server does not answer. Start again later."}
	case "server_timeout":
		return Outcome{504, Network, true, "Authorization server unavailable", "The authorization server does not answer in time. Start again later."}
	case "overloaded":
		return Outcome{503, Site, true, "Too many sign-ins", "Too many sign-ins are under way. Start again later."}
	case "no_account":
		return Outcome{403, Agent, false, "No account", "The agent's owner has no account here that the agent may enter."}
	case "link_refused":
		return Outcome{403, Agent, false, "Not linked", "The agent may not enter the account: it acts for another one, the account has as many agents as it may have, or no agent may enter it."}
	case "access_too_low":
		return Outcome{403, Agent, false, "Access too low", "The agent's access to its user's data is not enough for this."}
	case "no_tokens":
		return Outcome{401, Agent, false, "Sign-in needed again", "This needs the authorization server, where the sign-in does not count any more. Sign in again."}
	case "not_confirmed":
		return Outcome{401, Agent, false, "Sign-in needed again", "The authorization server does not confirm the sign-in any more. Sign in again."}
	case "agent_read_only":
		return Outcome{403, Agent, false, "Read-only", "The agent may only read, so nothing was changed. GET and HEAD are allowed."}
	case "agent_forbidden":
		return Outcome{403, Agent, false, "Not for agents", "No agent may do this. It is for the account's owner in person."}
	case "human_required":
		return Outcome{401, Agent, false, "Sign-in required", "This is for people. Sign in to the site as yourself."}
	case "agent_required":
		return Outcome{403, Agent, false, "For agents", "A person is signed in in this browser, and this is for agents. An agent signs in first."}
	case "approval_needed":
		return Outcome{403, Agent, false, "Approval needed", "The owner of the account has to approve this agent. If there is such an account, its owner finds the request on its page of connected agents. Sign in again afterwards."}
	case "link_suspended":
		return Outcome{403, Agent, false, "Approval suspended", "The account's owner has to approve this agent anew, on the page of connected agents. Sign in again afterwards."}
	case "agent_blocked":
		return Outcome{403, Agent, false, "Agent not admitted", "This site does not let this agent in."}
	case "agents_paused":
		return Outcome{503, Site, true, "Agents paused", "This site lets no agent in at the moment. Try again later."}
	case "rate_limited":
		return Outcome{429, Agent, true, "Too many requests", "Too much was asked in too short a time. Wait as long as Retry-After says."}
	case "action_not_granted":
		return Outcome{403, Agent, false, "Action not granted", "The agent may not perform this action. The account's owner can allow it, on the page of connected agents; then ask again."}
	case "approval_pending":
		return Outcome{202, Agent, true, "Approval pending", "Nothing was done yet. The account's owner has been asked to approve this one request. Send the same request again once it is approved."}
	case "action_denied":
		return Outcome{403, Agent, false, "Action denied", "The account's owner has refused this request. Nothing was done."}
	case "approval_used":
		return Outcome{409, Agent, false, "Approval used", "This request was approved once and has been let through once. To do the same again, send it with another Idempotency-Key."}
	case "request_too_long":
		return Outcome{413, Agent, false, "Request too long", "The account's owner has to be shown the whole request, and it is too long for that."}
	case "not_found":
		return Outcome{404, Agent, false, "Not found", "There is nothing at this address, or nothing of that name, for whoever is signed in."}
	case "conflict":
		return Outcome{409, Agent, false, "Changed in the meantime", "It has been decided or changed since it was shown, or cannot be decided that way. Nothing was done. Look at it again."}
	case "gone":
		return Outcome{410, Agent, false, "Too late", "The time to decide this is over. Nothing was done. The agent can ask again."}
	case "store_failed":
		return Outcome{500, Site, true, "Site error", "Something went wrong at this site. Try again later."}
	}
	// A reason of the site's own, from its scenario, policy or session check.
	return Outcome{403, Agent, false, "Refused", "This site refuses the request."}
}
