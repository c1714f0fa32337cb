package limit

import (
	"cmp"
	"time"

	"github.com/authagent-go/authagent/limits"
)

// A budget is how often one thing may happen, for each of many keys.
type budget struct {
	prefix string      // begins the keys in a store that several budgets and relying parties share
	rate   limits.Rate // with its defaults
	local  *Limiter    // as this process counts
}

// newBudget returns a budget, or nil where there is no limit.
func newBudget(prefix string, r limits.Rate) *budget {
	r.Per = cmp.Or(r.Per, time.Minute)
	local := New(r.N, r.Per)
	if local == nil {
		return nil
	}
	return &budget{prefix, r, local}
}

// An event is one that is counted in a budget, for a key.
type event struct {
	*budget
	key string
}

// add adds an event, unless its budget is nil, to the n that there are.
func add(events *[2]event, n int, b *budget, key string) int {
	if b == nil {
		return n
	}
	events[n] = event{b, key}
	return n + 1
}

// allow takes one of each event, or none if one makes it wait or may is false. It returns the
// longest wait. It locks the budgets in the order of the events, which is the same for all that
// have two in common.
func allow(now time.Time, may bool, events []event) (wait time.Duration) {
	if len(events) == 0 {
		return 0
	}
	return events[0].local.take(now, events[0].key, may, events[1:])
}
