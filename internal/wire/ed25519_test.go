package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"testing"
)

func verifyWith(keys []publicKey, token string) error {
	t, err := readJWS(token)
	if err != nil {
		return err
	}
	return t.verify(keys)
}

// TestVerifyEd25519: the key of the curve is found among keys of other kinds.
func TestVerifyEd25519(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	signed := text([]byte(`{"alg":"Ed25519"}`)) + "." + text([]byte(`{"sub":"agent_1"}`))
	token := signed + "." + text(ed25519.Sign(private, []byte(signed)))
	for _, test := range []struct {
		name  string
		keys  []crypto.PublicKey
		token string
		ok    bool
	}{
		{"alone", []crypto.PublicKey{public}, token, true},
		{"behind another kind", []crypto.PublicKey{other.Public(), public}, token, true},
		{"another kind alone", []crypto.PublicKey{other.Public()}, token, false},
		{"altered", []crypto.PublicKey{public}, token[:len(token)-4] + "AAAA", false},
	} {
		var keys []publicKey
		for _, key := range test.keys {
			keys = append(keys, publicKey{key: key})
		}
		if err := verifyWith(keys, test.token); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
