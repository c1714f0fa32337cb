package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/authagent-go/authagent/internal/strictjson"
)

// A jws is a token in the compact form of RFC 7515 section 7.1, taken apart. Nothing of it is verified.
type jws struct {
	alg, id   string
	signed    []byte // header and payload, as they stand in the token
	signature []byte
}

// readJWS takes a token apart. One with extensions that have to be understood (crit) is refused: none is known here. The
// payload is not looked at: whoever wants to know what is signed reads it (see identity.Verifier).
func readJWS(token string) (t jws, err error) {
	if strings.Count(token, ".") != 2 {
		return t, ErrSignature
	}
	dot := strings.LastIndexByte(token, '.')
	first, _, _ := strings.Cut(token, ".")
	var room [256]byte // most headers are short
	header, err1 := base64.RawURLEncoding.AppendDecode(room[:0], []byte(first))
	signature, err2 := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if errors.Join(err1, err2) != nil {
		return t, ErrSignature
	}
	o, err := strictjson.Parse(header)
	if err != nil || o.Has("crit") {
		return t, ErrSignature
	}
	alg, _, err1 := o.String("alg")
	id, _, err2 := o.String("kid")
	if errors.Join(err1, err2) != nil {
		return t, ErrSignature
	}
	return jws{alg, id, []byte(token[:dot]), signature}, nil
}

// verify returns nil if one of keys has signed a token.
func (t *jws) verify(keys []publicKey) error {
	if !Accepts(t.alg) {
		return ErrSignature
	}
	for _, k := range keys {
		if (t.id == "" || t.id == k.id) && k.fits(t.alg) && t.isBy(k.key) {
			return nil
		}
	}
	return ErrSignature
}

// isBy reports whether the signature of a token is by key, which fits its algorithm.
func (t *jws) isBy(key crypto.PublicKey) bool {
	switch key := key.(type) {
	case ed25519.PublicKey: // RFC 8037 section 3.1
		return ed25519.Verify(key, t.signed, t.signature)
	case *ecdsa.PublicKey: // RFC 7518 section 3.4
		_, sum := t.digest()
		signature := asn1Signature(key, t.signature)
		return signature != nil && ecdsa.VerifyASN1(key, sum, signature)
	case *rsa.PublicKey: // RFC 7518 sections 3.3 and 3.5
		hash, sum := t.digest()
		if strings.HasPrefix(t.alg, "PS") {
			return rsa.VerifyPSS(key, hash, sum, t.signature, nil) == nil
		}
		return rsa.VerifyPKCS1v15(key, hash, sum, t.signature) == nil
	}
	return false
}

// digest returns what is signed, as the algorithm has it hashed.
func (t *jws) digest() (crypto.Hash, []byte) {
	switch {
	case strings.HasSuffix(t.alg, "256"):
		sum := sha256.Sum256(t.signed)
		return crypto.SHA256, sum[:]
	case strings.HasSuffix(t.alg, "384"):
		sum := sha512.Sum384(t.signed)
		return crypto.SHA384, sum[:]
	default:
		sum := sha512.Sum512(t.signed)
		return crypto.SHA512, sum[:]
	}
}

// asn1Signature returns a signature by key as crypto/ecdsa takes it: two INTEGERs in a SEQUENCE (RFC 3279 section 2.2.3).
// A JWS has the two numbers side by side, each as long as the curve's (RFC 7518 section 3.4). For another length it returns
// nil.
func asn1Signature(key *ecdsa.PublicKey, signature []byte) []byte {
	size := (key.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return nil
	}
	var room [2 * (3 + 66)]byte // for two numbers of P-521, the longest
	numbers := appendInteger(room[:0], signature[:size])
	numbers = appendInteger(numbers, signature[size:])
	head := []byte{0x30, byte(len(numbers))}
	if len(numbers) > 0x7f { // such a length takes a byte of its own
		head = []byte{0x30, 0x81, byte(len(numbers))}
	}
	return append(head, numbers...)
}

// appendInteger appends an INTEGER of ASN.1: without zeros at the front, but for one that keeps it from being negative.
func appendInteger(to, number []byte) []byte {
	number = bytes.TrimLeft(number, "\x00")
	if len(number) == 0 || number[0] > 0x7f {
		return append(append(to, 2, byte(len(number)+1), 0), number...)
	}
	return append(append(to, 2, byte(len(number))), number...)
}
