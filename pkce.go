package authagent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/wire"
)

const (
	// loginTTL is how long a login may take. The Auth Agent server gives the
	// agent 120 seconds and its code 600.
	loginTTL = 10 * time.Minute

	// maxPendingBytes bounds the cookies of the logins that one browser has
	// under way, so that they never fill the header that a server accepts.
	maxPendingBytes = 6 << 10

	// maxPending bounds their number.
	maxPending = 5

	// maxSeen is how many of them are looked at. Browsers keep fewer cookies of
	// one site; a header that has more is somebody's who wants to keep us busy.
	maxSeen = 200

	loginIDLength = 8 // characters of the state that name its login

	stateBytes    = 32
	verifierBytes = 64
	nonceBytes    = 16

	// What they are as text: the verifier in hexadecimal digits, the others in
	// base64 without padding.
	stateLength     = (stateBytes*8 + 5) / 6
	verifierLength  = verifierBytes * 2
	nonceLength     = (nonceBytes*8 + 5) / 6
	challengeLength = (sha256.Size*8 + 5) / 6
)

// A login holds the secrets of one login that is under way: made when it
// starts, kept in the browser, checked when it comes back. It prints as its ID,
// under the conditions of [Config].
type login struct {
	// State ties the authorization response to the browser that asked for it
	// (RFC 6749 section 10.12): 256 random bits, in an alphabet that survives the
	// Auth Agent server's redirect, which escapes nothing. Its first eight
	// characters are the login's ID.
	State string

	// Verifier is the PKCE code verifier (RFC 7636 section 4.1): 512 random bits
	// as 128 characters, the most that the RFC allows. What the server is shown
	// first is a hash of 256 bits.
	Verifier string

	// Nonce ties an id_token to the login (OpenID Connect Core section 3.1.2.1).
	// It is sent where the openid scope is asked for.
	Nonce string

	// ReturnTo is the path on this site that the agent lands on afterwards.
	ReturnTo string

	// HumanID is the human who began the login to connect an agent to their
	// account. It is empty for a login by which an agent signs in.
	HumanID string

	// StartedAt is when the login started.
	StartedAt time.Time
}

// newLogin makes the secrets of a login that ends at returnTo, which the caller
// has checked.
func newLogin(returnTo string) *login {
	var random [stateBytes + verifierBytes + nonceBytes]byte
	rand.Read(random[:]) // never fails
	var text [stateLength + verifierLength + nonceLength]byte
	base64.RawURLEncoding.Encode(text[:], random[:stateBytes])
	hex.Encode(text[stateLength:], random[stateBytes:stateBytes+verifierBytes])
	base64.RawURLEncoding.Encode(text[stateLength+verifierLength:], random[stateBytes+verifierBytes:])
	secrets := string(text[:])
	return &login{
		State:     secrets[:stateLength],
		Verifier:  secrets[stateLength : stateLength+verifierLength],
		Nonce:     secrets[stateLength+verifierLength:],
		ReturnTo:  returnTo,
		StartedAt: time.Now(),
	}
}

// ID names the login without giving its state away.
func (l *login) ID() string { return l.State[:loginIDLength] }

// challenge returns the S256 code challenge, BASE64URL(SHA256(verifier)) without
// padding (RFC 7636 section 4.2).
func (l *login) challenge() (text [challengeLength]byte) {
	verifier := append(make([]byte, 0, verifierLength), l.Verifier...) // on the stack
	sum := sha256.Sum256(verifier)
	base64.RawURLEncoding.Encode(text[:], sum[:])
	return text
}

// String returns the login's ID.
func (l login) String() string { return "login " + l.ID() }

// Format prints the login's ID whatever the verb, so that no secret is logged.
func (l login) Format(f fmt.State, _ rune) { fmt.Fprint(f, l.String()) }

// MarshalText gives the login's ID: a login is not to be stored in the clear.
func (l login) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// authorizationRequest is the part of the authorization request (RFC 6749
// section 4.1.1, RFC 7636 section 4.3) that is the same for all logins.
type authorizationRequest struct {
	metadata *wire.Metadata
	prefix   string
	nonce    string // "&nonce=" where a nonce is sent
}

// authorizationRequest builds the request anew only when the metadata is new.
func (rp *RelyingParty) authorizationRequest(ctx context.Context) (*authorizationRequest, error) {
	m, err := rp.server.Get(ctx)
	switch {
	case errors.Is(err, wire.ErrPanic):
		return nil, serverError("read metadata", err)
	case err != nil:
		return nil, fail(reasons.ServerNotReady, "read metadata", "%w", err)
	}
	if have := rp.request.Load(); have != nil && have.metadata == m {
		return have, nil
	}
	request, err := rp.newAuthorizationRequest(m)
	if err == nil {
		rp.request.Store(request)
	}
	return request, err
}

func (rp *RelyingParty) newAuthorizationRequest(m *wire.Metadata) (*authorizationRequest, error) {
	endpoint, err := url.Parse(m.Authorization)
	if err != nil {
		return nil, fail(reasons.ServerNotReady, "read metadata", "the authorization endpoint is not a URL")
	}
	query := endpoint.Query() // RFC 6749 section 3.1: a query it has is kept
	query.Set("response_type", "code")
	query.Set("client_id", rp.config.ClientID)
	query.Set("redirect_uri", rp.config.RedirectURL)
	query.Set("scope", strings.Join(rp.config.Provider.Scopes, " "))
	query.Set("code_challenge_method", "S256")
	for _, own := range [...]string{"state", "code_challenge", "nonce"} {
		query.Del(own)
	}
	endpoint.RawQuery = query.Encode()
	request := &authorizationRequest{metadata: m, prefix: endpoint.String()}
	if slices.Contains(rp.config.Provider.Scopes, "openid") {
		request.nonce = "&nonce="
	}
	return request, nil
}

