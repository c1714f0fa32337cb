// Package meter records what happens, if a site wants to know. A nil Meter records nothing and
// costs next to nothing. What the values of labels can be is decided here and by its callers'
// constants, so that nothing that a stranger sends becomes one.
package meter

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/metrics"
)

// A Meter records what happens at one relying party. It is safe for concurrent use; nil records nothing.
// No caller holds a lock.
type Meter struct {
	to       metrics.Recorder
	panicked func(value any, stack []byte)
	told     atomic.Int64 // when a panic was told of last, in nanoseconds since 1970
}

// New returns a Meter that records to a site's Recorder, or nil if there is none. panicked is told of its
// panics, at most once a minute.
func New(to metrics.Recorder, panicked func(value any, stack []byte)) *Meter {
	if to == nil {
		return nil
	}
	return &Meter{to: to, panicked: panicked}
}

// Now is when something begins that is measured. It asks no clock if nothing is.
func (m *Meter) Now() time.Time {
	if m == nil {
		return time.Time{}
	}
	return time.Now()
}

// Whether a sign-in or a session is a browser's or of an access token, or goes on from there.
const (
	Browser = "browser"
	API     = "api"
	Link    = "link"
)

// What comes of something, beside the outcomes of package audit.
const (
	OK      = "ok"
	Started = "started"
	Person  = "person"
	Ended   = "ended"
	Paused  = "paused"
	Refused = "refused"
	Failed  = "failed"
	Asked   = "asked"
	Dropped = "dropped"

	NoAccount = "no_account"
)

// What is done with kept tokens.
const (
	Refresh      = "refresh"
	Confirmation = "confirmation"
	Revocation   = "revocation"
)

// The queues.
const (
	Events        = "events"         // for Config.Audit
	OwnerEvents   = "owner_events"   // for the Audit of a grants.Policy
	OwnerNotices  = "owner_notices"  // for its Notify
	OwnerRequests = "owner_requests" // of agents, to be filed by it
)

// Why something was lost.
const (
	Full  = "full"
	Panic = "panic"
	Store = "store" // a store could not keep it
)

// The stores. Users and profiles are the site's own, and fail a request if they fail.
const (
	Grants      = "grants"
	Journal     = "journal"
	Limits      = "limits"
	Revocations = "revocations"
	States      = "states"
	Tokens      = "tokens"
)

// SignedIn records what came of a sign-in.
func (m *Meter) SignedIn(door, outcome string) { m.count(metrics.SignIns, door, outcome) }

// Refused records that a request was refused. A reason of the site's own making is one of the others.
func (m *Meter) Refused(reason, fault string) {
	if m != nil && !reasons.Known(reason) {
		reason = metrics.Other
	}
	m.count(metrics.Refusals, reason, fault)
}

// Checked records what came of a session's check that has begun then.
func (m *Meter) Checked(began time.Time, door, outcome string) {
	m.took(metrics.SessionChecks, began, door, outcome)
}

// Answered records how the server has answered a request that was sent then.
func (m *Meter) Answered(began time.Time, endpoint, status string) {
	m.took(metrics.ServerRequests, began, endpoint, status)
}

// Kept records what came of something that was done with kept tokens.
func (m *Meter) Kept(operation, outcome string) { m.count(metrics.KeptTokens, operation, outcome) }

// AskedOwner records whether an owner is asked about an agent.
func (m *Meter) AskedOwner(outcome string) { m.count(metrics.OwnerRequests, outcome, "") }

// Waits records that so many more wait in a queue, or fewer.
func (m *Meter) Waits(queue string, more int) {
	if m != nil && more != 0 {
		m.record(metrics.QueueWaiting, float64(more), metrics.Labels{queue})
	}
}

// Lost records that something in a queue was lost.
func (m *Meter) Lost(queue, cause string) { m.count(metrics.QueueLost, queue, cause) }

// StoreFailed records that a store has failed.
func (m *Meter) StoreFailed(store string) { m.count(metrics.StoreFailures, store, "") }

func (m *Meter) count(name metrics.Name, first, second string) {
	if m != nil {
		m.record(name, 1, metrics.Labels{first, second})
	}
}

func (m *Meter) took(name metrics.Name, began time.Time, first, second string) {
	if m != nil {
		m.record(name, time.Since(began).Seconds(), metrics.Labels{first, second})
	}
}

// record calls code of the site, which must not break a request.
func (m *Meter) record(name metrics.Name, value float64, labels metrics.Labels) {
	defer func() {
		if caught := recover(); caught != nil {
			m.caught(caught)
		}
	}()
	m.to.Record(name, value, labels)
}

func (m *Meter) caught(value any) {
	now, told := time.Now().UnixNano(), m.told.Load()
	if (told == 0 || now-told >= int64(time.Minute)) && m.told.CompareAndSwap(told, now) {
		m.panicked(value, debug.Stack())
	}
}
