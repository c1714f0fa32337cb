-- Text compares byte for byte: SQLite's default collation is BINARY.
-- Times are nanoseconds since 1970 UTC. Keys of 32 bytes are SHA-256.

CREATE TABLE authagent_migrations (
	version    INTEGER NOT NULL PRIMARY KEY,
	applied_at TEXT    NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE authagent_profiles (
	profile_key BLOB    NOT NULL PRIMARY KEY, -- of issuer, agent and scenario
	id          TEXT    NOT NULL,
	issuer      TEXT    NOT NULL,
	agent_id    TEXT    NOT NULL,
	scenario    TEXT    NOT NULL,
	user_id     TEXT    NOT NULL, -- empty for none
	model       TEXT    NOT NULL,
	name        TEXT    NOT NULL,
	created_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX authagent_profiles_id ON authagent_profiles (id);

CREATE TABLE authagent_links (
	agent_key BLOB    NOT NULL PRIMARY KEY, -- of issuer and agent
	issuer    TEXT    NOT NULL,
	agent_id  TEXT    NOT NULL,
	user_id   TEXT    NOT NULL,
	linked_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE authagent_states (
	id         TEXT    NOT NULL PRIMARY KEY,
	expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX authagent_states_expiry ON authagent_states (expires_at);

CREATE TABLE authagent_revocations (
	revocation_key BLOB    NOT NULL PRIMARY KEY, -- of subject
	subject        TEXT    NOT NULL, -- for people
	revoked_at     INTEGER NOT NULL,
	expires_at     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX authagent_revocations_expiry ON authagent_revocations (expires_at);

CREATE TABLE authagent_tokens (
	session_id TEXT    NOT NULL PRIMARY KEY,
	sealed     BLOB    NOT NULL,
	expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX authagent_tokens_expiry ON authagent_tokens (expires_at);

CREATE TABLE authagent_sessions (
	session_key BLOB    NOT NULL PRIMARY KEY, -- of the ID that the client has
	data        BLOB    NOT NULL,
	expires_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX authagent_sessions_expiry ON authagent_sessions (expires_at);

CREATE TABLE authagent_events (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	happened_at  INTEGER NOT NULL,
	name         TEXT    NOT NULL,
	request_id   TEXT    NOT NULL,
	method       TEXT    NOT NULL,
	route        TEXT    NOT NULL,
	remote_addr  TEXT    NOT NULL,
	issuer       TEXT    NOT NULL,
	session_id   TEXT    NOT NULL,
	agent_key    BLOB,             -- of issuer and agent; null for none
	agent_issuer TEXT    NOT NULL,
	agent_id     TEXT    NOT NULL,
	scenario     TEXT    NOT NULL,
	user_id      TEXT    NOT NULL,
	human_id     TEXT    NOT NULL,
	profile_id   TEXT    NOT NULL,
	grant_id     TEXT    NOT NULL,
	access       TEXT    NOT NULL,
	action       TEXT    NOT NULL,
	outcome      TEXT    NOT NULL,
	reason       TEXT    NOT NULL,
	detail       TEXT    NOT NULL
);

CREATE INDEX authagent_events_time ON authagent_events (happened_at, id);

CREATE INDEX authagent_events_user ON authagent_events (user_id, happened_at, id);

CREATE INDEX authagent_events_agent ON authagent_events (agent_key, happened_at, id);

INSERT INTO authagent_migrations (version) VALUES (1);
