// Package tokens keeps the tokens of sessions, refreshes them and asks the server
// whether it still stands by the sessions, for several instances of a site that
// share one store.
//
// A refresh token can be used once, and using it kills the access token that came
// with it. So an instance that wants to refresh first puts a claim into the
// record, which succeeds at one instance only (the store compares and replaces),
// and all others wait for what comes of it. Nobody's clock is compared with
// anybody else's: who waits does so by its own.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/panics"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/tokens"
)

var (
	// ErrNone says that a session has no tokens that could be used: none are
	// kept, or the server has refused them for good.
	ErrNone = errors.New("tokens: session has none")

	// ErrEnded says that the session has ended.
	ErrEnded = errors.New("tokens: session has ended")

	// ErrAltered says that the store gave a value that does not open as this session's.
	// It may have been altered, or be sealed with a key that this instance does not have
	// yet, so nothing is done about it but to refuse.
	ErrAltered = errors.New("tokens: stored value does not open")

	// ErrPanic says that something panicked. In a goroutine that would end the process.
	ErrPanic = errors.New("tokens: panic")

	// ErrShutdown says that no refresh is started any more.
	ErrShutdown = errors.New("tokens: shutting down")
)

// A Pause says that a refresh has failed for the time being, and is not tried
// again before its time.
type Pause struct {
	Until time.Time
	Err   error // what the last attempt came to; nil where another instance made it
}

func (p *Pause) Error() string {
	if p.Err == nil {
		return "tokens: refreshing failed, and is tried again later"
	}
	return p.Err.Error()
}

func (p *Pause) Unwrap() error { return p.Err }

// Store is tokens.Store.
type Store interface {
	SaveTokens(ctx context.Context, sessionID string, old, sealed []byte, expires time.Time) error
	LoadTokens(ctx context.Context, sessionID string) ([]byte, error)
	DeleteTokens(ctx context.Context, sessionID string) error
}

// A Session is whom tokens are kept for.
type Session[S any] struct {
	ID      string
	Agent   string    // the agent's ID at the server
	UserID  string    // the account for which it acts; empty for none
	Name    string    // what stored values are bound to
	Expires time.Time // when it ends in any case
	Of      S         // the session itself, for the hooks
}

// A Token is what the site may know of a token: a refresh token is not for it.
type Token struct {
	Access  string
	Expires time.Time // zero when not said
}

// Hooks are how the site learns of what happens and has its say. All are required.
type Hooks[S any] struct {
	// Alive reports whether a session has not been ended.
	Alive func(context.Context, Session[S]) (bool, error)

	// End ends a session, because the server does not stand by it any more.
	End func(context.Context, Session[S], error) error

	// Failed is called for the first of several refreshes in a row that fail for
	// the time being, for the first that fails for good (ErrNone), and for each
	// whose outcome was lost.
	Failed func(context.Context, Session[S], error)

	// Panicked is told of a panic in the background. It may be nil.
	Panicked func(step string, value any, stack []byte)

	// Revoked says how it went when the server was asked to revoke tokens.
	Revoked func(context.Context, Session[S], error)

	// Refreshed and Confirmed say what has come of each request to refresh tokens and of each look whether the
	// server stands by a session. They may be nil.
	Refreshed, Confirmed func(error)
}

// A Keeper keeps tokens. Its exported fields are set before its first use. It is
// safe for concurrent use. A nil Keeper has nothing due and nothing to shut down.
type Keeper[S any] struct {
	Store              Store
	NotFound, Conflict error // what the store returns
	Box                *seal.Box
	Server             *wire.Server
	Identity           *identity.Verifier
	Every              time.Duration // how often a session is confirmed at the server; never, if not positive
	Grace              time.Duration // how long a session may stay unconfirmed while the server does not answer; to its end, if zero
	Hooks              Hooks[S]

	group   group
	mu      sync.Mutex         // guards what follows
	flights map[string]*flight // refreshes under way, by session
	checks  map[string]*check  // sessions that were confirmed or are to be, see confirm.go
	running int                // what is under way in the background, flights left out
	sweep   time.Time          // when to look for checks to forget
}

