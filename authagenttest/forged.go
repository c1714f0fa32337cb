package authagenttest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"time"
)

// A forgery makes a token wrong in one respect, and leaves all else as it is.
type forgery struct {
	kind   string
	change func(*call, *draft)
}

// forgeries are in the order of [Forgeries].
func forgeries() []forgery {
	return []forgery{
		{"another audience", claim("aud", "https://another.example/api")},
		{"no audience", claim("aud", nil)},
		{"another issuer", claim("iss", "https://another.example")},
		{"expired", expired},
		{"not yet valid", notYetValid},
		{"no exp", claim("exp", nil)},
		{"no iat", claim("iat", nil)},
		{"no sub", claim("sub", nil)},
		{"id_token", asIDToken},
		{"typ of a logout token", member("typ", "logout+jwt")},
		{"critical header", criticalHeader},
		{"unsigned", unsigned},
		{"changed after signing", changedAfterSigning},
		{"HS256 with the public key", hmacWithPublicKey},
		{"key of another server", anotherKey},
		{"key of another server, our kid", anotherKeyOurID},
		{"key in its own header", keyInHeader},
		{"members twice", membersTwice},
		{"huge", claim("padding", strings.Repeat("x", 64<<10))},
	}
}

// Forgeries returns the kinds of tokens that [Server.ForgedToken] makes.
func Forgeries() []string {
	var kinds []string
	for _, f := range forgeries() {
		kinds = append(kinds, f.kind)
	}
	return kinds
}

// ForgedToken returns a JWT as [Server.AccessToken] would issue it, whatever the Form, but wrong in one
// respect, which is one of [Forgeries]. An API has to refuse each of them:
//
//	for _, kind := range authagenttest.Forgeries() {
//		token := as.ForgedToken(agent, good, kind)
//		…
//	}
//
// The server has issued none of them, so introspection says of each that it is not active. For a
// token that the server has issued and that is of no use at the API, see the fields of [APIToken].
func (s *Server) ForgedToken(agent *Agent, like APIToken, kind string) string {
	all := forgeries()
	i := slices.IndexFunc(all, func(f forgery) bool { return f.kind == kind })
	if i < 0 {
		panic("authagenttest: no forgery is called " + kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.ownCall()
	d := c.draft(c.apiRow(c.grantOf(agent, like), like), like.Header)
	all[i].change(c, d)
	return d.token()
}

// claim is a forgery that replaces a claim, or removes it with nil.
func claim(name string, value any) func(*call, *draft) {
	return func(_ *call, d *draft) { changed(d.claims, map[string]any{name: value}) }
}

// member is a forgery that replaces a member of the header.
func member(name string, value any) func(*call, *draft) {
	return func(_ *call, d *draft) { d.header[name] = value }
}

func expired(c *call, d *draft) {
	d.claims["iat"], d.claims["exp"] = c.now.Add(-2*time.Hour).Unix(), c.now.Add(-time.Hour).Unix()
}

func notYetValid(c *call, d *draft) { d.claims["nbf"] = c.now.Add(30 * time.Minute).Unix() }

// asIDToken: issuer, key and subject of an id_token are the same, and its audience is the client.
func asIDToken(c *call, d *draft) {
	d.header["typ"], d.claims["aud"] = "JWT", d.claims["client_id"]
	changed(d.claims, map[string]any{"client_id": nil, "scope": nil, "jti": nil, "nonce": randomHex(16)})
}

// criticalHeader: RFC 7515 section 4.1.11 refuses what it has not heard of.
func criticalHeader(_ *call, d *draft) {
	d.header["crit"], d.header["https://another.example/rule"] = []string{"https://another.example/rule"}, true
}

func unsigned(_ *call, d *draft) {
	changed(d.header, map[string]any{"alg": "none", "kid": nil})
	d.sign = func(input string) string { return input + "." }
}

func changedAfterSigning(_ *call, d *draft) {
	header, honest := base64url(marshal(d.header)), d.sign
	d.payload = func(payload []byte) []byte {
		signed := honest(header + "." + base64url(payload))
		d.sign = func(input string) string { return input + signed[strings.LastIndex(signed, "."):] }
		d.claims["sub"] = "somebody_else"
		return marshal(d.claims)
	}
}

// hmacWithPublicKey is the confusion of algorithms: whoever takes the published key for the secret of
// HS256 accepts what everybody can sign.
func hmacWithPublicKey(c *call, d *draft) {
	d.header["alg"] = "HS256"
	der, err := x509.MarshalPKIXPublicKey(c.keys.keys[0].private.Public())
	if err != nil {
		panic(err) // the key is one of this package's own
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	d.sign = func(input string) string { return hmacSigned(secret, input) }
}

func anotherKey(c *call, d *draft) {
	key := newSigningKey(c.publishedAlgorithm())
	d.header["kid"], d.sign = key.id, key.signed
}

func anotherKeyOurID(c *call, d *draft) { d.sign = newSigningKey(c.publishedAlgorithm()).signed }

func keyInHeader(c *call, d *draft) {
	key := newSigningKey(c.publishedAlgorithm())
	d.header["kid"], d.header["jwk"], d.sign = key.id, key.public(), key.signed
}

// membersTwice: the first aud is of another API and the last one is right, so that two parsers can
// read two tokens (RFC 8725 section 2.4).
func membersTwice(_ *call, d *draft) {
	d.payload = func(payload []byte) []byte {
		return slices.Concat([]byte(`{"aud":"https://another.example/api",`), bytes.TrimPrefix(payload, []byte("{")))
	}
}
