package benchmarks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"github.com/zitadel/oidc/v3/pkg/client/rs"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/authagent-go/authagent"
)

// resource is the API for which the access tokens are.
const resource = origin + "/api"

// accessType is the type of an access token that is a JWT (RFC 9068 section 2.1).
const accessType = "at+jwt"

// A bearing is one way to guard a site's API to which agents come with access tokens of a provider. It is not set up yet. Its
// handler answers 200 to an agent.
type bearing struct {
	name  string
	setUp func(*provider) http.Handler
}

// jwtBearings are those that verify a JWT. All look at the signature, issuer, audience, expiry and subject, and all but auth0,
// which has no way to, at the type. All but authagent verify each token each time.
func jwtBearings() []bearing {
	return []bearing{{"authagent", authagentAPI}, {"byhand", byHandAPI}, {"keyfunc", keyfuncAPI}, {"auth0", auth0API}}
}

// opaqueBearings are those that have a token introspected.
func opaqueBearings() []bearing {
	return []bearing{{"authagent", authagentAPI}, {"zitadel", zitadelAPI}}
}

// newAPIProvider returns a provider that signs JWTs with s, and says of each opaque token that it is good.
func newAPIProvider(s *signer) *provider {
	p := startProvider(s.alg, object{"keys": []object{s.jwk()}}, (*httptest.Server).Start)
	p.signer = s
	metadata := p.metadata(s.alg)
	metadata["introspection_endpoint"] = p.URL + "/introspect"
	p.mux.HandleFunc("/.well-known/oauth-authorization-server", constant(metadata))
	inactive, active := object{"active": false}.json(), object{"active": true}
	for name, value := range p.accessClaims() {
		active[name] = value
	}
	answer := active.json()
	p.mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.PostFormValue("token"), opaquePrefix) {
			writeJSON(w, http.StatusOK, answer)
			return
		}
		writeJSON(w, http.StatusOK, inactive)
	})
	p.mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) { // asked how clients prove themselves
		writeJSON(w, http.StatusBadRequest, []byte(`{"error":"unsupported_grant_type"}`))
	})
	return p
}

