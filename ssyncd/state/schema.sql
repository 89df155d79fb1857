-- What one folder remembers between runs. Observations only, never a queue of work: after any crash the three trees are
-- compared again. Keys, hashes and chunk ids are raw bytes; times are microseconds in `mtime`, nanoseconds in stat_*.

-- cursor (cv of the remote tree), bucket, folder (identity of the root), placed (last order given), approvals, ...
CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The remote tree: the ghost of every object, deleted directories included (dead = 1; an orphan may need them); and the base tree:
-- what both sides agreed on last, and what lstat said of it then. Rows are added at the end, so that 10,000 new files write few
-- pages; who looks for a key has read all of them.
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    version INTEGER,                  -- NULL: the server never had it
    dead INTEGER,
    placed INTEGER,                   -- when it got its place, in the server's order
    mine INTEGER,                     -- whether a change of ours gave it that place
    parent BLOB, name TEXT, kind TEXT,
    hash BLOB, size INTEGER, mtime INTEGER, by TEXT,
    exec INTEGER, target TEXT,
    base_version INTEGER,             -- the server's version whose content this is; NULL: not in the base tree
    same INTEGER,                     -- 1: equal to the remote entry, facets left out here
    base_parent BLOB, base_name TEXT, base_kind TEXT,
    base_hash BLOB, base_size INTEGER, base_mtime INTEGER, base_by TEXT,
    base_exec INTEGER, base_target TEXT,
    stat_kind TEXT, stat_size INTEGER, stat_mtime INTEGER, stat_ctime INTEGER, stat_inode INTEGER, stat_exec INTEGER
);

-- Changes we sent, by ccid: the server's broadcast of one of these is an acknowledgement (design section 2, "Echoes").
CREATE TABLE IF NOT EXISTS sent (
    ccid TEXT PRIMARY KEY,
    key BLOB NOT NULL,
    source INTEGER                    -- version the change was made from; NULL for a creation
) WITHOUT ROWID;

-- Content versions our own change overtook (design section 4): to be saved as conflict copies.
CREATE TABLE IF NOT EXISTS overtaken (
    key BLOB NOT NULL,
    version INTEGER NOT NULL,
    parent BLOB NOT NULL, name TEXT NOT NULL,
    hash BLOB, size INTEGER, mtime INTEGER, by TEXT,
    exec INTEGER, target TEXT,
    PRIMARY KEY (key, version)
) WITHOUT ROWID;

-- The chunks of contents that are on this disk: (id 32 bytes, length 4 bytes big-endian) each, for reuse.
CREATE TABLE IF NOT EXISTS chunks (
    hash BLOB PRIMARY KEY,
    rows BLOB NOT NULL
) WITHOUT ROWID;

-- What files held in versions before the one in `remote`: a server restored from a backup shows one of these.
CREATE TABLE IF NOT EXISTS past (
    key BLOB NOT NULL,
    version INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (key, version)
) WITHOUT ROWID;
