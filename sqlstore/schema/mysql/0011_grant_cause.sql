-- Why a grant is suspended, and the era of the grant at that time. An earlier version of this
-- package leaves both as they are. If it lets the agent in again, the grant gets another era,
-- by which a cause is known that does not count any more.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_grants' AND column_name = 'cause') = 0,
'ALTER TABLE authagent_grants ADD COLUMN cause VARBINARY(255) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_grants' AND column_name = 'cause_era') = 0,
'ALTER TABLE authagent_grants ADD COLUMN cause_era BIGINT NOT NULL DEFAULT 0', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (11);
