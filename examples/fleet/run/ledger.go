//go:build unix

package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A ledger is all that somebody was told, and what was counted on the way. It is
// safe for concurrent use.
type ledger struct {
	mu        sync.Mutex
	sessions  []*session
	orders    map[string]bool   // by key: whether it was acknowledged
	payouts   map[string]int    // by key: how often it was acknowledged
	approvals map[string]string // of payouts, by key: the ID
	signing   map[int]int       // sign-ins that are under way, by the generation of their sessions
	profiles  map[string]map[string]bool
	grants    map[string]string // of an agent: the ID of the one that its owner approved
	counts    map[string]int
	faults    []string // what went wrong, in words
	requests  []time.Duration
	signIns   []time.Duration
	refusals  []refusal
	events    []string // what the run did to the servers
}

func newLedger() *ledger {
	return &ledger{
		orders: map[string]bool{}, payouts: map[string]int{}, approvals: map[string]string{}, signing: map[int]int{},
		profiles: map[string]map[string]bool{}, grants: map[string]string{},
		counts: map[string]int{},
	}
}

func (l *ledger) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *ledger) count(what string) { l.do(func() { l.counts[what]++ }) }

// fault counts something that must not be, and keeps the first in words.
func (l *ledger) fault(what, format string, args ...any) {
	l.do(func() {
		l.counts[what]++
		if len(l.faults) < 20 {
			l.faults = append(l.faults, time.Now().Format("15:04:05.000 ")+what+": "+fmt.Sprintf(format, args...))
		}
	})
}

// What must not be.
const (
	sessionLost     = "sessions lost"
	sessionAlive    = "sessions that went on after they were ended"
	profileDoubled  = "profiles doubled"
	grantLost       = "grants lost"
	grantDoubled    = "grants doubled"
	orderLost       = "named actions lost"
	payoutLost      = "single actions lost"
	payoutDoubled   = "single actions performed twice"
	deedUnrecorded  = "deeds without a trail row"
	deedUnfinished  = "deeds without an end though nothing had gone wrong"
	approvalWasted  = "approvals of the transactional kind without effect"
	signInFailed    = "sign-ins failed by a deployment"
	requestFailed   = "requests failed by a deployment"
	revokedIn       = "requests let in that began after a revocation was acknowledged"
	stopFailed      = "instances that did not stop cleanly"
	eventLost       = "audit events lost though the instance stopped cleanly"
	raceFound       = "data races and panics in the logs of instances"
	notAsIntended   = "parts of the run that did not happen"
	otherwisePrefix = "answered otherwise: "
)

var forbidden = []string{
	sessionLost, sessionAlive, profileDoubled, grantLost, grantDoubled, orderLost, payoutLost, payoutDoubled, deedUnrecorded, deedUnfinished,
	approvalWasted, signInFailed, requestFailed, revokedIn, stopFailed,
	eventLost, raceFound, notAsIntended,
}

// A session is one that a client was told it has.
type session struct {
	agent  *agent
	from   string // its address
	cookie string
	id     string
	faults int // how often something had gone wrong when it began

	generation int // agents leave older ones, see fleet.leave

	mu     sync.Mutex
	ending bool // somebody has asked for its end, and may have been told of it
	ended  bool // and has been
}

func (s *session) end(acknowledged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending, s.ended = true, s.ended || acknowledged
}

func (s *session) state() (ending, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending, s.ended
}

// A refusal is how a revocation went that one instance acknowledged, as the
// others had it.
type refusal struct {
	how       string
	fromAck   time.Duration // until the last of them had refused; zero if before the answer
	fromStart time.Duration
	between   int // requests let in that began before it was acknowledged
}

// percentile sorts all and returns one.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(float64(len(all))*p))].Round(100 * time.Microsecond)
}

func (l *ledger) sorted(prefix string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(l.counts)) {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			names = append(names, name)
		}
	}
	return names
}
