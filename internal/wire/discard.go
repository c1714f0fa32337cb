package wire

import (
	"context"
	"sync/atomic"
)

// maxDiscards bounds the revocations in the background. What is beyond is left to
// expire.
const maxDiscards = 32

// discards are the revocations under way in the background.
type discards struct {
	slots  chan struct{}
	closed atomic.Bool
}

// Discard has the server revoke tokens that nobody will use, in the background. The
// refresh token goes, and the access token with it (RFC 7009 section 2.1). By itself
// an access token goes only if no other sign-in can hold the same one.
//
// Where grant is set, other sign-ins may rest on the grant that the refresh token
// belongs to, which many servers end with it. It is left alone then.
func (s *Server) Discard(t *Token, grant bool) {
	token, hint := t.Refresh, "refresh_token"
	if token == "" || grant {
		token, hint = t.Access, "access_token"
		if likeness(token) != token {
			return
		}
	}
	if s.discards.closed.Load() {
		return
	}
	select {
	case s.discards.slots <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-s.discards.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), Timeout)
		defer cancel()
		s.Revoke(ctx, token, hint) // what comes of it changes nothing
	}()
}

// Settle lets no Discard begin any more, and waits for those that have.
func (s *Server) Settle(ctx context.Context) error {
	s.discards.closed.Store(true)
	for range maxDiscards {
		select {
		case s.discards.slots <- struct{}{}:
			defer func() { <-s.discards.slots }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