func (p *provider) accessClaims() object {
	now := time.Now()
	return object{
		"iss": p.URL, "sub": agentID, "aud": resource, "client_id": "agent", "email": email, "model": "model-1", "scope": "orders:read",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// accessJWT returns an access token that is a JWT. Each number gives another one.
func (p *provider) accessJWT(n int) string {
	claims := p.accessClaims()
	claims["jti"] = fmt.Sprintf("token-%016d", n)
	return p.signer.as(accessType).sign(claims.json())
}

const opaquePrefix = "opaque-"

// accessOpaque returns an access token that only the server can read. Each number gives another one.
func accessOpaque(n int) string { return fmt.Sprintf("%s%032d", opaquePrefix, n) }

// madeUp returns a JWT with another signature, which is not good. Each number gives another one.
func madeUp(token string, n int) string {
	at := strings.LastIndexByte(token, '.') + 8
	digits := fmt.Sprintf("%016d", n)
	return token[:at] + digits + token[at+len(digits):]
}

// call returns a request with an access token.
func call(token string) *http.Request {
	r := get(resource + ordersPath)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// bearerOf returns the token of a request, if it has one.
func bearerOf(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// authagentAPI: authagent, with its defaults and an API.
func authagentAPI(p *provider) http.Handler {
	return authagentAt(p, clientID, func(c *authagent.Config) { c.API.Resource = resource }).orders
}

// agentClaims are what the APIs read of a token.
type agentClaims struct {
	Subject string `json:"sub"`
	Email   string `json:"email"`
}

func (c *agentClaims) known() bool { return c.Subject == agentID && c.Email == email }

// guarded lets those requests through whose token verify takes.
func guarded(verify func(ctx context.Context, token string) (*agentClaims, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := bearerOf(r)
		if token == "" {
			signInFirst(w)
			return
		}
		claims, err := verify(r.Context(), token)
		if err != nil || !claims.known() {
			signInFirst(w)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
}

var errType = errors.New("benchmarks: not an access token")

// byHandAPI: github.com/coreos/go-oidc/v3, which verifies everything but the type.
func byHandAPI(p *provider) http.Handler {
	verifier := must(gooidc.NewProvider(context.Background(), p.URL)).
		Verifier(&gooidc.Config{ClientID: resource, SupportedSigningAlgs: []string{p.alg}})
	return guarded(func(ctx context.Context, raw string) (*agentClaims, error) {
		if typeOf(raw) != accessType {
			return nil, errType
		}
		token, err := verifier.Verify(ctx, raw)
		if err != nil {
			return nil, err
		}
		claims := &agentClaims{}
		return claims, token.Claims(claims)
	})
}

// typeOf returns what the header of a JWT says that it is.
func typeOf(raw string) string {
	first, _, _ := strings.Cut(raw, ".")
	header, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return ""
	}
	var named struct{ Typ string }
	if json.Unmarshal(header, &named) != nil {
		return ""
	}
	return named.Typ
}

// keyfuncAPI: github.com/golang-jwt/jwt/v5 with the keys of github.com/MicahParks/keyfunc/v3.
func keyfuncAPI(p *provider) http.Handler {
	keys := must(keyfunc.NewDefault([]string{p.URL + "/jwks"}))
	parser := jwt.NewParser(jwt.WithValidMethods([]string{p.alg}), jwt.WithIssuer(p.URL), jwt.WithAudience(resource),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	type claims struct {
		jwt.RegisteredClaims
		Email string `json:"email"`
	}
	return guarded(func(_ context.Context, raw string) (*agentClaims, error) {
		found := &claims{}
		token, err := parser.ParseWithClaims(raw, found, keys.Keyfunc)
		if err != nil {
			return nil, err
		}
		if token.Header["typ"] != accessType {
			return nil, errType
		}
		return &agentClaims{found.Subject, found.Email}, nil
	})
}

// Validate makes agentClaims what auth0's middleware calls custom claims.
func (c *agentClaims) Validate(context.Context) error {
	if !c.known() {
		return errors.New("benchmarks: nobody that is known")
	}
	return nil
}

// auth0API: github.com/auth0/go-jwt-middleware/v2.
func auth0API(p *provider) http.Handler {
	keys := jwks.NewCachingProvider(must(url.Parse(p.URL)), 5*time.Minute)
	its := must(validator.New(keys.KeyFunc, validator.SignatureAlgorithm(p.alg), p.URL, []string{resource},
		validator.WithCustomClaims(func() validator.CustomClaims { return &agentClaims{} })))
	return jwtmiddleware.New(its.ValidateToken).CheckJWT(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if claims, ok := r.Context().Value(jwtmiddleware.ContextKey{}).(*validator.ValidatedClaims); ok && claims.RegisteredClaims.Subject == agentID {
			w.WriteHeader(http.StatusOK)
		}
	}))
}

// zitadelAPI: github.com/zitadel/oidc/v3/pkg/client/rs, which asks each time.
func zitadelAPI(p *provider) http.Handler {
	server := must(rs.NewResourceServerClientCredentials(context.Background(), p.URL, clientID, clientSecret,
		rs.WithStaticEndpoints(p.URL+"/token", p.URL+"/introspect")))
	return guarded(func(ctx context.Context, token string) (*agentClaims, error) {
		said, err := rs.Introspect[*oidc.IntrospectionResponse](ctx, server, token)
		if err != nil {
			return nil, err
		}
		if !said.Active || said.Issuer != p.URL || !slices.Contains(said.Audience, resource) || !time.Now().Before(said.Expiration.AsTime()) {
			return nil, errors.New("benchmarks: the token is not good here")
		}
		return &agentClaims{said.Subject, said.Email}, nil
	})
}

// The limits of the bearer door follow. Each takes the token of a request and does the least that can be.

// lookUpAPI remembers the tokens that first lets in: a hash, so that no token is kept, and a look into a map.
func lookUpAPI(first func(*provider) http.Handler) func(*provider) http.Handler {
	return func(p *provider) http.Handler {
		verify := first(p)
		var mu sync.Mutex
		known := map[[sha256.Size]byte]bool{}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sum := sha256.Sum256([]byte(bearerOf(r)))
			mu.Lock()
			was := known[sum]
			mu.Unlock()
			if was {
				w.WriteHeader(http.StatusOK)
				return
			}
			answer := newDiscard()
			verify.ServeHTTP(answer, r)
			mu.Lock()
			known[sum] = answer.status == http.StatusOK
			mu.Unlock()
			w.WriteHeader(answer.status)
		})
	}
}

// signatureAPI verifies the signature of a JWT, and nothing else.
func signatureAPI(p *provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := bearerOf(r); token == "" || !p.signer.verify([]byte(token)) {
			unauthorized(w)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
}

// roundTripAPI introspects a token, and looks at nothing of the answer but whether the token is active.
func roundTripAPI(p *provider) http.Handler {
	client := &http.Client{Transport: pooled()}
	rest := "&token_type_hint=access_token&client_id=" + clientID + "&client_secret=" + url.QueryEscape(clientSecret)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		post := must(http.NewRequest(http.MethodPost, p.URL+"/introspect", strings.NewReader("token="+url.QueryEscape(bearerOf(r))+rest)))
		post.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
		if !bytes.Contains(bare(client, post), []byte(`"active":true`)) {
			unauthorized(w)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
}
