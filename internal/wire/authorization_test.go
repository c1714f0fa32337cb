package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asksTo is what a client asks for, with a parameter of its own.
var asksTo = Inquiry{
	ClientID: "site", RedirectURL: "https://site.example/callback", Scopes: []string{"openid", "email"},
	Params: url.Values{"audience": {"api"}, "resource": {"https://a.example", "https://b.example"}},
}

func begin(t *testing.T, s *Server, asks Inquiry, m *Metadata) (*url.URL, error) {
	t.Helper()
	request, err := asks.At(m)
	if err != nil {
		t.Fatal(err)
	}
	address, err := s.Begin(t.Context(), request, "the-state", []byte("the-challenge"), "the-nonce")
	u, _ := url.Parse(address)
	return u, err
}

// TestAuthorizationURL: the request has the protocol's parameters and the site's. A query of the
// endpoint stays, but for parameters that the request has.
func TestAuthorizationURL(t *testing.T) {
	m := &Metadata{Authorization: "https://as.example/authorize?tenant=a&audience=other&scope=all&response_mode=query"}
	u, err := begin(t, serverBy(nil), asksTo, m)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"tenant": {"a"}, "response_mode": {"query"}, "audience": {"api"}, "resource": {"https://a.example", "https://b.example"},
		"response_type": {"code"}, "client_id": {"site"}, "redirect_uri": {"https://site.example/callback"}, "scope": {"openid email"},
		"state": {"the-state"}, "nonce": {"the-nonce"}, "code_challenge": {"the-challenge"}, "code_challenge_method": {"S256"},
	}
	if diff := cmp.Diff(want, u.Query()); diff != "" {
		t.Error(diff)
	}
}

