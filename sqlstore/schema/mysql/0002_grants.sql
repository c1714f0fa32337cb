-- What has to come back as it was is binary: IDs and addresses, since they
-- decide, requests, since an owner approves what is shown, and JSON.

CREATE TABLE IF NOT EXISTS authagent_grants (
	id             VARBINARY(255)  NOT NULL PRIMARY KEY,
	grant_key      BINARY(32)      NOT NULL, -- of issuer, agent, scenario and user
	agent_key      BINARY(32)      NOT NULL, -- of issuer and agent
	version        BIGINT          NOT NULL,
	issuer         VARBINARY(2048) NOT NULL,
	agent_id       VARBINARY(255)  NOT NULL,
	scenario       VARBINARY(255)  NOT NULL,
	user_id        VARBINARY(255)  NOT NULL,
	state          VARBINARY(255)  NOT NULL,
	access         VARBINARY(255)  NOT NULL,
	actions        MEDIUMBLOB      NOT NULL, -- JSON
	name           TEXT            NOT NULL,
	model          TEXT            NOT NULL,
	email          VARBINARY(4096) NOT NULL,
	requested_at   BIGINT          NOT NULL,
	requested_from VARBINARY(255)  NOT NULL,
	decided_at     BIGINT          NOT NULL, -- the least number for never
	expires_at     BIGINT          NOT NULL,
	sessions_from  BIGINT          NOT NULL,
	UNIQUE KEY authagent_grants_key (grant_key),
	KEY authagent_grants_agent (agent_key),
	KEY authagent_grants_user (user_id),
	KEY authagent_grants_expiry (state, expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_approvals (
	id           VARBINARY(255)  NOT NULL PRIMARY KEY,
	approval_key BINARY(32)      NOT NULL, -- of user and digest
	version      BIGINT          NOT NULL,
	user_id      VARBINARY(255)  NOT NULL,
	digest       VARBINARY(255)  NOT NULL,
	grant_id     VARBINARY(255)  NOT NULL,
	issuer       VARBINARY(2048) NOT NULL,
	agent_id     VARBINARY(255)  NOT NULL,
	action       VARBINARY(255)  NOT NULL,
	state        VARBINARY(255)  NOT NULL,
	method       VARBINARY(255)  NOT NULL,
	target       MEDIUMBLOB      NOT NULL,
	content_type BLOB            NOT NULL,
	body         MEDIUMBLOB,
	requested_at BIGINT          NOT NULL,
	expires_at   BIGINT          NOT NULL,
	UNIQUE KEY authagent_approvals_key (approval_key),
	KEY authagent_approvals_user (user_id, expires_at),
	KEY authagent_approvals_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_activity (
	session_id  VARBINARY(255) NOT NULL PRIMARY KEY,
	grant_id    VARBINARY(255) NOT NULL,
	user_id     VARBINARY(255) NOT NULL,
	remote_addr VARBINARY(255) NOT NULL,
	network     VARBINARY(255) NOT NULL,
	started_at  BIGINT         NOT NULL,
	seen_at     BIGINT         NOT NULL,
	expires_at  BIGINT         NOT NULL,
	KEY authagent_activity_user (user_id, expires_at),
	KEY authagent_activity_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_uses (
	use_key     BINARY(32)     NOT NULL PRIMARY KEY, -- of grant and network
	first_of    VARBINARY(255),                      -- the grant, in the row of its first use only
	grant_id    VARBINARY(255) NOT NULL,
	user_id     VARBINARY(255) NOT NULL,
	remote_addr VARBINARY(255) NOT NULL,
	seen_at     BIGINT         NOT NULL,
	UNIQUE KEY authagent_uses_first (first_of),
	KEY authagent_uses_grant (grant_id, seen_at),
	KEY authagent_uses_user (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_deeds (
	id          BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
	user_id     VARBINARY(255) NOT NULL,
	grant_id    VARBINARY(255) NOT NULL,
	happened_at BIGINT         NOT NULL,
	event       VARBINARY(255) NOT NULL,
	action      VARBINARY(255) NOT NULL,
	route       TEXT           NOT NULL,
	outcome     VARBINARY(255) NOT NULL,
	reason      VARBINARY(255) NOT NULL,
	KEY authagent_deeds_user (user_id, happened_at, id),
	KEY authagent_deeds_time (happened_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS authagent_rules (
	id    INTEGER    NOT NULL PRIMARY KEY, -- 1: there is one row
	rules MEDIUMBLOB NOT NULL              -- JSON
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO authagent_migrations (version) VALUES (2);
