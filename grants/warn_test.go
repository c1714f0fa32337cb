package grants_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

const oneDay = 24 * time.Hour

// A warned is an account that has an agent, with instances that tell m of it.
type warned struct {
	t     *testing.T
	store grants.Store
	m     *mailbox
}

func (w *warned) instance() *grants.Policy {
	p := grants.OwnerApproval(w.store)
	p.Logger, p.Notify = quiet, w.m.notify
	return p
}

// connect has alice connect an agent, for 90 days.
func (w *warned) connect(p *grants.Policy) grants.Grant {
	w.t.Helper()
	r := authagent.LinkRequest{Agent: authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}, Scenario: "S", User: &authagent.User{ID: "alice"}}
	if err := p.LinkByOwner(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	return w.now()
}

// now is alice's grant.
func (w *warned) now() grants.Grant {
	w.t.Helper()
	all, err := w.store.OwnerGrants(w.t.Context(), "alice")
	if err != nil || len(all) != 1 {
		w.t.Fatal(all, err)
	}
	return all[0]
}

// use uses the grant, in a session of its own.
func (w *warned) use(p *grants.Policy, session string) {
	w.t.Helper()
	g := w.now()
	err := p.CheckSession(w.t.Context(), &authagent.Session{
		ID: session, GrantID: g.ID, GrantEra: g.Era, UserID: "alice", Agent: g.Agent, Scenario: "S", RemoteAddr: "203.0.113.1", StartedAt: time.Now(),
	})
	if err != nil {
		w.t.Errorf("use: %v", err)
	}
}

// warnings is how often alice was warned.
func (w *warned) warnings() (n int) {
	for _, told := range w.m.all.take() {
		for _, item := range append(told.Items, told) {
			if item.Kind == grants.EventExpiring {
				n++
			}
		}
	}
	return n
}

// TestWarning_NTC_12: before an approval that is in use ends, its owner is told, once, by
// whatever instance.
func TestWarning_NTC_12(t *testing.T) {
	bubble(t, "NTC-12 two instances and a restart", func(t *testing.T) {
		w := &warned{t, &memstore.Grants{}, &mailbox{}}
		first, second := w.instance(), w.instance()
		w.connect(first)
		later(83*oneDay - time.Minute)
		w.use(first, "early")
		first.Wait()
		if n := w.warnings(); n != 0 {
			t.Fatalf("NTC-12: warned %d times more than a week before", n)
		}
		later(2 * time.Minute)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { w.use([]*grants.Policy{first, second}[i%2], fmt.Sprint(i)) })
		}
		all.Wait()
		later(time.Hour)
		if n := w.warnings(); n != 0 {
			t.Errorf("a warning a week before is no news of its own: %d", n)
		}
		later(oneDay)
		if n := w.warnings(); n != 1 {
			t.Errorf("NTC-12: warned %d times, want 1", n)
		}
		third := w.instance()
		for range 5 * 24 {
			w.use(third, "again")
			later(55 * time.Minute)
		}
		third.Wait()
		if n := w.warnings(); n != 0 {
			t.Errorf("NTC-12: warned %d times more after a restart", n)
		}
	})
	bubble(t, "NTC-12 a new approval, for two weeks", func(t *testing.T) {
		w := &warned{t, &memstore.Grants{}, &mailbox{}}
		p := w.instance()
		w.connect(p)
		later(89 * oneDay)
		w.use(p, "1")
		p.Wait()
		if n := w.warnings(); n != 1 {
			t.Fatalf("NTC-12: warned %d times, want 1", n)
		}
		g := w.now()
		if _, err := p.Decide(t.Context(), "alice", grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead, For: 14 * oneDay}); err != nil {
			t.Fatal(err)
		}
		w.use(p, "2")
		later(12*oneDay - time.Minute)
		w.use(p, "3")
		later(time.Hour)
		if n := w.warnings(); n != 0 {
			t.Errorf("NTC-12: warned %d times of a new approval", n)
		}
		w.use(p, "4")
		later(time.Second)
		if n := w.warnings(); n != 1 {
			t.Errorf("NTC-12: warned %d times two days before, want 1 at once", n)
		}
		if err := p.LinkByOwner(t.Context(), authagent.LinkRequest{Agent: g.Agent, Scenario: "S", User: &authagent.User{ID: "alice"}}); err != nil {
			t.Fatal(err)
		}
		w.use(w.instance(), "5") // the end is as it was
		later(time.Hour)
		if n := w.warnings(); n != 0 {
			t.Errorf("NTC-12: warned %d times more after the agent was connected once more", n)
		}
	})
	bubble(t, "NTC-12 nobody is told", func(t *testing.T) {
		w := &warned{t, &memstore.Grants{}, &mailbox{}}
		p := w.instance()
		p.Notify = nil
		before := w.connect(p)
		later(89 * oneDay)
		w.use(p, "1")
		p.Wait()
		if diff := cmp.Diff(before, w.now()); diff != "" {
			t.Errorf("NTC-12: what nobody was told of is on record:\n%s", diff)
		}
	})
}

