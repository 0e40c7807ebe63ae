"""Stores, in a folder or in an S3 bucket: keys map to bytes and tables, and every write is atomic."""

from storage.store.folder import FolderStore
from storage.store.interface import Store
from storage.store.opening import open_store
from storage.store.partial import PartialStore
from storage.store.replay import ReplayStore

__all__ = ["FolderStore", "PartialStore", "ReplayStore", "Store", "open_store"]
