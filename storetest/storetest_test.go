package storetest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
	"github.com/authagent-go/authagent/tokens"
)

// TestSessionStore runs the kit on a store that is good, as small as it can be.
func TestSessionStore(t *testing.T) {
	storetest.SessionStore(t, func() sessions.Store { return &sessionStore{} })
}

// A fault is a store with one thing wrong, and the subtest that is to find it.
type fault struct {
	run   func(t *testing.T)
	found string
}

// faults are those of all stores but those of grants.
var faults = map[string]fault{
	"profiles by ID alone": {profiles(func(p authagent.Profile) authagent.Profile { p.Agent.Issuer = ""; return p }), "same_ID_at_two_issuers"},
	"profiles whatever the case": {profiles(func(p authagent.Profile) authagent.Profile {
		p.Agent.ID = strings.ToLower(p.Agent.ID)
		return p
	}), "LNK-12_letter_case"},
	"profiles without trailing spaces": {profiles(func(p authagent.Profile) authagent.Profile {
		p.Agent.ID = strings.TrimRight(p.Agent.ID, " ")
		return p
	}), "LNK-12_trailing_space"},
	"profiles by the last eight characters": {profiles(func(p authagent.Profile) authagent.Profile {
		p.Agent.ID = p.Agent.ID[max(0, len(p.Agent.ID)-8):]
		return p
	}), "LNK-12_same_last_eight_characters"},
	"profiles cut": {profiles(func(p authagent.Profile) authagent.Profile {
		p.Agent.ID = p.Agent.ID[:min(254, len(p.Agent.ID))]
		return p
	}), "LNK-12_same_first_254_bytes"},
	"profiles joined": {profiles(func(p authagent.Profile) authagent.Profile {
		return authagent.Profile{Agent: authagent.Agent{ID: p.Agent.Issuer + p.Agent.ID}, Scenario: p.Scenario}
	}), "same_text_together"},
	"profiles no scenario": {profiles(func(p authagent.Profile) authagent.Profile { p.Scenario = ""; return p }), "one_for_each_scenario"},
	"profiles raced": {func(t *testing.T) {
		storetest.Profiles(t, func() authagent.ProfileStore { return &racedProfiles{} })
	}, "LNK-13"},
	"links replaced": {func(t *testing.T) { storetest.Links(t, func() authagent.AgentLinker { return lastLinks{} }) }, "the_first_account_stays"},
	"states never used": {func(t *testing.T) {
		storetest.States(t, func() authagent.StateStore { return states(func(string) bool { return true }) })
	}, "TXN-4_once"},
	"states raced": {func(t *testing.T) {
		storetest.States(t, func() authagent.StateStore {
			var used sync.Map
			return states(func(id string) bool {
				_, have := used.Load(id)
				time.Sleep(time.Millisecond)
				used.Store(id, true)
				return !have
			})
		})
	}, "TXN-4_many_at_once"},
	"states whatever the case": {func(t *testing.T) {
		storetest.States(t, func() authagent.StateStore {
			var used sync.Map
			return states(func(id string) bool {
				_, have := used.LoadOrStore(strings.ToLower(id), true)
				return !have
			})
		})
	}, "letter_case"},
	"revocations kept for ever":  {revocations(func(s *brokenRevocations) { s.keepFirst = true }), "SES-15_a_mark_changes"},
	"revocations always another": {revocations(func(s *brokenRevocations) { s.random = true }), "SES-15_a_mark_changes"},
	"revocations of first key":   {revocations(func(s *brokenRevocations) { s.firstOnly = true }), "SES-15_each_key"},
	"revocations that are lost":  {revocations(func(s *brokenRevocations) { s.forget = true }), "SES-11_long_keys"},
	"revocations of other marks": {revocations(func(s *brokenRevocations) { s.before = "x" }), "API-13_a_mark_begins"},
	"revocations cleaned early":  {revocations(func(s *brokenRevocations) { s.lastUntil = true }), "SES-16_the_latest"},
	"limits of one more":         {limitFault(func(s *brokenLimits) { s.more = 1 }), "LIM-1_as_many"},
	"limits that are spent":      {limitFault(func(s *brokenLimits) { s.spend = true }), "LIM-1_again"},
	"limits of a saver":          {limitFault(func(s *brokenLimits) { s.save = true }), "LIM-1_again"},
	"limits of one rate":         {limitFault(func(s *brokenLimits) { s.ahead = true }), "LIM-1_an_hour"},
	"limits one by one":          {limitFault(func(s *brokenLimits) { s.single = true }), "LIM-2"},
	"limits raced":               {limitFault(func(s *brokenLimits) { s.race = true }), "LIM-3_many_at_once"},
	"limits not given back":      {limitFault(func(s *brokenLimits) { s.keep = true }), "LIM-4"},
	"limits given more back":     {limitFault(func(s *brokenLimits) { s.generous = true }), "LIM-4"},
	"limits whatever the case":   {limitFault(func(s *brokenLimits) { s.key = strings.ToLower }), "LIM-5_not_another"},
	"limits of keys cut":         {limitFault(func(s *brokenLimits) { s.key = func(k string) string { return k[:min(len(k), 4096)] } }), "LIM-5_long_keys"},
	"limits of valid text": {limitFault(func(s *brokenLimits) {
		s.key = func(k string) string { return strings.ToValidUTF8(k, "?") }
	}), "LIM-5_a_key_of_any_text"},
	"tokens not compared": {tokenFault(func(s tokens.Store, id string, _ []byte) []byte {
		have, _ := s.LoadTokens(context.Background(), id)
		return have
	}), "REF-2"},
	"tokens deleted come back": {tokenFault(func(s tokens.Store, id string, old []byte) []byte {
		if _, err := s.LoadTokens(context.Background(), id); err != nil {
			return nil
		}
		return old
	}), "REF-8"},
	"sessions not ended":     {sessionFault(func(s *sessionStore) { s.keep = true }), "SES-3_ended"},
	"sessions brought back":  {sessionFault(func(s *sessionStore) { s.revive = true }), "SES-3_a_late_save"},
	"sessions by planted ID": {sessionFault(func(s *sessionStore) { s.trust = true }), "SES-2_SES-6"},
	"sessions in the client": {func(t *testing.T) {
		storetest.SessionStore(t, func() sessions.Store { return sessions.NewCookieStore(make([]byte, 32)) })
	}, "SES-3_ended"},
	"sessions of another value": {sessionFault(func(s *sessionStore) { s.forget = true }), "loaded"},
}

