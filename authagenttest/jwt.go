package authagenttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
)

// An actor is the party that acts for the subject, RFC 8693 section 4.1.
type actor struct {
	Subject string `json:"sub"`
}

// accessClaims are an access token's claims in the published order; what
// follows exp is not published.
type accessClaims struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
	Model    string `json:"model"`
	Scope    string `json:"scope"`
	Issuer   string `json:"iss"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti,omitempty"`
	Actor    *actor `json:"act,omitempty"`
}

type idClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	Nonce    string `json:"nonce,omitempty"`
	SID      string `json:"sid,omitempty"`
	Actor    *actor `json:"act,omitempty"`
}

type jwtHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid,omitempty"`
	Type      string `json:"typ,omitempty"`
}

// accessToken makes an access token. Without a jti it says nothing that another
// token of this second does not.
func (c *call) accessToken(g grant) string {
	if c.Features.OpaqueTokens {
		return "at_" + randomHex(32)
	}
	claims := accessClaims{
		ClientID: g.clientID,
		Model:    g.model,
		Scope:    g.scope,
		Issuer:   c.issuer,
		IssuedAt: c.now.Unix(),
		Expires:  c.now.Unix() + int64(accessLifetime.Seconds()),
	}
	claims.Subject, claims.Actor = c.subject(inAccessToken, g)
	if !c.Quirks.SameSecondTokens {
		claims.ID = randomHex(16)
	}
	said := c.complete(inAccessToken, g, claims)
	if alg := c.Features.SignedTokens; alg != "" {
		return c.keys.current(alg).sign(said)
	}
	return hmacJWT(c.JWTSecret, said)
}

// idToken makes an ID token. The e-mail address is left to /userinfo.
func (c *call) idToken(g grant, nonce string) string {
	claims := idClaims{
		Issuer:   c.issuer,
		Audience: g.clientID,
		Expires:  c.now.Unix() + int64(accessLifetime.Seconds()),
		IssuedAt: c.now.Unix(),
		Nonce:    nonce,
	}
	claims.Subject, claims.Actor = c.subject(inIDToken, g)
	if c.Features.SessionIDs {
		claims.SID = g.sid
	}
	return c.keys.current(c.signingAlgorithm()).sign(c.complete(inIDToken, g, claims))
}

// signingAlgorithm is the algorithm of the keys of access tokens and id_tokens, or empty if there are
// none. For that of the tokens for APIs too, see publishedAlgorithm.
func (c *call) signingAlgorithm() string {
	if c.Features.SignedTokens == "" && c.Features.IDToken {
		return "RS256"
	}
	return c.Features.SignedTokens
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func signingInput(header, claims any) string {
	return base64url(marshal(header)) + "." + base64url(marshal(claims))
}

// hmacJWT signs with HS256. The published header has neither typ nor kid.
func hmacJWT(secret []byte, claims any) string {
	return hmacSigned(secret, signingInput(jwtHeader{Algorithm: "HS256"}, claims))
}

func hmacSigned(secret []byte, input string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64url(mac.Sum(nil))
}

// A signingKey is one whose public half the JWKS shows.
type signingKey struct {
	id        string
	algorithm string
	private   crypto.Signer
}

func newSigningKey(algorithm string) *signingKey {
	k := &signingKey{id: randomHex(8), algorithm: algorithm}
	var err error
	switch algorithm {
	case "RS256":
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		panic("authagenttest: Features.SignedTokens: " + algorithm + " is neither RS256 nor ES256")
	}
	if err != nil {
		panic(err) // the system's randomness does not fail
	}
	return k
}

func (k *signingKey) sign(claims any) string {
	return k.signed(signingInput(jwtHeader{Algorithm: k.algorithm, KeyID: k.id, Type: "JWT"}, claims))
}

func (k *signingKey) signed(input string) string {
	digest := sha256.Sum256([]byte(input))
	return input + "." + base64url(k.signature(digest[:]))
}

func (k *signingKey) signature(digest []byte) []byte {
	if key, ok := k.private.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			panic(err)
		}
		return append(fixed(r), fixed(s)...) // RFC 7518 section 3.4, not ASN.1
	}
	sig, err := k.private.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return sig
}

// fixed is a P-256 integer in 32 bytes.
func fixed(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

// A jwk is a public key as the JWKS shows it, RFC 7517.
type jwk struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

func (k *signingKey) public() jwk {
	j := jwk{Use: "sig", Algorithm: k.algorithm, ID: k.id}
	switch pub := k.private.Public().(type) {
	case *rsa.PublicKey:
		j.Type = "RSA"
		j.N = base64url(pub.N.Bytes())
		j.E = base64url(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4, then x and y
		if err != nil {
			panic(err)
		}
		j.Type, j.Curve = "EC", "P-256"
		j.X, j.Y = base64url(point[1:33]), base64url(point[33:])
	}
	return j
}

// A keyRing holds the key in use and the one before it. Keys are made when they
// are first needed: an RSA key takes a moment.
type keyRing struct {
	keys []*signingKey // newest first, at most two
}

// current returns the key in use, which is a new one when another algorithm is asked for.
func (r *keyRing) current(algorithm string) *signingKey {
	if len(r.keys) == 0 || r.keys[0].algorithm != algorithm {
		r.rotate(algorithm)
	}
	return r.keys[0]
}

func (r *keyRing) rotate(algorithm string) {
	r.keys = append([]*signingKey{newSigningKey(algorithm)}, r.keys...)
	r.keys = r.keys[:min(len(r.keys), 2)]
}

// RotateKeys puts a new signing key in use. The key before it stays published,
// so that tokens already out can be verified; the one before that is withdrawn.
// Where no keys are published, it does nothing.
func (s *Server) RotateKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{Server: s}
	if alg := c.publishedAlgorithm(); alg != "" {
		s.keys.current(alg)
		s.keys.rotate(alg)
	}
}
