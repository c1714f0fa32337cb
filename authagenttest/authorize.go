package authagenttest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	defaultScope   = "openid profile email"
	badRedirectURI = "Invalid redirect_uri format. HTTPS is required (HTTP allowed only for localhost)"
)

// A check is one thing that /authorize asks of a request.
type check struct {
	ok    func(*call, params) bool
	code  string
	text  string
	first bool // decides whether an error may be sent to the redirect URI at all
}

func present(name string) func(*call, params) bool {
	return func(_ *call, p params) bool { return p[name] != "" }
}

// authorizeChecks are the published server's checks, in its order, and that of Features.Resources.
func authorizeChecks() []check {
	return []check{
		{present("client_id"), "invalid_request", "Missing client_id parameter", true},
		{present("redirect_uri"), "invalid_request", "Missing redirect_uri parameter", true},
		{stateGiven, "invalid_request", "Missing state parameter", false},
		{present("code_challenge"), "invalid_request", "Missing code_challenge parameter (PKCE required)", false},
		{present("code_challenge_method"), "invalid_request", "Missing code_challenge_method parameter", false},
		{responseTypeCode, "unsupported_response_type", `Only "code" response type is supported`, false},
		{clientIDFormat, "invalid_request", "Invalid client_id format", true},
		{redirectURIFormat, "invalid_request", badRedirectURI, true},
		{methodS256, "invalid_request", "Invalid code_challenge_method. Only S256 is supported", false},
		{clientKnown, "invalid_client", "Client not found", true},
		{redirectURIRegistered, "invalid_request", "redirect_uri is not registered for this client", true},
		{resourcesGood, "invalid_target", "A resource is an absolute URI without fragment", false},
	}
}

// stateGiven: state is mandatory at the published server, and recommended in RFC 6749.
func stateGiven(c *call, p params) bool { return p["state"] != "" || !c.Quirks.AuthorizeErrorPages }

func responseTypeCode(_ *call, p params) bool { return p["response_type"] == "code" }
func methodS256(_ *call, p params) bool       { return p["code_challenge_method"] == "S256" }
func clientKnown(c *call, p params) bool      { return c.findClient(p["client_id"]) != nil }

func clientIDFormat(_ *call, p params) bool {
	id := p["client_id"]
	return len(id) >= 3 && strings.Trim(id, idAlphabet) == ""
}

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

func redirectURIFormat(_ *call, p params) bool { return validRedirectURI(p["redirect_uri"]) }

// redirectURIRegistered compares byte by byte: no other port, no trailing slash.
func redirectURIRegistered(c *call, p params) bool {
	return slices.Contains(c.findClient(p["client_id"]).RedirectURIs, p["redirect_uri"])
}

// validRedirectURI accepts https, and http on the three loopback names. It is
// not asked whether the URI is registered.
func validRedirectURI(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" {
		return false
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return u.Scheme == "http" || u.Scheme == "https"
	}
	return u.Scheme == "https"
}

// authorize answers with the waiting page, after storing a request for it to wait for.
func (c *call) authorize() answer {
	p, refusal := c.pulled(queryParams(c.r.URL.RawQuery))
	if refusal != nil {
		return *refusal
	}
	if a, failed := c.checkAuthorize(p); failed {
		return a
	}
	if c.r.Method == http.MethodHead && !c.Quirks.HeadAuthorizes {
		return htmlAnswer(http.StatusOK, nil)
	}
	// The database refuses text with a NUL.
	if !c.canInsert() || strings.Contains(p["state"], "\x00") {
		return textAnswer(http.StatusInternalServerError, "Internal Server Error")
	}
	row := c.newRequest(p)
	c.db.requests[row.id] = row
	return htmlAnswer(http.StatusOK, c.waitingPage(row))
}

