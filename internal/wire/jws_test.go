package wire

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/authagent-go/authagent/internal/strictjson"
)

// testKeys has a key of each kind, by what it is for.
func testKeys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	keys := map[string]crypto.Signer{}
	var err error
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if keys[alg], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	if keys["RSA"], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if keys["RSA of 1024 bits"], err = rsa.GenerateKey(rand.Reader, 1024); err != nil {
		t.Fatal(err)
	}
	if _, keys["Ed25519"], err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return keys
}

// kindOf returns which of testKeys an algorithm is for.
func kindOf(alg string) string {
	switch {
	case strings.HasPrefix(alg, "ES"):
		return alg
	case strings.HasPrefix(alg, "Ed"):
		return "Ed25519"
	}
	return "RSA"
}

func digestBy(alg string, signed []byte) (crypto.Hash, []byte) {
	switch alg[len(alg)-3:] {
	case "256":
		sum := sha256.Sum256(signed)
		return crypto.SHA256, sum[:]
	case "384":
		sum := sha512.Sum384(signed)
		return crypto.SHA384, sum[:]
	}
	sum := sha512.Sum512(signed)
	return crypto.SHA512, sum[:]
}

// signWith returns the signature of a token by an algorithm, made without the code that verifies it.
func signWith(t *testing.T, key crypto.Signer, alg string, signed []byte) []byte {
	t.Helper()
	hash, digest := digestBy(alg, signed)
	var signature []byte
	var err error
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, signed)
	case *ecdsa.PrivateKey:
		size := (key.Curve.Params().BitSize + 7) / 8
		var r, s *big.Int
		r, s, err = ecdsa.Sign(rand.Reader, key, digest)
		signature = slices.Concat(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size)))
	case *rsa.PrivateKey:
		if strings.HasPrefix(alg, "PS") {
			signature, err = rsa.SignPSS(rand.Reader, key, hash, digest, nil)
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// TestVerify: each algorithm verifies what a key of its own kind has signed, and nothing else. The library go-oidc,
// which reads no Ed25519 by that name, says the same of every token.
func TestVerify(t *testing.T) {
	text := base64.RawURLEncoding.EncodeToString
	keys := testKeys(t)
	for _, alg := range Algorithms() {
		kind := kindOf(alg)
		key := keys[kind]
		input := []byte(text([]byte(`{"alg":"`+alg+`","kid":"k"}`)) + "." + text([]byte(`{"sub":"agent_1"}`)))
		good := signWith(t, key, alg, input)
		half := len(good) / 2
		zeros := make([]byte, half)
		signatures := map[string][]byte{
			"good": good, "none": {}, "a byte less": good[:len(good)-1], "a byte more": append(slices.Clone(good), 0), "zeros": make([]byte, len(good)),
			"no first number": slices.Concat(zeros, good[half:]), "no second number": slices.Concat(good[:half], zeros),
			"numbers swapped": slices.Concat(good[half:], good[:half]), "all ones": bytes.Repeat([]byte{0xff}, len(good)),
			"of another text": signWith(t, key, alg, append([]byte("x"), input...)), "zero in front": append([]byte{0}, good...),
			"in the middle": slices.Concat(good[:half], []byte{0, 0}, good[half:]),
		}
		if ec, ok := key.(*ecdsa.PrivateKey); ok {
			order := ec.Params().N.FillBytes(make([]byte, half))
			signatures["the first number is the order"] = slices.Concat(order, good[half:])
			signatures["the second number is the order"] = slices.Concat(good[:half], order)
			_, digest := digestBy(alg, input)
			der, err := ecdsa.SignASN1(rand.Reader, ec, digest)
			if err != nil {
				t.Fatal(err)
			}
			signatures["in ASN.1"] = der
		}
		for name, signature := range signatures {
			token := string(input) + "." + text(signature)
			for other, by := range keys {
				want := name == "good" && other == kind
				if err := verifyWith([]publicKey{{"k", by.Public()}}, token); (err == nil) != want || err != nil && !errors.Is(err, ErrSignature) {
					t.Errorf("%s, signature %s, key for %s: %v", alg, name, other, err)
				}
				if _, err := (&oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{by.Public()}}).VerifySignature(t.Context(), token); alg != "Ed25519" && (err == nil) != want {
					t.Errorf("%s, signature %s, key for %s: go-oidc says %v", alg, name, other, err)
				}
			}
		}
		for other, by := range keys { // a key of another kind has signed, in its own way
			token := string(input) + "." + text(signWith(t, by, alg, input))
			want := other == kind || kind == "RSA" && other == "RSA of 1024 bits"
			if err := verifyWith([]publicKey{{"k", by.Public()}}, token); (err == nil) != want {
				t.Errorf("%s, signed with the key for %s: %v", alg, other, err)
			}
		}
		if err := verifyWith([]publicKey{{"else", key.Public()}}, string(input)+"."+text(good)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: a key by another name: %v", alg, err)
		}
	}
}

