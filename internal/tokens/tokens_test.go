// These are inside tests: what they are about, memory and what is stored, cannot
// be seen from outside. Everything else is tested through the handlers.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/wire"
)

// TestRecord: every field is stored, and what is not a whole record is none. What a
// later version has added at the end is kept (CMP-1).
func TestRecord(t *testing.T) {
	full := &record{}
	for i, at := range full.times() {
		*at = time.Unix(int64(1000+i), 5)
	}
	for i, text := range full.texts() {
		*text = fmt.Sprint("text ", i)
	}
	full.Failures = 7
	for _, r := range []*record{full, {}} {
		value := r.encode()
		got, err := parseRecord(string(value))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
		for n := range value {
			if _, err := parseRecord(string(value[:n])); err == nil {
				t.Errorf("%d of %d bytes are a record", n, len(value))
			}
		}
		later := append(value, "later"...)
		if got, err = parseRecord(string(later)); err != nil || got.Access != r.Access || string(got.encode()) != string(later) {
			t.Errorf("CMP-1: a record with a later field came back as %+v, %v", got, err)
		}
	}
	covered := len(full.times()) + len(full.texts()) + len([]string{"Failures", "rest"})
	if fields := reflect.TypeFor[record]().NumField(); fields != covered {
		t.Errorf("%d of %d fields are stored", covered, fields)
	}
}

// TestRefreshAt: REF-7. A token is refreshed 60 to 66 seconds before its end, and
// one that lives for a minute is used for most of it.
func TestRefreshAt(t *testing.T) {
	for _, test := range []struct{ lifetime, least, most time.Duration }{
		{time.Hour, 60 * time.Second, 66 * time.Second},
		{time.Minute, 15 * time.Second, 17 * time.Second},
		{time.Second, 0, time.Second},
	} {
		seen := map[time.Time]bool{}
		for range 200 {
			r := newRecord(&wire.Token{Expires: time.Now().Add(test.lifetime)}, "")
			if early := r.Expires.Sub(r.RefreshAt); early < test.least || early > test.most {
				t.Fatalf("REF-7 %v: refreshed %v before the end", test.lifetime, early)
			}
			seen[r.RefreshAt] = true
		}
		if len(seen) < 100 {
			t.Errorf("REF-7 %v: no jitter", test.lifetime)
		}
	}
	if r := newRecord(&wire.Token{}, ""); !r.RefreshAt.IsZero() || !r.live(time.Now()) {
		t.Error("REF-7: a token of which no end is said has one")
	}
}

// TestRecordIsDue: tokens are refreshed when their time has come, and when the one in use was refused, but
// not more often than so.
func TestRecordIsDue(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		r       record
		refused string
		want    bool
	}{
		{record{Access: "a"}, "a", true}, {record{Access: "a"}, "b", false}, {record{Access: "a"}, "", false},
		{record{Access: "a", Forced: now.Add(-refusedEvery)}, "a", true}, {record{Access: "a", Forced: now.Add(1 - refusedEvery)}, "a", false},
		{record{Access: "a", RefreshAt: now}, "", true}, {record{Access: "a", RefreshAt: now.Add(1)}, "", false}, {record{Access: "a", RefreshAt: now, Forced: now}, "a", true},
	} {
		if got := test.r.due(now, test.refused); got != test.want {
			t.Errorf("%+v, refused %q: %v", test.r, test.refused, got)
		}
	}
}

// TestOtherVersion: a record of another version is told from one that is none.
func TestOtherVersion(t *testing.T) {
	value := (&record{Access: "a"}).encode()
	if _, err := parseRecord(string(value[:len(value)-1])); err == nil || errors.Is(err, errVersion) {
		t.Errorf("cut off: %v", err)
	}
	value[0]++
	for _, other := range [][]byte{value, nil} {
		if _, err := parseRecord(string(other)); !errors.Is(err, errVersion) {
			t.Errorf("%q: %v", other, err)
		}
	}
}

// TestTokenThatIsOver_REF_11: a token that is over when it comes is due at once.
func TestTokenThatIsOver_REF_11(t *testing.T) {
	for _, ago := range []time.Duration{1, time.Minute, 1 << 62} {
		if r := newRecord(&wire.Token{Expires: time.Now().Add(-ago)}, ""); !r.due(time.Now(), "none") {
			t.Errorf("a token that ended %v ago is not due", ago)
		}
	}
}

// A panickyStore has a value that is due, which can be loaded so many times before it panics.
type panickyStore struct {
	noStore
	value []byte
	loads *atomic.Int32
}

func (s panickyStore) LoadTokens(context.Context, string) ([]byte, error) {
	if s.loads.Add(-1) < 0 {
		panic("store")
	}
	return s.value, nil
}

