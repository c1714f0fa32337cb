-- What a request is checked against beside its session, so that one statement can read all of it: the keys of
-- its marks, 32 bytes each, and its grant. Null where that is not known: an earlier version of this package leaves it so.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_sessions' AND column_name = 'marks') = 0,
'ALTER TABLE authagent_sessions ADD COLUMN marks VARBINARY(256), ADD COLUMN grant_id VARBINARY(255)', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (15);
