package benchmarks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A signer signs id_tokens with one algorithm.
type signer struct {
	alg    string
	key    crypto.Signer
	header string // of a JWT, encoded
}

// signers are of the algorithms that providers use.
func signers() []*signer {
	return []*signer{
		newSigner("ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))),
		newSigner("RS256", must(rsa.GenerateKey(rand.Reader, 2048))),
		newSigner("EdDSA", ed25519.NewKeyFromSeed(key())),
	}
}

func newSigner(alg string, key crypto.Signer) *signer {
	return (&signer{alg: alg, key: key}).as("JWT")
}

// as returns a signer with the same key whose JWTs are of this type.
func (s *signer) as(kind string) *signer {
	return &signer{alg: s.alg, key: s.key, header: encode(object{"alg": s.alg, "typ": kind, "kid": "1"}.json())}
}

// sign returns a JWT.
func (s *signer) sign(claims []byte) string {
	text := s.header + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	var signature []byte
	switch key := s.key.(type) {
	case *ecdsa.PrivateKey:
		r, v, err := ecdsa.Sign(rand.Reader, key, digest[:])
		signature = make([]byte, 64)
		must(r, err).FillBytes(signature[:32])
		v.FillBytes(signature[32:])
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(text))
	case *rsa.PrivateKey:
		signature = must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]))
	}
	return text + "." + encode(signature)
}

// verify is the signature of a JWT alone, which is a part of the limit.
func (s *signer) verify(token []byte) bool {
	dot := bytes.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.AppendDecode(nil, token[dot+1:])
	if err != nil {
		return false
	}
	digest := sha256.Sum256(token[:dot])
	switch key := s.key.Public().(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest[:], asn1(signature))
	case ed25519.PublicKey:
		return ed25519.Verify(key, token[:dot], signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}

// asn1 returns the two numbers of an ECDSA signature as crypto/ecdsa takes them.
func asn1(signature []byte) []byte {
	var numbers []byte
	for _, n := range [][]byte{signature[:32], signature[32:]} {
		if n = bytes.TrimLeft(n, "\x00"); len(n) == 0 || n[0] >= 0x80 {
			n = append([]byte{0}, n...)
		}
		numbers = append(append(numbers, 2, byte(len(n))), n...)
	}
	return append([]byte{0x30, byte(len(numbers))}, numbers...)
}

// jwk is the public key as a provider publishes it.
func (s *signer) jwk() object {
	jwk := object{"alg": s.alg, "use": "sig", "kid": "1"}
	switch key := s.key.Public().(type) {
	case *ecdsa.PublicKey:
		return keySetOf(key)
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", encode(key)
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", encode(key.N.Bytes()), "AQAB"
	}
	return jwk
}

// newSigningProvider returns a provider that signs an id_token for each code, as providers do. The
// code has the nonce in it, since nobody logs in here.
func newSigningProvider(s *signer) *provider {
	p := startProvider(s.alg, object{"keys": []object{s.jwk()}}, (*httptest.Server).Start)
	p.signer = s
	now := time.Now()
	p.access = unsigned(object{"iss": p.URL, "sub": agentID, "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix()})
	answer := object{
		"access_token": p.access, "token_type": "Bearer", "expires_in": 3600,
		"refresh_token": "refresh-0123456789abcdef0123456789abcdef", "scope": "openid profile email", "id_token": "…",
	}
	before, after, _ := bytes.Cut(answer.json(), []byte("…"))
	claims := object{
		"iss": p.URL, "sub": agentID, "aud": oidcClientID, "nonce": "…", "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
		"auth_time": now.Unix(), "name": "Alice", "model": "model-1",
	}
	start, end, _ := bytes.Cut(claims.json(), []byte("…"))
	p.mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		text := string(body)
		if strings.Contains(text, "urn:authagent:encoding-probe") {
			writeJSON(w, http.StatusBadRequest, []byte(`{"error":"unsupported_grant_type"}`))
			return
		}
		_, code, _ := strings.Cut(text, "code="+codePrefix)
		code, _, _ = strings.Cut(code, "&")
		token := s.sign(slices.Concat(start, []byte(code), end))
		writeJSON(w, http.StatusOK, slices.Concat(before, []byte(token), after))
	})
	return p
}

// codePrefix begins each code. The nonce of its login follows.
const codePrefix = "code-0123456789abcdef-"

// signedSubjects are those that verify an id_token, and two limits: "limit" is the bare round trips and the signature,
// "round-trips" leaves the signature out.
func signedSubjects() []subject {
	return []subject{
		{"authagent", authagentDefault}, {"zitadel", zitadelSite}, {"cap", capSite}, {"limit", bareSite},
		{"round-trips", func(p *provider) *site { return roundTrips(p, func([]byte) {}) }},
	}
}

// verify verifies the signature of the id_token in an answer of the token endpoint.
func (p *provider) verify(body []byte) {
	_, token, _ := bytes.Cut(body, []byte(`"id_token":"`))
	token, _, _ = bytes.Cut(token, []byte(`"`))
	if !p.signer.verify(token) {
		panic(fmt.Sprintf("benchmarks: the provider's signature is wrong: %s", body))
	}
}

// formOf is what the bare round trips send to the token endpoint.
func formOf(id string) []byte {
	return []byte(url.Values{
		"grant_type": {"authorization_code"}, "code": {codePrefix + nonce}, "redirect_uri": {origin + callbackPath},
		"client_id": {id}, "client_secret": {clientSecret}, "code_verifier": {strings.Repeat("v", 43)},
	}.Encode())
}
