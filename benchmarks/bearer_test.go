package benchmarks

import (
	"net/http"
	"testing"
	"time"
)

// TestBearer: every way to take an access token lets the right ones in, and looks at the same.
func TestBearer(t *testing.T) {
	for _, s := range signers() {
		p := newAPIProvider(s)
		t.Cleanup(p.Close)
		with := func(name string, value any) string {
			claims := p.accessClaims()
			claims[name] = value
			return s.as(accessType).sign(claims.json())
		}
		past, valid := time.Now().Add(-time.Hour).Unix(), p.accessJWT(1)
		refused := map[string]string{
			"forged": madeUp(valid, 1), "absent": "", "another audience": with("aud", clientID), "another issuer": with("iss", "https://as.example"),
			"expired": with("exp", past), "another subject": with("sub", ""), "an id_token": s.sign(object{
				"iss": p.URL, "sub": agentID, "aud": []string{resource, clientID}, "email": email, "iat": past, "exp": past + 7200, "nonce": nonce,
			}.json()),
		}
		for _, b := range jwtBearings() {
			t.Run(s.alg+"/"+b.name, func(t *testing.T) {
				if b.name == "auth0" { // which does not look at the type
					refused := refused
					delete(refused, "an id_token")
				}
				knocks(t, b.setUp(p), valid, refused)
			})
		}
		t.Run(s.alg+"/limit", func(t *testing.T) {
			knocks(t, signatureAPI(p), valid, map[string]string{"forged": madeUp(valid, 1), "absent": ""})
		})
	}
	p, valid, refused := newAPIProvider(signers()[0]), accessOpaque(1), map[string]string{"forged": "made-up", "absent": ""}
	t.Cleanup(p.Close)
	for _, b := range append(opaqueBearings(), bearing{"limit", roundTripAPI}) {
		t.Run("opaque/"+b.name, func(t *testing.T) { knocks(t, b.setUp(p), valid, refused) })
	}
	t.Run("opaque-known/limit", func(t *testing.T) { knocks(t, lookUpAPI(roundTripAPI)(p), valid, refused) })
}

// knocks tries tokens at a door, the good one twice: it is known by then.
func knocks(t *testing.T, door http.Handler, valid string, refused map[string]string) {
	t.Helper()
	w := newDiscard()
	for range 2 {
		w.reset()
		if door.ServeHTTP(w, call(valid)); w.status != http.StatusOK {
			t.Errorf("valid: status %d", w.status)
		}
	}
	for name, token := range refused {
		w.reset()
		if door.ServeHTTP(w, call(token)); w.status != http.StatusUnauthorized && !(token == "" && w.status == http.StatusBadRequest) {
			t.Errorf("%s: status %d", name, w.status)
		}
	}
}

// BenchmarkBearer is a request with an access token. (E)
//
// "known" and "opaque-known" are of a token that has come before. "ES256", "RS256" and "EdDSA" are of JWTs that come for the
// first time, "opaque-new" is of tokens that have to be introspected. "forged" is of JWTs (ES256) that were made up, another
// one each time, and "absent" of requests without a token.
func BenchmarkBearer(b *testing.B) {
	jwts := func(limit func(*provider) http.Handler) []bearing {
		return append(jwtBearings(), bearing{"limit", limit})
	}
	opaque := func(limit func(*provider) http.Handler) []bearing {
		return append(opaqueBearings(), bearing{"limit", limit})
	}
	first := func(p *provider) func(n int) string { return p.accessJWT }
	knownOpaque := func(*provider) func(n int) string { return func(int) string { return accessOpaque(0) } }
	known := func(p *provider) func(n int) string {
		token := p.accessJWT(0)
		return func(int) string { return token }
	}
	forged := func(p *provider) func(n int) string {
		token := p.accessJWT(0)
		return func(n int) string { return madeUp(token, n) }
	}
	es256, rs256, eddsa := signers()[0], signers()[1], signers()[2]
	for _, test := range []struct {
		name   string
		signer *signer
		doors  []bearing
		token  func(*provider) func(n int) string // returns the nth token
		status int
	}{
		{"known", es256, jwts(lookUpAPI(signatureAPI)), known, http.StatusOK},
		{"ES256", es256, jwts(signatureAPI), first, http.StatusOK},
		{"RS256", rs256, jwts(signatureAPI), first, http.StatusOK},
		{"EdDSA", eddsa, jwts(signatureAPI), first, http.StatusOK},
		{"opaque-known", es256, opaque(lookUpAPI(roundTripAPI)), knownOpaque, http.StatusOK},
		{"opaque-new", es256, opaque(roundTripAPI), func(*provider) func(int) string { return accessOpaque }, http.StatusOK},
		{"forged", es256, jwts(signatureAPI), forged, http.StatusUnauthorized},
		{"absent", es256, jwtBearings(), func(*provider) func(int) string { return func(int) string { return "" } }, http.StatusUnauthorized},
	} {
		b.Run(test.name, func(b *testing.B) {
			for _, door := range test.doors {
				b.Run(door.name, func(b *testing.B) {
					p := newAPIProvider(test.signer)
					defer p.Close()
					serveEach(b, door.setUp(p), test.token(p), test.status)
				})
			}
		})
	}
}

// serveEach measures a handler's answers to requests that are there once, with the tokens of token.
func serveEach(b *testing.B, h http.Handler, token func(n int) string, status int) {
	w, requests, n := newDiscard(), []*http.Request(nil), 0
	once := func() {
		w.reset()
		h.ServeHTTP(w, requests[len(requests)-1])
		requests = requests[:len(requests)-1]
		if w.status != status && (status == http.StatusOK || w.status < 400) {
			b.Fatal("status", w.status)
		}
	}
	more := func() {
		for range 256 {
			n++
			requests = append(requests, call(token(n)))
		}
	}
	warmUp(func() {
		if len(requests) == 0 {
			more()
		}
		once()
	})
	m := startMeter(b)
	for b.Loop() {
		if len(requests) == 0 {
			m.pause(more)
		}
		once()
	}
	m.report()
}
