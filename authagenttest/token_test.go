package authagenttest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

const serverErrorBody = `{"error":"server_error","error_description":"Internal server error"}`

type tokenFault struct {
	name       string
	m          fields
	status     int
	code, text string
}

func codeFaults(b *bench, code, foreign string) []tokenFault {
	good := b.redemption(code)
	const grants = "Only authorization_code and refresh_token grants are supported"
	const missing = "Missing required parameters: code, code_verifier, redirect_uri"
	const format = "Invalid redirect_uri format. HTTPS is required (HTTP allowed only for localhost)"
	return []tokenFault{
		{"unknown grant", good.with("grant_type", "password", "client_id", ""), 400, "unsupported_grant_type", grants},
		{"unknown client", good.with("client_id", "nobody", "code", ""), 401, "invalid_client", "Client not found"},
		{"wrong secret", good.with("client_secret", "x", "code", ""), 401, "invalid_client", "Invalid client credentials"},
		{"no code", good.with("code", "-"), 400, "invalid_request", missing},
		{"no verifier", good.with("code_verifier", ""), 400, "invalid_request", missing},
		{"no redirect_uri", good.with("redirect_uri", "-"), 400, "invalid_request", missing},
		{"malformed redirect_uri", good.with("redirect_uri", "x", "code", "x"), 400, "invalid_request", format},
		{"http redirect_uri", good.with("redirect_uri", "http://shop.example/cb"), 400, "invalid_request", format},
		{"bad code", good.with("code", "ac_x"), 400, "invalid_grant", "Invalid or expired authorization code"},
		{"another client's code", good.with("code", foreign, "code_verifier", "x"), 400, "invalid_grant", "Authorization code was issued to a different client"},
		{"wrong verifier", good.with("code_verifier", "x", "redirect_uri", callback+"2"), 400, "invalid_grant", "Invalid code_verifier"},
		{"wrong redirect_uri", good.with("redirect_uri", callback+"2"), 400, "invalid_grant", "redirect_uri mismatch"},
	}
}

func refreshFaults(b *bench, access, refresh, foreign string) []tokenFault {
	good := b.refreshment(refresh)
	return []tokenFault{
		{"refresh: none", good.with("refresh_token", ""), 400, "invalid_request", "Missing required parameter: refresh_token"},
		{"refresh: bad", good.with("refresh_token", "rt_x"), 400, "invalid_grant", "Invalid or expired refresh token"},
		{"refresh: access token", good.with("refresh_token", access), 400, "invalid_grant", "Invalid or expired refresh token"},
		{"refresh: another client's", good.with("refresh_token", foreign), 400, "invalid_grant", "Refresh token does not belong to this client"},
		{"refresh: wrong secret", good.with("client_secret", "x"), 401, "invalid_client", "Invalid client credentials"},
	}
}

// The faults are the same whichever body a server reads, and none of them uses
// up the code or the refresh token.
func TestTokenFaults(t *testing.T) {
	for name, b := range map[string]*bench{"published": newBench(t), "standards": standards(t)} {
		t.Run(name, func(t *testing.T) {
			foreignCode := b.code("client_id", b.other.ID)
			theirs := b.redemption(b.code("client_id", b.other.ID)).with("client_id", b.other.ID, "client_secret", b.other.Secret)
			_, foreign := b.mustPair(b.token(theirs))
			access, refresh := b.pair()
			code := b.code()
			for _, tt := range append(codeFaults(b, code, foreignCode), refreshFaults(b, access, refresh, foreign)...) {
				t.Run(tt.name, func(t *testing.T) {
					wantError(t, b.token(tt.m), tt.status, tt.code, tt.text)
					if !b.s.Quirks.JSONBodies {
						return
					}
					wantBody(t, b.postForm(authagenttest.PathToken, tt.m), 500, serverErrorBody)
				})
			}
			b.mustPair(b.token(b.redemption(code)))
			b.mustPair(b.token(b.refreshment(refresh)))
		})
	}
}

