// Package pseudonyms keeps the ID of an account that was erased out of events that come later: of
// requests that were under way, and of sessions that end on their next request.
package pseudonyms

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/audit"
)

const (
	prefix = "erased_"

	// random is how many letters and digits follow it.
	random = 26

	// keptFor is how long an account's pseudonym is known: longer than a session lasts.
	keptFor = 31 * 24 * time.Hour
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
	any atomic.Bool // there is one: most processes have none, and each event asks

	mu sync.Mutex
	of map[[sha256.Size]byte]name // by a digest, so that the ID is not kept
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
	for key, given := range n.of {
		if now.After(given.until) {
			delete(n.of, key)
		}
	}
	if n.of == nil {
		n.of = make(map[[sha256.Size]byte]name)
	}
	n.of[sha256.Sum256([]byte(userID))] = name{pseudonym, now.Add(keptFor)}
	n.any.Store(true)
}

// In returns e as it may be kept: without the ID of an account that was erased, and without what else
// could name its holder.
func (n *Names) In(e audit.Event) audit.Event {
	if !n.any.Load() {
		return e
	}
	user, isUser := n.pseudonym(e.UserID)
	human, isHuman := n.pseudonym(e.HumanID)
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

func (n *Names) pseudonym(userID string) (pseudonym string, has bool) {
	if userID == "" {
		return "", false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	given, has := n.of[sha256.Sum256([]byte(userID))]
	return given.pseudonym, has
}