// TestWarningInBackground_NTC_13: no request waits for a warning, and a store that fails or
// does not keep it has nobody told again and again, nor never.
func TestWarningInBackground_NTC_13(t *testing.T) {
	bubble(t, "NTC-13 no request waits", func(t *testing.T) {
		store := &warningStore{Store: &memstore.Grants{}}
		w := &warned{t, store, &mailbox{}}
		p := w.instance()
		w.connect(p)
		later(89 * oneDay)
		store.update = func(g grants.Grant) (grants.Grant, error) {
			time.Sleep(5 * time.Second)
			return store.Store.UpdateGrant(context.Background(), g)
		}
		start := time.Now()
		store.calls = nil
		w.use(p, "1")
		if took := time.Since(start); took > 0 {
			t.Errorf("NTC-13: a request waited %v", took)
		}
		later(10 * time.Second)
		w.use(p, "1")
		if diff := cmp.Diff([]string{"OwnerGrants", "Grant", "Touch", "UpdateGrant", "OwnerGrants", "Grant"}, store.calls); diff != "" {
			t.Errorf("NTC-13: calls of the store (-want +got):\n%s", diff)
		}
	})
	bubble(t, "NTC-13 a store that fails", func(t *testing.T) {
		store := &warningStore{Store: &memstore.Grants{}}
		w := &warned{t, store, &mailbox{}}
		p := w.instance()
		w.connect(p)
		later(89 * oneDay)
		for _, err := range []error{errors.New("down"), authagent.ErrConflict} {
			store.update = func(grants.Grant) (grants.Grant, error) { return grants.Grant{}, err }
			w.use(p, "1")
			later(2 * time.Minute)
		}
		if n := w.warnings(); n != 0 {
			t.Errorf("NTC-13: told %d times without a record", n)
		}
		store.update = nil
		w.use(p, "1")
		p.Wait()
		if n := w.warnings(); n != 1 {
			t.Errorf("NTC-13: told %d times after the store was well again, want 1", n)
		}
	})
	bubble(t, "NTC-13 a store that does not keep it", func(t *testing.T) {
		store := &warningStore{Store: &memstore.Grants{}}
		w := &warned{t, store, &mailbox{}}
		p := w.instance()
		w.connect(p)
		store.update = func(g grants.Grant) (grants.Grant, error) {
			g.Warned = 0
			return store.Store.UpdateGrant(context.Background(), g)
		}
		later(89 * oneDay)
		for range 20 * 60 {
			w.use(p, "1")
			later(time.Minute)
		}
		p.Wait()
		if n := w.warnings(); n != 1 {
			t.Errorf("NTC-13: told %d times in 20 hours, want 1", n)
		}
	})
}

// A warningStore counts calls, and updates grants as a test says.
type warningStore struct {
	grants.Store
	update func(grants.Grant) (grants.Grant, error)
	mu     sync.Mutex
	calls  []string
}

func (s *warningStore) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

func (s *warningStore) Grant(ctx context.Context, id string) (grants.Grant, error) {
	s.note("Grant")
	return s.Store.Grant(ctx, id)
}

