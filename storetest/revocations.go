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
	revoke := func(t *testing.T, s authagent.RevocationStore, key string, lasts time.Duration) {
		t.Helper()
		if err := s.Revoke(t.Context(), key, rand.Text(), time.Now().Add(lasts)); err != nil {
			t.Errorf("Revoke(%q): %v", key, err)
		}
	}
	marks := func(t *testing.T, s authagent.RevocationStore, keys ...string) []string {
		t.Helper()
		got, err := s.Marks(t.Context(), keys)
		if err != nil || len(got) != len(keys) {
			t.Fatalf("Marks(%q) = %q, %v", keys, got, err)
		}
		return got
	}
	t.Run("SES-11 nothing revoked", func(t *testing.T) {
		s := open()
		marks(t, s)
		for _, mark := range marks(t, s, rand.Text(), rand.Text(), rand.Text(), rand.Text()) {
			if mark != "" {
				t.Errorf("the mark %q", mark)
			}
		}
	})
	t.Run("SES-15 a mark changes with each Revoke and with nothing else", func(t *testing.T) {
		s, key := open(), rand.Text()
		seen := map[string]bool{"": true}
		for range 3 {
			revoke(t, s, key, time.Hour)
			revoke(t, s, rand.Text(), time.Hour)
			mark := marks(t, s, key)[0]
			if seen[mark] || marks(t, s, key)[0] != mark {
				t.Errorf("the mark %q, and then %q", mark, marks(t, s, key))
			}
			seen[mark] = true
		}
	})
	t.Run("SES-15 each key's own", func(t *testing.T) {
		s, a, b := open(), rand.Text(), rand.Text()
		revoke(t, s, a, time.Hour)
		revoke(t, s, b, time.Hour)
		of := func(key string) string { return marks(t, s, key)[0] }
		want := []string{"", of(b), of(a), of(a), ""}
		if got := marks(t, s, rand.Text(), b, a, a, rand.Text()); !slices.Equal(got, want) || of(a) == of(b) {
			t.Errorf("marks %q, want %q", got, want)
		}
	})
	t.Run("SES-16 the latest until counts", func(t *testing.T) {
		s, key := open(), rand.Text()
		revoke(t, s, key, time.Hour)
		first := marks(t, s, key)[0]
		revoke(t, s, key, -time.Hour)
		revoke(t, s, rand.Text(), time.Hour) // which may clean up
		if got := marks(t, s, key)[0]; got == "" || got == first {
			t.Errorf("the mark %q, after %q", got, first)
		}
	})
	t.Run("SES-15 many at once", func(t *testing.T) {
		s, key := open(), rand.Text()
		revoke(t, s, key, time.Hour)
		began := marks(t, s, key)[0]
		together(func(int) error { revoke(t, s, key, time.Hour); return nil })
		if got := marks(t, s, key)[0]; got == "" || got == began {
			t.Errorf("the mark %q, after %q", got, began)
		}
	})
	for _, a := range alike {
		t.Run("SES-11 not another's: "+a.what, func(t *testing.T) {
			s, random := open(), rand.Text()
			revoke(t, s, "user:"+fmt.Sprintf(a.one, random), time.Hour)
			if got := marks(t, s, "user:"+fmt.Sprintf(a.other, random)); got[0] != "" {
				t.Errorf("the mark %q", got)
			}
		})
	}
	t.Run("SES-11 long keys", func(t *testing.T) {
		s, key := open(), "agent:https://"+rand.Text()+strings.Repeat("x", 2048)
		revoke(t, s, key+"y", time.Hour)
		if got := marks(t, s, key+"y", key+"z"); got[0] == "" || got[1] != "" {
			t.Errorf("marks %q", got)
		}
	})
}
