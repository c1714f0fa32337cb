package authagenttest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const defaultModel = "test-model"

// An Agent is registered at a [Server] and can sign in to sites that use it.
// [Server.AddAgent] makes one.
type Agent struct {
	ID     string // generated if empty
	Secret string // generated if empty: "ags_" and 64 hex digits
	Email  string // of the user the agent acts for; ID@example.com if empty
	Name   string // that user's name, optional
	Model  string // what the agent says that it is; "test-model" if empty
	UserID string // with Features.ActorClaim: the subject; the e-mail if empty

	// Scopes are those that are granted, of those that a site asks for. Nil is all.
	Scopes []string

	// Person says that this is a human who signs in at the same server, and that UserID is
	// theirs. They sign in as an agent does, with ID and Secret. The tokens are of UserID, or
	// the e-mail address, and have no act and no model.
	Person bool

	// Guest says that the agent acts for nobody. Its tokens are of its ID, with
	// Features.ActorClaim too, and have no act and the sub_profile "ai_agent"
	// (draft-mora-oauth-entity-profiles). The server knows no e-mail address and no name.
	Guest bool

	server *Server
}

// How the waiting page polls, and for how long it makes sense to go on.
const (
	pollInterval = 500 * time.Millisecond
	pollRetry    = 1000 * time.Millisecond
	pollLimit    = requestLifetime + 10*time.Second
)

// SignIn does what an agent with a browser does to sign in: it gets loginURL, follows
// the site to the authorization server, proves itself there, and visits the site's
// callback. loginURL is the site's LoginHandler, or a page with its button, or a page
// that is refused with a link to the sign-in. Where the site takes POST only
// (Config.RequirePOST), it posts the button's form. It returns the last response after
// the callback's redirects, whatever its status, with the body open.
// Response.Request.URL tells where that is.
//
// The client carries the site's cookies; one without a jar is copied and gets a
// jar for this sign-in. Its CheckRedirect is not used. Errors name the step that
// failed. The secret goes to no origin but that of the server the agent is
// registered at, wherever the site sends it.
func (a *Agent) SignIn(ctx context.Context, client *http.Client, loginURL string) (*http.Response, error) {
	client = withJar(client)
	authorizationURL, err := a.login(ctx, client, loginURL)
	if err != nil {
		return nil, a.failed("login", err)
	}
	callbackURL, err := a.Authorize(ctx, client, authorizationURL)
	if err != nil {
		return nil, err
	}
	resp, err := a.visit(ctx, client, callbackURL)
	if err != nil {
		return nil, a.failed("callback", err)
	}
	return resp, nil
}

// Authorize is the part of SignIn that happens at the authorization server: it takes
// the URL that a site sends the browser to and returns the one that the browser comes
// back with. If the server refuses the request by sending the browser back with an
// error, Authorize returns that URL.
func (a *Agent) Authorize(ctx context.Context, client *http.Client, authorizationURL string) (callbackURL string, err error) {
	client = withJar(client)
	u, err := url.Parse(authorizationURL)
	if err != nil {
		return "", a.failed("authorize", err)
	}
	if origin(u) != a.issuerOrigin() {
		return "", a.failed("authorize", fmt.Errorf("%s is not the server the agent is registered at (%s)", origin(u), a.issuerOrigin()))
	}
	requestID, location, err := a.openWaitingPage(ctx, client, u)
	if err != nil {
		return "", a.failed("authorize", err)
	}
	if location != "" {
		return location, nil
	}
	if err := a.prove(ctx, client, requestID); err != nil {
		return "", a.failed("authenticate", err)
	}
	callbackURL, err = a.poll(ctx, client, requestID)
	if err != nil {
		return "", a.failed("check-status", err)
	}
	return browserURL(callbackURL), nil
}

func (a *Agent) failed(step string, err error) error {
	return fmt.Errorf("authagenttest: agent %s: %s: %w", a.ID, step, err)
}

// withJar copies the client, so that its redirects can be followed by the
// agent's own rules and the caller's client stays as it is.
func withJar(client *http.Client) *http.Client {
	c := *client
	if c.Jar == nil {
		c.Jar = newJar()
	}
	c.CheckRedirect = nil
	return &c
}

func (a *Agent) issuer() string {
	if a.server == nil {
		return ""
	}
	a.server.mu.Lock()
	defer a.server.mu.Unlock()
	return strings.TrimSuffix(a.server.URL, "/")
}

