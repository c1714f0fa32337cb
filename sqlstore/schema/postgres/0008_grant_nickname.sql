-- What an owner calls an agent, and whether the owner wants to see the grant when it is
-- over. An earlier version of this package leaves both as they are.

ALTER TABLE authagent_grants ADD COLUMN nickname TEXT COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE authagent_grants ADD COLUMN hidden SMALLINT NOT NULL DEFAULT 0;

INSERT INTO authagent_migrations (version) VALUES (8);
