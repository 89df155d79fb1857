-- cursor, client id, and what the file belongs to
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- the last version the server told; data NULL: deleted
CREATE TABLE ghosts (key TEXT PRIMARY KEY, version INTEGER NOT NULL, data BLOB) WITHOUT ROWID;
-- changes without an answer, in the order of `rank`; change: the message as it went out, NULL if it is not sent again
CREATE TABLE sent (
    rank INTEGER PRIMARY KEY AUTOINCREMENT, ccid TEXT NOT NULL UNIQUE, key TEXT NOT NULL, source INTEGER, change BLOB
);
-- what the program wants beyond the ghost; base, wanted NULL: no object; first NULL: it did not begin with anything
CREATE TABLE edits (
    key TEXT PRIMARY KEY, ccid TEXT NOT NULL, refused INTEGER NOT NULL, base BLOB, wanted BLOB, first BLOB
) WITHOUT ROWID;
