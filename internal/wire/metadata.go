package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/punycode"
	"github.com/authagent-go/authagent/internal/strictjson"
)

// Metadata is what a relying party needs to know of an authorization server
// (RFC 8414 section 2). An empty endpoint is one that the server does not have.
type Metadata struct {
	Authorization, Token, UserInfo, Introspection, Revocation, JWKS string

	PushedAuthorization string // RFC 9126

	// How a client proves itself at each endpoint; nil when there is no metadata.
	TokenAuth, IntrospectionAuth, RevocationAuth []string

	// AuthAlgorithms are the signatures of assertions that the token endpoint takes; nil where
	// the server does not say.
	AuthAlgorithms []string

	// Scopes and Resources are those that the server says it knows (RFC 9728 section 4 has the
	// latter). Each is nil where it does not say; it need not name all.
	Scopes, Resources []string

	IssOnResponse bool // RFC 9207: every authorization response carries iss
	Published     bool // there is a document, or the endpoints are set by hand
	SaysPKCE      bool // code_challenge_methods_supported is there, and has S256
	SignsIDTokens bool // id_token_signing_alg_values_supported is there
	PushedOnly    bool // RFC 9126: authorization requests have to be pushed
	SignedOnly    bool // RFC 9101: authorization requests have to be signed
	NoCodeFlow    bool // the server says what it offers, and the authorization code flow is not among it

	Keys *Keys // the published keys; nil where none are published
}

// Endpoints are those that are set by hand; an empty one is not.
type Endpoints struct {
	Authorization, Token, UserInfo, Introspection, Revocation, JWKS string

	PushedAuthorization string // RFC 9126
}

// Settings are what a Source needs to know.
type Settings struct {
	Issuer  string
	Origins []string  // origins that endpoints may have beside the issuer's
	Pins    Endpoints // with the first two set nothing is fetched
	Dev     bool      // plain http on a loopback host is acceptable
	Pushes  bool      // authorization requests are pushed, whether the server demands it or not
}

const (
	freshFor      = time.Hour       // how long metadata is used without a look
	retryFresh    = time.Minute     // between looks, once one has failed and the old copy serves on
	forgetFailure = 2 * time.Second // how long a failure answers for further requests
)

// An IssuerError says that a server calls itself something else than the
// settings do. Its text does not repeat what, which a stranger may have written.
type IssuerError struct{ Said string }

func (e *IssuerError) Error() string { return "issuer is not the configured one" }

// What else makes metadata unacceptable, where a caller has to tell it apart.
var (
	ErrNoS256      = errors.New("code_challenge_methods_supported lacks S256")
	ErrOtherOrigin = errors.New("is on another origin than the issuer, and that origin is not allowed")
	ErrRedirect    = errors.New("redirects are not followed")
	ErrMediaType   = errors.New("the document is good, but it is not sent as application/json")
)

// A Source fetches metadata when it is first asked, once for all that wait, and
// keeps it. It is safe for concurrent use.
type Source struct {
	client   *Client
	settings Settings

	mu      sync.Mutex
	good    *Metadata // the last good copy
	renew   time.Time // when good wants another look
	failure error     // the last failure, while there is no good copy
	until   time.Time // how long failure answers
	flight  chan struct{}
}

// NewSource returns a Source that has fetched nothing yet.
func NewSource(client *Client, settings Settings) *Source {
	return &Source{client: client, settings: settings}
}

// Get returns the metadata. While a good copy exists it returns at once; a copy
// that has grown old is renewed in the background and serves on if that fails.
func (s *Source) Get(ctx context.Context) (*Metadata, error) {
	for {
		now := time.Now()
		s.mu.Lock()
		if s.good != nil {
			if now.After(s.renew) && s.flight == nil {
				s.fetch()
			}
			good := s.good
			s.mu.Unlock()
			return good, nil
		}
		if s.failure != nil && now.Before(s.until) {
			defer s.mu.Unlock()
			return nil, s.failure
		}
		if s.flight == nil {
			s.fetch()
		}
		flight := s.flight
		s.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, &Error{Kind: Unavailable, Step: "metadata request", Err: ctx.Err()}
		}
	}
}

