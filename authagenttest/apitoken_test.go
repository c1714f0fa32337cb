package authagenttest_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

const resource = "https://shop.example/api"

// introspection is what the server says of a token to a client that proves itself. Handlers may call it.
func (b *bench) introspection(t *testing.T, token string, of authagenttest.Client) (says map[string]any) {
	t.Helper()
	asks := fields{"token": token, "client_id": of.ID, "client_secret": of.Secret}
	var r reply
	if b.s.Quirks.JSONBodies {
		r = b.postJSON(authagenttest.PathIntrospect, asks)
	} else {
		basic := base64.StdEncoding.EncodeToString([]byte(of.ID + ":" + of.Secret))
		r = b.postForm(authagenttest.PathIntrospect, asks.with("client_secret", "-"), "Authorization", "Basic "+basic)
	}
	if err := json.Unmarshal([]byte(r.body), &says); err != nil || r.status != 200 {
		t.Errorf("introspection: %d %s", r.status, r.body)
	}
	return says
}

// wantMembers compares members with what they should be; nil is a member that is not there.
func wantMembers(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			t.Errorf("%s: %s is %v, want %v", what, name, got[name], value)
		}
	}
}

// TestAccessToken: the JWT is that of RFC 9068, and introspection says the same of it, whichever form it has.
func TestAccessToken(t *testing.T) {
	for _, form := range []string{"JWT", "opaque"} {
		for name, b := range map[string]*bench{"published": newBench(t), "standard": standards(t)} {
			t.Run(form+" "+name, func(t *testing.T) {
				b.s.Features.ActorClaim = true
				agent := b.s.AddAgent(authagenttest.Agent{ID: "agent_3", UserID: "u-7", Scopes: []string{"read", "write"}})
				token := b.s.AccessToken(agent, authagenttest.APIToken{Audience: []string{resource}, Scopes: []string{"read", "admin"}, Form: form})
				now := float64(time.Now().Unix())
				want := map[string]any{
					"iss": issuer, "sub": "u-7", "act": map[string]any{"sub": "agent_3"}, "aud": resource, "scope": "read", "client_id": "app_of_the_agent",
				}
				says := b.introspection(t, token, b.client)
				wantMembers(t, "introspection", says, want)
				wantMembers(t, "introspection", says, map[string]any{"active": true, "token_type": "Bearer"})
				if iat := says["iat"].(float64); iat > now || iat < now-5 || says["exp"] != iat+3600 || says["jti"] == "" {
					t.Errorf("introspection: %v", says)
				}
				if form == "JWT" {
					claims := part(t, token, 1)
					wantMembers(t, "token", claims, want)
					wantMembers(t, "token", claims, map[string]any{"iat": says["iat"], "exp": says["exp"], "jti": says["jti"], "active": nil, "token_type": nil})
					wantMembers(t, "header", part(t, token, 0), map[string]any{"typ": "at+jwt", "alg": "ES256"})
				} else if !strings.HasPrefix(token, "at_") || strings.Contains(token, ".") {
					t.Errorf("token %s", token)
				}
				if r := b.userInfo(token); r.status != 401 || r.member("error") != "invalid_token" {
					t.Errorf("userinfo: %d %s", r.status, r.body)
				}
				other := b.s.AccessToken(b.second, authagenttest.APIToken{Audience: []string{resource}, Form: form})
				b.s.RevokeToken(token)
				if says := b.introspection(t, token, b.client); !reflect.DeepEqual(says, map[string]any{"active": false}) {
					t.Errorf("revoked: %v", says)
				}
				b.s.RevokeToken("")
				if says := b.introspection(t, other, b.other); says["active"] != true {
					t.Errorf("not revoked: %v", says)
				}
			})
		}
	}
}

