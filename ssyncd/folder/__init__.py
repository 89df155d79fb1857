"""One synced folder: the three trees, the engine that keeps them equal, and the thread it runs on."""

from ssyncd.folder.folder import Folder
from ssyncd.folder.settings import Direction, FolderSettings

__all__ = ["Direction", "Folder", "FolderSettings"]
