-- IDs are VARBINARY: they compare byte for byte, without a collation that
-- ignores case or trailing spaces. Times are nanoseconds since 1970 UTC. Keys of
-- 32 bytes are SHA-256, as what they stand for is longer than an index may be.
-- The engine commits each statement by itself, so each can be run again.

CREATE TABLE IF NOT EXISTS authagent_migrations (
	version    INTEGER   NOT NULL PRIMARY KEY,
	applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS authagent_profiles (
	profile_key BINARY(32)      NOT NULL PRIMARY KEY, -- of issuer, agent and scenario
	id          VARBINARY(64)   NOT NULL,
	issuer      VARBINARY(2048) NOT NULL,
	agent_id    VARBINARY(255)  NOT NULL,
	scenario    VARBINARY(255)  NOT NULL,
	user_id     VARBINARY(255)  NOT NULL, -- empty for none
	model       TEXT            NOT NULL,
	name        TEXT            NOT NULL,
	created_at  BIGINT          NOT NULL,
	UNIQUE KEY authagent_profiles_id (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_links (
	agent_key BINARY(32)      NOT NULL PRIMARY KEY, -- of issuer and agent
	issuer    VARBINARY(2048) NOT NULL,
	agent_id  VARBINARY(255)  NOT NULL,
	user_id   VARBINARY(255)  NOT NULL,
	linked_at BIGINT          NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_states (
	id         VARBINARY(255) NOT NULL PRIMARY KEY,
	expires_at BIGINT         NOT NULL,
	KEY authagent_states_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_revocations (
	revocation_key BINARY(32)      NOT NULL PRIMARY KEY, -- of subject
	subject        VARBINARY(4096) NOT NULL, -- for people
	revoked_at     BIGINT          NOT NULL,
	expires_at     BIGINT          NOT NULL,
	KEY authagent_revocations_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_tokens (
	session_id VARBINARY(255) NOT NULL PRIMARY KEY,
	sealed     MEDIUMBLOB     NOT NULL,
	expires_at BIGINT         NOT NULL,
	KEY authagent_tokens_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_sessions (
	session_key BINARY(32) NOT NULL PRIMARY KEY, -- of the ID that the client has
	data        MEDIUMBLOB NOT NULL,
	expires_at  BIGINT     NOT NULL,
	KEY authagent_sessions_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_events (
	id           BIGINT          NOT NULL AUTO_INCREMENT PRIMARY KEY,
	happened_at  BIGINT          NOT NULL,
	name         VARBINARY(255)  NOT NULL,
	request_id   VARBINARY(255)  NOT NULL,
	method       VARBINARY(255)  NOT NULL,
	route        VARBINARY(255)  NOT NULL,
	remote_addr  VARBINARY(255)  NOT NULL,
	issuer       VARBINARY(2048) NOT NULL,
	session_id   VARBINARY(255)  NOT NULL,
	agent_key    BINARY(32),               -- of issuer and agent; null for none
	agent_issuer VARBINARY(2048) NOT NULL,
	agent_id     VARBINARY(255)  NOT NULL,
	scenario     VARBINARY(255)  NOT NULL,
	user_id      VARBINARY(255)  NOT NULL,
	human_id     VARBINARY(255)  NOT NULL,
	profile_id   VARBINARY(255)  NOT NULL,
	grant_id     VARBINARY(255)  NOT NULL,
	access       VARBINARY(255)  NOT NULL,
	action       VARBINARY(255)  NOT NULL,
	outcome      VARBINARY(255)  NOT NULL,
	reason       VARBINARY(255)  NOT NULL,
	detail       TEXT            NOT NULL,
	KEY authagent_events_time (happened_at, id),
	KEY authagent_events_user (user_id, happened_at, id),
	KEY authagent_events_agent (agent_key, happened_at, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO authagent_migrations (version) VALUES (1);
