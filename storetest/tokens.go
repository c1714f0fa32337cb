package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/tokens"
)

// Tokens checks a TokenStore. That tokens are encrypted and bound to their session
// (REF-10) is authagent's work; the store has to give back what it was given, and to
// let only one of several callers replace it.
func Tokens(t *testing.T, open func() tokens.Store) {
	start := func(t *testing.T) *keptTokens { return &keptTokens{t, open(), time.Now().Add(time.Hour)} }
	t.Run("REF-10 as they are", func(t *testing.T) { start(t).kept() })
	for _, a := range alike {
		random := rand.Text()
		one, other := fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)
		t.Run("REF-10 not another's: "+a.what, func(t *testing.T) { start(t).apart(one, other) })
		t.Run("REF-2 the value is compared exactly: "+a.what, func(t *testing.T) { start(t).exact(one, other) })
	}
	t.Run("REF-2 REF-3 compared and replaced", func(t *testing.T) { start(t).replaced() })
	t.Run("REF-2 one of many at once", func(t *testing.T) { start(t).replacedAtOnce() })
	t.Run("REF-8 deleted", func(t *testing.T) { start(t).deleted() })
	if _, is := open().(tokens.UserStore); is {
		t.Run("ERA-3 found by their account", func(t *testing.T) { start(t).ofUsers() })
	}
	t.Run("not found", func(t *testing.T) { start(t).expect(rand.Text(), "") })
	t.Run("kept apart from the caller's", func(t *testing.T) { start(t).copied() })
	t.Run("many sessions at once", func(t *testing.T) { start(t).manyAtOnce() })
}

// tokens is one subtest.
type keptTokens struct {
	*testing.T
	store   tokens.Store
	expires time.Time
}

func (k *keptTokens) save(id, old, sealed string, want error) {
	k.Helper()
	if err := k.store.SaveTokens(k.Context(), id, []byte(old), []byte(sealed), k.expires); !errors.Is(err, want) {
		k.Errorf("SaveTokens(%q, %.20q, %.20q): %v, want %v", id, old, sealed, err, want)
	}
}

func (k *keptTokens) expect(id, want string) {
	k.Helper()
	got, err := k.store.LoadTokens(k.Context(), id)
	switch {
	case want == "" && !errors.Is(err, authagent.ErrNotFound):
		k.Errorf("LoadTokens(%q) = %q, %v; want ErrNotFound", id, got, err)
	case want != "" && (err != nil || string(got) != want):
		k.Errorf("LoadTokens(%q) = %.20q (%d bytes), %v; want %.20q (%d bytes)", id, got, len(got), err, want, len(want))
	}
}

func (k *keptTokens) kept() {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, sealed := range []string{"sealed", string(every), strings.Repeat(string(every), 256), " ", "\x00"} {
		id := rand.Text()
		k.save(id, "", sealed, nil)
		k.expect(id, sealed)
		k.save(id, sealed, sealed+sealed, nil)
		k.expect(id, sealed+sealed)
	}
}

// apart: two sessions have tokens of their own.
func (k *keptTokens) apart(one, other string) {
	k.save(one, "", "one", nil)
	k.expect(other, "")
	k.save(other, "", "other", nil)
	k.expect(one, "one")
}

// exact: a value is not taken for another one.
func (k *keptTokens) exact(one, other string) {
	id := rand.Text()
	k.save(id, "", one, nil)
	k.save(id, other, "new", authagent.ErrConflict)
	k.expect(id, one)
}

func (k *keptTokens) replaced() {
	id := rand.Text()
	k.save(id, "a", "b", authagent.ErrConflict) // there is none
	k.expect(id, "")
	k.save(id, "", "a", nil)
	k.save(id, "", "b", authagent.ErrConflict) // there is one
	k.expect(id, "a")
	k.save(id, "a", "b", nil)
	k.save(id, "a", "c", authagent.ErrConflict) // it is another by now
	k.expect(id, "b")
}

