package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
)

// Tokens checks a TokenStore. That tokens are encrypted and bound to their
// session (REF-10) is authagent's work; the store's is to give back what it was
// given, and to let one of several replace it.
func Tokens(t *testing.T, open func() authagent.TokenStore) {
	expires := time.Now().Add(time.Hour)
	save := func(t *testing.T, s authagent.TokenStore, id, old, sealed string, want error) {
		t.Helper()
		if err := s.SaveTokens(t.Context(), id, []byte(old), []byte(sealed), expires); !errors.Is(err, want) {
			t.Errorf("SaveTokens(%q, %.20q, %.20q): %v, want %v", id, old, sealed, err, want)
		}
	}
	expect := func(t *testing.T, s authagent.TokenStore, id, want string) {
		t.Helper()
		got, err := s.LoadTokens(t.Context(), id)
		switch {
		case want == "" && !errors.Is(err, authagent.ErrNotFound):
			t.Errorf("LoadTokens(%q) = %q, %v; want ErrNotFound", id, got, err)
		case want != "" && (err != nil || string(got) != want):
			t.Errorf("LoadTokens(%q) = %.20q (%d bytes), %v; want %.20q (%d bytes)", id, got, len(got), err, want, len(want))
		}
	}
	t.Run("REF-10 as they are", func(t *testing.T) {
		s := open()
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		for _, sealed := range []string{"sealed", string(every), strings.Repeat(string(every), 256), " ", "\x00"} {
			id := rand.Text()
			save(t, s, id, "", sealed, nil)
			expect(t, s, id, sealed)
			save(t, s, id, sealed, sealed+sealed, nil)
			expect(t, s, id, sealed+sealed)
		}
	})
	for _, a := range alike {
		t.Run("REF-10 not another's: "+a.what, func(t *testing.T) {
			s, random := open(), rand.Text()
			one, other := fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)
			save(t, s, one, "", "one", nil)
			expect(t, s, other, "")
			save(t, s, other, "", "other", nil)
			expect(t, s, one, "one")
		})
		t.Run("REF-2 the value is compared exactly: "+a.what, func(t *testing.T) {
			s, id, random := open(), rand.Text(), rand.Text()
			one, other := fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)
			save(t, s, id, "", one, nil)
			save(t, s, id, other, "new", authagent.ErrConflict)
			expect(t, s, id, one)
		})
	}
	t.Run("REF-2 REF-3 compared and replaced", func(t *testing.T) {
		s, id := open(), rand.Text()
		save(t, s, id, "a", "b", authagent.ErrConflict) // there is none
		expect(t, s, id, "")
		save(t, s, id, "", "a", nil)
		save(t, s, id, "", "b", authagent.ErrConflict) // there is one
		expect(t, s, id, "a")
		save(t, s, id, "a", "b", nil)
		save(t, s, id, "a", "c", authagent.ErrConflict) // it is another by now
		expect(t, s, id, "b")
	})
	t.Run("REF-2 one of many at once", func(t *testing.T) {
		s, id := open(), rand.Text()
		for _, old := range []string{"", "first"} {
			won := -1
			for i, err := range together(func(i int) error {
				return s.SaveTokens(t.Context(), id, []byte(old), fmt.Append(nil, old, i), expires)
			}) {
				switch {
				case err == nil && won < 0:
					won = i
				case !errors.Is(err, authagent.ErrConflict):
					t.Errorf("in the place of %q, after %d had won: %v", old, won, err)
				}
			}
			expect(t, s, id, fmt.Sprint(old, won))
			save(t, s, id, fmt.Sprint(old, won), "first", nil)
		}
	})
	t.Run("REF-8 deleted", func(t *testing.T) {
		s, id := open(), rand.Text()
		save(t, s, id, "", "a", nil)
		for range 2 { // the second time there is nothing to delete
			if err := s.DeleteTokens(t.Context(), id); err != nil {
				t.Error(err)
			}
			expect(t, s, id, "")
		}
		save(t, s, id, "a", "b", authagent.ErrConflict)
		expect(t, s, id, "")
	})
	t.Run("not found", func(t *testing.T) { expect(t, open(), rand.Text(), "") })
	t.Run("kept apart from the caller's", func(t *testing.T) {
		s, id, value := open(), rand.Text(), []byte("sealed")
		if err := s.SaveTokens(t.Context(), id, nil, value, expires); err != nil {
			t.Error(err)
		}
		copy(value, "XXXXXX")
		got, _ := s.LoadTokens(t.Context(), id)
		copy(got, "YYYYYY")
		expect(t, s, id, "sealed")
	})
	t.Run("many sessions at once", func(t *testing.T) {
		s := open()
		together(func(int) error {
			id := rand.Text()
			save(t, s, id, "", id, nil)
			expect(t, s, id, id)
			return s.DeleteTokens(t.Context(), id)
		})
	})
}
