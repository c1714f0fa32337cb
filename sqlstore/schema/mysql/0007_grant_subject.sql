-- The user of the server for whom an agent acts. An earlier version of this package
-- leaves it empty: such a grant is for no such user.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_grants' AND column_name = 'subject') = 0,
'ALTER TABLE authagent_grants ADD COLUMN subject VARBINARY(255) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (7);
