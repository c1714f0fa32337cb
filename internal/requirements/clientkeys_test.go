package requirements_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

const keysPath = "/auth/agent/keys"

// newKey returns a key that signs assertions.
func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// withKeys has the site prove itself with keys, which the server reads where they are mounted.
func withKeys(keys ...crypto.Signer) checkChange {
	return func(b *bench, c *authagent.Config) {
		b.AS.AddClient(authagenttest.Client{ID: c.ClientID, RedirectURIs: []string{c.RedirectURL}, JWKSURL: b.URL + keysPath})
		b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
			*q, f.AuthMethods = authagenttest.Quirks{}, []string{"private_key_jwt"}
		})
		c.ClientSecret, c.Provider.ClientKeys = "", keys
	}
}

// mountKeys mounts ClientKeysHandler, as a site does.
func (b *bench) mountKeys() {
	b.Mux("").Handle(keysPath, b.RP.ClientKeysHandler())
}

// provedBy returns the forms of the requests that have an assertion.
func (b *bench) provedBy(paths ...string) (forms []url.Values) {
	for _, path := range paths {
		for _, r := range b.AS.Requests(path) {
			if form, _ := url.ParseQuery(string(r.Body)); form.Has("client_assertion") {
				forms = append(forms, form)
			}
		}
	}
	return forms
}

// TestAssertions_CAUTH_6 is CAUTH-6: with keys, each request that the server has of the client has
// an assertion of its own, for the server alone, and no secret. A server that is strict takes
// all of them, by each kind of key, and nothing is asked beforehand.
func TestAssertions_CAUTH_6(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	for name, test := range map[string]struct {
		key      crypto.Signer
		takes    []string
		audience string // after the issuer
	}{
		"ES256": {newKey(t), nil, ""}, "RS256": {rsaKey, nil, ""}, "PS256": {rsaKey, []string{"PS256"}, ""},
		"EdDSA": {edKey, nil, ""}, "Ed25519": {edKey, []string{"Ed25519"}, ""},
		"for the token endpoint": {newKey(t), nil, authagenttest.PathToken},
	} {
		t.Run(name, func(t *testing.T) {
			as := rfcServer(t)
			as.Features.AssertionAlgorithms, as.Features.PushedRequests = test.takes, "required"
			b := newBenchOn(t, as, withKeys(test.key), func(b *bench, c *authagent.Config) {
				c.Provider.Introspect, c.Tokens.Store = true, &memstore.Tokens{}
				if test.audience != "" {
					c.Provider.AssertionAudience = b.AS.URL + test.audience
				}
			})
			b.mountKeys()
			for range 2 {
				c := b.Browser()
				b.MustSignIn(c, b.Agent)
				if resp := b.Do(c, http.MethodPost, "/auth/agent/logout", "Origin", b.URL); resp.StatusCode >= 400 {
					t.Fatalf("logout: %d %s", resp.StatusCode, resp.Text)
				}
			}
			if err := b.RP.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			paths := []string{authagenttest.PathToken, authagenttest.PathIntrospect, authagenttest.PathRevoke, authagenttest.PathPushed}
			seen := map[string]bool{}
			forms := b.provedBy(paths...)
			for _, form := range forms {
				payload := strings.Split(form.Get("client_assertion"), ".")[1]
				data, _ := base64.RawURLEncoding.DecodeString(payload)
				var claims struct{ Iss, Sub, Aud, Jti string }
				json.Unmarshal(data, &claims)
				if claims.Iss != b.Config.ClientID || claims.Sub != b.Config.ClientID || claims.Aud != b.AS.URL+test.audience {
					t.Errorf("claims %s", data)
				}
				if seen[claims.Jti] {
					t.Errorf("jti %s was sent twice", claims.Jti)
				}
				seen[claims.Jti] = true
			}
			sent := 0
			for _, path := range paths {
				for _, r := range b.AS.Requests(path) {
					sent++
					if r.Header.Get("Authorization") != "" || strings.Contains(string(r.Body), "client_secret") {
						t.Errorf("%s: %v %s", path, r.Header, r.Body)
					}
				}
			}
			if len(forms) != sent || sent != 8 {
				t.Errorf("%d of %d requests have an assertion, want 8 of 8", len(forms), sent)
			}
		})
	}
}

