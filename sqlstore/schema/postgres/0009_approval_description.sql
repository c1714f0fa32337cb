-- What a request would do, as the site has described it to its owner. An earlier version
-- of this package leaves it empty.

ALTER TABLE authagent_approvals ADD COLUMN description TEXT COLLATE "C" NOT NULL DEFAULT '';

INSERT INTO authagent_migrations (version) VALUES (9);
