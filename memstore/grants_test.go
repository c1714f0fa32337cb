package memstore_test

import (
	"testing"

	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
)

func TestGrants(t *testing.T) {
	storetest.Grants(t, func(*testing.T) grants.Store { return &memstore.Grants{} })
}
