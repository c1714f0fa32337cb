-- What an action costs, which one performance an approval was let through for, what owners
-- allow up to an amount, and what a transaction of the site has used. An earlier version of
-- this package leaves all of it as it is.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again. One ALTER adds all columns
-- of a table or none.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_events' AND column_name = 'amount') = 0,
'ALTER TABLE authagent_events ADD COLUMN amount BIGINT NOT NULL DEFAULT 0, ADD COLUMN currency VARBINARY(255) NOT NULL DEFAULT \'\'', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

-- The times are null for never.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_approvals' AND column_name = 'amount') = 0,
'ALTER TABLE authagent_approvals ADD COLUMN amount BIGINT NOT NULL DEFAULT 0, ADD COLUMN currency VARBINARY(255) NOT NULL DEFAULT \'\',
ADD COLUMN reservation VARBINARY(255) NOT NULL DEFAULT \'\', ADD COLUMN reserved_at BIGINT, ADD COLUMN ends_at BIGINT', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

CREATE TABLE IF NOT EXISTS authagent_allowances (
	id         VARBINARY(255) NOT NULL PRIMARY KEY,
	user_id    VARBINARY(255) NOT NULL,
	grant_id   VARBINARY(255) NOT NULL,
	version    BIGINT         NOT NULL,
	expires_at BIGINT         NOT NULL,
	allowance  MEDIUMBLOB     NOT NULL, -- JSON
	KEY authagent_allowances_user (user_id),
	KEY authagent_allowances_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_reservations (
	id         VARBINARY(255) NOT NULL PRIMARY KEY,
	used       TINYINT        NOT NULL, -- 1: by a transaction of the site; 0: never
	expires_at BIGINT         NOT NULL,
	KEY authagent_reservations_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO authagent_migrations (version) VALUES (12);
