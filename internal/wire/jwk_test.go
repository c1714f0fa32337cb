package wire

import "testing"

// TestKeysForSignatures: a key that is set apart for something else verifies nothing
// (RFC 7517 sections 4.2 and 4.3).
func TestKeysForSignatures(t *testing.T) {
	for _, test := range []struct {
		members string
		keys    int
	}{
		{``, 1}, {`,"use":"sig"`, 1}, {`,"use":"enc"`, 0}, {`,"use":1`, 0}, {`,"use":null`, 1},
		{`,"key_ops":["verify"]`, 1}, {`,"key_ops":["sign","verify"]`, 1}, {`,"key_ops":["deriveKey"]`, 0}, {`,"key_ops":"verify"`, 0},
		{`,"use":"sig","key_ops":["deriveKey"]`, 0},
	} {
		keys, err := readKeys([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"` + test.members + `}]}`))
		if err != nil || len(keys) != test.keys {
			t.Errorf("%s: %d keys, %v", test.members, len(keys), err)
		}
	}
}
