package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/internal/strictjson"
)

// algorithms are the signatures that are accepted from published keys. HS256 is
// not among them: a published key must never be taken for a shared secret.
var algorithms = [...]string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"}

// Algorithms returns the signatures that are accepted from published keys, by
// their names in RFC 7518 section 3.1, RFC 8037 section 3.1 and RFC 9864 section 2.2.
func Algorithms() []string { return slices.Clone(algorithms[:]) }

// Accepts reports whether a signature of this algorithm is accepted from published keys.
func Accepts(alg string) bool { return slices.Contains(algorithms[:], alg) }

// A publicKey is a key that signatures can be verified with.
type publicKey struct {
	id  string
	key crypto.PublicKey
}

// fits reports whether a signature of this algorithm can be by a key of this kind.
func (k publicKey) fits(alg string) bool {
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return alg == "EdDSA" || alg == "Ed25519"
	}
	return false
}

const (
	// maxKeys bounds a set: each key is tried for a token that names none.
	maxKeys = 100

	// maxRSA is the longest modulus that is taken, in bits. The work grows with its
	// square, and nothing cuts it off.
	maxRSA = 8192
)

// readKeys reads a JWK Set (RFC 7517 section 5). Keys that are not for signatures,
// or cannot be read, are left out: of a kind that is not known, on a curve that is
// not, without a member that they need. Members that are not needed are not read,
// certificates among them. A set of nothing but keys that cannot be read is an error.
func readKeys(body []byte) ([]publicKey, error) {
	set, err := strictjson.Parse(body)
	if err != nil {
		return nil, err
	}
	raw, _ := set.Raw("keys")
	var members []json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		return nil, errors.New("keys is not an array")
	}
	if len(members) > maxKeys {
		return nil, fmt.Errorf("there are more than %d keys", maxKeys)
	}
	var keys []publicKey
	unread := false
	for _, member := range members {
		o, err := strictjson.Parse(member)
		if err == nil && !forSignatures(o) {
			continue
		}
		var k publicKey
		if err == nil {
			k, err = readKey(o)
		}
		if err != nil {
			unread = true
			continue
		}
		keys = append(keys, k)
	}
	if unread && len(keys) == 0 {
		return nil, errors.New("none of the keys is of a kind that is known")
	}
	return keys, nil
}

// forSignatures reports whether a key is not set apart for something else.
func forSignatures(o strictjson.Object) bool {
	use, said, err := o.String("use")
	if err != nil || said && use != "sig" {
		return false
	}
	operations, said, err := o.Strings("key_ops")
	return err == nil && (!said || slices.Contains(operations, "verify"))
}

var errKey = errors.New("key cannot be read")

func readKey(o strictjson.Object) (k publicKey, err error) {
	kind, _, err1 := o.String("kty")
	id, _, err2 := o.String("kid")
	alg, restricted, err3 := o.String("alg")
	if errors.Join(err1, err2, err3) != nil || restricted && !Accepts(alg) {
		return k, errKey
	}
	k.id = id
	switch curve, _, _ := o.String("crv"); {
	case kind == "RSA":
		k.key, err = readRSA(o)
	case kind == "EC":
		k.key, err = readEC(o, curve)
	case kind == "OKP" && curve == "Ed25519":
		var x []byte
		if x, err = number(o, "x"); len(x) != ed25519.PublicKeySize {
			return k, errKey
		}
		k.key = ed25519.PublicKey(x)
	default:
		return k, errKey
	}
	return k, err
}

func readRSA(o strictjson.Object) (*rsa.PublicKey, error) {
	n, err1 := number(o, "n")
	e, err2 := number(o, "e")
	exponent := new(big.Int).SetBytes(e)
	if errors.Join(err1, err2) != nil || !exponent.IsInt64() || exponent.Int64() > math.MaxInt32 || exponent.Int64() < 3 {
		return nil, errKey
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
	if bits := key.N.BitLen(); bits < 1024 || bits > maxRSA { // crypto/rsa takes none that is shorter
		return nil, errKey
	}
	return key, nil
}

func readEC(o strictjson.Object, name string) (*ecdsa.PublicKey, error) {
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[name]
	x, err1 := number(o, "x")
	y, err2 := number(o, "y")
	if !ok || errors.Join(err1, err2) != nil {
		return nil, errKey
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) > size || len(y) > size {
		return nil, errKey
	}
	point := make([]byte, 1+2*size) // 4, x and y (SEC 1 section 2.3.3)
	point[0] = 4
	copy(point[1+size-len(x):], x) // some servers leave zeros out at the front
	copy(point[1+2*size-len(y):], y)
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}

// number returns a member that is bytes in base64url.
func number(o strictjson.Object, name string) ([]byte, error) {
	text, said, err := o.String(name)
	if err != nil || !said {
		return nil, errKey
	}
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
}
