package wire

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// reply is a transport that answers every request with one body.
type reply string

func (r reply) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(string(r))),
	}, nil
}

// serverSaying returns a server that answers everything but metadata with body.
func serverSaying(body string) *Server {
	client := NewClient(&http.Client{Transport: reply(body)}, nil)
	source := NewSource(client, Settings{Issuer: "https://as.example", Pins: Endpoints{
		Authorization: "https://as.example/authorize", Token: "https://as.example/token", UserInfo: "https://as.example/userinfo",
		Introspection: "https://as.example/introspect", Revocation: "https://as.example/revoke",
	}})
	return NewServer(client, source, Registration{
		ID: "site", Encoding: JSON, Secret: func(context.Context) (string, error) { return "canary-secret", nil },
	})
}

// quiet checks that an error does not quote the answer, in which there may be tokens.
func quiet(t *testing.T, err error, body string) {
	t.Helper()
	if err == nil {
		return
	}
	if text := err.Error(); strings.Contains(text, "canary") || len(body) > 40 && strings.Contains(text, body) || len(text) > 400 {
		t.Errorf("error %q quotes the answer", text)
	}
}

// FuzzToken: what is accepted is a bearer token that breaks out of no header.
// (NET-6, NET-7, NET-8, NET-9)
func FuzzToken(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"profile"}`,
		`{"access_token":"a","token_type":"bEARER"}`, `{"access_token":"a\r\nX: 1","token_type":"Bearer"}`,
		`{"access_token":"a b","token_type":"Bearer"}`, `{"access_token":"","token_type":"Bearer"}`, `{"access_token":1,"token_type":"Bearer"}`,
		`{"access_token":"a","token_type":"mac"}`, `{"access_token":"a"}`, `{"access_token":"a","access_token":"b","token_type":"Bearer"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":1e30}`, `{"access_token":"a","token_type":"Bearer","expires_in":"-1"}`,
		`{"error":"invalid_grant","access_token":"x","token_type":"Bearer"}`, `[]`, `null`, `{}{}`, `"x"`,
		`{"access_token":"canary-token-canary","token_type":"Bearer","x":}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		token, err := serverSaying(body).Exchange(t.Context(), "code", "verifier", "https://site.example/cb")
		quiet(t, err, body)
		if err != nil {
			return
		}
		if strings.Trim(token.Access, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~+/=-") != "" || token.Access == "" {
			t.Errorf("accepted access token %q", token.Access)
		}
		if token.Expires.After(time.Now().AddDate(20, 0, 0)) {
			t.Errorf("token expires in %v", token.Expires)
		}
	})
}

// FuzzUserInfo: what is accepted has a subject that is safe to compare and log.
// (ID-2, ID-10, NET-7)
func FuzzUserInfo(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"agent_1","email":"alice@example.com","name":"Alice"}`, `{"sub":"a","Sub":"b"}`, `{"sub":"a","sub":"b"}`,
		`{"sub":"a","s\u0075b":"b"}`, `{"sub":""}`, `{"sub":null}`, `{"sub":1}`, `{"sub":"a\u0000b"}`, `{"sub":"a","name":"\u202egnp.exe"}`,
		`{"sub":"a","email_verified":"true"}`, `{"sub":"a","email_verified":false}`, `{"sub":"\ud800"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		u, err := serverSaying(body).UserInfo(t.Context(), "token")
		quiet(t, err, body)
		if err != nil {
			return
		}
		if u.Subject == "" || len(u.Subject) > 255 || strings.ContainsFunc(u.Subject, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
			t.Errorf("accepted subject %q", u.Subject)
		}
		if len([]rune(u.Name)) > 256 || strings.ContainsAny(u.Name, "\r\n\u202e") {
			t.Errorf("accepted name %q", u.Name)
		}
	})
}

// FuzzIntrospection: only the boolean true is active, and what is not active
// says nothing. (ID-4)
func FuzzIntrospection(f *testing.F) {
	for _, seed := range []string{
		`{"active":true,"sub":"a","client_id":"site","exp":1}`, `{"active":false,"sub":"a"}`, `{"active":"true"}`, `{"active":1}`, `{}`,
		`{"active":true,"active":false}`, `{"Active":true}`, `{"active":true,"act":{"sub":"x"}}`, `{"active":true,"exp":1e400}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		in, err := serverSaying(body).Introspect(t.Context(), "token")
		quiet(t, err, body)
		if err != nil {
			return
		}
		if in.Active && !strings.Contains(body, "true") {
			t.Errorf("active without true: %s", body)
		}
		if !in.Active && !reflect.ValueOf(*in).IsZero() {
			t.Errorf("inactive, and yet %+v", in)
		}
	})
}

// FuzzMetadata: what is accepted keeps every endpoint on the issuer's origin.
// (CFG-4, CFG-6, CFG-7)
func FuzzMetadata(f *testing.F) {
	const good = `{"issuer":"https://as.example","authorization_endpoint":"https://as.example/authorize","token_endpoint":"https://as.example/token"`
	for _, seed := range []string{
		good + `}`, good + `,"userinfo_endpoint":"https://evil.example/"}`, good + `,"jwks_uri":"file:///etc/passwd"}`,
		good + `,"userinfo_endpoint":""}`, good + `,"code_challenge_methods_supported":["plain"]}`, good + `,"token_endpoint":"x"}`,
		strings.Replace(good, "https://as.example/token", "https://as.example@evil.example/", 1) + `}`,
		strings.Replace(good, "https://as.example/token", "https://as.example.evil.example/", 1) + `}`,
		strings.Replace(good, `"https://as.example",`, `"https://as.example/",`, 1) + `}`, `{}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		source := NewSource(NewClient(&http.Client{Transport: reply(body)}, nil), Settings{Issuer: "https://as.example"})
		m, err := source.Get(t.Context())
		quiet(t, err, body)
		if err != nil {
			return
		}
		for _, endpoint := range []string{m.Authorization, m.Token, m.UserInfo, m.Introspection, m.Revocation, m.JWKS} {
			if u, err := url.Parse(endpoint); endpoint != "" && (err != nil || u.Scheme != "https" || u.Host != "as.example" || u.User != nil) {
				t.Errorf("accepted endpoint %q", endpoint)
			}
		}
	})
}

// FuzzKeys: whatever a server publishes, what is read of it are keys that some
// accepted algorithm fits, and verifying with them comes to an end.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"` + strings.Repeat("A", 170) + `B","e":"AQAB"},null]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":"` + strings.Repeat("A", 43) + `"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := readKeys(body)
		if err != nil {
			return
		}
		for _, k := range keys {
			if !slices.ContainsFunc(Algorithms(), k.fits) {
				t.Errorf("no algorithm fits %T", k.key)
			}
		}
		for _, alg := range Algorithms() {
			header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `"}`))
			verifyWith(keys, header+".e30."+strings.Repeat("A", 86)) // which may be anything but a panic
		}
	})
}
