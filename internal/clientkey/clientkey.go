// Package clientkey lets a site prove itself to its authorization server with a key instead
// of a secret: private_key_jwt (RFC 7523 section 2.2, OpenID Connect Core section 9). It
// signs the assertions, and publishes the keys by which the server verifies them.
package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/authagent-go/authagent/internal/panics"
)

// minRSA is the shortest modulus that RFC 7518 section 3.3 allows, in bits.
const minRSA = 2048

// A Key is one that signs, and what is published of it.
type Key struct {
	signer crypto.Signer
	public crypto.PublicKey // read once: a service that keeps the key is asked for signatures alone
	shown  jwk
}

// Keys are those of a site. The first of them signs.
type Keys []*Key

// Read returns the keys of signers. faults says of each of them what is wrong with it, and
// is nil where nothing is.
func Read(signers []crypto.Signer) (keys Keys, faults []error) {
	seen := make(map[string]int)
	wrong := false
	for i, signer := range signers {
		key, err := read(signer)
		if err == nil {
			if first, again := seen[key.shown.ID]; again {
				err = fmt.Errorf("is the same key as number %d", first)
			} else {
				seen[key.shown.ID] = i
			}
		}
		wrong = wrong || err != nil
		keys, faults = append(keys, key), append(faults, err)
	}
	if wrong {
		return nil, faults
	}
	return keys, nil
}

var errKind = errors.New("is no RSA key, no ECDSA key on P-256, P-384 or P-521, and no Ed25519 key")

func read(signer crypto.Signer) (*Key, error) {
	if signer == nil {
		return nil, errors.New("is nil")
	}
	if key, ok := signer.(ed25519.PrivateKey); ok && len(key) != ed25519.PrivateKeySize { // whose Public makes up the rest
		return nil, fmt.Errorf("is an Ed25519 key of %d bytes, and not of %d", len(key), ed25519.PrivateKeySize)
	}
	k := &Key{signer: signer}
	err := panics.Catch(func() (err error) { // as of a nil of some type
		k.public = signer.Public()
		k.shown, err = show(k.public)
		return err
	})
	if caught, panicked := err.(*panics.Error); panicked {
		return nil, fmt.Errorf("cannot be read: its method Public panics (%T)", caught.Value)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// A jwk is a public key (RFC 7517 section 4), with the members of no private one.
type jwk struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg,omitempty"`
	ID        string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

func show(public crypto.PublicKey) (shown jwk, err error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA {
			return shown, fmt.Errorf("is an RSA key of %d bits, at least %d are needed", bits, minRSA)
		}
		shown = jwk{Type: "RSA", N: base64url(key.N.Bytes()), E: base64url(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PublicKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve) {
			return shown, errKind
		}
		point, err := key.Bytes() // 4, x and y (SEC 1 section 2.3.3)
		if err != nil {
			return shown, errors.New("is an ECDSA key that is not on its curve")
		}
		size := (len(point) - 1) / 2
		shown = jwk{Type: "EC", Curve: key.Params().Name, X: base64url(point[1 : 1+size]), Y: base64url(point[1+size:])}
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return shown, errKind
		}
		shown = jwk{Type: "OKP", Curve: "Ed25519", X: base64url(key)}
	default:
		return shown, errKind
	}
	shown.Use, shown.ID = "sig", thumbprint(shown)
	return shown, nil
}

// thumbprint returns the JWK thumbprint of RFC 7638 with SHA-256: of the members that the
// kind of key requires (section 3.2, RFC 8037 section 2), in the order of their names.
func thumbprint(shown jwk) string {
	var required any
	switch shown.Type {
	case "RSA":
		required = struct {
			E    string `json:"e"`
			Type string `json:"kty"`
			N    string `json:"n"`
		}{shown.E, shown.Type, shown.N}
	case "EC":
		required = struct {
			Curve string `json:"crv"`
			Type  string `json:"kty"`
			X     string `json:"x"`
			Y     string `json:"y"`
		}{shown.Curve, shown.Type, shown.X, shown.Y}
	default:
		required = struct {
			Curve string `json:"crv"`
			Type  string `json:"kty"`
			X     string `json:"x"`
		}{shown.Curve, shown.Type, shown.X}
	}
	text, _ := json.Marshal(required) // strings cannot fail
	sum := sha256.Sum256(text)
	return base64url(sum[:])
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// algorithm returns the signature that the key makes for a server that takes these; nil where
// it does not say which. An RSA key makes RS256 (RFC 7518 section 3.1) and an Ed25519 key EdDSA
// (RFC 8037 section 3.1), unless the server takes the other name alone that the key can sign
// under: PS256, or Ed25519 (RFC 9864 section 2.2).
func (k *Key) algorithm(taken []string) string {
	first, other := "", ""
	switch k.shown.Type + " " + k.shown.Curve {
	case "RSA ":
		first, other = "RS256", "PS256"
	case "OKP Ed25519":
		first, other = "EdDSA", "Ed25519"
	case "EC P-256":
		return "ES256"
	case "EC P-384":
		return "ES384"
	default:
		return "ES512"
	}
	if slices.Contains(taken, other) && !slices.Contains(taken, first) {
		return other
	}
	return first
}

// Fits returns the algorithm with which the first key signs, and whether a server takes it
// that lists these. One that lists none has not said.
func (keys Keys) Fits(taken []string) (algorithm string, ok bool) {
	algorithm = keys[0].algorithm(taken)
	return algorithm, taken == nil || slices.Contains(taken, algorithm)
}

// Set returns the JWK Set of the public keys (RFC 7517 section 5), in their order. taken are
// the algorithms that the server lists, and known says whether it was asked. Before it was,
// the algorithm is left out of a key that has two: a server that keeps the set would refuse
// the other one.
func (keys Keys) Set(taken []string, known bool) []byte {
	set := struct {
		Keys []jwk `json:"keys"`
	}{make([]jwk, 0, len(keys))}
	for _, k := range keys {
		shown := k.shown
		if shown.Type == "EC" || known {
			shown.Algorithm = k.algorithm(taken)
		}
		set.Keys = append(set.Keys, shown)
	}
	body, _ := json.Marshal(set) // strings cannot fail
	return append(body, '\n')
}
