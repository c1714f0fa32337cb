package memstore_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/tokens"
)

// The interfaces that each store is documented to implement.
var (
	_ authagent.UserStore       = (*memstore.Users)(nil)
	_ authagent.UserCreator     = (*memstore.Users)(nil)
	_ authagent.AgentLinker     = (*memstore.Users)(nil)
	_ authagent.SessionChecker  = (*memstore.Users)(nil)
	_ authagent.ProfileStore    = (*memstore.Profiles)(nil)
	_ authagent.StateStore      = (*memstore.States)(nil)
	_ authagent.RevocationStore = (*memstore.Revocations)(nil)
	_ tokens.Store              = (*memstore.Tokens)(nil)
)

var (
	agentA = authagent.Agent{Issuer: "https://as.example", ID: "a"}
	agentB = authagent.Agent{Issuer: "https://as.example", ID: "b"}
	other  = authagent.Agent{Issuer: "https://other.example", ID: "a"} // the same ID at another issuer
)

const n = 50 // calls at once

// atOnce runs f n times at once and returns what it returned.
func atOnce[T any](f func(i int) T) []T {
	results := make([]T, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = f(i) })
	}
	wg.Wait()
	return results
}

func TestUserByEmail(t *testing.T) {
	users := &memstore.Users{}
	alice := users.Add("Alice@Example.com", "Alice")
	users.Add("alice@kite.example", "Alice of Kite")
	users.Put(memstore.Account{Name: "no address"})
	users.Put(memstore.Account{Email: "not an address", Name: "x"})
	users.Add("twice@example.com", "1")
	users.Add("TWICE@example.com", "2")
	for _, test := range []struct {
		email, id string
		err       error
	}{
		{"alice@example.com", alice, nil},
		{"alice@example.org", "", authagent.ErrNotFound},
		{"alice@\u212aite.example", "", authagent.ErrNotFound}, // the Kelvin sign is no k
		{"", "", authagent.ErrNotFound},
		{"not an address", "", authagent.ErrNotFound},
		{"twice@example.com", "", authagent.ErrAmbiguous},
	} {
		u, err := users.UserByEmail(t.Context(), test.email)
		if u.ID != test.id || !errors.Is(err, test.err) {
			t.Errorf("UserByEmail(%q) = %+v, %v; want %q, %v", test.email, u, err, test.id, test.err)
		}
	}
	if u, _ := users.UserByEmail(t.Context(), "alice@example.com"); !u.EmailVerified || u.Disabled || u.CreatedBy != (authagent.Agent{}) {
		t.Errorf("Add made %+v", u)
	}
}

func TestPut(t *testing.T) {
	users := &memstore.Users{}
	id := users.Add("alice@example.com", "Alice")
	account, ok := users.Get(id)
	if !ok {
		t.Fatal("not found")
	}
	account.Disabled = true
	if users.Put(account) != id || len(users.All()) != 1 {
		t.Error("Put does not replace")
	}
	all := users.All()
	all[0].Email = "mallory@example.com" // a copy
	if got, _ := users.Get(id); got.Email != "alice@example.com" || !got.Disabled {
		t.Errorf("account %+v", got)
	}
	users.Remove(id)
	users.Remove("nobody")
	if _, ok := users.Get(id); ok || len(users.All()) != 0 {
		t.Error("Remove does not remove")
	}
}

// TestIDsAreNotReused: an ID that comes back would hand the links and sessions
// of a deleted account to whoever registers next.
func TestIDsAreNotReused(t *testing.T) {
	users := &memstore.Users{}
	users.Put(memstore.Account{User: authagent.User{ID: "user_2"}, Name: "chosen"})
	seen := map[string]bool{"user_2": true}
	for i := range 5 {
		id := users.Add(fmt.Sprintf("%d@example.com", i), "x")
		if seen[id] {
			t.Errorf("ID %s given twice", id)
		}
		seen[id] = true
		if i%2 == 0 {
			users.Remove(id)
		}
	}
	if got, _ := users.Get("user_2"); got.Name != "chosen" {
		t.Errorf("an account was overwritten: %+v", got)
	}
}

