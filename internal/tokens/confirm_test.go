package tokens

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/wire"
)

// TestSuspected: a session whose tokens were refused is looked at again after a while, once, and a look
// that is under way or about to begin is enough.
func TestSuspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		var looks atomic.Int32
		l.Hooks.Alive = func(context.Context, Session[struct{}]) (bool, error) { looks.Add(1); return false, nil }
		known := func() check {
			l.mu.Lock()
			defer l.mu.Unlock()
			return *l.checks["s"]
		}
		l.suspect(l.session)
		first := known()
		l.suspect(l.session)
		l.Check(l.session)
		if c := known(); !c.doubt || first.timer == nil || c != first {
			t.Errorf("%+v, then %+v", first, c)
		}
		time.Sleep(doubtFor - time.Second)
		if synctest.Wait(); looks.Load() != 0 {
			t.Errorf("%d looks at once", looks.Load())
		}
		time.Sleep(doubtFor / 2)
		if synctest.Wait(); looks.Load() != 1 || len(l.checks) != 0 {
			t.Errorf("%d looks later, %d checks", looks.Load(), len(l.checks))
		}
		busy := &check{busy: true}
		l.checks["s"] = busy
		if l.suspect(l.session); busy.doubt || busy.timer != nil {
			t.Errorf("while it is looked at: %+v", busy)
		}
		delete(l.checks, "s")
		for n := range maxChecks {
			l.checks[strconv.Itoa(n)] = &check{next: time.Now()}
		}
		l.suspect(l.session)
		if l.Check(l.session); len(l.checks) != maxChecks || looks.Load() != 1 {
			t.Errorf("without room: %d checks, %d looks", len(l.checks), looks.Load())
		}
	})
}

// TestLookLater: a look that finds no room begins later, one that would come after the session's end
// comes at its end, and one that is called off as it begins does not.
func TestLookLater(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*lab)
		want int
	}{
		"no room": {func(l *lab) {
			l.running = maxRunning
			l.suspect(l.session)
			time.Sleep(2 * doubtFor)
			synctest.Wait()
			l.mu.Lock()
			l.running = 0
			l.mu.Unlock()
			time.Sleep(10 * time.Second)
		}, 1},
		"at the end": {func(l *lab) {
			l.session.Expires = time.Now().Add(10 * time.Second)
			l.suspect(l.session)
			time.Sleep(10 * time.Second)
		}, 1},
		"called off": {func(l *lab) {
			l.mu.Lock()
			c := l.check("s")
			l.after(l.session, c, time.Second)
			time.Sleep(time.Second)
			c.stop()
			l.mu.Unlock()
			time.Sleep(time.Minute)
		}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			var looks atomic.Int32
			l.Hooks.Alive = func(context.Context, Session[struct{}]) (bool, error) { looks.Add(1); return false, nil }
			test.do(l)
			if synctest.Wait(); int(looks.Load()) != test.want {
				t.Errorf("%s: %d looks, want %d", name, looks.Load(), test.want)
			}
			if err := l.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// errPaused is any Pause.
var errPaused = errors.New("paused")

// TestNoIntrospection: a server that cannot be asked about tokens is not, and one whose metadata cannot be
// had has confirmed nothing.
func TestNoIntrospection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(e *wire.Endpoints) { e.Introspection = "" })
		time.Sleep(11 * time.Minute)
		began := time.Now()
		if seen, err := l.look(t.Context(), l.session); err != nil || !seen.confirmed.Equal(began) {
			t.Errorf("%v, %v", seen.confirmed, err)
		}
		l = newLab(t, func(e *wire.Endpoints) { *e = wire.Endpoints{} })
		time.Sleep(11 * time.Minute)
		var down *wire.Error
		if seen, err := l.look(t.Context(), l.session); !errors.As(err, &down) || !seen.confirmed.IsZero() {
			t.Errorf("%v, %v", seen.confirmed, err)
		}
	})
}

// TestEndedElsewhere: a session that another instance has ended by the time that it is to end is known no
// more.
func TestEndedElsewhere(t *testing.T) {
	l := newLab(t)
	l.alive = false
	l.mu.Lock()
	c := l.check("s")
	l.mu.Unlock()
	l.settle(t.Context(), l.session, c, sight{}, identity.ErrMismatch)
	if len(l.checks) != 0 || l.ended != 0 {
		t.Errorf("%d checks, ended %d times", len(l.checks), l.ended)
	}
}

