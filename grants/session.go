package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/pseudonyms"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/stores"
)

// maxMoves is how many notices of new networks an owner gets in an hour about one
// agent, which may have as many networks as it likes.
const maxMoves = 3

// CheckSession implements [authagent.SessionChecker]: a session lives as long as its
// grant, and may do what the grant allows now.
func (p *Policy) CheckSession(ctx context.Context, s *authagent.Session) error {
	g, err := p.store.Grant(ctx, s.GrantID)
	now := time.Now()
	switch state := g.at(now); {
	case errors.Is(err, authagent.ErrNotFound):
		return problem.LinkRefused
	case err != nil:
		return fmt.Errorf("grants: find grant of session: %w", err)
	case state == Suspended:
		return problem.Suspended
	case state != Approved || g.Agent != s.Agent || g.UserID != s.UserID || g.Scenario != s.Scenario,
		s.GrantEra != g.Era:
		return problem.LinkRefused
	}
	s.Access, s.Actions = g.Access, g.Actions
	network := cmp.Or(limit.Network(s.RemoteAddr), s.RemoteAddr)
	if p.touched.first(s.ID, network, now) {
		p.touch(ctx, *s, g, network, now)
	}
	return nil
}

// Expecter returns the Store if it is a [stores.Expecter], or nil.
func (p *Policy) Expecter() stores.Expecter {
	e, _ := p.store.(stores.Expecter)
	return e
}

// touch records that a grant is used. It is for owners to see, and no reason to
// refuse a request, nor to hold one up.
func (p *Policy) touch(ctx context.Context, s authagent.Session, g Grant, network string, now time.Time) {
	p.touching.Do(func() {
		p.do(context.WithoutCancel(ctx), func(ctx context.Context) error {
			p.touchNow(ctx, s, g, network, now)
			return nil
		})
	})
}

func (p *Policy) touchNow(ctx context.Context, s authagent.Session, g Grant, network string, now time.Time) {
	var use Use
	began := time.Now()
	err := p.write(ctx, s.UserID, func() (err error) {
		use, err = p.store.Touch(ctx, Activity{
			SessionID: s.ID, GrantID: s.GrantID, UserID: s.UserID, RemoteAddr: s.RemoteAddr, Network: network,
			StartedAt: s.StartedAt, SeenAt: now, ExpiresAt: s.ExpiresAt, Door: s.Door,
		})
		return err
	})
	p.touching.Took(time.Since(began))
	switch {
	case errors.Is(err, pseudonyms.ErrErased):
		p.logger().Info("grants: an agent's request was under way when the account was erased", "grant", s.GrantID, "err", err)
		return
	case err != nil:
		p.meter().StoreFailed(meter.Grants)
		p.logger().Warn("grants: could not record that a grant was used", "grant", s.GrantID, "err", err)
	case use == FirstUse:
		p.notify(ctx, Notice{Kind: EventFirstUse, UserID: g.UserID, Grant: &g, From: network})
	case use == NewNetwork && p.moves.Allow(s.GrantID) == 0:
		p.notify(ctx, Notice{Kind: EventNewNetwork, UserID: g.UserID, Grant: &g, From: network})
	}
	p.warn(ctx, g, now)
}

// maxSeen bounds the memory of seen, at about 150 bytes each.
const maxSeen = 1 << 16

// seen remembers which sessions were recorded from which network within the last
// minute, so that a request costs a write now and then only. The zero value is ready. It
// holds maxSeen of them: when more come within a minute, it forgets them all, and each is
// recorded once more.
type seen struct {
	mu    sync.Mutex
	at    map[string]time.Time
	swept time.Time
}

// first reports whether a session is seen from a network for the first time in a minute.
func (s *seen) first(session, network string, now time.Time) bool {
	id := session + " " + network
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[string]time.Time)
	}
	if now.Sub(s.at[id]) < time.Minute {
		return false
	}
	if now.Sub(s.swept) > time.Minute {
		for old, at := range s.at {
			if now.Sub(at) > time.Minute {
				delete(s.at, old)
			}
		}
		s.swept = now
	}
	if len(s.at) >= maxSeen {
		clear(s.at)
	}
	s.at[id] = now
	return true
}

// EndSession ends one session of an agent in an account, on its next request. It
// returns [authagent.ErrNotFound] for a session in another account, and for one that
// has ended. rp is the relying party at which the agent has signed in, or one that
// shares its [authagent.RevocationStore].
func (p *Policy) EndSession(ctx context.Context, rp *authagent.RelyingParty, userID, sessionID string) error {
	all, err := p.store.OwnerActivity(ctx, userID)
	if err != nil {
		return fmt.Errorf("grants: find sessions of account: %w", err)
	}
	i := slices.IndexFunc(all, func(a Activity) bool { return a.SessionID == sessionID })
	if i < 0 {
		return fmt.Errorf("grants: find session: %w", authagent.ErrNotFound)
	}
	if err := rp.EndSession(ctx, sessionID); err != nil {
		return err
	}
	if err := p.store.EndActivity(ctx, sessionID); err != nil {
		return fmt.Errorf("grants: forget session: %w", err)
	}
	e := audit.Event{
		Name: audit.SessionEnded, SessionID: sessionID, UserID: userID, HumanID: userID, GrantID: all[i].GrantID,
		RemoteAddr: all[i].RemoteAddr, Door: all[i].Door,
	}
	if g, err := p.store.Grant(ctx, all[i].GrantID); err == nil {
		e.Issuer, e.Agent, e.Scenario, e.Access = g.Agent.Issuer, g.Agent, g.Scenario, g.Access.String()
	}
	p.audit(ctx, e)
	return nil
}
