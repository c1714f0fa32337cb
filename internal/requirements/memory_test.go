package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/memory"
	"github.com/authagent-go/authagent/internal/once"
	"github.com/authagent-go/authagent/internal/sink"
	"github.com/authagent-go/authagent/internal/tally"
	"github.com/authagent-go/authagent/problem"
)

// bounds returns the bounds that docs/memory.md names, by what is bounded.
func bounds(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs/memory.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			number, _, _ := strings.Cut(strings.TrimSpace(cells[2]), ",")
			if n, err := strconv.Atoi(number); err == nil {
				found[strings.TrimSpace(cells[1])] = n
			}
		}
	}
	return found
}

// TestBounds_MEM_4 is MEM-4: what a client floods takes as much as docs/memory.md says, and not one more.
func TestBounds_MEM_4(t *testing.T) {
	ctx, later := context.Background(), time.Now().Add(time.Hour)
	has := bounds(t)
	for what, fill := range map[string]func(most int) (filled int){
		"ended sessions (`Config.Revocations` is nil)": func(most int) (n int) {
			s := &memory.Revocations{Logger: slog.New(slog.DiscardHandler)}
			for ; n <= 2*most && !s.Forgot(time.Time{}); n++ {
				s.Revoke(ctx, fmt.Sprint(n), "mark", later)
			}
			return n - 1
		},
		"used states of logins (`Config.States` is nil)": func(most int) (n int) {
			var s memory.States
			for ; n <= 2*most; n++ {
				if _, err := s.UseState(ctx, fmt.Sprint(n), later); errors.Is(err, memory.ErrFull) {
					break
				}
			}
			return n
		},
		"each limit of `Config.Limits`, of notices and of wrong proofs": func(most int) (n int) {
			l := limit.New(1, time.Hour)
			for ; n <= 2*most && l.Allow(fmt.Sprint(n)) == 0; n++ {
			}
			return n
		},
		"kinds of refusals that are counted in one event": func(most int) (n int) {
			c := tally.New[string](time.Hour, func(int, int) func() { return func() {} })
			defer c.Close()
			for ; n <= 2*most; n++ {
				if c.Count(fmt.Sprint(n), n); !c.Count(fmt.Sprint(n), n) {
					break
				}
			}
			return n
		},
		"outcomes of sign-ins, for a browser that asks again": func(most int) (n int) {
			g := once.New[int](time.Hour)
			for ; n <= 2*most; n++ {
				did := 0
				for range 2 {
					g.Do(ctx, fmt.Sprint(n), func() (int, bool) { did++; return n, true })
				}
				if did == 2 {
					break
				}
			}
			return n
		},
		"audit events behind a function that blocks, for each queue": func(most int) (n int) {
			block, begun, lost := make(chan struct{}), make(chan struct{}), false
			s := sink.New(func(i int) {
				if i < 0 {
					close(begun)
				}
				<-block
			}, func(string) { lost = true })
			s.Add(-1) // which is being delivered
			<-begun
			for ; n <= 2*most && !lost; n++ {
				s.Add(n)
			}
			close(block)
			return n - 1
		},
	} {
		t.Run(what, func(t *testing.T) {
			most, named := has[what]
			if got := fill(most); !named || got != most {
				t.Errorf("MEM-4: it holds %d, and docs/memory.md says %d", got, most)
			}
		})
	}
}

// TestForgotten_MEM_5 is MEM-1 and MEM-5: when marks are forgotten, every session ends, ended or not. A login that was under way is refused,
// and the next one goes through.
func TestForgotten_MEM_5(t *testing.T) {
	store := &memory.Revocations{Logger: slog.New(slog.DiscardHandler)}
	k := newBench(t, func(_ *bench, c *authagent.Config) { c.Revocations = store })
	signIn := func() *http.Response {
		c := k.Browser()
		return k.Get(c, k.Authorize(k.Agent, k.Begin(c, ""))).Response
	}
	goesOn, under := k.Browser(), k.Browser()
	k.Get(goesOn, k.Authorize(k.Agent, k.Begin(goesOn, "")))
	callback := k.Authorize(k.Agent, k.Begin(under, ""))
	if k.Me(goesOn) == nil {
		t.Fatal("no session")
	}
	for n := 0; !store.Forgot(time.Time{}); n++ {
		store.Revoke(context.Background(), fmt.Sprint(n), "mark", time.Now().Add(time.Hour))
	}
	if k.Me(goesOn) != nil {
		t.Error("MEM-1: a session goes on, and nobody knows whether it was ended")
	}
	if resp := k.Get(under, callback); resp.Reason() != problem.Reason("state_expired") {
		t.Errorf("MEM-5: the login that was under way: %d %s", resp.StatusCode, resp.Text)
	}
	time.Sleep(time.Second) // a login says in seconds when it began
	if resp := signIn(); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("MEM-5: the next login: %d", resp.StatusCode)
	}
}
