package storetest_test

import (
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