// TestFaultsAreFound: the kit fails for each of the faults, each in a process of
// its own.
func TestFaultsAreFound(t *testing.T) {
	for name, fault := range allFaults() {
		t.Run(name, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.v", "-test.run=^TestFault$")
			child.Env = append(os.Environ(), "STORETEST_FAULT="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestFault/") || !strings.Contains(string(out), fault.found) {
				t.Errorf("not found in %s: %v\n%s", fault.found, err, out)
			}
		})
	}
}

func allFaults() map[string]fault {
	all := maps.Clone(faults)
	maps.Copy(all, grantFaults)
	return all
}

// TestFault is run by TestFaultsAreFound, and fails there.
func TestFault(t *testing.T) {
	if fault, ok := allFaults()[os.Getenv("STORETEST_FAULT")]; ok {
		fault.run(t)
	}
}

// profiles are looked up by what change makes of them, and returned whole.
func profiles(change func(authagent.Profile) authagent.Profile) func(*testing.T) {
	return func(t *testing.T) {
		storetest.Profiles(t, func() authagent.ProfileStore { return changedProfiles{&memstore.Profiles{}, change} })
	}
}

type changedProfiles struct {
	*memstore.Profiles
	change func(authagent.Profile) authagent.Profile
}

func (c changedProfiles) FindOrCreateProfile(ctx context.Context, p authagent.Profile) (authagent.Profile, error) {
	got, err := c.Profiles.FindOrCreateProfile(ctx, c.change(p))
	got.Agent, got.Scenario = p.Agent, p.Scenario
	return got, err
}

// racedProfiles looks, and then creates.
type racedProfiles struct {
	mu    sync.Mutex
	made  map[authagent.Profile]authagent.Profile
	count int
}

func (r *racedProfiles) FindOrCreateProfile(_ context.Context, p authagent.Profile) (authagent.Profile, error) {
	key := authagent.Profile{Agent: p.Agent, Scenario: p.Scenario}
	r.mu.Lock()
	have, ok := r.made[key]
	r.mu.Unlock()
	if ok {
		return have, nil
	}
	time.Sleep(time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made == nil {
		r.made = make(map[authagent.Profile]authagent.Profile)
	}
	r.count++
	p.ID = fmt.Sprint(r.count)
	r.made[key] = p
	return p, nil
}

type lastLinks struct{}

func (lastLinks) LinkAgent(_ context.Context, _ authagent.Agent, userID string) (string, error) {
	return userID, nil
}

func (lastLinks) LinkedUser(context.Context, authagent.Agent) (string, error) {
	return "", authagent.ErrNotFound
}

type states func(id string) bool

func (s states) UseState(_ context.Context, id string, _ time.Time) (bool, error) { return s(id), nil }

func revocations(fault func(*brokenRevocations)) func(*testing.T) {
	return func(t *testing.T) {
		storetest.Revocations(t, func() authagent.RevocationStore {
			s := &brokenRevocations{}
			fault(s)
			return s
		})
	}
}

// brokenRevocations are revocations with one fault.
type brokenRevocations struct {
	memstore.Revocations
	keepFirst, random, firstOnly, forget, lastUntil bool
	before                                          string // each mark

	mu    sync.Mutex
	known map[string]bool
}

func (s *brokenRevocations) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[string]bool)
	}
	if s.keepFirst && s.known[key] || s.forget {
		return nil
	}
	s.known[key] = true
	if s.lastUntil && !time.Now().Before(until) {
		mark = ""
	}
	return s.Revocations.Revoke(ctx, key, s.before+mark, until)
}

