-- The mark of what has ended. Programs that do not know it go by revoked_at, which
-- is written as well.
SET @authagent_add = (SELECT IF(COUNT(*) = 0,
	'ALTER TABLE authagent_revocations ADD COLUMN mark VARBINARY(64) NOT NULL DEFAULT \'\'', 'DO 0')
	FROM information_schema.columns
	WHERE table_schema = DATABASE() AND table_name = 'authagent_revocations' AND column_name = 'mark');

PREPARE authagent_add FROM @authagent_add;

EXECUTE authagent_add;

DEALLOCATE PREPARE authagent_add;

INSERT IGNORE INTO authagent_migrations (version) VALUES (4);
