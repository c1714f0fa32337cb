-- What an action costs, which one performance an approval was let through for, what owners
-- allow up to an amount, and what a transaction of the site has used. An earlier version of
-- this package leaves all of it as it is.

ALTER TABLE authagent_events
	ADD COLUMN amount   BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN currency TEXT COLLATE "C" NOT NULL DEFAULT '';

-- The times are null for never.
ALTER TABLE authagent_approvals
	ADD COLUMN amount      BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN currency    TEXT COLLATE "C" NOT NULL DEFAULT '',
	ADD COLUMN reservation TEXT COLLATE "C" NOT NULL DEFAULT '',
	ADD COLUMN reserved_at BIGINT,
	ADD COLUMN ends_at     BIGINT;

CREATE TABLE authagent_allowances (
	id         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
	user_id    TEXT   COLLATE "C" NOT NULL,
	grant_id   TEXT   COLLATE "C" NOT NULL,
	version    BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	allowance  TEXT   NOT NULL -- JSON
);

CREATE INDEX authagent_allowances_user ON authagent_allowances (user_id);

CREATE INDEX authagent_allowances_expiry ON authagent_allowances (expires_at);

CREATE TABLE authagent_reservations (
	id         TEXT     COLLATE "C" NOT NULL PRIMARY KEY,
	used       SMALLINT NOT NULL, -- 1: by a transaction of the site; 0: never
	expires_at BIGINT   NOT NULL
);

CREATE INDEX authagent_reservations_expiry ON authagent_reservations (expires_at);

INSERT INTO authagent_migrations (version) VALUES (12);
