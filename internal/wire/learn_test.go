package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A said is what a server says to a question: status and error code.
type said string

func (s said) response() *http.Response {
	status, code, _ := strings.Cut(string(s), " ")
	n, _ := strconv.Atoi(status)
	if code == "" {
		return response(n, "<p>no", "Content-Type", "text/html")
	}
	return response(n, `{"error":"`+code+`"}`)
}

// TestEncodingLearned: which encoding a server reads, by what it says to a grant type
// that nobody has in JSON, to a known one in JSON, and to the first one in a form.
func TestEncodingLearned(t *testing.T) {
	const unsupported = "400 unsupported_grant_type"
	for _, test := range []struct {
		unknown, known, form said
		want                 Encoding
	}{
		{unsupported, "400 invalid_request", "", JSON},
		{unsupported, "401 invalid_client", "", JSON},
		{unsupported, "429", "", Unknown},
		{unsupported, "408", "", Unknown},
		{unsupported, "503 server_error", "", Unknown},
		{unsupported, "400", unsupported, Form},
		{unsupported, unsupported, unsupported, Form},
		{unsupported, unsupported, "400 invalid_request", Form},
		{unsupported, unsupported, "500", Unknown},
		{unsupported, "400", "500", Unknown},
		{"400 invalid_request", "", unsupported, Form},
		{"400 invalid_request", "", "500", JSON},
		{"400 invalid_request", "", "500 server_error", JSON},
		{"400 invalid_request", "", "503", Unknown},
		{"400 invalid_request", "", "400", Form},
		{"500 server_error", "", "500", Unknown},
		{"400", "", "500", Form},
		{"404", "", "500", Form},
		{"500", "", "500", Unknown},
		{"429", "", "500", Unknown},
		{"400", "", "408", Unknown},
		{"400", "", "429", Unknown},
		{"415", "", "400 invalid_client", Form},
	} {
		s := serverBy(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
				return test.form.response(), nil
			}
			var sent map[string]string
			if err := json.Unmarshal(body, &sent); err != nil {
				t.Error(err)
			}
			if sent["grant_type"] == "authorization_code" {
				return test.known.response(), nil
			}
			return test.unknown.response(), nil
		})
		got, err := s.Reads(t.Context())
		if got != test.want {
			t.Errorf("%+v: %v, %v", test, got, err)
		}
		if test.want == Unknown {
			wantKind(t, string(test.unknown+", "+test.known+", "+test.form), err, Unavailable)
		} else if err != nil {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestKnownManner: what is pinned comes first, then what is published, then what was learned. Whoever reads
// JSON reads no header, unless that is pinned.
func TestKnownManner(t *testing.T) {
	const basic, post = "client_secret_basic", "client_secret_post"
	for _, test := range []struct {
		pinned, learned manner
		published       []string
		want            manner
		complete        bool
	}{
		{manner{}, manner{}, nil, manner{}, false},
		{manner{JSON, AuthBasic}, manner{Form, AuthPost}, []string{post}, manner{JSON, AuthBasic}, true},
		{manner{Form, AuthUnknown}, manner{}, nil, manner{Form, AuthUnknown}, false},
		{manner{Form, AuthUnknown}, manner{}, []string{basic}, manner{Form, AuthBasic}, true},
		{manner{Form, AuthUnknown}, manner{Unknown, AuthPost}, []string{basic, post}, manner{Form, AuthPost}, true},
		{manner{Form, AuthUnknown}, manner{Unknown, AuthPost}, []string{basic}, manner{Form, AuthBasic}, true},
		{manner{Unknown, AuthBasic}, manner{}, nil, manner{Unknown, AuthBasic}, false},
		{manner{Unknown, AuthBasic}, manner{JSON, AuthPost}, nil, manner{JSON, AuthBasic}, true},
		{manner{}, manner{JSON, AuthBasic}, []string{basic}, manner{JSON, AuthPost}, true},
		{manner{}, manner{JSON, AuthUnknown}, nil, manner{JSON, AuthPost}, true},
		{manner{}, manner{Form, AuthBasic}, nil, manner{Form, AuthBasic}, true},
		{manner{}, manner{Form, AuthUnknown}, nil, manner{Form, AuthUnknown}, false},
	} {
		s := &Server{Registration: Registration{Encoding: test.pinned.encoding, Auth: test.pinned.auth}, learned: test.learned}
		if got := s.known(&Metadata{TokenAuth: test.published}); got != test.want || got.complete() != test.complete {
			t.Errorf("%+v: %+v, complete %v", test, got, got.complete())
		}
	}
}

// TestLearnedOnce: what is to be learned is asked once for all who need it, is kept, and is not asked in the
// background again and again while the server does not say it.
func TestLearnedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var down atomic.Bool
		s := serverBy(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			time.Sleep(time.Second)
			body, _ := io.ReadAll(r.Body)
			switch form, _ := url.ParseQuery(string(body)); {
			case down.Load():
				return said("503").response(), nil
			case form.Get("grant_type") == probeGrant:
				return said("400 unsupported_grant_type").response(), nil
			case form.Has("grant_type"):
				return said("400 invalid_grant").response(), nil
			}
			return said("415").response(), nil
		}, func(_ *Settings, r *Registration) { r.Encoding, r.Auth = Unknown, AuthUnknown })
		m, err := s.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wants := func(what string, n int32) {
			t.Helper()
			if got := asked.Swap(0); got != n {
				t.Errorf("%s: asked %d times, want %d", what, got, n)
			}
		}
		down.Store(true)
		wantKind(t, "down", s.Prepare(t.Context(), m), Unavailable)
		wants("down", 2)
		_, err = s.Exchange(t.Context(), "code", "verifier", "https://site.example/callback")
		wantKind(t, "no manner, no code", err, Unavailable)
		wants("no manner, no code", 2)
		background := func() {
			s.Learn(m)
			s.Learn(m)
			time.Sleep(Timeout)
			synctest.Wait()
		}
		background()
		wants("paused", 0)
		time.Sleep(forgetFailure)
		background()
		wants("down again", 2)
		down.Store(false)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := s.Prepare(t.Context(), m); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wants("three at once", 4) // in JSON, in a form, with a code and with a refresh token
		if known := s.known(m); known != (manner{Form, AuthPost}) || s.learning != nil {
			t.Errorf("%+v", known)
		}
		if err := s.Prepare(t.Context(), m); err != nil {
			t.Error(err)
		}
		time.Sleep(forgetFailure)
		background()
		wants("known", 0)
	})
}

