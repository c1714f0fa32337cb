package authagenttest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Bearer returns a copy of the client whose requests have the access token in the Authorization header.
// It follows no redirect, so that the token goes nowhere else.
func Bearer(client *http.Client, token string) *http.Client {
	c := *client
	c.Transport = bearerTransport{next: client.Transport, token: token}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

type bearerTransport struct {
	next  http.RoundTripper // nil is the default
	token string
}

func (t bearerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // a RoundTripper leaves the request as it is
	r.Header.Set("Authorization", "Bearer "+t.token)
	if t.next == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	return t.next.RoundTrip(r)
}

// ContinueInBrowser does what an agent does that calls a site's API and meets a page. It asks for an address where the site
// has LinkHandler, opens the address in a browser, and presses the button there. api is a client that sends the agent's
// access token, see [Bearer]; browser has a cookie jar, which keeps the session. path is where the agent wants to be, and
// description what it says it wants there.
func ContinueInBrowser(ctx context.Context, api, browser *http.Client, linkURL, path, description string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, linkURL, bytes.NewReader(marshal(map[string]string{"path": path, "description": description})))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := textOf(api, req, http.StatusOK)
	if err != nil {
		return fmt.Errorf("ask for an address: %w", err)
	}
	var given struct{ URL string }
	if err := json.Unmarshal(answer, &given); err != nil {
		return fmt.Errorf("ask for an address: %w", err)
	}
	if req, err = http.NewRequestWithContext(ctx, http.MethodGet, given.URL, nil); err != nil {
		return err
	}
	req.Header.Set("Accept", "text/html")
	page, err := textOf(browser, req, http.StatusOK)
	if err != nil {
		return fmt.Errorf("open the address: %w", err)
	}
	button := continueForm.FindSubmatch(page)
	if button == nil {
		return errors.New("open the address: the page has no button")
	}
	form := url.Values{"ticket": {html.UnescapeString(string(button[2]))}}
	target := req.URL.ResolveReference(&url.URL{Path: html.UnescapeString(string(button[1]))})
	if req, err = http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(form.Encode())); err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	stays := *browser
	stays.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if _, err = textOf(&stays, req, http.StatusSeeOther); err != nil {
		return fmt.Errorf("press the button: %w", err)
	}
	return nil
}

// continueForm is the form of the page that ContinueInBrowser opens.
var continueForm = regexp.MustCompile(`<form[^>]* action="([^"]*)"[^>]*><input type="hidden" name="ticket" value="([^"]*)">`)

// textOf returns the body of an answer, which has to have a status.
func textOf(client *http.Client, req *http.Request, status int) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}

// SignInToAPI does what an agent without a browser does that knows nothing but the address of an API. It
// gets apiURL without credentials, follows the challenge of the 401 to the metadata of the API (RFC
// 9728), and signs in with the server that is named there, as a client of its own, for the API (RFC
// 8707). It asks for the scopes of the challenge, or else for those of the metadata. It returns the
// access token, for [Bearer]. Features.Resources has to be on.
//
// The client reaches the API and the server, as in SignIn. The agent holds the API to the standards:
// the metadata is at the well-known address of its resource, on the API's host; the resource is apiURL or
// a part of it that ends at a slash; and the first server is the one that the agent is registered at.
// Errors name the step that failed.
func (a *Agent) SignInToAPI(ctx context.Context, client *http.Client, apiURL string) (token string, err error) {
	client = withJar(client)
	resource, err := discover(ctx, client, apiURL)
	if err != nil {
		return "", a.failed("discovery", err)
	}
	if named := resource.Servers[0]; named != a.issuer() {
		return "", a.failed("discovery", fmt.Errorf("%s is not the server the agent is registered at (%s)", named, a.issuer()))
	}
	app := a.server.AddClient(Client{RedirectURIs: []string{"http://127.0.0.1/callback"}})
	verifier, state := randomHex(32), randomHex(16)
	callbackURL, err := a.Authorize(ctx, client, a.issuer()+PathAuthorize+"?"+url.Values{
		"response_type":         {"code"},
		"client_id":             {app.ID},
		"redirect_uri":          app.RedirectURIs,
		"resource":              {resource.Resource},
		"scope":                 {strings.Join(resource.Scopes, " ")},
		"state":                 {state},
		"code_challenge":        {challengeOf(verifier)},
		"code_challenge_method": {"S256"},
	}.Encode())
	if err != nil {
		return "", err
	}
	code, err := codeFrom(callbackURL, state)
	if err != nil {
		return "", a.failed("callback", err)
	}
	token, err = a.redeem(ctx, client, app, map[string]string{
		"grant_type":    "authorization_code",
		"code":          code,
		"code_verifier": verifier,
		"redirect_uri":  app.RedirectURIs[0],
		"resource":      resource.Resource,
		"client_id":     app.ID,
	})
	if err != nil {
		return "", a.failed("token", err)
	}
	return token, nil
}

// A resourceMetadata is the document of RFC 9728 section 2, as far as the agent needs it.
type resourceMetadata struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported"`
}