// checkAuthorize runs the checks. The published server shows the first failure
// in a page; otherwise those that make the redirect URI trustworthy go first,
// and what fails after them is told to the site (RFC 6749 section 4.1.2.1).
func (c *call) checkAuthorize(p params) (a answer, failed bool) {
	checks := authorizeChecks()
	if !c.Quirks.AuthorizeErrorPages {
		slices.SortStableFunc(checks, func(a, b check) int {
			switch {
			case a.first == b.first:
				return 0
			case a.first:
				return -1
			}
			return 1
		})
	}
	for _, ch := range checks {
		if ch.ok(c, p) {
			continue
		}
		if c.Quirks.AuthorizeErrorPages || ch.first {
			return htmlAnswer(http.StatusBadRequest, errorPage(ch.code, ch.text)), true
		}
		return redirectAnswer(c.errorRedirect(p, ch)), true
	}
	return answer{}, false
}

func (c *call) newRequest(p params) *requestRow {
	scope := p["scope"]
	if scope == "" {
		scope = defaultScope
	}
	return &requestRow{
		id:          "req_" + randomHex(16),
		clientID:    p["client_id"],
		redirectURI: p["redirect_uri"],
		state:       p["state"],
		challenge:   p["code_challenge"],
		scope:       scope, // any words, verbatim
		resources:   c.resources(p),
		nonce:       p["nonce"],
		expires:     c.now.Add(requestLifetime),
	}
}

// errorRedirect is the redirect URI with an error in it.
func (c *call) errorRedirect(p params, ch check) string {
	add := url.Values{"error": {ch.code}, "error_description": {ch.text}}
	if p["state"] != "" {
		add.Set("state", p["state"])
	}
	if c.Features.IssParameter {
		add.Set("iss", c.issuer)
	}
	return withQuery(p["redirect_uri"], add)
}

// callbackURL is where the waiting page sends the browser once the request is
// approved. The published page concatenates, and escapes nothing: a state with
// "&", "+", "%" or "#" is damaged, and so is a redirect URI with a query.
func (c *call) callbackURL(row *requestRow) string {
	if c.Quirks.UnescapedRedirect {
		u := row.redirectURI + "?code=" + row.code + "&state=" + row.state
		if c.Features.IssParameter {
			u += "&iss=" + url.QueryEscape(c.issuer)
		}
		return u
	}
	add := url.Values{"code": {row.code}}
	if row.state != "" {
		add.Set("state", row.state)
	}
	if c.Features.IssParameter {
		add.Set("iss", c.issuer)
	}
	return withQuery(row.redirectURI, add)
}

// withQuery adds parameters to a URI that may have some already.
func withQuery(uri string, add url.Values) string {
	uri, fragment, hasFragment := strings.Cut(uri, "#")
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	uri += sep + add.Encode()
	if hasFragment {
		uri += "#" + fragment
	}
	return uri
}

// A status is check-status's answer. RedirectTo is there only where the page
// cannot put the redirect together by itself, as the published one does.
type status struct {
	Status      string `json:"status"`
	Error       string `json:"error,omitempty"`
	Code        string `json:"code,omitempty"`
	State       string `json:"state,omitempty"`
	RedirectURI string `json:"redirect_uri,omitempty"`
	RedirectTo  string `json:"redirect_to,omitempty"`
}

// checkStatus tells anyone who knows the request's ID how it stands, and hands
// out the code, as often as asked, also after it was redeemed. An expired
// request is not told apart from an unknown one.
func (c *call) checkStatus() answer {
	id := queryParams(c.r.URL.RawQuery)["request_id"]
	if id == "" {
		return errorAnswer(http.StatusBadRequest, "invalid_request", "Missing request_id parameter")
	}
	row := c.findRequest(id)
	switch {
	case row == nil:
		return jsonAnswer(http.StatusOK, status{Status: "error", Error: "Request not found or expired"})
	case row.code == "":
		return jsonAnswer(http.StatusOK, status{Status: "pending"})
	}
	s := status{Status: "authenticated", Code: row.code, State: row.state, RedirectURI: row.redirectURI}
	if !c.Quirks.UnescapedRedirect || c.Features.IssParameter {
		s.RedirectTo = c.callbackURL(row)
	}
	return jsonAnswer(http.StatusOK, s)
}

// waitingRequest finds the request ID in a waiting page, where agents look for it.
var waitingRequest = regexp.MustCompile(`window\.authRequest\s*=\s*\{[^}]*?request_id:\s*['"]([^'"]+)['"]`)
