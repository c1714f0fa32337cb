package grants

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// In askedFor, an owner is asked at most askedTimes as often as MaxNotices says.
const (
	askedFor   = 24 * time.Hour
	askedTimes = 4
)

// isPrivileged reports whether no agent may ever enter an account.
func (p *Policy) isPrivileged(ctx context.Context, userID string) (bool, error) {
	if p.Privileged == nil {
		return false, nil
	}
	privileged, err := p.Privileged(ctx, userID)
	if err != nil {
		return false, fmt.Errorf("grants: ask whether account is privileged: %w", err)
	}
	return privileged, nil
}

// mayHaveAnother says why an account may have no further agent, if so.
func (p *Policy) mayHaveAnother(ctx context.Context, userID string) (refusal string, err error) {
	switch privileged, err := p.isPrivileged(ctx, userID); {
	case err != nil:
		return "", err
	case privileged:
		return "the account is privileged", nil
	}
	all, err := p.ownerGrants(ctx, userID)
	if err != nil {
		return "", err
	}
	return p.hasEnough(all), nil
}

// mayLetIn refuses what mayHaveAnother says something against.
func (p *Policy) mayLetIn(ctx context.Context, userID string) error {
	switch refusal, err := p.mayHaveAnother(ctx, userID); {
	case err != nil:
		return err
	case refusal != "":
		return fmt.Errorf("grants: %s: %w", refusal, problem.LinkRefused)
	}
	return nil
}

// hasEnough says why an account that has all these grants may have no further
// agent, if so.
func (p *Policy) hasEnough(all []Grant) (refusal string) {
	agents := make(map[authagent.Agent]bool)
	for _, g := range all {
		if g.Now() == Approved {
			agents[g.Agent] = true
		}
	}
	if len(agents) >= p.maxAgents() {
		return "the account has as many agents as it may have"
	}
	return ""
}

// mayBeAsked says why the owner of an account, which has all these grants, is not
// to be asked about a further agent for now, if so.
func (p *Policy) mayBeAsked(userID string, all []Grant) (refusal string) {
	times := slices.Clone(p.renewed.at[userID])
	for _, g := range all {
		if g.asked() {
			times = append(times, g.RequestedAt)
		}
	}
	within := func(period time.Duration) (n int) {
		for _, at := range times {
			if time.Since(at) < period {
				n++
			}
		}
		return n
	}
	switch most := p.maxNotices(); {
	case within(time.Hour) >= most:
		return "the owner has been asked often enough for now (MaxNotices)"
	case within(askedFor)/askedTimes >= most: // a product could overflow
		return "the owner has been asked often enough for a day (MaxNotices)"
	}
	return ""
}

// renewals are the requests of the last 24 hours whose place another one of
// the same agent has taken in the store, as it may when they have expired: an agent
// could else ask ever again, and count once. The zero value is ready.
type renewals struct {
	at    map[string][]time.Time // by account
	swept time.Time
}

func (l *renewals) add(userID string, at time.Time) {
	if l.at == nil {
		l.at = make(map[string][]time.Time)
	}
	if time.Since(l.swept) > time.Hour {
		for id := range l.at {
			if l.at[id] = slices.DeleteFunc(l.at[id], isOver); len(l.at[id]) == 0 {
				delete(l.at, id)
			}
		}
		l.swept = time.Now()
	}
	if !isOver(at) {
		l.at[userID] = append(l.at[userID], at)
	}
}

func isOver(at time.Time) bool { return time.Since(at) >= askedFor }
