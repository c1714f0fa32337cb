package permit

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

const (
	least int8 = iota
	read
	full
)

var shop = Map[int8]{
	"nothing": {}, "read": {Access: read}, "all": {Access: full}, "create": {Actions: []string{"create"}}, "end": {Access: read, Actions: []string{"delete", "create"}},
}

// TestNeeded_API_12: the scopes that are named are enough, they have all that the agent has, and of the others the ones that
// allow least.
func TestNeeded_API_12(t *testing.T) {
	for _, test := range []struct {
		have, action string
		access       int8
		want         string
	}{
		{"", "", read, "read"}, {"", "", full, "all"}, {"read", "", full, "read all"}, {"read", "", read, "read"}, {"all", "", read, "all"},
		{"", "create", least, "read create"}, {"read", "create", least, "read create"}, {"create", "create", least, "create read"},
		{"", "delete", least, "end"}, {"nothing", "delete", least, "nothing end"}, {"read other", "delete", least, "read end"},
		{"", "unknown", least, "all"}, {"create", "create", full, "create all"},
	} {
		got := shop.Needed(strings.Fields(test.have), test.action, test.access, full)
		want := strings.Fields(test.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("with %q, for %q and access %d: %v, want %v", test.have, test.action, test.access, got, want)
		}
		if !shop.allows(got, test.action, test.access, full) {
			t.Errorf("%v do not allow %q and access %d", got, test.action, test.access)
		}
	}
	if got := (Map[int8]{"read": {Access: read}}).Needed(nil, "create", least, full); got != nil {
		t.Errorf("no scopes allow it, and %v are named", got)
	}
	if got := (Map[int8])(nil).Needed([]string{"x"}, "create", read, full); got != nil {
		t.Errorf("nothing is limited, and %v are named", got)
	}
}

// TestReaches_API_12: access that no scope gives is refused, with the scopes that are needed.
func TestReaches_API_12(t *testing.T) {
	if err := shop.Reaches([]string{"end"}, read, full); err != nil {
		t.Error(err)
	}
	if err := (Map[int8])(nil).Reaches(nil, full, full); err != nil {
		t.Errorf("nothing is limited: %v", err)
	}
	err := shop.Reaches([]string{"read", "other"}, full, full)
	var f *failure.Failure
	if !errors.Is(err, problem.Reason(reasons.InsufficientScope)) || !errors.As(err, &f) || !slices.Equal(f.Scopes, []string{"read", "all"}) {
		t.Errorf("%v, scopes %v", err, f)
	}
	if err := shop.Grants([]string{"create"}, "create", full); !errors.Is(err, problem.Reason(reasons.InsufficientScope)) {
		t.Errorf("an action without access: %v", err)
	}
}
