package authagenttest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// sameSecret compares in constant time.
func sameSecret(given, registered string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(registered)) == 1
}

// A tokenAnswer is /token's success, in the published order.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token,omitempty"`
}

func (c *call) token() answer {
	p, err := c.bodyParams()
	if err != nil {
		return c.notUnderstood()
	}
	grantType := p["grant_type"]
	if grantType == "" && !c.Quirks.JSONBodies {
		return errorAnswer(400, "invalid_request", "Missing required parameter: grant_type")
	}
	if grantType != "authorization_code" && grantType != "refresh_token" {
		return errorAnswer(400, "unsupported_grant_type", "Only authorization_code and refresh_token grants are supported")
	}
	client, refusal := c.authenticateClient(p)
	if client == nil {
		return refusal
	}
	if grantType == "refresh_token" {
		return c.refreshGrant(client, p)
	}
	return c.codeGrant(client, p)
}

// authenticateClient returns the client whose secret is in the body or, at a
// server that reads forms, in the Authorization header, or whose key has signed an assertion.
func (c *call) authenticateClient(p params) (*clientRow, answer) {
	if p["client_assertion"] != "" && !c.Quirks.JSONBodies {
		return c.authenticateByKey(p)
	}
	id, secret, method := p["client_id"], p["client_secret"], "client_secret_post"
	if secret == "" {
		method = "none"
	}
	if !c.Quirks.JSONBodies {
		if user, password, ok := c.r.BasicAuth(); ok {
			// RFC 6749 section 2.3.1: both are form-encoded before they are joined.
			id, secret, method = formDecoded(user), formDecoded(password), "client_secret_basic"
		}
	}
	switch {
	case !c.allows(method) && !c.Quirks.JSONBodies:
		return nil, errorAnswer(401, "invalid_client", "Client authentication by "+method+" is not supported")
	case id == "" || secret == "" && method != "none",
		method == "none" && c.Quirks.JSONBodies:
		return nil, errorAnswer(400, "invalid_request", "Missing client_id or client_secret")
	}
	client := c.findClient(id)
	if client == nil {
		return nil, errorAnswer(401, "invalid_client", "Client not found")
	}
	if client.hasKeys() || method != "none" && !sameSecret(secret, client.Secret) {
		return nil, errorAnswer(401, "invalid_client", "Invalid client credentials")
	}
	return client, answer{}
}

// allows reports whether clients may authenticate by that method.
func (c *call) allows(method string) bool {
	if c.Features.AuthMethods == nil {
		return method == "client_secret_post" || method == "client_secret_basic"
	}
	return slices.Contains(c.Features.AuthMethods, method)
}

func formDecoded(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

// codeGrant redeems a code. What fails before the code is marked leaves it
// redeemable, however often that is.
func (c *call) codeGrant(client *clientRow, p params) answer {
	if p["code"] == "" || p["code_verifier"] == "" || p["redirect_uri"] == "" {
		return errorAnswer(400, "invalid_request", "Missing required parameters: code, code_verifier, redirect_uri")
	}
	if !validRedirectURI(p["redirect_uri"]) {
		return errorAnswer(400, "invalid_request", badRedirectURI)
	}
	row := c.findCode(p["code"])
	if row == nil {
		c.punishReuse(client, p["code"])
		return errorAnswer(400, "invalid_grant", "Invalid or expired authorization code")
	}
	if row.clientID != client.ID {
		return errorAnswer(400, "invalid_grant", "Authorization code was issued to a different client")
	}
	if challengeOf(p["code_verifier"]) != row.challenge {
		return errorAnswer(400, "invalid_grant", "Invalid code_verifier")
	}
	if p["redirect_uri"] != row.redirectURI {
		return errorAnswer(400, "invalid_grant", "redirect_uri mismatch")
	}
	g := row.grant
	if refusal := c.narrow(&g, p); refusal != nil {
		return *refusal
	}
	if !c.canUpdate() {
		return serverError()
	}
	if row.used.IsZero() {
		row.used = c.now
	}
	return c.issue(g, row.nonce, true)
}

// challengeOf is PKCE's S256. Length and alphabet of the verifier are not checked.
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// punishReuse ends what a used code gave, which RFC 6749 section 4.1.2 asks for
// and the published server does not do.
func (c *call) punishReuse(client *clientRow, code string) {
	row := c.db.codes[code]
	if c.Quirks.SlackRefresh || row == nil || row.used.IsZero() || row.clientID != client.ID {
		return
	}
	c.revokeFamily(row.family)
}

// refreshGrant gives a new pair for a refresh token; the old pair dies, access
// token included. A scope in the request is ignored.
func (c *call) refreshGrant(client *clientRow, p params) answer {
	token := p["refresh_token"]
	if token == "" {
		return errorAnswer(400, "invalid_request", "Missing required parameter: refresh_token")
	}
	row := c.findRefresh(token)
	if row == nil {
		c.punishReplay(client, token)
		return errorAnswer(400, "invalid_grant", "Invalid or expired refresh token")
	}
	if row.clientID != client.ID {
		return errorAnswer(400, "invalid_grant", "Refresh token does not belong to this client")
	}
	g := row.grant
	if refusal := c.narrow(&g, p); refusal != nil {
		return *refusal
	}
	if c.canUpdate() {
		row.revoked = true
		if row.rotated.IsZero() {
			row.rotated = c.now
		}
	}
	return c.issue(g, "", false)
}

// punishReplay ends the family of a refresh token that was rotated away before
// (RFC 9700 section 4.14.2), which the published server does not do.
func (c *call) punishReplay(client *clientRow, token string) {
	if c.Quirks.SlackRefresh {
		return
	}
	for _, row := range c.db.byRefresh[token] {
		if row.revoked && row.clientID == client.ID {
			c.revokeFamily(row.family)
		}
	}
}

// issue stores and returns a new pair of tokens.
func (c *call) issue(g grant, nonce string, withIDToken bool) answer {
	if !c.canInsert() {
		return serverError() // the code or the old pair is gone nonetheless
	}
	g.scope = c.granted(g)
	row := c.newToken(g)
	row.refresh, row.refreshExpires = "rt_"+randomHex(32), c.now.Add(refreshLifetime)
	c.db.insertToken(row)
	a := tokenAnswer{
		AccessToken:  row.access,
		TokenType:    "Bearer",
		ExpiresIn:    int(accessLifetime.Seconds()),
		RefreshToken: row.refresh,
		Scope:        g.scope,
	}
	if withIDToken && c.Features.IDToken && hasScope(g.scope, "openid") {
		a.IDToken = c.idToken(g, nonce)
	}
	return jsonAnswer(http.StatusOK, a)
}

// newToken makes an access token for the client itself, or for the resources that it asked for.
func (c *call) newToken(g grant) *tokenRow {
	if len(g.resources) > 0 {
		return c.apiToken(g, APIToken{})
	}
	return &tokenRow{grant: g, access: c.accessToken(g), accessExpires: c.now.Add(accessLifetime)}
}

func hasScope(granted, scope string) bool {
	return slices.Contains(strings.Split(granted, " "), scope)
}
