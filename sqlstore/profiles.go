package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/authagent-go/authagent"
)

// Profiles is an [authagent.ProfileStore]. An issuer has at most 2048 bytes;
// agent ID, subject, scenario and user ID at most 255; model and name at most 4096. Of a
// Subject, only a digest is kept, so that Get does not return it.
type Profiles struct{ s *Store }

// Profiles returns the store of agents' profiles.
func (s *Store) Profiles() *Profiles { return &Profiles{s} }

const (
	profileColumns = `id, issuer, agent_id, scenario, user_id, model, name`

	insertProfile = `INSERT INTO authagent_profiles (profile_key, ` + profileColumns + `, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

var (
	profileByKey = `SELECT ` + reading(profileColumns, "model", "name") + ` FROM authagent_profiles WHERE profile_key = ?`
	profileByID  = `SELECT ` + reading(profileColumns, "model", "name") + ` FROM authagent_profiles WHERE id = ?`
)

// FindOrCreateProfile implements [authagent.ProfileStore].
func (p *Profiles) FindOrCreateProfile(ctx context.Context, want authagent.Profile) (authagent.Profile, error) {
	const step = "find or create profile"
	fields := append(agentFields(want.Agent), field{"subject", want.Subject, maxID}, field{"scenario", want.Scenario, maxID}, field{"user ID", want.UserID, maxID},
		field{"model", want.Model, maxText}, field{"name", want.Name, maxText})
	if err := checkFields(step, fields...); err != nil {
		return authagent.Profile{}, err
	}
	k := profileKey(want)
	have, err := p.find(ctx, step, profileByKey, k)
	have.Subject = want.Subject
	if !errors.Is(err, authagent.ErrNotFound) {
		return have, err
	}
	want.ID = newID()
	_, err = p.s.exec(ctx, step, p.s.engine.insertNew(insertProfile),
		k, want.ID, want.Agent.Issuer, want.Agent.ID, want.Scenario, want.UserID, want.Model, want.Name, time.Now().UnixNano())
	if err != nil {
		return authagent.Profile{}, err
	}
	have, err = p.find(ctx, step, profileByKey, k) // another call may have created it first
	have.Subject = want.Subject
	return have, err
}

// profileKey is what a profile is found by. Without a subject it is as it was before there were any.
func profileKey(p authagent.Profile) []byte {
	parts := []string{p.Agent.Issuer, p.Agent.ID, p.Scenario}
	if p.Subject != "" {
		parts = append(parts, p.Subject)
	}
	return key(parts...)
}

// Get returns the profile with this ID, or authagent.ErrNotFound.
func (p *Profiles) Get(ctx context.Context, id string) (authagent.Profile, error) {
	return p.find(ctx, "get profile", profileByID, id)
}

func (p *Profiles) find(ctx context.Context, step, query string, by any) (authagent.Profile, error) {
	var f authagent.Profile
	found, err := p.s.row(ctx, step, query, []any{by}, &f.ID, &f.Agent.Issuer, &f.Agent.ID, &f.Scenario, &f.UserID, &f.Model, &f.Name)
	if err == nil && !found {
		err = authagent.ErrNotFound
	}
	if err != nil {
		return authagent.Profile{}, err
	}
	return f, nil
}
