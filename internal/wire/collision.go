package wire

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// ErrInactive says that introspection calls a token inactive.
var ErrInactive = errors.New("token is not active")

// apart is a little more than the second in which the published server gives
// the same token twice.
const apart = 1100 * time.Millisecond

// Confirm calls ask with a token that was issued a moment ago, and once more
// with a refreshed one if the server refuses the first.
//
// The published server makes the tokens of two sign-ins of one agent within one
// second equal, byte for byte, and then refuses them both until one of them is
// refreshed in a later second. So those in this process that hold the same token
// refresh it one after another, each in a second of its own, and those whose turn
// does not come within Timeout are refused. Confirm returns the token that is in
// use in the end.
func (s *Server) Confirm(ctx context.Context, t *Token, ask func(*Token) error) (*Token, error) {
	issued := time.Now()
	err := ask(t)
	if err == nil || !refused(err) || t.Refresh == "" {
		return t, err
	}
	var fresh *Token
	err = s.Apart(ctx, t.Access, issued, func() (err error) {
		fresh, err = s.Refresh(ctx, t.Refresh)
		return err
	})
	if err != nil {
		return t, err
	}
	fresh.ID = t.ID
	if !fresh.ScopeSaid {
		fresh.Scope, fresh.ScopeSaid = t.Scope, t.ScopeSaid
	}
	return fresh, ask(fresh)
}

// Apart calls f, which refreshes the tokens that this access token belongs to,
// in a second of its own: after the one in which the token was issued, and one
// after another for those in this process that hold the same token.
func (s *Server) Apart(ctx context.Context, access string, issued time.Time, f func() error) error {
	turn, done := s.collisions.join(access, issued)
	defer done()
	if err := turn.wait(ctx); err != nil {
		return err
	}
	defer turn.pass()
	return f()
}

func refused(err error) bool {
	var e *Error
	return errors.Is(err, ErrInactive) || errors.As(err, &e) && e.Kind == Refused && e.Status == http.StatusUnauthorized
}

// collisions are the tokens that more than one sign-in may hold at the moment.
type collisions struct {
	mu     sync.Mutex
	tokens map[string]*collision
}

// collision is what the holders of one token share.
type collision struct {
	holders int
	turn    chan struct{} // holds one element, which whoever refreshes takes
	last    time.Time     // when the server last issued something; read and written in turn
}

func (c *collisions) join(token string, issued time.Time) (turn *collision, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil {
		c.tokens = make(map[string]*collision)
	}
	turn = c.tokens[token]
	if turn == nil {
		turn = &collision{turn: make(chan struct{}, 1), last: issued}
		turn.turn <- struct{}{}
		c.tokens[token] = turn
	}
	turn.holders++
	return turn, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if turn.holders--; turn.holders == 0 {
			delete(c.tokens, token)
		}
	}
}

// wait returns when it is the caller's turn and a later second has begun.
func (c *collision) wait(ctx context.Context) error {
	const step = "refresh request"
	patience := time.NewTimer(Timeout)
	defer patience.Stop()
	select {
	case <-c.turn:
	case <-patience.C:
		return &Error{Kind: Overloaded, Step: step, Err: errors.New("too many sign-ins hold the same token")}
	case <-ctx.Done():
		return &Error{Kind: Unavailable, Step: step, Err: ctx.Err()}
	}
	timer := time.NewTimer(time.Until(c.last.Add(apart)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		c.turn <- struct{}{}
		return &Error{Kind: Unavailable, Step: step, Err: ctx.Err()}
	}
}

// pass ends the caller's turn.
func (c *collision) pass() {
	c.last = time.Now()
	c.turn <- struct{}{}
}
