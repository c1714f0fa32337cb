-- What a request would do, as the site has described it to its owner. An earlier version
-- of this package leaves it empty.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_approvals' AND column_name = 'description') = 0,
'ALTER TABLE authagent_approvals ADD COLUMN description VARBINARY(1024) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (9);
