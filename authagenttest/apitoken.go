package authagenttest

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// agentApp is the client that an access token is issued to if an APIToken names none.
const agentApp = "app_of_the_agent"

// An APIToken says what an access token for an API is like. See [Server.AccessToken]. Only Audience
// has to be set.
type APIToken struct {
	// Audience has the resource identifier of the API (RFC 8707), byte for byte. The token is for all
	// of them if there are several, and has no aud if there is none.
	Audience []string

	// Scopes are what is asked for. The token has those of them that the agent's Scopes allow. With
	// nil it has no scope.
	Scopes []string

	// ClientID is the client that the token is issued to, which is the agent's own and not the site. It
	// need not be registered. Empty means a client of no other use.
	ClientID string

	// Age is how long ago the token was issued, and Lifetime how long it is good from then on. The
	// defaults are zero and one hour. So a token with an Age of two hours has expired.
	Age, Lifetime time.Duration

	// Form is "JWT" or "opaque". Empty means JWT unless Features.OpaqueTokens is on.
	Form string

	// Claims are added to what the token and introspection say, or replace it: cnf, sid or jti, for
	// example. A claim that is nil is left out. They do not change how long the server takes the
	// token for a good one.
	Claims map[string]any

	// Header is the same for the JWT's header, whose typ is "at+jwt". A change of alg or kid changes
	// what the token says, and not how it is signed.
	Header map[string]any
}

// An apiRow is what the server keeps of an access token for an API besides the grant.
type apiRow struct {
	id     string // jti
	issued time.Time
	claims map[string]any // that the test has asked for
}

// AccessToken issues an access token to a registered agent, for an API, without a sign-in:
//
//	token := as.AccessToken(agent, authagenttest.APIToken{
//		Audience: []string{"https://shop.example/api"},
//		Scopes:   []string{"orders:read"},
//	})
//
// It is a JWT by RFC 9068, or a random string. Person and Guest of the agent, and Features.ActorClaim,
// ActorIn and Claims decide whom it speaks of, as in other tokens. A JWT is signed by the algorithm of
// Features.SignedTokens. Without that it is signed with the key of the id_tokens, or else with ES256,
// and the key is published from the first such token on. With Features.Resources it is published
// from the start.
//
// The token is live. Introspection describes it to any registered client (RFC 7662 section 2.2), since
// the API did not get it from the server itself, until it expires or [Server.RevokeToken] ends
// it. It opens no /userinfo.
//
// The URL of the server has to be set. For tokens that are not as they should be, see
// [Server.ForgedToken].
func (s *Server) AccessToken(agent *Agent, t APIToken) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.ownCall()
	row := c.apiToken(c.grantOf(agent, t), t)
	c.db.insertToken(row)
	return row.access
}

// RevokeToken ends an access token or a refresh token of any kind, as if its client had asked for it at
// [PathRevoke].
func (s *Server) RevokeToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ownCall().revokeToken(token)
}

// ownCall is a call that no request has made. The lock is held.
func (s *Server) ownCall() *call {
	return &call{Server: s, now: time.Now(), issuer: strings.TrimSuffix(s.URL, "/")}
}

// grantOf is what the agent is taken to have been granted.
func (c *call) grantOf(agent *Agent, t APIToken) grant {
	g := grant{
		clientID:  cmp.Or(t.ClientID, agentApp),
		agentID:   agent.ID,
		model:     cmp.Or(agent.Model, defaultModel),
		scope:     strings.Join(t.Scopes, " "),
		resources: slices.Clone(t.Audience),
	}
	g.scope = c.granted(g)
	return g
}

// apiRow is what the server keeps of an access token for the grant's resources. The token is not in it yet.
func (c *call) apiRow(g grant, t APIToken) *tokenRow {
	issued := c.now.Add(-t.Age)
	return &tokenRow{
		grant:         g,
		api:           &apiRow{id: randomHex(16), issued: issued, claims: maps.Clone(t.Claims)},
		accessExpires: issued.Add(cmp.Or(t.Lifetime, accessLifetime)),
	}
}

