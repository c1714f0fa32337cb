package wire

import (
	"encoding/json"
	"testing"
)

// TestAppendString: what is written is what encoding/json reads back, whatever a secret
// or a token has in it.
func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "a", `"`, `\`, `a"b`, `a\b`, "\n", "\x7f", "é", "<&>", `""`, `\"`} {
		var back string
		if text := appendString(nil, s); json.Unmarshal(text, &back) != nil || back != s {
			t.Errorf("%q is written as %s", s, text)
		}
	}
}
