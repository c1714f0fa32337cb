package authagent_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/testsite"
)

// TestVerifiers_REQ_3: a verifier is of the right shape, is never the same twice, and
// has the challenge that RFC 7636 says.
func TestVerifiers_REQ_3(t *testing.T) {
	shape := regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
	seen := make(map[string]bool)
	for range 10_000 {
		l := authagent.NewLogin("/")
		sum := sha256.Sum256([]byte(l.Verifier))
		if !shape.MatchString(l.Verifier) || l.Challenge() != base64.RawURLEncoding.EncodeToString(sum[:]) || seen[l.Verifier] {
			t.Fatalf("REQ-3: verifier %q, challenge %q, seen %v", l.Verifier, l.Challenge(), seen[l.Verifier])
		}
		seen[l.Verifier] = true
	}
}

// TestLoginRead: what is no login of this version is none, and has no state that could match.
func TestLoginRead(t *testing.T) {
	l := authagent.NewLogin("/")
	good := l.Encode()
	if got := authagent.ParseLogin(good); got == nil || got.State != l.State || got.Verifier != l.Verifier {
		t.Errorf("read %v", got != nil)
	}
	later := authagent.NewLogin("/")
	later.StartedAt = time.Unix(-1, 0)
	short := authagent.NewLogin("/")
	short.State = "1234567"
	for name, value := range map[string][]byte{
		"empty": nil, "cut off": good[:len(good)-1], "of a later version": later.Encode(), "without a state": (&authagent.Login{}).Encode(),
		"with a state that is too short": short.Encode(),
	} {
		if authagent.ParseLogin(value) != nil {
			t.Errorf("a login that is %s is read", name)
		}
	}
	if _, err := authagent.ParseSession(nil); err == nil {
		t.Error("a session of nothing is read")
	}
}

// TestLoginDoesNotPrint_LOG_1_CFG_10: a login's secrets print by no verb for which
// package fmt calls its methods, nor as JSON or in a log.
func TestLoginDoesNotPrint_LOG_1_CFG_10(t *testing.T) {
	login := authagent.NewLogin("/")
	outputs := testsite.Printed(*login, true)
	for name, text := range testsite.Printed(login, true) {
		outputs["*"+name] = text
	}
	if len(outputs) < 3000 {
		t.Errorf("only %d outputs", len(outputs))
	}
	for name, text := range outputs {
		for _, secret := range []string{login.State, login.Verifier, login.Nonce} {
			if strings.Contains(text, secret) || strings.Contains(text, hex.EncodeToString([]byte(secret))) {
				t.Errorf("%s has a secret of the login: %.300s", name, text)
			}
		}
	}
}
