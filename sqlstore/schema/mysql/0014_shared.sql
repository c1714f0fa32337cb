-- What an agent changes is on record before it is done (deed joins its two events), limits and
-- turns are shared by instances, tokens can be found by their account, and a grant says when its
-- agent has asked before. An earlier version of this package leaves all of it as it is.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and this may run again. One ALTER adds column and index or
-- neither.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_events' AND column_name = 'deed') = 0,
'ALTER TABLE authagent_events ADD COLUMN deed VARBINARY(255)', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_tokens' AND column_name = 'user_id') = 0,
'ALTER TABLE authagent_tokens ADD COLUMN user_id VARBINARY(255) NOT NULL DEFAULT \'\', ADD COLUMN agent_id VARBINARY(255) NOT NULL DEFAULT \'\', ADD KEY authagent_tokens_user (user_id)', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

-- The times are in nanoseconds since 1970; null for none.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'authagent_grants' AND column_name = 'asked_before') = 0,
'ALTER TABLE authagent_grants ADD COLUMN asked_before MEDIUMBLOB', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

CREATE TABLE IF NOT EXISTS authagent_limits (
	limit_key BINARY(32) NOT NULL PRIMARY KEY, -- of what is counted
	whole_at  BIGINT     NOT NULL,             -- when its budget is whole again, by the database's clock
	KEY authagent_limits_expiry (whole_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_turns (
	turn_key BINARY(32) NOT NULL PRIMARY KEY -- of whose turn it is; the row is locked during the turn
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO authagent_migrations (version) VALUES (14);
