package tokens

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/wire"
)

var (
	errConflict = errors.New("conflict")
	errBroken   = errors.New("connection refused")
)

// A lab is a keeper with one session, on a store and a server in memory.
type lab struct {
	*Keeper[struct{}]
	session Session[struct{}]
	alive   bool
	ended   int
	says    func(*http.Request) string // what the server answers; empty for nothing
	store   labStore
}

type labStore struct {
	mu     sync.Mutex
	value  []byte
	before func(method string) error
}

func (s *labStore) at(method string) error {
	if s.before == nil {
		return nil
	}
	return s.before(method)
}

func (s *labStore) SaveTokens(_ context.Context, _ string, old, sealed []byte, _ time.Time) error {
	if err := s.at("save"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(old, s.value) {
		return errConflict
	}
	s.value = sealed
	return nil
}

func (s *labStore) LoadTokens(context.Context, string) ([]byte, error) {
	if err := s.at("load"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == nil {
		return nil, errNone
	}
	return s.value, nil
}

func (s *labStore) DeleteTokens(context.Context, string) error {
	if err := s.at("delete"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = nil
	return nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newLab(t *testing.T, change ...func(*wire.Endpoints)) *lab {
	t.Helper()
	box, err := seal.NewBox([][]byte{bytes.Repeat([]byte{1}, 32)}, "tokens")
	if err != nil {
		t.Fatal(err)
	}
	const issuer = "https://as.example"
	l := &lab{alive: true, says: func(*http.Request) string { return "" }}
	client := wire.NewClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		body := l.says(r)
		if body == "" {
			return nil, errBroken
		}
		status := 200
		if strings.HasPrefix(body, `{"error"`) {
			status = 400
		}
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
		}, nil
	})}, nil)
	pins := wire.Endpoints{
		Authorization: issuer + "/authorize", Token: issuer + "/token", Introspection: issuer + "/introspect", Revocation: issuer + "/revoke",
	}
	for _, c := range change {
		c(&pins)
	}
	source := wire.NewSource(client, wire.Settings{Issuer: issuer, Pins: pins})
	l.Keeper = &Keeper[struct{}]{
		Store: &l.store, Box: box, Conflict: errConflict, NotFound: errNone, Every: 10 * time.Minute, Grace: time.Hour,
		Identity: &identity.Verifier{Issuer: issuer, ClientID: "site"},
		Server: wire.NewServer(client, source, wire.Registration{
			ID: "site", Encoding: wire.Form, Auth: wire.AuthPost, Secret: func(context.Context) (string, error) { return "secret", nil },
		}),
		Hooks: Hooks[struct{}]{
			Alive:   func(context.Context, Session[struct{}]) (bool, error) { return l.alive, nil },
			End:     func(context.Context, Session[struct{}], error) error { l.ended++; return nil },
			Failed:  func(context.Context, Session[struct{}], error) {},
			Revoked: func(context.Context, Session[struct{}], error) {},
		},
	}
	l.session = Session[struct{}]{ID: "s", Agent: "agent_1", Name: "s", Expires: time.Now().Add(24 * time.Hour)}
	if err := l.Save(t.Context(), l.session, &wire.Token{Access: "a1", Refresh: "r1", Expires: time.Now().Add(time.Hour)}, "agent_1"); err != nil {
		t.Fatal(err)
	}
	return l
}

// change changes what is kept of the session.
func (l *lab) change(t *testing.T, change func(*record)) {
	t.Helper()
	raw, r, err := l.load(context.Background(), l.session)
	if err == nil {
		change(r)
		_, err = l.swap(context.Background(), l.session, raw, r)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const refreshed = `{"access_token":"a2","refresh_token":"r2","token_type":"Bearer","expires_in":3600}`

// TestOtherClock: a token that was issued in the future, by another instance's clock, is
// refreshed now, and not only then.
func TestOtherClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.says = func(*http.Request) string { return refreshed }
		raw, r, err := l.load(t.Context(), l.session)
		if err != nil {
			t.Fatal(err)
		}
		r.Issued = time.Now().Add(time.Hour)
		began := time.Now()
		f := &refresher[struct{}]{Keeper: l.Keeper, session: l.session}
		token, err := f.apart(t.Context(), raw, r)
		if took := time.Since(began); err != nil || token.Access != "a2" || took > 5*time.Second {
			t.Errorf("%+v, %v, after %v", token, err, took)
		}
	})
}

