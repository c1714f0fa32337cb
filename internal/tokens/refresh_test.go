package tokens

import (
	"context"
	"errors"
	"net/http"
	"sync"
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
		"another instance gives up": {change: due(func(r *record) { r.Claim = "x" }), asked: 1, token: "a2", waits: 5 * time.Second, later: map[time.Duration]func(*record){
			5 * time.Second: func(r *record) { r.Claim = "" },
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

// TestToken: which token a site is given, by whether the session is alive, and by what a refresh comes to.
func TestToken(t *testing.T) {
	same := func(*record) {}
	due := func(r *record) { r.RefreshAt = time.Now() }
	for name, test := range map[string]struct {
		change  func(*record)
		alive   bool
		fails   error // of Alive
		refused string
		says    string
		asked   int
		token   string
		want    error
	}{
		"good":                            {change: same, alive: true, token: "a1"},
		"the session has ended":           {change: same, want: ErrEnded},
		"it cannot be told":               {change: same, alive: true, fails: errBroken, want: errBroken},
		"due":                             {change: due, alive: true, says: refreshed, asked: 1, token: "a2"},
		"due, and the server is down":     {change: due, alive: true, asked: 1, token: "a1"},
		"refused, and another is got":     {change: same, alive: true, refused: "a1", says: refreshed, asked: 1, token: "a2"},
		"refused, and the server down":    {change: same, alive: true, refused: "a1", asked: 1, token: "a1", want: errPaused},
		"over, and the server is down":    {change: func(r *record) { r.RefreshAt, r.Expires = time.Now(), time.Now() }, alive: true, asked: 1, want: errPaused},
		"refused for good":                {change: func(r *record) { r.Refused = time.Now() }, alive: true, want: ErrNone},
		"refused for good, by the server": {change: due, alive: true, says: `{"error":"invalid_grant"}`, asked: 1, token: "a1", want: ErrNone},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			time.Sleep(2 * time.Second)
			l.change(t, test.change)
			asked := 0
			l.says = func(*http.Request) string { asked++; return test.says }
			l.Hooks.Alive = func(context.Context, Session[struct{}]) (bool, error) { return test.alive, test.fails }
			token, err := l.Token(t.Context(), l.session, test.refused)
			if pause := new(Pause); errors.As(err, &pause) {
				err = errPaused
			}
			if !errors.Is(err, test.want) || token.Access != test.token || asked != test.asked {
				t.Errorf("%s: %q, %v, asked %d times", name, token.Access, err, asked)
			}
			if err := l.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefreshIsTold: a refresh that fails is told of once, and what is kept says how often it did. One that
// was asked for before its time is kept in mind.
func TestRefreshIsTold(t *testing.T) {
	const refusal = `{"error":"invalid_grant"}`
	early := func(*record) {}
	due := func(r *record) { r.RefreshAt = time.Now() }
	for name, test := range map[string]struct {
		every    time.Duration
		change   func(*record)
		says     string
		told     int
		failures int
		forced   bool
		refused  bool
		suspects bool
		gone     bool
	}{
		"down":                         {every: time.Minute, change: due, told: 1, failures: 1},
		"down again":                   {every: time.Minute, change: func(r *record) { due(r); r.Failures = 1 }, failures: 2},
		"up":                           {every: time.Minute, change: func(r *record) { due(r); r.Failures = 1 }, says: refreshed},
		"before its time":              {every: time.Minute, change: early, says: refreshed, forced: true},
		"of no end that is said":       {every: time.Minute, change: func(r *record) { r.RefreshAt, r.Expires = time.Time{}, time.Time{} }, says: refreshed, forced: true},
		"refused":                      {every: time.Minute, change: due, says: refusal, told: 1, refused: true, suspects: true},
		"refused, and nobody confirms": {change: due, says: refusal, told: 1, gone: true},
		"refused again":                {every: time.Minute, change: func(r *record) { r.Refused = time.Now() }, says: refusal, refused: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.Every = test.every
			time.Sleep(2 * time.Second)
			l.change(t, test.change)
			told := 0
			l.says = func(*http.Request) string { return test.says }
			l.Hooks.Failed = func(context.Context, Session[struct{}], error) { told++ }
			_, err := l.refresh(t.Context(), l.session, "a1", true)
			if (err == nil) != (test.says == refreshed) || told != test.told {
				t.Errorf("%s: %v, told %d times", name, err, told)
			}
			if suspects := l.checks["s"] != nil; suspects != test.suspects {
				t.Errorf("%s: suspected %v", name, suspects)
			}
			_, r, err := l.load(t.Context(), l.session)
			if gone := errors.Is(err, ErrNone); gone != test.gone {
				t.Errorf("%s: gone %v, %v", name, gone, err)
			} else if !gone && (r.Failures != test.failures || r.Forced.IsZero() == test.forced || r.Refused.IsZero() == test.refused || r.Claim != "") {
				t.Errorf("%s: %+v", name, r)
			}
			if err := l.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefreshedMeanwhile: what others do while the server is asked decides which tokens are used, and those
// that nobody will use are revoked.
func TestRefreshedMeanwhile(t *testing.T) {
	other := func(r *record) {
		*r = *newRecord(&wire.Token{Access: "a9", Refresh: "r9", Expires: time.Now().Add(time.Hour)}, "agent_1")
	}
	for name, test := range map[string]struct {
		meanwhile func(*testing.T, *lab)
		says      string
		token     string
		want      error
		revoked   int
		kept      string
	}{
		"refused, as another has used it": {func(t *testing.T, l *lab) { l.change(t, other) }, `{"error":"invalid_grant"}`, "a9", nil, 0, "a9"},
		"the session has ended":           {func(_ *testing.T, l *lab) { l.alive = false }, refreshed, "a1", ErrEnded, 1, ""},
		"a logout was faster":             {func(_ *testing.T, l *lab) { l.store.value = nil }, refreshed, "a1", ErrEnded, 1, ""},
		"an old claim was taken over":     {func(t *testing.T, l *lab) { l.change(t, func(r *record) { r.Claim = "y" }) }, refreshed, "a2", nil, 0, "a2"},
		"another has refreshed":           {func(t *testing.T, l *lab) { l.change(t, other) }, refreshed, "a9", nil, 0, "a9"},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			time.Sleep(2 * time.Second)
			l.change(t, func(r *record) { r.RefreshAt = time.Now() })
			revoked := 0
			l.says = func(r *http.Request) string {
				if r.URL.Path == "/revoke" {
					revoked++
					return `{}`
				}
				test.meanwhile(t, l)
				return test.says
			}
			token, err := l.refresh(t.Context(), l.session, "", false)
			if !errors.Is(err, test.want) || token.Access != test.token || revoked != test.revoked {
				t.Errorf("%s: %q, %v, revoked %d", name, token.Access, err, revoked)
			}
			kept := ""
			if _, r, err := l.load(t.Context(), l.session); err == nil {
				kept = r.Access
			}
			if kept != test.kept {
				t.Errorf("%s: kept %q", name, kept)
			}
			if err := l.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOneFlight: of many who need a token at once one refreshes, and after a shutdown nobody does.
func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		time.Sleep(2 * time.Second)
		l.change(t, func(r *record) { r.RefreshAt = time.Now() })
		asked := 0
		l.says = func(*http.Request) string { asked++; time.Sleep(time.Second); return refreshed }
		tokens := make([]Token, 5)
		var wg sync.WaitGroup
		for i := range tokens {
			wg.Go(func() { tokens[i], _ = l.Token(t.Context(), l.session, "") })
		}
		wg.Wait()
		for _, token := range tokens {
			if token.Access != "a2" || asked != 1 {
				t.Errorf("%q, asked %d times", token.Access, asked)
			}
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		l.change(t, func(r *record) { r.RefreshAt = time.Now() })
		if _, err := l.Token(t.Context(), l.session, ""); !errors.Is(err, ErrShutdown) || asked != 1 {
			t.Errorf("%v, asked %d times", err, asked)
		}
	})
}