func (s *warningStore) OwnerGrants(ctx context.Context, userID string) ([]grants.Grant, error) {
	s.note("OwnerGrants")
	return s.Store.OwnerGrants(ctx, userID)
}

func (s *warningStore) Touch(ctx context.Context, a grants.Activity) (grants.Use, error) {
	s.note("Touch")
	return s.Store.Touch(ctx, a)
}

func (s *warningStore) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	s.note("UpdateGrant")
	if s.update != nil {
		return s.update(g)
	}
	return s.Store.UpdateGrant(ctx, g)
}

// formBefore returns the grant as its owner saw it before another instance warned of its
// end. With race, the warning comes while p writes what is decided.
func formBefore(t *testing.T, race bool) (w *warned, p *grants.Policy, open grants.Grant) {
	store := &warningStore{Store: &memstore.Grants{}}
	w = &warned{t, store, &mailbox{}}
	p, other := w.instance(), w.instance()
	w.connect(p)
	later(89 * oneDay)
	open = w.now()
	warn := func() {
		w.use(other, "1")
		other.Wait()
	}
	if !race {
		warn()
		return w, p, open
	}
	store.update = func(g grants.Grant) (grants.Grant, error) {
		store.update = nil
		warn()
		return store.Store.UpdateGrant(context.Background(), g)
	}
	return w, p, open
}

// TestWarningAndForm_NTC_14: a form that the owner has opened before the warning still
// decides, also if the warning comes while it does; one that has not seen another change does not.
func TestWarningAndForm_NTC_14(t *testing.T) {
	for _, test := range []struct {
		name string
		race bool
	}{{"NTC-14 before", false}, {"NTC-14 meanwhile", true}} {
		bubble(t, test.name, func(t *testing.T) {
			w, p, open := formBefore(t, test.race)
			decide := func(state grants.State) error {
				_, err := p.Decide(t.Context(), "alice", grants.Decision{GrantID: open.ID, Version: open.Version, State: state, Access: authagent.AccessRead})
				return err
			}
			if err := decide(grants.Suspended); err != nil {
				t.Fatalf("NTC-14: a form from before the warning: %v", err)
			}
			if w.now().Warned == 0 {
				t.Fatal("nobody was warned")
			}
			for _, state := range []grants.State{grants.Approved, grants.Revoked} {
				if err := decide(state); !errors.Is(err, authagent.ErrConflict) {
					t.Errorf("NTC-14: a form that has not seen a change: %v", err)
				}
			}
			p.Wait()
			if !slices.Contains(w.m.take(), "link_suspended alice") {
				t.Error("nobody is told of the decision")
			}
		})
	}
}

// TestWarningAndTidying_NTC_14: a new name, and what is hidden, count as well in spite of a
// warning that the owner has not seen.
func TestWarningAndTidying_NTC_14(t *testing.T) {
	for _, test := range []struct {
		name string
		race bool
	}{{"NTC-14 before", false}, {"NTC-14 meanwhile", true}} {
		bubble(t, test.name, func(t *testing.T) {
			_, p, open := formBefore(t, test.race)
			g, err := p.Rename(t.Context(), "alice", open.ID, open.Version, "Helper")
			if err != nil || g.Nickname != "Helper" || g.Warned == 0 {
				t.Fatalf("NTC-14: renamed %+v: %v", g, err)
			}
			if _, err := p.Rename(t.Context(), "alice", open.ID, open.Version, "Other"); !errors.Is(err, authagent.ErrConflict) {
				t.Errorf("NTC-14: a form that has not seen the new name: %v", err)
			}
		})
	}
	bubble(t, "NTC-14 hidden", func(t *testing.T) {
		w := &warned{t, &memstore.Grants{}, &mailbox{}}
		p := w.instance()
		w.connect(p)
		later(89 * oneDay)
		open := w.now()
		w.use(p, "1")
		p.Wait()
		later(2 * oneDay)
		if g, err := p.Hide(t.Context(), "alice", open.ID, open.Version); err != nil || !g.Hidden || g.Warned == 0 {
			t.Errorf("NTC-14: hidden %+v: %v", g, err)
		}
	})
}