// TestAccessTokenIntrospector: any client may ask about a token for an API, if it proves itself, and about no
// other token of another client.
func TestAccessTokenIntrospector(t *testing.T) {
	b := standards(t)
	token := b.s.AccessToken(b.agent, authagenttest.APIToken{Audience: []string{resource}})
	own, _ := b.pair()
	for _, client := range []authagenttest.Client{b.client, b.other} {
		if says := b.introspection(t, token, client); says["active"] != true || says["client_id"] == client.ID {
			t.Errorf("%s is told %v", client.ID, says)
		}
		if says := b.introspection(t, own, client); says["active"] != (client.ID == b.client.ID) {
			t.Errorf("%s is told %v of a token of %s", client.ID, says, b.client.ID)
		}
	}
	for _, secret := range []string{"", "wrong"} {
		if r := b.post(authagenttest.PathIntrospect, fields{"token": token, "client_id": b.client.ID, "client_secret": secret}); r.status != 401 {
			t.Errorf("secret %q: %d %s", secret, r.status, r.body)
		}
	}
	if got := b.s.Count(authagenttest.PathIntrospect); got != 6 {
		t.Errorf("counted %d", got)
	}
	// What the server says can be changed on the way.
	b.s.Wrap(authagenttest.PathIntrospect, authagenttest.WithMember("aud", "https://another.example"))
	if says := b.introspection(t, token, b.client); says["active"] != true || says["aud"] != "https://another.example" {
		t.Errorf("wrapped: %v", says)
	}
}

func TestAccessTokenSubject(t *testing.T) {
	person := authagenttest.Agent{ID: "person_1", UserID: "u-1", Person: true}
	guest := authagenttest.Agent{ID: "guest_1", Guest: true}
	agent := authagenttest.Agent{ID: "agent_3", Email: "carol@example.com", Model: "m3"}
	act := map[string]any{"sub": "agent_3"}
	for _, test := range []struct {
		name     string
		agent    authagenttest.Agent
		features authagenttest.Features
		want     map[string]any
	}{
		{"published", agent, authagenttest.Features{}, map[string]any{"sub": "agent_3", "act": nil, "model": "m3"}},
		{"actor", agent, authagenttest.Features{ActorClaim: true}, map[string]any{"sub": "carol@example.com", "act": act}},
		{"actor elsewhere", agent, authagenttest.Features{ActorClaim: true, ActorIn: []string{"id_token"}}, map[string]any{"sub": "carol@example.com", "act": nil}},
		{"person", person, authagenttest.Features{ActorClaim: true}, map[string]any{"sub": "u-1", "act": nil, "model": nil}},
		{"guest", guest, authagenttest.Features{ActorClaim: true}, map[string]any{"sub": "guest_1", "act": nil, "sub_profile": "ai_agent"}},
		{"claims", agent, authagenttest.Features{Claims: func(place string, of authagenttest.Agent) map[string]any {
			return map[string]any{"org": of.ID + place, "model": nil}
		}}, map[string]any{"sub": "agent_3", "model": nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := standards(t)
			b.s.Features = test.features
			token := b.s.AccessToken(b.s.AddAgent(test.agent), authagenttest.APIToken{Audience: []string{resource}})
			for place, says := range map[string]map[string]any{"access_token": part(t, token, 1), "introspection": b.introspection(t, token, b.client)} {
				want := maps.Clone(test.want)
				if test.features.Claims != nil {
					want["org"] = "agent_3" + place
				}
				wantMembers(t, place, says, want)
			}
		})
	}
}

