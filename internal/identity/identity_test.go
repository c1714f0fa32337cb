package identity_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/wire"
)

const issuer = "https://as.example"

var key = bytes.Repeat([]byte{7}, 32)

type claims = map[string]any

// with returns some claims changed; nil removes one.
func with(c, change claims) claims {
	c = maps.Clone(c)
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func encode(v any) string {
	text, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text)
}

func signed(c claims) string { return signedAs(claims{"alg": "HS256"}, c) }

func signedAs(header, c claims) string {
	text, _ := json.Marshal(c)
	return signedText(encode(header), text)
}

// signedText signs any payload.
func signedText(header string, payload []byte) string {
	input := header + "." + base64.RawURLEncoding.EncodeToString(payload)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// server is one that publishes no keys, and says this of every token. With no
// words it cannot be reached.
func server(t *testing.T, introspection claims) *wire.Server {
	t.Helper()
	client := wire.NewClient(&http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		if introspection == nil {
			return nil, errors.New("down")
		}
		body, _ := json.Marshal(introspection)
		return &http.Response{
			StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: -1, Request: r,
		}, nil
	})}, nil)
	pins := wire.Endpoints{Authorization: issuer + "/authorize", Token: issuer + "/token", Introspection: issuer + "/introspect"}
	if introspection == nil {
		pins = wire.Endpoints{}
	}
	return wire.NewServer(client, wire.NewSource(client, wire.Settings{Issuer: issuer, Pins: pins}), wire.Registration{
		ID: "site", RedirectURL: "https://site.example/callback", Encoding: wire.Form, Auth: wire.AuthPost,
		Secret: func(context.Context) (string, error) { return "secret", nil },
	})
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func accessClaims() claims {
	return claims{"iss": issuer, "client_id": "site", "sub": "agent_token", "exp": time.Now().Add(time.Hour).Unix()}
}

// TestSaysTooLittle: a token that leaves out what it would have to say is asked about,
// and so is one that is no JWT. One that says something else is refused.
func TestSaysTooLittle(t *testing.T) {
	as := server(t, claims{"active": true, "client_id": "site", "sub": "agent_asked"})
	header, payload, _ := strings.Cut(signed(accessClaims()), ".")
	for _, v := range []identity.Verifier{{TokenKey: key}, {}} {
		v.Issuer, v.ClientID = issuer, "site"
		for name, test := range map[string]struct{ token, want string }{
			"complete":               {signed(accessClaims()), "agent_token"},
			"no issuer":              {signed(with(accessClaims(), claims{"iss": nil})), "agent_asked"},
			"no client":              {signed(with(accessClaims(), claims{"client_id": nil})), "agent_asked"},
			"no expiry":              {signed(with(accessClaims(), claims{"exp": nil})), "agent_asked"},
			"no subject":             {signed(with(accessClaims(), claims{"sub": nil})), "agent_asked"},
			"another issuer":         {signed(with(accessClaims(), claims{"iss": issuer + "/"})), ""},
			"another client":         {signed(with(accessClaims(), claims{"client_id": "other"})), ""},
			"expired":                {signed(with(accessClaims(), claims{"exp": time.Now().Add(-time.Hour).Unix()})), ""},
			"an odd issuer":          {signed(with(accessClaims(), claims{"iss": 1})), ""},
			"an odd client":          {signed(with(accessClaims(), claims{"client_id": 1})), ""},
			"an odd expiry":          {signed(with(accessClaims(), claims{"exp": "soon"})), ""},
			"an empty subject":       {signed(with(accessClaims(), claims{"sub": ""})), ""},
			"a subject with a space": {signed(with(accessClaims(), claims{"sub": "agent "})), ""},
			"an odd subject":         {signed(with(accessClaims(), claims{"sub": 1})), ""},
			"four parts":             {header + "." + payload + ".e30", "agent_asked"},
			"two parts":              {header + "." + strings.Split(payload, ".")[0], "agent_asked"},
			"a header with a bang":   {header + "!." + payload, "agent_asked"},
			"a header of no object":  {encode([]string{"HS256"}) + "." + payload, "agent_asked"},
			"no text for alg":        {encode(claims{"alg": 1}) + "." + payload, "agent_asked"},
		} {
			id, err := v.Establish(t.Context(), as, &wire.Token{Access: test.token}, "")
			switch {
			case test.want != "" && (err != nil || id.Agent != test.want || id.Subject != test.want):
				t.Errorf("key %v, %s: %v, %v", v.TokenKey != nil, name, id, err)
			case test.want == "" && !errors.Is(err, identity.ErrMismatch):
				t.Errorf("key %v, %s: %v, %v", v.TokenKey != nil, name, id, err)
			}
		}
	}
}

