package tokens

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/wire"
)

// TestRun: when a refresh asks the server, waits for another instance or does neither, and which token
// comes of it.
func TestRun(t *testing.T) {
	const minute = time.Minute
	due := func(change func(*record)) func(*record) {
		return func(r *record) { r.RefreshAt = time.Now(); change(r) }
	}
	same := func(*record) {}
	for name, test := range map[string]struct {
		change  func(*record)
		f       refresher[struct{}]
		later   map[time.Duration]func(*record) // what others do
		asked   int
		token   string
		want    error
		waits   time.Duration // at least
		ctxOver bool
	}{
		"not due":                            {change: same, token: "a1"},
		"due":                                {change: due(same), asked: 1, token: "a2"},
		"refused":                            {change: same, f: refresher[struct{}]{refused: "a1"}, asked: 1, token: "a2"},
		"another is in use than was refused": {change: same, f: refresher[struct{}]{refused: "a0"}, token: "a1"},
		"and to be confirmed":                {change: same, f: refresher[struct{}]{refused: "a0", again: true}, token: "a1"},
		"refused, and forced lately":         {change: func(r *record) { r.Forced = time.Now() }, f: refresher[struct{}]{refused: "a1"}, token: "a1"},
		"and needed all the same":            {change: func(r *record) { r.Forced = time.Now() }, f: refresher[struct{}]{refused: "a1", again: true}, asked: 1, token: "a2"},
		"refused for good":                   {change: func(r *record) { r.Refused = time.Now() }, want: ErrNone},
		"refused for good, and tried again":  {change: func(r *record) { r.Refused = time.Now() }, f: refresher[struct{}]{again: true}, asked: 1, token: "a2"},
		"refused for good, and paused":       {change: func(r *record) { r.Refused, r.RetryAt = time.Now(), time.Now().Add(minute) }, f: refresher[struct{}]{again: true}, want: errPaused},
		"no refresh token":                   {change: due(func(r *record) { r.Refresh = "" }), token: "a1"},
		"no refresh token, and over":         {change: due(func(r *record) { r.Refresh, r.Expires = "", time.Now() }), want: ErrNone},
		"paused":                             {change: due(func(r *record) { r.RetryAt = time.Now().Add(1) }), token: "a1", want: errPaused},
		"paused, and over":                   {change: due(func(r *record) { r.Expires, r.RetryAt = time.Now(), time.Now().Add(1) }), want: errPaused},
		"paused for long enough":             {change: due(func(r *record) { r.RetryAt = time.Now() }), asked: 1, token: "a2"},
		"sent often enough":                  {change: due(same), f: refresher[struct{}]{sent: maxSent}, token: "a1", want: errPaused},
		"sent once":                          {change: due(same), f: refresher[struct{}]{sent: maxSent - 1}, asked: 1, token: "a2"},
		"the caller's time is over":          {change: same, ctxOver: true, token: "a1", want: context.Canceled},
		"an instance that is no more":        {change: due(func(r *record) { r.Claim = "x" }), asked: 1, token: "a2", waits: lease},
		"another instance refreshes": {change: due(func(r *record) { r.Claim = "x" }), token: "a9", waits: 5 * time.Second, later: map[time.Duration]func(*record){
			5 * time.Second: func(r *record) {
				*r = *newRecord(&wire.Token{Access: "a9", Refresh: "r9", Expires: time.Now().Add(time.Hour)}, "agent_1")
			},
		}},
		"two others, one after the other": {change: due(func(r *record) { r.Claim = "x" }), asked: 1, token: "a2", waits: 15*time.Second + lease, later: map[time.Duration]func(*record){
			15 * time.Second: func(r *record) { r.Claim = "y" },
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			time.Sleep(2 * time.Second) // of tokens that were issued in one second, one has to wait
			asked := 0
			l.says = func(*http.Request) string { asked++; return refreshed }
			l.change(t, test.change)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.ctxOver {
				cancel()
			}
			for after, do := range test.later {
				time.AfterFunc(after, func() { l.change(t, do) })
			}
			began := time.Now()
			f := test.f
			f.Keeper, f.session = l.Keeper, l.session
			token, err := f.run(ctx)
			if pause := new(Pause); errors.As(err, &pause) {
				err = errPaused
			}
			took := time.Since(began)
			if !errors.Is(err, test.want) || token.Access != test.token || asked != test.asked || took < test.waits || took > test.waits+3*time.Second {
				t.Errorf("%s: %q, %v, asked %d times, after %v", name, token.Access, err, asked, took)
			}
		})
	}
}

// TestGroup: a group waits for all that has started before it was closed, for as long as whoever closes it,
// and nothing starts after that.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		g.start()
		g.done()
		g.start()
		g.start()
		closed := make([]bool, 2)
		for i := range closed {
			go func() { closed[i] = g.close(t.Context()) == nil }()
		}
		synctest.Wait()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if g.start() || !g.isClosed() || !errors.Is(g.close(over), context.Canceled) {
			t.Error("it goes on")
		}
		g.done()
		if synctest.Wait(); closed[0] || closed[1] {
			t.Error("it does not wait for all")
		}
		g.done()
		if synctest.Wait(); !closed[0] || !closed[1] || g.close(over) != nil {
			t.Error("it waits for what has ended")
		}
	})
}
