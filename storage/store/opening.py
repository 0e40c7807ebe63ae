"""Selection of the store implementation for a uri."""

from __future__ import annotations

import re

from storage.redaction import redact
from storage.schemas import DataError
from storage.store.folder import FolderStore
from storage.store.interface import Store

_S3 = "s3://"


_BUCKET = re.compile(r"[A-Za-z0-9][\w.-]*")


def open_store(uri: str) -> Store:
    """The store at `uri`: a folder, or s3://bucket/prefix. Nothing is read yet, so nothing has to be there.

    Raises:
        DataError: the uri is of neither kind.
    """
    if "://" not in uri:
        return FolderStore(uri)
    bucket, *folders = uri.removeprefix(_S3).rstrip("/").split("/")
    if not uri.startswith(_S3) or not _BUCKET.fullmatch(bucket) or {"", ".", ".."} & set(folders):
        raise DataError(f"{redact(uri)!r}: a store is a folder, or s3://bucket/prefix")
    # Late: a store that is a folder needs nothing of S3.
    from storage.store.bucket import BucketStore

    return BucketStore(bucket, "/".join(folders))
