package enginetest_test

import (
	"database/sql"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/authagent-go/authagent/sqlstore"
)

var postgres = engine{
	name: "PostgreSQL", driver: "pgx", dialect: sqlstore.Postgres, variable: "AUTHAGENT_POSTGRES",
	readOnly: "default_transaction_read_only=on",
	settings: []string{
		"application_name=authagent",
		"default_transaction_isolation=serializable",
		"default_query_exec_mode=simple_protocol", // as behind some connection poolers
	},
	atOnce:  []string{"default_transaction_isolation=read%20committed", "default_transaction_isolation=serializable"},
	hostile: []string{"application_name=x"},
	fast:    []string{"synchronous_commit=off"},

	transactions: []transaction{
		{name: "read committed", isolation: sql.LevelReadCommitted},
		{name: "repeatable read", isolation: sql.LevelRepeatableRead, own: true},
		{name: "serializable", isolation: sql.LevelSerializable, own: true},
		{name: "serializable, simple protocol", isolation: sql.LevelSerializable, setting: "default_query_exec_mode=simple_protocol", own: true},
	},

	demote:  `SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY`,
	columns: `SELECT table_name, column_name FROM information_schema.columns WHERE table_name LIKE 'authagent_%'`,
	// Any lock on the table of migrations will do.
	holdLock:  []string{`CREATE TABLE authagent_migrations (version INTEGER)`, `BEGIN`, `LOCK TABLE authagent_migrations`},
	letLockGo: []string{`ROLLBACK`, `DROP TABLE authagent_migrations`},
	crowd: func(user string) (begin, finish []string) {
		return []string{
			`CREATE ROLE ` + user + ` LOGIN CONNECTION LIMIT 1`,
			`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ` + user,
		}, []string{`DROP OWNED BY ` + user, `DROP ROLE ` + user}
	},
	series:     `(SELECT n::bigint FROM generate_series(1, %d) n) s`,
	hash:       `sha256(('x' || n)::bytea)`,
	blob:       `convert_to(repeat('x', 400), 'UTF8')`,
	numberedBy: `('%s' || n)`,
	analyze:    `VACUUM ANALYZE authagent_`,
	explain:    `EXPLAIN `,
	byIndex: func(plan, _ string) bool {
		return strings.Contains(plan, "Index") && !strings.Contains(plan, "Seq Scan") && !strings.Contains(plan, "Sort")
	},

	accountColumns: []string{"TEXT", "VARCHAR(255) UNIQUE", `TEXT COLLATE "C"`},
	documented:     `lower(email COLLATE "C") = $1`,
	dollars:        true,
}
