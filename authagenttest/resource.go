package authagenttest

import (
	"net/http"
	"strings"
)

// userInfo tells who a token's agent signs in for. The e-mail is read from the
// agent's row at each call, so it may differ from an earlier one.
func (c *call) userInfo() answer {
	token, ok := c.bearer()
	if !ok {
		return errorAnswer(401, "invalid_request", "Missing or invalid Authorization header")
	}
	row := c.findAccess(token)
	if row == nil || row.api != nil {
		return errorAnswer(401, "invalid_token", "Invalid or expired access token")
	}
	agent := c.findAgent(row.agentID)
	if agent == nil {
		return errorAnswer(500, "server_error", "Agent not found")
	}
	var info struct {
		Subject  string `json:"sub"`
		Email    string `json:"email,omitempty"`
		Verified *bool  `json:"email_verified,omitempty"`
		Name     string `json:"name,omitempty"`
		Actor    *actor `json:"act,omitempty"`
	}
	info.Subject, info.Actor = c.subject(inUserInfo, row.grant)
	if c.releasesEmail(row.scope) && !agent.Guest {
		info.Email = agent.Email
		info.Verified = c.Features.EmailVerified
	}
	if c.releasesName(row.scope) && !agent.Guest && strings.TrimSpace(agent.Name) != "" {
		info.Name = agent.Name
	}
	return jsonAnswer(http.StatusOK, c.complete(inUserInfo, row.grant, info))
}

// bearer takes the token from the Authorization header. RFC 7235 says that the
// scheme's case does not matter; the published server says that it does.
func (c *call) bearer() (token string, ok bool) {
	const scheme = "Bearer "
	h := c.r.Header.Get("Authorization")
	if len(h) < len(scheme) || !strings.EqualFold(h[:len(scheme)], scheme) {
		return "", false
	}
	if c.Quirks.CaseSensitiveBearer && !strings.HasPrefix(h, scheme) {
		return "", false
	}
	return h[len(scheme):], true
}

func (c *call) releasesEmail(scope string) bool {
	return hasScope(scope, "email") || c.Quirks.SubjectOnlyForProfile && hasScope(scope, "openid")
}

func (c *call) releasesName(scope string) bool {
	if c.Quirks.SubjectOnlyForProfile {
		return c.releasesEmail(scope)
	}
	return hasScope(scope, "profile")
}

// introspect describes a live access token, and nothing else: of a refresh
// token it says that it is not active. It tells any client of a token for an API.
func (c *call) introspect() answer {
	p, err := c.bodyParams()
	if err != nil {
		return c.notUnderstood()
	}
	inactive := jsonAnswer(http.StatusOK, struct {
		Active bool `json:"active"`
	}{})
	asker, refusal := c.introspector(p)
	if refusal != nil {
		return *refusal
	}
	row := c.findAccess(p["token"])
	if row == nil || row.api == nil && asker != nil && row.clientID != asker.ID {
		return inactive
	}
	if row.api != nil {
		return jsonAnswer(http.StatusOK, c.apiClaims(inIntrospection, row))
	}
	var info struct {
		Active   bool   `json:"active"`
		Subject  string `json:"sub"`
		ClientID string `json:"client_id"`
		Model    string `json:"model"`
		Scope    string `json:"scope"`
		Expires  int64  `json:"exp"`
		Actor    *actor `json:"act,omitempty"`
	}
	info.Active, info.Model, info.Scope = true, row.model, row.scope
	info.ClientID, info.Expires = row.clientID, row.accessExpires.Unix()
	info.Subject, info.Actor = c.subject(inIntrospection, row.grant)
	return jsonAnswer(http.StatusOK, c.complete(inIntrospection, row.grant, info))
}

// introspector returns who may see only its own tokens, or nobody where anyone
// may see all. The published server looks at a secret only if there is one, and
// hides a wrong one behind the answer to a dead token.
func (c *call) introspector(p params) (*clientRow, *answer) {
	if !c.Quirks.OpenIntrospection {
		client, refusal := c.mustAuthenticate(p)
		return client, refusal
	}
	if p["client_id"] == "" || p["client_secret"] == "" {
		return nil, nil
	}
	client := c.findClient(p["client_id"])
	if client == nil || !sameSecret(p["client_secret"], client.Secret) {
		inactive := jsonAnswer(http.StatusOK, struct {
			Active bool `json:"active"`
		}{})
		return nil, &inactive
	}
	return nil, nil
}

// mustAuthenticate refuses with 401 whatever is wrong with the credentials.
func (c *call) mustAuthenticate(p params) (*clientRow, *answer) {
	client, refusal := c.authenticateClient(p)
	if client == nil {
		if refusal.status != http.StatusUnauthorized {
			refusal = errorAnswer(401, "invalid_client", "Client authentication is required")
		}
		return nil, &refusal
	}
	return client, nil
}

// revoke ends the session of an access or refresh token: both of the pair die.
// The published server's answer carries no information at all.
func (c *call) revoke() answer {
	done := jsonAnswer(http.StatusOK, struct{}{})
	p, err := c.bodyParams()
	if c.Quirks.RevokeAlwaysOK {
		if err == nil {
			c.revokeToken(p["token"])
		}
		return done
	}
	if err != nil {
		return c.notUnderstood()
	}
	client, refusal := c.mustAuthenticate(p)
	if refusal != nil {
		return *refusal
	}
	if p["token"] == "" {
		return errorAnswer(400, "invalid_request", "Missing required parameter: token")
	}
	// RFC 7009 section 2.1: a token of another client is refused.
	if c.foreign(p["token"], client.ID) {
		return errorAnswer(400, "invalid_grant", "The token was issued to a different client")
	}
	c.revokeToken(p["token"])
	return done
}

func (c *call) foreign(token, clientID string) bool {
	for _, rows := range [][]*tokenRow{c.db.byAccess[token], c.db.byRefresh[token]} {
		for _, row := range rows {
			if row.clientID != clientID {
				return true
			}
		}
	}
	return false
}
