"""From the settings to the chunk storage they name."""

from pathlib import Path

from ssyncd.errors import DiskError, StateError, UsageError
from ssyncd.server.blobs.base import Blobs
from ssyncd.server.blobs.directory import DirectoryBlobs

DIRECTORY = "chunks"


def open_blobs(data: Path, url: str | None, chunk_limit: int) -> Blobs:
    """The directory in `data`, or where `url` says. UsageError for a store that is not built, StateError if it cannot be used."""
    try:
        return DirectoryBlobs(directory(data, url), chunk_limit)
    except DiskError as error:
        raise StateError(str(error)) from error


def directory(data: Path, url: str | None) -> Path:
    """Where the chunks are. UsageError."""
    if url is None:
        return data / DIRECTORY
    scheme, separator, rest = url.partition(":")
    if scheme == "file" and separator:
        return Path(rest.removeprefix("//"))
    if scheme == "s3":
        raise UsageError("--chunks s3:// is not built yet; leave the option out for a directory beside the database")
    raise UsageError(f"--chunks {url}: neither file:PATH nor s3://")
