package memory_test

import (
	"context"
	"fmt"
	"slices"
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

// TestRevocations_SES_16 is SES-3, SES-11 and SES-16.
func TestRevocations_SES_16(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s memory.Revocations
		ctx := context.Background()
		if !s.Empty() {
			t.Error("not empty at first")
		}
		revoke := func(key, mark string, lasts time.Duration) {
			if err := s.Revoke(ctx, key, mark, time.Now().Add(lasts)); err != nil {
				t.Fatal(err)
			}
		}
		marks := func(want ...string) {
			t.Helper()
			got, err := s.Marks(ctx, []string{"user:1", "user:3", "user:", "user:11"})
			if !slices.Equal(got, append(want, "", "")) || err != nil {
				t.Errorf("marks %q, %v; want %q", got, err, want)
			}
		}
		revoke("user:1", "a", 12*time.Hour)
		revoke("user:1", "b", time.Hour) // the later until stays
		marks("b", "")
		time.Sleep(11 * time.Hour)
		revoke("user:3", "c", 12*time.Hour)
		marks("b", "c")
		time.Sleep(2 * time.Hour)
		revoke("user:4", "d", 12*time.Hour)
		marks("", "c")
	})
}
