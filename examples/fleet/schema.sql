CREATE TABLE IF NOT EXISTS fleet_users (
	id             TEXT PRIMARY KEY,
	email          TEXT NOT NULL,
	email_verified BOOLEAN NOT NULL,
	disabled       BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE UNIQUE INDEX IF NOT EXISTS fleet_users_email ON fleet_users (lower(email COLLATE "C"));

-- What people sign in with: codes, for once, and the sessions that they open.
CREATE TABLE IF NOT EXISTS fleet_people (
	secret_key BYTEA PRIMARY KEY, -- SHA-256
	kind       TEXT NOT NULL,
	user_id    TEXT NOT NULL REFERENCES fleet_users,
	expires_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE IF NOT EXISTS fleet_orders (
	id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	user_id      TEXT NOT NULL REFERENCES fleet_users,
	request_key  TEXT NOT NULL,
	item         TEXT NOT NULL,
	performed_by TEXT NOT NULL,
	UNIQUE (user_id, request_key)
);

-- The deed in the audit trail. Instances of a release that does not know it insert none.
ALTER TABLE fleet_orders ADD COLUMN IF NOT EXISTS deed TEXT;

-- Nothing here keeps a payout from being made twice: the owner's approval does.
CREATE TABLE IF NOT EXISTS fleet_payouts (
	id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	user_id      TEXT NOT NULL REFERENCES fleet_users,
	request_key  TEXT NOT NULL,
	performed_by TEXT NOT NULL
);
ALTER TABLE fleet_payouts ADD COLUMN IF NOT EXISTS deed TEXT;