// Save keeps the tokens of a session that starts.
func (k *Keeper[S]) Save(ctx context.Context, s Session[S], t *wire.Token, subject string) error {
	store, ok := k.Store.(interface {
		SaveUserTokens(ctx context.Context, k tokens.Kept, sealed []byte) error
	})
	if !ok {
		_, err := k.swap(ctx, s, nil, newRecord(t, subject))
		return err
	}
	sealed := []byte(k.Box.Seal(newRecord(t, subject).encode(), s.Name))
	return store.SaveUserTokens(ctx, tokens.Kept{SessionID: s.ID, UserID: s.UserID, AgentID: s.Agent, Expires: s.Expires.Add(afterlife)}, sealed)
}

// Token returns the session's access token, refreshed if it is due. If refused is
// the access token in use, somebody has refused it, and another is returned, if
// there can be one.
func (k *Keeper[S]) Token(ctx context.Context, s Session[S], refused string) (Token, error) {
	alive, err := k.Hooks.Alive(ctx, s)
	if err != nil {
		return Token{}, err
	}
	if !alive {
		return Token{}, ErrEnded
	}
	_, r, err := k.load(ctx, s)
	switch {
	case err != nil:
		return Token{}, err
	case r.Refused.IsZero() && !r.due(time.Now(), refused):
		return r.token(), nil
	}
	t, err := k.refresh(ctx, s, refused, false)
	var pause *Pause
	if t.Access != "" && refused == "" && errors.As(err, &pause) {
		return t, nil // it was early, and is good for the moment
	}
	return t, err
}

// refresh waits for the refresh of a session's tokens, which goes on when ctx
// ends. Of many calls at once, one refreshes and all get what it got.
func (k *Keeper[S]) refresh(ctx context.Context, s Session[S], refused string, again bool) (Token, error) {
	for {
		f, own, err := k.fly(ctx, s, refused, again)
		if err != nil {
			return Token{}, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}
		// A flight that was under way may have been about something else.
		if own || f.err != nil || f.token.Access != refused {
			return f.token, f.err
		}
	}
}

// dropped is the claim of whoever removes tokens for good.
const dropped = "dropped"

// Drop removes the tokens of a session that has ended, and asks the server to
// revoke them. Without tokens, or where somebody else is doing it, it returns ErrNone.
func (k *Keeper[S]) Drop(ctx context.Context, s Session[S]) error {
	r, err := k.take(ctx, s)
	if errors.Is(err, ErrNone) {
		return err
	}
	deleted := k.Store.DeleteTokens(ctx, s.ID)
	k.forget(s.ID)
	switch {
	case err != nil:
	case !r.Refused.IsZero():
		err = ErrNone // that is known to be live
	default:
		err = k.revoke(ctx, r.Access, r.Refresh)
	}
	return errors.Join(err, deleted)
}

// Erase is Drop for tokens that are to be gone: also those that somebody else has begun to drop. live is
// why the server has not revoked them; err says that they are still kept. What does not open may be
// another relying party's, so it stays, and err is ErrAltered.
func (k *Keeper[S]) Erase(ctx context.Context, s Session[S]) (live, err error) {
	r, err := k.take(ctx, s)
	if err != nil && !errors.Is(err, ErrNone) {
		return nil, err
	}
	err = k.Store.DeleteTokens(ctx, s.ID)
	k.forget(s.ID)
	if r != nil && r.Refused.IsZero() {
		live = k.revoke(ctx, r.Access, r.Refresh)
	}
	return live, err
}

// take returns the tokens that are in the store last: a refresh that is under way
// cannot put its own in their place any more.
func (k *Keeper[S]) take(ctx context.Context, s Session[S]) (*record, error) {
	for {
		raw, r, err := k.load(ctx, s)
		if err != nil {
			return nil, err
		}
		gone := *r
		gone.Claim = dropped
		_, err = k.swap(ctx, s, raw, &gone)
		if errors.Is(err, k.Conflict) && ctx.Err() == nil {
			continue
		}
		return r, nil // and if it was not saved: it is to be revoked all the same
	}
}

