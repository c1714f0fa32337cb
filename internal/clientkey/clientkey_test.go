package clientkey_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/internal/clientkey"
)

// A signer is one of a site's own making.
type signer struct {
	public crypto.PublicKey
	sign   func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (s *signer) Public() crypto.PublicKey { return s.public }

func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(digest, opts)
}

func mustRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustEC(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustRead(t testing.TB, signers ...crypto.Signer) clientkey.Keys {
	t.Helper()
	keys, faults := clientkey.Read(signers)
	if keys == nil {
		t.Fatal(faults)
	}
	return keys
}

func decoded(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// members are those of each key of a set.
func members(t testing.TB, set []byte) []map[string]string {
	t.Helper()
	var s struct{ Keys []map[string]string }
	if err := json.Unmarshal(set, &s); err != nil {
		t.Fatal(err)
	}
	return s.Keys
}

// TestThumbprint: the examples of RFC 7638 section 3.1 and RFC 8037 appendix A.3.
func TestThumbprint(t *testing.T) {
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	keys := mustRead(t,
		&signer{public: &rsa.PublicKey{N: new(big.Int).SetBytes(decoded(t, n)), E: 65537}},
		&signer{public: ed25519.PublicKey(decoded(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))},
	)
	want := []string{"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}
	for i, key := range members(t, keys.Set(nil, true)) {
		if key["kid"] != want[i] {
			t.Errorf("kid %q, want %q", key["kid"], want[i])
		}
	}
}

// TestAssertion: each kind of key signs with the algorithm that the server takes, and another
// implementation verifies it. The claims are those of RFC 7523 section 3.
func TestAssertion(t *testing.T) {
	rsaKey, edKey := mustRSA(t, 2048), mustEd25519(t)
	for _, test := range []struct {
		key   crypto.Signer
		taken []string
		want  string
	}{
		{rsaKey, nil, "RS256"},
		{rsaKey, []string{"PS256", "RS256"}, "RS256"},
		{rsaKey, []string{"ES256", "PS256"}, "PS256"},
		{rsaKey, []string{"ES256"}, "RS256"},
		{mustEC(t, elliptic.P256()), nil, "ES256"},
		{mustEC(t, elliptic.P384()), []string{"RS256"}, "ES384"},
		{mustEC(t, elliptic.P521()), nil, "ES512"},
		{edKey, nil, "EdDSA"},
		{edKey, []string{"Ed25519", "EdDSA"}, "EdDSA"},
		{edKey, []string{"Ed25519"}, "Ed25519"},
	} {
		keys := mustRead(t, test.key)
		before := time.Now().Unix()
		text, err := keys.Assertion("site", "https://as.example", test.taken)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := keys.Assertion("site", "https://as.example", test.taken)
		parts := strings.Split(text, ".")
		var header, claims map[string]any
		json.Unmarshal(decoded(t, parts[0]), &header)
		json.Unmarshal(decoded(t, parts[1]), &claims)
		kid := members(t, keys.Set(nil, true))[0]["kid"]
		if diff := cmp.Diff(map[string]any{"alg": test.want, "kid": kid, "typ": "JWT"}, header); diff != "" {
			t.Errorf("%s: header: %s", test.want, diff)
		}
		issued, _ := claims["iat"].(float64)
		id, _ := claims["jti"].(string)
		if int64(issued) < before || int64(issued) > time.Now().Unix() || len(id) < 26 || strings.Contains(string(decoded(t, strings.Split(again, ".")[1])), id) {
			t.Errorf("%s: iat %v, jti %q, another %s", test.want, issued, id, again)
		}
		if diff := cmp.Diff(map[string]any{
			"iss": "site", "sub": "site", "aud": "https://as.example", "iat": issued, "exp": issued + 60, "jti": id,
		}, claims); diff != "" {
			t.Errorf("%s: claims: %s", test.want, diff)
		}
		verifies := false
		if test.want == "Ed25519" { // which go-oidc does not know
			verifies = ed25519.Verify(edKey.Public().(ed25519.PublicKey), []byte(parts[0]+"."+parts[1]), decoded(t, parts[2]))
		} else {
			_, err := (&oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{test.key.Public()}}).VerifySignature(context.Background(), text)
			verifies = err == nil
		}
		if !verifies {
			t.Errorf("%s: the signature does not verify", test.want)
		}
		if alg, ok := keys.Fits(test.taken); alg != test.want || ok != (test.taken == nil || slices.Contains(test.taken, test.want)) {
			t.Errorf("%s: fits %v: %s %v", test.want, test.taken, alg, ok)
		}
	}
}

// TestFixedSize: r and s have their full size, one that begins with a zero too (RFC 7515
// appendix A.3, RFC 7518 section 3.4).
func TestFixedSize(t *testing.T) {
	key := mustEC(t, elliptic.P256())
	keys := mustRead(t, key)
	for range 20_000 {
		text, err := keys.Assertion("site", "as", nil)
		if err != nil {
			t.Fatal(err)
		}
		dot := strings.LastIndexByte(text, '.')
		signature, digest := decoded(t, text[dot+1:]), sha256.Sum256([]byte(text[:dot]))
		if len(signature) != 64 {
			t.Fatalf("a signature of %d bytes", len(signature))
		}
		if signature[0] == 0 || signature[32] == 0 {
			r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
			if !ecdsa.Verify(&key.PublicKey, digest[:], r, s) {
				t.Error("the signature does not verify")
			}
			return
		}
	}
	t.Error("no signature had a zero in front")
}

// TestBadKeys: what cannot sign is refused, by its place and reason.
func TestBadKeys(t *testing.T) {
	good := mustEC(t, elliptic.P256())
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key  crypto.Signer
		want string
	}{
		"nil":             {nil, "is nil"},
		"a nil RSA key":   {(*rsa.PrivateKey)(nil), "Public panics"},
		"a short RSA key": {short, "1024 bits"},
		"P-224":           {mustEC(t, elliptic.P224()), "no ECDSA key on P-256"},
		"half of Ed25519": {mustEd25519(t)[:40], "of 40 bytes"},
		"no Ed25519":      {ed25519.PrivateKey{}, "of 0 bytes"},
		"no public key":   {&signer{}, "no RSA key"},
		"another kind":    {&signer{public: "a key"}, "no RSA key"},
		"off its curve":   {&signer{public: offCurve()}, "curve"},
		"the same again":  {good, "is the same key as number 0"},
	} {
		keys, faults := clientkey.Read([]crypto.Signer{good, test.key})
		if keys != nil || len(faults) != 2 || faults[0] != nil || faults[1] == nil || !strings.Contains(faults[1].Error(), test.want) {
			t.Errorf("%s: %v, %v, want %q", name, keys, faults, test.want)
		}
	}
}

// TestBadSigners: what a signer gives is sent only if it is a signature by its key.
func TestBadSigners(t *testing.T) {
	ec, rsaKey, ed := mustEC(t, elliptic.P256()), mustRSA(t, 2048), mustEd25519(t)
	lost := errors.New("vault is sealed")
	for name, s := range map[string]*signer{
		"an error":          {ec.Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return []byte("x"), lost }},
		"RSA, an error":     {rsaKey.Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, lost }},
		"Ed25519, an error": {ed.Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, lost }},
		"nothing":           {ec.Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }},
		"another key": {ec.Public(), func(d []byte, o crypto.SignerOpts) ([]byte, error) {
			return mustEC(t, elliptic.P256()).Sign(rand.Reader, d, o)
		}},
		"r and s as they are sent": {ec.Public(), func(d []byte, _ crypto.SignerOpts) ([]byte, error) {
			r, s, err := ecdsa.Sign(rand.Reader, ec, d)
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), err
		}},
		"more than a signature": {ec.Public(), func(d []byte, o crypto.SignerOpts) ([]byte, error) {
			der, err := ec.Sign(rand.Reader, d, o)
			return append(der, 0), err
		}},
		"RSA, another key": {rsaKey.Public(), func(d []byte, o crypto.SignerOpts) ([]byte, error) { return mustRSA(t, 2048).Sign(rand.Reader, d, o) }},
		"RSA, another padding": {rsaKey.Public(), func(d []byte, _ crypto.SignerOpts) ([]byte, error) {
			return rsaKey.Sign(rand.Reader, d, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
		}},
		"Ed25519, of a digest": {ed.Public(), func(d []byte, _ crypto.SignerOpts) ([]byte, error) { return ed25519.Sign(ed, d[:16]), nil }},
	} {
		text, err := mustRead(t, s).Assertion("site", "as", nil)
		if err == nil || text != "" || strings.HasSuffix(name, "error") != errors.Is(err, lost) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// TestSet: the set has the public members of each key and no other, in their order. An algorithm
// that depends on the server is there when the server is known.
func TestSet(t *testing.T) {
	keys := mustRead(t, mustRSA(t, 2048), mustEC(t, elliptic.P521()), mustEd25519(t))
	want := []struct {
		kty, alg string
		members  string
	}{
		{"RSA", "PS256", "alg e kid kty n use"},
		{"EC", "ES512", "alg crv kid kty use x y"},
		{"OKP", "EdDSA", "alg crv kid kty use x"},
	}
	for i, key := range members(t, keys.Set([]string{"PS256"}, true)) {
		if got := strings.Join(slices.Sorted(maps.Keys(key)), " "); got != want[i].members || key["kty"] != want[i].kty || key["alg"] != want[i].alg || key["use"] != "sig" {
			t.Errorf("key %d: %v", i, key)
		}
	}
	unknown := members(t, keys.Set(nil, false))
	if _, has := unknown[0]["alg"]; has || unknown[1]["alg"] != "ES512" {
		t.Errorf("of a server that is not known: %v", unknown)
	}
	if one, other := keys.Set(nil, true), keys.Set(nil, true); string(one) != string(other) {
		t.Error("two sets differ")
	}
	if got := string(clientkey.Keys(nil).Set(nil, true)); got != "{\"keys\":[]}\n" {
		t.Errorf("no keys: %s", got)
	}
}

// TestHandler: the set is served to GET and HEAD, for an hour.
func TestHandler(t *testing.T) {
	h := mustRead(t, mustEC(t, elliptic.P256())).Handler(func() ([]string, bool) { return nil, false })
	for method, status := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "OPTIONS": 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/keys", nil))
		if w.Code != status || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
		switch {
		case status == http.StatusOK && (w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "public, max-age=3600"):
			t.Errorf("%s: %v", method, w.Header())
		case status != http.StatusOK && w.Header().Get("Allow") != "GET, HEAD":
			t.Errorf("%s: Allow %q", method, w.Header().Get("Allow"))
		}
	}
}

// offCurve is a key that no library makes, whose point is not on its curve.
func offCurve() *ecdsa.PublicKey {
	key := reflect.New(reflect.TypeFor[ecdsa.PublicKey]())
	key.Elem().FieldByName("Curve").Set(reflect.ValueOf(elliptic.P256()))
	for _, coordinate := range []string{"X", "Y"} {
		key.Elem().FieldByName(coordinate).Set(reflect.ValueOf(big.NewInt(1)))
	}
	return key.Interface().(*ecdsa.PublicKey)
}
