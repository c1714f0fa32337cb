package checkup

import (
	"net/url"
	"path"
	"strings"
)

// promptNone has an authorization request start nothing. An endpoint whose address
// has a prompt of its own gets one all the same: a parameter that is sent twice is
// an error (RFC 6749 section 3.1).
func promptNone(address string) string {
	base, query, _ := strings.Cut(address, "?")
	kept := "?"
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); pair != "" && (err != nil || decoded != "prompt") {
			kept += pair + "&"
		}
	}
	return base + kept + "prompt=none"
}

// ownPage judges a redirect that does not lead to the redirect URI. Most lead to a
// page to sign in on. Some servers send what they refuse to a page of their own,
// since an unknown client has no redirect URI that could be trusted.
func (e *exam) ownPage(location string) opinion {
	u, err := url.Parse(location)
	if err != nil {
		return accepted
	}
	values := u.Query()
	if inside, query, ok := strings.Cut(u.Fragment, "?"); ok { // a page that is a program: /#/error?error=...
		u.Path += "/" + inside
		if more, err := url.ParseQuery(query); err == nil {
			for name := range more {
				values[name] = append(values[name], more[name]...)
			}
		}
	}
	code := values.Get("error")
	if code == "" && !strings.Contains(strings.ToLower(path.Base(u.Path)), "error") && !values.Has("authError") {
		return accepted
	}
	switch code {
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return accepted
	}
	said := code + " " + values.Get("error_description") + " " + values.Get("error_hint") + " " + values.Get("message")
	if wantsPushed(said) {
		e.pushedOnly()
		return unclear
	}
	if code == "invalid_scope" || code == "unsupported_response_type" || code == "server_error" || code == "temporarily_unavailable" {
		e.reported(code, "")
		return accepted
	}
	return complaint([]byte(said))
}

// wantsPushed reports whether an error is that the request was not pushed. A server
// may demand that of some clients only, and then its metadata does not say so.
func wantsPushed(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "pushed authorization") || strings.Contains(text, "pushed_authorization")
}

func (e *exam) pushedOnly() {
	for _, f := range e.findings {
		if f.Problem == pushedProblem {
			return
		}
	}
	e.fault("Issuer", pushedProblem, "Have the server take plain authorization requests from this client.")
}

const pushedProblem = "The server takes pushed authorization requests only (RFC 9126), and this package sends none."

// requests compares what the server demands of authorization requests with what is sent.
func (e *exam) requests() {
	if e.metadata.PushedOnly {
		e.pushedOnly()
	}
	if e.metadata.SignedOnly {
		e.fault("Issuer", "The server takes signed authorization requests only (RFC 9101), and this package signs none.",
			"Have the server take plain authorization requests from this client.")
	}
	if e.metadata.NoCodeFlow {
		e.fault("Issuer", "The server's metadata does not offer the authorization code flow (response_types_supported, grant_types_supported).",
			"Switch it on at the server, or use a server that has it.")
	}
}
