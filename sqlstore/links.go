package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
)

// Links is an [authagent.AgentLinker]: embedded in a site's UserStore, it
// remembers which account an agent entered first. It is for link policies that keep no
// grants, and not needed with owner approval: docs/database.md. Lengths are as in
// [Profiles].
type Links struct{ s *Store }

// Links returns the store of which agent entered which account.
func (s *Store) Links() *Links { return &Links{s} }

const (
	insertLink = `INSERT INTO authagent_links (agent_key, issuer, agent_id, user_id, linked_at) VALUES (?, ?, ?, ?, ?)`
	linkedUser = `SELECT user_id FROM authagent_links WHERE agent_key = ?`
)

// LinkAgent implements [authagent.AgentLinker].
func (l *Links) LinkAgent(ctx context.Context, agent authagent.Agent, userID string) (linked string, err error) {
	const step = "link agent"
	if err := checkFields(step, append(agentFields(agent), field{"user ID", userID, maxID})...); err != nil {
		return "", err
	}
	if linked, err := l.LinkedUser(ctx, agent); !errors.Is(err, authagent.ErrNotFound) {
		return linked, err
	}
	if userID == "" {
		return "", fmt.Errorf("sqlstore: %s: user ID is empty", step)
	}
	_, err = l.s.exec(ctx, step, l.s.engine.insertNew(insertLink),
		agentKey(agent), agent.Issuer, agent.ID, userID, time.Now().UnixNano())
	if err != nil {
		return "", err
	}
	return l.LinkedUser(ctx, agent) // another call may have linked it first
}

// LinkedUser returns the account that agent entered first, or
// authagent.ErrNotFound. It is for a CreateUser that refuses such an agent.
func (l *Links) LinkedUser(ctx context.Context, agent authagent.Agent) (userID string, err error) {
	found, err := l.s.row(ctx, "find linked user", linkedUser, []any{agentKey(agent)}, &userID)
	if err == nil && !found {
		err = authagent.ErrNotFound
	}
	return userID, err
}

func agentKey(a authagent.Agent) []byte { return key(a.Issuer, a.ID) }
