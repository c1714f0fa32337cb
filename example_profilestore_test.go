package authagent_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/authagent-go/authagent"
)

// profileKey is what a table of profiles has a unique constraint on.
type profileKey struct {
	agent    authagent.Agent // issuer and ID
	scenario string
}

// profileTable keeps profiles. In SQL it is one statement and a read:
//
//	INSERT INTO profiles (id, issuer, agent_id, scenario, user_id, model, name) VALUES (…)
//	ON CONFLICT (issuer, agent_id, scenario) DO NOTHING
type profileTable struct {
	mu   sync.Mutex
	rows map[profileKey]authagent.Profile
}

func (t *profileTable) FindOrCreateProfile(_ context.Context, p authagent.Profile) (authagent.Profile, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := profileKey{p.Agent, p.Scenario}
	if have, ok := t.rows[key]; ok {
		return have, nil
	}
	p.ID = fmt.Sprint("p", len(t.rows)+1)
	t.rows[key] = p
	return p, nil
}

// An agent finds the profile that it had the last time.
func ExampleProfileStore() {
	profiles := &profileTable{rows: make(map[profileKey]authagent.Profile)}
	scenario := authagent.FreshProfile(profiles)

	fmt.Println(signIn(scenario, "alice@example.com").ProfileID)
	fmt.Println(len(profiles.rows))
	// Output:
	// p1
	// 1
}