// revoke has the server revoke tokens, refresh token first: both die with it.
func (k *Keeper[S]) revoke(ctx context.Context, access, refresh string) error {
	if refresh != "" {
		return k.Server.Revoke(ctx, refresh, "refresh_token")
	}
	return k.Server.Revoke(ctx, access, "access_token")
}

// Release is Drop in the background, with its outcome for the hook. Where too
// much is under way it does nothing.
func (k *Keeper[S]) Release(s Session[S]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.background(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wire.Timeout)
		defer cancel()
		k.release(ctx, s)
	})
}

// background has f run, if there is room. The lock is held.
func (k *Keeper[S]) background(f func()) bool {
	if k.running >= maxRunning || !k.group.start() {
		return false
	}
	k.running++
	go func() {
		defer k.group.done()
		defer func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.running--
		}()
		k.protect("work in the background", func() error { f(); return nil })
	}()
	return true
}

// protect calls f, and turns a panic into an error.
func (k *Keeper[S]) protect(step string, f func() error) error {
	err := panics.Catch(f)
	caught, panicked := err.(*panics.Error)
	if !panicked {
		return err
	}
	if k.Hooks.Panicked != nil {
		k.Hooks.Panicked(step, caught.Value, caught.Stack)
	}
	return ErrPanic
}

// maxRunning bounds what is done in the background at once; who finds no place
// has another chance with the session's next request.
const maxRunning = 32

func (k *Keeper[S]) release(ctx context.Context, s Session[S]) {
	if err := k.Drop(ctx, s); !errors.Is(err, ErrNone) {
		k.Hooks.Revoked(ctx, s, err)
	}
}

// end ends a session whose tokens are of no use any more.
func (k *Keeper[S]) end(ctx context.Context, s Session[S], why error) error {
	if err := k.Hooks.End(ctx, s, why); err != nil {
		return err
	}
	k.forget(s.ID)
	return k.Store.DeleteTokens(ctx, s.ID)
}

// Shutdown starts nothing any more, and waits for what is under way: a refresh
// that is cut off costs the session its tokens.
func (k *Keeper[S]) Shutdown(ctx context.Context) error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	for _, c := range k.checks {
		c.stop()
	}
	k.mu.Unlock()
	if err := k.group.close(ctx); err != nil {
		return fmt.Errorf("wait for refreshes: %w", err)
	}
	return nil
}

// load returns what is kept of a session, as it is in the store and as a record.
func (k *Keeper[S]) load(ctx context.Context, s Session[S]) (raw []byte, r *record, err error) {
	raw, err = k.Store.LoadTokens(ctx, s.ID)
	if errors.Is(err, k.NotFound) {
		return nil, nil, ErrNone
	}
	if err != nil {
		return nil, nil, err
	}
	value, err := k.Box.Open(string(raw), s.Name)
	if err != nil {
		return nil, nil, ErrAltered
	}
	switch r, err = parseRecord(value); {
	case errors.Is(err, errVersion): // the instance that wrote it goes on with it
		return nil, nil, err
	case err != nil:
		return nil, nil, ErrAltered
	}
	if r.Claim == dropped {
		return nil, nil, ErrNone
	}
	return raw, r, nil
}

// swap puts r in the place of old and returns it as it is in the store.
func (k *Keeper[S]) swap(ctx context.Context, s Session[S], old []byte, r *record) ([]byte, error) {
	sealed := []byte(k.Box.Seal(r.encode(), s.Name))
	return sealed, k.Store.SaveTokens(ctx, s.ID, old, sealed, s.Expires.Add(afterlife))
}

// afterlife is how long tokens are kept after their session's end, so that they
// can be revoked when somebody comes with its cookie.
const afterlife = time.Hour
