package memory_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/memory"
)

func use(t *testing.T, s *memory.States, id string, until time.Time) bool {
	t.Helper()
	first, err := s.UseState(context.Background(), id, until)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// TestStates_TXN_4 is TXN-4.
func TestStates_TXN_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s memory.States
		until := time.Now().Add(15 * time.Minute)
		for _, test := range []struct {
			after time.Duration
			id    string
			want  bool
		}{
			{0, "a", true}, {0, "a", false}, {0, "b", true},
			{14 * time.Minute, "a", false}, {0, "c", true}, {0, "b", false},
		} {
			time.Sleep(test.after)
			if got := use(t, &s, test.id, until); got != test.want {
				t.Errorf("TXN-4 %s: %v, want %v", test.id, got, test.want)
			}
		}
	})
}

// TestStatesAtOnce_TXN_4 is TXN-4: of many uses at once, one is the first.
func TestStatesAtOnce_TXN_4(t *testing.T) {
	var s memory.States
	var firsts atomic.Int32
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if first, _ := s.UseState(context.Background(), "a", time.Now().Add(time.Hour)); first {
				firsts.Add(1)
			}
		})
	}
	group.Wait()
	if firsts.Load() != 1 {
		t.Errorf("TXN-4: %d first uses", firsts.Load())
	}
}

// TestStatesAreBounded: when nothing can be forgotten, it refuses; what was used
// stays used. When time has passed, it works again.
func TestStatesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s memory.States
		until := time.Now().Add(15 * time.Minute)
		n := 0
		for ; ; n++ {
			if _, err := s.UseState(context.Background(), fmt.Sprint(n), until); err != nil {
				if err != memory.ErrFull {
					t.Fatal(err)
				}
				break
			}
			if n > 1<<20 {
				t.Fatal("no bound")
			}
		}
		if use(t, &s, "0", until) {
			t.Error("a used state was forgotten")
		}
		time.Sleep(15*time.Minute + time.Second)
		if !use(t, &s, "new", time.Now().Add(time.Minute)) {
			t.Error("not usable after the states have expired")
		}
	})
}

// TestSpareStates: uses that bring nothing in take half of the room at most, and
// are single as long as there is some.
func TestSpareStates(t *testing.T) {
	var s memory.States
	until := time.Now().Add(time.Hour)
	if first, again := s.UseSpare("a", until), s.UseSpare("a", until); !first || again || use(t, &s, "a", until) {
		t.Errorf("TXN-4: first %v, again %v", first, again)
	}
	for n := range 1 << 20 {
		if !s.UseSpare(fmt.Sprint(n), until) {
			t.Fatal("not the first")
		}
	}
	if s.UseSpare("a", until) || !s.UseSpare("last", until) || !s.UseSpare("last", until) {
		t.Error("not as many are forgotten as have no room")
	}
	for n := range 1 << 18 {
		if !use(t, &s, fmt.Sprint("code", n), until) || use(t, &s, fmt.Sprint("code", n), until) {
			t.Fatal("REQ-8, TXN-4: no room, or used twice")
		}
	}
}

// TestFullStatesAreQuick: a store that is full is not searched through for each
// use, or whoever fills it has the site do nothing else.
func TestFullStatesAreQuick(t *testing.T) {
	var s memory.States
	ctx, until := context.Background(), time.Now().Add(time.Hour)
	for n := 0; ; n++ {
		if _, err := s.UseState(ctx, fmt.Sprint(n), until); err == memory.ErrFull {
			break
		}
	}
	start := time.Now()
	for n := range 1000 {
		if _, err := s.UseState(ctx, fmt.Sprint("more", n), until); err != memory.ErrFull {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("1000 uses of a full store took %v", took)
	}
}

// TestRevocations is SES-3 and SES-11.
func TestRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s memory.Revocations
		ctx := context.Background()
		if !s.Empty() {
			t.Error("not empty at first")
		}
		start := time.Now()
		revoke := func(key string, at time.Time) {
			if err := s.Revoke(ctx, key, at, at.Add(12*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		revoke("user:1", start.Add(time.Minute))
		revoke("user:1", start) // an earlier one does not take the later one back
		for _, test := range []struct {
			name    string
			keys    []string
			started time.Time
			want    bool
		}{
			{"SES-11 started before", []string{"user:1"}, start, true},
			{"SES-11 started at that time", []string{"user:1"}, start.Add(time.Minute), true},
			{"SES-11 started after", []string{"user:1"}, start.Add(time.Minute + 1), false},
			{"SES-11 another", []string{"user:2"}, start, false},
			{"SES-11 prefix", []string{"user:", "user:11"}, start, false},
			{"SES-11 one of several", []string{"session:9", "user:1", "all"}, start, true},
			{"SES-11 none", nil, start, false},
		} {
			if got, err := s.Revoked(ctx, test.keys, test.started); got != test.want || err != nil {
				t.Errorf("%s: %v, %v", test.name, got, err)
			}
		}
		time.Sleep(11 * time.Hour)
		revoke("user:3", time.Now())
		if got, _ := s.Revoked(ctx, []string{"user:1"}, start); !got {
			t.Error("SES-3: forgotten too early")
		}
		time.Sleep(2 * time.Hour)
		revoke("user:4", time.Now())
		if got, _ := s.Revoked(ctx, []string{"user:1"}, start); got {
			t.Error("kept for ever")
		}
		if got, _ := s.Revoked(ctx, []string{"user:3"}, start); !got {
			t.Error("SES-3: another record was swept too")
		}
	})
}