// fetch starts the one fetch that all wait for. It belongs to none of the
// requests that wait, so none of them can cut it off for the others. The caller
// holds mu.
func (s *Source) fetch() {
	flight, before := make(chan struct{}), s.good
	s.flight = flight
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), Timeout)
		defer cancel()
		m, err := s.discover(ctx)
		if err == nil && m.JWKS != "" {
			m.Keys = s.renewKeys(m.JWKS, before)
		}
		now := time.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case err == nil:
			s.good, s.renew, s.failure = m, now.Add(freshFor), nil
		case s.good != nil:
			s.renew = now.Add(retryFresh)
		default:
			s.failure, s.until = err, now.Add(forgetFailure)
		}
		s.flight = nil
		close(flight)
	}()
}

// Algorithms returns the signatures of assertions that the server takes, as far as that is
// known, and whether it is. It asks nobody.
func (s *Source) Algorithms() (algorithms []string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good == nil {
		return nil, false
	}
	return s.good.AuthAlgorithms, true
}

func (s *Source) read(a answer) (Metadata, error) {
	const step = "metadata request"
	var m Metadata
	o, err := a.object(step)
	if err != nil {
		return m, err
	}
	// RFC 8414 section 3.3: byte for byte, or the document is another server's.
	if issuer, _, _ := o.String("issuer"); issuer != s.settings.Issuer {
		return m, &Error{Kind: Malformed, Step: step, Status: a.status, Err: &IssuerError{issuer}}
	}
	m.Published = true
	m.AuthAlgorithms, _, _ = o.Strings("token_endpoint_auth_signing_alg_values_supported")
	m.Scopes, _, _ = o.Strings("scopes_supported")
	m.Resources, _, _ = o.Strings("protected_resources")
	_, m.SignsIDTokens, _ = o.Strings("id_token_signing_alg_values_supported")
	m.PushedOnly, _, _ = o.Bool("require_pushed_authorization_requests")
	m.SignedOnly, _, _ = o.Bool("require_signed_request_object")
	types, said, _ := o.Strings("response_types_supported")
	m.NoCodeFlow = said && !slices.Contains(types, "code")
	grants, said, _ := o.Strings("grant_types_supported")
	m.NoCodeFlow = m.NoCodeFlow || said && !slices.Contains(grants, "authorization_code")
	for name, into := range map[string]*string{
		"authorization_endpoint": &m.Authorization, "token_endpoint": &m.Token, "userinfo_endpoint": &m.UserInfo,
		"introspection_endpoint": &m.Introspection, "revocation_endpoint": &m.Revocation, "jwks_uri": &m.JWKS,
		"pushed_authorization_request_endpoint": &m.PushedAuthorization,
	} {
		var said bool // null is as good as absent
		*into, said, err = o.String(name)
		if said && *into == "" {
			err = fmt.Errorf("%s is empty", name)
		}
		if err != nil {
			return m, &Error{Kind: Invalid, Step: step, Status: a.status, Err: err}
		}
	}
	return m, readAbilities(o, &m)
}

func readAbilities(o strictjson.Object, m *Metadata) error {
	const step = "metadata request"
	methods, said, err := o.Strings("code_challenge_methods_supported")
	m.SaysPKCE = said
	if said && !slices.Contains(methods, "S256") {
		err = ErrNoS256
	}
	if err == nil {
		m.TokenAuth, said, err = o.Strings("token_endpoint_auth_methods_supported")
		if err == nil && !said { // RFC 8414 section 2: the default when it is omitted
			m.TokenAuth = []string{"client_secret_basic"}
		}
	}
	for name, into := range map[string]*[]string{
		"introspection_endpoint_auth_methods_supported": &m.IntrospectionAuth, "revocation_endpoint_auth_methods_supported": &m.RevocationAuth,
	} {
		if err == nil {
			*into, said, err = o.Strings(name)
		}
		if !said { // as at the token endpoint, which is what servers mean that say nothing
			*into = m.TokenAuth
		}
	}
	if err == nil {
		m.IssOnResponse, _, err = o.Bool("authorization_response_iss_parameter_supported")
	}
	if err != nil {
		return &Error{Kind: Invalid, Step: step, Status: http.StatusOK, Err: err}
	}
	return nil
}

