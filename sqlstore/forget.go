package sqlstore

import (
	"context"
	"fmt"

	"github.com/authagent-go/authagent"
)

// Neither table has an index for these: they are for once in a while. What is found
// is deleted by its key, so that nothing is locked while the table is read.
const (
	linksUser  = `SELECT agent_key FROM authagent_links WHERE user_id = ?`
	deleteLink = `DELETE FROM authagent_links WHERE agent_key = ?`

	// deleteLinkTo leaves one that was made anew in the meantime.
	deleteLinkTo = `DELETE FROM authagent_links WHERE agent_key = ? AND user_id = ?`
	profilesUser = `SELECT id FROM authagent_profiles WHERE user_id = ?`
	linkedAgent  = `SELECT id FROM authagent_profiles WHERE agent_id = ? AND issuer = ? AND user_id <> ''`

	// deleteProfile leaves one that somebody else has deleted and made anew.
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
	keys, err := list(ctx, l.s, step, linksUser, []any{userID}, func(k *[]byte) []any { return []any{k} })
	for _, k := range keys {
		if err == nil {
			_, err = l.s.exec(ctx, step, deleteLinkTo, k, userID)
		}
	}
	return err
}

// ForgetAgent implements [authagent.Forgetter].
func (p *Profiles) ForgetAgent(ctx context.Context, _ string, agent authagent.Agent) error {
	return p.remove(ctx, "forget agent", linkedAgent, agent.ID, agent.Issuer)
}

// ForgetUser implements [authagent.Forgetter].
func (p *Profiles) ForgetUser(ctx context.Context, _, userID string) error {
	const step = "forget user"
	if err := checkUser(step, userID); err != nil {
		return err
	}
	return p.remove(ctx, step, profilesUser, userID)
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

// checkUser refuses what stands for no account: profiles that are linked to none
// have it.
func checkUser(step, userID string) error {
	if userID == "" {
		return fmt.Errorf("sqlstore: %s: user ID is empty", step)
	}
	return nil
}

// eraseUser deletes the grants last: what is left after an error is found by them.
var eraseUser = [...]string{
	`DELETE FROM authagent_approvals WHERE user_id = ?`,
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
