package tokens

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/wire"
)

const (
	// doubtFor is how far two answers that a session is not active must be apart to
	// end it, at least.
	doubtFor = 30 * time.Second

	// lookTimeout bounds one confirmation.
	lookTimeout = flightTimeout + 3*wire.Timeout

	// skew is how far the clocks of site and server may be apart.
	skew = 5 * time.Minute

	// maxChecks bounds the memory they take, at a few hundred bytes each.
	maxChecks = 1 << 16
)

// A check is what an instance knows of the confirmations of one session.
type check struct {
	next  time.Time   // when the session is due
	timer *time.Timer // of the next look, where it does not wait for a request
	busy  bool        // a look is under way
	doubt bool        // the server has called the session inactive, and the next look decides
	since time.Time   // when the server began to be of no help; zero for not
	tries int         // looks since then
}

func (c *check) stop() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// Due reports whether Check is to be called for a session that started then. It
// asks nobody.
func (k *Keeper[S]) Due(sessionID string, started time.Time) bool {
	if k == nil {
		return false
	}
	now := time.Now()
	if k.Every <= 0 || now.Before(started.Add(k.Every)) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.checks[sessionID]
	return c == nil || c.timer == nil && !c.busy && !now.Before(c.next)
}

// Check confirms a session at the server, in the background.
func (k *Keeper[S]) Check(s Session[S]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.check(s.ID); c != nil && c.timer == nil {
		k.begin(s, c)
	}
}

// suspect has a session looked at again, as its tokens were refused.
func (k *Keeper[S]) suspect(s Session[S]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.check(s.ID); c != nil && !c.busy && c.timer == nil {
		c.doubt = true
		k.after(s, c, doubtFor+rand.N(doubtFor/4))
	}
}

// check returns a session's check, or nil if there is no room. The lock is held.
func (k *Keeper[S]) check(id string) *check {
	c := k.checks[id]
	if c != nil {
		return c
	}
	if now := time.Now(); now.After(k.sweep) {
		for id, c := range k.checks {
			if !c.busy && c.timer == nil && now.After(c.next.Add(k.Every)) {
				delete(k.checks, id)
			}
		}
		k.sweep = now.Add(time.Minute)
	}
	if len(k.checks) >= maxChecks {
		return nil
	}
	if k.checks == nil {
		k.checks = make(map[string]*check)
	}
	c = &check{}
	k.checks[id] = c
	return c
}

// forget drops what is known of a session that has ended.
func (k *Keeper[S]) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.checks[id]; c != nil {
		c.stop()
		delete(k.checks, id)
	}
}

// begin starts a look, if there is room and none is under way. The lock is held.
func (k *Keeper[S]) begin(s Session[S], c *check) bool {
	if c.busy {
		return false
	}
	c.busy = k.background(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		var seen sight
		err := k.protect("confirm session", func() (err error) {
			seen, err = k.look(ctx, s)
			return err
		})
		if k.Hooks.Confirmed != nil {
			k.Hooks.Confirmed(err)
		}
		k.settle(ctx, s, c, seen, err)
	})
	return c.busy
}

// after has the next look begin without a request. The lock is held.
func (k *Keeper[S]) after(s Session[S], c *check, d time.Duration) {
	if time.Now().Add(d).After(s.Expires) {
		d = time.Until(s.Expires) // and finds that it has ended
	}
	c.timer = time.AfterFunc(d, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if c.timer == nil { // it was stopped at this moment
			return
		}
		c.timer = nil
		if !k.begin(s, c) && !k.group.isClosed() {
			k.after(s, c, jitter(5*time.Second))
		}
	})
}

// A sight is what a look found out.
type sight struct {
	raw       []byte    // the record when the server was asked
	confirmed time.Time // when the session was confirmed last
}

// look asks the server once.
func (k *Keeper[S]) look(ctx context.Context, s Session[S]) (seen sight, err error) {
	if alive, err := k.Hooks.Alive(ctx, s); err != nil {
		return seen, err
	} else if !alive {
		k.release(ctx, s)
		return seen, ErrEnded
	}
	raw, r, err := k.load(ctx, s)
	if seen.raw = raw; err != nil {
		return seen, err
	}
	now := time.Now()
	if r.Refused.IsZero() && now.Before(r.Confirmed.Add(k.Every)) { // by another instance
		seen.confirmed = r.Confirmed
		return seen, nil
	}
	if r.Refresh == "" && !r.live(now.Add(skew)) {
		return seen, ErrNone // it ends as it was to end, and there is nothing else to ask about
	}
	if !r.Refused.IsZero() || r.due(now, "") {
		if r, err = k.renew(ctx, s, &seen, "", r); err != nil {
			return seen, err
		}
	}
	err = k.ask(ctx, s, r)
	if errors.Is(err, wire.ErrInactive) && r.Refresh != "" {
		// The server is not taken at its word before the token was refreshed. The
		// published one says so of a token that it has issued twice, which a refresh
		// mends, and when its database is down, which then shows.
		if r, err = k.renew(ctx, s, &seen, r.Access, r); err == nil {
			err = k.ask(ctx, s, r)
		}
	}
	if err != nil {
		return seen, err
	}
	seen.confirmed = now
	return seen, k.confirmed(ctx, s, now)
}

