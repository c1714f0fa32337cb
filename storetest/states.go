package storetest

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
)

// States checks a StateStore.
func States(t *testing.T, open func() authagent.StateStore) {
	until := time.Now().Add(time.Hour)
	use := func(t *testing.T, s authagent.StateStore, id string) bool {
		t.Helper()
		first, err := s.UseState(t.Context(), id, until)
		if err != nil {
			t.Errorf("UseState(%q): %v", id, err)
		}
		return first
	}
	t.Run("TXN-4 once", func(t *testing.T) {
		s, id := open(), rand.Text()
		if got := [3]bool{use(t, s, id), use(t, s, id), use(t, s, id)}; got != [3]bool{true, false, false} {
			t.Errorf("UseState three times: %v", got)
		}
	})
	for _, a := range alike {
		t.Run("TXN-4 not another's: "+a.what, func(t *testing.T) {
			s, random := open(), rand.Text()
			for _, id := range []string{fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)} {
				if !use(t, s, id) {
					t.Errorf("%q is used already", id)
				}
			}
		})
	}
	t.Run("TXN-4 many at once", func(t *testing.T) {
		s, id := open(), rand.Text()
		n := 0
		for _, first := range together(func(int) bool { return use(t, s, id) }) {
			if first {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of %d calls at once were the first", n, atOnce)
		}
	})
	t.Run("many states at once", func(t *testing.T) {
		s := open()
		for i, first := range together(func(int) bool { return use(t, s, rand.Text()) }) {
			if !first {
				t.Errorf("state %d is used already", i)
			}
		}
	})
}
