-- Keeps the place of a migration that another change adds.

INSERT IGNORE INTO authagent_migrations (version) VALUES (11);
