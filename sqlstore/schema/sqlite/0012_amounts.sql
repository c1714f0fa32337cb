-- What an action costs, which one performance an approval was let through for, what owners
-- allow up to an amount, and what a transaction of the site has used. An earlier version of
-- this package leaves all of it as it is.

ALTER TABLE authagent_events ADD COLUMN amount INTEGER NOT NULL DEFAULT 0;

ALTER TABLE authagent_events ADD COLUMN currency TEXT NOT NULL DEFAULT '';

ALTER TABLE authagent_approvals ADD COLUMN amount INTEGER NOT NULL DEFAULT 0;

ALTER TABLE authagent_approvals ADD COLUMN currency TEXT NOT NULL DEFAULT '';

ALTER TABLE authagent_approvals ADD COLUMN reservation TEXT NOT NULL DEFAULT '';

-- Null for never.
ALTER TABLE authagent_approvals ADD COLUMN reserved_at INTEGER;

ALTER TABLE authagent_approvals ADD COLUMN ends_at INTEGER;

CREATE TABLE authagent_allowances (
	id         TEXT    NOT NULL PRIMARY KEY,
	user_id    TEXT    NOT NULL,
	grant_id   TEXT    NOT NULL,
	version    INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	allowance  TEXT    NOT NULL -- JSON
) WITHOUT ROWID;

CREATE INDEX authagent_allowances_user ON authagent_allowances (user_id);

CREATE INDEX authagent_allowances_expiry ON authagent_allowances (expires_at);

CREATE TABLE authagent_reservations (
	id         TEXT    NOT NULL PRIMARY KEY,
	used       INTEGER NOT NULL, -- 1: by a transaction of the site; 0: never
	expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX authagent_reservations_expiry ON authagent_reservations (expires_at);

INSERT INTO authagent_migrations (version) VALUES (12);
