"""The client for any bucket, and what stands behind `ssyncd.start_syncing` and `ssyncd.Shared`.

line     a channel on a connection: every client's wire, the folder's too
values   what may be sent, checked and copied
merge    two edits of one JSON value, made from the same base
memory   ghosts, what was sent, and local edits; `statefile` keeps them in a file
replica  the channel and the local edits together: what every object is here now
syncing  the threads: connection in, updates out
shapes   dataclasses to JSON and back
access   where the server is, and who we are
"""
