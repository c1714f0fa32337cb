package requirements_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/problem"
)

type members = map[string]any

// with returns m with some members changed; nil removes one.
func with(m, change members) members {
	m = maps.Clone(m)
	maps.Copy(m, change)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func compact(v any) string {
	text, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text)
}

// unsigned is a JWT with no signature at all.
func unsigned(header, claims members) string { return compact(header) + "." + compact(claims) + "." }

func signedHS256(key []byte, header, claims members) string {
	input := compact(with(members{"alg": "HS256"}, header)) + "." + compact(claims)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func signedES256(key *ecdsa.PrivateKey, header, claims members) string {
	input := compact(with(members{"alg": "ES256", "kid": "k1"}, header)) + "." + compact(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, _ := ecdsa.Sign(rand.Reader, key, digest[:])
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// publish has the server publish key as k1.
func (b *bench) publish(key *ecdsa.PrivateKey) {
	point, _ := key.PublicKey.Bytes()
	encode := base64.RawURLEncoding.EncodeToString
	body, _ := json.Marshal(members{"keys": []members{{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k1", "x": encode(point[1:33]), "y": encode(point[33:]),
	}}})
	b.AS.Wrap(authagenttest.PathJWKS, authagenttest.Reply(200, "application/json", string(body)))
}

// says has /userinfo say this.
func (b *bench) says(userinfo members) {
	body, _ := json.Marshal(userinfo)
	b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(200, "application/json", string(body)))
}

// gives has the token endpoint answer a code with these members.
func (b *bench) gives(token members) {
	b.AS.Wrap(authagenttest.PathToken, onCode(rewrite(token)))
}

// accessClaims are those of an access token of agent_alice.
func (b *bench) accessClaims() members {
	return members{
		"iss": b.AS.URL, "client_id": "site", "sub": "agent_alice", "model": "x", "scope": "openid profile email",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
}

// TestForgedAccessToken_ID_1: ID-1. What a JWT says is never enough to be somebody
// else than userinfo says, and the claims have to fit this site.
func TestForgedAccessToken_ID_1(t *testing.T) {
	b, s := newSpyBench(t, full, authagent.InsecureTrustEmail)
	b.Users.Add("victim@example.com", "Victim")
	b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	key := testsite.NewKey()
	try := func(name, token string, reason problem.Reason) {
		t.Helper()
		s.lookups = nil
		b.gives(members{"access_token": token})
		if reason == "" {
			if got := b.MustSignIn(b.Browser(), b.Agent); got.Agent.ID != "agent_alice" {
				t.Errorf("%s: %+v", name, got)
			}
			return
		}
		if got := b.RefusedSignIn(b.Browser(), b.Agent).Reason(); got != reason || len(s.lookups) != 0 {
			t.Errorf("%s: %s, want %s; looked up %q", name, got, reason, s.lookups)
		}
	}
	claims := b.accessClaims()
	try("good", signedHS256(key, nil, claims), "")
	for name, change := range map[string]members{
		"another subject":         {"sub": "victim"},
		"subject in another case": {"sub": "Agent_Alice"},
		"another issuer":          {"iss": "https://evil.example"},
		"issuer with a slash":     {"iss": b.AS.URL + "/"},
		"another client":          {"client_id": "other"},
		"a list of clients":       {"client_id": []string{"site"}},
		"expired":                 {"exp": time.Now().Add(-2 * time.Minute).Unix()},
		"expires in text":         {"exp": "tomorrow"},
		"expires out of range":    {"exp": -1},
		"an actor":                {"act": members{"sub": "agent_alice"}},
		"an empty actor":          {"act": members{}},
		"an actor that is text":   {"act": "agent_alice"},
	} {
		try(name, signedHS256(key, nil, with(claims, change)), problem.Reason("identity_mismatch"))
	}
	try("expired within the clocks' difference", signedHS256(key, nil, with(claims, members{"exp": time.Now().Add(-30 * time.Second).Unix()})), "")
	for _, alg := range []any{"none", "None", "NONE", "", nil} {
		try(fmt.Sprint("alg ", alg), unsigned(with(members{"alg": alg}, nil), claims), problem.Reason("identity_mismatch"))
	}
}

// TestOpaqueAccessToken_ID_1_ID_4: ID-1, ID-4. A token that says nothing is asked about,
// and nothing but true, this client and this subject will do.
func TestOpaqueAccessToken_ID_1_ID_4(t *testing.T) {
	for name, change := range map[string]func(b *bench, c *authagent.Config){
		"opaque": func(b *bench, _ *authagent.Config) {
			b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.OpaqueTokens = true })
		},
		"asked for": func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true },
	} {
		t.Run(name, func(t *testing.T) {
			b, s := newSpyBench(t, full, authagent.InsecureTrustEmail, change)
			b.MustSignIn(b.Browser(), b.Agent)
			good := members{"active": true, "client_id": "site", "sub": "agent_alice", "exp": time.Now().Add(time.Hour).Unix()}
			try := func(change members, ok bool) {
				t.Helper()
				s.lookups = nil
				body, _ := json.Marshal(with(good, change))
				b.AS.Wrap(authagenttest.PathIntrospect, authagenttest.Reply(200, "application/json", string(body)))
				if ok {
					b.MustSignIn(b.Browser(), b.Agent)
				} else if b.RefusedSignIn(b.Browser(), b.Agent); len(s.lookups) != 0 {
					t.Errorf("%v: looked up %q", change, s.lookups)
				}
			}
			b.gives(members{"refresh_token": nil}) // or each refusal would be asked about again, a second later
			at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
			for _, change := range []members{
				{}, {"exp": at(-30 * time.Second)}, {"exp": nil}, {"iss": b.AS.URL}, {"model": 1}, {"aud": "else"},
			} {
				try(change, true)
			}
			for _, change := range []members{
				{"active": false}, {"active": "true"}, {"active": 1}, {"active": nil}, {"active": nil, "Active": true},
				{"client_id": "other"}, {"client_id": nil}, {"client_id": ""}, {"client_id": []string{"site"}}, {"client_id": "SITE"},
				{"sub": "victim"}, {"sub": nil}, {"sub": ""}, {"sub": 1}, {"sub": "agent_alice "}, {"sub": "Agent_alice"},
				{"exp": at(-2 * time.Minute)}, {"exp": "soon"}, {"exp": -1}, {"iss": "https://evil.example"},
				{"act": members{"sub": "agent_alice"}}, {"act": members{}}, {"act": members{"sub": ""}}, {"act": "agent_alice"},
			} {
				try(change, false)
			}
		})
	}
	b := newBenchOn(t, quickServer(t), func(b *bench, _ *authagent.Config) { // two dots are no JWT
		b.AS.Wrap(authagenttest.PathIntrospect, authagenttest.Reply(200, "application/json", `{"active":true,"client_id":"site","sub":"agent_alice"}`))
		b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	})
	for _, token := range []string{"opaque123", "a.b.c", "..", "a.b.c.d.e"} {
		b.gives(members{"access_token": token})
		b.MustSignIn(b.Browser(), b.Agent)
	}
}

