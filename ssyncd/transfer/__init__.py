"""Carries the bytes of files between disk and chunk store, on threads of its own; one of these for each folder.

Jobs and results are values (`jobs`). `Transfers` runs them; `read_small` and `write_small` do the same for small files in the
caller's thread, at the price of a few system calls.
"""

from ssyncd.transfer.files import read_small, read_small_files, write_small
from ssyncd.transfer.jobs import (
    Deliver,
    Fetched,
    FetchJob,
    Job,
    JobFailed,
    Progress,
    ReadDone,
    ReadJob,
    Result,
    Source,
    Uploaded,
    UploadJob,
)
from ssyncd.transfer.workers import Transfers

__all__ = [
    "Deliver",
    "FetchJob",
    "Fetched",
    "Job",
    "JobFailed",
    "Progress",
    "ReadDone",
    "ReadJob",
    "Result",
    "Source",
    "Transfers",
    "UploadJob",
    "Uploaded",
    "read_small",
    "read_small_files",
    "write_small",
]