// TestKeysReplaced_CAUTH_7 is CAUTH-7: a key is replaced in three steps, one instance after the
// other, and no sign-in fails on the way.
func TestKeysReplaced_CAUTH_7(t *testing.T) {
	first, second := newKey(t), newKey(t)
	b := newBenchOn(t, rfcServer(t), withKeys(first))
	set := func(name string, keys ...crypto.Signer) {
		rp := b.Instance(name, func(c *authagent.Config) { c.Provider.ClientKeys = keys })
		b.Mux(name).Handle(keysPath, rp.ClientKeysHandler())
		for _, instance := range []string{"", "two"} {
			if b.Mux(instance) == nil {
				continue
			}
			c := b.Browser()
			login := b.Get(c, "/auth/agent/login", "X-Instance", instance)
			callback := b.Authorize(b.Agent, login.Header.Get("Location"))
			if resp := b.Get(c, callback, "X-Instance", instance); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("after %q has %d keys, at %q: %d %s", name, len(keys), instance, resp.StatusCode, resp.Text)
			}
		}
	}
	set("", first)
	set("two", first)
	for _, keys := range [][]crypto.Signer{{first, second}, {second, first}, {second}} {
		set("", keys...)
		set("two", keys...)
	}
	kids := map[string]bool{}
	for _, form := range b.provedBy(authagenttest.PathToken) {
		kids[strings.Split(form.Get("client_assertion"), ".")[0]] = true
	}
	if len(kids) != 2 {
		t.Errorf("%d keys have signed, want 2", len(kids))
	}
}

// A service is one that keeps a key, and may fail.
type service struct {
	*ecdsa.PrivateKey
	fail atomic.Value // of func() error
}

func (s *service) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.fail.Load().(func() error)(); err != nil {
		return nil, err
	}
	return s.PrivateKey.Sign(random, digest, opts)
}

func good() error { return nil }

// TestSignerFails_CAUTH_8 is CAUTH-8: while a key cannot sign, nothing is sent and nothing is used
// up. The answer calls it a fault of the site and says no more; the log has the cause.
func TestSignerFails_CAUTH_8(t *testing.T) {
	for name, fail := range map[string]func() error{
		"an error": func() error { return errors.New("vault is sealed") },
		"a panic":  func() error { panic("vault is sealed") },
	} {
		t.Run(name, func(t *testing.T) {
			key := &service{PrivateKey: newKey(t)}
			key.fail.Store(good)
			b := newBenchOn(t, rfcServer(t), withKeys(key))
			b.mountKeys()
			c := b.Browser()
			callback := b.Authorize(b.Agent, b.Begin(c, ""))
			key.fail.Store(fail)
			before := b.BackChannel()
			resp := b.Get(c, callback)
			if reason := b.Refused(resp, before); reason != problem.StoreFailed || resp.StatusCode != 500 || strings.Contains(resp.Text, "vault") {
				t.Errorf("reason %s, status %d: %s", reason, resp.StatusCode, resp.Text)
			}
			if log := b.Log.String(); !strings.Contains(log, "no client assertion") || strings.Contains(log, "vault is sealed") != (name == "an error") {
				t.Errorf("the log has\n%s", log)
			}
			findings := b.RP.Check(t.Context())
			if len(findings) != 1 || !strings.Contains(lineOf(findings[0]), "ERROR Provider.ClientKeys: The client assertion cannot be signed") {
				t.Errorf("Check: %v", findings)
			}
			key.fail.Store(good)
			if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther || b.Me(c) == nil {
				t.Errorf("the same callback, once the key signs: %d %s", resp.StatusCode, resp.Text)
			}
		})
	}
}