func TestAPITokenFields(t *testing.T) {
	b := standards(t)
	for _, test := range []struct {
		name           string
		token          authagenttest.APIToken
		header, claims map[string]any
	}{
		{"zero", authagenttest.APIToken{}, nil, map[string]any{"aud": nil, "scope": nil, "cnf": nil, "sid": nil, "nbf": nil}},
		{"several audiences", authagenttest.APIToken{Audience: []string{resource, "urn:b"}}, nil, map[string]any{"aud": []any{resource, "urn:b"}}},
		{"client", authagenttest.APIToken{ClientID: "app_1"}, nil, map[string]any{"client_id": "app_1"}},
		{"typ", authagenttest.APIToken{Header: map[string]any{"typ": "JWT"}}, map[string]any{"typ": "JWT"}, nil},
		{"no typ", authagenttest.APIToken{Header: map[string]any{"typ": nil}}, map[string]any{"typ": nil}, nil},
		{"bound", authagenttest.APIToken{Claims: map[string]any{"cnf": map[string]any{"jkt": "x"}}}, nil, map[string]any{"cnf": map[string]any{"jkt": "x"}}},
		{"claims", authagenttest.APIToken{Claims: map[string]any{"sid": "s", "jti": "j", "iat": nil}}, nil, map[string]any{"sid": "s", "jti": "j", "iat": nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := b.s.AccessToken(b.agent, test.token)
			if err := verify(b, token); err != nil {
				t.Error(err)
			}
			wantMembers(t, "header", part(t, token, 0), test.header)
			wantMembers(t, "token", part(t, token, 1), test.claims)
			wantMembers(t, "introspection", b.introspection(t, token, b.client), test.claims)
		})
	}
	b.s.Features.OpaqueTokens = true
	if token := b.s.AccessToken(b.agent, authagenttest.APIToken{}); strings.Contains(token, ".") {
		t.Errorf("with OpaqueTokens: %s", token)
	}
	defer func() {
		if recover() == nil {
			t.Error("a form that does not exist: no panic")
		}
	}()
	b.s.AccessToken(b.agent, authagenttest.APIToken{Form: "jwt"})
}

func TestAccessTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := standards(t)
		long := b.s.AccessToken(b.agent, authagenttest.APIToken{})
		short := b.s.AccessToken(b.agent, authagenttest.APIToken{Lifetime: time.Minute})
		old := b.s.AccessToken(b.agent, authagenttest.APIToken{Age: 30 * time.Minute})
		gone := b.s.AccessToken(b.agent, authagenttest.APIToken{Age: 2 * time.Hour})
		now := float64(time.Now().Unix())
		wantMembers(t, "gone", part(t, gone, 1), map[string]any{"iat": now - 7200, "exp": now - 3600})
		for _, step := range []struct {
			passes time.Duration
			live   []string
			dead   []string
		}{
			{0, []string{long, short, old}, []string{gone}},
			{time.Minute, []string{long, old}, []string{short}},
			{29 * time.Minute, []string{long}, []string{old}},
			{30 * time.Minute, nil, []string{long}},
		} {
			time.Sleep(step.passes)
			for _, token := range step.live {
				if b.introspection(t, token, b.client)["active"] != true {
					t.Errorf("after %v: not active", time.Duration(float64(time.Now().Unix())-now)*time.Second)
				}
			}
			for _, token := range step.dead {
				if b.introspection(t, token, b.client)["active"] != false {
					t.Errorf("after %v: active", time.Duration(float64(time.Now().Unix())-now)*time.Second)
				}
			}
		}
	})
}

// TestAPIKeys: the keys are published from the first token on, or from the start with Features.Resources, and never
// without either.
func TestAPIKeys(t *testing.T) {
	const none = `{"keys":[]}`
	b := newBench(t)
	metadata := b.get(authagenttest.PathMetadata).body
	b.pair()
	b.s.AccessToken(b.agent, authagenttest.APIToken{Form: "opaque"})
	if got := b.get(authagenttest.PathJWKS).body; got != none {
		t.Errorf("before: %s", got)
	}
	b.s.Features.Resources = true
	early := b.get(authagenttest.PathJWKS).body
	b.s.Features.Resources = false
	token := b.s.AccessToken(b.agent, authagenttest.APIToken{})
	if got := b.get(authagenttest.PathJWKS).body; got != early || got == none {
		t.Errorf("after: %s\nwith Resources: %s", got, early)
	}
	b.s.RotateKeys()
	if err := verify(b, token); err != nil {
		t.Errorf("rotated once: %v", err)
	}
	b.s.RotateKeys()
	if verify(b, token) == nil {
		t.Error("a key of long ago is still published")
	}
	// Nothing else of the published server changes.
	if got := b.get(authagenttest.PathMetadata).body; got != metadata {
		t.Errorf("metadata %s", got)
	}
	if access, _ := b.pair(); decoded(t, strings.Split(access, ".")[0]) != `{"alg":"HS256"}` {
		t.Errorf("a token for the client: %s", access)
	}
	for features, alg := range map[*authagenttest.Features]string{{SignedTokens: "RS256"}: "RS256", {SignedTokens: "ES256"}: "ES256", {IDToken: true}: "RS256"} {
		b := newBench(t)
		b.s.Features = *features
		token := b.s.AccessToken(b.agent, authagenttest.APIToken{})
		if err := verify(b, token); err != nil || part(t, token, 0)["alg"] != alg {
			t.Errorf("want %s: header %v, %v", alg, part(t, token, 0), err)
		}
	}
}

