package authagenttest_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

// part decodes a part of a JWT.
func part(t *testing.T, token string, i int) map[string]any {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	return members
}

// TestLogout: the site gets a logout token as the specification has it, and its answer decides.
func TestLogout(t *testing.T) {
	var got url.Values
	status := http.StatusOK
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s: %v", r.Method, err)
		}
		got = r.PostForm
		w.WriteHeader(status)
		io.WriteString(w, `{"error":"invalid_request"}`)
	}))
	defer site.Close()
	as := authagenttest.NewServer()
	defer as.Close()
	client := as.AddClient(authagenttest.Client{LogoutURL: site.URL})
	for _, alg := range []string{"", "ES256"} {
		as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.SignedTokens = alg })
		if err := as.Logout(t.Context(), as.Client(), client.ID, "user_1", "s_1"); err != nil {
			t.Fatal(err)
		}
		token := got.Get("logout_token")
		header, claims := part(t, token, 0), part(t, token, 1)
		if header["typ"] != "logout+jwt" || header["alg"] != map[string]string{"": "HS256", "ES256": "ES256"}[alg] || (header["kid"] != nil) != (alg != "") {
			t.Errorf("header %v", header)
		}
		if claims["iss"] != as.URL || claims["aud"] != client.ID || claims["sub"] != "user_1" || claims["sid"] != "s_1" || claims["jti"] == "" || claims["events"] == nil {
			t.Errorf("claims %v", claims)
		}
	}
	status = http.StatusBadRequest
	if err := as.Logout(t.Context(), as.Client(), client.ID, "", "s_1"); err == nil || !strings.Contains(err.Error(), `400 Bad Request: {"error":"invalid_request"}`) {
		t.Errorf("refused: %v", err)
	}
	if claims := part(t, got.Get("logout_token"), 1); claims["sub"] != nil || claims["sid"] != "s_1" {
		t.Errorf("claims %v", claims)
	}
	if err := as.Logout(t.Context(), as.Client(), "unknown", "user_1", ""); err == nil {
		t.Error("a client that nobody knows has been told")
	}
	token := as.LogoutToken(client.ID, map[string]any{"nonce": "n", "jti": nil}, map[string]any{"typ": nil})
	if header, claims := part(t, token, 0), part(t, token, 1); header["typ"] != nil || claims["nonce"] != "n" || claims["jti"] != nil {
		t.Errorf("header %v, claims %v", header, claims)
	}
}

// TestSessionIDs: each sign-in has a session of its own at the server, which its id_token names.
func TestSessionIDs(t *testing.T) {
	b := newBench(t)
	seen := map[any]bool{}
	for range 2 {
		b.s.Features = authagenttest.Features{IDToken: true, SignedTokens: "ES256", SessionIDs: true}
		sid := part(t, b.token(b.redemption(b.code())).member("id_token"), 1)["sid"]
		if sid == nil || sid == "" || seen[sid] {
			t.Errorf("sid %v", sid)
		}
		seen[sid] = true
	}
	if token := b.s.LogoutToken("site_1", map[string]any{"sub": "agent_1"}, nil); verify(b, token) != nil {
		t.Errorf("the logout token does not verify: %v", verify(b, token))
	}
	for _, name := range []string{"backchannel_logout_supported", "backchannel_logout_session_supported"} {
		if !strings.Contains(b.get(authagenttest.PathMetadata).body, `"`+name+`":true`) {
			t.Errorf("the metadata lacks %s", name)
		}
	}
	b.s.Features.SessionIDs = false
	if claims := part(t, b.token(b.redemption(b.code())).member("id_token"), 1); claims["sid"] != nil {
		t.Errorf("without the feature: %v", claims)
	}
}
