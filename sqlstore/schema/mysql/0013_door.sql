-- By which door an agent came: empty for a browser, which is what an earlier version of this
-- package means as well.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_events' AND column_name = 'door') = 0,
'ALTER TABLE authagent_events ADD COLUMN door VARBINARY(255) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_activity' AND column_name = 'door') = 0,
'ALTER TABLE authagent_activity ADD COLUMN door VARBINARY(255) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (13);