// apiToken makes an access token for the grant's resources. It does not store it.
func (c *call) apiToken(g grant, t APIToken) *tokenRow {
	row := c.apiRow(g, t)
	switch {
	case t.Form == "opaque" || t.Form == "" && c.Features.OpaqueTokens:
		row.access = "at_" + randomHex(32)
	case t.Form == "JWT" || t.Form == "":
		row.access = c.draft(row, t.Header).token()
	default:
		panic("authagenttest: APIToken.Form: " + t.Form + " is neither JWT nor opaque")
	}
	return row
}

// A draft is a JWT that is not signed yet.
type draft struct {
	header, claims map[string]any
	payload        func([]byte) []byte // changes the claims as they are written; nil changes nothing
	sign           func(input string) string
}

// draft is the JWT of an access token. From now on the key is published.
func (c *call) draft(row *tokenRow, header map[string]any) *draft {
	c.keyInUse = true
	key := c.keys.current(c.publishedAlgorithm())
	return &draft{
		header: changed(map[string]any{"typ": "at+jwt", "alg": key.algorithm, "kid": key.id}, header),
		claims: c.apiClaims(inAccessToken, row),
		sign:   key.signed,
	}
}

func (d *draft) token() string {
	payload := marshal(d.claims)
	if d.payload != nil {
		payload = d.payload(payload)
	}
	return d.sign(base64url(marshal(d.header)) + "." + base64url(payload))
}

// publishedAlgorithm is the algorithm of the keys that the JWKS shows, or empty if it shows none.
func (c *call) publishedAlgorithm() string {
	if alg := c.signingAlgorithm(); alg != "" || !c.Features.Resources && !c.keyInUse {
		return alg
	}
	return "ES256"
}

// apiClaims is what is said of an access token for an API: RFC 9068 section 2.2 for the token
// itself, RFC 7662 section 2.2 for introspection.
func (c *call) apiClaims(place string, row *tokenRow) map[string]any {
	subject, actor := c.subject(place, row.grant)
	claims := map[string]any{
		"iss":       c.issuer,
		"sub":       subject,
		"aud":       audience(row.resources),
		"client_id": row.clientID,
		"model":     row.model,
		"scope":     orNil(row.scope),
		"jti":       row.api.id,
		"iat":       row.api.issued.Unix(),
		"exp":       row.accessExpires.Unix(),
	}
	if actor != nil {
		claims["act"] = actor
	}
	if place == inIntrospection {
		claims["active"], claims["token_type"] = true, "Bearer"
	}
	said := c.complete(place, row.grant, claims).(map[string]any) // a map stays one
	return changed(said, row.api.claims)
}

// audience is the claim aud: one string, or several, or nothing.
func audience(resources []string) any {
	switch len(resources) {
	case 0:
		return nil
	case 1:
		return resources[0]
	}
	return resources
}

// resourcesGood: RFC 8707 section 2 wants absolute URIs without fragment. A server that takes no
// resource parameter does not look at it.
func resourcesGood(c *call, p params) bool {
	return !slices.ContainsFunc(c.resources(p), func(resource string) bool {
		u, err := url.Parse(resource)
		return err != nil || !u.IsAbs() || strings.Contains(resource, "#")
	})
}

// resources are those that a request names.
func (c *call) resources(p params) []string {
	if !c.Features.Resources {
		return nil
	}
	return strings.Fields(p["resource"])
}

// narrow leaves those of a grant's resources that the request for a token names, or all if it names
// none. What was not granted is refused. A refresh token that was narrowed stays so.
func (c *call) narrow(g *grant, p params) (refusal *answer) {
	asked := c.resources(p)
	for _, resource := range asked {
		if !slices.Contains(g.resources, resource) {
			a := errorAnswer(400, "invalid_target", "The resource is not one of the authorization request")
			return &a
		}
	}
	if len(asked) > 0 {
		g.resources = asked
	}
	return nil
}