// url returns the request of one login. What it appends needs no escaping.
func (a *authorizationRequest) url(l *login) string {
	challenge, nonce := l.challenge(), ""
	if a.nonce != "" {
		nonce = l.Nonce
	}
	return a.prefix + "&state=" + l.State + "&code_challenge=" + string(challenge[:]) + a.nonce + nonce
}

// A StateStore makes each state usable once across all instances of a site.
// Within one process that is so without it.
type StateStore interface {
	// UseState records that the state with this ID is used and reports whether
	// it was unused until now. Of several calls with one ID, at any number of
	// instances at once, exactly one gets true. The record is kept until the
	// given time, after which the login has expired anyway. An error fails the
	// request, and the agent is told to come again with the same response: it gets
	// in then, unless the state was recorded all the same.
	UseState(ctx context.Context, id string, until time.Time) (first bool, err error)
}

// pendingLogins keeps the logins that are under way in the browser, each in a
// sealed cookie of its own: several tabs can sign in at once, any instance can
// finish what another began, and a login that is never finished costs the site
// nothing.
type pendingLogins struct {
	prefix     string // of the cookies' names
	box        *seal.Box
	attributes string // of a cookie that is kept
	deleted    string // of one that is not any more
}

// put sets the cookie of l, and drops the oldest ones if that would be too many.
func (p *pendingLogins) put(w http.ResponseWriter, r *http.Request, l *login) {
	name := p.prefix + l.ID()
	size := len(l.State) + len(l.Verifier) + len(l.Nonce) + len(l.ReturnTo) + len(l.HumanID) + 24
	value := make([]byte, 0, size+seal.Overhead+len(name))
	value = seal.AppendInt(value, l.StartedAt.Unix())
	for _, field := range [...]string{l.State, l.Verifier, l.Nonce, l.ReturnTo, l.HumanID} {
		value = seal.AppendString(value, field)
	}
	line := p.box.SealCookie(value, name, p.attributes)
	browser.AddCookie(w, line)
	p.makeRoom(w, r, len(line)-len(p.attributes))
}

// makeRoom expires the oldest pending logins until there is room for size more bytes.
func (p *pendingLogins) makeRoom(w http.ResponseWriter, r *http.Request, size int) {
	type pending struct {
		name, sealed string
		size         int
		since        time.Time // zero for what does not open, which so goes first
	}
	var all []pending
	total := size
	browser.EachCookie(r, func(name, value string) {
		if strings.HasPrefix(name, p.prefix) && len(all) < maxSeen {
			all = append(all, pending{name: name, sealed: value, size: len(name) + len(value)})
			total += len(name) + len(value)
		}
	})
	if len(all) < maxPending && total <= maxPendingBytes {
		return
	}
	for i := range all {
		if l, err := p.unseal(all[i].sealed, all[i].name); err == nil {
			all[i].since = l.StartedAt
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].since.Before(all[j].since) })
	for i := 0; i < len(all) && (len(all)-i >= maxPending || total > maxPendingBytes); i++ {
		p.dropNamed(w, all[i].name)
		total -= all[i].size
	}
}

// take returns the login that this browser began with this state.
func (p *pendingLogins) take(r *http.Request, state string) (*login, error) {
	if len(state) != stateLength {
		return nil, fail(reasons.StateMismatch, "match state", "state is missing or not one of ours")
	}
	l, err := p.open(r, p.prefix+state[:loginIDLength])
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(l.State), []byte(state)) != 1 {
		return nil, fail(reasons.StateMismatch, "match state", "state is another than the one this browser was given")
	}
	return l, nil
}

// open opens the one login cookie of this name. A browser can be made to send a
// second one by a neighbouring host (RFC 6265 section 8.6), so two are none.
func (p *pendingLogins) open(r *http.Request, name string) (*login, error) {
	sealed, n := browser.Cookie(r, name)
	if n != 1 {
		return nil, fail(reasons.StateMismatch, "match state", "this browser has no pending login of that state")
	}
	return p.unseal(sealed, name)
}

func (p *pendingLogins) unseal(sealed, name string) (*login, error) {
	value, err := p.box.Open(sealed, name)
	if err != nil {
		return nil, fail(reasons.StateMismatch, "match state", "the pending login does not open")
	}
	// A field is added at the end, which older instances do not read. A value that
	// they cannot read begins with a negative number, and is left where it is.
	fields := seal.NewReader(value)
	began := fields.Int()
	l := &login{StartedAt: time.Unix(began, 0)}
	for _, field := range [...]*string{&l.State, &l.Verifier, &l.Nonce, &l.ReturnTo, &l.HumanID} {
		*field = fields.String()
	}
	if fields.Err() != nil || began < 0 || len(l.State) < loginIDLength {
		return nil, fail(reasons.StateMismatch, "match state", "the pending login is of another version")
	}
	return l, nil
}

// drop expires the cookie of a login that has come to its end.
func (p *pendingLogins) drop(w http.ResponseWriter, l *login) { p.dropNamed(w, p.prefix+l.ID()) }

func (p *pendingLogins) dropNamed(w http.ResponseWriter, name string) {
	browser.AddCookie(w, name+"="+p.deleted)
}