func (k *keptTokens) replacedAtOnce() {
	id := rand.Text()
	for _, old := range []string{"", "first"} {
		won := -1
		for i, err := range together(func(i int) error {
			return k.store.SaveTokens(k.Context(), id, []byte(old), fmt.Append(nil, old, i), k.expires)
		}) {
			switch {
			case err == nil && won < 0:
				won = i
			case !errors.Is(err, authagent.ErrConflict):
				k.Errorf("in the place of %q, after %d had won: %v", old, won, err)
			}
		}
		k.expect(id, fmt.Sprint(old, won))
		k.save(id, fmt.Sprint(old, won), "first", nil)
	}
}

func (k *keptTokens) deleted() {
	id := rand.Text()
	k.save(id, "", "a", nil)
	for range 2 { // the second time there is nothing to delete
		if err := k.store.DeleteTokens(k.Context(), id); err != nil {
			k.Error(err)
		}
		k.expect(id, "")
	}
	k.save(id, "a", "b", authagent.ErrConflict)
	k.expect(id, "")
}

// copied: who changes what they gave or were given changes nothing in the store.
func (k *keptTokens) copied() {
	id, value := rand.Text(), []byte("sealed")
	if err := k.store.SaveTokens(k.Context(), id, nil, value, k.expires); err != nil {
		k.Error(err)
	}
	copy(value, "XXXXXX")
	got, _ := k.store.LoadTokens(k.Context(), id)
	copy(got, "YYYYYY")
	k.expect(id, "sealed")
}

func (k *keptTokens) manyAtOnce() {
	together(func(int) error {
		id := rand.Text()
		k.save(id, "", id, nil)
		k.expect(id, id)
		return k.store.DeleteTokens(k.Context(), id)
	})
}

// ofUsers is for a [tokens.UserStore]: the tokens of an account are found, and those of no other.
func (k *keptTokens) ofUsers() {
	store := k.store.(tokens.UserStore)
	user := "User_" + rand.Text()
	of := func(user string) (ids []string) {
		k.Helper()
		all, err := store.UserTokens(k.Context(), user)
		if err != nil {
			k.Error(err)
		}
		for _, have := range all {
			if have.UserID != user || have.AgentID != "Agent_"+have.SessionID || have.Expires.Sub(k.expires).Abs() > time.Second {
				k.Errorf("ERA-3: UserTokens(%q) has %+v", user, have)
			}
			ids = append(ids, have.SessionID)
		}
		slices.Sort(ids)
		return ids
	}
	save := func(id, user string, want error) {
		k.Helper()
		err := store.SaveUserTokens(k.Context(), tokens.Kept{SessionID: id, UserID: user, AgentID: "Agent_" + id, Expires: k.expires}, []byte("sealed"))
		if !errors.Is(err, want) {
			k.Errorf("ERA-3: SaveUserTokens of %q: %v, want %v", id, err, want)
		}
	}
	one, two, other, nobodys := "1"+rand.Text(), "2"+rand.Text(), rand.Text(), rand.Text()
	save(one, user, nil)
	save(two, user, nil)
	save(other, strings.ToLower(user), nil)
	save(one, user, authagent.ErrConflict) // there is one
	k.save(nobodys, "", "sealed", nil)
	k.expect(one, "sealed")
	k.save(one, "sealed", "refreshed", nil) // and is the account's as before
	k.expect(one, "refreshed")
	if got := of(user); !slices.Equal(got, []string{one, two}) {
		k.Errorf("ERA-3: UserTokens has %q, want %q", got, []string{one, two})
	}
	if err := store.DeleteTokens(k.Context(), one); err != nil {
		k.Error(err)
	}
	if got := of(user); !slices.Equal(got, []string{two}) {
		k.Errorf("ERA-3: after one was deleted, UserTokens has %q", got)
	}
	if got := of(strings.ToLower(user)); !slices.Equal(got, []string{other}) {
		k.Errorf("ERA-3: of another account, UserTokens has %q", got)
	}
	if got := of(user + " "); got != nil {
		k.Errorf("ERA-3: of an account without tokens, UserTokens has %q", got)
	}
}
