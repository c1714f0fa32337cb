package authagenttest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

func TestMetadataFeatures(t *testing.T) {
	b := newBench(t)
	b.s.Features = authagenttest.Features{
		OpenIDConfiguration: true,
		NoOAuthMetadata:     true,
		IDToken:             true,
		IssParameter:        true,
		AuthMethods:         []string{"client_secret_basic"},
	}
	if r := b.get(authagenttest.PathMetadata); r.status != 404 {
		t.Errorf("got %d", r.status)
	}
	r := b.get(authagenttest.PathDiscovery)
	for name, want := range map[string]string{
		"issuer":                                         issuer,
		"id_token_signing_alg_values_supported":          `["RS256"]`,
		"subject_types_supported":                        `["public"]`,
		"authorization_response_iss_parameter_supported": "true",
		"token_endpoint_auth_methods_supported":          `["client_secret_basic"]`,
	} {
		if got := r.member(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestSignedTokens(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			b := newBench(t)
			b.s.Features = authagenttest.Features{SignedTokens: alg, IDToken: true}
			r := b.token(b.redemption(b.code("nonce", "n-1")))
			access, id := r.member("access_token"), r.member("id_token")
			for _, token := range []string{access, id} {
				if err := verify(b, token); err != nil {
					t.Error(err)
				}
			}
			var claims struct{ Iss, Sub, Aud, Nonce string }
			json.Unmarshal([]byte(decoded(t, strings.Split(id, ".")[1])), &claims)
			if claims.Iss != issuer || claims.Sub != "agent_1" || claims.Aud != "site_1" || claims.Nonce != "n-1" {
				t.Errorf("claims %+v", claims)
			}

			b.s.RotateKeys() // the old key stays published
			if err := verify(b, access); err != nil {
				t.Error(err)
			}
			fresh, _ := b.pair("scope", "x")
			if err := verify(b, fresh); err != nil {
				t.Error(err)
			}
			b.s.RotateKeys() // and is withdrawn
			if verify(b, access) == nil {
				t.Error("a key of long ago is still published")
			}
		})
	}
}

func TestIDTokenOnlyForOpenID(t *testing.T) {
	b := newBench(t)
	b.s.Features = authagenttest.Features{SignedTokens: "ES256", IDToken: true}
	if got := b.token(b.redemption(b.code("scope", "email"))).member("id_token"); got != "" {
		t.Errorf("got %s", got)
	}
	_, refresh := b.pair()
	if got := b.token(b.refreshment(refresh)).member("id_token"); got != "" {
		t.Errorf("a refresh got %s", got)
	}
}

// published returns the key of the JWKS with this ID, or nil.
func published(b *bench, id string) crypto.PublicKey {
	b.t.Helper()
	var set struct {
		Keys []struct{ Kid, Kty, N, E, X, Y string }
	}
	json.Unmarshal([]byte(b.get(authagenttest.PathJWKS).body), &set)
	for _, k := range set.Keys {
		if k.Kid != id {
			continue
		}
		if k.Kty == "RSA" {
			return &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}
		}
		point, _ := base64.RawURLEncoding.DecodeString(k.X)
		y, _ := base64.RawURLEncoding.DecodeString(k.Y)
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, point...), y...))
		if err != nil {
			b.t.Fatal(err)
		}
		return pub
	}
	return nil
}

// verify checks a token's signature with the published key that it names.
func verify(b *bench, token string) error {
	b.t.Helper()
	kid, _ := part(b.t, token, 0)["kid"].(string)
	return verifyWith(b, published(b, kid), token)
}

func verifyWith(b *bench, key crypto.PublicKey, token string) error {
	b.t.Helper()
	parts := strings.Split(token, ".")
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	sig := []byte(decoded(b.t, parts[2]))
	switch pub := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig)
	case *ecdsa.PublicKey:
		if !ecdsa.Verify(pub, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			return errors.New("bad signature")
		}
		return nil
	}
	return errors.New("no such key is published")
}

func number(s string) *big.Int {
	b, _ := base64.RawURLEncoding.DecodeString(s)
	return new(big.Int).SetBytes(b)
}

func TestOpaqueTokens(t *testing.T) {
	b := newBench(t)
	b.s.Features.OpaqueTokens = true
	first, _ := b.pair()
	second, _ := b.pair()
	if !strings.HasPrefix(first, "at_") || strings.Contains(first, ".") || first == second || b.userInfo(first).status != 200 {
		t.Errorf("got %s and %s", first, second)
	}
}

func TestEmailVerified(t *testing.T) {
	b := newBench(t)
	no := false
	b.s.Features.EmailVerified = &no
	access, _ := b.pair("scope", "email")
	wantBody(t, b.userInfo(access), 200, `{"sub":"agent_1","email":"Alice@Example.com","email_verified":false,"name":"Alice"}`)
	access, _ = b.pair("scope", "profile")
	wantBody(t, b.userInfo(access), 200, `{"sub":"agent_1"}`)
}

func TestActorClaim(t *testing.T) {
	for userID, sub := range map[string]string{"": "carol@example.com", "u-7": "u-7"} {
		b := newBench(t)
		b.s.Features.ActorClaim = true
		b.agent = b.s.AddAgent(authagenttest.Agent{ID: "agent_3", Email: "carol@example.com", UserID: userID})
		access, _ := b.pair("scope", "profile")
		claims := decoded(t, strings.Split(access, ".")[1])
		if !strings.HasPrefix(claims, `{"sub":"`+sub+`"`) || !strings.HasSuffix(claims, `"act":{"sub":"agent_3"}}`) {
			t.Errorf("claims %s", claims)
		}
		wantBody(t, b.userInfo(access), 200, `{"sub":"`+sub+`","act":{"sub":"agent_3"}}`)
		if got := b.post(authagenttest.PathIntrospect, fields{"token": access}).member("act"); got != `{"sub":"agent_3"}` {
			t.Errorf("introspection: act %s", got)
		}
	}
}

func TestAttended(t *testing.T) {
	b := newBench(t)
	b.s.Attended = true
	page := b.get(b.authorizationURL())
	for _, want := range []string{"Let agent_1 answer", "Let agent_2 answer"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page.body, "ags_") {
		t.Error("the page has a secret")
	}
	id := b.requestID()
	press := fields{"request_id": id, "agent_id": "agent_2"}
	for name, value := range map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} {
		if r := b.postForm(authagenttest.PathDevAnswer, press, name, value); r.status != 403 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := b.postForm(authagenttest.PathDevAnswer, press.with("agent_id", "x"), "Origin", issuer); r.status != 404 {
		t.Errorf("unknown agent: %d %s", r.status, r.body)
	}
	if r := b.postForm(authagenttest.PathDevAnswer, press, "Origin", issuer); r.status != 200 {
		t.Errorf("got %d %s", r.status, r.body)
	}
	access, _ := b.mustPair(b.token(b.redemption(b.status(id).member("code"))))
	if got := b.userInfo(access).member("sub"); got != "agent_2" {
		t.Errorf("sub %q", got)
	}
}