// TestEndsForGood: a session of which the server speaks as another one's ends, and is not
// looked at again. If it could not be ended, it is.
func TestEndsForGood(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			looks := 0
			l.says = func(r *http.Request) string {
				if strings.HasSuffix(r.URL.Path, "introspect") {
					looks++
					return `{"active":true,"sub":"another"}`
				}
				return `{}`
			}
			if fails {
				l.Hooks.End = func(context.Context, Session[struct{}], error) error { l.ended++; return errBroken }
			}
			time.Sleep(11 * time.Minute)
			l.Check(l.session)
			time.Sleep(6 * time.Hour)
			synctest.Wait()
			if again := looks > 1; looks == 0 || again != fails || l.ended == 0 || (len(l.checks) == 0) == fails {
				t.Errorf("fails %v: %d looks, ended %d times, %d checks", fails, looks, l.ended, len(l.checks))
			}
			if err := l.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEndedMeanwhile: a session that has ended by the time that it is to end, or of which
// that cannot be told, is left alone.
func TestEndedMeanwhile(t *testing.T) {
	for _, test := range []struct {
		alive bool
		err   error
	}{{false, nil}, {true, errBroken}} {
		l := newLab(t)
		l.Hooks.Alive = func(context.Context, Session[struct{}]) (bool, error) { return test.alive, test.err }
		if err := l.finish(t.Context(), l.session, nil, ErrAltered); !errors.Is(err, test.err) || l.ended != 0 {
			t.Errorf("%+v: %v, ended %d times", test, err, l.ended)
		}
	}
}

// TestForgotten: of a session that has ended nothing stays in memory, and no look begins.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		asked := 0
		l.says = func(*http.Request) string { asked++; return `{}` }
		l.suspect(l.session)
		c := l.checks[l.session.ID]
		if len(l.checks) != 1 || c.timer == nil {
			t.Fatalf("%d checks, %+v", len(l.checks), c)
		}
		l.forget(l.session.ID)
		if c.timer != nil {
			t.Error("a timer keeps it")
		}
		l.forget(l.session.ID) // nothing is there any more
		time.Sleep(time.Hour)
		if len(l.checks) != 0 || asked != 0 {
			t.Errorf("%d checks, asked %d times", len(l.checks), asked)
		}
	})
}

// TestNothingAfterShutdown: no look begins any more, and none is put off for ever.
func TestNothingAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.suspect(l.session)
		if err := l.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		c := l.check("s")
		if c.timer != nil {
			t.Error("a timer goes on")
		}
		l.after(l.session, c, time.Second)
		l.mu.Unlock()
		time.Sleep(time.Minute)
		l.mu.Lock()
		defer l.mu.Unlock()
		if c.timer != nil || c.busy {
			t.Errorf("%+v", c)
		}
	})
}

