package wire

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestKeyFits: a key is tried for signatures of its own kind alone.
func TestKeyFits(t *testing.T) {
	curve := func(c elliptic.Curve) publicKey { return publicKey{key: &ecdsa.PublicKey{Curve: c}} }
	for fits, k := range map[string]publicKey{
		"RS256 RS384 RS512 PS256 PS384 PS512": {key: &rsa.PublicKey{}},
		"ES256":                               curve(elliptic.P256()), "ES384": curve(elliptic.P384()), "ES512": curve(elliptic.P521()),
		"EdDSA Ed25519": {key: ed25519.PublicKey{}},
	} {
		for _, alg := range append(Algorithms(), "HS256", "none", "") {
			want := alg != "" && strings.Contains(" "+fits+" ", " "+alg+" ")
			if got := k.fits(alg); got != want {
				t.Errorf("%T for %q: %v", k.key, alg, got)
			}
		}
	}
}

// TestKeySize: which numbers make a key. What no signature could be verified with, or
// would take for ever, is no key.
func TestKeySize(t *testing.T) {
	number := func(bytes ...byte) string { return base64.RawURLEncoding.EncodeToString(bytes) }
	long := func(bits int) string {
		b := make([]byte, (bits+7)/8)
		b[0], b[len(b)-1] = 1<<((bits-1)%8), 1
		return number(b...)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := number(point[1:33]...), number(point[33:]...)
	type members = map[string]any
	for name, test := range map[string]struct {
		jwk members
		ok  bool
	}{
		"RSA":                        {members{"kty": "RSA", "n": long(2048), "e": "AQAB"}, true},
		"RSA padded":                 {members{"kty": "RSA", "n": long(2048) + "==", "e": "AQAB"}, true},
		"RSA of 1024 bits":           {members{"kty": "RSA", "n": long(1024), "e": "AQAB"}, true},
		"RSA of 1023 bits":           {members{"kty": "RSA", "n": long(1023), "e": "AQAB"}, false},
		"RSA of 8192 bits":           {members{"kty": "RSA", "n": long(8192), "e": "AQAB"}, true},
		"RSA of 8193 bits":           {members{"kty": "RSA", "n": long(8193), "e": "AQAB"}, false},
		"exponent 3":                 {members{"kty": "RSA", "n": long(2048), "e": number(3)}, true},
		"exponent 2":                 {members{"kty": "RSA", "n": long(2048), "e": number(2)}, false},
		"exponent of 31 bits":        {members{"kty": "RSA", "n": long(2048), "e": number(0x7f, 0xff, 0xff, 0xff)}, true},
		"exponent of 32 bits":        {members{"kty": "RSA", "n": long(2048), "e": number(0x80, 0, 0, 1)}, false},
		"exponent of 65 bits":        {members{"kty": "RSA", "n": long(2048), "e": number(1, 0, 0, 0, 0, 0, 1, 0, 1)}, false},
		"no exponent":                {members{"kty": "RSA", "n": long(2048)}, false},
		"odd exponent":               {members{"kty": "RSA", "n": long(2048), "e": 65537}, false},
		"exponent that breaks off":   {members{"kty": "RSA", "n": long(2048), "e": "AQAB!"}, false},
		"RSA for encryption by alg":  {members{"kty": "RSA", "n": long(2048), "e": "AQAB", "alg": "RSA-OAEP"}, false},
		"RSA by its alg":             {members{"kty": "RSA", "n": long(2048), "e": "AQAB", "alg": "RS256"}, true},
		"odd alg":                    {members{"kty": "RSA", "n": long(2048), "e": "AQAB", "alg": 1}, false},
		"odd kid":                    {members{"kty": "RSA", "n": long(2048), "e": "AQAB", "kid": 1}, false},
		"EC":                         {members{"kty": "EC", "crv": "P-256", "x": x, "y": y}, true},
		"EC off the curve":           {members{"kty": "EC", "crv": "P-256", "x": x, "y": x}, false},
		"EC of an unknown curve":     {members{"kty": "EC", "crv": "secp256k1", "x": x, "y": y}, false},
		"EC with a long x":           {members{"kty": "EC", "crv": "P-256", "x": number(append(make([]byte, 99), point[1:33]...)...), "y": y}, false},
		"EC with a long y":           {members{"kty": "EC", "crv": "P-256", "x": x, "y": number(append(make([]byte, 99), point[33:]...)...)}, false},
		"EC without y":               {members{"kty": "EC", "crv": "P-256", "x": x}, false},
		"Ed25519":                    {members{"kty": "OKP", "crv": "Ed25519", "x": number(make([]byte, 32)...)}, true},
		"Ed25519 that is too short":  {members{"kty": "OKP", "crv": "Ed25519", "x": number(make([]byte, 31)...)}, false},
		"another curve of that kind": {members{"kty": "OKP", "crv": "X25519", "x": number(make([]byte, 32)...)}, false},
		"a curve of another kind":    {members{"kty": "EC", "crv": "Ed25519", "x": number(make([]byte, 32)...)}, false},
		"a shared secret":            {members{"kty": "oct", "k": "AAAA"}, false},
	} {
		body, _ := json.Marshal(members{"keys": []members{test.jwk}})
		keys, err := readKeys(body)
		if (err == nil) != test.ok || (len(keys) == 1) != test.ok {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

// TestNoTokenNoRequest: keys are not fetched for what can be no token: anybody can send that.
func TestNoTokenNoRequest(t *testing.T) {
	text := base64.RawURLEncoding.EncodeToString
	for _, token := range []string{
		"", "x", "!.e30.x", text([]byte(`{"alg":"RS256"}`)) + "!.e30.x", text([]byte(`[]`)) + ".e30.x",
		text([]byte(`{"alg":1}`)) + ".e30.x", text([]byte(`{"alg":"RS256","kid":1}`)) + ".e30.x",
	} {
		k := &Keys{address: "https://as.example/keys", client: NewClient(&http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			t.Errorf("%q: keys are fetched", token)
			return nil, errors.New("down")
		})}, nil)}
		if err := k.VerifySignature(t.Context(), token); !errors.Is(err, ErrSignature) {
			t.Errorf("%q: %v", token, err)
		}
	}
}

// TestEd25519Form: a token of the newer name is read as strictly as the library reads others.
func TestEd25519Form(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	for signed, ok := range map[string]bool{
		text([]byte(`{"alg":"Ed25519"}`)) + "." + text([]byte(`{}`)):                            true,
		text([]byte(`{"alg":"Ed25519"}`)) + "." + text([]byte(`{}`)) + "." + text([]byte(`{}`)): false,
		text([]byte(`{"alg":"Ed25519","crit":["x"],"x":1}`)) + "." + text([]byte(`{}`)):         false,
		text([]byte(`{"alg":"Ed25519"}`)):                                                       false,
	} {
		token := signed + "." + text(ed25519.Sign(private, []byte(signed)))
		if err := verifyWith([]publicKey{{key: public}}, token); (err == nil) != ok || err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// TestRenewedKeys: keys at another address are other keys, and those at the same one go on
// while the server gives no new ones.
func TestRenewedKeys(t *testing.T) {
	const address, set = "https://as.example/keys", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	for _, test := range []struct {
		name, before string
		used, up     bool
		same         bool
		fetched      int
	}{
		{"first", "", false, true, false, 0},
		{"not used", address, false, true, true, 0},
		{"used", address, true, true, false, 1},
		{"used, and the server is down", address, true, false, true, 1},
		{"elsewhere", address + "/old", true, true, false, 0},
		{"elsewhere, not used", address + "/old", false, true, false, 0},
	} {
		fetched := 0
		s := serverBy(func(*http.Request) (*http.Response, error) {
			if fetched++; !test.up {
				return nil, errors.New("down")
			}
			return response(200, set), nil
		})
		var before *Metadata
		if test.before != "" {
			before = &Metadata{JWKS: test.before, Keys: &Keys{client: s.client, address: test.before}}
			before.Keys.used.Store(test.used)
		}
		keys := s.renewKeys(address, before)
		same := before != nil && keys == before.Keys
		if same != test.same || fetched != test.fetched || !same && keys.address != address || fetched == 1 && !same && !keys.used.Load() {
			t.Errorf("%s: the same %v, fetched %d times", test.name, same, fetched)
		}
	}
}

// keySet is a document of Ed25519 keys, each with an ID.
func keySet(keys map[string]ed25519.PrivateKey) string {
	all := []any{}
	for id, key := range keys {
		x := base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
		all = append(all, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id})
	}
	body, _ := json.Marshal(map[string]any{"keys": all})
	return string(body)
}

// signed is a token that a key has signed, with a header that names another ID or none.
func signed(alg, id string, key ed25519.PrivateKey) string {
	text := base64.RawURLEncoding.EncodeToString
	head := `{"alg":"` + alg + `"}`
	if id != "" {
		head = `{"alg":"` + alg + `","kid":"` + id + `"}`
	}
	body := text([]byte(head)) + "." + text([]byte(`{"sub":"a"}`))
	return body + "." + text(ed25519.Sign(key, []byte(body)))
}

// TestKeysFetched: keys are fetched for the first who needs them and for a token that none of them
// verifies, and kept; what could not be had is asked for again.
func TestKeysFetched(t *testing.T) {
	keys := make(map[string]ed25519.PrivateKey)
	for _, id := range []string{"old", "new", "stranger"} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[id] = key
	}
	old, both := map[string]ed25519.PrivateKey{"old": keys["old"]}, map[string]ed25519.PrivateKey{"old": keys["old"], "new": keys["new"]}
	fetched, answer := 0, ""
	s := serverBy(func(*http.Request) (*http.Response, error) {
		if fetched++; answer == "" {
			return nil, errors.New("down")
		}
		return response(200, answer), nil
	})
	k := &Keys{client: s.client, address: "https://as.example/keys"}
	wants := func(what string, n int, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || want == nil && err != nil || fetched != n {
			t.Errorf("%s: %v, want %v, fetched %d times, want %d", what, err, want, fetched, n)
		}
		fetched = 0
	}
	verify := func(alg, id, by string) error {
		return k.VerifySignature(t.Context(), signed(alg, id, keys[by]))
	}
	has := func(want bool) error {
		got, err := k.Any(t.Context())
		if got != want {
			t.Errorf("has any: %v", got)
		}
		return err
	}
	var down *Error
	if err := has(false); !errors.As(err, &down) || down.Kind != Unavailable {
		t.Errorf("down: %v", err)
	}
	fetched, answer = 0, keySet(old)
	wants("first", 1, has(true), nil)
	wants("known", 0, has(true), nil)
	for _, alg := range []string{"EdDSA", "Ed25519"} {
		wants("by its ID", 0, verify(alg, "old", "old"), nil)
		wants("without an ID", 0, verify(alg, "", "old"), nil)
		wants("of another", 1, verify(alg, "old", "stranger"), ErrSignature)
		wants("by another ID", 1, verify(alg, "new", "old"), ErrSignature)
	}
	wants("another kind", 1, verify("RS256", "old", "old"), ErrSignature)
	answer = keySet(both)
	wants("new", 1, verify("EdDSA", "new", "new"), nil)
	wants("new, known", 0, verify("EdDSA", "new", "new"), nil)
	wants("old, still there", 0, verify("EdDSA", "old", "old"), nil)
	answer = ""
	if err := verify("EdDSA", "stranger", "stranger"); !errors.As(err, &down) || down.Kind != Unavailable {
		t.Errorf("a stranger while it is down: %v", err)
	}
	fetched = 0
	wants("old, while it is down", 0, verify("EdDSA", "old", "old"), nil)
	answer = `{"keys":[]}`
	wants("withdrawn", 1, verify("EdDSA", "stranger", "stranger"), ErrSignature)
	wants("none, known", 0, has(false), nil)
	k = &Keys{client: s.client, address: "https://as.example/keys"}
	wants("none", 1, has(false), nil)
}

// TestUnreadableKeys: keys that cannot be read are told from those that cannot be had, and what is
// wrong with them is said where it is known.
func TestUnreadableKeys(t *testing.T) {
	for _, test := range []struct {
		answer *http.Response
		kind   Kind
		text   string
	}{
		{response(404, "<p>no"), Malformed, "keys request: status 404: published keys cannot be read"},
		{response(200, "[]"), Malformed, "keys request: status 200: published keys cannot be read: strictjson: not a JSON object"},
		{response(200, `{"keys":5}`), Malformed, "keys request: status 200: published keys cannot be read: keys is not an array"},
		{response(200, `{"keys":[{"kty":"oct","k":"AAAA"}]}`), Malformed, "keys request: status 200: published keys cannot be read: none of the keys is of a kind that is known"},
		{response(200, strings.Repeat(" ", 2<<20)), Malformed, "keys request: status 200: published keys cannot be read: answer is longer than 1048576 bytes"},
		{response(503, ""), Unavailable, "keys request: status 503"},
		{nil, Unavailable, "keys request: no complete HTTP answer (*errors.errorString)"},
	} {
		s := serverBy(func(*http.Request) (*http.Response, error) {
			if test.answer == nil {
				return nil, errors.New("down")
			}
			return test.answer, nil
		})
		_, err := (&Keys{client: s.client, address: "https://as.example/keys"}).Any(t.Context())
		wantKind(t, test.text, err, test.kind)
		if errors.Is(err, ErrKeys) != (test.kind == Malformed) || err.Error() != test.text {
			t.Errorf("%v, want %s", err, test.text)
		}
	}
}

// TestAddresses: what an address can be.
func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://as.example": true, "https://as.example:8443/x?y=1": true, "http://localhost:1": true, "http://127.0.0.9": true, "http://[::1]:1": true,
		"": false, ":": false, "https:": false, "https:as.example": false, "https:///x": false, "https://:443": false, "/x": false, "ftp://as.example": false,
		"http://as.example": false, "https://u@as.example": false, "https://as.example#": false, "https://as.example/#x": false, "https://ä.example": false,
		"https://" + strings.Repeat("a", 253): true, "https://" + strings.Repeat("a", 254): false,
	} {
		if _, err := CheckURL(address, true); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.1.2.3": true, "::1": true,
		"::1%lo": false, "::ffff:127.0.0.1": false, "10.0.0.1": false, "localhost.example": false, "": false, "127.1": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if got := Origins("https://A.example:443/x", ":", "x", "/y", "", "http://b.example:80"); strings.Join(got, " ") != "https://a.example http://b.example" {
		t.Errorf("origins %q", got)
	}
	if _, err := (Inquiry{ClientID: "site"}).At(&Metadata{Authorization: ":"}); err == nil {
		t.Error("a request to no address")
	}
}

// TestWayToProve: how the client proves itself at an endpoint that says what it takes.
func TestWayToProve(t *testing.T) {
	basic, post := []string{"client_secret_basic"}, []string{"client_secret_post"}
	for _, test := range []struct {
		pinned  Auth
		known   manner
		methods []string
		want    Auth
	}{
		{AuthUnknown, manner{Form, AuthPost}, basic, AuthBasic},
		{AuthUnknown, manner{Form, AuthBasic}, post, AuthPost},
		{AuthUnknown, manner{Form, AuthPost}, nil, AuthPost},
		{AuthUnknown, manner{Form, AuthBasic}, append(basic, post...), AuthBasic},
		{AuthUnknown, manner{JSON, AuthPost}, basic, AuthPost}, // whoever reads JSON reads no header
		{AuthPost, manner{Form, AuthPost}, basic, AuthPost},
	} {
		s := &Server{Registration: Registration{Auth: test.pinned}}
		if got := s.authAt(test.known, test.methods); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
