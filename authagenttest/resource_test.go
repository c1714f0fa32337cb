package authagenttest_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

func TestUserInfoScopes(t *testing.T) {
	const all = `{"sub":"agent_1","email":"Alice@Example.com","name":"Alice"}`
	const email = `{"sub":"agent_1","email":"Alice@Example.com"}`
	const name = `{"sub":"agent_1","name":"Alice"}`
	const sub = `{"sub":"agent_1"}`
	for _, tt := range []struct{ scope, published, standard string }{
		{"openid profile email", all, all},
		{"", all, all},
		{"openid profile", all, name},
		{"openid", all, sub},
		{"email", all, email},
		{"profile email", all, all},
		{"profile", sub, name},
		{"OPENID", sub, sub},
		{"openid,email", sub, sub},
	} {
		t.Run(tt.scope, func(t *testing.T) {
			for want, b := range map[*string]*bench{&tt.published: newBench(t), &tt.standard: standards(t)} {
				access, _ := b.pair("scope", tt.scope)
				wantBody(t, b.userInfo(access), 200, *want)
			}
		})
	}
}

func TestUserInfoFaults(t *testing.T) {
	b := newBench(t)
	access, refresh := b.pair()
	const header = "Missing or invalid Authorization header"
	const token = "Invalid or expired access token"
	for _, tt := range []struct{ name, authorization, code, text string }{
		{"none", "", "invalid_request", header},
		{"Basic", "Basic YTpi", "invalid_request", header},
		{"lower case", "bearer " + access, "invalid_request", header},
		{"no token", "Bearer", "invalid_request", header},
		{"garbage", "Bearer x", "invalid_token", token},
		{"refresh token", "Bearer " + refresh, "invalid_token", token},
		{"two spaces", "Bearer  " + access, "invalid_token", token},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.get(authagenttest.PathUserInfo+"?access_token="+access, "Authorization", tt.authorization)
			wantError(t, r, 401, tt.code, tt.text)
			if r.header.Get("WWW-Authenticate") != "" {
				t.Error("the answer has a challenge")
			}
		})
	}
	if r := b.do("HEAD", authagenttest.PathUserInfo, "", "", "Authorization", "Bearer "+access); r.status != 200 || r.body != "" {
		t.Errorf("HEAD: %d %q", r.status, r.body)
	}

	b.s.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "new@example.com"})
	wantBody(t, b.userInfo(access), 200, `{"sub":"agent_1","email":"new@example.com"}`)
	b.s.RemoveAgent("agent_1")
	wantError(t, b.userInfo(access), 500, "server_error", "Agent not found")
}

func TestUserInfoWithoutQuirks(t *testing.T) {
	b := standards(t)
	access, _ := b.pair()
	if r := b.get(authagenttest.PathUserInfo, "Authorization", "bearer "+access); r.status != 200 {
		t.Errorf("lower case: %d", r.status)
	}
	for authorization, want := range map[string]string{
		"":         `Bearer realm="authagenttest"`,
		"Bearer x": `Bearer realm="authagenttest", error="invalid_token"`,
	} {
		r := b.get(authagenttest.PathUserInfo, "Authorization", authorization)
		if got := r.header.Get("WWW-Authenticate"); got != want {
			t.Errorf("challenge %q, want %q", got, want)
		}
	}
}

func TestIntrospect(t *testing.T) {
	b := newBench(t)
	access, refresh := b.pair()
	_, exp, _ := strings.Cut(decoded(t, strings.Split(access, ".")[1]), `"exp":`)
	active := `{"active":true,"sub":"agent_1","client_id":"site_1","model":"m1","scope":"openid profile email","exp":` + exp
	const inactive = `{"active":false}`
	good := fields{"token": access, "client_id": b.client.ID, "client_secret": b.client.Secret}
	for _, tt := range []struct {
		name string
		m    fields
		want string
	}{
		{"right client", good, active},
		{"nobody", good.with("client_id", "-", "client_secret", "-"), active},
		{"unknown client without secret", good.with("client_id", "nobody", "client_secret", ""), active},
		{"another client", good.with("client_id", b.other.ID, "client_secret", b.other.Secret), active},
		{"wrong secret", good.with("client_secret", "x"), inactive},
		{"unknown client", good.with("client_id", "nobody"), inactive},
		{"garbage", good.with("token", "x"), inactive},
		{"tampered", good.with("token", access+"x"), inactive},
		{"none", good.with("token", "-"), inactive},
		{"refresh token", good.with("token", refresh, "token_type_hint", "refresh_token"), inactive},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantBody(t, b.postJSON(authagenttest.PathIntrospect, tt.m), 200, tt.want)
		})
	}
	wantBody(t, b.postForm(authagenttest.PathIntrospect, good), 500, serverErrorBody)
	wantBody(t, b.do("POST", authagenttest.PathIntrospect, "application/json", ""), 500, serverErrorBody)
}

