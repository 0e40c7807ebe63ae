"""Selection of the store implementation for a uri."""

from __future__ import annotations

import re
from pathlib import Path

from storage.redaction import redact
from storage.schemas import DataError
from storage.store.folder import FolderStore
from storage.store.interface import Store

_S3 = "s3://"
_BUCKET_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def open_store(uri: str) -> Store:
    """Return the store at `uri`. Nothing is read yet, so the folder or bucket may be missing.

    Args:
        uri: Path of a folder, or s3://bucket/prefix.

    Raises:
        DataError: The uri has another form.
    """
    if "://" not in uri:
        if _is_other_file(Path(uri)):
            raise DataError(f"The store {redact(uri)!r} cannot be opened: it is not a folder; check pipeline.store.")
        return FolderStore(uri)
    bucket, *folders = uri.removeprefix(_S3).rstrip("/").split("/")
    if not uri.startswith(_S3) or not _BUCKET_NAME.fullmatch(bucket) or {"", ".", ".."} & set(folders):
        raise DataError(f"The store {redact(uri)!r} cannot be opened: it must be a folder, or s3://bucket/prefix.")
    # Imported late: a store in a folder must work without the `s3` extra.
    from storage.store.bucket import BucketStore

    return BucketStore(bucket, "/".join(folders))


def _is_other_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # without the permission to look at it, the first read or write reports it
        return False
