package authagenttest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	methodKey     = "private_key_jwt"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	// How long an assertion may be good, and how far clocks may be apart.
	assertionLifetime = 5 * time.Minute
	assertionSkew     = 10 * time.Second
)

func (c Client) hasKeys() bool { return len(c.Keys) > 0 || c.JWKSURL != "" }

// assertionAlgorithms are the signatures that assertions may have.
func (c *call) assertionAlgorithms() []string {
	if c.Features.AssertionAlgorithms != nil {
		return c.Features.AssertionAlgorithms
	}
	return []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"}
}

// An assertion is a client's JWT, RFC 7523 section 3.
type assertion struct {
	header struct {
		Algorithm string          `json:"alg"`
		ID        string          `json:"kid"`
		Type      string          `json:"typ"`
		Critical  json.RawMessage `json:"crit"`
	}
	claims struct {
		Issuer    string `json:"iss"`
		Subject   string `json:"sub"`
		Audience  string `json:"aud"` // one string: what is good here must be good nowhere else
		ID        string `json:"jti"`
		IssuedAt  int64  `json:"iat"`
		Expires   int64  `json:"exp"`
		NotBefore int64  `json:"nbf"`
	}
	input     []byte // what is signed
	signature []byte
}

// parseAssertion returns nil for what is no JWT.
func parseAssertion(text string) *assertion {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil
	}
	a := &assertion{input: []byte(parts[0] + "." + parts[1])}
	for i, into := range []any{&a.header, &a.claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(data, into) != nil {
			return nil
		}
	}
	var err error
	if a.signature, err = base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return nil
	}
	return a
}

// authenticateByKey returns the client that has signed the assertion in the body.
func (c *call) authenticateByKey(p params) (*clientRow, answer) {
	refuse := func(text string) (*clientRow, answer) { return nil, errorAnswer(401, "invalid_client", text) }
	_, _, basic := c.r.BasicAuth()
	switch {
	case p["client_secret"] != "" || basic: // RFC 6749 section 2.3: one method in each request
		return nil, errorAnswer(400, "invalid_request", "The client proves itself in more than one way")
	case p["client_assertion_type"] != assertionType:
		return nil, errorAnswer(400, "invalid_request", "Unknown client_assertion_type")
	case !c.allows(methodKey):
		return refuse("Client authentication by " + methodKey + " is not supported")
	}
	a := parseAssertion(p["client_assertion"])
	if a == nil {
		return refuse("The assertion is not a JWT")
	}
	client := c.findClient(a.claims.Subject)
	if client == nil || p["client_id"] != "" && p["client_id"] != client.ID {
		return refuse("The assertion is about another client, or one that is not known")
	}
	if fault := c.assertionFault(client, a); fault != "" {
		return refuse(fault)
	}
	return client, answer{}
}

// assertionFault holds an assertion to RFC 7523 section 3. A jti is good once.
func (c *call) assertionFault(client *clientRow, a *assertion) string {
	expires, issued := time.Unix(a.claims.Expires, 0), time.Unix(a.claims.IssuedAt, 0)
	switch {
	case !slices.Contains(c.assertionAlgorithms(), a.header.Algorithm) || a.header.Critical != nil || a.header.Type != "" && a.header.Type != "JWT":
		return "The assertion's header is not acceptable"
	case !slices.ContainsFunc(client.keys(a.header.ID), a.signedBy):
		return "The assertion is signed by none of the client's keys"
	case a.claims.Issuer != client.ID || a.claims.Subject != client.ID:
		return "The assertion's iss and sub are not the client"
	case a.claims.Audience != c.issuer && a.claims.Audience != c.issuer+PathToken:
		return "The assertion is for another audience"
	case c.now.After(expires) || expires.After(c.now.Add(assertionLifetime)):
		return "The assertion's exp has passed, or is far away"
	case issued.After(c.now.Add(assertionSkew)) || c.now.Sub(issued) > assertionLifetime || time.Unix(a.claims.NotBefore, 0).After(c.now.Add(assertionSkew)):
		return "The assertion's iat is missing or not now"
	case a.claims.ID == "":
		return "The assertion has no jti"
	}
	for id, until := range c.db.proofs {
		if c.now.After(until) {
			delete(c.db.proofs, id)
		}
	}
	id := client.ID + " " + a.claims.ID
	if _, used := c.db.proofs[id]; used {
		return "The assertion was used before"
	}
	c.db.proofs[id] = expires
	return ""
}