// complete puts the pinned endpoints in and checks every endpoint there is.
func (s *Source) complete(m Metadata) (*Metadata, error) {
	pins := s.settings.Pins
	for _, e := range []struct {
		name   string
		have   *string
		pinned string
	}{
		{"authorization_endpoint", &m.Authorization, pins.Authorization},
		{"token_endpoint", &m.Token, pins.Token},
		{"userinfo_endpoint", &m.UserInfo, pins.UserInfo},
		{"introspection_endpoint", &m.Introspection, pins.Introspection},
		{"revocation_endpoint", &m.Revocation, pins.Revocation},
		{"jwks_uri", &m.JWKS, pins.JWKS},
		{"pushed_authorization_request_endpoint", &m.PushedAuthorization, pins.PushedAuthorization},
	} {
		if e.pinned != "" {
			*e.have = e.pinned
			continue
		}
		if *e.have == "" {
			continue
		}
		if err := s.checkEndpoint(*e.have); err != nil {
			if e.have == &m.PushedAuthorization && !m.PushedOnly && !s.settings.Pushes { // most sites have no use for it
				m.PushedAuthorization = ""
				continue
			}
			return nil, &Error{Kind: Invalid, Step: "metadata request", Err: fmt.Errorf("%s: %w", e.name, err)}
		}
	}
	if m.Authorization == "" || m.Token == "" {
		return nil, &Error{Kind: Invalid, Step: "metadata request", Err: errors.New("authorization_endpoint and token_endpoint are required")}
	}
	return &m, nil
}

// checkEndpoint keeps metadata from pointing the back channel, and the secret
// with it, at hosts that the site did not choose.
func (s *Source) checkEndpoint(endpoint string) error {
	u, err := checkURL(endpoint, s.settings.Dev)
	if err != nil {
		return err
	}
	for _, allowed := range append([]string{s.settings.Issuer}, s.settings.Origins...) {
		// They were checked when the settings were.
		if known, err := url.Parse(allowed); err == nil && browser.Origin(known) == browser.Origin(u) {
			return nil
		}
	}
	return ErrOtherOrigin
}

// Origins returns the origins of all addresses that have one.
func Origins(addresses ...string) (origins []string) {
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			origins = append(origins, browser.Origin(u))
		}
	}
	return origins
}

// CheckURL parses an absolute https URL of the settings, without user name and
// fragment. Where dev is set, http on a loopback host will do. The error may repeat
// the host name.
func CheckURL(s string, dev bool) (*url.URL, error) {
	u, err := checkURL(s, dev)
	if errors.Is(err, errHost) {
		err = fmt.Errorf("%w: write it as %q", err, punycode.Host(u.Hostname()))
	}
	return u, err
}

// checkURL is CheckURL for what the server wrote: none of it is in the error, and
// no time is spent on it.
func checkURL(s string, dev bool) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL")
	case u.Scheme == "http" && Loopback(u.Hostname()):
		if !dev {
			return nil, errors.New("must use https (http only beside an http RedirectURL, on localhost, 127.0.0.0/8 and ::1)")
		}
	case u.Scheme != "https":
		return nil, errors.New("must use https (http only on localhost, 127.0.0.0/8 and ::1)")
	}
	switch {
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("must not contain a user name")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errors.New("must not have a fragment")
	}
	return u, checkHost(u.Hostname())
}

var errHost = errors.New("has a host name that is not ASCII")

// maxHost is the longest host name that there can be (RFC 1035 section 2.3.4).
const maxHost = 253

// checkHost refuses a name that is not ASCII: browsers, servers and headers have it
// in another form, and compare that one.
func checkHost(host string) error {
	if len(host) > maxHost {
		return fmt.Errorf("has a host name of more than %d bytes", maxHost)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return errHost
	}
	return nil
}

// Loopback reports whether host is this machine by definition: localhost, 127.0.0.0/8
// and ::1.
func Loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Zone() == "" && !address.Is4In6() && address.IsLoopback()
}
