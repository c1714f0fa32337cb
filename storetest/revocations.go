package storetest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
)

// Revocations checks a RevocationStore.
func Revocations(t *testing.T, open func() authagent.RevocationStore) {
	t.Run("SES-11 nothing revoked", func(t *testing.T) { (&revocations{t, open()}).nothing() })
	t.Run("SES-15 a mark changes with each Revoke and with nothing else", func(t *testing.T) { (&revocations{t, open()}).changed() })
	t.Run("SES-15 each key's own", func(t *testing.T) { (&revocations{t, open()}).ofEachKey() })
	t.Run("SES-16 the latest until counts", func(t *testing.T) { (&revocations{t, open()}).latest() })
	t.Run("API-13 a mark begins as it was given", func(t *testing.T) { (&revocations{t, open()}).asGiven() })
	t.Run("SES-15 many at once", func(t *testing.T) { (&revocations{t, open()}).atOnce() })
	for _, a := range alike {
		t.Run("SES-11 not another's: "+a.what, func(t *testing.T) {
			random := rand.Text()
			(&revocations{t, open()}).apart("user:"+fmt.Sprintf(a.one, random), "user:"+fmt.Sprintf(a.other, random))
		})
	}
	t.Run("SES-11 long keys", func(t *testing.T) { (&revocations{t, open()}).long() })
}

// revocations is one subtest.
type revocations struct {
	*testing.T
	store authagent.RevocationStore
}

func (k *revocations) revoke(key string, lasts time.Duration) {
	k.Helper()
	if err := k.store.Revoke(k.Context(), key, rand.Text(), time.Now().Add(lasts)); err != nil {
		k.Errorf("Revoke(%q): %v", key, err)
	}
}

func (k *revocations) marks(keys ...string) []string {
	k.Helper()
	got, err := k.store.Marks(k.Context(), keys)
	if err != nil || len(got) != len(keys) {
		k.Fatalf("Marks(%q) = %q, %v", keys, got, err)
	}
	return got
}

func (k *revocations) mark(key string) string {
	k.Helper()
	return k.marks(key)[0]
}

func (k *revocations) nothing() {
	k.marks()
	for _, mark := range k.marks(rand.Text(), rand.Text(), rand.Text(), rand.Text()) {
		if mark != "" {
			k.Errorf("the mark %q", mark)
		}
	}
}

func (k *revocations) changed() {
	key := rand.Text()
	seen := map[string]bool{"": true}
	for range 3 {
		k.revoke(key, time.Hour)
		k.revoke(rand.Text(), time.Hour)
		mark := k.mark(key)
		if seen[mark] || k.mark(key) != mark {
			k.Errorf("the mark %q, and then %q", mark, k.mark(key))
		}
		seen[mark] = true
	}
}

// asGiven: a mark says when it was made, at its beginning.
func (k *revocations) asGiven() {
	key := rand.Text()
	for range 2 {
		given := rand.Text()
		if err := k.store.Revoke(k.Context(), key, given, time.Now().Add(time.Hour)); err != nil {
			k.Error(err)
		}
		if got := k.mark(key); !strings.HasPrefix(got, given) {
			k.Errorf("the mark %q, which was given as %q", got, given)
		}
	}
}

func (k *revocations) ofEachKey() {
	a, b := rand.Text(), rand.Text()
	k.revoke(a, time.Hour)
	k.revoke(b, time.Hour)
	want := []string{"", k.mark(b), k.mark(a), k.mark(a), ""}
	if got := k.marks(rand.Text(), b, a, a, rand.Text()); !slices.Equal(got, want) || k.mark(a) == k.mark(b) {
		k.Errorf("marks %q, want %q", got, want)
	}
}

func (k *revocations) latest() {
	key := rand.Text()
	k.revoke(key, time.Hour)
	first := k.mark(key)
	k.revoke(key, -time.Hour)
	k.revoke(rand.Text(), time.Hour) // which may clean up
	if got := k.mark(key); got == "" || got == first {
		k.Errorf("the mark %q, after %q", got, first)
	}
}

func (k *revocations) atOnce() {
	key := rand.Text()
	k.revoke(key, time.Hour)
	began := k.mark(key)
	together(func(int) error { k.revoke(key, time.Hour); return nil })
	if got := k.mark(key); got == "" || got == began {
		k.Errorf("the mark %q, after %q", got, began)
	}
}

func (k *revocations) apart(one, other string) {
	k.revoke(one, time.Hour)
	if got := k.mark(other); got != "" {
		k.Errorf("the mark %q", got)
	}
}

func (k *revocations) long() {
	key := "agent:https://" + rand.Text() + strings.Repeat("x", 2048)
	k.revoke(key+"y", time.Hour)
	if got := k.marks(key+"y", key+"z"); got[0] == "" || got[1] != "" {
		k.Errorf("marks %q", got)
	}
}
