package memory

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Site is the key whose mark ends the sessions of a whole site: package marks says how.
const Site = "all"

// TimeDigits is the length of the time that a mark begins with: nanoseconds since 1970, in base 36.
const TimeDigits = 13

// NewMark returns a mark that is made now.
func NewMark(now time.Time) string {
	return fmt.Sprintf("%0*s", TimeDigits, strconv.FormatInt(now.UnixNano(), 36)) + rand.Text()
}

// Revocations remembers the marks of keys. The zero value is ready. It is safe for
// concurrent use.
//
// It holds 786,432 keys, at about 90 bytes each. A further one gives the whole site a new mark, and all
// others are forgotten: every session that one of them has ended began before, and is ended by the new mark as well, with
// all sessions that nobody has ended. Nothing that was ended comes back.
type Revocations struct {
	Logger *slog.Logger // gets a word when that happens; nil means slog.Default()

	n       atomic.Int64 // entries, readable without the lock: nothing revoked is the usual case
	forgot  atomic.Int64 // when all were forgotten, in nanoseconds since 1970; 0 for never
	mu      sync.RWMutex
	seeds   [2]maphash.Seed // made with entries
	entries map[revocationKey]revocation
	peak    int   // of len(entries), since it was made
	most    int   // entries, in a test; 0 for maxRevocations
	latest  int64 // of all times until which something was to be remembered
}

// A revocationKey is a hash of a key by seeds that nobody knows: so nobody can make two keys that have the same, and by chance
// it happens once in 2^88. SHA-256 would take most of the time of a look.
type revocationKey [2]uint64

// hash returns what stands for a key.
func (s *Revocations) hash(key []byte) revocationKey {
	return revocationKey{maphash.Bytes(s.seeds[0], key), maphash.Bytes(s.seeds[1], key)}
}

// maxRevocations bounds the keys. It is three quarters of a power of two: a map of more makes itself twice as large.
const maxRevocations = 3 << 18

// maxMark is the length of a mark of NewMark.
const maxMark = TimeDigits + 26

// A revocation is what is remembered of a key. It has no pointer, which the garbage collector would follow.
type revocation struct {
	until  int64 // in nanoseconds since 1970
	length uint8
	text   [maxMark]byte
}

func newRevocation(mark string, until int64) revocation {
	r := revocation{until: until, length: uint8(len(mark))}
	copy(r.text[:], mark)
	return r
}

// is compares without an allocation.
func (r *revocation) is(mark string) bool { return string(r.text[:r.length]) == mark }

// Revoke gives key a mark, to be remembered until the latest of the times given. A mark has at most 39 bytes.
func (s *Revocations) Revoke(_ context.Context, key, mark string, until time.Time) error {
	if len(mark) > maxMark {
		return fmt.Errorf("memory: a mark of %d bytes, at most %d can be kept", len(mark), maxMark)
	}
	forgotten := s.put(key, newRevocation(mark, until.UnixNano()), time.Now())
	if forgotten > 0 {
		cmp.Or(s.Logger, slog.Default()).Error("authagent: all sessions of agents have been ended: more were ended one by one than this process can remember; "+
			"set Config.Revocations to a store that can, such as sqlstore's", "forgotten", forgotten)
	}
	return nil
}

// put adds one entry. It returns how many it had to forget.
func (s *Revocations) put(name string, r revocation, now time.Time) (forgotten int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
		s.entries = make(map[revocationKey]revocation)
	}
	key := s.hash([]byte(name))
	s.sweep(now.UnixNano(), sweepEach)
	have, known := s.entries[key]
	r.until = max(r.until, have.until)
	s.latest = max(s.latest, r.until)
	if most := cmp.Or(s.most, maxRevocations); !known && len(s.entries) >= most {
		s.sweep(now.UnixNano(), most)
		if forgotten = len(s.entries); forgotten > most-most/16 { // or each further key would search through all
			s.forget(now)
		} else {
			forgotten = 0
		}
	}
	s.entries[key] = r
	s.peak = max(s.peak, len(s.entries))
	s.n.Store(int64(len(s.entries)))
	return forgotten
}

// sweepEach is how many entries each Revoke looks at. So those that are over are few among those that are not, and
// nobody waits while all are searched through.
const sweepEach = 16

// sweep forgets those of so many entries that are over. The order in which a map is read is random.
func (s *Revocations) sweep(now int64, most int) {
	for key, r := range s.entries {
		if most--; most < 0 {
			break
		}
		if r.until <= now {
			delete(s.entries, key)
		}
	}
	if s.peak > 1024 && len(s.entries) < s.peak/8 { // it would be long to read, and a map gives nothing back
		fewer := make(map[revocationKey]revocation, len(s.entries))
		for key, r := range s.entries {
			fewer[key] = r
		}
		s.entries, s.peak = fewer, len(fewer)
	}
}

// forget gives the site a new mark in the place of all entries, for as long as the last of them would have been kept. The caller holds
// the lock: whoever looks sees either all of them or the new mark.
func (s *Revocations) forget(now time.Time) {
	s.entries, s.peak = make(map[revocationKey]revocation), 0
	s.entries[s.hash([]byte(Site))] = newRevocation(NewMark(now), s.latest)
	s.forgot.Store(now.UnixNano())
}

// Forgot reports whether marks were forgotten since a time. A sign-in that was under way then may come from a session at the server
// whose end is among them.
func (s *Revocations) Forgot(since time.Time) bool {
	at := s.forgot.Load()
	return at != 0 && since.UnixNano() <= at
}

// Empty reports whether nothing at all is revoked.
func (s *Revocations) Empty() bool { return s.n.Load() == 0 }

// Marks returns the mark of each of keys, empty for none.
func (s *Revocations) Marks(_ context.Context, keys []string) ([]string, error) {
	marks := make([]string, len(keys))
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.entries == nil { // and there are no seeds
		return marks, nil
	}
	for i, key := range keys {
		if r, ok := s.entries[s.hash([]byte(key))]; ok {
			marks[i] = string(r.text[:r.length])
		}
	}
	return marks, nil
}

// A Look is one look at several keys, between which nothing changes. It is closed by Done.
type Look struct{ of *Revocations }

// Look begins one.
func (s *Revocations) Look() Look {
	s.mu.RLock()
	return Look{s}
}

// Done ends the look.
func (l Look) Done() { l.of.mu.RUnlock() }

// Changed reports whether the key that the parts make has a mark, and another than had.
func (l Look) Changed(had string, parts ...string) bool {
	if l.of.entries == nil { // and there are no seeds
		return false
	}
	var room [256]byte // so that a key is not allocated
	key := room[:0]
	for _, part := range parts {
		key = append(key, part...)
	}
	r, ok := l.of.entries[l.of.hash(key)]
	return ok && !r.is(had)
}
