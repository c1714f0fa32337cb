-- The user of the server for whom an agent acts. An earlier version of this package
-- leaves it empty: such a grant is for no such user.

ALTER TABLE authagent_grants ADD COLUMN subject TEXT COLLATE "C" NOT NULL DEFAULT '';

INSERT INTO authagent_migrations (version) VALUES (7);
