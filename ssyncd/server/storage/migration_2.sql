-- From version 1, whose accounts belonged to no application: they become those of the built-in one. Runs with foreign keys off,
-- because a table that another refers to is replaced.
CREATE TABLE users_2 (
    id            TEXT PRIMARY KEY,
    app           TEXT NOT NULL,
    name          TEXT NOT NULL COLLATE NOCASE,
    password_hash TEXT NOT NULL,
    created       INTEGER NOT NULL,
    UNIQUE (app, name)
) WITHOUT ROWID;
INSERT INTO users_2 SELECT id, 'ssyncd', name, password_hash, created FROM users;
DROP TABLE users;
ALTER TABLE users_2 RENAME TO users;
-- They were good for applications that nobody had made.
DELETE FROM tokens WHERE app <> 'ssyncd';
