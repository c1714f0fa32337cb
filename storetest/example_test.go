package storetest_test

import (
	"net/http"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
)

// In the tests of a store of your own; memstore stands for it here.
func Example() {
	test := func(t *testing.T) {
		storetest.Profiles(t, func() authagent.ProfileStore { return &memstore.Profiles{} })
	}
	_ = test
}

// shopSessions are the sessions of a site, which work inside a middleware of the
// site's, as those of scs do inside LoadAndSave.
type shopSessions struct{ authagent.Sessions }

func (shopSessions) Middleware(next http.Handler) http.Handler { return loadAndSave(next) }

func loadAndSave(next http.Handler) http.Handler { return next }

// In the tests of sessions of your own. Middleware is there for the kit alone, and
// only where it is needed.
func ExampleSessions() {
	test := func(t *testing.T, mine authagent.Sessions) {
		storetest.Sessions(t, func() authagent.Sessions { return shopSessions{mine} })
	}
	_ = test
}
