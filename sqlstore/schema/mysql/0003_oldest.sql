-- The newest migration of the oldest program that goes on with this one; 0 for all.
-- MySQL cannot add a column only if it is not there.
SET @authagent_add = (SELECT IF(COUNT(*) = 0,
	'ALTER TABLE authagent_migrations ADD COLUMN oldest INTEGER NOT NULL DEFAULT 0', 'DO 0')
	FROM information_schema.columns
	WHERE table_schema = DATABASE() AND table_name = 'authagent_migrations' AND column_name = 'oldest');

PREPARE authagent_add FROM @authagent_add;

EXECUTE authagent_add;

DEALLOCATE PREPARE authagent_add;

INSERT IGNORE INTO authagent_migrations (version) VALUES (3);