// TestPinnedAuth: how the client proves itself is not asked where it is pinned.
func TestPinnedAuth(t *testing.T) {
	var asked []string
	s := serverBy(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, string(body))
		return said("400 unsupported_grant_type").response(), nil
	}, func(_ *Settings, r *Registration) { r.Encoding, r.Auth = Unknown, AuthBasic })
	m, err := s.Get(t.Context())
	if err == nil {
		err = s.Prepare(t.Context(), m)
	}
	if known := s.known(m); err != nil || known != (manner{Form, AuthBasic}) {
		t.Errorf("%+v, %v", known, err)
	}
	for _, body := range asked {
		if strings.Contains(body, probePrefix) {
			t.Errorf("asked %s", body)
		}
	}
}

// TestEmptySecret: an empty secret is none, and nothing is sent with it.
func TestEmptySecret(t *testing.T) {
	s := serverBy(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return said("503").response(), nil
	}, func(_ *Settings, r *Registration) {
		r.Secret = func(context.Context) (string, error) { return "", nil }
	})
	if _, err := s.Exchange(t.Context(), "code", "verifier", "https://site.example/callback"); !errors.Is(err, ErrSecret) || !errors.Is(s.HasProof(t.Context(), &Metadata{}), ErrSecret) {
		t.Error(err)
	}
}

// TestForgottenManner: an answer that another server gives has what was learned forgotten, and one of a
// proxy, or one that says "later", has not.
func TestForgottenManner(t *testing.T) {
	all := manner{Form, AuthBasic}
	for says, want := range map[said]manner{
		"500": {}, "500 server_error": {}, "400 unsupported_grant_type": {}, "400 invalid_request": {}, "400 invalid_grant": all, "503": all, "502": all, "429": all, "404": all,
		"400": all, "401": {Form, AuthUnknown}, "401 invalid_client": {Form, AuthUnknown}, "400 unauthorized_client": {Form, AuthUnknown},
	} {
		resp := says.response()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{learned: all}
		if s.forget(answer{status: resp.StatusCode, header: resp.Header, body: body}); s.learned != want {
			t.Errorf("%s: %+v is left, want %+v", says, s.learned, want)
		}
	}
}