// TestIntrospectionDisagrees_ID_4: ID-4, where no userinfo is asked that would disagree
// as well: what the server says of the token and what the token says are one.
func TestIntrospectionDisagrees_ID_4(t *testing.T) {
	b, s := newSpyBench(t, fresh, nil, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true })
	for _, sub := range []string{"victim", "Agent_alice", "agent_alicE"} {
		b.AS.Wrap(authagenttest.PathIntrospect, authagenttest.WithMember("sub", sub))
		if got := b.RefusedSignIn(b.Browser(), b.Agent).Reason(); got != problem.Reason("identity_mismatch") || len(s.wanted) != 0 {
			t.Errorf("ID-4 %s: %s, profiles %v", sub, got, s.wanted)
		}
	}
	b.AS.Wrap(authagenttest.PathIntrospect, nil)
	b.MustSignIn(b.Browser(), b.Agent)
}

// TestSubjects: ID-2, wherever a subject comes from.
func TestSubjects(t *testing.T) {
	for i, scenario := range scenarios {
		b, s := newSpyBench(t, i, authagent.InsecureTrustEmail, createUsers)
		for _, sub := range []any{nil, 1, true, []string{"a"}, members{}, "", strings.Repeat("a", 256), "a\x00b", "a\nb", "a\x7f", "\u0085a", " a", "a ", "\ufffd"} {
			claims := with(b.accessClaims(), members{"sub": sub})
			b.gives(members{"access_token": signedHS256(testsite.NewKey(), nil, claims), "refresh_token": nil})
			b.says(with(members{"email": "alice@example.com"}, members{"sub": sub}))
			b.RefusedSignIn(b.Browser(), b.Agent)
			b.gives(members{"access_token": signedHS256(testsite.NewKey(), nil, b.accessClaims())})
			if i != fresh { // which does not ask
				b.RefusedSignIn(b.Browser(), b.Agent)
			}
			if len(s.lookups)+len(s.created)+len(s.wanted) != 0 {
				t.Errorf("%s, %q: looked up %q, created %v, profile %v", scenario.name, sub, s.lookups, s.created, s.wanted)
			}
		}
		long := strings.Repeat("a", 255)
		b.gives(members{"access_token": signedHS256(testsite.NewKey(), nil, with(b.accessClaims(), members{"sub": long}))})
		b.says(members{"sub": long, "email": "alice@example.com"})
		b.MustSignIn(b.Browser(), b.Agent)
	}
}

