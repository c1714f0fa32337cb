-- The version that a grant got when its owner was told that it ends soon. An earlier
-- version of this package leaves it as it is.

ALTER TABLE authagent_grants ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;

INSERT INTO authagent_migrations (version) VALUES (10);