// keys returns the keys that an assertion may be signed by which names this one. Registered keys
// have no ID here.
func (row *clientRow) keys(id string) []crypto.PublicKey {
	keys := slices.Clone(row.Keys)
	if key, ok := row.fetched[id]; ok {
		keys = append(keys, key)
	}
	return keys
}

func (a *assertion) signedBy(key crypto.PublicKey) bool {
	hash := map[string]crypto.Hash{"ES384": crypto.SHA384, "ES512": crypto.SHA512}[a.header.Algorithm]
	if hash == 0 {
		hash = crypto.SHA256
	}
	h := hash.New()
	h.Write(a.input)
	digest := h.Sum(nil)
	switch key := key.(type) {
	case *rsa.PublicKey:
		switch a.header.Algorithm {
		case "RS256":
			return rsa.VerifyPKCS1v15(key, hash, digest, a.signature) == nil
		case "PS256":
			return rsa.VerifyPSS(key, hash, digest, a.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		size := (key.Params().BitSize + 7) / 8
		if a.header.Algorithm != map[int]string{32: "ES256", 48: "ES384", 66: "ES512"}[size] || len(a.signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(a.signature[:size]), new(big.Int).SetBytes(a.signature[size:])
		return ecdsa.Verify(key, digest, r, s)
	case ed25519.PublicKey:
		return (a.header.Algorithm == "EdDSA" || a.header.Algorithm == "Ed25519") && ed25519.Verify(key, a.input, a.signature)
	}
	return false
}

// fetchKeys reads the keys of a client whose request has an assertion by a key that is not
// known. It holds no lock meanwhile: the client may have to ask this server first. A set that
// cannot be had changes nothing.
func (s *Server) fetchKeys(r *http.Request, body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || !form.Has("client_assertion") {
		return
	}
	a := parseAssertion(form.Get("client_assertion"))
	if a == nil {
		return
	}
	s.mu.Lock()
	row, client, address := s.db.client(a.claims.Subject), s.HTTPClient, ""
	if row != nil && row.fetched[a.header.ID] == nil {
		address = row.JWKSURL
	}
	s.mu.Unlock()
	if address == "" {
		return
	}
	if client == nil {
		client = s.Client()
	}
	keys, err := readSet(r.Context(), client, address)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if row.JWKSURL == address {
		row.fetched = keys
	}
}

// readSet fetches a JWK Set, RFC 7517 section 5. Of a key that is not known it takes no notice.
func readSet(ctx context.Context, client *http.Client, address string) (map[string]crypto.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := get(ctx, client, address)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, errors.Join(err, errors.New(resp.Status))
	}
	var set struct{ Keys []jwk }
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&set); err != nil {
		return nil, err
	}
	keys := make(map[string]crypto.PublicKey)
	for _, k := range set.Keys {
		if key := k.key(); key != nil && (k.Use == "" || k.Use == "sig") {
			keys[k.ID] = key
		}
	}
	return keys, nil
}

// key returns the public key that a member of a JWK Set describes, or nil.
func (k jwk) key() crypto.PublicKey {
	number := func(text string) []byte {
		b, _ := base64.RawURLEncoding.DecodeString(text) // what is no number makes no key
		return b
	}
	x, y := number(k.X), number(k.Y)
	switch {
	case k.Type == "RSA" && k.N != "" && k.E != "":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(number(k.N)), E: int(new(big.Int).SetBytes(number(k.E)).Int64())}
	case k.Type == "OKP" && k.Curve == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x)
	case k.Type == "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Curve]
		if curve == nil {
			return nil
		}
		if key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y)); err == nil {
			return key
		}
	}
	return nil
}
