-- The host that a request was sent to, which its owner is shown. An earlier version
-- of this package leaves it empty.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_approvals' AND column_name = 'host') = 0,
'ALTER TABLE authagent_approvals ADD COLUMN host VARBINARY(255) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (5);
