package authagenttest_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// keyed returns a bench whose client has keys, and the first of their private halves.
func keyed(t *testing.T) (*bench, ed25519.PrivateKey) {
	t.Helper()
	b := standards(t)
	b.s.Features.AuthMethods = []string{"private_key_jwt", "client_secret_post"}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b.client = b.s.AddClient(authagenttest.Client{ID: "site_1", RedirectURIs: []string{callback}, Keys: []crypto.PublicKey{public}})
	return b, private
}

// claims are good ones of an assertion.
func claims() map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": "site_1", "sub": "site_1", "aud": issuer, "jti": rand.Text(), "iat": now, "exp": now + 60}
}

func signed(key ed25519.PrivateKey, header, claims map[string]any) string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	input := part(header) + "." + part(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}

var eddsa = map[string]any{"alg": "EdDSA", "typ": "JWT"}

// prove has a client prove itself by an assertion when it redeems a code that nobody has. A server
// that takes the client complains of the code.
func (b *bench) prove(assertion string, change ...string) string {
	b.t.Helper()
	m := b.redemption("made-up").with("client_secret", "-", "client_assertion_type", assertionType, "client_assertion", assertion)
	return b.postForm(authagenttest.PathToken, m.with(change...)).member("error")
}

// TestAssertionStrict: an assertion is taken once, and only if all of it is as RFC 7523 section 3
// has it.
func TestAssertionStrict(t *testing.T) {
	b, key := keyed(t)
	if b.client.Secret != "" {
		t.Errorf("a client with keys has the secret %q", b.client.Secret)
	}
	first := signed(key, eddsa, claims())
	for i, want := range []string{"invalid_grant", "invalid_client"} {
		if got := b.prove(first); got != want {
			t.Errorf("time %d: %s, want %s", i+1, got, want)
		}
	}
	now := time.Now().Unix()
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	for _, test := range []struct {
		name  string
		claim string
		value any // nil for none
		want  string
	}{
		{"the token endpoint", "aud", issuer + "/token", "invalid_grant"},
		{"another audience", "aud", "https://other.example", "invalid_client"},
		{"two audiences", "aud", []string{issuer, "https://other.example"}, "invalid_client"},
		{"no audience", "aud", nil, "invalid_client"},
		{"another issuer", "iss", "site_2", "invalid_client"},
		{"another client", "sub", "site_2", "invalid_client"},
		{"nobody", "sub", nil, "invalid_client"},
		{"no jti", "jti", nil, "invalid_client"},
		{"no exp", "exp", nil, "invalid_client"},
		{"expired", "exp", now - 1, "invalid_client"},
		{"for ever", "exp", now + 3600, "invalid_client"},
		{"no iat", "iat", nil, "invalid_client"},
		{"later", "iat", now + 60, "invalid_client"},
		{"not yet", "nbf", now + 60, "invalid_client"},
	} {
		c := claims()
		if c[test.claim] = test.value; test.value == nil {
			delete(c, test.claim)
		}
		if got := b.prove(signed(key, eddsa, c)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	with := func(name string, value any) map[string]any {
		h := maps.Clone(eddsa)
		h[name] = value
		return h
	}
	good := signed(key, eddsa, claims())
	for name, assertion := range map[string]string{
		"another key":        signed(stranger, eddsa, claims()),
		"another algorithm":  signed(key, with("alg", "Ed25519"), claims()),
		"none":               signed(key, with("alg", "none"), claims()),
		"RS256":              signed(key, with("alg", "RS256"), claims()),
		"another type":       signed(key, with("typ", "at+jwt"), claims()),
		"something critical": signed(key, with("crit", []string{"x"}), claims()),
		"no signature":       good[:strings.LastIndexByte(good, '.')+1],
		"two parts":          good[:strings.LastIndexByte(good, '.')],
		"no JWT":             "x.y.z",
	} {
		if got := b.prove(assertion); got != "invalid_client" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, change := range map[string][]string{
		"a secret beside it": {"client_secret", "x"},
		"no type":            {"client_assertion_type", "-"},
	} {
		if got := b.prove(signed(key, eddsa, claims()), change...); got != "invalid_request" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := b.prove(signed(key, eddsa, claims()), "client_id", "site_2"); got != "invalid_client" {
		t.Errorf("another client_id: %s", got)
	}
	if got := b.prove(signed(key, eddsa, claims()), "client_id", "-"); got != "invalid_grant" {
		t.Errorf("no client_id: %s", got)
	}
	if got := b.postForm(authagenttest.PathToken, b.redemption("x").with("client_secret", "x")).member("error"); got != "invalid_client" {
		t.Errorf("a secret instead: %s", got)
	}
	b.s.Features.AuthMethods = nil
	if got := b.prove(signed(key, eddsa, claims())); got != "invalid_client" {
		t.Errorf("where it is not offered: %s", got)
	}
}

// TestAssertionKeysFetched: the keys at JWKSURL are read when one is not known, and those that are
// no longer there are good until then.
func TestAssertionKeysFetched(t *testing.T) {
	b, _ := keyed(t)
	var fetched atomic.Int32
	var set atomic.Value // of map[string]ed25519.PublicKey
	site := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		var keys []string
		for id, key := range set.Load().(map[string]ed25519.PublicKey) {
			keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","use":"sig","kid":%q,"x":%q}`, id, base64.RawURLEncoding.EncodeToString(key)))
		}
		fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(append(keys, `{"kty":"EC","crv":"P-256"}`, `{"kty":"x"}`), ","))
	})
	b.s.HTTPClient = &http.Client{Transport: authagenttest.Hosts{"site.example": site}}
	b.client = b.s.AddClient(authagenttest.Client{ID: "site_1", RedirectURIs: []string{callback}, JWKSURL: "https://site.example/keys"})
	public1, key1, _ := ed25519.GenerateKey(rand.Reader)
	public2, key2, _ := ed25519.GenerateKey(rand.Reader)
	by := func(key ed25519.PrivateKey, id string) string {
		return b.prove(signed(key, map[string]any{"alg": "EdDSA", "kid": id}, claims()))
	}
	step := func(name, want string, fetches int32, got string) {
		t.Helper()
		if got != want || fetched.Load() != fetches {
			t.Errorf("%s: %s after %d fetches, want %s after %d", name, got, fetched.Load(), want, fetches)
		}
	}
	set.Store(map[string]ed25519.PublicKey{"1": public1})
	step("the first", "invalid_grant", 1, by(key1, "1"))
	step("again", "invalid_grant", 1, by(key1, "1"))
	step("one that is not there", "invalid_client", 2, by(key2, "2"))
	set.Store(map[string]ed25519.PublicKey{"2": public2})
	step("withdrawn, and not looked at", "invalid_grant", 2, by(key1, "1"))
	step("the second", "invalid_grant", 3, by(key2, "2"))
	step("withdrawn", "invalid_client", 4, by(key1, "1"))
	step("the second under another name", "invalid_client", 5, by(key2, "3"))
}

// TestPushedRequests: a request that was pushed is taken once, and for its client.
func TestPushedRequests(t *testing.T) {
	b := standards(t)
	if r := b.postForm(authagenttest.PathPushed, b.authorization()); r.status != 404 {
		t.Errorf("where it is not offered: %d", r.status)
	}
	b.s.Features.PushedRequests = "required"
	for name, want := range map[string]string{
		"pushed_authorization_request_endpoint": issuer + "/par", "require_pushed_authorization_requests": "true",
	} {
		if got := b.get(authagenttest.PathMetadata).member(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	request := b.authorization().with("client_secret", b.client.Secret)
	push := func(change ...string) (uri string) {
		t.Helper()
		r := b.postForm(authagenttest.PathPushed, request.with(change...))
		if r.status != http.StatusCreated || r.member("expires_in") != "90" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return r.member("request_uri")
	}
	open := func(uri, client string) int {
		t.Helper()
		return b.get(issuer + "/authorize?" + fields{"request_uri": uri, "client_id": client, "state": "other"}.query()).status
	}
	uri := push()
	if got := []int{open(uri, "site_1"), open(uri, "site_1"), open(push(), "site_2"), open("urn:x", "site_1")}; fmt.Sprint(got) != "[200 400 400 400]" {
		t.Errorf("taken, again, by another client, made up: %v", got)
	}
	if r := b.get(b.authorizationURL()); r.status != 400 || !strings.Contains(r.body, "Pushed authorization request is required") {
		t.Errorf("one that was not pushed: %d %s", r.status, r.body)
	}
	for _, test := range []struct {
		change []string
		status int
		code   string
	}{
		{[]string{"client_secret", "wrong"}, 401, "invalid_client"},
		{[]string{"client_secret", "-"}, 401, "invalid_client"},
		{[]string{"redirect_uri", "https://other.example/"}, 400, "invalid_request"},
		{[]string{"request_uri", "urn:x"}, 400, "invalid_request"},
		{[]string{"code_challenge_method", "plain"}, 400, "invalid_request"},
	} {
		if r := b.postForm(authagenttest.PathPushed, request.with(test.change...)); r.status != test.status || r.member("error") != test.code {
			t.Errorf("%v: %d %s", test.change, r.status, r.body)
		}
	}
	b.s.Features.PushedRequests = "offered"
	if r := b.get(b.authorizationURL()); r.status != 200 {
		t.Errorf("one that was not pushed, and need not be: %d", r.status)
	}
}

// TestPushedExpires: a request that was pushed is good for 90 seconds.
func TestPushedExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := standards(t)
		b.s.Features.PushedRequests = "offered"
		for wait, want := range map[time.Duration]int{90 * time.Second: 200, 91 * time.Second: 400} {
			uri := b.postForm(authagenttest.PathPushed, b.authorization().with("client_secret", b.client.Secret)).member("request_uri")
			time.Sleep(wait)
			if r := b.get(issuer + "/authorize?" + fields{"request_uri": uri, "client_id": "site_1"}.query()); r.status != want {
				t.Errorf("after %v: %d, want %d", wait, r.status, want)
			}
		}
	})
}
