package problem_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/authagent-go/authagent/problem"
)

// TestErrorSaysItOnce: the name of the package and the reason stand once in a text,
// however errors are wrapped into each other.
func TestErrorSaysItOnce(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "authagent: find account: link_refused"},
		{problem.LinkRefused, "authagent: find account: link_refused"},
		{fmt.Errorf("grants: the account is full: %w", problem.LinkRefused), "authagent: find account: link_refused: grants: the account is full"},
		{problem.NoAccount, "authagent: find account: link_refused: no_account"},
		{errors.New("authagent: not found"), "authagent: find account: link_refused: not found"},
		{errors.New("dial: refused"), "authagent: find account: link_refused: dial: refused"},
		{errors.New("shop: ask: authagent: not found"), "authagent: find account: link_refused: shop: ask: not found"},
		{errors.New("myauthagent: x"), "authagent: find account: link_refused: myauthagent: x"},
		{&problem.Error{Reason: problem.StoreFailed, Step: "load session", Err: errors.New("down")},
			"authagent: find account: link_refused: load session: store_failed: down"},
		{errors.Join(errors.New("authagent: one"), errors.New("authagent: two")), "authagent: find account: link_refused: one\ntwo"},
	} {
		e := &problem.Error{Reason: problem.LinkRefused, Step: "find account", Err: test.err}
		if got := e.Error(); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
		if test.err != nil && !errors.Is(e, test.err) {
			t.Errorf("%q does not match what it wraps", e)
		}
	}
}
