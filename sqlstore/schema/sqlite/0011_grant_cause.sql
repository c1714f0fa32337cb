-- Why a grant is suspended, and the era of the grant at that time. An earlier version of this
-- package leaves both as they are. If it lets the agent in again, the grant gets another era,
-- by which a cause is known that does not count any more.

ALTER TABLE authagent_grants ADD COLUMN cause TEXT NOT NULL DEFAULT '';

ALTER TABLE authagent_grants ADD COLUMN cause_era INTEGER NOT NULL DEFAULT 0;

INSERT INTO authagent_migrations (version) VALUES (11);
