-- What has to come back as it was, and may be no text, is binary.

CREATE TABLE authagent_grants (
	id             TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
	grant_key      BYTEA  NOT NULL, -- of issuer, agent, scenario and user
	agent_key      BYTEA  NOT NULL, -- of issuer and agent
	version        BIGINT NOT NULL,
	issuer         TEXT   COLLATE "C" NOT NULL,
	agent_id       TEXT   COLLATE "C" NOT NULL,
	scenario       TEXT   COLLATE "C" NOT NULL,
	user_id        TEXT   COLLATE "C" NOT NULL,
	state          TEXT   COLLATE "C" NOT NULL,
	access         TEXT   COLLATE "C" NOT NULL,
	actions        TEXT   NOT NULL, -- JSON
	name           TEXT   NOT NULL,
	model          TEXT   NOT NULL,
	email          TEXT   COLLATE "C" NOT NULL,
	requested_at   BIGINT NOT NULL,
	requested_from TEXT   COLLATE "C" NOT NULL,
	decided_at     BIGINT NOT NULL, -- the least number for never
	expires_at     BIGINT NOT NULL,
	sessions_from  BIGINT NOT NULL
);

CREATE UNIQUE INDEX authagent_grants_key ON authagent_grants (grant_key);

CREATE INDEX authagent_grants_agent ON authagent_grants (agent_key);

CREATE INDEX authagent_grants_user ON authagent_grants (user_id);

CREATE INDEX authagent_grants_expiry ON authagent_grants (state, expires_at);

CREATE TABLE authagent_approvals (
	id           TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
	approval_key BYTEA  NOT NULL, -- of user and digest
	version      BIGINT NOT NULL,
	user_id      TEXT   COLLATE "C" NOT NULL,
	digest       TEXT   COLLATE "C" NOT NULL,
	grant_id     TEXT   COLLATE "C" NOT NULL,
	issuer       TEXT   COLLATE "C" NOT NULL,
	agent_id     TEXT   COLLATE "C" NOT NULL,
	action       TEXT   COLLATE "C" NOT NULL,
	state        TEXT   COLLATE "C" NOT NULL,
	method       TEXT   COLLATE "C" NOT NULL,
	target       BYTEA  NOT NULL, -- as it came, which may be no text
	content_type BYTEA  NOT NULL,
	body         BYTEA,
	requested_at BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL
);

CREATE UNIQUE INDEX authagent_approvals_key ON authagent_approvals (approval_key);

CREATE INDEX authagent_approvals_user ON authagent_approvals (user_id, expires_at);

CREATE INDEX authagent_approvals_expiry ON authagent_approvals (expires_at);

CREATE TABLE authagent_activity (
	session_id  TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
	grant_id    TEXT   COLLATE "C" NOT NULL,
	user_id     TEXT   COLLATE "C" NOT NULL,
	remote_addr TEXT   COLLATE "C" NOT NULL,
	network     TEXT   COLLATE "C" NOT NULL,
	started_at  BIGINT NOT NULL,
	seen_at     BIGINT NOT NULL,
	expires_at  BIGINT NOT NULL
);

CREATE INDEX authagent_activity_user ON authagent_activity (user_id, expires_at);

CREATE INDEX authagent_activity_expiry ON authagent_activity (expires_at);

CREATE TABLE authagent_uses (
	use_key     BYTEA  NOT NULL PRIMARY KEY, -- of grant and network
	first_of    TEXT   COLLATE "C",          -- the grant, in the row of its first use only
	grant_id    TEXT   COLLATE "C" NOT NULL,
	user_id     TEXT   COLLATE "C" NOT NULL,
	remote_addr TEXT   COLLATE "C" NOT NULL,
	seen_at     BIGINT NOT NULL
);

CREATE UNIQUE INDEX authagent_uses_first ON authagent_uses (first_of);

CREATE INDEX authagent_uses_grant ON authagent_uses (grant_id, seen_at);

CREATE INDEX authagent_uses_user ON authagent_uses (user_id);

CREATE TABLE authagent_deeds (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	user_id     TEXT   COLLATE "C" NOT NULL,
	grant_id    TEXT   COLLATE "C" NOT NULL,
	happened_at BIGINT NOT NULL,
	event       TEXT   COLLATE "C" NOT NULL,
	action      TEXT   COLLATE "C" NOT NULL,
	route       TEXT   NOT NULL,
	outcome     TEXT   COLLATE "C" NOT NULL,
	reason      TEXT   COLLATE "C" NOT NULL
);

CREATE INDEX authagent_deeds_user ON authagent_deeds (user_id, happened_at, id);

CREATE INDEX authagent_deeds_time ON authagent_deeds (happened_at);

CREATE TABLE authagent_rules (
	id    INTEGER NOT NULL PRIMARY KEY, -- 1: there is one row
	rules TEXT    NOT NULL              -- JSON
);

INSERT INTO authagent_migrations (version) VALUES (2);
