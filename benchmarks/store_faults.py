"""Faults in the store of the simulated operation: damaged, unreadable and stray files, made for real.

They use the store's own keys, so that they are the same in a folder and in a bucket. The damage stays, so that only
the product can repair it, unless the fault is "for one run".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from storage.store import Store
from storage.store.folder import FolderStore

if TYPE_CHECKING:
    from benchmarks.operation import Operation

_FLIPS = 3


@contextmanager
def truncated_history(operation: Operation) -> Iterator[dict[str, str]]:
    """Truncate the largest part of the history to a third."""
    store = operation.open()
    key = max(_parts(operation), key=lambda key: len(store.get(key)))
    store.put(key, store.get(key)[: len(store.get(key)) // 3])
    yield {}


@contextmanager
def flipped_history(operation: Operation) -> Iterator[dict[str, str]]:
    """Flip single bits in one part of the history."""
    _flip(operation, operation.random.choice(_parts(operation)))
    yield {}


@contextmanager
def unreadable_history(operation: Operation) -> Iterator[dict[str, str]]:
    """Make a part of the history unreadable for one run, although its content is intact.

    A permission does not stop the user root, but a link to itself does. In a bucket, a part is damaged instead.
    """
    store, key = operation.open(), operation.random.choice(_parts(operation))
    if not isinstance(store, FolderStore):
        with flipped_history(operation) as environment:
            yield environment
        return
    path, aside = store.path(key), store.path(key).with_suffix(".aside")
    path.rename(aside)
    path.symlink_to(path.name)
    yield {}
    path.unlink(missing_ok=True)
    aside.rename(path)


def champion_with(change: Callable[[bytes], bytes]) -> Callable[[Operation], Iterator[dict[str, str]]]:
    """Return a fault that changes the content of champion.json for one run.

    The product does not guess which model served. Its messages require a person to restore the file.
    """

    def fault(operation: Operation) -> Iterator[dict[str, str]]:
        store, key = operation.open(), f"models/{operation.world.name}/champion.json"
        content = store.get(key)
        damaged = change(content)
        store.put(key, damaged)
        yield {}
        if store.get(key) == damaged:
            store.put(key, content)

    return fault


truncated_champion = contextmanager(champion_with(lambda content: content[: len(content) // 2]))
null_champion = contextmanager(champion_with(lambda content: b"null"))
flipped_champion = contextmanager(champion_with(lambda content: content[:9] + bytes([content[9] ^ 4]) + content[10:]))


@contextmanager
def corrupted_champion(operation: Operation) -> Iterator[dict[str, str]]:
    """Change bytes of the champion's model file for one run."""
    store, key = operation.open(), _champion(operation, "model.onnx")
    content = store.get(key)
    store.put(key, content[:1000] + bytes(64) + content[1064:])
    yield {}
    store.put(key, content)


@contextmanager
def folder_for_model(operation: Operation) -> Iterator[dict[str, str]]:
    """Replace the champion's model file by a folder for one run."""
    with _replaced_by_folder(operation, _champion(operation, "model.onnx")):
        yield {}


@contextmanager
def folder_for_manifest(operation: Operation) -> Iterator[dict[str, str]]:
    """Replace the champion's manifest by a folder for one run."""
    with _replaced_by_folder(operation, _champion(operation, "manifest.json")):
        yield {}


@contextmanager
def null_record(operation: Operation) -> Iterator[dict[str, str]]:
    """Make the record of the last run null."""
    operation.open().put(_last_record(operation), b"null")
    yield {}


@contextmanager
def folder_for_record(operation: Operation) -> Iterator[dict[str, str]]:
    """Replace the record of the last run by a folder for one run."""
    with _replaced_by_folder(operation, _last_record(operation)):
        yield {}


@contextmanager
def stray_files(operation: Operation) -> Iterator[dict[str, str]]:
    """Put files of other programs into every folder of the store. They stay."""
    store, name = operation.open(), operation.world.name
    folders = [
        f"nights/{name}", f"forecasts/pipeline={name}", f"forecasts/pipeline={name}/issue_date=2018-01-01",
        f"quarantine/{name}/demand", f"scores/{name}", f"models/{name}", f"reports/{name}",
    ]  # fmt: skip
    for folder in folders:
        for stray in ("notes.txt", "copy of last.json", "copy of last.parquet", "README.html"):
            store.put(f"{folder}/{stray}", b"not one of ours")
    yield {}


@contextmanager
def unwritable_latest(operation: Operation) -> Iterator[dict[str, str]]:
    """Make latest/ unwritable for one run: a file in place of the folder. In a bucket, the copy is refused."""
    store = operation.open()
    if isinstance(store, FolderStore):
        latest, aside = store.root / "latest", store.root / "latest.aside"
        latest.rename(aside)
        latest.write_text("not a folder")
        yield {}
        latest.unlink()
        aside.rename(latest)
        return
    operation.refused_key = f"latest/{operation.world.name}.parquet"
    yield {}
    operation.refused_key = None


@contextmanager
def flipped_score(operation: Operation) -> Iterator[dict[str, str]]:
    """Flip single bits in the newest score file."""
    keys = operation.open().keys(f"scores/{operation.world.name}", "2*.parquet")
    if keys:
        _flip(operation, keys[-1])
    yield {}


@contextmanager
def flipped_quarantine(operation: Operation) -> Iterator[dict[str, str]]:
    """Flip single bits in a quarantine file."""
    keys = operation.open().keys(f"quarantine/{operation.world.name}", "2*.parquet")
    if keys:
        _flip(operation, operation.random.choice(keys))
    yield {}


def _flip(operation: Operation, key: str) -> None:
    store = operation.open()
    content = bytearray(store.get(key))
    for _ in range(_FLIPS):
        content[operation.random.randrange(len(content))] ^= 1 << operation.random.randrange(8)
    store.put(key, bytes(content))
    operation.detail = key


def _parts(operation: Operation) -> list[str]:
    """Return the history parts of the target."""
    return operation.open().keys(f"history/{operation.world.name}/demand", "*.parquet")


def _champion(operation: Operation, file: str) -> str:
    """Return the key of a file of the newest model."""
    folder, store = f"models/{operation.world.name}", operation.open()
    with suppress(ValueError, TypeError, KeyError):
        return f"{folder}/{json.loads(store.get(f'{folder}/champion.json'))['version']}/{file}"
    return f"{store.keys(folder, 'model.onnx')[-1].rpartition('/')[0]}/{file}"


def _last_record(operation: Operation) -> str:
    return operation.open().keys(f"nights/{operation.world.name}", "2*.json")[-1]


@contextmanager
def _replaced_by_folder(operation: Operation, key: str) -> Iterator[None]:
    """Replace a file by a folder. A bucket has none: there the object is missing."""
    store: Store = operation.open()
    content = store.get(key)
    store.remove(key)
    if isinstance(store, FolderStore):
        store.path(key).mkdir()
    yield
    if isinstance(store, FolderStore):
        with suppress(OSError):
            store.path(key).rmdir()
    if not store.has(key):
        store.put(key, content)
