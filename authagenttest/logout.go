package authagenttest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// logoutEvent is what makes a JWT a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Logout tells a site that a session has ended here, or all of a subject, as OpenID Connect
// Back-Channel Logout 1.0 has it: it posts a logout token to the LogoutURL of the client with this
// ID. sid is the one in the id_token (Features.SessionIDs), and subject its sub. One of them may be
// empty. What the server itself has given, such as tokens, stays as it is.
//
// client sends the request, as in [Agent.SignIn]; it follows no redirect. The error is nil if the
// site has answered with status 200. Otherwise it has the answer.
func (s *Server) Logout(ctx context.Context, client *http.Client, clientID, subject, sid string) error {
	if err := s.logout(ctx, client, clientID, subject, sid); err != nil {
		return fmt.Errorf("authagenttest: logout at client %s: %w", clientID, err)
	}
	return nil
}

func (s *Server) logout(ctx context.Context, client *http.Client, clientID, subject, sid string) error {
	form := url.Values{"logout_token": {s.LogoutToken(clientID, map[string]any{"sub": orNil(subject), "sid": orNil(sid)}, nil)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.logoutURL(clientID), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c := *client
	c.Jar, c.CheckRedirect = nil, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what there is of it
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}

// orNil is how a claim that is empty is left out.
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *Server) logoutURL(clientID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if row := s.db.client(clientID); row != nil {
		return row.LogoutURL
	}
	return ""
}

// LogoutToken returns a logout token for the client with this ID, as [Server.Logout] sends one, with
// these claims and members of the header added or replaced. A member that is nil is left out. So a
// test can see what becomes of a token that is not as it should be:
//
//	as.LogoutToken("site", map[string]any{"sub": "agent_1", "nonce": "n"}, map[string]any{"typ": "JWT"})
//
// It is signed with the published key. If the server publishes none, it is signed with JWTSecret
// (HS256). A change of alg or kid changes what the token says, and not how it is signed.
func (s *Server) LogoutToken(clientID string, claims, header map[string]any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	says := map[string]any{
		"iss": strings.TrimSuffix(s.URL, "/"), "aud": clientID, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(),
		"jti": randomHex(16), "events": map[string]any{logoutEvent: map[string]any{}},
	}
	names := map[string]any{"typ": "logout+jwt", "alg": "HS256"}
	sign := func(input string) string { return hmacSigned(s.JWTSecret, input) }
	if alg := (&call{Server: s}).signingAlgorithm(); alg != "" {
		key := s.keys.current(alg)
		names["alg"], names["kid"], sign = alg, key.id, key.signed
	}
	return sign(signingInput(changed(names, header), changed(says, claims)))
}

// changed returns members with some added or replaced, and without those that are nil.
func changed(members, change map[string]any) map[string]any {
	maps.Copy(members, change)
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	return members
}
