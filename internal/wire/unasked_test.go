package wire

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func text64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// edKey is a key that a server may publish.
type edKey struct {
	id      string
	private ed25519.PrivateKey
}

func newEdKey(t *testing.T, id string) edKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return edKey{id, private}
}

func (k edKey) sign(payload string) string {
	input := text64(`{"alg":"EdDSA","kid":"`+k.id+`"}`) + "." + text64(payload)
	return input + "." + text64(string(ed25519.Sign(k.private, []byte(input))))
}

func (k edKey) jwk() map[string]string {
	return map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": k.id, "x": text64(string(k.private.Public().(ed25519.PublicKey)))}
}

// publisher answers with the keys that are published now.
type publisher struct {
	fetched atomic.Int32
	mu      sync.Mutex
	keys    []edKey // nil while the server is down
}

func (p *publisher) publish(keys ...edKey) { p.mu.Lock(); p.keys = keys; p.mu.Unlock() }

func (p *publisher) RoundTrip(*http.Request) (*http.Response, error) {
	p.fetched.Add(1)
	time.Sleep(time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil {
		return nil, errors.New("down")
	}
	set := []any{}
	for _, k := range p.keys {
		set = append(set, k.jwk())
	}
	body, _ := json.Marshal(map[string]any{"keys": set})
	return response(200, string(body)), nil
}

// TestVerifyUnasked_LOGOUT_8: whatever strangers send, keys are fetched once in ten seconds at
// most, and a new key is found after that.
func TestVerifyUnasked_LOGOUT_8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh, stranger := newEdKey(t, "old"), newEdKey(t, "new"), newEdKey(t, "unknown")
		p := &publisher{keys: []edKey{old}}
		k := &Keys{address: "https://as.example/keys", client: NewClient(&http.Client{Transport: p}, nil)}
		verify := func(what, token string, want error, fetched int32) {
			t.Helper()
			if err := k.VerifyUnasked(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%s: %v", what, err)
			}
			if got := p.fetched.Load(); got != fetched {
				t.Errorf("%s: fetched %d times, want %d", what, got, fetched)
			}
		}
		flood := func(fetched int32) {
			t.Helper()
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if err := k.VerifyUnasked(t.Context(), stranger.sign("{}")); err == nil {
						t.Error("a stranger's token is good")
					}
				})
			}
			all.Wait()
			if got := p.fetched.Load(); got != fetched {
				t.Errorf("a flood: fetched %d times, want %d", got, fetched)
			}
		}
		verify("a header that cannot be read", "%.e30.", ErrSignature, 0)
		verify("the first", old.sign("{}"), nil, 1)
		flood(1)
		verify("a known key", old.sign("{}"), nil, 1)
		p.publish(old, fresh)
		verify("a key that is new", fresh.sign("{}"), ErrSignature, 1)
		time.Sleep(fetchUnasked - time.Nanosecond)
		flood(1)
		time.Sleep(time.Nanosecond)
		verify("after the pause", fresh.sign("{}"), nil, 2)
		time.Sleep(fetchUnasked)
		flood(3)
		if err := k.VerifySignature(t.Context(), stranger.sign("{}")); !errors.Is(err, ErrSignature) || p.fetched.Load() != 4 {
			t.Errorf("a sign-in does not ask anew: %v, fetched %d times", err, p.fetched.Load())
		}

		// While the server is down, what is known serves on, and the failure is told.
		p.publish()
		time.Sleep(fetchUnasked)
		var failed *Error
		for range 2 {
			if err := k.VerifyUnasked(t.Context(), stranger.sign("{}")); !errors.As(err, &failed) || failed.Kind != Unavailable {
				t.Errorf("down: %v", err)
			}
		}
		verify("down, and the key is known", fresh.sign("{}"), nil, 5)
		p.publish(old)
		time.Sleep(fetchUnasked)
		verify("back", stranger.sign("{}"), ErrSignature, 6)
		verify("back, and soon again", stranger.sign("{}"), ErrSignature, 6)
		if err := k.VerifyUnasked(t.Context(), "x"); !errors.Is(err, ErrSignature) {
			t.Errorf("no token: %v", err)
		}
	})
}

// TestVerifyHS256: a token of a shared secret is read as strictly as others.
func TestVerifyHS256(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	mac := func(input string) string {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(input))
		return input + "." + text64(string(m.Sum(nil)))
	}
	header := text64(`{"alg":"HS256"}`)
	good := mac(header + "." + text64("{}"))
	for name, test := range map[string]struct {
		token string
		ok    bool
	}{
		"good":             {good, true},
		"another payload":  {header + "." + text64("[]") + good[len(header)+1+len(text64("{}")):], false},
		"no signature":     {header + "." + text64("{}") + ".", false},
		"its half":         {good[:len(good)-20], false},
		"no base64":        {good[:len(good)-1] + "!", false},
		"another alg":      {mac(text64(`{"alg":"HS512"}`) + "." + text64("{}")), false},
		"extensions":       {mac(text64(`{"alg":"HS256","crit":["x"],"x":1}`) + "." + text64("{}")), false},
		"two parts":        {mac(header), false},
		"four parts":       {mac(header + "." + text64("{}") + "." + text64("{}")), false},
		"header no object": {mac(text64(`[]`) + "." + text64("{}")), false},
	} {
		if err := VerifyHS256(test.token, key); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := VerifyHS256(good, []byte("another")); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
}
