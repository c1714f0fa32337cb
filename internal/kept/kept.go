// Package kept is what a relying party does with the tokens of its sessions. Package tokens
// keeps and refreshes them; here are the sessions, events and errors that come of it.
package kept

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/tokens"
	"github.com/authagent-go/authagent/internal/trail"
	"github.com/authagent-go/authagent/internal/wire"
	kept "github.com/authagent-go/authagent/tokens"
)

// Tokens are those of the sessions of one relying party. Make them with New. Nil Tokens are
// of a site that keeps none: there is nothing to do, and nothing to be had.
type Tokens[S any] struct {
	keeper *tokens.Keeper[S]
	store  tokens.Guarded
	site   Site[S]
}

// A Site is whose sessions they are. All of it is required but the Meter.
type Site[S any] struct {
	Trail  *trail.Trail
	Panics failure.Panics
	Meter  *meter.Meter // nil for none

	// Session returns a session as its tokens know it, in a copy of its own.
	Session func(S) tokens.Session[S]

	// Event returns the event with the session filled in.
	Event func(audit.Event, S) audit.Event

	// Holds reports whether a session may go on; the agent's next request may be far off.
	Holds func(context.Context, S) (bool, error)

	// Owner returns what is known of a session whose tokens are kept.
	Owner func(kept.Kept) S

	// End ends a session that the server does not confirm.
	End func(context.Context, S) error
}

// New returns the tokens that keeper keeps, whose store and hooks it completes.
func New[S any](keeper *tokens.Keeper[S], site Site[S]) *Tokens[S] {
	t := &Tokens[S]{keeper: keeper, site: site}
	t.store = tokens.Guarded{Store: keeper.Store, Protect: t.guard}
	keeper.Store = t.store
	keeper.Hooks = tokens.Hooks[S]{
		Alive: t.alive, End: t.endUnconfirmed, Failed: t.refreshFailed, Revoked: t.revoked, Panicked: site.Panics.Log,
		Refreshed: t.refreshed, Confirmed: t.confirmed,
	}
	return t
}

// SaveWhile keeps the tokens of a session while start starts it: each may wait for a database. The server speaks of subject.
// After an error there are no session and no tokens; undo takes back what start has done. It keeps none of an account that
// was erased, also meanwhile: nobody would revoke them.
func (t *Tokens[S]) SaveWhile(ctx context.Context, s S, token *wire.Token, subject string, start func() error, undo func(context.Context) error) error {
	if t == nil {
		return start()
	}
	session := t.site.Session(s) // not later: start may change s
	saved := make(chan error, 1)
	go func() {
		saved <- t.site.Panics.Protect("save tokens", func() error { return t.save(ctx, session, token, subject) })
	}()
	err := start()
	unsaved := <-saved
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout) // the client may have gone, or the sign-in's time be over
	defer cancel()
	switch {
	case err == nil && unsaved != nil:
		return errors.Join(unsaved, t.site.Panics.Protect("end session", func() error { return undo(ctx) }))
	case err != nil && unsaved == nil:
		return errors.Join(err, t.store.DeleteTokens(ctx, session.ID)) // the caller has the server revoke them
	}
	return err
}

// undoTimeout is how long it takes at most to take back half a sign-in.
const undoTimeout = 3 * time.Second

func (t *Tokens[S]) save(ctx context.Context, session tokens.Session[S], token *wire.Token, subject string) error {
	return t.site.Trail.Erased().Write(session.UserID, func() error {
		return t.keeper.Save(ctx, session, token, subject)
	}, func(string) error {
		live, err := t.keeper.Erase(context.WithoutCancel(ctx), session)
		t.revoked(ctx, session, live)
		return err
	})
}

// Confirm confirms a session that is in use, in the background, if it is due.
func (t *Tokens[S]) Confirm(s S, id string, started time.Time) {
	if t != nil && t.keeper.Due(id, started) {
		t.keeper.Check(t.site.Session(s))
	}
}

// Token returns the access token in use, or another one if that one was refused.
func (t *Tokens[S]) Token(ctx context.Context, s S, refused string) (*oauth2.Token, error) {
	if t == nil {
		return nil, failure.New(reasons.NoTokens, "use tokens", "Config.Tokens.Store is not set")
	}
	token, err := t.keeper.Token(ctx, t.site.Session(s), refused)
	if err != nil {
		return nil, failure.OfTokens("use tokens", err)
	}
	return &oauth2.Token{AccessToken: token.Access, TokenType: "Bearer", Expiry: token.Expires}, nil
}

// A Source is the oauth2.TokenSource of a session.
type Source[S any] struct {
	Tokens  *Tokens[S]
	Context context.Context // Token has none of its own
	Session S
}

// Token implements [oauth2.TokenSource].
func (s *Source[S]) Token() (*oauth2.Token, error) { return s.Tokens.Token(s.Context, s.Session, "") }

// Other is the Token of a [tokens.Transport].
func (s *Source[S]) Other(ctx context.Context, refused string) (*oauth2.Token, error) {
	return s.Tokens.Token(ctx, s.Session, refused)
}

// revokeTimeout is how long a logout waits for the server.
const revokeTimeout = 3 * time.Second

// Revoke has the server revoke the tokens of a session that has ended, if any are kept. The
// logout stands whatever comes of it.
func (t *Tokens[S]) Revoke(ctx context.Context, s S) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	session := t.site.Session(s)
	if err := t.keeper.Drop(ctx, session); !errors.Is(err, tokens.ErrNone) {
		t.revoked(ctx, session, err)
	}
}

// Release is Revoke in the background, for a session that no logout has ended.
func (t *Tokens[S]) Release(s S) {
	if t != nil {
		t.keeper.Release(t.site.Session(s))
	}
}

// Shutdown waits for what is under way, and starts nothing any more.
func (t *Tokens[S]) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.keeper.Shutdown(ctx)
}

func (t *Tokens[S]) alive(ctx context.Context, s tokens.Session[S]) (alive bool, err error) {
	err = t.site.Panics.Protect("check session", func() (err error) {
		alive, err = t.site.Holds(ctx, s.Of)
		return err
	})
	return alive, err
}

func (t *Tokens[S]) endUnconfirmed(ctx context.Context, s tokens.Session[S], why error) error {
	if err := t.site.Panics.Protect("end session", func() error { return t.site.End(ctx, s.Of) }); err != nil {
		return err
	}
	err := failure.OfTokens("confirm session", why)
	if errors.Is(why, identity.ErrMismatch) {
		t.record(ctx, audit.Event{Name: audit.SubjectMismatch}, s, err)
	}
	t.record(ctx, audit.Event{Name: audit.SessionEnded}, s, err)
	return nil
}

func (t *Tokens[S]) refreshFailed(ctx context.Context, s tokens.Session[S], why error) {
	t.record(ctx, audit.Event{Name: audit.RefreshFailed}, s, failure.OfTokens("refresh tokens", why))
}

func (t *Tokens[S]) revoked(ctx context.Context, s tokens.Session[S], err error) {
	event, outcome := audit.Event{Name: audit.TokensRevoked, Outcome: audit.Requested}, meter.OK
	if err != nil {
		event.Outcome, outcome = audit.StillLive, meter.Failed
	}
	t.site.Meter.Kept(meter.Revocation, outcome)
	t.record(ctx, event, s, failure.OfTokens("revoke tokens", err))
}

func (t *Tokens[S]) record(ctx context.Context, event audit.Event, s tokens.Session[S], err error) {
	t.site.Trail.Record(ctx, t.site.Event(event, s.Of), failure.As(err))
}
