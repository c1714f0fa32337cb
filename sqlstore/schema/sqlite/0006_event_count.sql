-- How many refused requests an event stands for. An earlier version of this package
-- writes one event for each.

ALTER TABLE authagent_events ADD COLUMN count INTEGER NOT NULL DEFAULT 1;

INSERT INTO authagent_migrations (version) VALUES (6);
