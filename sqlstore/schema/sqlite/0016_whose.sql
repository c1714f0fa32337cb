-- By which an account is erased and exported without reading all of these tables. An earlier version of this package needs
-- none of it. To build the first one takes seconds for ten million events, in which none can be stored. IF NOT EXISTS, so
-- that it can be built beforehand in another way.

CREATE INDEX IF NOT EXISTS authagent_events_human ON authagent_events (human_id, id) WHERE human_id <> '';

CREATE INDEX IF NOT EXISTS authagent_links_user ON authagent_links (user_id);

CREATE INDEX IF NOT EXISTS authagent_profiles_user ON authagent_profiles (user_id) WHERE user_id <> '';

INSERT INTO authagent_migrations (version) VALUES (16);