// TestAuthLearned: how the client proves itself, by what a server says to a code, a
// refresh token and a token to be revoked that were made up, each by post and by basic.
// Which are asked depends on the answers before.
func TestAuthLearned(t *testing.T) {
	const client, grant, unsupported = "401 invalid_client", "400 invalid_grant", "400 unsupported_grant_type"
	for name, test := range map[string]struct {
		answers    map[string]said // by question and way; what is not there is invalid_grant
		revocation []string
		want       Auth
		kind       Kind // where want is unknown
		asked      string
	}{
		"nothing refused":            {nil, nil, AuthPost, 0, "code post, refresh post"},
		"post refused":               {map[string]said{"code post": client}, nil, AuthBasic, 0, "code post, code basic"},
		"by status alone":            {map[string]said{"code post": "401"}, nil, AuthBasic, 0, "code post, code basic"},
		"by another status":          {map[string]said{"code post": "400 unauthorized_client"}, nil, AuthBasic, 0, "code post, code basic"},
		"both refused":               {map[string]said{"code post": client, "code basic": client}, nil, AuthUnknown, Refused, "code post, code basic"},
		"post refused, basic later":  {map[string]said{"code post": client, "code basic": "503"}, nil, AuthUnknown, Unavailable, "code post, code basic"},
		"later":                      {map[string]said{"code post": "503"}, nil, AuthUnknown, Unavailable, "code post"},
		"the refresh token's client": {map[string]said{"refresh post": client}, nil, AuthBasic, 0, "code post, refresh post, refresh basic"},
		"no refresh for the client":  {map[string]said{"refresh post": "400 unauthorized_client"}, nil, AuthPost, 0, "code post, refresh post"},
		"401 for the client":         {map[string]said{"refresh post": "401 unauthorized_client"}, nil, AuthBasic, 0, "code post, refresh post, refresh basic"},
		"no refresh tokens":          {map[string]said{"refresh post": unsupported}, nil, AuthPost, 0, "code post, refresh post, revoke post"},
		"the revocation's client":    {map[string]said{"refresh post": unsupported, "revoke post": client}, nil, AuthBasic, 0, "code post, refresh post, revoke post, revoke basic"},
		"no code in a page":          {map[string]said{"code post": "400"}, nil, AuthPost, 0, "code post, refresh post"},
		"no revocation":              {map[string]said{"refresh post": unsupported}, []string{"gone"}, AuthPost, 0, "code post, refresh post"},
		"revocation by post only":    {map[string]said{"refresh post": unsupported, "revoke post": client}, []string{"client_secret_post"}, AuthPost, 0, "code post, refresh post"},
	} {
		var asked []string
		s := serverBy(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			question, way := "revoke", "post"
			switch {
			case form.Has("code"):
				question = "code"
			case form.Has("refresh_token"):
				question = "refresh"
			}
			if _, _, ok := r.BasicAuth(); ok {
				way = "basic"
			}
			if form.Has("client_secret") != (way == "post") {
				t.Errorf("%s: %s by %s has %s", name, question, way, body)
			}
			asked = append(asked, question+" "+way)
			if answer, ok := test.answers[question+" "+way]; ok {
				return answer.response(), nil
			}
			return said(grant).response(), nil
		})
		m, err := s.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.RevocationAuth = test.revocation; slices.Contains(test.revocation, "gone") {
			m.RevocationAuth, m.Revocation = nil, ""
		}
		got, err := s.learnAuth(t.Context(), m)
		if got != test.want || (err == nil) != (test.want != AuthUnknown) || strings.Join(asked, ", ") != test.asked {
			t.Errorf("%s: %v, %v, asked %q", name, got, err, asked)
		}
		if err != nil {
			wantKind(t, name, err, test.kind)
		}
	}
}

// TestRefusesClient: each endpoint is asked something that it knows, and that does nothing.
func TestRefusesClient(t *testing.T) {
	for endpoint, field := range map[string]string{"token": "code", "introspect": "token"} {
		for answer, want := range map[said]bool{"401 invalid_client": true, "400 unauthorized_client": true, "401": true, "400 invalid_grant": false, "200": false} {
			s := serverBy(func(r *http.Request) (*http.Response, error) {
				body, _ := io.ReadAll(r.Body)
				if form, _ := url.ParseQuery(string(body)); !strings.HasPrefix(form.Get(field), probePrefix) || form.Has("grant_type") != (field == "code") {
					t.Errorf("%s is sent %s", endpoint, body)
				}
				return answer.response(), nil
			})
			if got, err := s.RefusesClient(t.Context(), "https://as.example/"+endpoint, AuthPost); got != want || err != nil {
				t.Errorf("%s says %s: %v, %v", endpoint, answer, got, err)
			}
		}
	}
}

