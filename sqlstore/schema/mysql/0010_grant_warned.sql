-- The version that a grant got when its owner was told that it ends soon. An earlier
-- version of this package leaves it as it is.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_grants' AND column_name = 'warned') = 0,
'ALTER TABLE authagent_grants ADD COLUMN warned BIGINT NOT NULL DEFAULT 0', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (10);
