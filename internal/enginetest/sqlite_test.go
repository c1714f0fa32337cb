package enginetest_test

import (
	"strings"

	_ "modernc.org/sqlite"

	"github.com/authagent-go/authagent/sqlstore"
)

// wal is what the package's documentation recommends.
const wal = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"

var sqlite = engine{
	name: "SQLite", driver: "sqlite", dialect: sqlstore.SQLite,
	usual: []string{wal}, readOnly: "mode=ro",
	settings: []string{
		wal,
		"mode=rwc", // as it comes: writers do not wait, and readers hold them up
		"_txlock=immediate&_pragma=case_sensitive_like(0)",
	},
	atOnce: []string{wal, "mode=rwc"}, hostile: []string{wal}, fast: []string{wal},

	transactions: []transaction{
		{name: "deferred", own: true},
		{name: "with a rollback journal", setting: "_pragma=busy_timeout(5000)", alone: true},
		{name: "immediate", setting: wal + "&_txlock=immediate", alone: true},
	},

	demote:     `PRAGMA query_only = 1`,
	columns:    `SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.name LIKE 'authagent_%'`,
	holdLock:   []string{`BEGIN IMMEDIATE`},
	letLockGo:  []string{`ROLLBACK`},
	series:     `(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c) s`,
	hash:       `randomblob(32)`,
	blob:       `randomblob(400)`,
	numberedBy: `('%s' || n)`,
	analyze:    `ANALYZE authagent_`,
	explain:    `EXPLAIN QUERY PLAN `,
	byIndex: func(plan, _ string) bool {
		for line := range strings.Lines(plan) {
			oneRow := strings.Contains(line, "SCAN CONSTANT ROW") || strings.Contains(line, "SCAN o ")
			if strings.Contains(line, "SCAN ") && !strings.Contains(line, "INDEX") && !oneRow {
				return false
			}
		}
		return !strings.Contains(plan, "TEMP B-TREE")
	},

	accountColumns: []string{"TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM", "TEXT COLLATE NOCASE UNIQUE"},
	documented:     `lower(email) = ?`,
}
