package stores

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent/internal/panics"
	"github.com/authagent-go/authagent/internal/pseudonyms"
)

// An Eraser is a store, or something with stores, that can delete all that it has of an account.
// RelyingParty.EraseUser of package authagent calls it. These may be one: a [UserStore] that is an
// [AgentLinker], a [ProfileStore], a [RevocationStore], a store of tokens or sessions, an
// authagent.LinkPolicy, and a Scenario, which asks those that it is made of. Others are named in
// Config.Erasers. Receipts and exports call one of these what its method Name() string returns, if it
// has one, and otherwise by its type, as in "shop.Orders".
type Eraser interface {
	// EraseUser deletes what there is of e.UserID, and tells e what it has deleted and what it
	// could not. If there is nothing, it returns nil. After an error, another call deletes what is
	// left. It refuses an empty UserID, which stands for no account.
	EraseUser(ctx context.Context, e *Erasure) error
}

// An Erasure is one call of EraseUser. Make it with [NewErasure]. It is not safe for concurrent use.
type Erasure struct {
	UserID    string
	HumanID   string // who wants it, for the audit trail; empty for the site itself, and Pseudonym for the account's holder
	Pseudonym string // what events have in place of UserID from then on

	receipt Receipt
	within  int // the part of the receipt that is being written, from 1
}

// A Receipt says what has become of all that was kept of an account. Unless an error has it, the
// account's ID is not in it, so a site can keep it. In JSON it has the names below.
type Receipt struct {
	Pseudonym string    `json:"pseudonym"` // of the account, in the events that stay
	At        time.Time `json:"at"`
	Stores    []Erased  `json:"stores"` // in the order in which they were asked
}

// Erased is what one store has done.
type Erased struct {
	Store string           `json:"store"`           // such as "LinkPolicy", "Config.Tokens.Store" or "audit trail"
	Rows  map[string]int64 `json:"rows,omitempty"`  // how many were deleted of what; of "events", how many were changed
	Left  []Left           `json:"left,omitempty"`  // what it still has
	Error string           `json:"error,omitempty"` // why it did not do all that it can
}

// Left is something that was not erased.
type Left struct {
	What  string    `json:"what"`
	Why   string    `json:"why"`
	Until time.Time `json:"until,omitzero"` // when it is gone; zero if it stays, or nobody knows
}

var errNoUser = errors.New("the user ID is empty")

// NewErasure returns the erasure of an account, with a random pseudonym. humanID is who wants it, and
// empty for the site itself. It refuses an empty userID.
func NewErasure(humanID, userID string) (*Erasure, error) {
	if userID == "" {
		return nil, errNoUser
	}
	e := &Erasure{UserID: userID, HumanID: humanID, Pseudonym: pseudonyms.New()}
	if humanID == userID {
		e.HumanID = e.Pseudonym
	}
	return e, nil
}

// Receipt returns what was done so far.
func (e *Erasure) Receipt() Receipt {
	r := e.receipt
	r.Pseudonym, r.At = e.Pseudonym, time.Now().UTC()
	r.Stores = slices.DeleteFunc(slices.Clone(r.Stores), func(s Erased) bool { // such as of one that has others do it
		return s.Rows == nil && s.Left == nil && s.Error == ""
	})
	return r
}

// In calls erase, and puts down what it tells e under the name of a store. It returns its error. If erase panics, that
// is an error too, which names the type of the value alone.
func (e *Erasure) In(store string, erase func() error) error {
	before := e.within
	defer func() { e.within = before }()
	e.receipt.Stores = append(e.receipt.Stores, Erased{Store: store})
	e.within = len(e.receipt.Stores)
	err := panics.Catch(erase)
	if caught, is := err.(*panics.Error); is {
		err = panicked{caught}
	}
	if err != nil && e.within == len(e.receipt.Stores) { // or one within has said it
		e.receipt.Stores[e.within-1].Error = err.Error()
	}
	return err
}

// A panicked is a panic without its stack, which is in what it wraps.
type panicked struct{ caught *panics.Error }

func (p panicked) Error() string { return fmt.Sprintf("panic: %T", p.caught.Value) }
func (p panicked) Unwrap() error { return p.caught }

// Count says how many rows of something were deleted, or of "events" changed. Several calls add up.
func (e *Erasure) Count(what string, rows int64) {
	s := e.store()
	if s.Rows == nil {
		s.Rows = make(map[string]int64)
	}
	s.Rows[what] += rows
}

// Leave says that something was not erased, why, and when it is gone; a zero until says that it stays,
// or that nobody knows.
func (e *Erasure) Leave(what, why string, until time.Time) {
	s := e.store()
	s.Left = append(s.Left, Left{What: what, Why: why, Until: until.UTC()})
}

// store returns the part that is being written.
func (e *Erasure) store() *Erased {
	if e.within == 0 {
		e.receipt.Stores = append(e.receipt.Stores, Erased{})
		e.within = len(e.receipt.Stores)
	}
	return &e.receipt.Stores[e.within-1]
}
