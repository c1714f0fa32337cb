package tokens

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/wire"
)

const (
	// lease is how long a claim of another instance is waited for, by the own
	// clock. It is longer than a refresh takes, so that a claim that old is one of
	// an instance that is no more.
	lease = 20 * time.Second

	// refreshTimeout bounds a refresh from its claim to the answer.
	refreshTimeout = wire.Timeout + time.Second

	// saveTimeout bounds the attempts to save what a refresh gave. A save that
	// fails loses the tokens.
	saveTimeout = 5 * time.Second

	// flightTimeout bounds all of it: the wait, the server's metadata, the claim,
	// the refresh and the save.
	flightTimeout = lease + 40*time.Second
)

// A flight is a refresh that is under way. It belongs to none of those who wait
// for it: a refresh that is cut off costs the session its tokens.
type flight struct {
	done  chan struct{}
	token Token // this and err are set when done is closed
	err   error
}

// fly returns the flight of a session, and whether it is the caller's own.
func (k *Keeper[S]) fly(ctx context.Context, s Session[S], refused string, again bool) (f *flight, own bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.flights[s.ID]; f != nil {
		return f, false, nil
	}
	if !k.group.start() {
		return nil, false, ErrShutdown
	}
	if k.flights == nil {
		k.flights = make(map[string]*flight)
	}
	f = &flight{done: make(chan struct{})}
	k.flights[s.ID] = f
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
	go func() {
		defer k.group.done()
		defer cancel()
		r := &refresher[S]{Keeper: k, session: s, refused: refused, again: again}
		f.err = k.protect("refresh tokens", func() (err error) {
			f.token, err = r.run(ctx)
			return err
		})
		k.mu.Lock()
		delete(k.flights, s.ID)
		k.mu.Unlock()
		close(f.done)
	}()
	return f, true, nil
}

// A refresher is one flight's work.
type refresher[S any] struct {
	*Keeper[S]
	session Session[S]
	refused string // an access token that somebody refused
	again   bool   // to confirm the session: even with tokens that the server has refused, and however often
	sent    int    // refresh requests so far
}

// errMoved says that somebody else has changed the record, so that it is to be
// looked at anew.
var errMoved = errors.New("tokens: record has changed")

// maxSent bounds the refresh requests of one flight: after a refusal, there is one
// more with the tokens that somebody else has saved meanwhile.
const maxSent = 2

