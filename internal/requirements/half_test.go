package requirements_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/tokens"
)

// halfSessions are a site's own sessions, which write to the session that they get, as they may.
type halfSessions struct {
	authagent.Sessions
	started []authagent.Session
	fail    error
}

func (h *halfSessions) Start(w http.ResponseWriter, _ *http.Request, s *authagent.Session) error {
	if h.fail != nil {
		return h.fail
	}
	h.started = append(h.started, *s)
	s.Model = "as the site calls it"
	http.SetCookie(w, &http.Cookie{Name: "own", Value: s.ID})
	return nil
}

func (h *halfSessions) Load(http.ResponseWriter, *http.Request) (*authagent.Session, error) {
	return nil, authagent.ErrNoSession
}

// halfTokens takes tokens, takes too long for them, or panics, and counts those that it has.
type halfTokens struct {
	tokens.Store
	do   func(context.Context) error
	have []string
}

func (h *halfTokens) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	if err := h.do(ctx); err != nil {
		return err
	}
	h.have = append(h.have, id)
	return h.Store.SaveTokens(ctx, id, old, sealed, expires)
}

func (h *halfTokens) DeleteTokens(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h.have = slices.DeleteFunc(h.have, func(have string) bool { return have == id })
	return h.Store.DeleteTokens(ctx, id)
}

// strictRevocations do nothing for somebody who has gone.
type strictRevocations struct {
	memstore.Revocations
	panics bool
	ended  []string
}

func (s *strictRevocations) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	if s.panics {
		panic("own")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.ended = append(s.ended, key)
	return s.Revocations.Revoke(ctx, key, mark, until)
}

// TestHalfSignIn_RTT_6: a sign-in that cannot keep its tokens, or cannot start its session, leaves neither: no cookie, a session that
// has ended, no tokens, and none that are live at the server. That is so too where the time of the sign-in is over.
func TestHalfSignIn_RTT_6(t *testing.T) {
	fails := errors.New("fails")
	for name, test := range map[string]struct {
		save   func(context.Context) error
		start  error
		panics bool
	}{
		"tokens fail":              {save: func(context.Context) error { return fails }},
		"tokens panic":             {save: func(context.Context) error { panic("own") }},
		"tokens hang":              {save: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		"session fails":            {save: func(context.Context) error { return nil }, start: fails},
		"session fails first":      {save: func(context.Context) error { time.Sleep(time.Second); return nil }, start: fails},
		"the session does not end": {save: func(context.Context) error { return fails }, panics: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				own, revocations := &halfSessions{fail: test.start}, &strictRevocations{panics: test.panics}
				kept := &halfTokens{Store: &memstore.Tokens{}, do: test.save}
				b := newCluster(t, func(b *bench, c *authagent.Config) {
					c.Session.Own, c.Revocations, c.Tokens.Store, c.Tokens.ConfirmEvery = own, revocations, kept, -1
				})
				c := b.Browser()
				resp := b.SignIn(c, b.Agent)
				if resp.StatusCode < 500 {
					t.Errorf("status %d", resp.StatusCode)
				}
				for _, cookie := range resp.Cookies() {
					if cookie.Name == "own" {
						t.Error("the cookie of a session that has ended")
					}
				}
				for _, s := range own.started {
					if !test.panics && !slices.Contains(revocations.ended, "session:"+s.ID) {
						t.Errorf("the session goes on, ended %q", revocations.ended)
					}
				}
				if len(own.started) == 0 != (test.start != nil) || len(kept.have) > 0 {
					t.Errorf("%d sessions started, tokens of %q", len(own.started), kept.have)
				}
				settle()
				_ = b.RP.Shutdown(t.Context())
				if len(b.AS.Requests(authagenttest.PathRevoke)) == 0 {
					t.Error("the tokens are live at the server")
				}
			})
		})
	}
}