// TestIDToken: what else an id_token has to say, and in which form.
func TestIDToken(t *testing.T) {
	now := time.Now()
	good := claims{"iss": issuer, "aud": "site", "sub": "agent_1", "nonce": "n", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	v := identity.Verifier{Issuer: issuer, ClientID: "site", TokenKey: key}
	for name, test := range map[string]struct {
		token, nonce string
		says         string // in the error; empty for none
	}{
		"good":                    {signed(good), "n", ""},
		"azp":                     {signed(with(good, claims{"azp": "site"})), "n", ""},
		"azp of several":          {signed(with(good, claims{"aud": []string{"site", "api"}, "azp": "site"})), "n", ""},
		"no azp of several":       {signed(with(good, claims{"aud": []string{"site", "api"}})), "n", "azp"},
		"another azp":             {signed(with(good, claims{"azp": "other"})), "n", "azp"},
		"odd azp":                 {signed(with(good, claims{"azp": 1})), "n", "azp"},
		"another nonce":           {signed(good), "m", "nonce"},
		"no nonce":                {signed(with(good, claims{"nonce": nil})), "", "nonce"},
		"no iat":                  {signed(with(good, claims{"iat": nil})), "n", "iat"},
		"iat 0":                   {signed(with(good, claims{"iat": 0})), "n", "iat"},
		"its access token":        {signed(with(good, claims{"at_hash": halfHash("opaque")})), "n", ""},
		"an odd actor":            {signed(with(good, claims{"act": "agent_2"})), "n", "act"},
		"another access token":    {signed(with(good, claims{"at_hash": "x"})), "n", "at_hash"},
		"another issuer":          {signed(with(good, claims{"iss": "https://evil.example"})), "n", "does not match"},
		"another signature":       {signed(good)[:40] + "A" + signed(good)[41:], "n", "does not match"},
		"not to be read":          {"eyJ.eyJ.x", "n", "can be read"},
		"an actor":                {signed(with(good, claims{"act": claims{"sub": "agent_2"}})), "n", "(act)"},
		"critical extensions":     {critical(good), "n", "signature"},
		"no issuer":               {signed(with(good, claims{"iss": nil})), "n", "issuer"},
		"an odd issuer":           {signed(with(good, claims{"iss": []string{issuer}})), "n", "issuer"},
		"another audience":        {signed(with(good, claims{"aud": "other"})), "n", "audience"},
		"other audiences":         {signed(with(good, claims{"aud": []string{"other", "api"}, "azp": "site"})), "n", "audience"},
		"an audience in a list":   {signed(with(good, claims{"aud": []string{"site"}})), "n", ""},
		"no audience":             {signed(with(good, claims{"aud": nil})), "n", "audience"},
		"an odd audience":         {signed(with(good, claims{"aud": []any{"site", 1}})), "n", "audience"},
		"an odd nonce":            {signed(with(good, claims{"nonce": []string{"n"}})), "n", "nonce"},
		"an odd at_hash":          {signed(with(good, claims{"at_hash": 1})), "n", "at_hash"},
		"no expiry":               {signed(with(good, claims{"exp": nil})), "n", "exp"},
		"an odd expiry":           {signed(with(good, claims{"exp": []int{1}})), "n", "exp"},
		"an expiry far ahead":     {signed(with(good, claims{"exp": 1e300})), "n", "exp"},
		"begins soon":             {signed(with(good, claims{"nbf": now.Add(3 * time.Minute).Unix()})), "n", ""},
		"begins later":            {signed(with(good, claims{"nbf": now.Add(5 * time.Minute).Unix()})), "n", "nbf"},
		"an odd beginning":        {signed(with(good, claims{"nbf": "soon"})), "n", "nbf"},
		"expired, but for clocks": {signed(with(good, claims{"exp": now.Add(-30 * time.Second).Unix()})), "n", ""},
		"expired":                 {signed(with(good, claims{"exp": now.Add(-2 * time.Minute).Unix()})), "n", "does not match"},
	} {
		id, err := v.Establish(t.Context(), server(t, claims{}), &wire.Token{Access: "opaque", ID: test.token}, test.nonce)
		switch {
		case test.says == "" && (err != nil || id.Agent != "agent_1"):
			t.Errorf("%s: %v, %v", name, id, err)
		case test.says != "" && (!errors.Is(err, identity.ErrMismatch) || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
}

// TestIDTokenOfGoogle: Google's id_tokens may name it without the scheme, and nobody else's may.
func TestIDTokenOfGoogle(t *testing.T) {
	now := time.Now()
	for configured, want := range map[string]bool{"https://accounts.google.com": true, "https://accounts.google.com/": false, issuer: false} {
		v := identity.Verifier{Issuer: configured, ClientID: "site", TokenKey: key}
		for _, named := range []string{strings.TrimPrefix(configured, "https://"), "accounts.google.com"} {
			token := signed(claims{"iss": named, "aud": "site", "sub": "agent_1", "nonce": "n", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
			if _, err := v.Establish(t.Context(), server(t, claims{}), &wire.Token{Access: "opaque", ID: token}, "n"); (err == nil) != want {
				t.Errorf("%s named as %s: %v, want %v", configured, named, err, want)
			}
		}
	}
}

// critical is signed with an extension that has to be understood.
func critical(c claims) string {
	return signedAs(claims{"alg": "HS256", "crit": []string{"x"}, "x": 1}, c)
}

// halfHash is at_hash for HS256.
func halfHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// TestAccepted: which signatures of an id_token there is something to verify with.
func TestAccepted(t *testing.T) {
	now := time.Now()
	good := claims{"iss": issuer, "aud": "site", "sub": "agent_1", "nonce": "n", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for _, test := range []struct {
		key       []byte
		alg, says string
	}{
		{key, "HS256", ""},
		{nil, "HS256", "signed with HS256, which is not accepted"},
		{key, "HS512", "signed with HS512, which is not accepted"},
		{key, "none", "signed with none, which is not accepted"},
		{key, "RS256", "publishes no keys"},
		{nil, "RS256", "publishes no keys"},
		{key, "x", "an algorithm that is not known"},
	} {
		v := identity.Verifier{Issuer: issuer, ClientID: "site", TokenKey: test.key}
		token := &wire.Token{Access: "opaque", ID: signedAs(claims{"alg": test.alg}, good)}
		_, err := v.Establish(t.Context(), server(t, claims{}), token, "n")
		if (err == nil) != (test.says == "") || err != nil && (!errors.Is(err, identity.ErrMismatch) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s, key %v: %v", test.alg, test.key != nil, err)
		}
	}
}

// TestActor: which actors are one. The agent is act.sub, of the same issuer, and not
// the user.
func TestActor(t *testing.T) {
	v := identity.Verifier{Issuer: issuer, ClientID: "site", TokenKey: key, SubjectIsUser: true}
	for name, test := range map[string]struct {
		act any
		ok  bool
	}{
		"good":            {claims{"sub": "agent_1"}, true},
		"its issuer":      {claims{"sub": "agent_1", "iss": issuer}, true},
		"another issuer":  {claims{"sub": "agent_1", "iss": "https://evil.example"}, false},
		"an odd issuer":   {claims{"sub": "agent_1", "iss": 1}, false},
		"none":            {nil, false},
		"text":            {"agent_1", false},
		"without subject": {claims{}, false},
		"an odd subject":  {claims{"sub": 1}, false},
		"a bad subject":   {claims{"sub": "agent 1\n"}, false},
		"the user":        {claims{"sub": "user"}, false},
	} {
		token := signed(with(accessClaims(), claims{"sub": "user", "act": test.act}))
		said := claims{"active": true, "client_id": "site", "sub": "user"} // and of no agent
		id, err := v.Establish(t.Context(), server(t, said), &wire.Token{Access: token}, "")
		if test.ok != (err == nil) || test.ok && (id.Agent != "agent_1" || id.Subject != "user") || !test.ok && !errors.Is(err, identity.ErrMismatch) {
			t.Errorf("in the token, %s: %v, %v", name, id, err)
		}
		asked := with(claims{"active": true, "client_id": "site", "sub": "user"}, claims{"act": test.act})
		id, err = v.Establish(t.Context(), server(t, asked), &wire.Token{Access: "opaque"}, "")
		if test.ok != (err == nil) || test.ok && (id.Agent != "agent_1" || id.Subject != "user") {
			t.Errorf("asked for, %s: %v, %v", name, id, err)
		}
	}
}

// TestIntrospected: what the server says of a token has to be of this client and
// issuer, and to agree with what the token itself says.
func TestIntrospected(t *testing.T) {
	v := identity.Verifier{Issuer: issuer, ClientID: "site", TokenKey: key, Introspect: true}
	good := claims{"active": true, "client_id": "site", "sub": "agent_token"}
	for name, test := range map[string]struct {
		change claims
		want   error
	}{
		"good":            {nil, nil},
		"its issuer":      {claims{"iss": issuer}, nil},
		"another issuer":  {claims{"iss": "https://evil.example"}, identity.ErrMismatch},
		"another client":  {claims{"client_id": "other"}, identity.ErrMismatch},
		"no client":       {claims{"client_id": nil}, identity.ErrMismatch},
		"another subject": {claims{"sub": "agent_other"}, identity.ErrMismatch},
		"a bad subject":   {claims{"sub": " "}, identity.ErrMismatch},
		"inactive":        {claims{"active": false}, wire.ErrInactive},
		"expired":         {claims{"exp": time.Now().Add(-2 * time.Minute).Unix()}, identity.ErrMismatch},
		"just expired":    {claims{"exp": time.Now().Add(-30 * time.Second).Unix()}, nil},
	} {
		for _, token := range []string{signed(accessClaims()), "opaque"} {
			id, err := v.Establish(t.Context(), server(t, with(good, test.change)), &wire.Token{Access: token}, "")
			want := test.want
			if name == "another subject" && token == "opaque" {
				want = nil
			}
			if !errors.Is(err, want) || (err == nil) != (id != nil) {
				t.Errorf("%s, %.6s: %v, %v", name, token, id, err)
			}
		}
	}
	user := v
	user.SubjectIsUser = true
	token := signed(with(accessClaims(), claims{"sub": "user", "act": claims{"sub": "agent_1"}}))
	for sub, agent := range map[string]string{"user": "agent_2", "other": "agent_1"} {
		as := server(t, claims{"active": true, "client_id": "site", "sub": sub, "act": claims{"sub": agent}})
		if id, err := user.Establish(t.Context(), as, &wire.Token{Access: token}, ""); !errors.Is(err, identity.ErrMismatch) {
			t.Errorf("%s for %s: %v, %v", agent, sub, id, err)
		}
	}
}

// TestConfirmed: a server may say less than at the sign-in, and nothing else.
func TestConfirmed(t *testing.T) {
	v := identity.Verifier{Issuer: issuer, ClientID: "site", SubjectIsUser: true}
	good := claims{"active": true, "client_id": "site", "iss": issuer, "sub": "user", "act": claims{"sub": "agent_1"}}
	for name, test := range map[string]struct {
		said claims
		want error
	}{
		"all":             {good, nil},
		"nothing":         {claims{"active": true}, nil},
		"inactive":        {with(good, claims{"active": false}), wire.ErrInactive},
		"another client":  {with(good, claims{"client_id": "other"}), identity.ErrMismatch},
		"another issuer":  {with(good, claims{"iss": "https://evil.example"}), identity.ErrMismatch},
		"another subject": {with(good, claims{"sub": "other"}), identity.ErrMismatch},
		"another agent":   {with(good, claims{"act": claims{"sub": "agent_2"}}), identity.ErrMismatch},
		"an old expiry":   {with(good, claims{"exp": 1}), nil},
	} {
		err := v.Confirm(t.Context(), server(t, test.said), "token", identity.Identity{Agent: "agent_1", Subject: "user"})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefreshed: refreshed tokens speak of nobody else, and need not say what those
// before have not said.
func TestRefreshed(t *testing.T) {
	v := identity.Verifier{Issuer: issuer, ClientID: "site", SubjectIsUser: true}
	user := with(accessClaims(), claims{"sub": "user", "act": claims{"sub": "agent_1"}})
	idToken := claims{"iss": issuer, "sub": "user"}
	for name, test := range map[string]struct {
		before string
		fresh  wire.Token
		ok     bool
	}{
		"opaque":                   {"opaque", wire.Token{Access: "other"}, true},
		"the same":                 {signed(user), wire.Token{Access: signed(user)}, true},
		"later":                    {signed(user), wire.Token{Access: signed(with(user, claims{"exp": 1}))}, true},
		"opaque from now on":       {signed(user), wire.Token{Access: "opaque"}, true},
		"a JWT from now on":        {"opaque", wire.Token{Access: signed(with(user, claims{"sub": "x"}))}, true},
		"more claims":              {signed(with(user, claims{"iss": nil})), wire.Token{Access: signed(user)}, true},
		"another issuer":           {signed(user), wire.Token{Access: signed(with(user, claims{"iss": "x"}))}, false},
		"another subject":          {signed(user), wire.Token{Access: signed(with(user, claims{"sub": "x"}))}, false},
		"another client":           {signed(user), wire.Token{Access: signed(with(user, claims{"client_id": "x"}))}, false},
		"no subject":               {signed(user), wire.Token{Access: signed(with(user, claims{"sub": nil}))}, false},
		"an odd subject":           {signed(user), wire.Token{Access: signed(with(user, claims{"sub": 1}))}, false},
		"another agent":            {signed(user), wire.Token{Access: signed(with(user, claims{"act": claims{"sub": "x"}}))}, false},
		"no agent":                 {signed(user), wire.Token{Access: signed(with(user, claims{"act": nil}))}, false},
		"an id_token":              {"opaque", wire.Token{Access: "o", ID: signed(idToken)}, true},
		"of another issuer":        {"opaque", wire.Token{Access: "o", ID: signed(with(idToken, claims{"iss": "x"}))}, false},
		"of another subject":       {"opaque", wire.Token{Access: "o", ID: signed(with(idToken, claims{"sub": "x"}))}, false},
		"an id_token without sub":  {"opaque", wire.Token{Access: "o", ID: signed(with(idToken, claims{"sub": nil}))}, false},
		"an id_token of four":      {"opaque", wire.Token{Access: "o", ID: signed(idToken) + ".x"}, false},
		"no subject, as before":    {signed(with(user, claims{"sub": ""})), wire.Token{Access: signed(with(user, claims{"sub": ""}))}, true},
		"an empty one, then none":  {signed(with(user, claims{"sub": ""})), wire.Token{Access: signed(with(user, claims{"sub": nil}))}, false},
		"an empty one, then odd":   {signed(with(user, claims{"sub": ""})), wire.Token{Access: signed(with(user, claims{"sub": 1}))}, false},
		"no text for alg, before":  {signedAs(claims{"alg": 1}, user), wire.Token{Access: signed(with(user, claims{"sub": "x"}))}, true},
		"no text for alg, after":   {signed(user), wire.Token{Access: signedAs(claims{"alg": 1}, with(user, claims{"sub": "x"}))}, true},
		"no text for alg in it":    {"opaque", wire.Token{Access: "o", ID: signedAs(claims{"alg": 1}, idToken)}, false},
		"an id_token that is none": {"opaque", wire.Token{Access: "o", ID: "x"}, false},
	} {
		err := v.Refreshed(test.before, &test.fresh, identity.Identity{Agent: "agent_1", Subject: "user"})
		if (err == nil) != test.ok || err != nil && !errors.Is(err, identity.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServerDown: who could not be asked is no mismatch, which a retry would not mend.
func TestServerDown(t *testing.T) {
	v := identity.Verifier{Issuer: issuer, ClientID: "site", TokenKey: key}
	_, establish := v.Establish(t.Context(), server(t, nil), &wire.Token{Access: signed(accessClaims())}, "")
	for name, err := range map[string]error{
		"Establish": establish,
		"Confirm":   v.Confirm(t.Context(), server(t, nil), "token", identity.Identity{}),
	} {
		var request *wire.Error
		if !errors.As(err, &request) || request.Kind != wire.Unavailable || errors.Is(err, identity.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnsigned: claims that nothing verifies are not believed.
func TestUnsigned(t *testing.T) {
	as := server(t, claims{"active": true, "client_id": "site", "sub": "agent_asked"})
	body := encode(accessClaims())
	for i, test := range []struct {
		key   []byte
		token string
	}{
		{nil, encode(claims{"alg": "none"}) + "." + body + "."},
		{nil, encode(claims{"alg": "NONE"}) + "." + body + "."},
		{nil, encode(claims{}) + "." + body + "."},
		{key, encode(claims{"alg": "HS512"}) + "." + body + ".x"},
		{key, critical(accessClaims())},
		{key, signedAs(claims{"alg": "HS512"}, accessClaims())},
		{key, signed(accessClaims()) + "A"},
		{key, signed(accessClaims()) + "!"},
		{key, signed(accessClaims())[:len(signed(accessClaims()))-43]},
		{bytes.Repeat([]byte{8}, 32), signed(accessClaims())},
	} {
		v := identity.Verifier{Issuer: issuer, ClientID: "site", TokenKey: test.key}
		if id, err := v.Establish(t.Context(), as, &wire.Token{Access: test.token}, ""); !errors.Is(err, identity.ErrMismatch) {
			t.Errorf("%d: %v, %v", i, id, err)
		}
	}
}
