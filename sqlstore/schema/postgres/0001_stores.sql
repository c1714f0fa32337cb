-- IDs compare byte for byte, whatever the database's collation: COLLATE "C".
-- Times are nanoseconds since 1970 UTC. Keys of 32 bytes are SHA-256.

CREATE TABLE authagent_migrations (
	version    INTEGER   NOT NULL PRIMARY KEY,
	applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE authagent_profiles (
	profile_key BYTEA  NOT NULL PRIMARY KEY, -- of issuer, agent and scenario
	id          TEXT   COLLATE "C" NOT NULL,
	issuer      TEXT   COLLATE "C" NOT NULL,
	agent_id    TEXT   COLLATE "C" NOT NULL,
	scenario    TEXT   COLLATE "C" NOT NULL,
	user_id     TEXT   COLLATE "C" NOT NULL, -- empty for none
	model       TEXT   NOT NULL,
	name        TEXT   NOT NULL,
	created_at  BIGINT NOT NULL
);

CREATE UNIQUE INDEX authagent_profiles_id ON authagent_profiles (id);

CREATE TABLE authagent_links (
	agent_key BYTEA  NOT NULL PRIMARY KEY, -- of issuer and agent
	issuer    TEXT   COLLATE "C" NOT NULL,
	agent_id  TEXT   COLLATE "C" NOT NULL,
	user_id   TEXT   COLLATE "C" NOT NULL,
	linked_at BIGINT NOT NULL
);

CREATE TABLE authagent_states (
	id         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
	expires_at BIGINT NOT NULL
);

CREATE INDEX authagent_states_expiry ON authagent_states (expires_at);

CREATE TABLE authagent_revocations (
	revocation_key BYTEA  NOT NULL PRIMARY KEY, -- of subject
	subject        TEXT   COLLATE "C" NOT NULL, -- for people
	revoked_at     BIGINT NOT NULL,
	expires_at     BIGINT NOT NULL
);

CREATE INDEX authagent_revocations_expiry ON authagent_revocations (expires_at);

CREATE TABLE authagent_tokens (
	session_id TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
	sealed     BYTEA  NOT NULL,
	expires_at BIGINT NOT NULL
);

CREATE INDEX authagent_tokens_expiry ON authagent_tokens (expires_at);

CREATE TABLE authagent_sessions (
	session_key BYTEA  NOT NULL PRIMARY KEY, -- of the ID that the client has
	data        BYTEA  NOT NULL,
	expires_at  BIGINT NOT NULL
);

CREATE INDEX authagent_sessions_expiry ON authagent_sessions (expires_at);

CREATE TABLE authagent_events (
	id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	happened_at  BIGINT NOT NULL,
	name         TEXT   COLLATE "C" NOT NULL,
	request_id   TEXT   COLLATE "C" NOT NULL,
	method       TEXT   COLLATE "C" NOT NULL,
	route        TEXT   COLLATE "C" NOT NULL,
	remote_addr  TEXT   COLLATE "C" NOT NULL,
	issuer       TEXT   COLLATE "C" NOT NULL,
	session_id   TEXT   COLLATE "C" NOT NULL,
	agent_key    BYTEA,                      -- of issuer and agent; null for none
	agent_issuer TEXT   COLLATE "C" NOT NULL,
	agent_id     TEXT   COLLATE "C" NOT NULL,
	scenario     TEXT   COLLATE "C" NOT NULL,
	user_id      TEXT   COLLATE "C" NOT NULL,
	human_id     TEXT   COLLATE "C" NOT NULL,
	profile_id   TEXT   COLLATE "C" NOT NULL,
	grant_id     TEXT   COLLATE "C" NOT NULL,
	access       TEXT   COLLATE "C" NOT NULL,
	action       TEXT   COLLATE "C" NOT NULL,
	outcome      TEXT   COLLATE "C" NOT NULL,
	reason       TEXT   COLLATE "C" NOT NULL,
	detail       TEXT   NOT NULL
);

CREATE INDEX authagent_events_time ON authagent_events (happened_at, id);

CREATE INDEX authagent_events_user ON authagent_events (user_id, happened_at, id);

CREATE INDEX authagent_events_agent ON authagent_events (agent_key, happened_at, id);

INSERT INTO authagent_migrations (version) VALUES (1);
