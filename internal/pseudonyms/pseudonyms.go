// Package pseudonyms keeps the ID of an account that was erased out of what comes later: of requests that
// were under way, and of sessions that end on their next request.
package pseudonyms

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

const (
	prefix = "erased_"

	// random is how many letters and digits follow it.
	random = 26

	// keptFor is how long an account's pseudonym is known at least.
	keptFor = 31 * 24 * time.Hour

	// sweepEvery is how often those are looked for whose time is over: a site may erase many accounts at once.
	sweepEvery = time.Hour
)

// New returns a pseudonym. No two are the same, and nothing leads back from one to its account.
func New() string { return prefix + strings.ToLower(rand.Text()[:random]) }

// Is reports whether an ID is a pseudonym.
func Is(id string) bool {
	rest, has := strings.CutPrefix(id, prefix)
	return has && len(rest) == random
}

// Names are the pseudonyms of accounts that were erased. The zero value has none. It is safe for
// concurrent use.
type Names struct {
	// Lifetime is that of sessions. A pseudonym is known at least as long, as a session may end so late. Set it before first use.
	Lifetime time.Duration

	any atomic.Bool // there is one: most processes have none, and each event asks

	mu    sync.Mutex
	swept time.Time
	of    map[[sha256.Size]byte]name // by a digest, so that the ID is not kept
}

type name struct {
	pseudonym string
	until     time.Time
}

// Give gives an account a pseudonym, in place of the one that it has.
func (n *Names) Give(userID, pseudonym string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if now.Sub(n.swept) > sweepEvery {
		for key, given := range n.of {
			if now.After(given.until) {
				delete(n.of, key)
			}
		}
		n.swept = now
	}
	if n.of == nil {
		n.of = make(map[[sha256.Size]byte]name)
	}
	n.of[sha256.Sum256([]byte(userID))] = name{pseudonym, now.Add(max(keptFor, n.Lifetime))}
	n.any.Store(true)
}

// In returns e as it may be kept: without the ID of an account that was erased, and without what else
// could name its holder.
func (n *Names) In(e audit.Event) audit.Event {
	if !n.any.Load() {
		return e
	}
	user, isUser := n.Of(e.UserID)
	human, isHuman := n.Of(e.HumanID)
	if isUser {
		e.UserID = user
	}
	if isHuman {
		e.HumanID = human
	}
	if isUser || isHuman {
		e.RemoteAddr, e.Detail = "", ""
	}
	return e
}

// ErrErased says that an account was erased. To an agent it is an account that is gone.
var ErrErased = fmt.Errorf("the account was erased: %w", problem.NoAccount)

// Refuse returns ErrErased for an account that was erased. Its ID is never used again, so nothing may be written of it.
func (n *Names) Refuse(userID string) error {
	if _, erased := n.Of(userID); erased {
		return ErrErased
	}
	return nil
}

// Write calls write, which writes something of an account, unless the account was erased. It may be erased while
// write is under way, and what was written after the eraser has looked would stay. So Write looks again, and then
// has undo erase it. In both cases the error is ErrErased, with that of undo.
func (n *Names) Write(userID string, write func() error, undo func(pseudonym string) error) error {
	if err := n.Refuse(userID); err != nil {
		return err
	}
	return n.Written(userID, write(), undo)
}

// Written is the second half of Write, for what has been written. It returns err if the account was not erased.
func (n *Names) Written(userID string, err error, undo func(pseudonym string) error) error {
	pseudonym, erased := n.Of(userID)
	if !erased {
		return err
	}
	return errors.Join(ErrErased, undo(pseudonym))
}

// Of returns the pseudonym of an account, if it was erased.
func (n *Names) Of(userID string) (pseudonym string, erased bool) {
	if userID == "" || !n.any.Load() {
		return "", false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	given, erased := n.of[sha256.Sum256([]byte(userID))]
	return given.pseudonym, erased
}
