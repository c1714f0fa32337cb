-- What an owner calls an agent, and whether the owner wants to see the grant when it is
-- over. An earlier version of this package leaves both as they are.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_grants' AND column_name = 'nickname') = 0,
'ALTER TABLE authagent_grants ADD COLUMN nickname VARBINARY(255) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_grants' AND column_name = 'hidden') = 0,
'ALTER TABLE authagent_grants ADD COLUMN hidden TINYINT NOT NULL DEFAULT 0', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (8);