func TestCreateUser(t *testing.T) {
	users := &memstore.Users{}
	want := authagent.NewUser{Email: "new@example.com", Name: "New", CreatedBy: agentA}
	type result struct {
		u   authagent.User
		err error
	}
	created := 0
	for _, r := range atOnce(func(int) result {
		u, err := users.CreateUser(t.Context(), want)
		return result{u, err}
	}) {
		switch {
		case r.err == nil:
			created++
			if r.u.ID == "" || r.u.EmailVerified || r.u.Disabled || r.u.CreatedBy != agentA {
				t.Errorf("created %+v", r.u)
			}
		case !errors.Is(r.err, authagent.ErrExists):
			t.Errorf("err %v", r.err)
		}
	}
	if all := users.All(); created != 1 || len(all) != 1 || all[0].Email != want.Email || all[0].Name != want.Name {
		t.Errorf("%d created, accounts %+v", created, all)
	}
	users.Add("Twice@example.com", "1")
	users.Add("twice@example.com", "2")
	if _, err := users.CreateUser(t.Context(), authagent.NewUser{Email: "twice@example.com"}); !errors.Is(err, authagent.ErrExists) {
		t.Errorf("err %v for an address that two have", err)
	}
}

func TestLinkAgent(t *testing.T) {
	users := &memstore.Users{}
	linked := atOnce(func(i int) string {
		id, err := users.LinkAgent(t.Context(), agentA, fmt.Sprint("user_", i))
		if err != nil {
			t.Error(err)
		}
		return id
	})
	for _, id := range linked {
		if id == "" || id != linked[0] {
			t.Fatalf("answers differ: %q", linked)
		}
	}
	for _, agent := range []authagent.Agent{agentB, other} {
		if id, err := users.LinkAgent(t.Context(), agent, "own"); id != "own" || err != nil {
			t.Errorf("LinkAgent(%v) = %q, %v", agent, id, err)
		}
	}
	users.Remove(linked[0])
	if id, _ := users.LinkAgent(t.Context(), agentA, "own"); id != linked[0] {
		t.Errorf("the link moved to %q when its account was removed", id)
	}
}

func TestCheckSession(t *testing.T) {
	users := &memstore.Users{}
	id := users.Add("alice@example.com", "Alice")
	check := func(userID string) error { return users.CheckSession(t.Context(), &authagent.Session{UserID: userID}) }
	if err := errors.Join(check(id), check("")); err != nil {
		t.Error(err)
	}
	if err := check("gone"); !errors.Is(err, problem.NoAccount) {
		t.Errorf("err %v for an account that is gone", err)
	}
	account, _ := users.Get(id)
	account.Disabled = true
	users.Put(account)
	if err := check(id); !errors.Is(err, problem.NoAccount) {
		t.Errorf("err %v for a disabled account", err)
	}
}

