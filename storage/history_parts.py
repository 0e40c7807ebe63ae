"""Parts of a feed's history: which exist, which cannot be used and why, and taking those out of the history."""

from __future__ import annotations

import io
import logging

import polars as pl

from storage import layout
from storage.schemas import DataError, Missing, Unreadable, history_schema
from storage.store import Store
from storage.store.checksum import WrongChecksum, verify
from storage.store.parquet import CONTENT_ERRORS, READ_ERRORS

logger = logging.getLogger(__name__)

_DAMAGED = ".damaged"
_REPLACED = ".replaced"
_REREAD = ".reread"  # after the name of a damaged part: an ingest has read the source from its start since
_ANY_ERRORS: tuple[type[BaseException], ...] = (*READ_ERRORS, DataError)


class UnusableHistory(DataError):
    """Parts of the history that cannot be used. `storage.store.PartialStore` reads the history without them.

    Attributes:
        feed: Name of the feed.
        parts: Keys of the parts, or that of their folder.
    """

    def __init__(self, feed: str, problem: str, parts: list[str]) -> None:
        super().__init__(f"the history of feed {feed!r} {problem}")
        self.feed, self.parts = feed, parts


class DamagedHistory(UnusableHistory):
    """Parts that are not what was written. `set_aside` takes them out of the history."""


class UnreadableHistory(UnusableHistory):
    """Parts that exist and cannot be read now, such as without the permission. They may be intact, and stay."""


def list_parts(store: Store, pipeline: str, feed: str) -> list[str]:
    """Return the keys of the parts of a feed.

    Raises:
        UnreadableHistory: The folder cannot be listed.
    """
    folder = layout.history(pipeline, feed)
    try:
        return store.keys(folder, "*.parquet")
    except Unreadable as error:
        raise UnreadableHistory(feed, f"cannot be listed: {error}", [folder]) from None


def exists(store: Store, part: str) -> bool:
    """Return whether a part exists. One whose path leads nowhere, such as a link to itself, does: it is unreadable."""
    try:
        return store.has(part)
    except Unreadable:
        return True


def find_unusable(store: Store, feed: str, parts: list[str]) -> UnusableHistory | None:
    """Return the error of the parts that cannot be used, None if there are none."""
    problems = {part: _problem(store, part) for part in parts}
    damaged = {part: problem for part, problem in problems.items() if problem and not isinstance(problem, Unreadable)}
    if damaged:
        # The message of a wrong checksum begins with the uri.
        texts = "; ".join(
            str(problem) if isinstance(problem, WrongChecksum) else f"{store.uri(part)}: {problem}"
            for part, problem in damaged.items()
        )
        return DamagedHistory(
            feed, f"is damaged: {texts}. Run `gatecast ingest`: it sets damaged parts aside and reads their rows again "
            "from the source", list(damaged),
        )  # fmt: skip
    unreadable = {part: problem for part, problem in problems.items() if problem}
    if unreadable:
        texts = "; ".join(str(problem) for problem in unreadable.values())
        problem = f"has {len(unreadable)} of {len(parts)} parts that cannot be read: {texts}"
        return UnreadableHistory(feed, problem, list(unreadable))
    return None


def _problem(store: Store, part: str) -> BaseException | None:
    """Return why a part cannot be used, None if it can be or does not exist any more.

    Only a wrong format or checksum is damage. Any other failure, such as a missing permission or too many open files,
    says nothing about the content and is Unreadable.
    """
    try:
        rows = store.scan([part]).collect()
    except (FileNotFoundError, Missing):
        return None
    except (WrongChecksum, Unreadable) as error:
        return error
    except OSError as error:
        return Unreadable(f"{store.uri(part)} cannot be read: {error}")
    except CONTENT_ERRORS as error:
        return Unreadable(f"{store.uri(part)} cannot be read: {error}") if _is_intact(store, part) else error
    expected = history_schema([name for name in rows.columns if name not in history_schema([])])
    wrong = [name for name, dtype in expected.items() if rows.schema.get(name) != dtype]
    if wrong:
        return DataError(
            f"its column {wrong[0]!r} has the type {rows.schema.get(wrong[0])} instead of {expected[wrong[0]]}"
        )
    return None


def _is_intact(store: Store, part: str) -> bool:
    """Return whether a part has a checksum, and the right one."""
    try:
        return verify(store.get(part), part)
    except DataError:
        return False


def set_aside(store: Store, pipeline: str, feed: str) -> list[str]:
    """Rename the damaged parts of a feed so that the history is read without them, and return their new uris."""
    uris = []
    for part in list_parts(store, pipeline, feed):
        problem = _problem(store, part)
        if problem is not None and not isinstance(problem, Unreadable):
            renamed = f"{part}{_DAMAGED}"
            store.move(part, renamed)
            logger.error(
                "A part of the history is damaged and was set aside as %s. An ingest reads its rows again, as far as "
                "the source still has them.", store.uri(renamed),
            )  # fmt: skip
            uris.append(store.uri(renamed))
    return uris


def damaged_parts(store: Store, pipeline: str, feed: str) -> list[str]:
    """Return the keys of the parts that were set aside, and whose rows were not read from the source again since."""
    keys = store.keys(layout.history(pipeline, feed), f"*{_DAMAGED}*")
    return [key for key in keys if key.endswith(_DAMAGED) and f"{key}{_REREAD}" not in keys]


def mark_as_reread(store: Store, damaged: list[str]) -> None:
    """Record that the rows of damaged parts were read from the source again, as far as it still has them."""
    for key in damaged:
        store.put(f"{key}{_REREAD}", b"")


def is_restored(store: Store, damaged: str, again: pl.DataFrame) -> bool:
    """Return whether `again` has as many rows of each series as a damaged part in the time that the part covers.

    Where the ids are damaged, the rows of all series are counted together. A part whose rows cannot be counted any more
    counts as not restored.
    """
    for key in (["series_id"], []):
        try:
            rows = pl.read_parquet(io.BytesIO(store.get(damaged)), columns=[*key, "valid_time"])
        except _ANY_ERRORS:
            continue
        within = again.filter(pl.col("valid_time").is_between(rows["valid_time"].min(), rows["valid_time"].max()))
        if not key:
            return len(within) >= len(rows)
        found = within.group_by(key).len("again")
        counts = rows.group_by(key).len().join(found, on=key, how="left", nulls_equal=True)
        return bool((counts["len"] <= counts["again"].fill_null(0)).all())
    return False


def set_all_aside(store: Store, pipeline: str, feed: str) -> list[str]:
    """Rename all parts of a feed so that its history is empty, and return their new uris."""
    parts = list_parts(store, pipeline, feed)
    for part in parts:
        store.move(part, f"{part}{_REPLACED}")
    return [store.uri(f"{part}{_REPLACED}") for part in parts]
