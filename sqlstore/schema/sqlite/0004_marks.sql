-- The mark of what has ended. Programs that do not know it go by revoked_at, which
-- is written as well.
ALTER TABLE authagent_revocations ADD COLUMN mark TEXT NOT NULL DEFAULT '';

INSERT INTO authagent_migrations (version) VALUES (4);
