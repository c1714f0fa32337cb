-- What an agent changes is on record before it is done (deed joins its two events), limits and
-- turns are shared by instances, tokens can be found by their account, and a grant says when its
-- agent has asked before. An earlier version of this package leaves all of it as it is.

ALTER TABLE authagent_events ADD COLUMN deed TEXT COLLATE "C"; -- null for none

ALTER TABLE authagent_tokens ADD COLUMN user_id TEXT COLLATE "C" NOT NULL DEFAULT ''; -- empty if it is not known

ALTER TABLE authagent_tokens ADD COLUMN agent_id TEXT COLLATE "C" NOT NULL DEFAULT ''; -- likewise

CREATE INDEX authagent_tokens_user ON authagent_tokens (user_id);

ALTER TABLE authagent_grants ADD COLUMN asked_before TEXT COLLATE "C"; -- times in nanoseconds since 1970; null for none

CREATE TABLE authagent_limits (
	limit_key BYTEA  NOT NULL PRIMARY KEY, -- of what is counted
	whole_at  BIGINT NOT NULL              -- when its budget is whole again, by the database's clock
);

CREATE INDEX authagent_limits_expiry ON authagent_limits (whole_at);

CREATE TABLE authagent_turns (
	turn_key BYTEA NOT NULL PRIMARY KEY -- of whose turn it is; the row is locked during the turn
);

INSERT INTO authagent_migrations (version) VALUES (14);