// issuerOrigin is the only origin that may see the agent's secret.
func (a *Agent) issuerOrigin() string {
	u, err := url.Parse(a.issuer())
	if err != nil {
		return ""
	}
	return origin(u)
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// login finds the site's sign-in, and follows the site's redirects up to the one that
// leads to the authorization endpoint, which it returns.
func (a *Agent) login(ctx context.Context, client *http.Client, loginURL string) (string, error) {
	endpoint := a.issuer() + PathAuthorize
	c := *client
	c.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if origin(next.URL)+next.URL.Path == endpoint {
			return http.ErrUseLastResponse
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	ask := request{method: http.MethodGet, url: loginURL}
	for hop := 0; ; hop++ {
		resp, err := ask.do(ctx, &c)
		if err != nil {
			return "", err
		}
		location, err := resp.Location()
		if err == nil && resp.StatusCode/100 == 3 {
			drain(resp)
			return location.String(), nil
		}
		next, ok := wayIn(ask, resp)
		drain(resp)
		if !ok || hop == maxHops {
			return "", fmt.Errorf("%s at %s, where a redirect to %s was expected, or the sign-in button", resp.Status, resp.Request.URL, endpoint)
		}
		ask = next
	}
}

// openWaitingPage gets the page an agent finds its request's ID in. A server may
// redirect instead, to tell the site of an error.
func (a *Agent) openWaitingPage(ctx context.Context, client *http.Client, u *url.URL) (requestID, location string, err error) {
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := get(ctx, &c, u.String())
	if err != nil {
		return "", "", err
	}
	defer drain(resp)
	if next, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
		return "", next.String(), nil
	}
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("%d %s", resp.StatusCode, pageError(page))
	}
	found := waitingRequest.FindSubmatch(page)
	if found == nil {
		return "", "", errors.New("no window.authRequest.request_id in the page")
	}
	return string(found[1]), "", nil
}

// prove shows the agent's secret to the server.
func (a *Agent) prove(ctx context.Context, client *http.Client, requestID string) error {
	body, err := json.Marshal(map[string]string{
		"request_id":   requestID,
		"agent_id":     a.ID,
		"agent_secret": a.Secret,
		"model":        cmp.Or(a.Model, defaultModel),
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.issuer()+PathAuthenticate, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	c := *client
	// A 307 would take the secret along.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer drain(resp)
	var result approval
	if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
		return fmt.Errorf("%d: %w", resp.StatusCode, err)
	}
	if resp.StatusCode != http.StatusOK || !result.Success {
		return fmt.Errorf("%d %s", resp.StatusCode, result.Error)
	}
	return nil
}

// poll waits for the code as the waiting page does, first without waiting.
func (a *Agent) poll(ctx context.Context, client *http.Client, requestID string) (callbackURL string, err error) {
	deadline := time.Now().Add(pollLimit)
	for {
		wait := pollInterval
		st, err := a.status(ctx, client, requestID)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			wait = pollRetry
		case st.Status == "error":
			return "", errors.New(cmp.Or(st.Error, "Authentication failed"))
		case st.Status == "authenticated" || st.Status == "completed":
			return cmp.Or(st.RedirectTo, st.RedirectURI+"?code="+st.Code+"&state="+st.State), nil
		}
		if time.Now().Add(wait).After(deadline) {
			return "", errors.Join(fmt.Errorf("no answer within %v", pollLimit), err)
		}
		if err := sleep(ctx, wait); err != nil {
			return "", err
		}
	}
}

func (a *Agent) status(ctx context.Context, client *http.Client, requestID string) (st status, err error) {
	resp, err := get(ctx, client, a.issuer()+PathCheckStatus+"?request_id="+url.QueryEscape(requestID))
	if err != nil {
		return st, err
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusOK {
		return st, errors.New(resp.Status)
	}
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// visit goes where the waiting page sends the browser: by a GET that comes from
// the server's origin, and without the fragment, which no browser sends.
func (a *Agent) visit(ctx context.Context, client *http.Client, callbackURL string) (*http.Response, error) {
	callbackURL, _, _ = strings.Cut(callbackURL, "#")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, callbackURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Referer", a.issuer()+"/")
	return client.Do(req)
}

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// drain reads what is left, so that the connection can be used again.
func drain(resp *http.Response) {
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
}

// browserURL is what a browser makes of a URL that is assigned to its location,
// by the WHATWG URL standard: blanks around it, tabs and line breaks are dropped,
// and what has no place in a query is percent-encoded. Escapes and plus signs
// stay as they are, which is how an unescaped state is damaged.
func browserURL(s string) string {
	s = strings.Trim(s, " \x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f")
	var b strings.Builder
	for i := range len(s) {
		switch ch := s[i]; {
		case ch == '\t' || ch == '\n' || ch == '\r':
		case ch <= ' ' || ch >= 0x7f || strings.IndexByte(`"<>'`, ch) >= 0:
			fmt.Fprintf(&b, "%%%02X", ch)
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}
