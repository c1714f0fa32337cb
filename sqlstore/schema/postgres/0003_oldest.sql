-- The newest migration of the oldest program that goes on with this one; 0 for all.
ALTER TABLE authagent_migrations ADD COLUMN oldest INTEGER NOT NULL DEFAULT 0;

INSERT INTO authagent_migrations (version) VALUES (3);
