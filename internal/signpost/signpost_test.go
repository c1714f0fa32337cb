package signpost_test

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"github.com/authagent-go/authagent/internal/signpost"
)

// A policy that names the style sheet by its hash has to have the right one.
func TestStyleHash(t *testing.T) {
	sum := sha256.Sum256([]byte(signpost.Style))
	if want := "sha256-" + base64.StdEncoding.EncodeToString(sum[:]); signpost.StyleHash != want {
		t.Errorf("StyleHash is %s, want %s", signpost.StyleHash, want)
	}
}
