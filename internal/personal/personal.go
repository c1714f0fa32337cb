// Package personal takes out of a site what is kept of an account: it has all stores erase it, or write
// it down.
package personal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/accounts"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/panics"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/internal/trail"
	"github.com/authagent-go/authagent/stores"
)

// A Site is whose data it is. S is authagent.Scenario.
type Site[S any] struct {
	Scenario S               // asks the stores that it is made of
	Tokens   any             // those that are kept; nil if none are
	Sessions any             // the store of sessions; nil if they are in cookies alone
	Marks    any             // the store of what was ended
	Erasers  []stores.Eraser // of Config
	Audited  bool            // events go to a function of the site
	Lifetime time.Duration   // of sessions
	Trail    *trail.Trail
	Panics   failure.Panics
	Deeds    func(context.Context) error                    // waits until the deeds are on record that have ended
	End      func(ctx context.Context, userID string) error // ends the sessions of an account
	EndAgent func(context.Context, audit.Agent) error       // ends those of an agent
}

// The names of those that are asked, in the document and the receipt.
const (
	nameTokens   = "Config.Tokens.Store"
	nameSessions = "Config.Session"
	nameMarks    = "Config.Revocations"
	nameAudit    = "Config.Audit"
)

// others are Config.Erasers.
func (s *Site[S]) others() (parts accounts.Parts) {
	for _, eraser := range s.Erasers {
		parts = append(parts, accounts.Part{Name: nameOf(eraser), Is: eraser, Keeps: true})
	}
	return parts
}

