package approval_test

import (
	"testing"

	"github.com/authagent-go/authagent/internal/approval"
)

// TestJSON: an owner reads what a program reads, be it an object, several values or one
// that is no object.
func TestJSON(t *testing.T) {
	for _, test := range []struct {
		body, shown string
		ok          bool
	}{
		{`{"to":"\u0041lice"}`, `{"to":"Alice"}`, true},
		{`["\u0041"] {"b":1}`, `["A"] {"b":1}`, true},
		{`"\u0041lice"`, `"Alice"`, true},
		{`12`, `12`, true},
		{`amount=12`, "", false},
		{`12 amount`, "", false},
		{`{"to":"a"} amount`, "", false},
		{`{"to":"a","TO":"b"}`, "", false},
		{"", "", false},
	} {
		if shown, ok := approval.JSON([]byte(test.body)); string(shown) != test.shown && ok || ok != test.ok {
			t.Errorf("%s: %s, %v", test.body, shown, ok)
		}
	}
}