func TestTokenJSONBodies(t *testing.T) {
	b := newBench(t)
	code := b.code()
	good := b.redemption(code)
	wantBody(t, b.postForm(authagenttest.PathToken, good), 500, serverErrorBody)
	for _, body := range []string{"", "{", "null"} {
		wantBody(t, b.do("POST", authagenttest.PathToken, "application/json", body), 500, serverErrorBody)
	}
	wantError(t, b.do("POST", authagenttest.PathToken, "application/json", "[]"),
		400, "unsupported_grant_type", "Only authorization_code and refresh_token grants are supported")

	const missing = "Missing client_id or client_secret"
	wantError(t, b.token(good.with("client_id", "")), 400, "invalid_request", missing)
	wantError(t, b.token(good.with("client_secret", "-")), 400, "invalid_request", missing)

	// The Content-Type does not matter, nor does a query.
	body := fmt.Sprintf(`{"grant_type":"authorization_code","code":%q,"code_verifier":%q,"redirect_uri":%q,"client_id":%q,"client_secret":%q,"more":[1]}`,
		code, tinyVerifier, callback, b.client.ID, b.client.Secret)
	r := b.do("POST", authagenttest.PathToken+"?code=x", "application/x-www-form-urlencoded", body)
	shape := regexp.MustCompile(`^\{"access_token":"[\w-]+\.[\w-]+\.[\w-]+","token_type":"Bearer","expires_in":3600,"refresh_token":"rt_[0-9a-f]{64}","scope":"openid profile email"\}$`)
	if r.status != 200 || !shape.MatchString(r.body) {
		t.Errorf("got %d %s", r.status, r.body)
	}
	for _, name := range []string{"Cache-Control", "Pragma"} {
		if r.header.Get(name) != "" {
			t.Errorf("the answer has %s", name)
		}
	}
	wantError(t, b.token(good), 400, "invalid_grant", "Invalid or expired authorization code")
	if r := b.userInfo(r.member("access_token")); r.status != 200 {
		t.Errorf("the reuse of the code ended its session: %d", r.status)
	}
}

func TestTokenForms(t *testing.T) {
	b := standards(t)
	code := b.code()
	good := b.redemption(code)
	wantError(t, b.postJSON(authagenttest.PathToken, good), 400, "invalid_request",
		"The body must be application/x-www-form-urlencoded, each parameter once")
	wantError(t, b.postForm(authagenttest.PathToken, good.with("grant_type", "-")), 400, "invalid_request",
		"Missing required parameter: grant_type")

	bare := good.with("client_id", "-", "client_secret", "-")
	r := b.postForm(authagenttest.PathToken, bare)
	if r.status != 401 || r.member("error") != "invalid_client" || r.header.Get("WWW-Authenticate") == "" {
		t.Errorf("no credentials: %d %s %v", r.status, r.body, r.header)
	}
	basic := func(secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(b.client.ID+":"+secret))
	}
	wantError(t, b.postForm(authagenttest.PathToken, bare, "Authorization", basic("x")), 401, "invalid_client", "Invalid client credentials")
	r = b.postForm(authagenttest.PathToken, bare, "Authorization", basic(b.client.Secret))
	if r.status != 200 || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Basic: %d %s %v", r.status, r.body, r.header)
	}
	b.mustPair(b.token(b.redemption(b.code()))) // client_secret_post

	b.s.Features.AuthMethods = []string{"client_secret_basic"}
	wantError(t, b.token(b.redemption(b.code())), 401, "invalid_client", "Client authentication by client_secret_post is not supported")
	b.s.Features.AuthMethods = []string{"none"}
	b.mustPair(b.token(b.redemption(b.code()).with("client_secret", "-")))
}

func TestFormBodiesBesideJSON(t *testing.T) {
	b := newBench(t)
	b.s.Features.FormBodies = true
	b.mustPair(b.postForm(authagenttest.PathToken, b.redemption(b.code())))
	b.mustPair(b.postJSON(authagenttest.PathToken, b.redemption(b.code("scope", "x"))))
	wantBody(t, b.do("POST", authagenttest.PathToken, "multipart/form-data", "x"), 500, serverErrorBody)
}

func TestAccessTokenClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		access, _ := b.pair("scope", "a <b>")
		parts := strings.Split(access, ".")
		if got := decoded(t, parts[0]); got != `{"alg":"HS256"}` {
			t.Errorf("header %s", got)
		}
		now := time.Now().Unix()
		want := fmt.Sprintf(`{"sub":"agent_1","client_id":"site_1","model":"m1","scope":"a <b>","iss":"%s","iat":%d,"exp":%d}`, issuer, now, now+3600)
		if got := decoded(t, parts[1]); got != want {
			t.Errorf("claims %s\nwant   %s", got, want)
		}
		mac := hmac.New(sha256.New, b.s.JWTSecret)
		mac.Write([]byte(parts[0] + "." + parts[1]))
		if parts[2] != base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) {
			t.Error("the signature is not JWTSecret's")
		}
	})
}

func decoded(t *testing.T, part string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		code, late := b.code(), b.code()
		time.Sleep(600*time.Second - time.Nanosecond)
		access, refresh := b.mustPair(b.token(b.redemption(code)))
		time.Sleep(time.Nanosecond)
		wantError(t, b.token(b.redemption(late)), 400, "invalid_grant", "Invalid or expired authorization code")

		time.Sleep(3600*time.Second - 2*time.Nanosecond)
		if r := b.userInfo(access); r.status != 200 {
			t.Errorf("within the hour: %d", r.status)
		}
		time.Sleep(time.Nanosecond)
		wantError(t, b.userInfo(access), 401, "invalid_token", "Invalid or expired access token")

		for range 2 { // the thirty days start anew
			time.Sleep(30*24*time.Hour - 3601*time.Second)
			_, refresh = b.mustPair(b.token(b.refreshment(refresh)))
		}
		time.Sleep(30 * 24 * time.Hour)
		wantError(t, b.token(b.refreshment(refresh)), 400, "invalid_grant", "Invalid or expired refresh token")
	})
}

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		access, refresh := b.pair("scope", "openid  x")
		time.Sleep(time.Second)
		r := b.token(b.refreshment(refresh).with("scope", "openid email admin"))
		newAccess, newRefresh := b.mustPair(r)
		if r.member("scope") != "openid  x" || newAccess == access || newRefresh == refresh {
			t.Errorf("got %s", r.body)
		}
		wantError(t, b.userInfo(access), 401, "invalid_token", "Invalid or expired access token")
		wantError(t, b.token(b.refreshment(refresh)), 400, "invalid_grant", "Invalid or expired refresh token")
		if r := b.userInfo(newAccess); r.status != 200 {
			t.Errorf("the replay ended the new pair: %d", r.status)
		}
		b.mustPair(b.token(b.refreshment(newRefresh)))
	})
}

func TestRefreshWithinTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		access, refresh := b.pair()
		again, _ := b.mustPair(b.token(b.refreshment(refresh)))
		if again != access || b.userInfo(access).status != 200 {
			t.Error("the token is not the same, or not valid")
		}
	})
}

func TestReuseEndsTheFamily(t *testing.T) {
	b := standards(t)
	code := b.code()
	access, refresh := b.mustPair(b.token(b.redemption(code)))
	b.token(b.redemption(code))
	wantError(t, b.userInfo(access), 401, "invalid_token", "Invalid or expired access token")
	wantError(t, b.token(b.refreshment(refresh)), 400, "invalid_grant", "Invalid or expired refresh token")

	_, refresh = b.pair()
	access, _ = b.mustPair(b.token(b.refreshment(refresh)))
	b.token(b.refreshment(refresh))
	wantError(t, b.userInfo(access), 401, "invalid_token", "Invalid or expired access token")
}

