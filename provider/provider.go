// Package provider has the settings by which a site talks to its authorization server: how it
// proves itself there, what it asks for, and whom the server's tokens name. They are the field
// Provider of authagent.Config. Most sites need none of them: what the server's metadata says is
// read, and the rest is learned without risking a code.
package provider

import (
	"context"
	"crypto"
	"log/slog"
	"net/http"
	"net/url"
)

// Settings say how to talk to the authorization server, and how to read its tokens. The zero value
// is for an Auth Agent server.
type Settings struct {
	// SubjectIsUser says that the issuer's tokens follow RFC 8693: sub is the user and act.sub the
	// agent. act counts in the id_token, in a JWT access token and in the answer of introspection;
	// all that say something have to agree. By default, as at Auth Agent, sub is the agent. A token
	// of the other shape is refused.
	SubjectIsUser bool

	// OnPerson is for a server at which people and agents use the same client. With it, a sign-in
	// whose tokens name no agent is a person's: it starts no agent's session, and CallbackHandler
	// calls OnPerson, which starts the site's own session for them by setting cookies on w. It
	// writes no answer, and what it writes is lost: the browser is then sent to Person.ReturnTo. An error
	// refuses the sign-in and takes back the cookies, and problem.NoAccount sends the person to Config.RegistrationURL.
	// OnPerson is called concurrently. It is called again if the browser repeats its request within
	// a minute.
	//
	// A sign-in counts as a person's only if the id_token, the access token and, if the server has
	// it, introspection were verified and name no agent. If the access token cannot be read, it is
	// refused: have the server issue JWTs, or offer introspection that says sub. So is whoever has a
	// claim by which some servers name agents, such as agent_id, agent_type or xms_act_fct. In a
	// browser that has the cookie of an agent's session, a person is refused until the agent is
	// signed out. Needs SubjectIsUser and the scope openid.
	OnPerson func(w http.ResponseWriter, r *http.Request, p Person) error

	// OnPersonEnded is told that the server has ended a person's session, or all of them if p.SID is
	// empty (OpenID Connect Back-Channel Logout 1.0). It ends the site's own sessions that came from
	// it. The server does not say whether a session was a person's or an agent's; those of agents
	// have been ended before. An error tells the server that the logout has failed. Needs
	// BackChannelLogoutHandler to be mounted.
	OnPersonEnded func(ctx context.Context, p Person) error

	// ClientSecretFunc replaces Config.ClientSecret, for a secret that changes while the site runs.
	// It is called for each request to the server, and concurrently, so it has to be quick. An
	// error fails the request as a fault of the site, before anything is used up.
	ClientSecretFunc func(context.Context) (string, error)

	// ClientKeys replace Config.ClientSecret: the site proves itself with an assertion that the
	// first of them signs (private_key_jwt, RFC 7523). Each is an RSA key of at least 2048 bits, an
	// ECDSA key on P-256, P-384 or P-521, or an Ed25519 key. A key that a service keeps works too:
	// Sign is called for each request to the server, and concurrently, so it has to be quick, and to
	// give up by itself. An error of it fails the request as a fault of the site, before anything is
	// used up.
	//
	// The server reads the public keys where ClientKeysHandler is mounted, or is given them by
	// hand. To replace a key, put the new one last, then first, and remove the old one when no
	// instance signs with it any more. Between the first two steps, wait until the server has read
	// the new one: an hour is usual.
	ClientKeys []crypto.Signer

	// AssertionAudience is the aud of those assertions, for a server that demands another than its
	// issuer identifier, such as the address of its token endpoint.
	AssertionAudience string

	// Scopes replaces the scopes that the scenario asks for.
	Scopes []string

	// AuthorizationParams are further parameters of each authorization request, such as "audience",
	// "prompt", "acr_values" or "resource" (RFC 8707), which is sent with the code and each refresh
	// as well. The protocol's own, such as "state", cannot be set.
	AuthorizationParams url.Values

	// PushRequests says that authorization requests are sent to the server beforehand (RFC 9126), so
	// that nobody can read or change them in the browser. By default that is done only if the
	// server's metadata demands it.
	PushRequests bool

	// Endpoints pins endpoints. With the first two set, the server is not asked for its metadata at
	// all.
	Endpoints Endpoints

	// EndpointOrigins are the origins ("https://login.example") that the server's endpoints may
	// have besides its issuer's. The host's case and the scheme's default port do not matter.
	EndpointOrigins []string

	// TokenEncoding pins how the bodies of requests to the server are written: "application/json",
	// which the published Auth Agent server demands, or "application/x-www-form-urlencoded", which
	// RFC 6749 demands. By default it is learned.
	TokenEncoding string

	// ClientAuth pins how the site proves itself to the server with its secret:
	// "client_secret_post" or "client_secret_basic" (RFC 7591 section 2). By default it is what the
	// server's metadata offers. If that offers both, the site learns it with a made-up code, before
	// a real one is at risk. With ClientKeys it is "private_key_jwt", which can be set too.
	ClientAuth string

	// TokenKey is the secret with which the server signs access tokens (HS256), for a site that
	// runs its own server. With it, the site verifies access tokens, and id_tokens that are signed
	// with HS256. Most OpenID Connect providers sign such id_tokens with the client secret. At
	// least 32 bytes.
	TokenKey []byte

	// Introspect asks the server about each access token, even one that can be verified without it: at
	// sign-in, and at the site's API each time that a token is verified.
	Introspect bool

	// ButtonLabel is what the sign-in button says, for a server that is no Auth Agent server, such as
	// "Continue with Example". The default is "Sign in with Auth Agent", which agents are told to
	// look for.
	ButtonLabel string

	// HTTPClient sends the requests to the server. It is copied, not changed; the copy follows no
	// redirects and keeps no cookies. It waits 10 seconds for an answer, and no longer for all
	// answers of one sign-in together. A Timeout that is shorter bounds each request. The default
	// keeps enough idle connections for a busy site. A panic of its Transport fails the request as a
	// fault of the site. A panic in a goroutine of an http.Transport, as from DialContext, cannot be
	// recovered and ends the process.
	HTTPClient *http.Client
}

// A Person is a human as the authorization server knows them. What names them are Issuer and Subject
// together: the same Subject at another server is somebody else.
type Person struct {
	Issuer  string
	Subject string // sub; empty if only SID is known
	SID     string // the server's ID of their session there, if it says one
	Claims  []byte // the claims of the verified id_token, a JSON object; nil for a session that has ended

	// ReturnTo is the path on this site that the login is to land on. It is safe to redirect to.
	ReturnTo string
}

// Endpoints are the addresses of an authorization server. An empty one is not pinned.
type Endpoints struct {
	Authorization, Token, UserInfo, Introspection, Revocation, JWKS string

	// PushedAuthorization is where authorization requests are pushed to (RFC 9126).
	PushedAuthorization string
}

// A Finding is one thing that Check or CheckSite of authagent.RelyingParty found wrong. Its texts are for
// whoever runs the site, and contain no secret.
type Finding struct {
	Setting  string     `json:"setting"`  // the field of authagent.Config that it is about, "clock", or a guard: "RequireAction"
	Severity slog.Level `json:"severity"` // slog.LevelError: sign-ins fail; slog.LevelWarn: look at it
	Problem  string     `json:"problem"`  // what is wrong
	Remedy   string     `json:"remedy"`   // how to mend it
}
