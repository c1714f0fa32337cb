package grants

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestRenewalsAreForgotten: an account that nobody asks about any more takes no
// memory, which cannot be seen from outside.
func TestRenewalsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l renewals
		l.add("alice", time.Now())
		time.Sleep(askedFor - time.Second)
		l.add("bob", time.Now())
		if len(l.at["alice"]) != 1 {
			t.Error("forgotten before its time")
		}
		l.add("carol", time.Now().Add(-askedFor))
		if l.at["carol"] != nil {
			t.Error("kept what was over when it came")
		}
		time.Sleep(2 * time.Hour)
		l.add("bob", time.Now())
		if len(l.at) != 1 || len(l.at["bob"]) != 2 {
			t.Errorf("kept: %v", l.at)
		}
	})
}