func TestIntrospectWithoutQuirks(t *testing.T) {
	b := standards(t)
	access, _ := b.pair()
	good := fields{"token": access, "client_id": b.client.ID, "client_secret": b.client.Secret}
	if r := b.postForm(authagenttest.PathIntrospect, good); r.member("active") != "true" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	wantBody(t, b.postForm(authagenttest.PathIntrospect, good.with("client_id", b.other.ID, "client_secret", b.other.Secret)), 200, `{"active":false}`)
	wantError(t, b.postForm(authagenttest.PathIntrospect, good.with("client_secret", "x")), 401, "invalid_client", "Invalid client credentials")
	if r := b.postForm(authagenttest.PathIntrospect, good.with("client_secret", "-")); r.status != 401 {
		t.Errorf("no secret: %d %s", r.status, r.body)
	}
	if r := b.postForm(authagenttest.PathIntrospect, good.with("client_id", "-")); r.status != 401 || r.member("error") != "invalid_client" {
		t.Errorf("no client: %d %s", r.status, r.body)
	}
	if r := b.postJSON(authagenttest.PathIntrospect, good); r.status != 400 || r.member("error") != "invalid_request" {
		t.Errorf("JSON: %d %s", r.status, r.body)
	}
}

func TestRevoke(t *testing.T) {
	b := newBench(t)
	json := func(m fields) reply { return b.postJSON(authagenttest.PathRevoke, m) }
	form := func(m fields) reply { return b.postForm(authagenttest.PathRevoke, m) }
	mine := fields{"client_id": b.client.ID, "client_secret": b.client.Secret}
	for i, tt := range []struct {
		name   string
		send   func(fields) reply
		m      fields
		which  string // the token that is sent
		suffix string
		dead   bool
	}{
		{"access token", json, mine, "access", "", true},
		{"refresh token", json, mine, "refresh", "", true},
		{"nobody", json, fields{}, "access", "", true},
		{"another client", json, fields{"client_id": b.other.ID, "client_secret": b.other.Secret}, "refresh", "", true},
		{"wrong secret", json, mine.with("client_secret", "x"), "access", "", true},
		{"form", form, mine, "access", "", false},
		{"none", json, mine, "", "", false},
		{"parenthesis", json, mine, "access", ")", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			access, refresh := b.pair("scope", fmt.Sprint("openid ", i))
			sent := map[string]string{"access": access, "refresh": refresh}[tt.which] + tt.suffix
			wantBody(t, tt.send(tt.m.with("token", sent)), 200, `{}`)
			status := map[bool]int{true: 401, false: 200}[tt.dead]
			if r := b.userInfo(access); r.status != status {
				t.Errorf("userinfo %d, want %d", r.status, status)
			}
			status = map[bool]int{true: 400, false: 200}[tt.dead]
			if r := b.token(b.refreshment(refresh)); r.status != status {
				t.Errorf("refresh %d, want %d", r.status, status)
			}
		})
	}
	for _, body := range []string{"", "{", "null"} {
		wantBody(t, b.do("POST", authagenttest.PathRevoke, "application/json", body), 200, `{}`)
	}
}

func TestRevokeWithoutQuirks(t *testing.T) {
	b := standards(t)
	access, refresh := b.pair()
	good := fields{"token": refresh, "client_id": b.client.ID, "client_secret": b.client.Secret}
	wantError(t, b.postForm(authagenttest.PathRevoke, good.with("client_secret", "x")), 401, "invalid_client", "Invalid client credentials")
	if r := b.postForm(authagenttest.PathRevoke, fields{"token": refresh}); r.status != 401 || r.member("error") != "invalid_client" {
		t.Errorf("nobody: %d %s", r.status, r.body)
	}
	wantError(t, b.postForm(authagenttest.PathRevoke, good.with("token", "-")), 400, "invalid_request", "Missing required parameter: token")
	wantError(t, b.postForm(authagenttest.PathRevoke, good.with("client_id", b.other.ID, "client_secret", b.other.Secret)),
		400, "invalid_grant", "The token was issued to a different client")
	if r := b.postJSON(authagenttest.PathRevoke, good); r.status != 400 {
		t.Errorf("JSON: %d %s", r.status, r.body)
	}
	if r := b.userInfo(access); r.status != 200 {
		t.Fatalf("refused, but revoked: %d", r.status)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(b.client.ID+":"+b.client.Secret))
	wantBody(t, b.postForm(authagenttest.PathRevoke, fields{"token": refresh}, "Authorization", basic), 200, `{}`)
	wantBody(t, b.postForm(authagenttest.PathRevoke, good.with("token", "unknown")), 200, `{}`)
	if r := b.userInfo(access); r.status != 401 {
		t.Errorf("not revoked: %d", r.status)
	}
}
