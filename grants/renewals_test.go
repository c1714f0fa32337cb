package grants

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/authagent-go/authagent/audit"
)

// TestFairWhenFull: what one key has too much of makes room for what another has little
// of, and never the other way round.
func TestFairWhenFull(t *testing.T) {
	var q fair[int]
	for i := range maxWaiting / maxEach {
		for n := range maxEach {
			if lost, start := q.add(fmt.Sprint(i), n); len(lost) != 0 || start != (i == 0 && n == 0) {
				t.Fatalf("%d of %d: lost %v, start %v", n, i, lost, start)
			}
		}
	}
	if lost, _ := q.add("0", 99); len(lost) != 1 || lost[0] != 99 {
		t.Errorf("one that has its share pushes out %v", lost)
	}
	for n := range maxEach - 1 { // each time the last of one that has more
		if lost, _ := q.add("new", 99); len(lost) != 1 || lost[0] <= n || lost[0] >= maxEach {
			t.Errorf("the %d. of a new one pushes out %v", n, lost)
		}
	}
	if lost, _ := q.add("new", 100); len(lost) != 1 || lost[0] != 100 {
		t.Errorf("one that has as much as any pushes out %v", lost)
	}
	if q.total != maxWaiting || len(q.waiting["new"]) != maxEach-1 {
		t.Errorf("%d wait, %d of the new one", q.total, len(q.waiting["new"]))
	}
	for range maxWaiting {
		if _, ok := q.next(); !ok {
			t.Fatal("less than was added")
		}
	}
	if _, ok := q.next(); ok || len(q.waiting) != 0 || q.running {
		t.Errorf("something is left: %v", q.waiting)
	}
}

// TestTurnsAreForgotten: a key that nobody has or waits for takes no memory.
func TestTurnsAreForgotten(t *testing.T) {
	var all turns
	turn := all.of("alice")
	if err := turn.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := all.of("alice").take(gone); !errors.Is(err, context.Canceled) || len(all.used) != 1 || all.used["alice"].users != 1 {
		t.Errorf("%v, used %v", err, all.used)
	}
	if turn.give(); len(all.used) != 0 {
		t.Errorf("used %v", all.used)
	}
}

// TestFullOfLetters: where too many notices wait, one that matters as much as all others is
// not told, and one that matters more takes the place of another.
func TestFullOfLetters(t *testing.T) {
	o := newPost(&Policy{Logger: slog.New(slog.DiscardHandler)})
	o.running = true // nobody tells any
	add := func(user string, kind audit.Name) bool {
		return o.add(t.Context(), Notice{Kind: kind, UserID: user, Count: 1})
	}
	for i := range maxLetters {
		if !add(fmt.Sprint(i), EventActionAsked) {
			t.Fatalf("no room for the %d.", i)
		}
	}
	if add("new", EventActionAsked) || len(o.waiting) != maxLetters || len(o.owners) != maxLetters {
		t.Errorf("%d letters of %d owners", len(o.waiting), len(o.owners))
	}
	if !add("1", EventActionAsked) || o.waiting[slot{"1", EventActionAsked}].notice.Count != 2 {
		t.Error("one that waits is not counted")
	}
	if !add("new", EventApproved) || len(o.waiting) != maxLetters || len(o.owners) != maxLetters || o.waiting[slot{"new", EventApproved}] == nil {
		t.Errorf("%d letters", len(o.waiting))
	}
}

// TestSeenIsBounded_MEM_4 is MEM-4: sessions and networks, however many, take a bounded amount of memory, and each is recorded.
func TestSeenIsBounded_MEM_4(t *testing.T) {
	var s seen
	now := time.Now()
	for n := range 3*maxSeen + 1 {
		if !s.first("session", fmt.Sprint(n), now) {
			t.Fatalf("MEM-4: network %d is not recorded", n)
		}
		if len(s.at) > maxSeen {
			t.Fatalf("MEM-4: %d are remembered", len(s.at))
		}
	}
	if s.first("session", fmt.Sprint(3*maxSeen), now) {
		t.Error("MEM-4: the last one is recorded twice")
	}
}
