package wire

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/authagent-go/authagent/internal/strictjson"
)

// ErrInactive says that introspection calls a token inactive.
var ErrInactive = errors.New("token is not active")

// apart is a little more than the second in which the published server gives
// the same token twice.
const apart = 1100 * time.Millisecond

// patience is how long a sign-in waits for its turn. About one a second gets it.
const patience = 20 * time.Second

// rounds bounds the refreshes of one sign-in.
const rounds = 3

// Confirm calls ask with a token that was issued a moment ago, and again with a
// refreshed one if the server refuses it.
//
// The published server makes the tokens of one agent that it issues within one
// second equal, byte for byte, and then refuses them all until each but one is
// refreshed in a later second, in which it issues no other. So those in this process
// refresh one after another, each in a second of its own, whatever second their own
// tokens are of: what one gets must not be what another has. Those whose turn does
// not come soon are refused. Confirm returns the token that is in use in the end.
func (s *Server) Confirm(ctx context.Context, t *Token, ask func(*Token) error) (*Token, error) {
	issued := time.Now()
	s.collisions.saw(t.Access, issued)
	err := ask(t)
	if err == nil || !refused(err) || t.Refresh == "" {
		return t, err
	}
	turn, done := s.collisions.join(t.Access, issued)
	defer done()
	for range rounds {
		var fresh *Token
		began := time.Now()
		failed := turn.apart(ctx, func() (err error) {
			began = time.Now()
			fresh, err = s.Refresh(ctx, t.Refresh)
			return err
		})
		if failed != nil {
			return t, failed
		}
		fresh.ID = t.ID
		if !fresh.ScopeSaid {
			fresh.Scope, fresh.ScopeSaid = t.Scope, t.ScopeSaid
		}
		t, err = fresh, ask(fresh)
		if err == nil || !refused(err) || !turn.disturbed(began) {
			break
		}
	}
	return t, err
}

// Apart calls f, which refreshes the tokens that this access token belongs to,
// in a second of its own: after the one in which the token was issued, and one
// after another for those in this process whose tokens may become equal.
func (s *Server) Apart(ctx context.Context, access string, issued time.Time, f func() error) error {
	turn, done := s.collisions.join(access, issued)
	defer done()
	return turn.apart(ctx, f)
}

func refused(err error) bool {
	var e *Error
	return errors.Is(err, ErrInactive) || errors.As(err, &e) && e.Kind == Refused && e.Status == http.StatusUnauthorized
}

// likeness names the tokens that may become equal to this one: those with the same
// claims but for their times. A token with an identifier (RFC 7519 section 4.1.7), or
// one that is opaque, is like none but itself.
func likeness(access string) string {
	_, rest, _ := strings.Cut(access, ".")
	body, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return access
	}
	o, err := strictjson.Parse(data)
	if err != nil || o.Has("jti") || !o.Has("sub") {
		return access
	}
	var like strings.Builder
	for _, claim := range [...]string{"iss", "sub", "client_id", "model", "scope", "act"} {
		raw, _ := o.Raw(claim)
		like.Write(raw)
		like.WriteByte('\n')
	}
	return like.String()
}

// collisions are the tokens that more than one sign-in may hold at the moment.
type collisions struct {
	mu    sync.Mutex
	turns map[string]*turn // by likeness
}

// A turn is what those share whose tokens may become equal.
type turn struct {
	of      *collisions
	holders int
	token   chan struct{} // holds one element, which whoever refreshes takes
	last    time.Time     // when the server last issued something, as far as is known; of.mu guards it
	seen    time.Time     // when it last issued something to a new sign-in; likewise
}

// saw notes that a token was issued, for those who are about to refresh.
func (c *collisions) saw(access string, issued time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.turns) == 0 {
		return
	}
	if t := c.turns[likeness(access)]; t != nil {
		t.issued(issued)
		t.seen = t.last
	}
}

func (c *collisions) join(access string, issued time.Time) (t *turn, done func()) {
	like := likeness(access)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns == nil {
		c.turns = make(map[string]*turn)
	}
	t = c.turns[like]
	if t == nil {
		t = &turn{of: c, token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		c.turns[like] = t
	}
	t.issued(issued)
	t.holders++
	return t, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.holders--; t.holders == 0 {
			delete(c.turns, like)
		}
	}
}

// issued notes when the server issued something. The lock is held.
func (t *turn) issued(at time.Time) {
	if at.After(t.last) {
		t.last = at
	}
}

// disturbed reports whether something may have been issued in the second in which
// a refresh began, or since.
func (t *turn) disturbed(began time.Time) bool {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	return t.seen.After(began.Add(-apart))
}

// apart calls f when it is the caller's turn and a later second has begun.
func (t *turn) apart(ctx context.Context, f func() error) error {
	const step = "refresh request"
	waiting := time.NewTimer(patience)
	defer waiting.Stop()
	tooMany := &Error{Kind: Overloaded, Step: step, Err: errors.New("too many sign-ins hold the same token")}
	select {
	case <-t.token:
	case <-waiting.C:
		return tooMany
	case <-ctx.Done():
		return &Error{Kind: Unavailable, Step: step, Err: ctx.Err()}
	}
	defer func() {
		t.of.mu.Lock()
		t.issued(time.Now())
		t.of.mu.Unlock()
		t.token <- struct{}{}
	}()
	for {
		t.of.mu.Lock()
		next := time.Until(t.last.Add(apart))
		t.of.mu.Unlock()
		if next <= 0 {
			return f()
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-waiting.C:
			timer.Stop()
			return tooMany
		case <-ctx.Done():
			timer.Stop()
			return &Error{Kind: Unavailable, Step: step, Err: ctx.Err()}
		}
	}
}
