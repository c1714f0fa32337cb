package logout_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/internal/logout"
	"github.com/authagent-go/authagent/problem"
)

var key = []byte("0123456789abcdef0123456789abcdef")

type members = map[string]any

func signed(claims any) string {
	encode := base64.RawURLEncoding.EncodeToString
	body, _ := json.Marshal(claims)
	input := encode([]byte(`{"alg":"HS256","typ":"logout+jwt"}`)) + "." + encode(body)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func claims(change members) members {
	m := members{
		"iss": "https://as.example", "aud": []string{"other", "site"}, "sub": "user_1", "sid": "s_1", "iat": time.Now().Unix(), "jti": "j",
		"events": members{"http://schemas.openid.net/event/backchannel-logout": members{}},
	}
	maps.Copy(m, change)
	return m
}

func verifier() *logout.Verifier {
	return &logout.Verifier{Issuer: "https://as.example", ClientID: "site", TokenKey: key}
}

// TestTimes_LOGOUT_1: how old a token may be, to the second, and how long it has to be remembered.
func TestTimes_LOGOUT_1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for claim, bounds := range map[string]struct{ early, late time.Duration }{
			"iat": {-5 * time.Minute, time.Minute}, "exp": {-time.Minute, 1000 * time.Hour},
		} {
			for at, ok := range map[time.Duration]bool{
				bounds.early - time.Second: false, bounds.early: true, 0: true, bounds.late: true, bounds.late + time.Second: claim == "exp",
			} {
				token, err := verifier().Verify(t.Context(), signed(claims(members{claim: time.Now().Add(at).Unix()})))
				if (err == nil) != ok || (token != nil) != ok {
					t.Errorf("%s %v from now: %v", claim, at, err)
				}
				if ok && claim == "iat" && !token.Until.Equal(time.Unix(time.Now().Add(at).Unix(), 0).Add(5*time.Minute)) {
					t.Errorf("%s %v from now: remembered until %v", claim, at, token.Until)
				}
			}
		}
	})
}

// TestWhatATokenSays: what comes of a good token.
func TestWhatATokenSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := verifier().Verify(t.Context(), signed(claims(nil)))
		want := &logout.Token{Subject: "user_1", SID: "s_1", ID: "j", Until: time.Unix(time.Now().Unix(), 0).Add(5 * time.Minute)}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

// TestReasons: the log says what is wrong with a token.
func TestReasons(t *testing.T) {
	for says, change := range map[string]members{
		"iss is not": {"iss": "x"}, "(aud)": {"aud": "x"}, "a nonce": {"nonce": ""}, "iat is missing": {"iat": nil}, "ago (iat)": {"iat": 0}, "future (iat)": {"iat": 1e11},
		"(exp)": {"exp": 0}, "events": {"events": 1}, "jti": {"jti": 1}, "sub is none": {"sub": 1}, "sid is none": {"sid": 1},
	} {
		if _, err := verifier().Verify(t.Context(), signed(claims(change))); !errors.Is(err, problem.InvalidRequest) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := verifier().Verify(t.Context(), signed(claims(nil))+".e30"); err == nil || !strings.Contains(err.Error(), "no JWT") {
		t.Errorf("four parts: %v", err)
	}
}

// TestLongToken_LOGOUT_1: a token is at most 16 KiB long.
func TestLongToken_LOGOUT_1(t *testing.T) {
	for length, ok := range map[int]bool{16 << 10: true, 16<<10 + 1: false} {
		token := ""
		for more := 11500; len(token) < length; more++ {
			token = signed(claims(members{"more": strings.Repeat("x", more)}))
		}
		if len(token) != length { // base64 leaves out some lengths
			token = signed(claims(members{"more": strings.Repeat("x", 11600), "x": "y"})) + strings.Repeat("A", length)
			ok = false
		}
		if _, err := verifier().Verify(t.Context(), token); (err == nil) != ok {
			t.Errorf("%d bytes: %v", len(token), err)
		}
	}
}

// FuzzVerify: whatever is sent, nothing of it is in the error, and what is good says whose sessions end.
func FuzzVerify(f *testing.F) {
	f.Add(signed(claims(nil)))
	f.Add(signed(members{}))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := verifier().Verify(t.Context(), raw)
		if (err == nil) != (token != nil) || err != nil && !errors.Is(err, problem.InvalidRequest) {
			t.Errorf("%v, %v", token, err)
		}
		if err == nil && (token.Subject == "" && token.SID == "" || token.ID == "" || time.Now().After(token.Until)) {
			t.Errorf("a token that says nothing: %+v", token)
		}
		if err != nil && len(raw) > 40 && strings.Contains(err.Error(), raw) {
			t.Errorf("the token is in the error: %v", err)
		}
	})
}
