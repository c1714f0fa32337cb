package wire

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/strictjson"
)

// discover looks where RFC 8414 says, then where OpenID Connect says. Whatever
// makes the first address unusable, the second is looked at: gateways answer for
// the first with redirects and faults, and some servers with another document.
// Where the server has neither, it takes the paths that Auth Agent documents.
func (s *Source) discover(ctx context.Context) (*Metadata, error) {
	if s.settings.Pins.Authorization != "" && s.settings.Pins.Token != "" {
		return s.complete(Metadata{Published: true, SaysPKCE: true})
	}
	var first error
	for _, address := range s.wellKnown() {
		m, err := s.document(ctx, address)
		if m != nil {
			return m, nil
		}
		if first == nil {
			first = err
		}
	}
	if first != nil { // there is a server that says something, so nothing is guessed
		return nil, first
	}
	base := strings.TrimSuffix(s.settings.Issuer, "/")
	return s.complete(Metadata{
		Authorization: base + "/authorize", Token: base + "/token", UserInfo: base + "/userinfo",
		Introspection: base + "/introspect", Revocation: base + "/revoke",
		TokenAuth: []string{"client_secret_post"},
	})
}

// document returns the metadata at an address; nil, without an error, where there
// is no document.
func (s *Source) document(ctx context.Context, address string) (*Metadata, error) {
	const step = "metadata request"
	a, err := s.client.get(ctx, step, address)
	var slash *slashRedirect
	if errors.As(err, &slash) {
		a, err = s.client.get(ctx, step, slash.to) // where a second redirect is an error
	}
	switch {
	case err != nil:
		return nil, err
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return nil, a.failure(step)
	case a.status != http.StatusOK:
		return nil, nil
	case !a.isJSON():
		// Mostly that is how a site answers for a page that it does not have.
		if o, err := strictjson.Parse(a.body); err == nil && o.Has("issuer") {
			return nil, &Error{Kind: Malformed, Step: step, Status: a.status, Err: ErrMediaType}
		}
		return nil, nil
	}
	m, err := s.read(a)
	if err != nil {
		return nil, err
	}
	return s.complete(m)
}

// wellKnown returns where metadata may be. RFC 8414 section 3.1 puts its name
// between host and path of the issuer, OpenID Connect Discovery section 4 after both.
func (s *Source) wellKnown() [2]string {
	issuer, _ := url.Parse(s.settings.Issuer) // it was checked when the settings were
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	origin := issuer.Scheme + "://" + issuer.Host
	return [2]string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}
}

// A slashRedirect leads to the same path of the same origin with a slash after it,
// as web servers and routers answer. Metadata is read there; nothing else follows one.
type slashRedirect struct{ to string }

func (*slashRedirect) Error() string { return ErrRedirect.Error() }
func (*slashRedirect) Unwrap() error { return ErrRedirect }

// onlySlash leaves in the header of an answer no Location but that of a
// slashRedirect, made of the request's own address: a server may write anything
// into it, and repeat the code.
func onlySlash(asked *url.URL, header http.Header) {
	if header["Location"] == nil { // as in most answers
		return
	}
	location := header.Get("Location")
	header.Del("Location")
	to, err := asked.Parse(location)
	if err != nil || location == "" || to.User != nil || to.RawQuery != "" || to.Fragment != "" {
		return
	}
	if browser.Origin(to) == browser.Origin(asked) && to.EscapedPath() == asked.EscapedPath()+"/" && asked.RawQuery == "" {
		header.Set("Location", asked.String()+"/")
	}
}
