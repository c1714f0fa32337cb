-- How many refused requests an event stands for. An earlier version of this package
-- writes one event for each.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_events' AND column_name = 'count') = 0,
'ALTER TABLE authagent_events ADD COLUMN count BIGINT NOT NULL DEFAULT 1', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (6);
