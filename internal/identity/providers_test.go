package identity_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/wire"
)

// A golden is a line of testdata/identity/providers.jsonl: what a provider's tokens say, and whom
// they speak of under some settings. Shapes are the providers', values are made up.
type golden struct {
	Provider, Shape, Source string
	Known                   string // "documented", or "inferred" from what is
	Settings                struct {
		SubjectIsUser bool `json:"subject_is_user"`
		People        bool
	}
	ID            claims          `json:"id_token"`
	Access        json.RawMessage `json:"access_token"`     // claims, "opaque" or null
	Signature     string          `json:"access_signature"` // "secret": HS256, and no keys are published; else ES256
	Introspection claims
	Want          struct {
		Kind        string // agent, guest, person or refused
		Agent, User string
		Prior       []audit.Agent
	}
}

func goldens(t testing.TB) (all []golden) {
	t.Helper()
	file, err := os.Open("../../testdata/identity/providers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		var g golden
		if err := decoder.Decode(&g); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		all = append(all, g)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// A provider signs tokens, publishes its key if it has one, and answers introspection.
type provider struct {
	issuer        string
	key           *ecdsa.PrivateKey // nil for one that publishes an empty set
	introspection []byte            // nil for none
	asked         int
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// server is the provider as a site speaks to it.
func (p *provider) server() *wire.Server {
	client := wire.NewClient(&http.Client{Transport: p}, nil)
	pins := wire.Endpoints{
		Authorization: p.issuer + "/authorize", Token: p.issuer + "/token", Introspection: p.issuer + "/introspect", JWKS: p.issuer + "/keys",
	}
	if p.introspection == nil {
		pins.Introspection = ""
	}
	return wire.NewServer(client, wire.NewSource(client, wire.Settings{Issuer: p.issuer, Pins: pins}), wire.Registration{
		ID: "site", RedirectURL: "https://site.example/callback", Encoding: wire.Form, Auth: wire.AuthPost,
		Secret: func(context.Context) (string, error) { return "secret", nil },
	})
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	body := []byte(`{"keys":[]}`)
	switch {
	case strings.HasSuffix(r.URL.Path, "/introspect"):
		p.asked++
		body = p.introspection
	case !strings.HasSuffix(r.URL.Path, "/keys"):
		return nil, errors.New("no such endpoint")
	case p.key != nil:
		point, _ := p.key.PublicKey.Bytes()
		body, _ = json.Marshal(claims{"keys": []claims{{
			"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k1", "x": encodeBytes(point[1:33]), "y": encodeBytes(point[33:]),
		}}})
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: -1, Request: r,
	}, nil
}

func encodeBytes(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign signs a payload with the published key, or with a secret that nobody else has.
func (p *provider) sign(payload []byte) string {
	if p.key == nil {
		return signedText(encode(claims{"alg": "HS256"}), payload)
	}
	input := encode(claims{"alg": "ES256", "kid": "k1"}) + "." + encodeBytes(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + encodeBytes(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// timed gives claims the times of now, where they have any.
func timed(c claims) claims {
	now := time.Now()
	change := claims{}
	for claim, at := range map[string]time.Time{"iat": now, "nbf": now, "auth_time": now, "exp": now.Add(time.Hour)} {
		if _, ok := c[claim]; ok {
			change[claim] = at.Unix()
		}
	}
	return with(c, change)
}

// issuer returns who has issued the tokens.
func (g *golden) issuer(access claims) string {
	for _, c := range []claims{g.ID, access, g.Introspection} {
		if iss, ok := c["iss"].(string); ok {
			return iss
		}
	}
	return issuer
}

// establish asks whom the tokens speak of.
func (g *golden) establish(t *testing.T, key *ecdsa.PrivateKey) (*identity.Identity, error) {
	t.Helper()
	var access claims
	json.Unmarshal(g.Access, &access) // or it is opaque
	p := &provider{issuer: g.issuer(access), key: key}
	if g.Signature == "secret" {
		p.key = nil
	}
	sign := func(c claims) string {
		payload, err := json.Marshal(timed(c))
		if err != nil {
			t.Fatal(err)
		}
		return p.sign(payload)
	}
	token, nonce := &wire.Token{Access: "opaque"}, ""
	if g.ID != nil {
		token.ID, nonce = sign(g.ID), "n"
	}
	if access != nil {
		token.Access = sign(access)
	}
	if g.Introspection != nil {
		p.introspection, _ = json.Marshal(timed(g.Introspection))
	}
	v := identity.Verifier{Issuer: p.issuer, ClientID: "site", SubjectIsUser: g.Settings.SubjectIsUser, People: g.Settings.People}
	return v.Establish(t.Context(), p.server(), token, nonce)
}

// TestProviders_ACT_1: each provider's tokens speak of whom they speak of there, and of nobody under
// settings that they are not for.
func TestProviders_ACT_1(t *testing.T) {
	key := newKey(t)
	kinds := map[string]int{}
	for _, g := range goldens(t) {
		kinds[g.Want.Kind]++
		id, err := g.establish(t, key)
		name := g.Provider + ", " + g.Shape
		if g.Want.Kind == "refused" {
			if err == nil {
				t.Errorf("%s %+v: %+v, want a refusal", name, g.Settings, id)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %+v: %v", name, g.Settings, err)
			continue
		}
		kind := "agent"
		switch {
		case id.Kind == identity.Person:
			kind = "person"
		case g.Settings.SubjectIsUser && id.User == "":
			kind = "guest"
		}
		if kind != g.Want.Kind || id.Agent != g.Want.Agent || id.User != g.Want.User || !slices.Equal(id.Prior, g.Want.Prior) {
			t.Errorf("%s %+v: %s %+v, want %+v", name, g.Settings, kind, id, g.Want)
		}
		if (kind == "person") != (id.Claims != nil) {
			t.Errorf("%s: claims %s", name, id.Claims)
		}
	}
	for _, kind := range []string{"agent", "guest", "person", "refused"} {
		if kinds[kind] < 3 {
			t.Errorf("%d lines of %q", kinds[kind], kind)
		}
	}
}
