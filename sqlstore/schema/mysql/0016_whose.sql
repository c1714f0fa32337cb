-- By which an account is erased and exported without reading all of these tables. An earlier version of this package needs
-- none of it. While an index is built, rows can be stored.

-- MySQL has no ADD KEY IF NOT EXISTS, and this may run again.
SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'authagent_events' AND index_name = 'authagent_events_human') = 0,
'ALTER TABLE authagent_events ADD KEY authagent_events_human (human_id, id)', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'authagent_links' AND index_name = 'authagent_links_user') = 0,
'ALTER TABLE authagent_links ADD KEY authagent_links_user (user_id)', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

SET @authagent_ddl = IF((SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'authagent_profiles' AND index_name = 'authagent_profiles_user') = 0,
'ALTER TABLE authagent_profiles ADD KEY authagent_profiles_user (user_id)', 'DO 0');

PREPARE authagent_statement FROM @authagent_ddl;

EXECUTE authagent_statement;

DEALLOCATE PREPARE authagent_statement;

INSERT IGNORE INTO authagent_migrations (version) VALUES (16);