// TestAgentsAreApart_ID_3: ID-3. Letter case counts, and so does the issuer.
func TestAgentsAreApart_ID_3(t *testing.T) {
	b, s := newSpyBench(t, fresh, nil)
	other := newBenchOn(t, quickServer(t), func(_ *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(s) })
	seen := map[string]bool{}
	for _, at := range []*bench{b, other} {
		for _, id := range []string{"Agent_A", "agent_a", "agent-a"} {
			session := at.MustSignIn(at.Browser(), at.AS.AddAgent(authagenttest.Agent{ID: id}))
			if session.Agent != (authagent.Agent{Issuer: at.AS.URL, ID: id}) || seen[session.ProfileID] {
				t.Errorf("%s: %+v", id, session)
			}
			seen[session.ProfileID] = true
		}
	}
	for _, p := range s.wanted {
		if strings.Contains(p.Agent.ID, "http") || p.Agent.Issuer != b.AS.URL && p.Agent.Issuer != other.AS.URL {
			t.Errorf("profile %+v", p)
		}
	}
}

// TestUserInfoFails_ID_5: ID-5. One refresh, a second later, and one more try; no
// half login.
func TestUserInfoFails_ID_5(t *testing.T) {
	reply := authagenttest.Reply
	refusal := reply(401, "application/json", `{"error":"invalid_token"}`)
	inactive := reply(200, "application/json", `{"active":false}`)
	for _, test := range []struct {
		name       string
		mw         wrapper
		introspect wrapper
		status     int // 0 for success
	}{
		{"401 for ever", refusal, nil, 400},
		{"401 once", authagenttest.FailFirst(1, refusal), nil, 0},
		{"401 twice", authagenttest.FailFirst(2, refusal), nil, 400},
		{"401 HTML", reply(401, "text/html", "<p>"), nil, 400},
		{"403", reply(403, "application/json", `{"error":"insufficient_scope"}`), nil, 400},
		{"404", reply(404, "text/plain", "404 Not Found"), nil, 400},
		{"429", reply(429, "", ""), nil, 502},
		{"500", reply(500, "application/json", `{"error":"server_error"}`), nil, 502},
		{"503", reply(503, "", ""), nil, 502},
		{"empty", reply(200, "application/json", ""), nil, 502},
		{"HTML", reply(200, "text/html", "<p>"), nil, 502},
		{"another subject after the refresh", func(next http.Handler) http.Handler {
			return authagenttest.WithMember("sub", "victim")(next)
		}, nil, 400},
		{"inactive for ever", nil, inactive, 400},
		{"inactive once", nil, authagenttest.FailFirst(1, inactive), 0},
		{"inactive once, then 401 for ever", refusal, authagenttest.FailFirst(1, inactive), 400},
		{"inactive once, then 401 once", authagenttest.FailFirst(1, refusal), authagenttest.FailFirst(1, inactive), 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = test.introspect != nil })
				b.AS.Wrap(authagenttest.PathUserInfo, test.mw)
				b.AS.Wrap(authagenttest.PathIntrospect, test.introspect)
				c := b.Browser()
				resp := b.SignIn(c, b.Agent)
				if test.status == 0 {
					if resp.StatusCode != http.StatusSeeOther || b.Me(c) == nil {
						t.Errorf("status %d %s", resp.StatusCode, resp.Text)
					}
				} else if resp.StatusCode != test.status || b.Me(c) != nil {
					t.Errorf("status %d %s, want %d", resp.StatusCode, resp.Text, test.status)
				}
				if asked, refreshed := b.AS.Count(authagenttest.PathUserInfo), b.grants("refresh_token"); asked > 2 || refreshed > 1 {
					t.Errorf("%d userinfo requests, %d refreshes", asked, refreshed)
				}
				requests := b.AS.Requests(authagenttest.PathToken)
				if b.grants("refresh_token") == 1 && requests[len(requests)-1].Time.Sub(requests[len(requests)-2].Time) < time.Second {
					t.Error("refreshed within a second")
				}
			})
		})
	}
}