// TestLookAsks: what a look asks the server, by what is kept of the session, and what it makes of the
// answers.
func TestLookAsks(t *testing.T) {
	const inactive, active = `{"active":false}`, `{"active":true}`
	change := func(change func(*record)) func(*lab) { return func(l *lab) { l.change(t, change) } }
	ended := func(alive bool, err error) func(*lab) {
		return func(l *lab) {
			l.Hooks.Alive = func(context.Context, Session[struct{}]) (bool, error) { return alive, err }
		}
	}
	for name, test := range map[string]struct {
		after     time.Duration // since the session was confirmed
		change    func(*lab)
		says      []string // to what is asked about the token, in order
		asked     string
		want      error
		confirmed bool // now
	}{
		"cannot be told":         {11 * time.Minute, ended(true, errBroken), nil, "", errBroken, false},
		"ended":                  {11 * time.Minute, ended(false, nil), nil, "revoke", ErrEnded, false},
		"lately":                 {9 * time.Minute, func(*lab) {}, nil, "", nil, false},
		"not lately":             {10 * time.Minute, func(*lab) {}, []string{active}, "introspect", nil, true},
		"lately, and refused":    {0, change(func(r *record) { r.Refused = time.Now() }), []string{active}, "token introspect-new", nil, true},
		"due":                    {11 * time.Minute, change(func(r *record) { r.RefreshAt = time.Now() }), []string{active}, "token introspect-new", nil, true},
		"over":                   {11 * time.Minute, change(func(r *record) { r.Refresh, r.Expires = "", time.Now().Add(skew) }), nil, "", ErrNone, false},
		"soon over":              {11 * time.Minute, change(func(r *record) { r.Refresh, r.Expires = "", time.Now().Add(skew+1) }), []string{active}, "introspect", nil, true},
		"over, but renewed":      {2 * time.Hour, func(*lab) {}, []string{active}, "token introspect-new", nil, true},
		"inactive, then active":  {11 * time.Minute, func(*lab) {}, []string{inactive, active}, "introspect token introspect-new", nil, true},
		"inactive":               {11 * time.Minute, func(*lab) {}, []string{inactive, inactive}, "introspect token introspect-new", wire.ErrInactive, false},
		"inactive, nothing else": {11 * time.Minute, change(func(r *record) { r.Refresh = "" }), []string{inactive}, "introspect", wire.ErrInactive, false},
		"refused for good":       {11 * time.Minute, change(func(r *record) { r.RefreshAt, r.Refresh = time.Now(), "bad" }), nil, "token", wire.ErrInactive, false},
		"due, and not renewed":   {11 * time.Minute, change(func(r *record) { r.RefreshAt, r.Refresh = time.Now(), "down" }), []string{active}, "token introspect", nil, true},
		"over, and not renewed":  {2 * time.Hour, change(func(r *record) { r.Refresh = "down" }), nil, "token", errPaused, false},
		"inactive, not renewed":  {11 * time.Minute, change(func(r *record) { r.Refresh = "down" }), []string{inactive}, "introspect token", errPaused, false},
		"due, and nothing is kept": {11 * time.Minute, func(l *lab) {
			change(func(r *record) { r.RefreshAt = time.Now() })(l)
			l.store.before = func(method string) error {
				if method == "save" {
					return errBroken
				}
				return nil
			}
		}, nil, "", errBroken, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			before := time.Now()
			time.Sleep(test.after)
			test.change(l)
			var asked []string
			l.says = func(r *http.Request) string {
				body, _ := io.ReadAll(r.Body)
				path := strings.TrimPrefix(r.URL.Path, "/")
				if strings.Contains(string(body), "token=a2") {
					path += "-new"
				}
				asked = append(asked, path)
				switch {
				case strings.Contains(string(body), "refresh_token=bad"):
					return `{"error":"invalid_grant"}`
				case strings.Contains(string(body), "refresh_token=down"):
					return ""
				case r.URL.Path == "/token":
					return refreshed
				case r.URL.Path == "/introspect" && len(test.says) > 0:
					answer := test.says[0]
					test.says = test.says[1:]
					return answer
				}
				return `{}`
			}
			began := time.Now()
			seen, err := l.look(t.Context(), l.session)
			if pause := new(Pause); errors.As(err, &pause) {
				err = errPaused
			}
			if !errors.Is(err, test.want) || strings.Join(asked, " ") != test.asked {
				t.Errorf("%s: asked %q, %v", name, asked, err)
			}
			want := before
			if test.confirmed {
				want = began
			}
			if err == nil && !seen.confirmed.Equal(want) {
				t.Errorf("%s: confirmed at %v, want %v", name, seen.confirmed, want)
			}
			if _, r, err := l.load(t.Context(), l.session); err == nil && !r.Confirmed.Equal(want) {
				t.Errorf("%s: kept that it was confirmed at %v, want %v", name, r.Confirmed, want)
			} else if (err != nil) != (name == "ended") {
				t.Errorf("%s: %v", name, err)
			}
			if err := l.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSettled: what a look comes to says when the next one is, and whether it waits for a request.
func TestSettled(t *testing.T) {
	const every = 10 * time.Minute
	for name, test := range map[string]struct {
		err       error
		confirmed time.Duration // from now
		change    func(*lab)
		next      time.Duration // from now, of a session that is known; 0 for none
		timer     bool
		doubt     bool
	}{
		"confirmed":              {nil, -time.Minute, func(*lab) {}, every - time.Minute, false, false},
		"by another clock":       {nil, time.Hour, func(*lab) {}, every, false, false},
		"no tokens":              {ErrNone, 0, func(*lab) {}, every, false, false},
		"inactive":               {wire.ErrInactive, 0, func(*lab) {}, 0, true, true},
		"the server is down":     {errBroken, 0, func(*lab) {}, 0, true, false},
		"down, and shut down":    {errBroken, 0, func(l *lab) { l.Shutdown(context.Background()) }, 0, false, false},
		"down, and forgotten":    {errBroken, 0, func(l *lab) { l.forget("s") }, 0, false, false},
		"inactive and forgotten": {wire.ErrInactive, 0, func(l *lab) { l.forget("s") }, 0, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.mu.Lock()
			c := l.check("s")
			l.mu.Unlock()
			test.change(l)
			c.busy = true
			now := time.Now()
			l.settle(t.Context(), l.session, c, sight{confirmed: now.Add(test.confirmed)}, test.err)
			next := time.Time{}
			if test.next != 0 {
				next = now.Add(test.next)
			}
			if c.busy || !c.next.Equal(next) || (c.timer != nil) != test.timer || c.doubt != test.doubt {
				t.Errorf("%s: %+v", name, c)
			}
			c.stop()
		})
	}
}

// TestEnds: which answer ends a session.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &Keeper[struct{}]{Grace: time.Hour}
		endless := &Keeper[struct{}]{}
		now := time.Now()
		past, doubted := &check{since: now.Add(-time.Hour)}, &check{doubt: true, since: now.Add(-time.Hour)}
		for name, test := range map[string]struct {
			k    *Keeper[struct{}]
			c    *check
			err  error
			want bool
		}{
			"confirmed": {k, doubted, nil, false}, "no tokens": {k, doubted, ErrNone, false}, "ended": {k, doubted, ErrEnded, false},
			"inactive once": {k, past, wire.ErrInactive, false}, "inactive twice": {k, &check{doubt: true}, wire.ErrInactive, true},
			"another's": {k, &check{}, identity.ErrMismatch, true}, "down": {k, &check{}, errBroken, false}, "down for long": {k, past, errBroken, true},
			"down, but not for that long": {k, &check{since: now.Add(1 - time.Hour)}, errBroken, false}, "down, and never over": {endless, past, errBroken, false},
		} {
			if got := test.k.ends(test.c, test.err); got != test.want {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// TestWaits: while nobody says anything of a session, it is looked at less and less often, and then when
// its time without an answer is over.
func TestWaits(t *testing.T) {
	for _, grace := range []time.Duration{time.Hour, 0} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.Grace = grace
			began := time.Now()
			var looks []time.Duration
			l.Hooks.Alive = func(context.Context, Session[struct{}]) (bool, error) {
				looks = append(looks, time.Since(began))
				return true, errBroken
			}
			l.Check(l.session)
			time.Sleep(2 * time.Hour)
			l.forget("s")
			synctest.Wait()
			for i, least := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute} {
				if d := looks[i+1] - looks[i]; d < least*9/10 || d > least*11/10 {
					t.Errorf("Grace %v: %v before look %d", grace, d, i+1)
				}
			}
			if grace != 0 && !slices.Contains(looks, grace) {
				t.Errorf("no look after %v: %v", grace, looks)
			}
			if few := len(looks) < 20; few == (grace != 0) { // when its time is over, it is tried to end it
				t.Errorf("Grace %v: %d looks", grace, len(looks))
			}
			if err := l.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFinished: a session is ended if its record is as it was when the server was asked, and its tokens are
// revoked unless the server has called them inactive.
func TestFinished(t *testing.T) {
	loadFails := func(l *lab) {
		l.store.before = func(method string) error {
			if method == "load" {
				return errBroken
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		why    error
		change func(*lab)
		want   error
		ended  int
		asked  string
	}{
		"inactive":                    {wire.ErrInactive, func(*lab) {}, nil, 1, ""},
		"another's":                   {identity.ErrMismatch, func(*lab) {}, nil, 1, "/revoke"},
		"inactive, but changed":       {wire.ErrInactive, func(l *lab) { l.confirmed(context.Background(), l.session, time.Now()) }, errConflict, 0, ""},
		"another's, but changed":      {identity.ErrMismatch, func(l *lab) { l.confirmed(context.Background(), l.session, time.Now()) }, errConflict, 0, ""},
		"altered":                     {ErrAltered, func(l *lab) { l.store.value = []byte("altered") }, nil, 1, ""},
		"altered, and it is back":     {ErrAltered, func(l *lab) { l.confirmed(context.Background(), l.session, time.Now()) }, nil, 1, "/revoke"},
		"another's, and not found":    {identity.ErrMismatch, loadFails, errBroken, 0, ""},
		"inactive, and it cannot end": {wire.ErrInactive, cannotEnd, errBroken, 0, ""},
		"another's, cannot end":       {identity.ErrMismatch, cannotEnd, errBroken, 0, ""},
	} {
		l := newLab(t)
		var asked []string
		l.says = func(r *http.Request) string { asked = append(asked, r.URL.Path); return `{}` }
		raw := l.store.value
		test.change(l)
		err := l.finish(t.Context(), l.session, raw, test.why)
		if !errors.Is(err, test.want) || l.ended != test.ended || strings.Join(asked, " ") != test.asked || (l.store.value == nil) != (test.ended > 0) {
			t.Errorf("%s: %v, ended %d times, asked %q, kept %d bytes", name, err, l.ended, asked, len(l.store.value))
		}
	}
}

func cannotEnd(l *lab) {
	l.Hooks.End = func(context.Context, Session[struct{}], error) error { return errBroken }
}

// TestSwept: what is forgotten of sessions that do not come any more is nothing that is under way, about
// to begin or of late, and it is looked for once a minute.
func TestSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		now, timer := time.Now(), time.NewTimer(time.Hour)
		defer timer.Stop()
		old := now.Add(-2 * time.Minute)
		k := &Keeper[struct{}]{Every: time.Minute, checks: map[string]*check{
			"busy": {next: old, busy: true}, "timer": {next: old, timer: timer}, "late": {next: now.Add(-time.Minute)}, "old": {next: old}, "new": {next: now},
		}}
		k.check("first")
		if got := strings.Join(slices.Sorted(maps.Keys(k.checks)), " "); got != "busy first late new timer" {
			t.Errorf("left: %s", got)
		}
		k.checks["old"] = &check{next: old}
		time.Sleep(time.Minute)
		if k.check("second"); k.checks["old"] == nil {
			t.Error("it is looked for twice in a minute")
		}
		time.Sleep(time.Nanosecond)
		if k.check("third"); k.checks["old"] != nil {
			t.Error("it is not looked for again")
		}
	})
}

// TestDue: a session is looked at when it has been there for long enough, and when no look is about to
// begin or under way.
func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		old, timer := now.Add(-time.Hour), time.NewTimer(time.Hour)
		defer timer.Stop()
		for _, test := range []struct {
			every   time.Duration
			started time.Time
			check   *check
			want    bool
		}{
			{time.Hour, old, nil, true}, {time.Hour, old.Add(1), nil, false}, {0, old, nil, false}, {-1, old, nil, false},
			{time.Minute, old, &check{}, true}, {time.Minute, old, &check{next: now}, true}, {time.Minute, old, &check{next: now.Add(1)}, false},
			{time.Minute, old, &check{busy: true}, false}, {time.Minute, old, &check{timer: timer}, false}, {time.Minute, old, &check{timer: timer, busy: true}, false},
		} {
			k := &Keeper[struct{}]{Every: test.every, checks: make(map[string]*check)}
			if test.check != nil {
				k.checks["s"] = test.check
			}
			if got := k.Due("s", test.started); got != test.want {
				t.Errorf("%+v: %v", test, got)
			}
		}
		var none *Keeper[struct{}]
		if none.Due("s", old) || none.Shutdown(t.Context()) != nil {
			t.Error("no keeper has something to do")
		}
	})
}