// TestOnlyMethod: of what a server offers, what is left to choose.
func TestOnlyMethod(t *testing.T) {
	const basic, post = "client_secret_basic", "client_secret_post"
	for _, test := range []struct {
		methods []string
		want    Auth
	}{
		{nil, AuthUnknown}, {[]string{basic, post}, AuthUnknown}, {[]string{basic}, AuthBasic}, {[]string{"none", basic}, AuthBasic},
		{[]string{post}, AuthPost}, {[]string{"private_key_jwt"}, AuthPost}, {[]string{}, AuthPost},
	} {
		if got := only(test.methods); got != test.want {
			t.Errorf("%q: %v", test.methods, got)
		}
	}
}

// TestDiscarded: a refresh token is revoked, unless others may rest on its grant, and an
// access token only if no other sign-in can hold the same. After Settle, nothing is.
func TestDiscarded(t *testing.T) {
	jwt := "e30." + strings.TrimRight("eyJzdWIiOiJhIn0=", "=") + ".x" // {"sub":"a"}
	for _, test := range []struct {
		token Token
		grant bool
		want  string
	}{
		{Token{Access: "a", Refresh: "r"}, false, "r"},
		{Token{Access: "a", Refresh: "r"}, true, "a"},
		{Token{Access: "a"}, false, "a"},
		{Token{Access: jwt, Refresh: "r"}, false, "r"},
		{Token{Access: jwt, Refresh: "r"}, true, ""},
		{Token{Access: jwt}, false, ""},
	} {
		var revoked []string
		s := serverBy(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			revoked = append(revoked, form.Get("token"))
			return response(200, ""), nil
		})
		s.Discard(&test.token, test.grant)
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Discard(&test.token, test.grant)
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(revoked, " "); got != test.want {
			t.Errorf("%+v, %v: revoked %q", test.token, test.grant, got)
		}
	}
}

// TestLikeness: which tokens a server could give twice.
func TestLikeness(t *testing.T) {
	const claims = "eyJzdWIiOiJhIn0" // {"sub":"a"}
	for token, alone := range map[string]bool{
		"h." + claims + ".s": false, "other." + claims + ".t": false,
		"opaque": true, "h." + claims + "!.s": true, "h.e30.s": true, "h.W10.s": true,
		"h.eyJzdWIiOiJhIiwianRpIjoiMSJ9.s": true, // with jti
	} {
		if got := likeness(token) == token; got != alone {
			t.Errorf("%s: alone %v", token, got)
		}
	}
	if likeness("h."+claims+".s") != likeness("other."+claims+".t") {
		t.Error("equal claims are not alike")
	}
}

// TestPinned: with both endpoints set by hand nothing is fetched, and with one of them
// the rest is.
func TestPinned(t *testing.T) {
	const document = `{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t"}`
	for _, test := range []struct {
		authorization, token string
		fetched              bool
		want                 [2]string
	}{
		{"https://x.example/a", "https://x.example/t", false, [2]string{"https://x.example/a", "https://x.example/t"}},
		{"https://x.example/a", "", true, [2]string{"https://x.example/a", "https://as.example/t"}},
		{"", "https://x.example/t", true, [2]string{"https://as.example/a", "https://x.example/t"}},
	} {
		var paths []string
		s := serverBy(func(r *http.Request) (*http.Response, error) {
			paths = append(paths, r.URL.Path)
			return response(200, document), nil
		}, func(s *Settings, _ *Registration) {
			s.Pins = Endpoints{Authorization: test.authorization, Token: test.token}
		})
		m, err := s.Get(t.Context())
		if err != nil || [2]string{m.Authorization, m.Token} != test.want || test.fetched != slices.Contains(paths, "/.well-known/oauth-authorization-server") {
			t.Errorf("%+v: %+v, %v, asked %q", test, m, err, paths)
		}
	}
}

// TestTurnStays: those whose tokens may be equal share a turn for as long as one of them
// needs it, and no longer.
func TestTurnStays(t *testing.T) {
	var c collisions
	first, done1 := c.join("opaque", time.Now())
	second, done2 := c.join("opaque", time.Now())
	if first != second {
		t.Error("two turns of one token")
	}
	done1()
	third, done3 := c.join("opaque", time.Now())
	if third != first {
		t.Error("the turn was forgotten while somebody had it")
	}
	done2()
	if done3(); len(c.turns) != 0 {
		t.Errorf("%d turns are left", len(c.turns))
	}
}
