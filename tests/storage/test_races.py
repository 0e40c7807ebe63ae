"""Races of real processes for the files that they replace: latest, champion and parts of the history."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from storage import forecasts, history, layout, registry
from storage.schemas import DataError, forecast_schema
from storage.store import FolderStore, Store, open_store
from storage.store.lock import exclusive
from tests.storage.test_history import add
from tests.support.made import hourly
from tests.support.s3_server import BUCKET, S3Server

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def publish(store: Store, day: int, now: datetime | None = None) -> None:
    rows = pl.DataFrame(schema=forecast_schema([0.5]))
    metadata = forecasts.ForecastMetadata(None, "")
    forecasts.publish(store, "p", "UTC", START + day * DAY, [rows], [0.5], lambda: metadata, now=now)


def latest(store: Store) -> str:
    return store.read_metadata(layout.latest("p"))["gatecast.issue_time"]


def added(store: Store, day: int, **facts: str | None) -> str:
    decision = {"promoted": True, "reason": "promoted"}
    return registry.add(store, "p", START + day * DAY, b"model %d" % day, {"decision": decision, **facts})


def _publish(uri: str, day: int, start: float) -> None:
    wait_until(start)
    publish(open_store(uri), day)


def _promote(uri: str, version: str, start: float) -> None:
    wait_until(start)
    registry.promote(open_store(uri), "p", version)


def _roll_back(uri: str, version: str, start: float) -> None:
    wait_until(start)
    registry.roll_back(open_store(uri), "p", version, START)


def _append(uri: str, number: int, start: float) -> None:
    wait_until(start)
    for day in range(4):
        add(open_store(uri), hourly(START + (4 * number + day) * DAY, np.ones(24)), START + number * DAY)


def _compact(uri: str, start: float) -> None:
    wait_until(start)
    for _ in range(20):
        history.compact(open_store(uri), "p", "f")


def wait_until(start: float) -> None:
    while time.time() < start:
        pass


Race = Callable[..., None]


@pytest.fixture(scope="module")
def race() -> Iterator[Race]:
    """Return `race((function, arguments), ...)`, which calls each function in a process of its own at one moment."""
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        list(pool.map(abs, range(8)))

        def run(*calls: tuple[Callable[..., None], tuple[object, ...]]) -> None:
            start = time.time() + 0.1
            for future in [pool.submit(function, *arguments, start) for function, arguments in calls]:
                future.result(300)

        yield run


@pytest.mark.process
def test_two_issue_times_at_once_leave_the_newer_one_in_latest(tmp_path: Path, race: Race) -> None:
    for run in range(8):
        uri = str(tmp_path / str(run))
        race((_publish, (uri, 2)), (_publish, (uri, 1)))
        assert latest(open_store(uri)) == layout.stamp(START + 2 * DAY)


@pytest.mark.process
def test_neither_a_rollback_nor_a_promotion_at_once_is_lost(tmp_path: Path, race: Race) -> None:
    for run in range(10):
        store = open_store(str(tmp_path / str(run)))
        first, second, third = (added(store, day) for day in range(3))
        registry.promote(store, "p", first)
        registry.promote(store, "p", second)
        race((_promote, (str(tmp_path / str(run)), third)), (_roll_back, (str(tmp_path / str(run)), first)))
        rolled_back = registry.rolled_back_versions(store, "p")
        assert second in rolled_back
        assert third in registry.champions(store, "p") or third in rolled_back


@pytest.mark.process
def test_compactions_beside_appends_fail_in_no_process(tmp_path: Path, race: Race) -> None:
    for run in range(3):
        uri = str(tmp_path / str(run))
        _append(uri, 0, 0)
        race((_append, (uri, 1)), (_append, (uri, 2)), (_compact, (uri,)), (_compact, (uri,)))
        rows = history.read_as_of(open_store(uri), "p", "f", ["y"], START + 99 * DAY)
        assert len(rows) == 12 * 24 and rows["valid_time"].is_unique().all()
        shutil.rmtree(uri)


def test_a_change_is_repeated_if_another_process_was_faster(store: Store) -> None:
    """In a folder the other process waits. On S3 its write makes the conditional write fail."""
    store.put("a/x", b"1")
    seen: list[bytes | None] = []

    def change(content: bytes | None) -> bytes:
        if not seen and not isinstance(store, FolderStore):
            store.put("a/x", b"2")
        seen.append(content)
        return (content or b"") + b"+"

    store.update("a/x", change)
    expected = b"1+" if isinstance(store, FolderStore) else b"2+"
    assert store.get("a/x") == expected
    store.update("a/new", lambda content: b"none" if content is None else b"some")
    assert store.get("a/new") == b"none"
    assert store.keys("a", "*") == ["a/new", "a/x"]


def test_a_lock_names_its_owner_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "x"),
        pytest.raises(DataError, match=r"process \d+ on .* has held this lock for 0 s"),
        exclusive(tmp_path / "x", 0.05),
    ):
        pass
    (tmp_path / ".x.lock").write_text("left by a process that was killed")
    with exclusive(tmp_path / "x", 0.05):
        pass
    assert not list(tmp_path.iterdir())


def test_latest_never_moves_back_and_no_future_issue_time_pins_it(store: Store) -> None:
    now = START + 10 * DAY
    for day, expected in ((8, 8), (7, 8), (400, 8), (9, 9), (11, 11), (10, 11)):
        publish(store, day, now)
        assert latest(store) == layout.stamp(START + expected * DAY)
    # Earlier versions copied every issue time.
    store.copy(layout.forecast("p", START + 400 * DAY, "UTC"), layout.latest("p"))
    publish(store, 3, now)
    assert latest(store) == layout.stamp(START + 11 * DAY), "the newest forecast that is not of the future"


def test_a_forecast_is_published_if_latest_cannot_be_written(folder: FolderStore) -> None:
    """The caller decides on the error of the copy, when the forecast is published."""
    (folder.path(layout.latest("p")) / "sub").mkdir(parents=True)
    with pytest.raises(DataError, match=r"latest/p\.parquet cannot be read"):
        publish(folder, 1)
    assert forecasts.exists(folder, "p", "UTC", START + DAY)


def test_a_promotion_compared_with_a_model_rolled_back_meanwhile_is_refused(store: Store) -> None:
    first, second = added(store, 0), added(store, 1)
    registry.promote(store, "p", first)
    registry.promote(store, "p", second)
    third = added(store, 2, compared_with=second)
    registry.roll_back(store, "p", first, START)
    with pytest.raises(registry.OutdatedComparison, match=f"compared with {second}, which was rolled back"):
        registry.promote(store, "p", third)
    assert registry.champions(store, "p") == [first]
    registry.withdraw(store, "p", third, "refused: so it was")
    assert registry.read_manifest(store, "p", third)["decision"] == {"promoted": False, "reason": "refused: so it was"}


def test_a_server_without_conditional_writes_is_written_as_before(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(f"s3://{BUCKET}/p")
    really = store._client  # type: ignore[attr-defined]

    class Unsupporting:
        def __getattr__(self, name: str) -> object:
            return getattr(really, name)

        def put(self, *arguments: object, **options: object) -> object:
            if "mode" in options:
                raise ValueError("<Code>NotImplemented</Code>")
            return really.put(*arguments, **options)

    monkeypatch.setattr(store, "_client", Unsupporting(), raising=False)
    store.update("a/x", lambda _: b"1")
    assert store.get("a/x") == b"1" and "no conditional writes" in caplog.text