// Two sign-ins of one agent within a second get one token, which no look-up
// then finds, until one of its two rows is gone.
func TestSameSecondCollision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		first, firstRefresh := b.pair()
		second, secondRefresh := b.pair()
		if first != second || firstRefresh == secondRefresh {
			t.Fatal("no collision")
		}
		wantError(t, b.userInfo(first), 401, "invalid_token", "Invalid or expired access token")
		wantBody(t, b.post(authagenttest.PathIntrospect, fields{"token": first}), 200, `{"active":false}`)
		time.Sleep(time.Second)
		renewed, _ := b.mustPair(b.token(b.refreshment(firstRefresh)))
		for _, access := range []string{renewed, second} {
			if r := b.userInfo(access); r.status != 200 {
				t.Errorf("after one was refreshed: %d %s", r.status, r.body)
			}
		}

		other := b.redemption(b.codeFrom("m2"))
		if third, _ := b.mustPair(b.token(other)); b.userInfo(third).status != 200 {
			t.Error("another model collides")
		}

		time.Sleep(time.Second)
		first, firstRefresh = b.pair()
		_, secondRefresh = b.pair()
		b.post(authagenttest.PathRevoke, fields{"token": first})
		for _, refresh := range []string{firstRefresh, secondRefresh} {
			wantError(t, b.token(b.refreshment(refresh)), 400, "invalid_grant", "Invalid or expired refresh token")
		}

		b.s.Quirks.SameSecondTokens = false
		first, _ = b.pair()
		second, _ = b.pair()
		if first == second || b.userInfo(first).status != 200 {
			t.Error("a collision without the quirk")
		}
	})
}

func (b *bench) codeFrom(model string) string {
	b.t.Helper()
	agent := *b.agent
	agent.Model = model
	id := b.requestID()
	b.approve(id, &agent)
	return b.status(id).member("code")
}

// Features.Overlap stands for two uses at once, which both succeed when the
// database is slow.
func TestOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.s.Features.Overlap = 20 * time.Millisecond
		code := b.code()
		first, refresh := b.mustPair(b.token(b.redemption(code)))
		second, _ := b.mustPair(b.token(b.redemption(code)))
		if first != second || b.userInfo(first).status != 401 {
			t.Error("a code redeemed twice at once")
		}
		time.Sleep(time.Second)
		first, one := b.mustPair(b.token(b.refreshment(refresh)))
		second, other := b.mustPair(b.token(b.refreshment(refresh)))
		if first != second || one == other || b.userInfo(first).status != 401 {
			t.Error("a doubled refresh")
		}
		time.Sleep(time.Second)
		wantError(t, b.token(b.refreshment(refresh)), 400, "invalid_grant", "Invalid or expired refresh token")
		good, _ := b.mustPair(b.token(b.refreshment(one)))
		if b.userInfo(good).status != 200 || b.userInfo(second).status != 200 {
			t.Error("no recovery")
		}
		b.mustPair(b.token(b.refreshment(other)))
	})
}

func TestOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		code, spare := b.code(), b.code("scope", "x")
		access, refresh := b.pair("scope", "openid")
		time.Sleep(time.Second)

		b.s.Outage(authagenttest.OutageAll)
		if r := b.get(b.authorizationURL()); r.status != 400 || !strings.Contains(r.body, "Client not found") {
			t.Errorf("authorize: %d", r.status)
		}
		wantError(t, b.approve("req_x", b.agent), 401, "invalid_agent", "Agent not found")
		wantError(t, b.token(b.redemption(code)), 401, "invalid_client", "Client not found")
		wantError(t, b.userInfo(access), 401, "invalid_token", "Invalid or expired access token")
		wantBody(t, b.post(authagenttest.PathIntrospect, fields{"token": access}), 200, `{"active":false}`)
		wantBody(t, b.post(authagenttest.PathRevoke, fields{"token": access}), 200, `{}`)

		b.s.Outage(authagenttest.OutageUpdates)
		wantBody(t, b.token(b.redemption(code)), 500, serverErrorBody)
		b.mustPair(b.token(b.refreshment(refresh)))

		b.s.Outage(authagenttest.OutageInserts)
		wantBody(t, b.token(b.redemption(spare)), 500, serverErrorBody)

		b.s.Outage(authagenttest.OutageNone)
		if r := b.userInfo(access); r.status != 200 {
			t.Errorf("afterwards: %d", r.status)
		}
		b.mustPair(b.token(b.redemption(code)))
		b.mustPair(b.token(b.refreshment(refresh)))
		wantError(t, b.token(b.redemption(spare)), 400, "invalid_grant", "Invalid or expired authorization code")
	})
}