func (s *brokenRevocations) Marks(ctx context.Context, keys []string) ([]string, error) {
	marks, err := s.Revocations.Marks(ctx, keys)
	for i := range marks {
		switch {
		case s.random && marks[i] != "":
			marks[i] = rand.Text()
		case s.firstOnly && i > 0:
			marks[i] = ""
		}
	}
	return marks, err
}

func limitFault(fault func(*brokenLimits)) func(*testing.T) {
	return func(t *testing.T) {
		storetest.Limits(t, func() limits.Store {
			s := &brokenLimits{key: func(k string) string { return k }, whole: make(map[string]time.Time)}
			fault(s)
			return s
		})
	}
}

// brokenLimits are limits with one fault.
type brokenLimits struct {
	more                                             int // events
	spend, save, ahead, single, race, keep, generous bool
	key                                              func(string) string

	mu    sync.Mutex
	whole map[string]time.Time
}

func (s *brokenLimits) Take(_ context.Context, budgets ...limits.Budget) (wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	next := make(map[string]time.Time)
	for _, b := range budgets {
		key, every := s.key(b.Key), b.Rate.Per/time.Duration(b.Rate.N)
		whole := s.whole[key]
		if whole.Before(now) && !(s.save && !whole.IsZero()) && !(s.generous && !whole.IsZero()) {
			whole = now
		}
		if latest := now.Add(b.Rate.Per); whole.After(latest) && !s.ahead {
			whole = latest
		}
		next[key] = whole.Add(every)
		late := next[key].Sub(now) - b.Rate.Per - time.Duration(s.more)*every
		if late > 0 && s.spend {
			s.whole[key] = next[key]
		}
		if late <= 0 && s.single {
			s.whole[key] = next[key]
		}
		wait = max(wait, late)
	}
	if s.race {
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	if wait == 0 && !s.single {
		maps.Copy(s.whole, next)
	}
	return wait, nil
}

func (s *brokenLimits) Return(_ context.Context, budgets ...limits.Budget) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range budgets {
		if whole, spent := s.whole[s.key(b.Key)]; spent && !s.keep {
			s.whole[s.key(b.Key)] = whole.Add(-b.Rate.Per / time.Duration(b.Rate.N))
		}
	}
	return nil
}

func tokenFault(old func(s tokens.Store, id string, old []byte) []byte) func(*testing.T) {
	return func(t *testing.T) {
		storetest.Tokens(t, func() tokens.Store { return changedTokens{&memstore.Tokens{}, old} })
	}
}

type changedTokens struct {
	*memstore.Tokens
	old func(s tokens.Store, id string, old []byte) []byte
}

func (c changedTokens) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	return c.Tokens.SaveTokens(ctx, id, c.old(c.Tokens, id, old), sealed, expires)
}

func sessionFault(set func(*sessionStore)) func(*testing.T) {
	return func(t *testing.T) {
		storetest.SessionStore(t, func() sessions.Store {
			s := &sessionStore{}
			set(s)
			return s
		})
	}
}

// sessionStore keeps sessions in memory; its fields are what is wrong with it.
type sessionStore struct {
	keep, revive, trust, forget bool

	mu   sync.Mutex
	kept map[string]map[any]any
	n    int
}

func (s *sessionStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

func (s *sessionStore) New(r *http.Request, name string) (*sessions.Session, error) {
	gs := sessions.NewSession(s, name)
	gs.IsNew = true
	cookie, err := r.Cookie(name)
	if err != nil {
		return gs, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	values, ok := s.kept[cookie.Value]
	if ok || s.trust {
		gs.ID, gs.IsNew = cookie.Value, false
	}
	for k, v := range values {
		if !s.forget {
			gs.Values[k] = v
		}
	}
	return gs, nil
}

func (s *sessionStore) Save(_ *http.Request, w http.ResponseWriter, gs *sessions.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = make(map[string]map[any]any)
	}
	_, known := s.kept[gs.ID]
	switch {
	case gs.Options.MaxAge < 0:
		if !s.keep {
			delete(s.kept, gs.ID)
		}
	case gs.ID == "":
		s.n++
		gs.ID = fmt.Sprintf("session-number-%06d", s.n)
		fallthrough
	case known, s.revive:
		values := make(map[any]any)
		for k, v := range gs.Values {
			values[k] = v
		}
		s.kept[gs.ID] = values
	}
	http.SetCookie(w, sessions.NewCookie(gs.Name(), gs.ID, gs.Options))
	return nil
}