// nameOf is what a store is called for people: what it says itself, or the name of its type.
func nameOf(eraser stores.Eraser) string {
	if named, ok := eraser.(interface{ Name() string }); ok {
		if name := named.Name(); name != "" {
			return name
		}
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", eraser), "*")
}

// errIncomplete is all that an event says of what went wrong: the error may name the account.
var errIncomplete = errors.New("not all was erased; the receipt says what was")

// Erase erases what is kept of an account. It goes on after an error, and returns all errors.
func (s *Site[S]) Erase(ctx context.Context, humanID, userID string) (stores.Receipt, error) {
	const step = "erase user"
	e, err := stores.NewErasure(humanID, userID)
	if err != nil {
		return stores.Receipt{}, fmt.Errorf("authagent: %s: %w", step, err)
	}
	s.Trail.Rename(userID, e.Pseudonym) // from here on, no event of this process has the ID
	var errs []error
	do := func(erase func() error) {
		errs = append(errs, s.protect(step, erase))
	}
	ask := func(parts ...accounts.Part) {
		for _, part := range parts {
			do(func() error { return accounts.Parts{part}.EraseUser(ctx, e) })
		}
	}
	end := func() error { return s.End(ctx, userID) }
	do(func() error { return s.delivered(ctx) }) // what was on its way before, and what owners see of it
	do(end)                                      // so that nothing new comes while the stores erase
	do(func() error {
		eraser, ok := scenario.As[stores.Eraser](s.Scenario)
		if !ok {
			leave(e, "Scenario", "what it keeps", "it is no Eraser", time.Time{})
			return fmt.Errorf("the scenario is no Eraser: %w", errors.ErrUnsupported)
		}
		return e.In("Scenario", func() error { return eraser.EraseUser(ctx, e) })
	})
	do(end) // what has begun meanwhile
	ask(accounts.Part{Name: nameTokens, Is: s.Tokens})
	s.eraseSessions(e, ask)
	ask(accounts.Part{Name: nameMarks, Is: s.Marks})
	if _, can := s.Marks.(stores.Eraser); !can {
		leave(e, nameMarks, "that the sessions were ended", "it is kept under the account's ID as long as a session could go on", time.Now().Add(s.Lifetime))
	}
	do(func() error { return s.delivered(ctx) })
	ask(s.others()...)
	if s.Audited && !counts(e.Receipt(), "events") {
		leave(e, nameAudit, "events", "no Eraser in Config.Erasers has them; sqlstore.Store.Trail is one", time.Time{})
	}
	err = failure.OfSite(step, errors.Join(errs...))
	var told *failure.Failure
	if err != nil {
		told = failure.As(failure.OfStore(step, errIncomplete))
	}
	s.Trail.Record(ctx, audit.Event{Name: audit.UserErased, HumanID: e.HumanID, UserID: e.Pseudonym}, told)
	return e.Receipt(), err
}

// Forget frees an agent from the account that it acts in. It goes on after an error, and returns all errors.
func (s *Site[S]) Forget(ctx context.Context, humanID string, agent audit.Agent) error {
	const step = "forget"
	s.Trail.Flush() // so that Audit does not hear of the agent a minute from now
	err := fmt.Errorf("the scenario is no Forgetter: %w", errors.ErrUnsupported)
	if f, ok := scenario.As[stores.Forgetter](s.Scenario); ok {
		err = s.Panics.Protect(step, func() error { return f.ForgetAgent(ctx, humanID, agent) })
	}
	err = failure.OfSite(step, errors.Join(err, s.EndAgent(ctx, agent))) // after it, so that none begins in between
	s.Trail.Record(ctx, audit.Event{Name: audit.AgentForgotten, HumanID: humanID, Agent: agent}, failure.As(failure.OfAgent(agent, step, err)))
	return err
}

// enteredFor is how long it takes at most to erase what a sign-in has left.
const enteredFor = 10 * time.Second

// Entered returns err, which is what has come of an agent's entering an account. If the account was erased in this
// process, before or meanwhile, what the sign-in has written after that is erased too, and the account is gone.
func (s *Site[S]) Entered(ctx context.Context, userID string, err error) error {
	return s.Trail.Erased().Written(userID, err, func(pseudonym string) error {
		eraser, ok := scenario.As[stores.Eraser](s.Scenario)
		if !ok {
			return nil // EraseUser has said so
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enteredFor)
		defer cancel()
		return s.protect("erase user", func() error {
			return eraser.EraseUser(ctx, &stores.Erasure{UserID: userID, Pseudonym: pseudonym})
		})
	})
}

// protect turns a panic of erase into an error, and logs it. One that the receipt has is an error already.
func (s *Site[S]) protect(step string, erase func() error) error {
	err := s.Panics.Protect(step, erase)
	var caught *panics.Error
	if errors.As(err, &caught) {
		s.Panics.Log(step, caught.Value, caught.Stack)
	}
	return err
}

// eraseSessions has the store of sessions erase, if it can. Otherwise they stay where they are, sealed,
// and have ended.
func (s *Site[S]) eraseSessions(e *stores.Erasure, ask func(...accounts.Part)) {
	if _, can := s.Sessions.(stores.Eraser); can {
		ask(accounts.Part{Name: nameSessions, Is: s.Sessions})
		return
	}
	why := "they have ended, and are sealed, so nobody can find them by their account"
	if s.Sessions == nil {
		why = "they have ended, and are sealed, in the cookies of agents"
	}
	leave(e, nameSessions, "sessions", why, time.Now().Add(s.Lifetime))
}

func leave(e *stores.Erasure, store, what, why string, until time.Time) {
	_ = e.In(store, func() error { e.Leave(what, why, until); return nil })
}

// counts reports whether some store has said how many rows there were of something.
func counts(r stores.Receipt, what string) bool {
	for _, s := range r.Stores {
		if _, has := s.Rows[what]; has {
			return true
		}
	}
	return false
}

// Export writes what is kept of an account. It stops at the first error, and the document is then not
// complete, nor valid JSON.
func (s *Site[S]) Export(ctx context.Context, userID string, w io.Writer) error {
	const step = "export user"
	x, err := stores.NewExport(w, userID)
	if err != nil {
		return fmt.Errorf("authagent: %s: %w", step, err)
	}
	if err := s.delivered(ctx); err != nil {
		return failure.OfSite(step, err)
	}
	err = s.Panics.Protect(step, func() error { return s.export(ctx, x) })
	if err == nil && s.Audited && !x.Has("events") {
		err = x.In(nameAudit, func() error {
			x.Missing("no Exporter in Config.Erasers has its events; sqlstore.Store.Trail is one")
			return nil
		})
	}
	if err == nil {
		err = x.Close()
	}
	return failure.OfSite(step, err)
}

func (s *Site[S]) export(ctx context.Context, x *stores.Export) error {
	if exporter, ok := scenario.As[stores.Exporter](s.Scenario); ok {
		if err := exporter.ExportUser(ctx, x); err != nil {
			return err
		}
	} else {
		_ = x.In("Scenario", func() error { x.Missing("it is no Exporter"); return nil })
	}
	parts := accounts.Parts{
		{Name: nameTokens, Is: s.Tokens}, {Name: nameSessions, Is: s.Sessions}, {Name: nameMarks, Is: s.Marks},
	}
	if _, can := s.Sessions.(stores.Exporter); !can {
		parts[1].Is = missing("sessions are sealed, and are not exported")
	}
	if _, can := s.Marks.(stores.Exporter); !can {
		parts[2].Is = missing("it is no Exporter; it knows at most that sessions of the account were ended, and until when")
	}
	return append(parts, s.others()...).ExportUser(ctx, x)
}

// missing is why something is not in an export.
type missing string

func (m missing) ExportUser(_ context.Context, x *stores.Export) error {
	x.Missing(string(m))
	return nil
}

// deliveredFor is how long it waits for the function that gets the events.
const deliveredFor = 10 * time.Second

// delivered waits until all events so far are where they belong.
func (s *Site[S]) delivered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deliveredFor)
	defer cancel()
	if err := s.Deeds(ctx); err != nil {
		return err
	}
	return s.Trail.Wait(ctx)
}
