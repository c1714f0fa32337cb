package sqlstore

import (
	"context"
	"fmt"

	"github.com/authagent-go/authagent"
)

// These run rarely, so no index serves them. The rows that they find are deleted by key,
// so that no row is locked while the whole table is read.
const (
	linksOfUser = `SELECT agent_key FROM authagent_links WHERE user_id = ?`
	deleteLink  = `DELETE FROM authagent_links WHERE agent_key = ?`

	// deleteLinkTo keeps a link that the agent has made to another account since.
	deleteLinkTo   = `DELETE FROM authagent_links WHERE agent_key = ? AND user_id = ?`
	profilesOfUser = `SELECT id FROM authagent_profiles WHERE user_id = ?`
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

// ForgetUser implements [authagent.Forgetter].
func (l *Links) ForgetUser(ctx context.Context, _, userID string) error {
	const step = "forget user"
	if err := checkUser(step, userID); err != nil {
		return err
	}
	keys, err := list(ctx, l.s, step, linksOfUser, []any{userID}, func(k *[]byte) []any { return []any{k} })
	for _, k := range keys {
		if err == nil {
			_, err = l.s.exec(ctx, step, deleteLinkTo, k, userID)
		}
	}
	return err
}

// ForgetAgent implements [authagent.Forgetter].
func (p *Profiles) ForgetAgent(ctx context.Context, _ string, agent authagent.Agent) error {
	return p.remove(ctx, "forget agent", linkedProfiles, agent.ID, agent.Issuer)
}

// ForgetUser implements [authagent.Forgetter].
func (p *Profiles) ForgetUser(ctx context.Context, _, userID string) error {
	const step = "forget user"
	if err := checkUser(step, userID); err != nil {
		return err
	}
	return p.remove(ctx, step, profilesOfUser, userID)
}

func (p *Profiles) remove(ctx context.Context, step, find string, by ...any) error {
	ids, err := list(ctx, p.s, step, find, by, func(id *string) []any { return []any{id} })
	for _, id := range ids {
		if err == nil {
			_, err = p.s.exec(ctx, step, deleteProfile, id)
		}
	}
	return err
}

// checkUser refuses the empty user ID, which profiles without an account have.
func checkUser(step, userID string) error {
	if userID == "" {
		return fmt.Errorf("sqlstore: %s: user ID is empty", step)
	}
	return nil
}

// eraseUser deletes the grants last, so that after an error they still lead to the rest.
var eraseUser = [...]string{
	`DELETE FROM authagent_approvals WHERE user_id = ?`,
	`DELETE FROM authagent_allowances WHERE user_id = ?`,
	`DELETE FROM authagent_activity WHERE user_id = ?`,
	`DELETE FROM authagent_uses WHERE user_id = ?`,
	`DELETE FROM authagent_deeds WHERE user_id = ?`,
	`DELETE FROM authagent_grants WHERE user_id = ?`,
}

// EraseUser implements [grants.UserEraser].
func (t *Grants) EraseUser(ctx context.Context, userID string) error {
	const step = "erase user"
	if err := checkUser(step, userID); err != nil {
		return err
	}
	for _, statement := range eraseUser {
		if _, err := t.s.exec(ctx, step, statement, userID); err != nil {
			return err
		}
	}
	return nil
}
