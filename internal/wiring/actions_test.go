package wiring

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// owner is an approver of these actions.
type owner []string

func (o owner) Allows(name string) bool {
	if name == "panics" {
		panic("nil map")
	}
	for _, allowed := range o {
		if allowed == name {
			return true
		}
	}
	return false
}

func fine() error { return nil }

// TestTold: agents are told of what an owner can allow, in the order of the alphabet. An approver or a
// check that panics allows nothing, and stops nobody.
func TestTold(t *testing.T) {
	var a Actions
	a.Add(Each, "pay", owner{"pay"}, fine)
	a.Add(Each, "panics", owner{"pay"}, fine)
	a.Add(Each, "move", owner{"pay"}, fine)
	a.Add(Each, "ask", "nobody who says so", fine)
	a.Add(Each, "bad", nil, func() error { return errors.New("no such action") })
	a.Add(ByName, "order", nil, fine)
	a.Add(ByName, "cancel", nil, fine)
	a.Add(ByName, "pay", nil, func() error { return errors.New("no such action") })
	a.Add(ByName, "crash", nil, func() error { panic("nil map") })
	for guard, want := range map[string][]string{
		Each: {"ask", "bad", "move", "panics", "pay"}, ByName: {"cancel", "order"}, Within: {"pay"}, "RequireAgent": nil,
	} {
		if diff := cmp.Diff(want, a.Told(guard)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", guard, diff)
		}
	}
}

// TestAdded: an action is remembered once for each guard, in the order of the routes. What comes after
// very many is checked, and not remembered.
func TestAdded(t *testing.T) {
	var a Actions
	first := a.Add(Each, "pay", owner{"pay"}, fine)
	if again := a.Add(Each, "pay", nil, nil); again != first {
		t.Error("an action is remembered twice")
	}
	if other := a.Add(ByName, "pay", nil, fine); other == first {
		t.Error("two guards share an action")
	}
	names := func() (all []string) {
		a.Each(func(action *Action) { all = append(all, action.Guard+" "+action.Name) })
		return all
	}
	if diff := cmp.Diff([]string{"RequireApproval pay", "RequireAction pay"}, names()); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	for n := range maxActions {
		a.Add(ByName, strconv.Itoa(n), nil, fine)
	}
	late := a.Add(ByName, "late", nil, func() error { return errors.New("no such action") })
	if n := len(names()); n != maxActions || late.Err() == nil {
		t.Errorf("%d actions, and the last one's error is %v", n, late.Err())
	}
}

// TestFirst: what is wrong with a name is reported once.
func TestFirst(t *testing.T) {
	wrong := errors.New("no such action")
	for _, test := range []struct {
		check func() error
		want  string
	}{
		{fine, "[]"}, {func() error { return wrong }, "[no such action]"}, {func() error { panic("nil map") }, "[the check of the name panicked]"},
	} {
		action := new(Actions).Add(ByName, "pay", nil, test.check)
		var reported []error
		for range 2 {
			action.First(func(err error) { reported = append(reported, err) })
		}
		if got := fmt.Sprint(reported); got != test.want {
			t.Errorf("reported %s, want %s", got, test.want)
		}
	}
}

// TestNames: what can name an action, and what a guard can demand.
func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"pay": true, "orders:create": true, "": false, "a b": false, "a\n": false, "\u00a0": false} {
		if IsAction(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	for access, want := range map[string]bool{"read": false, "full": false, "none": true, "": true} {
		func() {
			defer func() {
				if got := recover() != nil; got != want {
					t.Errorf("%q: panics %v", access, got)
				}
			}()
			NeedsAccess("RequireAccess", access)
		}()
	}
	var none *Action
	if none.String() != "" || (&Action{Name: "pay"}).String() != "pay" {
		t.Error("an action is not called by its name")
	}
}