// TestPush: a pushed request has all parameters and the proof of the client, and the URL has
// none of them.
func TestPush(t *testing.T) {
	m := &Metadata{
		Authorization: "https://as.example/authorize?tenant=a&audience=other&state=x&request_uri=y", Token: "https://as.example/token",
		PushedAuthorization: "https://as.example/par", PushedOnly: true,
	}
	want := url.Values{
		"audience": {"api"}, "resource": {"https://a.example", "https://b.example"},
		"response_type": {"code"}, "client_id": {"site"}, "redirect_uri": {"https://site.example/callback"}, "scope": {"openid email"},
		"state": {"the-state"}, "nonce": {"the-nonce"}, "code_challenge": {"the-challenge"}, "code_challenge_method": {"S256"},
	}
	for _, auth := range []Auth{AuthPost, AuthBasic, AuthKey} {
		s := serverBy(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			proof := form["client_secret"]
			if auth == AuthKey {
				proof = form["client_assertion"]
			}
			_, secret, basic := r.BasicAuth()
			if r.Method != http.MethodPost || r.URL.String() != m.PushedAuthorization || basic != (auth == AuthBasic) || secret+strings.Join(proof, "") != "secret" {
				t.Errorf("%d: %s %s %v %s", auth, r.Method, r.URL, r.Header, body)
			}
			for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
				form.Del(name)
			}
			if diff := cmp.Diff(want, form); diff != "" {
				t.Error(diff)
			}
			return response(201, `{"request_uri":"urn:x:1+2","expires_in":60}`, "Content-Type", "application/json"), nil
		}, func(_ *Settings, r *Registration) {
			r.Auth, r.Assertion = auth, func([]string) (string, error) { return "secret", nil }
		})
		u, err := begin(t, s, asksTo, m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(url.Values{"tenant": {"a"}, "client_id": {"site"}, "request_uri": {"urn:x:1+2"}}, u.Query()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestPushAnswers: what stands for a request is one short text of visible characters, in a good
// answer.
func TestPushAnswers(t *testing.T) {
	long := strings.Repeat("u", maxRequestURI)
	m := &Metadata{Authorization: "https://as.example/authorize", PushedAuthorization: "https://as.example/par", PushedOnly: true}
	for body, kind := range map[string]Kind{
		`201 {"request_uri":"urn:x","expires_in":60}`:   -1,
		`200 {"request_uri":"urn:x"}`:                   -1,
		`201 {"request_uri":"` + long + `"}`:            -1,
		`201 {"request_uri":"` + long + `u"}`:           Malformed,
		`201 {"request_uri":""}`:                        Malformed,
		`201 {}`:                                        Malformed,
		`201 {"request_uri":1}`:                         Malformed,
		`201 {"request_uri":"a b"}`:                     Malformed,
		`201 {"request_uri":"ä"}`:                       Malformed,
		`201 {"request_uri":"a\nb"}`:                    Malformed,
		`201 {"request_uri":"urn:x","request_uri":"y"}`: Malformed,
		`201 {"request_uri":"urn:x","expires_in":"x"}`:  Malformed,
		`201 <p>`:                                       Malformed,
		`202 {"request_uri":"urn:x"}`:                   Refused,
		`302 {"request_uri":"urn:x"}`:                   Malformed,
		`400 {"error":"invalid_request"}`:               Refused,
		`201 {"request_uri":"urn:x","error":"made up"}`: Refused,
		`503 {"error":"temporarily_unavailable"}`:       Unavailable,
	} {
		status, rest, _ := strings.Cut(body, " ")
		asked := 0
		s := serverBy(func(*http.Request) (*http.Response, error) {
			asked++
			r := said(status).response()
			r.Body = io.NopCloser(strings.NewReader(rest))
			r.ContentLength = int64(len(rest))
			r.Header.Set("Content-Type", "application/json")
			return r, nil
		})
		_, err := begin(t, s, asksTo, m)
		if kind >= 0 {
			wantKind(t, body, err, kind)
		} else if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if asked != 1 {
			t.Errorf("%s: asked %d times", body, asked)
		}
	}
}

// TestNowhereToPush: a request that has to be pushed is never sent in a URL instead.
func TestNowhereToPush(t *testing.T) {
	s := serverBy(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("down")
	})
	push := asksTo
	push.Push = true
	for _, test := range []struct {
		asks Inquiry
		m    Metadata
		want error
	}{
		{push, Metadata{}, ErrNowhereToPush},
		{asksTo, Metadata{PushedOnly: true}, ErrPushedOnly},
	} {
		test.m.Authorization = "https://as.example/authorize"
		if u, err := begin(t, s, test.asks, &test.m); !errors.Is(err, test.want) || u.String() != "" {
			t.Errorf("%v: %v, want %v", u, err, test.want)
		}
	}
}

// TestReserved: the protocol's parameters are its own in any spelling.
func TestReserved(t *testing.T) {
	for name, want := range map[string]bool{
		"state": true, "State": true, "REQUEST_URI": true, "client_assertion": true, "re\u017fponse_type": true,
		"audience": false, "prompt": false, "resource": false, "acr_values": false, "": false, "state2": false,
	} {
		if got := Reserved(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// TestSeveralValues: a parameter with several values is sent with all of them, and one with one
// value as ever.
func TestSeveralValues(t *testing.T) {
	f := fields{{"a", "1"}}.with("resource", []string{"x", "y", "z"}).with("b", []string{"2"}).with("c", nil)
	body, _ := f.encode(Form)
	if string(body) != "a=1&resource=x&resource=y&resource=z&b=2" {
		t.Errorf("form %s", body)
	}
	body, _ = f.encode(JSON)
	if string(body) != `{"a":"1","resource":["x","y","z"],"b":"2"}` || !json.Valid(body) {
		t.Errorf("JSON %s", body)
	}
}

// TestResourceSent: what tokens are asked for goes with the code and the refresh token (RFC 8707
// section 2.2), and with nothing else.
func TestResourceSent(t *testing.T) {
	sent := map[string][]string{}
	s := serverBy(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		sent[r.URL.Path+" "+form.Get("grant_type")] = form["resource"]
		return nil, errors.New("down")
	}, func(_ *Settings, r *Registration) { r.Resources = []string{"urn:a", "urn:b"} })
	ctx := context.Background()
	s.Exchange(ctx, "c", "v", "r")
	s.Refresh(ctx, "r")
	s.Introspect(ctx, "t")
	s.Revoke(ctx, "t", "access_token")
	both := []string{"urn:a", "urn:b"}
	want := map[string][]string{"/token authorization_code": both, "/token refresh_token": both, "/introspect ": nil, "/revoke ": nil}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
}

// TestKeyAsksNothing: with a key nothing is learned, and each request has an assertion of its
// own, which is made for what the server takes.
func TestKeyAsksNothing(t *testing.T) {
	made := 0
	var proofs []string
	s := serverBy(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		if err != nil || form.Get("client_id") != "site" || form.Get("client_assertion_type") != assertionType ||
			form.Has("client_secret") || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s %v", r.URL, body, r.Header)
		}
		proofs = append(proofs, form.Get("client_assertion"))
		return nil, errors.New("down")
	}, func(_ *Settings, r *Registration) {
		r.Encoding, r.Auth, r.Secret = Unknown, AuthKey, nil
		r.Assertion = func([]string) (string, error) {
			made++
			return strings.Repeat("a", made), nil
		}
	})
	ctx := t.Context()
	m, _ := s.Get(ctx)
	s.Learn(m)
	if err := s.Prepare(ctx, m); err != nil {
		t.Fatal(err)
	}
	s.Exchange(ctx, "c", "v", "r")
	s.Introspect(ctx, "t")
	s.Revoke(ctx, "t", "access_token")
	if diff := cmp.Diff([]string{"a", "aa", "aaa"}, proofs); diff != "" {
		t.Error(diff)
	}
	lost := errors.New("vault is sealed")
	s.Assertion = func([]string) (string, error) { return "", lost }
	if err := s.HasProof(ctx, m); !errors.Is(err, ErrAssertion) || !errors.Is(err, lost) || !Unproven(err) {
		t.Error(err)
	}
	if _, err := s.Exchange(ctx, "c", "v", "r"); !errors.Is(err, lost) || len(proofs) != 3 {
		t.Errorf("%v after %d requests", err, len(proofs))
	}
}
