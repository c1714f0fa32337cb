package grants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
)

// warnBefore is how long before its end the owner is told of an approval that is in use:
// this, or a seventh of the approval's time if that is shorter.
const warnBefore = 7 * 24 * time.Hour

// endsSoon reports whether the owner is to be told that an approval ends soon, and has
// not been told yet.
func (g Grant) endsSoon(now time.Time) bool {
	return g.Warned == 0 && g.ExpiresAt.Sub(now) < min(warnBefore, g.ExpiresAt.Sub(g.DecidedAt)/7)
}

// seen reports whether an owner who has seen this version of a grant has seen all of it.
// That the owner was warned is the only change that nobody has to see.
func (g Grant) seen(version int64) bool {
	return version == g.Version || g.Warned == g.Version && version == g.Version-1
}

// A warning is one that an owner is to get.
type warning struct {
	ctx   context.Context
	grant Grant
}

func (w warning) key() string { return fmt.Sprint(w.grant.ID, " ", w.grant.ExpiresAt.UnixNano()) }

// warn has the owner of a grant that is in use told, in the background, that it ends
// soon. Of one grant that is tried once in a day: a store that does not keep
// Grant.Warned would otherwise have an owner told with each use.
func (p *Policy) warn(ctx context.Context, g Grant, now time.Time) {
	w := warning{context.WithoutCancel(ctx), g}
	if p.Notify == nil || !g.endsSoon(now) || p.warned.Allow(w.key()) > 0 {
		return
	}
	lost, start := p.warnings.add(g.UserID, w)
	for _, l := range lost {
		p.warned.Return(l.key())
	}
	if start {
		p.under.Go(p.warnAll)
	}
}

func (p *Policy) warnAll() {
	for {
		w, ok := p.warnings.next()
		if !ok {
			return
		}
		p.do(w.ctx, func(ctx context.Context) error { return p.tellEnd(ctx, w) })
	}
}

// tellEnd tells the owner, once it is in the store that this was done. So of several
// instances one tells it. Where the grant has changed in between, the next use decides.
func (p *Policy) tellEnd(ctx context.Context, w warning) error {
	g := w.grant
	g.Warned = g.Version + 1
	g, err := p.store.UpdateGrant(ctx, g)
	switch {
	case err == nil:
		p.notify(ctx, Notice{Kind: EventExpiring, UserID: g.UserID, Grant: &g})
		return nil
	case errors.Is(err, authagent.ErrConflict):
		err = nil
	default:
		err = fmt.Errorf("grants: note that the owner is told of the end of a grant: %w", err)
	}
	p.warned.Return(w.key())
	return err
}

// despiteWarning does what an owner has decided, once more after a conflict: the owner may
// have been warned in between, which changes nothing that they saw. See Grant.seen.
func despiteWarning(decide func() (Grant, error)) (Grant, error) {
	g, err := decide()
	if errors.Is(err, authagent.ErrConflict) {
		return decide()
	}
	return g, err
}
