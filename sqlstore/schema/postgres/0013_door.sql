-- By which door an agent came: empty for a browser, which is what an earlier version of this
-- package means as well.

ALTER TABLE authagent_events ADD COLUMN door TEXT COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE authagent_activity ADD COLUMN door TEXT COLLATE "C" NOT NULL DEFAULT '';

INSERT INTO authagent_migrations (version) VALUES (13);