// TestConfirmedMeanwhile: a confirmation that others overtake is noted in the end, and
// given up when its time is over.
func TestConfirmedMeanwhile(t *testing.T) {
	l := newLab(t)
	conflicts := 0
	l.store.before = func(method string) error {
		if method == "save" && conflicts < 3 {
			conflicts++
			return errConflict
		}
		return nil
	}
	at := time.Now().Add(time.Minute)
	if err := l.confirmed(t.Context(), l.session, at); err != nil {
		t.Error(err)
	}
	if _, r, err := l.load(t.Context(), l.session); err != nil || !r.Confirmed.Equal(at) {
		t.Errorf("%v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	saves := 0
	l.store.before = func(method string) error {
		if method != "save" {
			return nil
		}
		if saves++; saves == 3 {
			cancel()
		}
		if saves > 10 {
			return errBroken
		}
		return errConflict
	}
	if err := l.confirmed(ctx, l.session, at); !errors.Is(err, errConflict) || saves != 3 {
		t.Errorf("%v after %d attempts", err, saves)
	}
}

// TestStoreCallsFail: whichever call of the store fails, no token is given that is not
// kept, and nothing is said to be confirmed.
func TestStoreCallsFail(t *testing.T) {
	for name, do := range map[string]func(l *lab, ctx context.Context) error{
		"token": func(l *lab, ctx context.Context) error {
			token, err := l.Token(ctx, l.session, "")
			if err == nil && token.Access != "a2" {
				return errors.New("the old token")
			}
			return err
		},
		"look":      func(l *lab, ctx context.Context) error { _, err := l.look(ctx, l.session); return err },
		"confirmed": func(l *lab, ctx context.Context) error { return l.confirmed(ctx, l.session, time.Now()) },
	} {
		for n := 0; n >= 0; n++ {
			failed := ""
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.says = func(r *http.Request) string {
					if strings.HasSuffix(r.URL.Path, "introspect") {
						return `{"active":true}`
					}
					return refreshed
				}
				time.Sleep(2 * time.Hour)
				calls := 0
				l.store.before = func(method string) error {
					if calls++; calls == n+1 || failed == "save" && method == "save" { // keep tries again
						failed = method
						return errBroken
					}
					return nil
				}
				if err := do(l, t.Context()); (failed != "") != (err != nil) || err != nil && !errors.Is(err, errBroken) {
					t.Errorf("%s, call %d (%s) fails: %v", name, n, failed, err)
				}
				if err := l.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
			if failed == "" {
				break
			}
		}
	}
}

// TestDropped: the tokens of a session that has ended are revoked by the one who removes them, as they are
// last, and are gone.
func TestDropped(t *testing.T) {
	same := func(*testing.T, *lab) {}
	change := func(change func(*record)) func(*testing.T, *lab) {
		return func(t *testing.T, l *lab) { l.change(t, change) }
	}
	for name, test := range map[string]struct {
		change func(*testing.T, *lab)
		want   error
		asked  string // the token that is revoked, and what it is
		kept   bool
	}{
		"kept":             {same, nil, "r1 refresh_token", false},
		"no refresh token": {change(func(r *record) { r.Refresh = "" }), nil, "a1 access_token", false},
		"refused for good": {change(func(r *record) { r.Refused = time.Now() }), ErrNone, "", false},
		"dropped":          {change(func(r *record) { r.Claim = dropped }), ErrNone, "", true},
		"nothing":          {func(_ *testing.T, l *lab) { l.store.value = nil }, ErrNone, "", false},
		"altered":          {func(_ *testing.T, l *lab) { l.store.value = []byte("x") }, ErrAltered, "", false},
		"another version": {func(_ *testing.T, l *lab) {
			l.store.value = []byte(l.Box.Seal([]byte{recordVersion + 1}, l.session.Name))
		}, errVersion, "", false},
		"no record": {func(_ *testing.T, l *lab) {
			l.store.value = []byte(l.Box.Seal([]byte{recordVersion}, l.session.Name))
		}, ErrAltered, "", false},
		"refreshed meanwhile": {func(t *testing.T, l *lab) {
			l.store.before = func(method string) error {
				if method == "save" {
					l.store.before = nil
					l.change(t, func(r *record) { r.Access, r.Refresh = "a9", "r9" })
				}
				return nil
			}
		}, nil, "r9 refresh_token", false},
	} {
		l := newLab(t)
		var asked []string
		l.says = func(r *http.Request) string {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			asked = append(asked, form.Get("token")+" "+form.Get("token_type_hint"))
			return `{}`
		}
		test.change(t, l)
		err := l.Drop(t.Context(), l.session)
		if !errors.Is(err, test.want) || strings.Join(asked, ", ") != test.asked || (l.store.value != nil) != test.kept {
			t.Errorf("%s: %v, asked %q, kept %d bytes", name, err, asked, len(l.store.value))
		}
	}
}

// TestReleased: tokens are dropped in the background where there is room, and the hook hears of those that
// there were.
func TestReleased(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*lab)
		told   int32
	}{
		"kept": {func(*lab) {}, 1}, "nothing": {func(l *lab) { l.store.value = nil }, 0}, "no room": {func(l *lab) { l.running = maxRunning }, 0},
		"some room": {func(l *lab) { l.running = maxRunning - 1 }, 1}, "after a shutdown": {func(l *lab) { l.Shutdown(context.Background()) }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			var told atomic.Int32
			l.says = func(*http.Request) string { return `{}` }
			l.Hooks.Revoked = func(context.Context, Session[struct{}], error) { told.Add(1) }
			test.change(l)
			l.Release(l.session)
			if synctest.Wait(); told.Load() != test.told {
				t.Errorf("%s: told %d times", name, told.Load())
			}
		})
	}
}

// TestPauseSaysWhy: a pause has the words of what it came from, if there is any.
func TestPauseSaysWhy(t *testing.T) {
	if got := (&Pause{Err: errBroken}).Error(); got != errBroken.Error() {
		t.Error(got)
	}
	if got := (&Pause{}).Error(); got != "tokens: refreshing failed, and is tried again later" {
		t.Error(got)
	}
}