// renew refreshes the tokens for a look. Where that fails for the time being, a
// token that nobody has refused is good for the moment.
func (k *Keeper[S]) renew(ctx context.Context, s Session[S], seen *sight, refused string, r *record) (*record, error) {
	t, err := k.refresh(ctx, s, refused, true)
	var pause *Pause
	switch {
	case err == nil, errors.Is(err, ErrNone), refused == "" && t.Access != "" && errors.As(err, &pause):
	default:
		return r, err
	}
	raw, r, failed := k.load(ctx, s)
	if failed != nil {
		return r, failed
	}
	seen.raw = raw
	if errors.Is(err, ErrNone) {
		return r, wire.ErrInactive
	}
	return r, nil
}

// ask has the server say what it thinks of the access token.
func (k *Keeper[S]) ask(ctx context.Context, s Session[S], r *record) error {
	m, err := k.Server.Get(ctx)
	if err != nil || m.Introspection == "" { // without it, the refreshes have to do
		return err
	}
	return k.Identity.Confirm(ctx, k.Server, r.Access, identity.Identity{Agent: s.Agent, Subject: r.Subject})
}

// confirmed notes it for all instances.
func (k *Keeper[S]) confirmed(ctx context.Context, s Session[S], at time.Time) error {
	for {
		raw, r, err := k.load(ctx, s)
		if err != nil {
			return err
		}
		r.Confirmed = at
		if _, err = k.swap(ctx, s, raw, r); !errors.Is(err, k.Conflict) || ctx.Err() != nil {
			return err
		}
	}
}

// settle draws the conclusion from a look.
func (k *Keeper[S]) settle(ctx context.Context, s Session[S], c *check, seen sight, err error) {
	if k.ends(c, err) {
		if failed := k.protect("end session", func() error { return k.finish(ctx, s, seen.raw, err) }); failed == nil {
			err = ErrEnded
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c.busy = false
	now := time.Now()
	switch {
	case k.checks[s.ID] != c || k.group.isClosed():
	case err == nil:
		*c = check{next: seen.confirmed.Add(k.Every)}
		if c.next.After(now.Add(k.Every)) { // by another instance's clock
			c.next = now.Add(k.Every)
		}
	case errors.Is(err, ErrNone): // no tokens are kept, so that there is nothing to ask about
		*c = check{next: now.Add(k.Every)}
	case errors.Is(err, ErrEnded):
		c.stop()
		delete(k.checks, s.ID)
	case errors.Is(err, wire.ErrInactive):
		c.doubt = true
		k.after(s, c, doubtFor+rand.N(doubtFor/4))
	default:
		k.wait(s, c, now)
	}
}

// ends reports whether a session that got this answer is at its end.
func (k *Keeper[S]) ends(c *check, err error) bool {
	switch {
	case err == nil, errors.Is(err, ErrNone), errors.Is(err, ErrEnded):
		return false
	case errors.Is(err, wire.ErrInactive):
		return c.doubt
	case errors.Is(err, identity.ErrMismatch):
		return true
	}
	return k.Grace > 0 && !c.since.IsZero() && time.Since(c.since) >= k.Grace
}

// finish ends a session, unless its record has changed since the server was asked:
// then another instance is about it, too, and there will be another look. Of
// several instances that find out at once, so one ends it.
func (k *Keeper[S]) finish(ctx context.Context, s Session[S], raw []byte, why error) error {
	if alive, err := k.Hooks.Alive(ctx, s); err != nil || !alive {
		return err
	}
	if !errors.Is(why, ErrAltered) {
		_, r, err := k.load(ctx, s)
		if err == nil {
			_, err = k.swap(ctx, s, raw, r)
		}
		if err != nil {
			return err
		}
	}
	if errors.Is(why, wire.ErrInactive) {
		return k.end(ctx, s, why)
	}
	if err := k.Hooks.End(ctx, s, why); err != nil {
		return err
	}
	k.release(ctx, s)
	return nil
}

// wait sets the next look for a session of which the server, or the store, said
// nothing. The lock is held.
func (k *Keeper[S]) wait(s Session[S], c *check, now time.Time) {
	if c.since.IsZero() {
		c.since = now
	}
	d := jitter(min(time.Minute<<min(c.tries, 10), k.Every))
	c.tries++
	if left := c.since.Add(k.Grace).Sub(now); k.Grace > 0 && left < d {
		d = max(left, time.Second)
	}
	k.after(s, c, d)
}
