// Package logout takes an authorization server's word that sessions have ended there: OpenID Connect
// Back-Channel Logout 1.0.
//
// Anybody can send something to the address where the server does. So a logout token is read in one
// way only, all that costs nothing is checked before the signature, and the server is asked for its
// keys now and then at most.
package logout

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/strictjson"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/problem"
)

const (
	step = "verify logout token"

	event = "http://schemas.openid.net/event/backchannel-logout" // Back-Channel Logout 1.0 section 2.4

	maxToken = 16 << 10 // bytes
	maxID    = 255      // bytes of jti

	// A token counts from skew before it was issued until maxAge after. The server sends it at once.
	maxAge = 5 * time.Minute
	skew   = time.Minute
)

// A Verifier verifies the logout tokens of one server for one client.
type Verifier struct {
	Issuer, ClientID string
	TokenKey         []byte       // the secret that the server signs with (HS256), if the site holds it
	Server           *wire.Server // whose keys verify all other signatures
}

// A Token says which sessions the server has ended.
type Token struct {
	Subject string    // sub; may be empty
	SID     string    // the server's ID of the one session; empty for all of Subject
	ID      string    // jti
	Until   time.Time // when the token is too old, by this clock
}

// Verify returns what a logout token says (section 2.6). Its errors are of type *problem.Error.
// They contain nothing of the token.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	header, payload, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	t, err := v.read(payload, time.Now())
	if err != nil {
		return nil, err
	}
	alg, _, _ := header.String("alg")
	if err := v.signature(ctx, raw, alg); err != nil {
		return nil, err
	}
	return t, nil
}

// reject is why a request is refused that is not good.
func reject(format string, args ...any) error {
	return failure.New(problem.InvalidRequest, step, format, args...)
}

// parse returns the two objects of a JWT. encoding/base64 skips line breaks, so they are looked for here.
func parse(raw string) (header, payload strictjson.Object, err error) {
	pieces := strings.Split(raw, ".")
	if len(raw) > maxToken || len(pieces) != 3 || strings.ContainsAny(raw, "\r\n") {
		return header, payload, reject("it is no JWT, or longer than 16 KiB")
	}
	var objects [2]strictjson.Object
	for i := range objects {
		data, err := base64.RawURLEncoding.DecodeString(pieces[i])
		if err == nil {
			objects[i], err = strictjson.Parse(data)
		}
		if err != nil {
			return header, payload, reject("it is no JWT whose header and claims can be read")
		}
	}
	return objects[0], objects[1], nil
}

// checkHeader refuses tokens of another kind by their typ. Servers from before it was registered
// send "JWT" or nothing.
func checkHeader(header strictjson.Object) error {
	typ, said, err := header.String("typ")
	switch known := []string{"logout+jwt", "application/logout+jwt", "jwt"}; {
	case err != nil, said != header.Has("typ"), said && !slices.Contains(known, claims.LowerASCII(typ)):
		return reject("its typ says that it is no logout token")
	case header.Has("crit"):
		return reject("it has extensions that have to be understood (crit)")
	}
	return nil
}

// read reads the claims, which nobody has verified yet.
func (v *Verifier) read(payload strictjson.Object, now time.Time) (*Token, error) {
	issuer, _, err := payload.String("iss")
	if err != nil || issuer != v.Issuer {
		return nil, reject("iss is not the configured issuer")
	}
	if !isFor(payload, v.ClientID) {
		return nil, reject("it is for another client (aud)")
	}
	if payload.Has("nonce") { // section 2.4: lest it passes for an id_token, and an id_token for it
		return nil, reject("it has a nonce, as an id_token has")
	}
	issued, ok := date(payload, "iat")
	switch {
	case !ok:
		return nil, reject("iat is missing or no time")
	case now.After(issued.Add(maxAge)):
		return nil, reject("it was issued more than 5 minutes ago (iat)")
	case issued.After(now.Add(skew)):
		return nil, reject("it was issued in the future (iat)")
	}
	if expires, ok := date(payload, "exp"); payload.Has("exp") && (!ok || now.After(expires.Add(skew))) {
		return nil, reject("it has expired (exp)")
	}
	events, _, err := payload.Object("events")
	if err == nil {
		_, ok, err = events.Object(event)
	}
	if err != nil || !ok {
		return nil, reject("events do not say that it is a logout token")
	}
	t := &Token{Until: issued.Add(maxAge)}
	if t.ID, _, err = payload.String("jti"); err != nil || !isID(t.ID) {
		return nil, reject("jti is missing, or not 1 to 255 visible characters")
	}
	if err := t.readWhom(payload); err != nil {
		return nil, err
	}
	return t, nil
}

// readWhom reads whose sessions have ended.
func (t *Token) readWhom(payload strictjson.Object) error {
	for _, claim := range [...]struct {
		name string
		into *string
	}{{"sub", &t.Subject}, {"sid", &t.SID}} {
		if !payload.Has(claim.name) {
			continue
		}
		value, _, err := payload.String(claim.name)
		if err != nil || claims.Subject(value) != nil {
			return reject("%s is none that can be compared", claim.name)
		}
		*claim.into = value
	}
	if t.Subject == "" && t.SID == "" {
		return reject("it has neither sub nor sid")
	}
	return nil
}

// isFor reports whether aud is the client, or a list in which the client is (RFC 7519 section 4.1.3).
func isFor(payload strictjson.Object, client string) bool {
	one, said, err := payload.String("aud")
	if err == nil {
		return said && one == client
	}
	several, _, err := payload.Strings("aud")
	return err == nil && slices.Contains(several, client)
}

// date returns a NumericDate. Unlike [strictjson.Object.Time], it takes no text for one.
func date(payload strictjson.Object, name string) (at time.Time, ok bool) {
	if text, _ := payload.Raw(name); strings.HasPrefix(string(text), `"`) {
		return at, false
	}
	at, ok, err := payload.Time(name)
	return at, ok && err == nil
}

func isID(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// signature verifies a token that the server signs as it signs id_tokens: with a published key, or with
// the secret that the site holds.
func (v *Verifier) signature(ctx context.Context, raw, alg string) error {
	if alg == "HS256" && len(v.TokenKey) > 0 {
		if err := wire.VerifyHS256(raw, v.TokenKey); err != nil {
			return reject("it is not signed with TokenKey")
		}
		return nil
	}
	if !wire.Accepts(alg) {
		return reject("it is signed with an algorithm that is not accepted")
	}
	m, err := v.Server.Get(ctx)
	switch {
	case err != nil:
		return failure.OfServer(step, err)
	case m.Keys == nil:
		return reject("it cannot be verified: the server publishes no keys")
	}
	err = m.Keys.VerifyUnasked(ctx, raw)
	if errors.Is(err, wire.ErrSignature) {
		return reject("its signature is by none of the published keys")
	}
	return failure.OfServer(step, err)
}
