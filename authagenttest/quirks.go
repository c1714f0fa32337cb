package authagenttest

import "time"

// Quirks are behaviours of the published server that depart from the standards,
// or that a relying party would not expect. [PublishedQuirks] has them all; the
// zero value is a server that keeps to the RFCs.
type Quirks struct {
	// JSONBodies: /token, /introspect and /revoke read a JSON body, whatever the
	// Content-Type says, and answer a form with 500 server_error (/revoke: with
	// 200 and no effect). Off, they read forms, answer JSON with 400
	// invalid_request, and take client_secret_post and client_secret_basic.
	JSONBodies bool

	// SameSecondTokens: the access token has no identifier and a resolution of one
	// second, so one agent that signs in twice to one client within a second, with the
	// same model and scope, gets the same token twice. A look-up asks for exactly one
	// live row and treats two like none. So the server then refuses that token. Off,
	// each has a jti.
	SameSecondTokens bool

	// RevokeAlwaysOK: /revoke authenticates nobody, revokes whoever asks, and
	// answers 200 whatever happened. Off, it is RFC 7009.
	RevokeAlwaysOK bool

	// OpenIntrospection: /introspect answers without client authentication, for
	// any client's token, and a wrong secret gets 200 {"active":false}. Off, a
	// client is authenticated (401) and told of its own tokens only.
	OpenIntrospection bool

	// UnescapedRedirect: the redirect back is the registered URI, "?code=", the
	// code, "&state=" and the state, with nothing percent-encoded and a second
	// "?" where the URI has a query. Off, it is built properly; the answer of
	// check-status then carries it in a further member, redirect_to.
	UnescapedRedirect bool

	// AuthorizeErrorPages: every fault of /authorize is a 400 page at the
	// server, state is mandatory, and no error reaches the site. Off, once
	// client and redirect URI are known to be good the browser is sent back
	// with error, error_description and state.
	AuthorizeErrorPages bool

	// SubjectOnlyForProfile: /userinfo gives e-mail and name for the scope
	// openid as well as for email, and neither of them for profile. Off, e-mail
	// needs email and name needs profile, as in OpenID Connect.
	SubjectOnlyForProfile bool

	// MultipleApprovals: an authorization request that was approved can be
	// approved again, by any agent. The newer code is shown, the older stays
	// redeemable. Off, the second approval is refused with 409.
	MultipleApprovals bool

	// SlackRefresh: a used code or refresh token is refused when it is sent again, but
	// the tokens that came from it go on working. Off, all of these are revoked.
	SlackRefresh bool

	// BareAnswers: no answer has Cache-Control, and no 401 has WWW-Authenticate.
	BareAnswers bool

	// CaseSensitiveBearer: /userinfo does not know "bearer" in lower case.
	CaseSensitiveBearer bool

	// HeadAuthorizes: HEAD /authorize stores an authorization request as GET does.
	HeadAuthorizes bool
}

// PublishedQuirks returns the quirks of the published server: all of them.
func PublishedQuirks() Quirks {
	return Quirks{
		JSONBodies:            true,
		SameSecondTokens:      true,
		RevokeAlwaysOK:        true,
		OpenIntrospection:     true,
		UnescapedRedirect:     true,
		AuthorizeErrorPages:   true,
		SubjectOnlyForProfile: true,
		MultipleApprovals:     true,
		SlackRefresh:          true,
		BareAnswers:           true,
		CaseSensitiveBearer:   true,
		HeadAuthorizes:        true,
	}
}

// Features are what other servers do and the published one does not. The zero
// value has none of them.
type Features struct {
	// OpenIDConfiguration serves the metadata at /.well-known/openid-configuration too.
	OpenIDConfiguration bool

	// NoOAuthMetadata answers 404 at /.well-known/oauth-authorization-server.
	NoOAuthMetadata bool

	// FormBodies makes a server with Quirks.JSONBodies understand forms as well.
	FormBodies bool

	// SignedTokens is "RS256" or "ES256": access tokens are signed with a key
	// that the JWKS publishes. Empty means HS256 and an empty JWKS.
	SignedTokens string

	// IDToken returns an id_token from the code grant where the scope openid
	// was granted, signed with a published key: by SignedTokens' algorithm, or RS256.
	IDToken bool

	// SessionIDs adds to each id_token the ID of the agent's session at the server (sid), a new
	// one for each sign-in, and says in the metadata that [Server.Logout] can end one
	// (OpenID Connect Back-Channel Logout 1.0).
	SessionIDs bool

	// IssParameter adds iss to the redirect back (RFC 9207), and says so in the metadata.
	IssParameter bool

	// OpaqueTokens makes access tokens random strings. It wins over SignedTokens.
	OpaqueTokens bool

	// EmailVerified adds email_verified to /userinfo, where the e-mail is; nil leaves it out.
	EmailVerified *bool

	// AuthMethods replaces token_endpoint_auth_methods_supported. A server that
	// reads forms also enforces it ("client_secret_post", "client_secret_basic",
	// "none", "private_key_jwt"); nil accepts the first two.
	AuthMethods []string

	// AssertionAlgorithms are the signatures that private_key_jwt may have, which the metadata
	// lists if AuthMethods lists that. Nil means RS256, PS256, ES256, ES384, ES512 and EdDSA.
	// Ed25519 can be among them too.
	AssertionAlgorithms []string

	// PushedRequests is "offered" or "required": the server takes pushed authorization requests
	// (RFC 9126) at PathPushed, and with "required" no others. Empty means neither.
	PushedRequests string

	// Resources makes the server take the parameter resource (RFC 8707) of an authorization request and
	// of a request for a token. The access token is then one for these resources, as
	// [Server.AccessToken] issues them. The published server ignores the parameter.
	Resources bool

	// ActorClaim gives tokens the shape of RFC 8693: sub is the user
	// ([Agent].UserID, or the e-mail address), act.sub the agent.
	ActorClaim bool

	// ActorIn says where act is with ActorClaim: any of "id_token", "access_token",
	// "introspection" and "userinfo". Nil is all of them.
	ActorIn []string

	// Claims adds claims to what the server says of an agent in a place, which is one of those
	// that ActorIn names, or replaces them. A value that is nil removes one. It is called with
	// the server's lock held, so it must not call the server.
	Claims func(place string, of Agent) map[string]any

	// Overlap is how long after its first use a code or refresh token is still
	// accepted. It stands for the published server's database latency, within
	// which two simultaneous uses both succeed.
	Overlap time.Duration
}

// An Outage is a failure of the server's database. The published server
// reports none of them as such: see each value.
type Outage int

const (
	// OutageNone is the database in good health.
	OutageNone Outage = iota

	// OutageAll: nothing can be read or written. It looks like bad credentials:
	// unknown client, invalid token, active false, revocation without effect.
	OutageAll

	// OutageInserts: no row can be added. /token answers 500 after the code was
	// used up or the old refresh token revoked, so the session is lost.
	OutageInserts

	// OutageUpdates: no row can be changed. A code cannot be redeemed (500), and
	// is not used up; a refresh succeeds and leaves the old pair alive.
	OutageUpdates
)

// Outage starts an outage, or ends it with [OutageNone]. Nothing stored is lost.
func (s *Server) Outage(o Outage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = o
}
