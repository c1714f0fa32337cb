-- What has to come back as it was, and may be no text, is binary.

CREATE TABLE authagent_grants (
	id             TEXT    NOT NULL PRIMARY KEY,
	grant_key      BLOB    NOT NULL, -- of issuer, agent, scenario and user
	agent_key      BLOB    NOT NULL, -- of issuer and agent
	version        INTEGER NOT NULL,
	issuer         TEXT    NOT NULL,
	agent_id       TEXT    NOT NULL,
	scenario       TEXT    NOT NULL,
	user_id        TEXT    NOT NULL,
	state          TEXT    NOT NULL,
	access         TEXT    NOT NULL,
	actions        TEXT    NOT NULL, -- JSON
	name           TEXT    NOT NULL,
	model          TEXT    NOT NULL,
	email          TEXT    NOT NULL,
	requested_at   INTEGER NOT NULL,
	requested_from TEXT    NOT NULL,
	decided_at     INTEGER NOT NULL, -- the least number for never
	expires_at     INTEGER NOT NULL,
	sessions_from  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX authagent_grants_key ON authagent_grants (grant_key);

CREATE INDEX authagent_grants_agent ON authagent_grants (agent_key);

CREATE INDEX authagent_grants_user ON authagent_grants (user_id);

CREATE INDEX authagent_grants_expiry ON authagent_grants (state, expires_at);

CREATE TABLE authagent_approvals (
	id           TEXT    NOT NULL PRIMARY KEY,
	approval_key BLOB    NOT NULL, -- of user and digest
	version      INTEGER NOT NULL,
	user_id      TEXT    NOT NULL,
	digest       TEXT    NOT NULL,
	grant_id     TEXT    NOT NULL,
	issuer       TEXT    NOT NULL,
	agent_id     TEXT    NOT NULL,
	action       TEXT    NOT NULL,
	state        TEXT    NOT NULL,
	method       TEXT    NOT NULL,
	target       BLOB    NOT NULL, -- as it came, which may be no text
	content_type BLOB    NOT NULL,
	body         BLOB,
	requested_at INTEGER NOT NULL,
	expires_at   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX authagent_approvals_key ON authagent_approvals (approval_key);

CREATE INDEX authagent_approvals_user ON authagent_approvals (user_id, expires_at);

CREATE INDEX authagent_approvals_expiry ON authagent_approvals (expires_at);

CREATE TABLE authagent_activity (
	session_id  TEXT    NOT NULL PRIMARY KEY,
	grant_id    TEXT    NOT NULL,
	user_id     TEXT    NOT NULL,
	remote_addr TEXT    NOT NULL,
	network     TEXT    NOT NULL,
	started_at  INTEGER NOT NULL,
	seen_at     INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX authagent_activity_user ON authagent_activity (user_id, expires_at);

CREATE INDEX authagent_activity_expiry ON authagent_activity (expires_at);

CREATE TABLE authagent_uses (
	use_key     BLOB    NOT NULL PRIMARY KEY, -- of grant and network
	first_of    TEXT,             -- the grant, in the row of its first use only
	grant_id    TEXT    NOT NULL,
	user_id     TEXT    NOT NULL,
	remote_addr TEXT    NOT NULL,
	seen_at     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX authagent_uses_first ON authagent_uses (first_of);

CREATE INDEX authagent_uses_grant ON authagent_uses (grant_id, seen_at);

CREATE INDEX authagent_uses_user ON authagent_uses (user_id);

CREATE TABLE authagent_deeds (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	user_id     TEXT    NOT NULL,
	grant_id    TEXT    NOT NULL,
	happened_at INTEGER NOT NULL,
	event       TEXT    NOT NULL,
	action      TEXT    NOT NULL,
	route       TEXT    NOT NULL,
	outcome     TEXT    NOT NULL,
	reason      TEXT    NOT NULL
);

CREATE INDEX authagent_deeds_user ON authagent_deeds (user_id, happened_at, id);

CREATE INDEX authagent_deeds_time ON authagent_deeds (happened_at);

CREATE TABLE authagent_rules (
	id    INTEGER NOT NULL PRIMARY KEY, -- 1: there is one row
	rules TEXT    NOT NULL              -- JSON
) WITHOUT ROWID;

INSERT INTO authagent_migrations (version) VALUES (2);
