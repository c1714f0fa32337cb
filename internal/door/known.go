package door

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
)

// A key names a token here. No token is kept.
type key [sha256.Size]byte

// maxKnown bounds the tokens that are remembered: half of them are the younger. refusedSlots bounds those
// that were refused, at 40 bytes each.
const (
	maxKnown     = 1 << 14
	refusedSlots = 1 << 12
)

// An entry is what is remembered of a token that was good. It does not change.
type entry[S any] struct {
	id        string // the session's
	session   *S     // nil while the site does not let the agent in
	presented *identity.Presented
	until     time.Time // when it has to be verified again
}

// opens reports whether the entry, which may be nil, has a session that counts without a look.
func (e *entry[S]) opens(now time.Time) bool {
	return e != nil && e.session != nil && now.Before(e.until)
}

// lives reports whether the entry, which may be nil, has a session that has not ended with its token.
func (e *entry[S]) lives(now time.Time) bool {
	return e != nil && e.session != nil && (e.presented.Expires.IsZero() || now.Before(e.presented.Expires))
}

// A table remembers tokens: those that were good until they are crowded out, and of those that
// were refused the last for each slot. It never grows beyond its bounds, whatever comes. Its zero value is ready.
type table[S any] struct {
	mu         sync.Mutex
	young, old map[key]*entry[S]
	refused    []refusal // nil until the first
}

type refusal struct {
	key   key
	until time.Time
}

// find returns what is remembered of a token: its entry, if it was good once, and whether it was refused a moment ago.
func (t *table[S]) find(k key, now time.Time) (e *entry[S], refused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e = t.young[k]; e != nil {
		return e, false
	}
	if e = t.old[k]; e != nil {
		t.add(k, e) // lest it is crowded out while it is in use
		return e, false
	}
	if t.refused == nil {
		return nil, false
	}
	slot := &t.refused[slotOf(k)]
	return nil, slot.key == k && now.Before(slot.until)
}

// keep remembers a token that is good.
func (t *table[S]) keep(k key, e *entry[S]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.old, k)
	t.add(k, e)
}

func (t *table[S]) add(k key, e *entry[S]) {
	if t.young == nil || len(t.young) >= maxKnown/2 {
		t.old, t.young = t.young, make(map[key]*entry[S])
	}
	t.young[k] = e
}

// refuse remembers until when a token is refused, and nothing else of it.
func (t *table[S]) refuse(k key, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.young, k)
	delete(t.old, k)
	if t.refused == nil {
		t.refused = make([]refusal, refusedSlots)
	}
	t.refused[slotOf(k)] = refusal{k, until}
}

func slotOf(k key) int { return int(binary.LittleEndian.Uint32(k[:]) % refusedSlots) }
