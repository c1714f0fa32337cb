package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"math/big"
	"time"
)

// lifetime is how long an assertion is good. It is made for one request, which is sent at once;
// the rest is for clocks that are apart.
const lifetime = time.Minute

// A header is that of a JWS (RFC 7515 section 4.1).
type header struct {
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	Type      string `json:"typ"`
}

// claims are those of an assertion (RFC 7523 section 3). The audience is one string, since
// servers refuse assertions that are good at other servers as well.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// Assertion returns a new assertion of a client for an audience, signed by the first key. taken
// are the algorithms that the server lists; nil where it lists none. Signers may panic.
func (keys Keys) Assertion(clientID, audience string, taken []string) (string, error) {
	k, now := keys[0], time.Now()
	algorithm := k.algorithm(taken)
	input := encode(header{algorithm, k.shown.ID, "JWT"}) + "." + encode(claims{
		Issuer: clientID, Subject: clientID, Audience: audience,
		ID: rand.Text(), IssuedAt: now.Unix(), Expires: now.Add(lifetime).Unix(),
	})
	signature, err := k.sign(algorithm, []byte(input))
	if err != nil {
		return "", err
	}
	return input + "." + base64url(signature), nil
}

func encode(part any) string {
	text, _ := json.Marshal(part) // strings and numbers cannot fail
	return base64url(text)
}

var errSignature = errors.New("the signature is not one of the key that Public returns")

// sign returns the signature of RFC 7518 section 3 or RFC 8037 section 3.1. What a signer has
// made is verified: the server would refuse it as the proof of somebody else, with the code
// at stake.
func (k *Key) sign(algorithm string, input []byte) ([]byte, error) {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return k.signRSA(public, algorithm, input)
	case *ecdsa.PublicKey:
		return k.signECDSA(public, input)
	}
	signature, err := k.signer.Sign(rand.Reader, input, crypto.Hash(0)) // of the message itself
	if err != nil {
		return nil, err
	}
	if public, ok := k.public.(ed25519.PublicKey); !ok || !ed25519.Verify(public, input, signature) {
		return nil, errSignature
	}
	return signature, nil
}

func (k *Key) signRSA(public *rsa.PublicKey, algorithm string, input []byte) ([]byte, error) {
	digest := digestOf(crypto.SHA256, input)
	// RFC 7518 section 3.5: the salt is as long as the hash.
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	var options crypto.SignerOpts = crypto.SHA256
	if algorithm == "PS256" {
		options = pss
	}
	signature, err := k.signer.Sign(rand.Reader, digest, options)
	if err != nil {
		return nil, err
	}
	if algorithm == "PS256" {
		err = rsa.VerifyPSS(public, crypto.SHA256, digest, signature, pss)
	} else {
		err = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature)
	}
	if err != nil {
		return nil, errSignature
	}
	return signature, nil
}

// signECDSA makes r and s of fixed size, one after the other (RFC 7518 section 3.4), of the
// ASN.1 that signers give.
func (k *Key) signECDSA(public *ecdsa.PublicKey, input []byte) ([]byte, error) {
	bits := public.Params().BitSize
	hash := map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[bits]
	digest := digestOf(hash, input)
	der, err := k.signer.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, err
	}
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &pair); err != nil || len(rest) > 0 || !ecdsa.VerifyASN1(public, digest, der) {
		return nil, errSignature
	}
	size := (bits + 7) / 8 // which holds both: they are less than the order of the curve
	signature := make([]byte, 2*size)
	pair.R.FillBytes(signature[:size])
	pair.S.FillBytes(signature[size:])
	return signature, nil
}

func digestOf(hash crypto.Hash, input []byte) []byte {
	h := hash.New()
	h.Write(input)
	return h.Sum(nil)
}
