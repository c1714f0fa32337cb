package requirements_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// rsaKey is a signing key with the ID that it is published under, if any.
type rsaKey struct {
	*rsa.PrivateKey
	id string
}

func newRSAKey(t testing.TB, id string) *rsaKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &rsaKey{key, id}
}

// sign makes a JWT. header changes its header.
func (k *rsaKey) sign(claims, header members) string {
	h := members{"alg": "RS256", "kid": k.id}
	if k.id == "" {
		h["kid"] = nil
	}
	input := compact(with(h, header)) + "." + compact(claims)
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.PrivateKey, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// jwks is the key set document of these keys.
func jwks(keys ...*rsaKey) string {
	encode := base64.RawURLEncoding.EncodeToString
	set := []members{}
	for _, k := range keys {
		m := members{
			"kty": "RSA", "use": "sig", "alg": "RS256",
			"n": encode(k.N.Bytes()), "e": encode(big.NewInt(int64(k.E)).Bytes()),
		}
		if k.id != "" {
			m["kid"] = k.id
		}
		set = append(set, m)
	}
	body, _ := json.Marshal(members{"keys": set})
	return string(body)
}

// newOIDCBench is a bench at an OpenID Connect provider: its metadata is where
// OpenID Connect says, and the code grant gives an id_token.
func newOIDCBench(t *testing.T, change ...func(*authagenttest.Features)) *bench {
	t.Helper()
	as := authagenttest.NewUnstartedServer()
	as.Quirks = authagenttest.Quirks{}
	as.Features = authagenttest.Features{OpenIDConfiguration: true, NoOAuthMetadata: true, IDToken: true}
	for _, f := range change {
		f(&as.Features)
	}
	as.StartTLS()
	t.Cleanup(as.Close)
	return newBenchOn(t, as)
}

// publishes has the server publish these keys in place of its own.
func (b *bench) publishes(keys ...*rsaKey) {
	b.AS.Wrap(authagenttest.PathJWKS, authagenttest.Reply(200, "application/json", jwks(keys...)))
}

// forges has the code grant give the id_token that forge makes of the right
// claims, the nonce of the login among them. The access token beside it stays
// good: whoever looked at that alone would let everybody in.
func (b *bench) forges(forge func(claims members) string) {
	b.AS.Wrap(authagenttest.PathToken, onCode(authagenttest.Rewrite(func(body map[string]any) {
		asked := b.AS.Requests(authagenttest.PathAuthorize)
		body["id_token"] = forge(members{
			"iss": b.AS.URL, "sub": "agent_alice", "aud": "site", "nonce": asked[len(asked)-1].URL.Query().Get("nonce"),
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		})
	})))
}

// accepts signs alice in and checks that she is.
func (b *bench) accepts() {
	b.T.Helper()
	if s := b.MustSignIn(b.Browser(), b.Agent); s.Agent != (authagent.Agent{Issuer: b.AS.URL, ID: "agent_alice"}) || s.UserID != b.AliceID {
		b.T.Errorf("session %+v", s)
	}
}

// mustRefuseAfter signs alice in and checks the suite's own criterion: no session,
// and once the path with the bad answer was asked, nothing more to the server but
// for its keys, and to have the tokens revoked.
func (b *bench) mustRefuseAfter(path string) {
	b.T.Helper()
	resp := b.RefusedSignIn(b.Browser(), b.Agent)
	if got := resp.Reason(); got != problem.Reason("identity_mismatch") {
		b.T.Errorf("reason %q, want %q", got, problem.Reason("identity_mismatch"))
	}
	b.settled()
	asked := false
	for _, r := range b.AS.Requests("") {
		switch {
		case r.Path == path && !testsite.IsProbe(r):
			if asked {
				b.T.Errorf("%s was asked twice", path)
			}
			asked = true
		case asked && r.Path != authagenttest.PathJWKS && r.Path != authagenttest.PathRevoke:
			b.T.Errorf("%s %s after the bad answer", r.Method, r.Path)
		}
	}
	if !asked {
		b.T.Errorf("%s was never asked", path)
	}
}

// settled waits for what is under way in the background, after which nothing more is sent.
func (b *bench) settled() {
	b.T.Helper()
	if err := b.RP.Shutdown(b.T.Context()); err != nil {
		b.T.Fatal(err)
	}
}

// unprobed returns how many requests the server has had, but for the encoding
// probe, which a login starts in the background.
func (b *bench) unprobed() (n int) {
	for _, r := range b.AS.Requests("") {
		if !testsite.IsProbe(r) {
			n++
		}
	}
	return n
}

// TestConformance is, module by module, what the OpenID Foundation's suite for
// relying parties checks: the plans Basic, Config and Refresh for
// response_type=code, and those FAPI2 modules that are about plain OAuth.
func TestConformance(t *testing.T) {
	// A claim that is wrong or missing, in an id_token whose signature is good.
	claim := func(change members) func(*testing.T) {
		return func(t *testing.T) {
			b, key := newOIDCBench(t), newRSAKey(t, "k1")
			b.publishes(key)
			b.forges(func(claims members) string { return key.sign(with(claims, change), nil) })
			b.mustRefuseAfter(authagenttest.PathToken)
		}
	}
	withoutKid := func(ids ...string) func(*testing.T) {
		return func(t *testing.T) {
			b := newOIDCBench(t)
			var keys []*rsaKey
			for _, id := range ids {
				keys = append(keys, newRSAKey(t, id))
			}
			b.publishes(keys...)
			b.forges(func(claims members) string { return keys[len(keys)-1].sign(claims, members{"kid": nil}) })
			b.accepts()
		}
	}
	// The answer of an authorization that somebody has tampered with.
	response := func(change func(url.Values)) func(*testing.T) {
		return func(t *testing.T) {
			b := newOIDCBench(t, func(f *authagenttest.Features) { f.IssParameter = true })
			c := b.Browser()
			callback := mustParse(t, b.Authorize(b.Agent, b.Begin(c, "")))
			q, before, all := callback.Query(), b.BackChannel(), b.unprobed()
			if q.Get("iss") != b.AS.URL || q.Get("state") == "" || q.Get("code") == "" {
				t.Fatalf("callback %v", q)
			}
			change(q)
			callback.RawQuery = q.Encode()
			b.Refused(b.Get(c, callback.String()), before)
			if b.Me(c) != nil {
				t.Error("signed in")
			}
			b.settled()
			if got := b.unprobed() - all; got != 0 {
				t.Errorf("%d further requests", got)
			}
		}
	}

	for _, test := range []struct {
		module string
		run    func(*testing.T)
	}{
		{"oidcc-client-test", func(t *testing.T) {
			b := newOIDCBench(t)
			b.accepts()
			for path, want := range map[string]int{
				authagenttest.PathAuthorize: 1, authagenttest.PathUserInfo: 1, authagenttest.PathJWKS: 1,
			} {
				if got := b.AS.Count(path); got != want {
					t.Errorf("%d requests for %s, want %d", got, path, want)
				}
			}
			if got := b.grants("authorization_code"); got != 1 {
				t.Errorf("%d token requests", got)
			}
		}},
		{"oidcc-client-test-invalid-iss", claim(members{"iss": "https://evil.example"})},
		{"oidcc-client-test-missing-sub", claim(members{"sub": nil})},
		{"oidcc-client-test-invalid-aud", claim(members{"aud": "else"})},
		{"oidcc-client-test-missing-aud", claim(members{"aud": nil})},
		{"oidcc-client-test-missing-iat", claim(members{"iat": nil})},
		{"oidcc-client-test-nonce-invalid", claim(members{"nonce": "else"})},
		{"oidcc-client-test-kid-absent-single-jwks", withoutKid("k1")},
		// The suite allows either outcome where several keys fit. Each is tried here.
		{"oidcc-client-test-kid-absent-multiple-jwks", withoutKid("k1", "k2")},
		{"oidcc-client-test-idtoken-sig-rs256", func(t *testing.T) {
			b, key := newOIDCBench(t), newRSAKey(t, "k1")
			b.publishes(key)
			b.forges(func(claims members) string { return key.sign(claims, nil) })
			b.accepts()
		}},
		{"oidcc-client-test-invalid-sig-rs256", func(t *testing.T) {
			b, key, other := newOIDCBench(t), newRSAKey(t, "k1"), newRSAKey(t, "k1")
			b.publishes(key)
			b.forges(func(claims members) string { return other.sign(claims, nil) })
			b.mustRefuseAfter(authagenttest.PathToken)
		}},
		// The suite lets a client take one from the token endpoint. This one does not.
		{"oidcc-client-test-idtoken-sig-none", func(t *testing.T) {
			b := newOIDCBench(t)
			b.forges(func(claims members) string { return unsigned(members{"alg": "none"}, claims) })
			b.mustRefuseAfter(authagenttest.PathToken)
		}},
		{"oidcc-client-test-userinfo-invalid-sub", func(t *testing.T) {
			b := newOIDCBench(t)
			b.userinfo(members{"sub": "victim"})
			b.mustRefuseAfter(authagenttest.PathUserInfo)
		}},
		{"oidcc-client-test-scope-userinfo-claims", func(t *testing.T) {
			b := newOIDCBench(t)
			b.accepts()
			if got := b.AS.Requests(authagenttest.PathAuthorize)[0].URL.Query().Get("scope"); got != "openid profile email" {
				t.Errorf("scope %q", got)
			}
			if got := b.AS.Count(authagenttest.PathUserInfo); got != 1 {
				t.Errorf("%d userinfo requests", got)
			}
		}},
		{"oidcc-client-test-client-secret-basic", func(t *testing.T) {
			b := newOIDCBench(t, func(f *authagenttest.Features) { f.AuthMethods = []string{"client_secret_basic"} })
			b.accepts()
			for _, r := range b.AS.Requests(authagenttest.PathToken) {
				form, err := url.ParseQuery(string(r.Body))
				id, secret, ok := (&http.Request{Header: r.Header}).BasicAuth()
				if form.Get("grant_type") != "authorization_code" {
					continue
				}
				if err != nil || !ok || id != "site" || secret != url.QueryEscape(b.Config.ClientSecret) || form.Has("client_secret") {
					t.Errorf("Basic %v with %q, form %v", ok, id, form.Has("client_secret"))
				}
			}
		}},
		{"oidcc-client-test-discovery-openid-config", func(t *testing.T) {
			b := newOIDCBench(t)
			b.accepts()
			if b.AS.Count("/.well-known/openid-configuration") == 0 {
				t.Error("not asked for")
			}
		}},
		{"oidcc-client-test-discovery-jwks-uri-keys", func(t *testing.T) {
			b, key := newOIDCBench(t), newRSAKey(t, "k1")
			const elsewhere = "/keys-elsewhere"
			b.AS.Wrap("/.well-known/openid-configuration", authagenttest.WithMember("jwks_uri", b.AS.URL+elsewhere))
			b.AS.Wrap(elsewhere, authagenttest.Reply(200, "application/json", jwks(key)))
			b.forges(func(claims members) string { return key.sign(claims, nil) })
			b.accepts()
			if b.AS.Count(elsewhere) == 0 || b.AS.Count(authagenttest.PathJWKS) != 0 {
				t.Error("keys are not from jwks_uri")
			}
		}},
		{"oidcc-client-test-discovery-issuer-mismatch", func(t *testing.T) {
			b := newOIDCBench(t)
			b.AS.Wrap("/.well-known/openid-configuration", authagenttest.WithMember("issuer", b.AS.URL+"/else"))
			resp := b.Get(b.Browser(), "/auth/agent/login")
			if resp.StatusCode < 400 || len(resp.Cookies()) != 0 {
				t.Errorf("status %d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
			}
			for _, r := range b.AS.Requests("") {
				if !strings.HasPrefix(r.Path, "/.well-known/") || r.Path == authagenttest.PathJWKS {
					t.Errorf("%s %s after the bad metadata", r.Method, r.Path)
				}
			}
		}},
		{"oidcc-client-test-signing-key-rotation", func(t *testing.T) {
			b := newOIDCBench(t)
			b.accepts()
			b.AS.RotateKeys()
			b.accepts()
			if got := b.AS.Count(authagenttest.PathJWKS); got != 2 {
				t.Errorf("%d requests for keys, want 2", got)
			}
		}},
		{"oidcc-client-test-signing-key-rotation-just-before-signing", func(t *testing.T) {
			b, old, fresh := newOIDCBench(t), newRSAKey(t, "k1"), newRSAKey(t, "k2")
			b.publishes(old)
			b.forges(func(claims members) string { return old.sign(claims, nil) })
			b.accepts()
			b.forges(func(claims members) string {
				b.publishes(fresh) // while the token request is under way
				return fresh.sign(claims, nil)
			})
			b.accepts()
			// The key that was withdrawn is of no use any more.
			b.forges(func(claims members) string { return old.sign(claims, nil) })
			b.RefusedSignIn(b.Browser(), b.Agent)
		}},
		{"oidcc-client-test-userinfo-bearer-header", func(t *testing.T) {
			b := newOIDCBench(t)
			b.accepts()
			for _, r := range b.AS.Requests(authagenttest.PathUserInfo) {
				if r.Method != http.MethodGet || r.URL.RawQuery != "" || len(r.Body) != 0 || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
					t.Errorf("%s with query %q, %d bytes", r.Method, r.URL.RawQuery, len(r.Body))
				}
			}
		}},
		{"oidcc-client-test-refresh-token", refreshModule},
		{"fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-state-fails",
			response(func(q url.Values) { q.Set("state", q.Get("state")+"1") })},
		{"fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-missing-state-fails",
			response(func(q url.Values) { q.Del("state") })},
		{"fapi2-security-profile-final-client-test-invalid-authorization-response-iss",
			response(func(q url.Values) { q.Set("iss", "https://evil.example") })},
		{"fapi2-security-profile-final-client-test-remove-authorization-response-iss",
			response(func(q url.Values) { q.Del("iss") })},
		{"fapi2-security-profile-final-client-test-token-type-case-insensitivity", func(t *testing.T) {
			b := newOIDCBench(t)
			for _, kind := range []string{"bearer", "BEARER", "bEaReR"} {
				b.gives(members{"token_type": kind})
				b.accepts()
			}
		}},
		{"fapi2-security-profile-final-client-test-token-endpoint-response-without-expires_in", func(t *testing.T) {
			b := newOIDCBench(t)
			b.gives(members{"expires_in": nil})
			b.accepts()
		}},
	} {
		t.Run(test.module, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

// refreshModule uses the refresh token that is given out, and then the one that
// came in its place.
func refreshModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t, func(b *bench, c *authagent.Config) {
			b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
				*q, *f = authagenttest.Quirks{}, authagenttest.Features{OpenIDConfiguration: true, NoOAuthMetadata: true, IDToken: true}
			})
			c.Tokens.Store, c.Revocations = &memstore.Tokens{}, &memstore.Revocations{}
		})
		given := ""
		b.AS.Wrap(authagenttest.PathToken, authagenttest.Rewrite(func(body map[string]any) {
			given, _ = body["refresh_token"].(string)
		}))
		s := b.MustSignIn(b.Browser(), b.Agent)
		former := ""
		for range 2 {
			used := given
			time.Sleep(2 * time.Hour) // no access token lasts as long
			fresh, err := b.RP.TokenSource(t.Context(), s).Token()
			if err != nil {
				t.Fatal(err)
			}
			requests := b.AS.Requests(authagenttest.PathToken)
			form, _ := url.ParseQuery(string(requests[len(requests)-1].Body))
			if form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != used {
				t.Error("another refresh token was sent")
			}
			if fresh.AccessToken == "" || fresh.AccessToken == former || given == used {
				t.Error("no new tokens")
			}
			if in := b.askServer(authagenttest.PathIntrospect, fresh.AccessToken); in["active"] != true || in["sub"] != "agent_alice" || in["client_id"] != "site" {
				t.Errorf("introspection %v", in)
			}
			former = fresh.AccessToken
		}
	})
}