// TestVerifySmallRSA: keys that are shorter than RFC 7518 section 3.3 wants verify what they have signed, as they did before,
// down to the 1024 bits that are read (see TestKeySize).
func TestVerifySmallRSA(t *testing.T) {
	key := testKeys(t)["RSA of 1024 bits"]
	text := base64.RawURLEncoding.EncodeToString
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		input := text([]byte(`{"alg":"`+alg+`"}`)) + "." + text([]byte(`{}`))
		if err := verifyWith([]publicKey{{key: key.Public()}}, input+"."+text(signWith(t, key, alg, []byte(input)))); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// TestOtherAlgorithms: a published key verifies by the accepted algorithms alone, whatever a token calls its own. Neither is
// it a shared secret (RFC 8725 section 2.1).
func TestOtherAlgorithms(t *testing.T) {
	text := base64.RawURLEncoding.EncodeToString
	for kind, key := range testKeys(t) {
		signedAs := map[string]string{"RSA": "RS512", "RSA of 1024 bits": "RS512", "Ed25519": "EdDSA"}[kind]
		if signedAs == "" {
			signedAs = kind
		}
		for _, alg := range []string{
			"", "none", "None", "HS256", "HS512", "RS", "PS", "RS128", "RS1", "RS5120", "PS999", "rs256", "RS256 ", "ES", "ES256K", "es256", "EdDSA ", "Ed448", "ed25519", "A256KW",
		} {
			input := text([]byte(`{"alg":"`+alg+`"}`)) + "." + text([]byte(`{}`))
			token := input + "." + text(signWith(t, key, signedAs, []byte(input)))
			if err := verifyWith([]publicKey{{key: key.Public()}}, token); !errors.Is(err, ErrSignature) {
				t.Errorf("alg %q by a key for %s: %v", alg, kind, err)
			}
		}
	}
}

// TestJWSForm: what is no token in the compact form, or has extensions, is refused.
func TestJWSForm(t *testing.T) {
	text := base64.RawURLEncoding.EncodeToString
	key := testKeys(t)["ES256"]
	head, body := text([]byte(`{"alg":"ES256"}`)), text([]byte(`{}`))
	for input, ok := range map[string]bool{
		head + "." + body:               true,
		head:                            false,
		head + "." + body + "." + body:  false,
		"." + body:                      false,
		head + "=." + body:              false,
		text([]byte(`[]`)) + "." + body: false,
		text([]byte(`{"alg":"ES256","alg":"ES256"}`)) + "." + body:                    false,
		text([]byte(`{"alg":["ES256"]}`)) + "." + body:                                false,
		text([]byte(`{"alg":"ES256","kid":1}`)) + "." + body:                          false,
		text([]byte(`{"alg":"ES256","crit":["exp"],"exp":1}`)) + "." + body:           false,
		text([]byte(`{"alg":"ES256","crit":[]}`)) + "." + body:                        false,
		text([]byte(`{"alg":"ES256","crit":["b64"],"b64":true}`)) + "." + body:        false,
		text([]byte(`{"alg":"ES256","`+strings.Repeat("x", 999)+`":1}`)) + "." + body: true,
	} {
		token := input + "." + text(signWith(t, key, "ES256", []byte(input)))
		if err := verifyWith([]publicKey{{key: key.Public()}}, token); (err == nil) != ok || err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// TestASN1Signature: the numbers of a signature are written as encoding/asn1 writes them, however many zeros they begin with.
func TestASN1Signature(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key := &ecdsa.PublicKey{Curve: curve}
		size := (curve.Params().BitSize + 7) / 8
		for zeros := range size + 1 {
			for _, first := range []byte{0x01, 0x7f, 0x80, 0xff} {
				number := make([]byte, size)
				rand.Read(number[zeros:])
				if zeros < size {
					number[zeros] = first
				}
				clear(number[:zeros])
				other := bytes.Repeat([]byte{first}, size)
				want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(number), new(big.Int).SetBytes(other)})
				if err != nil {
					t.Fatal(err)
				}
				if got := asn1Signature(key, slices.Concat(number, other)); !bytes.Equal(got, want) {
					t.Fatalf("P-%d, %d zeros, then %#x: %x, want %x", curve.Params().BitSize, zeros, first, got, want)
				}
			}
		}
		for _, length := range []int{0, 1, size, 2*size - 1, 2*size + 1, 3 * size} {
			if got := asn1Signature(key, make([]byte, length)); got != nil {
				t.Errorf("P-%d, %d bytes: %x", curve.Params().BitSize, length, got)
			}
		}
	}
}

// FuzzJWS: whatever a token looks like, go-oidc does not refuse what is taken here. It looks at keys and certificates in
// a header, which nothing here does.
func FuzzJWS(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	set := &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{key.Public()}}
	f.Add([]byte(`{"alg":"ES256","kid":"k"}`), []byte(`{}`), []byte{0})
	f.Add([]byte(`{"alg":"ES256","typ":"JWT"}`), []byte(`{"sub":"a"}`), []byte{})
	f.Fuzz(func(t *testing.T, header, payload, change []byte) {
		if o, err := strictjson.Parse(header); err == nil {
			for name := range o.Names() {
				if !slices.Contains([]string{"alg", "kid", "typ", "crit"}, name) {
					t.Skip("a header of more members")
				}
			}
		}
		text := base64.RawURLEncoding.EncodeToString
		input := []byte(text(header) + "." + text(payload))
		digest := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		signature := slices.Concat(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32)))
		for i, c := range change {
			signature[i%len(signature)] ^= c
		}
		token := string(input) + "." + text(signature)
		ours := verifyWith([]publicKey{{key: key.Public(), id: "k"}}, token)
		if _, theirs := set.VerifySignature(context.Background(), token); ours == nil && theirs != nil {
			t.Errorf("%s: taken, and go-oidc says %v", token, theirs)
		}
	})
}
