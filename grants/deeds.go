package grants

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/panics"
	"github.com/authagent-go/authagent/internal/pseudonyms"
)

const (
	// maxNoes is how many refused or waiting requests of an agent its owner is shown
	// in an hour: with a flood of them an agent could hide what it did.
	maxNoes = 20

	// maxChanges is how many equal changes by an agent are recorded in 24 hours, and
	// maxRoutine how many equal sign-ins, reads and refusals: so few that readDeeds
	// reach back for days. Of equal ones an owner is shown maxSame.
	maxChanges = 20
	maxRoutine = 5
	maxSame    = 5
)

// Observer is for [authagent.New], which calls it: see [authagent.LinkPolicy]. The
// function that it returns records what agents do, for their owners to see. Events of
// the relying party go to its Config.Audit, here site, or to Policy.Audit if that is
// not set. Events of the Policy go to Policy.Audit, or to site if that is not set. So
// no event reaches one audit function twice.
func (p *Policy) Observer(site func(context.Context, audit.Event)) func(context.Context, audit.Event) {
	p.obeyed.Store(true)
	if site != nil {
		p.fallback.CompareAndSwap(nil, &site)
	}
	return func(ctx context.Context, e audit.Event) {
		if err := panics.Catch(func() error { return p.record(ctx, e) }); err != nil {
			p.meter().StoreFailed(meter.Grants)
			p.logger().Warn("grants: could not record what an agent did", "event", e.Name, "err", err)
		}
		if site == nil && e.Deed == "" { // a deed is in the relying party's Journal
			p.pass(ctx, e)
		}
	}
}

func (p *Policy) record(ctx context.Context, e audit.Event) error {
	if e.Name == audit.SessionEnded {
		if err := p.store.EndActivity(ctx, e.SessionID); err != nil {
			return err
		}
	}
	if e.UserID == "" || pseudonyms.Is(e.UserID) || e.GrantID == "" {
		return nil
	}
	if e.Outcome != audit.OK && e.Name != audit.ActionPerformed && p.noes.Allow(e.GrantID) > 0 { // what was performed is not hidden by what was refused
		return nil
	}
	d := Deed{
		GrantID: e.GrantID, UserID: e.UserID, At: e.Time, Event: e.Name, Action: e.Action, Route: e.Route, Outcome: e.Outcome, Reason: e.Reason,
	}
	if p.repeats(e).Allow(strings.Join([]string{d.GrantID, string(d.Event), d.Action, d.Route, d.Outcome}, "\x00")) > 0 {
		return nil
	}
	err := p.write(ctx, d.UserID, func() error { return p.store.AddDeed(ctx, d) })
	if errors.Is(err, pseudonyms.ErrErased) {
		p.logger().Info("grants: an agent's request was under way when the account was erased", "grant", d.GrantID, "err", err)
		return nil
	}
	return err
}

// repeats bounds how often the same deed is recorded.
func (p *Policy) repeats(e audit.Event) *limit.Limiter {
	reads := e.Method == http.MethodGet || e.Method == http.MethodHead
	if e.Name == audit.ActionPerformed && (e.Outcome == audit.OK || e.Outcome == audit.Unknown) && !reads {
		return p.changes
	}
	return p.routine
}