func TestFindOrCreateProfile(t *testing.T) {
	profiles := &memstore.Profiles{}
	get := func(p authagent.Profile) authagent.Profile {
		got, err := profiles.FindOrCreateProfile(t.Context(), p)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	all := atOnce(func(i int) authagent.Profile {
		return get(authagent.Profile{Agent: agentA, Scenario: "S", UserID: fmt.Sprint("user_", i), Model: fmt.Sprint(i), Name: "N"})
	})
	for _, p := range all {
		if p.ID == "" || p != all[0] {
			t.Fatalf("answers differ: %+v", all)
		}
	}
	if got := get(authagent.Profile{ID: "mine", Agent: agentA, Scenario: "S", UserID: "else"}); got != all[0] {
		t.Errorf("an existing profile came back as %+v, want %+v", got, all[0])
	}
	seen := map[string]bool{all[0].ID: true}
	for _, p := range []authagent.Profile{{Agent: agentA, Scenario: "T"}, {Agent: agentB, Scenario: "S"}, {Agent: other, Scenario: "S"}} {
		got := get(p)
		if seen[got.ID] {
			t.Errorf("%+v got the profile of another", p)
		}
		seen[got.ID] = true
		p.ID = got.ID
		if diff := cmp.Diff(p, got); diff != "" {
			t.Errorf("created (-want +got):\n%s", diff)
		}
	}
	list := profiles.All()
	if len(list) != 4 {
		t.Errorf("profiles %+v", list)
	}
	list[0].UserID = "mallory" // a copy
	if profiles.All()[0] != all[0] {
		t.Error("All gives away the store's own memory")
	}
}

func TestUseState(t *testing.T) {
	states := &memstore.States{}
	until := time.Now().Add(time.Hour)
	first := 0
	for _, ok := range atOnce(func(int) bool {
		ok, err := states.UseState(t.Context(), "id", until)
		if err != nil {
			t.Error(err)
		}
		return ok
	}) {
		if ok {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d calls were the first", first)
	}
	if ok, err := states.UseState(t.Context(), "id2", until); !ok || err != nil {
		t.Errorf("another state: %v, %v", ok, err)
	}
}

func TestRevocations(t *testing.T) {
	revocations := &memstore.Revocations{}
	until := time.Now().Add(time.Hour)
	is := func(want []string, keys ...string) {
		t.Helper()
		if got, err := revocations.Marks(t.Context(), keys); !slices.Equal(got, want) || err != nil {
			t.Errorf("Marks(%q) = %q, %v; want %q", keys, got, err, want)
		}
	}
	is([]string{"", ""}, "a", "b")
	atOnce(func(i int) error { return revocations.Revoke(t.Context(), "a", fmt.Sprint("mark", i), until) })
	if err := revocations.Revoke(t.Context(), "a", "last", until); err != nil {
		t.Error(err)
	}
	is([]string{"", "last"}, "b", "a")
	is([]string{})
}

func TestTokens(t *testing.T) {
	tokens := &memstore.Tokens{}
	later := time.Now().Add(time.Hour)
	save := func(id, old, value string) error {
		return tokens.SaveTokens(t.Context(), id, []byte(old), []byte(value), later)
	}
	load := func(id string) string {
		value, err := tokens.LoadTokens(t.Context(), id)
		if err != nil && (err != authagent.ErrNotFound || value != nil) {
			t.Errorf("loaded %q, %v", value, err)
		}
		return string(value)
	}
	for _, test := range []struct {
		name, old, value string
		want             error
		kept             string
	}{
		{"REF-2 replace what is not there", "a", "b", authagent.ErrConflict, ""},
		{"REF-2 first", "", "a", nil, "a"},
		{"REF-2 first, again", "", "b", authagent.ErrConflict, "a"},
		{"REF-3 replace", "a", "b", nil, "b"},
		{"REF-2 replace what was replaced", "a", "c", authagent.ErrConflict, "b"},
		{"REF-2 replace what only begins alike", "bb", "c", authagent.ErrConflict, "b"},
	} {
		if err := save("s", test.old, test.value); err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if kept := load("s"); kept != test.kept {
			t.Errorf("%s: kept %q, want %q", test.name, kept, test.kept)
		}
	}
	if value := load("another"); value != "" {
		t.Errorf("another session has %q", value)
	}
	value, _ := tokens.LoadTokens(t.Context(), "s")
	copy(value, "X")
	if load("s") != "b" {
		t.Error("the store shares memory with its caller")
	}
	for range 2 {
		if err := tokens.DeleteTokens(t.Context(), "s"); err != nil {
			t.Error(err)
		}
	}
	if err := save("s", "b", "c"); err != authagent.ErrConflict || load("s") != "" {
		t.Errorf("REF-8: deleted tokens were replaced: %v", err)
	}
}

// TestTokensAtOnce: REF-2. Of many that replace one value, one is the first.
func TestTokensAtOnce(t *testing.T) {
	tokens := &memstore.Tokens{}
	later := time.Now().Add(time.Hour)
	for _, old := range []string{"", "0"} {
		won := 0
		for i, err := range atOnce(func(i int) error {
			return tokens.SaveTokens(t.Context(), "s", []byte(old), []byte(fmt.Sprint(i)), later)
		}) {
			switch kept, _ := tokens.LoadTokens(t.Context(), "s"); {
			case err == nil && string(kept) != fmt.Sprint(i):
				t.Errorf("%d won, and %s is kept", i, kept)
			case err == nil:
				won++
			case err != authagent.ErrConflict:
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d winners", won)
		}
		if err := tokens.DeleteTokens(t.Context(), "s"); err != nil {
			t.Error(err)
		}
		if err := tokens.SaveTokens(t.Context(), "s", nil, []byte("0"), later); err != nil {
			t.Error(err)
		}
	}
}

// TestTokensAreForgotten: what has expired takes no memory.
func TestTokensAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := &memstore.Tokens{}
		for _, id := range []string{"a", "b"} {
			lifetime := time.Hour
			if id == "b" {
				lifetime = 3 * time.Hour
			}
			if err := tokens.SaveTokens(t.Context(), id, nil, []byte(id), time.Now().Add(lifetime)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		if err := tokens.SaveTokens(t.Context(), "c", nil, []byte("c"), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.LoadTokens(t.Context(), "a"); err != authagent.ErrNotFound {
			t.Errorf("kept after its time: %v", err)
		}
		if _, err := tokens.LoadTokens(t.Context(), "b"); err != nil {
			t.Errorf("forgotten before its time: %v", err)
		}
	})
}