// TestResources: with the parameter resource, the code grant gives a token for the API; without it, or where the
// server takes none, one for the client.
func TestResources(t *testing.T) {
	const second = "https://shop.example/second"
	both := "resource=" + resource + "&resource=" + second
	for _, test := range []struct {
		name      string
		off       bool
		authorize string // a query
		token     string // the parameter at /token
		aud       any
		refused   string
	}{
		{"none", false, "", "", nil, ""},
		{"off", true, both, second, nil, ""},
		{"one", false, "resource=" + resource, "", resource, ""},
		{"one, twice asked for", false, "resource=" + resource, resource, resource, ""},
		{"both", false, both, "", []any{resource, second}, ""},
		{"one of both", false, both, second, second, ""},
		{"another", false, "resource=" + resource, second, nil, "invalid_target"},
		{"at the end alone", false, "", second, nil, "invalid_target"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := standards(t)
			b.s.Features = authagenttest.Features{Resources: !test.off, SignedTokens: "ES256", IDToken: true}
			page := b.get(b.authorizationURL("scope", "openid read") + "&" + test.authorize)
			_, id, _ := strings.Cut(page.body, "request_id: '")
			id, _, _ = strings.Cut(id, "'")
			b.approve(id, b.agent)
			redemption := b.redemption(b.status(id).member("code"))
			r := b.token(redemption.with("resource", test.token))
			if r.member("error") != test.refused {
				t.Fatalf("got %d %s", r.status, r.body)
			}
			if test.refused != "" {
				if r := b.token(redemption); r.status != 200 {
					t.Errorf("the code was used up: %d %s", r.status, r.body)
				}
				return
			}
			access, refresh := b.mustPair(r)
			again, _ := b.mustPair(b.token(b.refreshment(refresh).with("resource", test.token)))
			typ, active := any("at+jwt"), true
			if test.aud == nil {
				typ, active = "JWT", false
			}
			for _, token := range []string{access, again} {
				wantMembers(t, "header", part(t, token, 0), map[string]any{"typ": typ})
				wantMembers(t, "token", part(t, token, 1), map[string]any{"aud": test.aud, "client_id": b.client.ID, "scope": "openid read"})
			}
			if says := b.introspection(t, again, b.other); says["active"] != active {
				t.Errorf("another client is told %v", says)
			}
			if says := b.introspection(t, access, b.client); says["active"] != false {
				t.Errorf("the refresh left the old one: %v", says)
			}
		})
	}
}

func TestResourceForm(t *testing.T) {
	b := standards(t)
	b.s.Features.Resources = true
	for resource, good := range map[string]bool{"https://shop.example/api?x=1": true, "urn:a": true, "/api": false, "https://shop.example/#f": false, "%zz": false} {
		r := b.get(b.authorizationURL("resource", resource))
		if r.status == 200 != good || !good && !strings.Contains(r.header.Get("Location"), "error=invalid_target") {
			t.Errorf("%s: %d %s", resource, r.status, r.header.Get("Location"))
		}
	}
}

// TestResourceOfRefresh: a refresh may ask for less than was granted, and not for more.
func TestResourceOfRefresh(t *testing.T) {
	b := standards(t)
	b.s.Features.Resources = true
	_, refresh := b.pair("resource", resource+" urn:b")
	if r := b.token(b.refreshment(refresh).with("resource", "urn:c")); r.status != 400 || r.member("error") != "invalid_target" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	access, refresh := b.mustPair(b.token(b.refreshment(refresh).with("resource", "urn:b")))
	if got := part(t, access, 1)["aud"]; got != "urn:b" {
		t.Errorf("aud %v", got)
	}
	if r := b.token(b.refreshment(refresh).with("resource", resource)); r.member("error") != "invalid_target" {
		t.Errorf("widened again: %d %s", r.status, r.body)
	}
}
