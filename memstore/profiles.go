package memstore

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/authagent-go/authagent"
)

// Profiles is an [authagent.ProfileStore], and can forget the profiles that are linked
// to an account ([authagent.Forgetter]).
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

// ForgetUser implements [authagent.Forgetter].
func (p *Profiles) ForgetUser(_ context.Context, _, userID string) error {
	if userID == "" {
		return errNoUser
	}
	p.remove(func(have authagent.Profile) bool { return have.UserID == userID })
	return nil
}

func (p *Profiles) remove(these func(authagent.Profile) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = slices.DeleteFunc(p.all, these)
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