// TestPanics_REF_12: no panic in a goroutine of the keeper ends the process, whatever
// panics there. Who waits for it gets an error, and the session is looked at again.
func TestPanics_REF_12(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, err := seal.NewBox([][]byte{make([]byte, 32)}, "test")
		if err != nil {
			t.Fatal(err)
		}
		var panics, loads atomic.Int32
		loads.Store(1)
		due := newRecord(&wire.Token{Access: "a", Refresh: "r", Expires: time.Now()}, "")
		k := &Keeper[struct{}]{
			Store: panickyStore{value: []byte(box.Seal(due.encode(), "name")), loads: &loads}, NotFound: errNone, Conflict: errNone, Box: box, Every: time.Minute,
			Hooks: Hooks[struct{}]{
				Alive:    func(context.Context, Session[struct{}]) (bool, error) { return true, nil },
				Panicked: func(string, any, []byte) { panics.Add(1) },
			},
		}
		s := Session[struct{}]{ID: "s", Name: "name", Expires: time.Now().Add(time.Hour)}
		if token, err := k.Token(t.Context(), s, ""); !errors.Is(err, ErrPanic) || token.Access != "" {
			t.Errorf("in a refresh: %q, %v", token.Access, err)
		}
		k.Release(s)
		synctest.Wait()
		k.Check(s)
		synctest.Wait()
		if n := panics.Load(); n != 3 {
			t.Errorf("%d panics of 3 are told of", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if panics.Load() < 4 || k.running != 0 || len(k.flights) != 0 {
			t.Errorf("%d panics after two minutes, %d under way, %d flights", panics.Load(), k.running, len(k.flights))
		}
		if err := k.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestBackoff: REF-6. At most six attempts in two minutes.
func TestBackoff(t *testing.T) {
	for range 100 {
		attempts, at := 0, time.Duration(0)
		for ; at < 2*time.Minute; attempts++ {
			at += backoff(attempts)
		}
		if attempts > 6 {
			t.Fatalf("REF-6: %d attempts", attempts)
		}
	}
	if d := backoff(1 << 30); d > 3*time.Minute {
		t.Errorf("REF-6: %v between attempts", d)
	}
}

type noStore struct{}

var errNone = errors.New("none")

func (noStore) SaveTokens(context.Context, string, []byte, []byte, time.Time) error { return nil }
func (noStore) LoadTokens(context.Context, string) ([]byte, error)                  { return nil, errNone }
func (noStore) DeleteTokens(context.Context, string) error                          { return nil }

// TestOneLook: SES-12. A session is looked at once at a time, whoever asks.
func TestOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		k := &Keeper[struct{}]{Store: noStore{}, NotFound: errNone, Every: time.Minute, Hooks: Hooks[struct{}]{
			Alive: func(context.Context, Session[struct{}]) (bool, error) {
				looks++
				time.Sleep(time.Second)
				return true, nil
			},
		}}
		for range 5 {
			k.Check(Session[struct{}]{ID: "s", Expires: time.Now().Add(time.Hour)})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if looks != 1 {
			t.Errorf("SES-12: %d looks at once", looks)
		}
	})
}

// TestChecksAreBounded_REL_5: REL-5. What is known of sessions is forgotten when they
// do not come any more, and is never more than so much.
func TestChecksAreBounded_REL_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &Keeper[struct{}]{
			Store: noStore{}, NotFound: errNone, Every: 15 * time.Minute,
			Hooks: Hooks[struct{}]{Alive: func(context.Context, Session[struct{}]) (bool, error) { return true, nil }},
		}
		started := time.Now()
		time.Sleep(time.Hour)
		visit := func(from, n int) {
			for i := from; i < from+n; i++ {
				s := Session[struct{}]{ID: fmt.Sprint(i), Expires: time.Now().Add(time.Hour)}
				if k.Due(s.ID, started) {
					k.Check(s)
				}
				if i%16 == 0 {
					synctest.Wait()
				}
			}
			synctest.Wait()
		}
		visit(0, 1000)
		if len(k.checks) != 1000 || k.running != 0 {
			t.Errorf("REL-5: %d of 1000 sessions are known, %d looks under way", len(k.checks), k.running)
		}
		if k.Due("1", started) {
			t.Error("SES-12: due again at once")
		}
		time.Sleep(31 * time.Minute)
		visit(1000, 1)
		if len(k.checks) != 1 {
			t.Errorf("REL-5: %d sessions are still known", len(k.checks))
		}
		visit(2000, maxChecks+500)
		if len(k.checks) != maxChecks {
			t.Errorf("REL-5: %d sessions are known", len(k.checks))
		}
		time.Sleep(31 * time.Minute)
		visit(0, 1)
		if len(k.checks) != 1 {
			t.Errorf("REL-5: %d sessions are known in the end", len(k.checks))
		}
	})
}