// run returns the token that is in use in the end. One that comes with an error
// is the old one, which has not expired.
func (f *refresher[S]) run(ctx context.Context) (Token, error) {
	var claim string
	var since time.Time
	for {
		raw, r, err := f.load(ctx, f.session)
		if err != nil {
			return Token{}, err
		}
		now := time.Now()
		var current Token
		if r.live(now) && r.Refused.IsZero() {
			current = r.token()
		}
		switch {
		case ctx.Err() != nil:
			return current, ctx.Err()
		case !r.Refused.IsZero() && !f.again:
			return Token{}, ErrNone
		case r.Refused.IsZero() && !r.due(now, f.refused) && (!f.again || r.Access != f.refused):
			return current, nil
		case f.sent == maxSent:
			return current, &Pause{Until: now}
		case r.Refresh == "" && current.Access == "":
			return Token{}, ErrNone
		case r.Refresh == "":
			return current, nil
		case now.Before(r.RetryAt):
			return current, &Pause{Until: r.RetryAt}
		case r.Claim != "" && r.Claim != claim:
			claim, since = r.Claim, now
			fallthrough
		case r.Claim != "" && now.Sub(since) < lease:
			if err := sleep(ctx, min(250*time.Millisecond, max(25*time.Millisecond, now.Sub(since)))); err != nil {
				return current, err
			}
			continue
		}
		t, err := f.apart(ctx, raw, r)
		if errors.Is(err, errMoved) {
			continue
		}
		if t.Access == "" {
			t = current
		}
		return t, err
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apart refreshes in a second of its own, see [wire.Server.Apart]. A token that was
// refused may be that of other sessions too, which will be here in a moment.
func (f *refresher[S]) apart(ctx context.Context, raw []byte, r *record) (t Token, err error) {
	issued := r.Issued
	if now := time.Now(); f.refused == r.Access || issued.After(now) { // by another instance's clock
		issued = now
	}
	flown := false
	err = f.Server.Apart(ctx, r.Access, issued, func() (err error) {
		flown = true
		t, err = f.attempt(ctx, raw, r)
		return err
	})
	if err != nil && !flown {
		err = &Pause{Until: time.Now(), Err: err}
	}
	return t, err
}

// attempt refreshes once.
func (f *refresher[S]) attempt(ctx context.Context, raw []byte, r *record) (Token, error) {
	// Up to the claim nothing is used up, so whatever else can fail comes first.
	m, err := f.Server.Get(ctx)
	if err == nil {
		err = f.Server.Prepare(ctx, m)
	}
	if err != nil {
		return Token{}, f.failed(ctx, raw, r, err)
	}
	if alive, err := f.Hooks.Alive(ctx, f.session); err != nil {
		return Token{}, err
	} else if !alive {
		f.release(ctx, f.session)
		return Token{}, ErrEnded
	}
	claimed := *r
	claimed.Claim = rand.Text()
	if raw, err = f.swap(ctx, f.session, raw, &claimed); err != nil {
		return Token{}, f.moved(err)
	}
	f.sent++
	limited, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	fresh, err := f.Server.Refresh(limited, r.Refresh)
	if f.Hooks.Refreshed != nil {
		f.Hooks.Refreshed(err)
	}
	var refusal *wire.Error
	switch {
	case err == nil:
		return f.succeeded(ctx, raw, r, fresh)
	case errors.As(err, &refusal) && refusal.Kind == wire.Refused && refusal.Code == "invalid_grant":
		return Token{}, f.rejected(ctx, r)
	}
	return Token{}, f.failed(ctx, raw, r, err)
}

// moved says what an error of the store means: where somebody else was faster,
// nothing is lost.
func (f *refresher[S]) moved(err error) error {
	if errors.Is(err, f.Conflict) {
		return errMoved
	}
	return err
}

// failed is what becomes of a refresh that failed for the time being: the server
// is down, busy, slow or, where it says invalid_client, most likely without its
// database. The tokens stay, and are tried again later.
func (f *refresher[S]) failed(ctx context.Context, raw []byte, r *record, why error) error {
	var w *wire.Error
	asked := time.Duration(0)
	if errors.As(why, &w) {
		asked = w.RetryAfter
	}
	next := *r
	next.Claim = ""
	next.Failures++
	next.RetryAt = time.Now().Add(max(asked, backoff(r.Failures)))
	if _, err := f.swap(ctx, f.session, raw, &next); errors.Is(err, f.Conflict) {
		return errMoved
	}
	if r.Failures == 0 {
		f.Hooks.Failed(ctx, f.session, why)
	}
	return &Pause{Until: next.RetryAt, Err: why}
}

// backoff is how long to wait after so many failures in a row: 10 s, 30 s, 90 s,
// and from then on two minutes, give or take a tenth.
func backoff(failures int) time.Duration {
	wait := 10 * time.Second
	for range min(failures, 3) {
		wait *= 3
	}
	return jitter(min(wait, 2*time.Minute))
}

func jitter(d time.Duration) time.Duration { return d - d/10 + mathrand.N(d/5+1) }

// rejected is what becomes of a refresh token that the server refuses. Somebody
// else may have used it, and saved what it gave; if not, it is of no use any more.
func (f *refresher[S]) rejected(ctx context.Context, r *record) error {
	raw, now, err := f.load(ctx, f.session)
	switch {
	case err != nil:
		return err
	case now.Refresh != r.Refresh:
		return errMoved
	}
	first := now.Refused.IsZero()
	if now.Claim = ""; first {
		now.Refused = time.Now()
	}
	if _, err := f.swap(ctx, f.session, raw, now); err != nil {
		return f.moved(err)
	}
	if !first {
		return ErrNone
	}
	f.Hooks.Failed(ctx, f.session, ErrNone)
	if f.Every > 0 {
		f.suspect(f.session)
		return ErrNone
	}
	if err := f.Store.DeleteTokens(ctx, f.session.ID); err != nil {
		return err
	}
	return ErrNone
}

// succeeded keeps what a refresh gave. Only then it is used.
func (f *refresher[S]) succeeded(ctx context.Context, raw []byte, r *record, t *wire.Token) (Token, error) {
	if err := f.Identity.Refreshed(r.Access, t, identity.Identity{Agent: f.session.Agent, Subject: r.Subject}); err != nil {
		f.withdraw(ctx, t)
		return Token{}, errors.Join(err, f.end(ctx, f.session, err))
	}
	if alive, err := f.Hooks.Alive(ctx, f.session); err == nil && !alive {
		f.withdraw(ctx, t)
		return Token{}, errors.Join(ErrEnded, f.Store.DeleteTokens(ctx, f.session.ID))
	}
	next := newRecord(t, r.Subject)
	next.Confirmed, next.Forced = r.Confirmed, r.Forced
	if now := time.Now(); r.RefreshAt.IsZero() || now.Before(r.RefreshAt) {
		next.Forced = now
	}
	if err := f.keep(ctx, raw, next, r.Refresh); err != nil {
		return Token{}, err
	}
	// Whoever ended the session before this moment may not have seen the new
	// tokens; whoever ends it from now on sees them.
	switch alive, err := f.Hooks.Alive(ctx, f.session); {
	case err != nil: // the tokens are kept, for when it is known again
		return Token{}, err
	case !alive:
		f.release(ctx, f.session)
		return Token{}, ErrEnded
	}
	return next.token(), nil
}

// withdraw has the server revoke tokens that must not be used.
func (f *refresher[S]) withdraw(ctx context.Context, t *wire.Token) {
	f.Hooks.Revoked(ctx, f.session, f.revoke(ctx, t.Access, t.Refresh))
}

// keep puts next in the place of the claim. It tries more than once, as the token
// that next replaces, used, is of no use any more.
func (f *refresher[S]) keep(ctx context.Context, claim []byte, next *record, used string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	sealed := []byte(f.Box.Seal(next.encode(), f.session.Name))
	old := claim
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		err := f.Store.SaveTokens(ctx, f.session.ID, old, sealed, f.session.Expires.Add(afterlife))
		if errors.Is(err, f.Conflict) {
			if old, err = f.taken(ctx, used); err == nil { // the claim was taken over
				continue
			}
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errMoved):
			return err
		case errors.Is(err, ErrNone): // a logout was faster
			f.withdraw(ctx, &wire.Token{Access: next.Access, Refresh: next.Refresh})
			return ErrEnded
		case sleep(ctx, wait) != nil:
			f.lost(next, err)
			return err
		}
	}
}

// taken finds out why there was a conflict. It returns the value to replace where
// the place is still to be had: somebody took an old claim over, and can have got
// nothing for a token that was used. Otherwise somebody else's tokens are in it,
// or these: a save may succeed and say that it has not.
func (f *refresher[S]) taken(ctx context.Context, used string) (old []byte, err error) {
	raw, r, err := f.load(ctx, f.session)
	if err != nil {
		return nil, err
	}
	if r.Refresh != used {
		return nil, errMoved
	}
	return raw, nil
}

// lost is what becomes of tokens that could not be saved.
func (f *refresher[S]) lost(next *record, why error) {
	ctx, cancel := context.WithTimeout(context.Background(), wire.Timeout)
	defer cancel()
	f.Hooks.Failed(ctx, f.session, why)
	f.withdraw(ctx, &wire.Token{Access: next.Access, Refresh: next.Refresh})
}
