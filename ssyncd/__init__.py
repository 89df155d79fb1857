"""ssyncd keeps folders the same on all of a person's machines, through a server they own."""

__version__ = "0.1.0"