// TestSubjectAfterRefresh: ID-6. The refreshed token has to speak of the same
// agent, whatever the first answer was.
func TestSubjectAfterRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t)
		b.Users.Add("victim@example.com", "Victim")
		first := authagenttest.FailFirst(1, authagenttest.Reply(401, "", ""))
		b.AS.Wrap(authagenttest.PathUserInfo, func(next http.Handler) http.Handler {
			return first(authagenttest.Reply(200, "application/json", `{"sub":"victim","email":"victim@example.com"}`)(next))
		})
		c := b.Browser()
		if resp := b.SignIn(c, b.Agent); resp.Reason() != problem.Reason("identity_mismatch") || b.Me(c) != nil {
			t.Errorf("status %d %s", resp.StatusCode, resp.Text)
		}
	})
}

// TestFreeText: ID-10.
func TestFreeText(t *testing.T) {
	b, s := newSpyBench(t, contextual, authagent.InsecureTrustEmail)
	for i, test := range []struct{ name, want string }{
		{strings.Repeat("n", 1e6), strings.Repeat("n", 256)},
		{"\u202egnp.exe", "gnp.exe"},
		{"a\r\nSet-Cookie: x=1", "a Set-Cookie: x=1"},
		{strings.Repeat("é", 300), strings.Repeat("é", 256)},
		{"a\x00\x1b[31mb", "a[31mb"},
	} {
		id := fmt.Sprint("agent_", i)
		agent := b.AS.AddAgent(authagenttest.Agent{ID: id, Email: "alice@example.com", Model: "m\u202e\r\nx"})
		b.userinfo(members{"name": test.name})
		c := b.Browser()
		resp := b.SignIn(c, agent)
		session := b.Me(c)
		if session == nil || session.Model != "m x" || resp.Header.Get("Set-Cookie") == "x=1" {
			t.Fatalf("%.20q: session %+v, header %v", test.name, session, resp.Header)
		}
		if got := s.wanted[i].Name; got != test.want || !utf8.ValidString(got) {
			t.Errorf("name %.40q, want %.40q", got, test.want)
		}
	}
	for line := range strings.Lines(b.Log.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of the log is not ours: %q", line)
		}
	}
}

