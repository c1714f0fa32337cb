package memory

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRevocationsAreBounded_MEM_1 is MEM-1: beyond its bound, the store ends all sessions by a mark of the site, and keeps
// nothing else. It says so.
func TestRevocationsAreBounded_MEM_1(t *testing.T) {
	var said bytes.Buffer
	s := Revocations{Logger: slog.New(slog.NewTextHandler(&said, nil))}
	ctx, began := context.Background(), time.Now()
	mark := NewMark(began)
	for n := range maxRevocations {
		if err := s.Revoke(ctx, fmt.Sprint("session:", n), mark, began.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if marks, _ := s.Marks(ctx, []string{"session:0", fmt.Sprint("session:", maxRevocations-1), Site}); marks[0] != mark || marks[1] != mark || marks[2] != "" || said.Len() > 0 {
		t.Fatalf("MEM-1: at the bound: %q, said %q", marks, &said)
	}
	if s.Forgot(began) {
		t.Error("MEM-1: nothing was forgotten yet")
	}
	if err := s.Revoke(ctx, "session:last", mark, time.Now()); err != nil {
		t.Fatal(err)
	}
	marks, _ := s.Marks(ctx, []string{"session:0", "session:last", Site})
	if marks[0] != "" || marks[1] != mark || marks[2] == "" || marks[2] == mark || len(s.entries) != 2 || s.Empty() {
		t.Errorf("MEM-1: beyond the bound: %q, %d entries", marks, len(s.entries))
	}
	if at := s.entries[s.hash([]byte(Site))].until; at != began.Add(time.Hour).UnixNano() {
		t.Errorf("MEM-1: the site's mark ends at %v, and what it stands for at %v", time.Unix(0, at), began.Add(time.Hour))
	}
	if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), "all sessions") {
		t.Errorf("MEM-1: said %q", &said)
	}
	if !s.Forgot(began) || s.Forgot(time.Now().Add(time.Second)) {
		t.Error("MEM-1: it does not say when it has forgotten")
	}
}

// TestNothingRevives_MEM_2 is MEM-2: whenever one looks, a session that has ended is ended by its own mark or by the site's.
func TestNothingRevives_MEM_2(t *testing.T) {
	s := Revocations{Logger: slog.New(slog.DiscardHandler), most: 256}
	ctx, until := context.Background(), time.Now().Add(time.Hour)
	var done atomic.Bool
	var revived, looks, resets atomic.Int64
	var group sync.WaitGroup
	for n := range 4 {
		site := "" // the session's
		id := fmt.Sprint("ended", n)
		s.Revoke(ctx, "session:"+id, "ended", until)
		group.Go(func() {
			for !done.Load() {
				look := s.Look()
				if !look.Changed("", "session:", id) && !look.Changed(site, Site) {
					revived.Add(1)
				}
				look.Done()
				if marks, _ := s.Marks(ctx, []string{Site, "session:" + id}); marks[0] == site && marks[1] == "" {
					revived.Add(1)
				}
				looks.Add(1)
			}
		})
	}
	for n := range 50_000 {
		if s.Forgot(time.Time{}) {
			resets.Add(1)
			s.forgot.Store(0)
		}
		s.Revoke(ctx, fmt.Sprint("session:", n), "m", until)
	}
	done.Store(true)
	group.Wait()
	if revived.Load() > 0 || resets.Load() < 100 || len(s.entries) > 256 {
		t.Errorf("MEM-2: %d of %d looks found a session that had ended; all was forgotten %d times, %d entries", revived.Load(), looks.Load(), resets.Load(), len(s.entries))
	}
}

// TestRevocationsAreForgotten_MEM_3 is MEM-3: what is over makes room for what comes, before anything is ended for want of room, and takes no
// memory for long.
func TestRevocationsAreForgotten_MEM_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Revocations{Logger: slog.New(slog.DiscardHandler), most: 4096}
		ctx := context.Background()
		for n := range 20_000 {
			s.Revoke(ctx, fmt.Sprint(n), "m", time.Now().Add(time.Hour))
			time.Sleep(time.Second)
		}
		if s.Forgot(time.Time{}) || len(s.entries) < 3600 || len(s.entries) > 3600+3600/8 {
			t.Errorf("MEM-3: %d entries, of which 3600 last; forgot: %v", len(s.entries), s.Forgot(time.Time{}))
		}
		time.Sleep(2 * time.Hour)
		for n := range 1000 {
			s.Revoke(ctx, fmt.Sprint("later", n%8), "m", time.Now().Add(time.Hour))
		}
		if len(s.entries) != 8 || s.peak > 512 {
			t.Errorf("MEM-3: %d entries, %d at most, where 8 last", len(s.entries), s.peak)
		}
	})
}

// TestMarkTooLong: a mark is kept whole or not at all.
func TestMarkTooLong(t *testing.T) {
	var s Revocations
	if err := s.Revoke(context.Background(), "key", strings.Repeat("m", maxMark+1), time.Now().Add(time.Hour)); err == nil || !s.Empty() {
		t.Errorf("%v", err)
	}
}

func filled(b *testing.B, n int) *Revocations {
	s := new(Revocations)
	until := time.Now().Add(time.Hour)
	for i := range n {
		s.Revoke(context.Background(), fmt.Sprint("session:", i), NewMark(until), until)
	}
	return s
}

// BenchmarkRevocations is what one look for a session costs among so many entries, and what each entry takes.
func BenchmarkRevocations(b *testing.B) {
	for _, n := range []int{1, 1000, maxRevocations} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := filled(b, n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.Run(fmt.Sprint("look/", n), func(b *testing.B) {
			b.ReportAllocs()
			ids := make([]string, 4096)
			for i := range ids {
				ids[i] = fmt.Sprintf("ABCDEFGHIJKLMNOPQRSTUV%04d", i)
			}
			for i := 0; b.Loop(); i++ {
				id := ids[i%len(ids)]
				look := s.Look()
				if look.Changed("", "session:", id) || look.Changed("", "agent:", "https://as.example", " ", id) || look.Changed("", Site) || look.Changed("", "user:", id) {
					b.Fatal("found")
				}
				look.Done()
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/entry")
		})
		b.Run(fmt.Sprint("revoke/", n), func(b *testing.B) {
			until := time.Now().Add(time.Hour)
			worst := time.Duration(0)
			for b.Loop() {
				start := time.Now()
				s.put("session:0", newRevocation("m", until.UnixNano()), start)
				worst = max(worst, time.Since(start))
			}
			b.ReportMetric(float64(worst.Nanoseconds()), "worst-ns")
		})
	}
}