// TestKeySettings_CAUTH_9 is CAUTH-9: New refuses keys that cannot be used, by their place, and
// settings that contradict one another.
func TestKeySettings_CAUTH_9(t *testing.T) {
	key := newKey(t)
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	for want, change := range map[string]func(*authagent.Config){
		"Provider.ClientKeys[1]: is nil":        func(c *authagent.Config) { c.Provider.ClientKeys = []crypto.Signer{key, nil} },
		"Provider.ClientKeys[0]: is an RSA key": func(c *authagent.Config) { c.Provider.ClientKeys = []crypto.Signer{short} },
		"Provider.ClientKeys[2]: is the same":   func(c *authagent.Config) { c.Provider.ClientKeys = []crypto.Signer{newKey(t), key, key} },
		"ClientSecret, Provider.ClientKeys: ": func(c *authagent.Config) {
			c.ClientSecret = "client-secret"
		},
		"Provider.ClientSecretFunc, Provider.ClientKeys: ": func(c *authagent.Config) { c.Provider.ClientSecretFunc = (&rotating{}).get },
		"ClientSecret: is required":                        func(c *authagent.Config) { c.Provider.ClientKeys = nil },
		"Provider.ClientAuth: is client_secret_post, and":  func(c *authagent.Config) { c.Provider.ClientAuth = "client_secret_post" },
		"Provider.ClientAuth: is private_key_jwt, which": func(c *authagent.Config) {
			c.ClientSecret, c.Provider.ClientKeys, c.Provider.ClientAuth = "client-secret", nil, "private_key_jwt"
		},
		"Provider.AssertionAudience: has no effect": func(c *authagent.Config) {
			c.ClientSecret, c.Provider.ClientKeys, c.Provider.AssertionAudience = "client-secret", nil, "https://as.example/token"
		},
		"Provider.TokenEncoding: is application/json, and": func(c *authagent.Config) { c.Provider.TokenEncoding = "application/json" },
		"": func(c *authagent.Config) {
			c.Provider.ClientAuth, c.Provider.TokenEncoding = "private_key_jwt", "application/x-www-form-urlencoded"
			c.Provider.AssertionAudience = "https://as.example/token"
		},
	} {
		c := validConfig()
		c.ClientSecret, c.Provider.ClientKeys = "", []crypto.Signer{key}
		change(&c)
		_, err := authagent.New(c)
		if want == "" && err != nil || want != "" && (err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.HasPrefix(err.Error(), "authagent: "+want)) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestKeysCheck_CAUTH_10 is CAUTH-10: Check names ClientKeys and what to do where the server does
// not take the assertions, or says that it would not.
func TestKeysCheck_CAUTH_10(t *testing.T) {
	unregistered := func(b *bench, c *authagent.Config) {
		b.AS.AddClient(authagenttest.Client{ID: c.ClientID, RedirectURIs: []string{c.RedirectURL}, Keys: []crypto.PublicKey{newKey(t).Public()}})
	}
	pushed := func(mode string) checkChange {
		return feature(func(f *authagenttest.Features) { f.PushedRequests = mode })
	}
	for name, test := range map[string]struct {
		changes []checkChange
		want    []string
	}{
		"all is well":         {nil, nil},
		"all is well, pushed": {[]checkChange{pushed("required")}, nil},
		"another key":         {[]checkChange{unregistered}, []string{"ERROR Provider.ClientKeys: The server does not accept the assertion"}},
		"another key, pushed": {[]checkChange{unregistered, pushed("required")}, []string{"ERROR Provider.ClientKeys: The server does not accept the assertion"}},
		"another audience": {[]checkChange{func(b *bench, c *authagent.Config) { c.Provider.AssertionAudience = b.AS.URL + "/other" }},
			[]string{"ERROR Provider.ClientKeys: The server does not accept the assertion"}},
		"not offered": {[]checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint_auth_methods_supported", []string{"client_secret_post"}))},
			[]string{"ERROR Provider.ClientKeys: Provider.ClientKeys is set, and the server's metadata does not offer private_key_jwt"}},
		"another algorithm": {[]checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint_auth_signing_alg_values_supported", []string{"RS256"}))},
			[]string{"ERROR Provider.ClientKeys: The first key signs with ES256"}},
		"a server that reads JSON": {[]checkChange{func(b *bench, _ *authagent.Config) {
			b.AS.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { *q = authagenttest.PublishedQuirks() })
		}}, []string{"ERROR Provider.ClientKeys: The server reads JSON alone"}},
		"code first, another key": {[]checkChange{unregistered, wrapped(authagenttest.PathToken, codeAndRefreshFirst)},
			[]string{"ERROR Provider.ClientKeys: The token endpoint does not look at the assertion"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBenchOn(t, rfcServer(t), append([]checkChange{withKeys(newKey(t))}, test.changes...)...)
			b.mountKeys()
			findings := b.RP.Check(t.Context())
			findingsAre(t, b, findings, test.want)
		})
	}
}

// TestKeysPublished_CAUTH_11 is CAUTH-11: ClientKeysHandler serves the public part of all keys and
// nothing of the private one, and an empty set without keys.
func TestKeysPublished_CAUTH_11(t *testing.T) {
	first, second := newKey(t), newKey(t)
	b := newBenchOn(t, rfcServer(t), withKeys(first, second))
	b.mountKeys()
	resp := b.Get(b.Bare(), keysPath)
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(resp.Text), &set); err != nil || resp.StatusCode != 200 || len(set.Keys) != 2 {
		t.Fatalf("%d %s", resp.StatusCode, resp.Text)
	}
	for i, key := range []*ecdsa.PrivateKey{first, second} {
		point, _ := key.PublicKey.Bytes()
		if set.Keys[i]["x"] != base64.RawURLEncoding.EncodeToString(point[1:33]) || set.Keys[i]["d"] != "" {
			t.Errorf("key %d: %v", i, set.Keys[i])
		}
	}
	if got := resp.Header.Get("Cache-Control"); got != "public, max-age=3600" {
		t.Errorf("Cache-Control %q", got)
	}
	plain := newBenchOn(t, rfcServer(t))
	plain.mountKeys()
	if resp := plain.Get(plain.Bare(), keysPath); resp.StatusCode != 200 || strings.TrimSpace(resp.Text) != `{"keys":[]}` {
		t.Errorf("without keys: %d %s", resp.StatusCode, resp.Text)
	}
}