// TestTokenKey: a site that holds the server's secret checks the signature, with
// that key and algorithm only.
func TestTokenKey(t *testing.T) {
	b := newBenchOn(t, quickServer(t), func(b *bench, c *authagent.Config) { c.Provider.TokenKey = b.AS.JWTSecret })
	b.MustSignIn(b.Browser(), b.Agent)
	b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.publish(key)
	claims := b.accessClaims()
	good := signedHS256(b.AS.JWTSecret, nil, claims)
	b.gives(members{"access_token": good})
	b.MustSignIn(b.Browser(), b.Agent)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"another key":        signedHS256(testsite.NewKey(), nil, claims),
		"no key":             signedHS256(nil, nil, claims),
		"cut off":            good[:len(good)-4],
		"without signature":  parts[0] + "." + parts[1] + ".",
		"another payload":    parts[0] + "." + compact(with(claims, members{"sub": "victim"})) + "." + parts[2],
		"none":               unsigned(members{"alg": "none"}, claims),
		"none, with one":     compact(members{"alg": "none"}) + "." + parts[1] + "." + parts[2],
		"another name":       signedHS256(b.AS.JWTSecret, members{"alg": "HS512"}, claims),
		"a published key's":  signedES256(key, nil, claims),
		"in another case":    signedHS256(b.AS.JWTSecret, members{"alg": "hs256"}, claims),
		"two members of one": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","alg":"HS256"}`)) + "." + parts[1] + "." + parts[2],
	} {
		b.gives(members{"access_token": token, "refresh_token": nil})
		if got := b.SignIn(b.Browser(), b.Agent); got.StatusCode < 400 {
			t.Errorf("%s: status %d", name, got.StatusCode)
		}
	}
}

// TestPublishedKeys: tokens that are signed with a published key are verified
// with it, and a new key is found.
func TestPublishedKeys(t *testing.T) {
	for _, features := range []authagenttest.Features{
		{SignedTokens: "ES256"}, {SignedTokens: "RS256"}, {IDToken: true}, {SignedTokens: "ES256", IDToken: true},
	} {
		as := quickServer(t)
		as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { *f = features })
		b := newBenchOn(t, as)
		for range 3 {
			b.soon("")
			as.RotateKeys()
		}
		as.Wrap(authagenttest.PathJWKS, authagenttest.Reply(200, "application/json", `{"keys":[]}`))
		as.RotateKeys()
		b.soon(problem.Reason("identity_mismatch"))
		as.Wrap(authagenttest.PathJWKS, authagenttest.Reply(500, "", ""))
		b.soon(problem.Reason("server_unavailable"))
		as.Wrap(authagenttest.PathJWKS, nil)
		b.soon("")
	}
	// The published server's tokens need no keys: ID-1.
	for name, mw := range map[string]wrapper{"404": authagenttest.Reply(404, "", ""), "500": authagenttest.Reply(500, "", "")} {
		b := newBenchOn(t, quickServer(t))
		b.AS.Wrap(authagenttest.PathJWKS, mw)
		b.AS.Wrap(authagenttest.PathMetadata, map[string]wrapper{"404": authagenttest.WithoutMember("jwks_uri")}[name])
		b.MustSignIn(b.Browser(), b.Agent)
	}
	// A stranger's key with the right name, or a name that nobody has.
	b := newBenchOn(t, quickServer(t))
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.publish(key)
	b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	for name, test := range map[string]struct {
		token string
		ok    bool
	}{
		"good":            {signedES256(key, nil, b.accessClaims()), true},
		"no kid":          {signedES256(key, members{"kid": nil}, b.accessClaims()), true},
		"another key":     {signedES256(stranger, nil, b.accessClaims()), false},
		"another kid":     {signedES256(key, members{"kid": "k2"}, b.accessClaims()), false},
		"a key within":    {signedES256(stranger, members{"jwk": members{"kty": "EC"}, "jku": "https://evil.example"}, b.accessClaims()), false},
		"another alg":     {signedES256(key, members{"alg": "RS256"}, b.accessClaims()), false},
		"critical header": {signedES256(key, members{"crit": []string{"x"}, "x": 1}, b.accessClaims()), false},
	} {
		b.gives(members{"access_token": test.token, "refresh_token": nil})
		if got := b.SignIn(b.Browser(), b.Agent); (got.StatusCode < 400) != test.ok {
			t.Errorf("%s: status %d %s", name, got.StatusCode, got.Text)
		}
	}
}

