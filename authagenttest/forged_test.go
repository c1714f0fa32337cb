package authagenttest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

// faults holds a token to RFC 9068 section 4, and more, and names all that is wrong with it.
func (b *bench) faults(t *testing.T, token string) (found []string) {
	t.Helper()
	header, claims := part(t, token, 0), part(t, token, 1)
	now := float64(time.Now().Unix())
	number := func(name string) float64 { n, _ := claims[name].(float64); return n }
	for name, wrong := range map[string]bool{
		"typ":       header["typ"] != "at+jwt",
		"alg":       header["alg"] != b.s.Features.SignedTokens,
		"crit":      header["crit"] != nil,
		"jwk":       header["jwk"] != nil,
		"signature": header["alg"] == b.s.Features.SignedTokens && verify(b, token) != nil,
		"iss":       claims["iss"] != issuer,
		"aud":       claims["aud"] != resource,
		"sub":       claims["sub"] == nil,
		"no exp":    claims["exp"] == nil,
		"exp":       claims["exp"] != nil && number("exp") <= now,
		"nbf":       number("nbf") > now,
		"no iat":    claims["iat"] == nil,
		"size":      len(token) > 16<<10,
		"twice":     slices.Max(memberCounts(t, token)) > 1,
	} {
		if wrong {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// memberCounts is how often each member of the payload is there.
func memberCounts(t *testing.T, token string) []int {
	t.Helper()
	counts := map[string]int{}
	dec := json.NewDecoder(bytes.NewReader([]byte(decoded(t, strings.Split(token, ".")[1]))))
	dec.Token()
	for dec.More() {
		name, err := dec.Token()
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			t.Fatal("the payload cannot be read")
		}
		counts[fmt.Sprint(name)]++
	}
	var all []int
	for _, n := range counts {
		all = append(all, n)
	}
	return all
}

// TestAlgorithmConfusion: the secret of the forged HS256 is the published key, as PEM.
func TestAlgorithmConfusion(t *testing.T) {
	b := standards(t)
	token := b.s.ForgedToken(b.agent, authagenttest.APIToken{Audience: []string{resource}}, "HS256 with the public key")
	kid, _ := part(t, token, 0)["kid"].(string)
	der, err := x509.MarshalPKIXPublicKey(published(b, kid))
	if err != nil {
		t.Fatal(err)
	}
	i := strings.LastIndex(token, ".")
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(token[:i]))
	if got := decoded(t, token[i+1:]); got != string(mac.Sum(nil)) {
		t.Errorf("signature %x", got)
	}
}

// TestForgedToken: each kind is wrong in the respect that its name says, and in no other.
func TestForgedToken(t *testing.T) {
	want := map[string]string{
		"another audience":               "aud",
		"no audience":                    "aud",
		"another issuer":                 "iss",
		"expired":                        "exp",
		"not yet valid":                  "nbf",
		"no exp":                         "no exp",
		"no iat":                         "no iat",
		"no sub":                         "sub",
		"id_token":                       "aud typ",
		"typ of a logout token":          "typ",
		"critical header":                "crit",
		"unsigned":                       "alg",
		"changed after signing":          "signature",
		"HS256 with the public key":      "alg",
		"key of another server":          "signature",
		"key of another server, our kid": "signature",
		"key in its own header":          "jwk signature",
		"members twice":                  "twice",
		"huge":                           "size",
	}
	if kinds := authagenttest.Forgeries(); len(kinds) != len(want) {
		t.Errorf("%d kinds, %d are tested", len(kinds), len(want))
	}
	for _, alg := range []string{"ES256", "RS256"} {
		b := standards(t)
		b.s.Features = authagenttest.Features{SignedTokens: alg, ActorClaim: true, OpaqueTokens: true}
		good := authagenttest.APIToken{Audience: []string{resource}, Scopes: []string{"read"}, Form: "JWT"}
		honest := b.s.AccessToken(b.agent, good)
		if found := b.faults(t, honest); found != nil {
			t.Fatalf("the honest token: %s", found)
		}
		kid, _ := part(t, honest, 0)["kid"].(string)
		good.Form = ""
		for _, kind := range authagenttest.Forgeries() {
			token := b.s.ForgedToken(b.agent, good, kind)
			if found := strings.Join(b.faults(t, token), " "); found != want[kind] {
				t.Errorf("%s %s: wrong in %q, want %q", alg, kind, found, want[kind])
			}
			if strings.HasPrefix(kind, "key ") && verifyWith(b, published(b, kid), token) == nil {
				t.Errorf("%s %s: signed with our key", alg, kind)
			}
			if got := part(t, token, 0)["kid"]; (got == kid) != (kind == "key of another server, our kid") && strings.HasPrefix(kind, "key ") {
				t.Errorf("%s %s: kid %v", alg, kind, got)
			}
			if says := b.introspection(t, token, b.client); says["active"] != false {
				t.Errorf("%s %s: introspection says %v", alg, kind, says)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a kind that does not exist: no panic")
		}
	}()
	newBench(t).s.ForgedToken(&authagenttest.Agent{}, authagenttest.APIToken{}, "unsinged")
}
