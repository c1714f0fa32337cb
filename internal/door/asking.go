package door

import (
	"sync"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/problem"
)

// How many introspections may be under way at once: for tokens from one client address, or one /64 network of
// IPv6, for those from one /48 network, and in all. Anybody can have a token introspected that was made up.
const (
	maxAsking     = 8
	maxAskingWide = 32
	maxAskingAll  = 128
)

// asking counts the introspections that are under way. Its zero value is ready.
type asking struct {
	mu     sync.Mutex
	all    int
	byFrom map[string]int
}

// begin counts one from a client address, if there may be another. done ends it.
func (a *asking) begin(address string) (done func(), err error) {
	from, wide := limit.AddressKeys(address) // empty for a proxy's, behind which everybody is; wide for IPv4 too
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all >= maxAskingAll || from != "" && a.byFrom[from] >= maxAsking || wide != "" && a.byFrom[wide] >= maxAskingWide {
		return nil, failure.New(problem.Limited, "introspect access token", "too many access tokens are being introspected")
	}
	if a.byFrom == nil {
		a.byFrom = make(map[string]int)
	}
	a.all++
	a.byFrom[from]++
	if wide != "" {
		a.byFrom[wide]++
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all--
		a.less(from)
		if wide != "" {
			a.less(wide)
		}
	}, nil
}

func (a *asking) less(from string) {
	if a.byFrom[from]--; a.byFrom[from] == 0 {
		delete(a.byFrom, from)
	}
}