// soon signs in until the outcome is the one wanted, "" for success. The server
// has just changed its keys, and a sign-in may share a fetch of keys
// that has ended but not been put away yet.
func (b *bench) soon(want problem.Reason) {
	b.T.Helper()
	var resp *response
	for range 100 {
		if resp = b.SignIn(b.Browser(), b.Agent); resp.Reason() == want && (resp.StatusCode < 400) == (want == "") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.T.Fatalf("signing in ends with %d %q, want %q\nlog: %s", resp.StatusCode, resp.Reason(), want, b.Log)
}

// TestIDTokenWithoutKeys_ID_1: ID-1. Where the server publishes no keys at all, an
// id_token proves nothing, however it is signed, and no scenario reads one.
func TestIDTokenWithoutKeys_ID_1(t *testing.T) {
	for _, test := range []struct {
		name    string
		members members // of the metadata; nil removes
	}{{"no jwks_uri", members{"jwks_uri": nil}}, {"no keys in it", nil}} {
		t.Run(test.name, func(t *testing.T) {
			b, s := newSpyBench(t, fresh, nil, func(_ *bench, c *authagent.Config) { c.Provider.Scopes = []string{"openid", "profile"} })
			b.AS.Wrap(authagenttest.PathMetadata, authagenttest.Rewrite(func(m map[string]any) {
				for name := range test.members {
					delete(m, name)
				}
			}))
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			for _, sub := range []string{"victim", "agent_alice"} {
				for name, sign := range map[string]func(members) string{
					"none":  func(claims members) string { return unsigned(members{"alg": "none"}, claims) },
					"HS256": func(claims members) string { return signedHS256([]byte(b.Config.ClientSecret), nil, claims) },
					"ES256": func(claims members) string { return signedES256(key, nil, claims) },
				} {
					b.forges(func(claims members) string { return sign(with(claims, members{"sub": sub})) })
					if got := b.RefusedSignIn(b.Browser(), b.Agent).Reason(); got != problem.Reason("identity_mismatch") || len(s.wanted) != 0 {
						t.Errorf("%s, %s: reason %s, profiles %v", sub, name, got, s.wanted)
					}
				}
			}
		})
	}
}

// TestIDToken_ID_1: ID-1 and OpenID Connect Core 3.1.3.7, as the conformance suite tests it.
func TestIDToken_ID_1(t *testing.T) {
	b, s := newSpyBench(t, full, authagent.InsecureTrustEmail)
	b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	public, _ := x509.MarshalPKIXPublicKey(key.Public())
	b.publish(key)
	hash := func(token string) string {
		sum := sha256.Sum256([]byte(token))
		return base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	access := signedHS256(testsite.NewKey(), nil, b.accessClaims())
	now := time.Now()
	sign := func(change members) func(members) string {
		return func(claims members) string { return signedES256(key, nil, with(claims, change)) }
	}
	for _, test := range []struct {
		name string
		make func(claims members) string
		ok   bool
	}{
		{"good", sign(nil), true},
		{"at_hash", sign(members{"at_hash": hash(access)}), true},
		{"azp", sign(members{"azp": "site"}), true},
		{"two audiences with azp", sign(members{"aud": []string{"site", "x"}, "azp": "site"}), true},
		{"invalid-iss", sign(members{"iss": "https://evil.example"}), false},
		{"missing-iss", sign(members{"iss": nil}), false},
		{"missing-sub", sign(members{"sub": nil}), false},
		{"another sub", sign(members{"sub": "victim"}), false},
		{"invalid-aud", sign(members{"aud": "other"}), false},
		{"missing-aud", sign(members{"aud": nil}), false},
		{"two audiences", sign(members{"aud": []string{"site", "x"}}), false},
		{"another azp", sign(members{"azp": "other"}), false},
		{"missing-iat", sign(members{"iat": nil}), false},
		{"expired", sign(members{"exp": now.Add(-time.Hour).Unix()}), false},
		{"missing-exp", sign(members{"exp": nil}), false},
		{"nonce-invalid", sign(members{"nonce": "other"}), false},
		{"missing nonce", sign(members{"nonce": nil}), false},
		{"empty nonce", sign(members{"nonce": ""}), false},
		{"nonce of another type", sign(members{"nonce": 1}), false},
		{"at_hash of another token", sign(members{"at_hash": hash("x")}), false},
		{"an actor", sign(members{"act": members{"sub": "agent_alice"}}), false},
		{"sig-none", func(c members) string { return unsigned(members{"alg": "none"}, c) }, false},
		{"sig-none, victim", func(c members) string { return unsigned(members{"alg": "none"}, with(c, members{"sub": "victim"})) }, false},
		{"invalid-sig", func(c members) string { return signedES256(stranger, nil, c) }, false},
		{"no signature", func(c members) string { return unsigned(members{"alg": "ES256", "kid": "k1"}, c) }, false},
		{"HS256 with the public key", func(c members) string { return signedHS256(public, members{"kid": "k1"}, c) }, false},
		{"HS256 with the client secret", func(c members) string { return signedHS256([]byte(b.Config.ClientSecret), nil, c) }, false},
		{"kid of nobody", func(c members) string { return signedES256(key, members{"kid": "k2"}, c) }, false},
		{"kid-absent-single-jwks", func(c members) string { return signedES256(key, members{"kid": nil}, c) }, true},
		{"not a JWT", func(members) string { return "x" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.T, s.lookups = t, nil
			c := b.Browser()
			location := b.Begin(c, "")
			claims := members{
				"iss": b.AS.URL, "sub": "agent_alice", "aud": "site", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
				"nonce": mustParse(t, location).Query().Get("nonce"),
			}
			b.gives(members{"access_token": access, "id_token": test.make(claims), "refresh_token": nil})
			resp := b.Get(c, b.Authorize(b.Agent, location))
			session := b.Me(c)
			switch {
			case test.ok && (session == nil || session.Agent.ID != "agent_alice"):
				t.Errorf("status %d %s, session %+v\n%s", resp.StatusCode, resp.Text, session, b.Log)
			case !test.ok && (session != nil || resp.StatusCode < 400 || len(s.lookups) != 0):
				t.Errorf("status %d, session %+v, looked up %q", resp.StatusCode, session, s.lookups)
			}
		})
	}
}

// TestIDTokenNotAskedFor: without the openid scope no nonce is sent, so that nothing
// ties an id_token to the login: one that comes all the same is refused.
func TestIDTokenNotAskedFor(t *testing.T) {
	b, s := newSpyBench(t, full, authagent.InsecureTrustEmail, func(_ *bench, c *authagent.Config) { c.Provider.Scopes = []string{"profile", "email"} })
	b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.publish(key)
	now := time.Now()
	for name, nonce := range map[string]any{"none": nil, "empty": "", "a nonce": "n"} {
		c := b.Browser()
		location := b.Begin(c, "")
		if mustParse(t, location).Query().Has("nonce") {
			t.Fatal("a nonce was sent")
		}
		claims := with(members{"iss": b.AS.URL, "sub": "agent_alice", "aud": "site", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}, members{"nonce": nonce})
		b.gives(members{"access_token": "opaque", "id_token": signedES256(key, nil, claims), "refresh_token": nil})
		resp := b.Get(c, b.Authorize(b.Agent, location))
		if b.Me(c) != nil || resp.Reason() != problem.Reason("identity_mismatch") || len(s.lookups) != 0 {
			t.Errorf("nonce %s: status %d %s, looked up %q", name, resp.StatusCode, resp.Text, s.lookups)
		}
	}
}

// TestActor: the setting says who sub is, and a token of the other shape is
// refused, so that no agent passes for a user, nor a user for an agent.
func TestActor(t *testing.T) {
	for _, kind := range []struct {
		name     string
		features authagenttest.Features
		change   func(*authagent.Config)
	}{
		{"JWT", authagenttest.Features{}, nil},
		{"signed", authagenttest.Features{SignedTokens: "ES256"}, nil},
		{"opaque", authagenttest.Features{OpaqueTokens: true}, nil},
		{"id_token", authagenttest.Features{IDToken: true}, nil},
		{"introspected", authagenttest.Features{}, func(c *authagent.Config) { c.Provider.Introspect = true }},
	} {
		for _, actor := range []bool{false, true} {
			for _, setting := range []bool{false, true} {
				t.Run(fmt.Sprint(kind.name, actor, setting), func(t *testing.T) {
					b, s := newSpyBench(t, contextual, authagent.InsecureTrustEmail, func(b *bench, c *authagent.Config) {
						c.Provider.SubjectIsUser = setting
						if kind.change != nil {
							kind.change(c)
						}
						b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
							*f = kind.features
							f.ActorClaim = actor
						})
					})
					agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_x", UserID: "owner_y", Email: "alice@example.com"})
					if actor != setting {
						b.MustRefuseSignIn(agent, 400, problem.Reason("identity_mismatch"))
						if len(s.lookups)+len(s.wanted) != 0 {
							t.Errorf("looked up %q, wanted %+v", s.lookups, s.wanted)
						}
						return
					}
					if got := b.MustSignIn(b.Browser(), agent); got.Agent.ID != "agent_x" || got.UserID != b.AliceID {
						t.Errorf("session %+v", got)
					}
					if slices.ContainsFunc(s.wanted, func(p authagent.Profile) bool { return p.Agent.ID != "agent_x" }) {
						t.Errorf("wanted %+v", s.wanted)
					}
				})
			}
		}
	}

	// The two sides of one token have to agree on both.
	b := newBenchOn(t, quickServer(t), func(_ *bench, c *authagent.Config) { c.Provider.SubjectIsUser, c.Provider.Introspect = true, true })
	claims := with(b.accessClaims(), members{"sub": "owner_y", "act": members{"sub": "agent_alice"}})
	introspection := members{"active": true, "client_id": "site", "sub": "owner_y", "act": members{"sub": "agent_alice"}}
	userinfo := members{"sub": "owner_y", "email": "alice@example.com"}
	for _, test := range []struct {
		name                            string
		claims, introspection, userinfo members
		ok                              bool
	}{
		{"good", nil, nil, nil, true},
		{"introspection names another user", nil, members{"sub": "victim"}, members{"sub": "victim"}, false},
		{"introspection names another agent", nil, members{"act": members{"sub": "victim"}}, nil, false},
		{"userinfo names another user", nil, nil, members{"sub": "victim"}, false},
		{"userinfo names the agent", nil, nil, members{"sub": "agent_alice"}, false},
		{"the agent is the user", members{"act": members{"sub": "owner_y"}}, members{"act": members{"sub": "owner_y"}}, nil, false},
		{"the agent has no name", members{"act": members{"sub": ""}}, members{"act": members{"sub": ""}}, nil, false},
		{"the agent is of another issuer", members{"act": members{"sub": "agent_alice", "iss": "https://evil.example"}}, nil, nil, false},
		{"introspection: the agent is of another issuer", nil, members{"act": members{"sub": "agent_alice", "iss": "https://evil.example"}}, nil, false},
	} {
		b.T = t
		body, _ := json.Marshal(with(introspection, test.introspection))
		b.AS.Wrap(authagenttest.PathIntrospect, authagenttest.Reply(200, "application/json", string(body)))
		b.says(with(userinfo, test.userinfo))
		b.gives(members{"access_token": signedHS256(testsite.NewKey(), nil, with(claims, test.claims)), "refresh_token": nil})
		if got := b.SignIn(b.Browser(), b.Agent); (got.StatusCode < 400) != test.ok {
			t.Errorf("%s: status %d %s", test.name, got.StatusCode, got.Text)
		}
	}
}
