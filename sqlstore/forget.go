package sqlstore

import (
	"context"
	"fmt"

	"github.com/authagent-go/authagent"
)

// These run rarely, so no index serves them. The rows that they find are deleted by key,
// so that no row is locked while the whole table is read.
const (
	deleteLink     = `DELETE FROM authagent_links WHERE agent_key = ?`
	linkedProfiles = `SELECT id FROM authagent_profiles WHERE agent_id = ? AND issuer = ? AND user_id <> ''`

	// deleteProfile goes by the ID and not by the key, to keep a profile that was deleted
	// and created again since.
	deleteProfile = `DELETE FROM authagent_profiles WHERE id = ?`
)

// ForgetAgent implements [authagent.Forgetter].
func (l *Links) ForgetAgent(ctx context.Context, _ string, agent authagent.Agent) error {
	_, err := l.s.exec(ctx, "forget agent", deleteLink, agentKey(agent))
	return err
}

// ForgetAgent implements [authagent.Forgetter].
func (p *Profiles) ForgetAgent(ctx context.Context, _ string, agent authagent.Agent) error {
	_, err := p.remove(ctx, "forget agent", linkedProfiles, agent.ID, agent.Issuer)
	return err
}

func (p *Profiles) remove(ctx context.Context, step, find string, by ...any) (removed int64, err error) {
	ids, err := list(ctx, p.s, step, find, by, func(id *string) []any { return []any{id} })
	for _, id := range ids {
		if err == nil {
			var n int64
			n, err = p.s.exec(ctx, step, deleteProfile, id)
			removed += n
		}
	}
	return removed, err
}

// checkUser refuses the empty user ID, which profiles without an account have.
func checkUser(step, userID string) error {
	if userID == "" {
		return fmt.Errorf("sqlstore: %s: user ID is empty", step)
	}
	return nil
}
