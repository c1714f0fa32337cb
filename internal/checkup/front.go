package checkup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/internal/wire"
)

// begin returns where a login begins. A server that knows prompt=none starts nothing at all.
func (e *exam) begin(ctx context.Context) (string, error) {
	asks := e.Inquiry
	if slices.Contains(e.Scopes, "openid") {
		asks.Params = maps.Clone(asks.Params)
		if asks.Params == nil {
			asks.Params = url.Values{}
		}
		asks.Params.Set("prompt", "none")
	}
	request, err := asks.At(e.metadata)
	if err != nil {
		return "", err
	}
	return e.AuthorizationURL(ctx, e.server, request)
}

// unpushed says why an authorization request could not be pushed. It says nothing of a server
// that has no endpoint for that, of which requests speaks.
func (e *exam) unpushed(ctx context.Context, err error) {
	if inner := errors.Unwrap(err); inner != nil { // what the site is told of it is no part of this
		err = inner
	}
	var w *wire.Error
	switch {
	case wire.Unproven(err):
		e.unproven(err.Error())
	case !errors.As(err, &w):
	case w.Code == "invalid_client", w.Kind == wire.Refused && w.Status == http.StatusUnauthorized:
		e.rejected(ctx)
	case w.Code == "invalid_scope", w.Code == "unauthorized_client":
		e.reported(w.Code, "")
	case w.Kind == wire.Refused && w.Code != "":
		e.fault("RedirectURL", fmt.Sprintf("The server refuses the pushed authorization request of client %q: %v.", e.ClientID, w),
			"See that exactly this RedirectURL is registered at the server, and that it knows what is set in Provider.AuthorizationParams.")
	default:
		e.fault("Issuer", "The endpoint for pushed authorization requests does not work: "+w.Error()+".",
			"Look into the server's log. If Provider.Endpoints is set, see that Provider.Endpoints.PushedAuthorization is right.")
	}
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

// pushedOnly is about a server that takes no request that was not pushed, of this client at least.
func (e *exam) pushedOnly() {
	if e.metadata.PushedAuthorization == "" {
		e.faultOnce("Issuer", "The server takes pushed authorization requests only (RFC 9126), and its metadata names no endpoint for them.",
			"Have the server name it, or pin Provider.Endpoints.PushedAuthorization and set Provider.PushRequests.")
		return
	}
	e.faultOnce("Provider.PushRequests", "The server takes pushed authorization requests only from this client (RFC 9126), and its metadata does not say so.",
		"Set Provider.PushRequests.")
}

func (e *exam) faultOnce(setting, problem, remedy string) {
	if !slices.ContainsFunc(e.findings, func(f Finding) bool { return f.Problem == problem }) {
		e.fault(setting, problem, remedy)
	}
}

// requests compares what the server demands of authorization requests with what is sent.
func (e *exam) requests() {
	switch {
	case e.metadata.PushedAuthorization != "":
	case e.metadata.PushedOnly:
		e.pushedOnly()
	case e.Push:
		e.fault("Provider.PushRequests", "Provider.PushRequests is set, and the server has no endpoint for pushed authorization requests (RFC 9126).",
			"Remove the setting, or pin Provider.Endpoints.PushedAuthorization.")
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
