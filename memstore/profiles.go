package memstore

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/records"
)

// Profiles is an [authagent.ProfileStore], and can forget the profiles that are linked
// to an account ([authagent.Forgetter], [authagent.Eraser]) and say them ([authagent.Exporter]).
type Profiles struct {
	mu    sync.Mutex
	all   []authagent.Profile
	named int // IDs given out so far
}

// FindOrCreateProfile implements [authagent.ProfileStore].
func (p *Profiles) FindOrCreateProfile(_ context.Context, want authagent.Profile) (authagent.Profile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, have := range p.all {
		if have.Agent == want.Agent && have.Scenario == want.Scenario && have.Subject == want.Subject {
			return have, nil
		}
	}
	p.named++
	want.ID = fmt.Sprintf("profile_%d", p.named)
	p.all = append(p.all, want)
	return want, nil
}

// ForgetAgent implements [authagent.Forgetter].
func (p *Profiles) ForgetAgent(_ context.Context, _ string, agent authagent.Agent) error {
	p.remove(func(have authagent.Profile) bool { return have.Agent == agent && have.UserID != "" })
	return nil
}

// EraseUser implements [authagent.Eraser].
func (p *Profiles) EraseUser(_ context.Context, e *authagent.Erasure) error {
	if e.UserID == "" {
		return errNoUser
	}
	e.Count(records.Profiles, p.remove(func(have authagent.Profile) bool { return have.UserID == e.UserID }))
	return nil
}

// ExportUser implements [authagent.Exporter].
func (p *Profiles) ExportUser(_ context.Context, x *authagent.Export) error {
	if err := x.Begin(records.Profiles); err != nil {
		return err
	}
	for _, have := range p.All() {
		if have.UserID != x.UserID {
			continue
		}
		r := records.Profile{ID: have.ID, Agent: have.Agent, Subject: have.Subject, Scenario: have.Scenario, Model: have.Model, Name: have.Name}
		if err := x.Add(records.Profiles, r); err != nil {
			return err
		}
	}
	return nil
}

// remove returns how many it has removed.
func (p *Profiles) remove(these func(authagent.Profile) bool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.all)
	p.all = slices.DeleteFunc(p.all, these)
	return int64(before - len(p.all))
}

// Get returns the profile with this ID.
func (p *Profiles) Get(id string) (authagent.Profile, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, have := range p.all {
		if have.ID == id {
			return have, true
		}
	}
	return authagent.Profile{}, false
}

// All returns every profile, in the order they were created.
func (p *Profiles) All() []authagent.Profile {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]authagent.Profile(nil), p.all...)
}
