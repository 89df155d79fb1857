-- The embedded database of a server. One process serves it; the commands that keep accounts may open it at the same time.

-- Without the built-in one, which is always there.
CREATE TABLE IF NOT EXISTS apps (
    id      TEXT PRIMARY KEY,                 -- lower case
    api_key TEXT NOT NULL,
    created INTEGER NOT NULL                  -- seconds since the epoch
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS users (
    id            TEXT PRIMARY KEY,           -- 32 hex digits, survives a change of name
    app           TEXT NOT NULL,
    name          TEXT NOT NULL COLLATE NOCASE,
    password_hash TEXT NOT NULL,              -- Argon2id, with its parameters
    created       INTEGER NOT NULL,           -- seconds since the epoch
    UNIQUE (app, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tokens (
    digest  BLOB PRIMARY KEY,                 -- SHA-256 of the token: a stolen database signs nobody in
    user    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    app     TEXT NOT NULL,                    -- the user's
    device  TEXT NOT NULL,                    -- a name for people
    created INTEGER NOT NULL,
    used    INTEGER NOT NULL,                 -- written lazily
    admin   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_by_user ON tokens (user);

-- Every opening for writing. A change version names position and nonce, so that one from a lost future is not taken for ours.
CREATE TABLE IF NOT EXISTS runs (
    first_position INTEGER PRIMARY KEY,
    nonce          TEXT NOT NULL
);

-- One row, so that positions never go back even if the newest rows are removed with their account.
CREATE TABLE IF NOT EXISTS log_end (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL
);
INSERT OR IGNORE INTO log_end VALUES (1, 0);

CREATE TABLE IF NOT EXISTS buckets (
    id     INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    user   TEXT NOT NULL,
    app    TEXT NOT NULL,
    name   TEXT NOT NULL,
    floor  INTEGER NOT NULL DEFAULT 0,        -- the log is complete after this position
    UNIQUE (user, app, name)
);

-- Buckets that were removed by themselves: a change version from before `floor` means nothing to a new one of that name.
CREATE TABLE IF NOT EXISTS former (
    user  TEXT NOT NULL,
    app   TEXT NOT NULL,
    name  TEXT NOT NULL,
    floor INTEGER NOT NULL,
    PRIMARY KEY (user, app, name)
) WITHOUT ROWID;

-- Removed buckets, and those of removed accounts, emptied in small steps.
CREATE TABLE IF NOT EXISTS gone (
    bucket INTEGER PRIMARY KEY
);

-- The log and the versions in one: an accepted change and what it made. Nothing is stored twice: a creation has no diff, since its
-- data says the same; a removal has neither. A row goes when it is neither a kept version nor young enough for the log.
CREATE TABLE IF NOT EXISTS changes (
    position INTEGER PRIMARY KEY,
    bucket   INTEGER NOT NULL,
    key      TEXT NOT NULL,
    version  INTEGER NOT NULL,
    live     INTEGER NOT NULL,                -- 0: this version is a removal
    client   TEXT NOT NULL,
    ccid     TEXT NOT NULL,
    at       INTEGER NOT NULL,                -- seconds since the epoch
    diff     BLOB,                            -- JSON
    data     BLOB                             -- JSON
);
-- An index page reads nothing but this index; the newest entry of a key is the object as it is.
CREATE UNIQUE INDEX IF NOT EXISTS changes_by_key ON changes (bucket, key, version, live);
CREATE INDEX IF NOT EXISTS changes_by_ccid ON changes (ccid, bucket);
-- With the position as its hidden last column: the log of one bucket.
CREATE INDEX IF NOT EXISTS changes_by_bucket ON changes (bucket);

-- Ccids that were answered for good but changed nothing.
CREATE TABLE IF NOT EXISTS settled (
    bucket INTEGER NOT NULL,
    ccid   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (bucket, ccid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS settled_by_age ON settled (at);
