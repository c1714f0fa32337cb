package pseudonyms

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// TestNames_ERA_4: an event of an account that was erased has its pseudonym in place of its ID, and
// nothing that names its holder. Nobody else's event changes.
func TestNames_ERA_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names Names
		event := audit.Event{
			Name: audit.SessionEnded, Time: time.Now(), UserID: "alice", HumanID: "admin", RemoteAddr: "192.0.2.1", Detail: "of alice",
			Agent: audit.Agent{Issuer: "https://as.example", ID: "agent_1"}, Action: "pay", Outcome: audit.OK,
		}
		if got := names.In(event); got != event {
			t.Errorf("ERA-4 before anybody is erased: %+v", got)
		}
		pseudonym := New()
		names.Give("alice", New())
		names.Give("alice", pseudonym)
		want := event
		want.UserID, want.RemoteAddr, want.Detail = pseudonym, "", ""
		if diff := cmp.Diff(want, names.In(event)); diff != "" {
			t.Errorf("ERA-4 (-want +got):\n%s", diff)
		}
		byAlice := event
		byAlice.UserID, byAlice.HumanID = "bob", "alice"
		want = byAlice
		want.HumanID, want.RemoteAddr, want.Detail = pseudonym, "", ""
		if diff := cmp.Diff(want, names.In(byAlice)); diff != "" {
			t.Errorf("ERA-4 a human's (-want +got):\n%s", diff)
		}
		for _, other := range []audit.Event{{Name: audit.LoginFailed, RemoteAddr: "192.0.2.1"}, {UserID: "Alice", Detail: "d"}, {HumanID: "bob", Detail: "d"}} {
			if got := names.In(other); got != other {
				t.Errorf("ERA-4 another's event: %+v", got)
			}
		}
		time.Sleep(keptFor + time.Second)
		names.Give("bob", New())
		if n := len(names.of); n != 1 {
			t.Errorf("%d pseudonyms are known after their time", n)
		}
	})
}

// TestAsLongAsSessions_ERA_13: a pseudonym is known as long as a session can go on, and for 31 days at least.
func TestAsLongAsSessions_ERA_13(t *testing.T) {
	for lifetime, until := range map[time.Duration]time.Duration{0: keptFor, time.Hour: keptFor, 2 * keptFor: 2 * keptFor} {
		synctest.Test(t, func(t *testing.T) {
			names := Names{Lifetime: lifetime}
			names.Give("alice", New())
			time.Sleep(until - time.Hour)
			names.Give("bob", New())
			if err := names.Refuse("alice"); !errors.Is(err, problem.NoAccount) {
				t.Errorf("ERA-13 sessions of %v: %v an hour before the end", lifetime, err)
			}
			time.Sleep(2 * time.Hour)
			names.Give("bob", New())
			if err := names.Refuse("alice"); err != nil {
				t.Errorf("ERA-13 sessions of %v: %v after the end", lifetime, err)
			}
		})
	}
}

// TestWrite_ERA_9: nothing is written of an account that was erased, and what was written meanwhile is undone.
func TestWrite_ERA_9(t *testing.T) {
	var names Names
	failed := errors.New("failed")
	undone := ""
	undo := func(pseudonym string) error { undone += pseudonym; return failed }
	for _, want := range []error{nil, failed} {
		if err := names.Write("alice", func() error { return want }, undo); err != want || undone != "" {
			t.Errorf("ERA-9: %v, want %v", err, want)
		}
	}
	err := names.Write("alice", func() error { names.Give("alice", "p"); return nil }, undo)
	if !errors.Is(err, ErrErased) || !errors.Is(err, failed) || undone != "p" {
		t.Errorf("ERA-9 erased meanwhile: %v, undone %q", err, undone)
	}
	err = names.Write("alice", func() error { t.Error("ERA-9: it is written"); return nil }, undo)
	if !errors.Is(err, ErrErased) || undone != "p" {
		t.Errorf("ERA-9 erased before: %v, undone %q", err, undone)
	}
}

// TestIs: a pseudonym is known by its form.
func TestIs(t *testing.T) {
	one, other := New(), New()
	for id, want := range map[string]bool{one: true, other: true, "": false, "erased_": false, "erased_1": false, one + "x": false, one[1:]: false} {
		if Is(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
	if one == other {
		t.Error("two accounts have one pseudonym")
	}
}
