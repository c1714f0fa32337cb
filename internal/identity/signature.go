package identity

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/authagent-go/authagent/internal/wire"
)

// accepts reports whether there is anything to verify an id_token of this
// algorithm with.
func (v *Verifier) accepts(m *wire.Metadata, alg string) error {
	switch {
	case alg == "HS256" && len(v.TokenKey) > 0:
		return nil
	case !wire.Accepts(alg):
		return mismatch("id_token is signed with %s, which is not accepted", named(alg))
	case m.Keys == nil:
		return mismatch("id_token cannot be verified: the server publishes no keys")
	}
	return nil
}

// verifyIDToken checks the signature of an id_token.
func (v *Verifier) verifyIDToken(ctx context.Context, m *wire.Metadata, raw, alg string) error {
	err := v.accepts(m, alg)
	switch {
	case err != nil:
		return err
	case alg == "HS256":
		err = wire.VerifyHS256(raw, v.TokenKey)
	default:
		err = m.Keys.VerifySignature(ctx, raw)
	}
	if err != nil {
		return keyError("id_token", alg, err)
	}
	return nil
}

// hashes reports whether an at_hash is that of an access token: the left half of its digest by the hash of
// the id_token's signature (OpenID Connect Core section 3.1.3.6). EdDSA is taken with SHA-512, which Ed25519 has.
func hashes(hash, alg, access string) bool {
	var sum []byte
	switch {
	case strings.HasSuffix(alg, "256"):
		full := sha256.Sum256([]byte(access))
		sum = full[:]
	case strings.HasSuffix(alg, "384"):
		full := sha512.Sum384([]byte(access))
		sum = full[:]
	default:
		full := sha512.Sum512([]byte(access))
		sum = full[:]
	}
	want := base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	return subtle.ConstantTimeCompare([]byte(hash), []byte(want)) == 1
}

// signature reports whether the claims of an access token can be believed: with
// the shared secret where the site holds it, with the published keys where there
// are any. The published Auth Agent server signs with a secret of its own and
// publishes an empty set, so that its tokens rest on TLS and the client's
// authentication alone. A token that nothing here can verify is opaque, if the
// server can be asked about it; else it is refused.
func (v *Verifier) signature(ctx context.Context, m *wire.Metadata, raw, alg string) (verified bool, err error) {
	switch {
	case alg == "" || strings.EqualFold(alg, "none"):
		return false, mismatch("access token is not signed")
	case len(v.TokenKey) > 0:
		if err := wire.VerifyHS256(raw, v.TokenKey); err != nil {
			return false, mismatch("access token is not signed with TokenKey")
		}
		return true, nil
	case m.Keys == nil:
		return true, nil // nothing is published
	case wire.Accepts(alg):
		if err := m.Keys.VerifySignature(ctx, raw); err != nil {
			return false, keyError("access token", alg, err)
		}
		return true, nil
	}
	published, err := m.Keys.Any(ctx)
	switch {
	case err == nil && !published && alg == "HS256":
		return true, nil
	case m.Introspection != "":
		return false, nil
	case err != nil:
		return false, err
	}
	return false, mismatch("access token is signed with %s, which no published key verifies", named(alg))
}

// named returns the name of an algorithm that IANA has registered. Anything else is
// text that a stranger may have written.
func named(alg string) string {
	switch alg {
	case "none", "HS256", "HS384", "HS512", "ES256K", "Ed448", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87":
		return alg
	}
	if wire.Accepts(alg) {
		return alg
	}
	return "an algorithm that is not known"
}

// keyError tells keys that could not be had, which a retry may mend, from a token
// that is not good. The library's own text may quote the token.
func keyError(what, alg string, err error) error {
	var request *wire.Error
	switch {
	case errors.As(err, &request):
		return request
	case errors.Is(err, wire.ErrSignature):
		return mismatch("%s does not verify: its %s signature is by none of the keys", what, named(alg))
	}
	return mismatch("%s does not verify", what)
}
