package grants_test

import (
	"testing"

	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/grantstest"
)

func TestMemory(t *testing.T) {
	grantstest.Store(t, func(*testing.T) grants.Store { return grants.NewMemory() })
}