// discover finds out what the API at this address is, and who issues tokens for it.
func discover(ctx context.Context, client *http.Client, apiURL string) (*resourceMetadata, error) {
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	challenge, err := challengeAt(ctx, &c, apiURL)
	if err != nil {
		return nil, err
	}
	address := challenge["resource_metadata"]
	if address == "" {
		return nil, errors.New("the challenge has no resource_metadata")
	}
	m, err := readMetadata(ctx, &c, address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	switch {
	case !covers(m.Resource, apiURL):
		return nil, fmt.Errorf("%s: its resource is %q, which is not %s", address, m.Resource, apiURL)
	case wellKnown(m.Resource) != address:
		return nil, fmt.Errorf("%s: the metadata of %s belongs at %s", address, m.Resource, wellKnown(m.Resource))
	case len(m.Servers) == 0:
		return nil, fmt.Errorf("%s: no authorization_servers", address)
	}
	if scope := strings.Fields(challenge["scope"]); len(scope) > 0 {
		m.Scopes = scope
	}
	return m, nil
}

// challengeAt asks an API without credentials and returns the parameters of its Bearer challenge.
func challengeAt(ctx context.Context, client *http.Client, apiURL string) (map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, apiURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusUnauthorized {
		return nil, fmt.Errorf("%s at %s, where 401 was expected", resp.Status, apiURL)
	}
	challenge, ok := bearerChallenge(resp.Header["Www-Authenticate"])
	if !ok {
		return nil, fmt.Errorf("no Bearer challenge at %s", apiURL)
	}
	return challenge, nil
}

// challengePart is a scheme, or a parameter of the scheme before it (RFC 9110 section 11.6.1).
var challengePart = regexp.MustCompile("([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\\s*=\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|([^\\s,=\"]+)))?")

var quotedPair = regexp.MustCompile(`\\(.)`)

// bearerChallenge returns the parameters of the Bearer challenge, by their names in lower case. There may
// be challenges of other schemes beside it, in the same line of the header or in others.
func bearerChallenge(lines []string) (params map[string]string, ok bool) {
	scheme := ""
	for _, part := range challengePart.FindAllStringSubmatch(strings.Join(lines, ", "), -1) {
		name, quoted, plain := strings.ToLower(part[1]), part[2], part[3]
		switch {
		case !strings.Contains(part[0], "="):
			if scheme = name; scheme == "bearer" && params == nil {
				params = make(map[string]string)
			}
		case scheme == "bearer":
			params[name] = cmp.Or(plain, quotedPair.ReplaceAllString(quoted, "$1"))
		}
	}
	return params, params != nil
}

// readMetadata reads the metadata of an API as RFC 9728 section 3.2 has it.
func readMetadata(ctx context.Context, client *http.Client, address string) (*resourceMetadata, error) {
	resp, err := get(ctx, client, address)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK || contentType != "application/json" {
		return nil, fmt.Errorf("%s, Content-Type %q", resp.Status, contentType)
	}
	m := new(resourceMetadata)
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(m); err != nil {
		return nil, err
	}
	return m, nil
}

// covers reports whether a resource is this address or what it begins with. MCP's clients accept both.
func covers(resource, address string) bool {
	rest, ok := strings.CutPrefix(address, strings.TrimSuffix(resource, "/"))
	return ok && resource != "" && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// wellKnown is the address of a resource's metadata (RFC 9728 section 3.1).
func wellKnown(resource string) string {
	u, err := url.Parse(resource)
	if err != nil {
		return ""
	}
	return origin(u) + "/.well-known/oauth-protected-resource" + strings.TrimSuffix(u.EscapedPath(), "/")
}

// codeFrom reads what the server has sent the browser back with.
func codeFrom(callbackURL, state string) (code string, err error) {
	u, err := url.Parse(callbackURL)
	if err != nil {
		return "", err
	}
	q := u.Query()
	switch {
	case q.Get("error") != "":
		return "", fmt.Errorf("%s: %s", q.Get("error"), q.Get("error_description"))
	case q.Get("state") != state || q.Get("code") == "":
		return "", errors.New("no code, or another state")
	}
	return q.Get("code"), nil
}

// redeem turns a code into an access token. It proves the app in the way that the server takes.
func (a *Agent) redeem(ctx context.Context, client *http.Client, app Client, fields map[string]string) (string, error) {
	a.server.mu.Lock()
	quirks, features := a.server.Quirks, a.server.Features
	a.server.mu.Unlock()
	if !features.Resources {
		return "", errors.New("the server takes no resource parameter (Features.Resources)")
	}
	methods := features.AuthMethods
	basic := methods != nil && !slices.Contains(methods, "client_secret_post") && slices.Contains(methods, "client_secret_basic")
	if !basic {
		fields["client_secret"] = app.Secret
	}
	body, contentType := encoded(fields, quirks.JSONBodies)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.issuer()+PathToken, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", contentType)
	if basic {
		req.SetBasicAuth(url.QueryEscape(app.ID), url.QueryEscape(app.Secret))
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer drain(resp)
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	var got tokenAnswer
	if err := json.Unmarshal(answer, &got); err != nil || resp.StatusCode != http.StatusOK || got.AccessToken == "" {
		return "", fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return got.AccessToken, nil
}

// encoded writes a body as JSON or as a form.
func encoded(fields map[string]string, asJSON bool) (body []byte, contentType string) {
	if asJSON {
		return marshal(fields), "application/json"
	}
	form := url.Values{}
	for name, value := range fields {
		form.Set(name, value)
	}
	return []byte(form.Encode()), "application/x-www-form-urlencoded"
}
