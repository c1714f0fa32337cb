package enginetest_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// fill writes n rows into each of these tables, most of which have not expired.
func (d *database) fill(t testing.TB, db *sql.DB, n int, into ...string) {
	t.Helper()
	left := slices.DeleteFunc(slices.Clone(into), func(table string) bool { return table == "migrations" })
	for _, insert := range d.inserts() {
		table, _, _ := strings.Cut(strings.TrimPrefix(insert, "authagent_"), " ")
		i := slices.Index(left, table)
		if i < 0 {
			continue
		}
		left = slices.Delete(left, i, i+1)
		d.must(t, db, `INSERT INTO `+insert+` FROM `+fmt.Sprintf(d.series, n))
		d.must(t, db, d.analyze+table)
	}
	if len(left) > 0 {
		t.Fatalf("nothing fills %q", left)
	}
}

// inserts returns, for each table, the INSERT of a row for each number n, up to the FROM.
func (d *database) inserts() []string {
	hash, blob := d.hash, d.blob
	text := func(prefix string) string { return fmt.Sprintf(d.numberedBy, prefix) }
	until := fmt.Sprintf(`%d + n * 1000000000`, time.Now().Add(-time.Minute).UnixNano())
	return []string{
		`authagent_sessions (session_key, data, expires_at) SELECT ` + hash + `, ` + blob + `, ` + until,
		`authagent_states (id, expires_at) SELECT ` + text("name ") + `, ` + until,
		`authagent_revocations (revocation_key, subject, revoked_at, expires_at) SELECT ` + hash + `, ` + text("name ") + `, 1, ` + until,
		`authagent_tokens (session_id, sealed, expires_at) SELECT ` + text("name ") + `, ` + blob + `, ` + until,
		`authagent_profiles (profile_key, id, issuer, agent_id, scenario, user_id, model, name, created_at)
			SELECT ` + hash + `, ` + text("name ") + `, 'https://as.example', ` + text("agent_") + `, 'S', '', '', '', 1`,
		`authagent_links (agent_key, issuer, agent_id, user_id, linked_at) SELECT ` + hash + `, 'https://as.example', ` + text("agent_") + `, 'u', 1`,
		`authagent_events (happened_at, name, request_id, method, route, remote_addr, issuer, session_id, agent_key, agent_issuer, agent_id,
			user_id, human_id, scenario, profile_id, grant_id, access, action, outcome, reason, detail)
			SELECT n * 1000000000, 'e', '', '', '', '', '', '', ` + hash + `, 'https://as.example', ` + text("agent_") + `, ` + text("user ") + `,
			'', '', '', '', 'none', '', '', '', ''`,
		`authagent_grants (id, grant_key, agent_key, version, issuer, agent_id, scenario, user_id, state, access, actions, name, model, email,
			requested_at, requested_from, decided_at, expires_at, sessions_from)
			SELECT ` + text("name ") + `, ` + hash + `, ` + hash + `, 1, 'https://as.example', ` + text("agent_") + `, 'S', ` + text("user ") + `,
			CASE n % 3 WHEN 0 THEN 'pending' ELSE 'approved' END, 'read', '[]', '', '', '', 1, '', 1, ` + until + `, 1`,
		`authagent_approvals (id, approval_key, version, user_id, digest, grant_id, issuer, agent_id, action, state, method, target,
			content_type, requested_at, expires_at)
			SELECT ` + text("name ") + `, ` + hash + `, 1, ` + text("user ") + `, 'd', 'g', 'https://as.example', 'a', 'x', 'used', 'POST', '', '',
			1, ` + until,
		`authagent_allowances (id, user_id, grant_id, version, expires_at, allowance)
			SELECT ` + text("name ") + `, ` + text("user ") + `, 'g', 1, ` + until + `, '{}'`,
		`authagent_reservations (id, used, expires_at) SELECT ` + text("name ") + `, 1, ` + until,
		`authagent_activity (session_id, grant_id, user_id, remote_addr, network, started_at, seen_at, expires_at)
			SELECT ` + text("name ") + `, ` + text("name ") + `, ` + text("user ") + `, '', '', 1, 1, ` + until,
		`authagent_uses (use_key, first_of, grant_id, user_id, remote_addr, seen_at)
			SELECT ` + hash + `, ` + text("name ") + `, ` + text("name ") + `, ` + text("user ") + `, '', n`,
		`authagent_deeds (user_id, grant_id, happened_at, event, action, route, outcome, reason)
			SELECT ` + text("user ") + `, ` + text("name ") + `, ` + until + `, '', '', '', '', ''`,
		`authagent_limits (limit_key, whole_at) SELECT ` + hash + `, ` + until,
		`authagent_turns (turn_key) SELECT ` + hash,
		`authagent_rules (id, rules) SELECT n, '{}'`, // there is one in fact, which needs no index
	}
}
