-- The host that a request was sent to, which its owner is shown. An earlier version
-- of this package leaves it empty.

ALTER TABLE authagent_approvals ADD COLUMN host TEXT COLLATE "C" NOT NULL DEFAULT '';

INSERT INTO authagent_migrations (version) VALUES (5);
