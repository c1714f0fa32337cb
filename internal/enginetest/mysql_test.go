package enginetest_test

import (
	"database/sql"
	"strings"

	_ "github.com/go-sql-driver/mysql"

	"github.com/authagent-go/authagent/sqlstore"
)

var mysql = engine{
	name: "MySQL", driver: "mysql", dialect: sqlstore.MySQL, variable: "AUTHAGENT_MYSQL",
	readOnly: "tx_read_only=1", several: []string{"multiStatements=true"}, prepares: []string{"interpolateParams=true"},
	settings: []string{
		"interpolateParams=false",
		"clientFoundRows=true&interpolateParams=true&parseTime=true&loc=Local",
		"charset=latin1&sql_mode=''", // cuts and alters what does not fit, without an error
		"tx_isolation='SERIALIZABLE'",
	},
	atOnce:  []string{"interpolateParams=true", "interpolateParams=false"},
	hostile: []string{"charset=utf8mb4", "sql_mode=''"},

	transactions: []transaction{
		{name: "read uncommitted", isolation: sql.LevelReadUncommitted, setting: "tx_isolation='READ-UNCOMMITTED'"},
		{name: "read committed", isolation: sql.LevelReadCommitted},
		{name: "repeatable read", isolation: sql.LevelRepeatableRead},
		{name: "serializable", isolation: sql.LevelSerializable, setting: "interpolateParams=true&clientFoundRows=true"},
		{name: "of one snapshot", isolation: sql.LevelRepeatableRead, setting: "innodb_snapshot_isolation=1", own: true}, // MariaDB's
	},

	demote:  `SET SESSION TRANSACTION READ ONLY`,
	columns: `SELECT table_name, column_name FROM information_schema.columns WHERE table_name LIKE 'authagent_%'`,
	// Any lock on the table of migrations will do. The table stays, as of a migration
	// that began: who waits for it has to find it.
	holdLock:  []string{`CREATE TABLE authagent_migrations (version INTEGER PRIMARY KEY)`, `LOCK TABLES authagent_migrations WRITE`},
	letLockGo: []string{`UNLOCK TABLES`},
	waiting:   `SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock'`,
	crowd: func(user string) (begin, finish []string) {
		return []string{
			`CREATE USER ` + user + ` WITH MAX_USER_CONNECTIONS 1`,
			`GRANT ALL ON *.* TO ` + user,
		}, []string{`DROP USER ` + user}
	},
	series:     `(SELECT seq AS n FROM seq_1_to_%d) s`,
	hash:       `UNHEX(SHA2(CONCAT('x', n), 256))`,
	blob:       `REPEAT('x', 400)`,
	numberedBy: `CONCAT('%s', n)`,
	analyze:    `ANALYZE TABLE authagent_`,
	explain:    `EXPLAIN `,
	// One table each: a key, and nothing sorted; type const has "no matching row" as well.
	byIndex: func(plan, prefix string) bool {
		return (strings.Contains(plan, "key=PRIMARY") || strings.Contains(plan, "key="+prefix) ||
			strings.Contains(plan, "no matching row") || strings.Contains(plan, "Impossible WHERE")) &&
			!strings.Contains(plan, "type=ALL") && !strings.Contains(plan, "filesort")
	},

	accountColumns: []string{
		"VARCHAR(191)", "VARCHAR(191) COLLATE utf8mb4_general_ci", "VARCHAR(191) COLLATE utf8mb4_unicode_ci",
		"VARCHAR(191) COLLATE utf8mb4_bin", "VARCHAR(191) COLLATE utf8mb4_unicode_ci UNIQUE",
	},
	accountOptions: " CHARACTER SET utf8mb4",
	documented:     `LOWER(email) = ?`,
}
