package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/url"
	"testing"

	"github.com/authagent-go/authagent"
)

const keysPath = "/auth/agent/keys"

// TestPanvaKeys_CAUTH_6: an agent signs in at panva's oidc-provider where the site proves itself
// with each kind of key, which the provider reads at the site, and where authorization requests
// have to be pushed. Check finds nothing, and Check at another key's site says what is wrong.
func TestPanvaKeys_CAUTH_6(t *testing.T) {
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, 2048)
	ec256, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec521, err3 := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, ed, err4 := ed25519.GenerateKey(rand.Reader)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		at   panva
		key  crypto.Signer
		push bool
	}{
		{"RS256", panva{Assertion: "RS256"}, rsaKey, false},
		{"PS256", panva{Assertion: "PS256"}, rsaKey, false},
		{"ES256, pushed", panva{Assertion: "ES256", Pushed: true}, ec256, false},
		{"ES512, issuer with a path", panva{Assertion: "ES512", Path: "/tenants/one"}, ec521, true},
		{"EdDSA, pushed", panva{Assertion: "EdDSA"}, ed, true},
		{"any, pushed", panva{Pushed: true}, rsaKey, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.at.Auth, test.at.IDToken = "private_key_jwt", "ES256"
			s := atPanva(t, test.at, func(s *site, c *authagent.Config) {
				fullAccount(s, c)
				c.ClientSecret, c.Provider.ClientKeys, c.Provider.Introspect = "", []crypto.Signer{test.key}, true
				c.Provider.PushRequests = test.push
				c.Provider.AuthorizationParams = url.Values{"ui_locales": {"de"}}
			})
			s.Mux("").Handle(keysPath, s.RP.ClientKeysHandler())
			status, location, body := s.signInAtPanva()
			if status != http.StatusSeeOther || location != s.URL+"/" || s.Me(s.browser) == nil {
				t.Fatalf("callback: status %d, Location %q, %s", status, location, body)
			}
			pushed := s.provider.got(test.at.Path + "/request")
			if want := test.push || test.at.Pushed; len(pushed) > 0 != want {
				t.Errorf("%d requests were pushed", len(pushed))
			}
			for _, r := range append(pushed, s.provider.got(test.at.Path+"/token")...) {
				if r.form.Has("client_secret") || r.Header.Get("Authorization") != "" {
					t.Errorf("a secret in %v", r.form)
				}
			}
			if findings := s.RP.Check(t.Context()); len(findings) != 0 {
				t.Errorf("findings %v", findings)
			}
			other, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			wrong := s.Instance("other", func(c *authagent.Config) { c.Provider.ClientKeys = []crypto.Signer{other} })
			findings := wrong.Check(t.Context())
			if len(findings) == 0 || findings[0].Setting != "Provider.ClientKeys" {
				t.Errorf("findings with another key: %v", findings)
			}
		})
	}
}

// TestPanvaPushed_PAR_1: requests are pushed with a secret too, by post and by Basic.
func TestPanvaPushed_PAR_1(t *testing.T) {
	for _, auth := range []string{"client_secret_post", "client_secret_basic"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			s := atPanva(t, panva{Auth: auth, IDToken: "RS256", Pushed: true}, fullAccount)
			status, location, body := s.signInAtPanva()
			if status != http.StatusSeeOther || location != s.URL+"/" || s.Me(s.browser) == nil {
				t.Fatalf("callback: status %d, Location %q, %s", status, location, body)
			}
			if n := len(s.provider.got("/request")); n != 1 {
				t.Errorf("%d requests were pushed, want 1", n)
			}
			if findings := s.RP.Check(t.Context()); len(findings) != 0 {
				t.Errorf("findings %v", findings)
			}
		})
	}
}
