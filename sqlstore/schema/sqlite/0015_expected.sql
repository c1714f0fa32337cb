-- What a request is checked against beside its session, so that one statement can read all of it: the keys of
-- its marks, 32 bytes each, and its grant. Null where that is not known: an earlier version of this package leaves it so.

ALTER TABLE authagent_sessions ADD COLUMN marks BLOB;

ALTER TABLE authagent_sessions ADD COLUMN grant_id TEXT;

INSERT INTO authagent_migrations (version) VALUES (15);
