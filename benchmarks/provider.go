package benchmarks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"
)

const (
	clientID     = "site"
	clientSecret = "a secret of the site, 32 bytes.."

	// oidcClientID is the client whose token answers have an id_token, for those
	// who cannot do without one.
	oidcClientID = "site-oidc"

	// nonce is in every id_token, so that one token serves all sign-ins and the
	// provider need not sign. Those who check a nonce are told to send this one.
	nonce = "nonce-of-every-login"

	agentID = "agent_alice"
	email   = "alice@example.com"
)

// A provider is an authorization server that costs little, and the same for
// all: what it answers is made when it starts. It takes every code.
type provider struct {
	*httptest.Server
	mux     *http.ServeMux
	dialled atomic.Int64 // connections accepted so far
	alg     string       // of the signatures
	access  string       // the access token that everybody gets
	signer  *signer      // of the id_tokens; nil if one was signed for all
}

func newProvider() *provider { return newProviderOver((*httptest.Server).Start) }

// newProviderOver returns a provider whose listener is started by start.
func newProviderOver(start func(*httptest.Server)) *provider {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p := startProvider("ES256", object{"keys": []object{keySetOf(&key.PublicKey)}}, start)
	// As the published Auth Agent server, which has no key that anybody could verify its
	// access tokens with.
	keyless := p.metadata("ES256")
	delete(keyless, "jwks_uri")
	p.mux.HandleFunc("/.well-known/oauth-authorization-server", constant(keyless))
	p.mux.HandleFunc("/token", p.token(key))
	return p
}

// startProvider returns a provider without a token endpoint.
func startProvider(alg string, keys object, start func(*httptest.Server)) *provider {
	p := &provider{mux: http.NewServeMux(), alg: alg}
	p.Server = httptest.NewUnstartedServer(p.mux)
	p.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that a client has begun and left
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.dialled.Add(1)
		}
	}
	start(p.Server)
	p.mux.HandleFunc("/.well-known/openid-configuration", constant(p.metadata(alg)))
	p.mux.HandleFunc("/jwks", constant(keys))
	p.mux.HandleFunc("/userinfo", constant(object{"sub": agentID, "email": email, "name": "Alice", "model": "model-1"}))
	return p
}

type object map[string]any

func (o object) json() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return b
}

func (p *provider) metadata(alg string) object {
	return object{
		"issuer":                                p.URL,
		"authorization_endpoint":                p.URL + "/authorize",
		"token_endpoint":                        p.URL + "/token",
		"userinfo_endpoint":                     p.URL + "/userinfo",
		"jwks_uri":                              p.URL + "/jwks",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{alg},
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
	}
}

// token answers with the same tokens for a form and for JSON. Which of the
// clients asks is all that it looks for in the body.
func (p *provider) token(key *ecdsa.PrivateKey) http.HandlerFunc {
	now := time.Now()
	claims := object{
		"iss": p.URL, "sub": agentID, "client_id": clientID, "model": "model-1", "scope": "openid profile email",
		"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
	}
	p.access = unsigned(claims)
	answer := object{
		"access_token":  p.access,
		"token_type":    "Bearer",
		"expires_in":    3600,
		"refresh_token": "refresh-0123456789abcdef0123456789abcdef",
		"scope":         "openid profile email",
	}
	plain := answer.json()
	answer["id_token"] = signed(key, object{
		"iss": p.URL, "sub": agentID, "aud": oidcClientID, "nonce": nonce, "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
	})
	withID := answer.json()
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		switch text := string(body); {
		case strings.Contains(text, "urn:authagent:encoding-probe"):
			writeJSON(w, http.StatusBadRequest, []byte(`{"error":"unsupported_grant_type"}`))
		case strings.Contains(text, oidcClientID), strings.HasPrefix(r.Header.Get("Authorization"), "Basic "):
			writeJSON(w, http.StatusOK, withID)
		default:
			writeJSON(w, http.StatusOK, plain)
		}
	}
}

func constant(o object) http.HandlerFunc {
	body := o.json()
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, body) }
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(status)
	w.Write(body)
}

// unsigned is an access token as the published Auth Agent server gives: a JWT
// whose signature nobody but the server can verify.
func unsigned(claims object) string {
	return encode(object{"alg": "HS256", "typ": "JWT"}.json()) + "." + encode(claims.json()) + "." + encode(make([]byte, 32))
}

func signed(key *ecdsa.PrivateKey, claims object) string {
	text := encode(object{"alg": "ES256", "typ": "JWT", "kid": "1"}.json()) + "." + encode(claims.json())
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + encode(signature[:])
}

func keySetOf(key *ecdsa.PublicKey) object {
	point := must(key.Bytes()) // 4, x, y
	return object{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1", "x": encode(point[1:33]), "y": encode(point[33:])}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// must stops where the set-up of a benchmark fails, which is no figure to report.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("benchmarks: set-up: %v", err))
	}
	return v
}
