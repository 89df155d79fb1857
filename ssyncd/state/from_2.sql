-- Versions 1 and 2 had a table for each tree.
INSERT INTO entries
    SELECT NULL, r.key, r.version, r.dead, r.placed, r.mine, r.parent, r.name, r.kind, r.hash, r.size, r.mtime, r.by, r.exec, r.target,
        b.version, b.same, b.parent, b.name, b.kind, b.hash, b.size, b.mtime, b.by, b.exec, b.target,
        b.stat_kind, b.stat_size, b.stat_mtime, b.stat_ctime, b.stat_inode, b.stat_exec
    FROM remote r LEFT JOIN base b ON b.key = r.key;
INSERT INTO entries
    SELECT NULL, key, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        version, same, parent, name, kind, hash, size, mtime, by, exec, target,
        stat_kind, stat_size, stat_mtime, stat_ctime, stat_inode, stat_exec
    FROM base WHERE key NOT IN (SELECT key FROM remote);
DROP TABLE remote;
DROP TABLE base;
