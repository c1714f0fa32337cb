package environ

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
)

// pemBegin is how each block begins (RFC 7468 section 3).
const pemBegin = "-----BEGIN "

// clientKeys reads private keys in PEM. Nothing is skipped: a block that is no key, or a text between
// blocks, is mostly a key that its owner counts on. What a key may be is for authagent.New to say.
func (r *reader) clientKeys(text string) (keys []crypto.Signer) {
	blocks := strings.Split(text, pemBegin)
	switch before := strings.TrimSpace(blocks[0]); {
	case len(blocks) == 1:
		r.Add(ClientKeys, "has no PEM block in it, as \"authagent key -client\" prints one; a file is named by %s", ClientKeys+fileSuffix)
	case before != "":
		r.Add(ClientKeys, "has something in front of block 0")
	}
	for i, block := range blocks[1:] {
		key, err := privateKey(pemBegin + block)
		if err != nil {
			r.Add(ClientKeys, "block %d %w", i, err)
		}
		keys = append(keys, key)
	}
	return keys
}

// privateKey returns the one key that is in a text. Its errors say nothing of the text, not even the
// name of a block that is not known.
func privateKey(text string) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("is no whole block of PEM")
	case len(strings.TrimSpace(string(rest))) > 0:
		return nil, errors.New("is followed by something that is no PEM")
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"): // the latter by RFC 1421
		return nil, errors.New("is encrypted: decrypt it, as with \"openssl pkey\"")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return nil, errors.New("is a public key: the private one is needed")
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		return nil, errors.New("is a certificate: the private key alone is needed")
	default:
		return nil, errors.New("is no private key of PKCS #8 (PRIVATE KEY), and neither EC PRIVATE KEY nor RSA PRIVATE KEY")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok { // err may say what is in the key
		return nil, errors.New("cannot be read, or is a key of a kind that signs nothing here")
	}
	return signer, nil
}
