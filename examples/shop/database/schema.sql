CREATE TABLE IF NOT EXISTS shop_users (
	id               TEXT PRIMARY KEY,
	email            TEXT NOT NULL UNIQUE, -- plain, in lower case, and confirmed by its holder
	name             TEXT NOT NULL,
	password_hash    TEXT NOT NULL,
	password_changes BIGINT NOT NULL -- sessions from before the last one have ended
);

-- How a user reads. It is a table of its own because shops of an earlier version have users already.
CREATE TABLE IF NOT EXISTS shop_locales (
	user_id   TEXT PRIMARY KEY,
	language  TEXT NOT NULL, -- a tag, such as de; empty for the browser's
	time_zone TEXT NOT NULL  -- of the IANA database, such as Europe/Berlin; empty for UTC
);

-- What somebody has to confirm with a link that they were mailed: a new account,
-- or an account's new address.
CREATE TABLE IF NOT EXISTS shop_confirmations (
	token_hash    TEXT PRIMARY KEY,
	user_id       TEXT NOT NULL, -- empty for a new account
	email         TEXT NOT NULL,
	name          TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	expires_at    BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS shop_sessions (
	token_hash TEXT PRIMARY KEY,
	data       BYTEA NOT NULL,
	expires_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS shop_products (
	id       TEXT PRIMARY KEY,
	name     TEXT NOT NULL,
	about    TEXT NOT NULL,
	price    BIGINT NOT NULL, -- in cents, as every amount
	position BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS shop_cart (
	user_id    TEXT NOT NULL,
	product_id TEXT NOT NULL,
	quantity   BIGINT NOT NULL,
	PRIMARY KEY (user_id, product_id)
);

CREATE TABLE IF NOT EXISTS shop_orders (
	id        TEXT PRIMARY KEY,
	user_id   TEXT NOT NULL,
	state     TEXT NOT NULL,
	total     BIGINT NOT NULL,
	placed_at BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS shop_orders_user ON shop_orders (user_id, placed_at);

CREATE TABLE IF NOT EXISTS shop_order_items (
	order_id TEXT NOT NULL,
	position BIGINT NOT NULL,
	name     TEXT NOT NULL, -- name and price as they were
	price    BIGINT NOT NULL,
	quantity BIGINT NOT NULL,
	PRIMARY KEY (order_id, position)
);

-- Who did what to an order. agent_id is empty where it was the human.
CREATE TABLE IF NOT EXISTS shop_order_history (
	order_id     TEXT NOT NULL,
	position     BIGINT NOT NULL,
	state        TEXT NOT NULL,
	happened_at  BIGINT NOT NULL,
	agent_issuer TEXT NOT NULL,
	agent_id     TEXT NOT NULL,
	bank_account TEXT NOT NULL, -- where a refund was paid to; empty otherwise
	PRIMARY KEY (order_id, position)
);
