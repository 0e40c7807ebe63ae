"""Records of nightly runs in a store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import cast

import pytest

from storage import layout, run_records
from storage.schemas.records import RunRecord
from storage.store import Store
from tests.support.narrow import present


def of_day(day: int, **keys: str) -> RunRecord:
    """Return a record with these keys only. The store does not look at them."""
    return cast(RunRecord, {"day": day, **keys})


def test_records_are_read_oldest_first_and_a_second_run_replaces_the_first(
    store: Store, utc: Callable[..., datetime]
) -> None:
    first = utc(2026, 10, 25)
    assert run_records.read(store, "load") == []
    for day in (1, 0):
        run_records.write(store, "load", first + timedelta(days=day), of_day(day, text="</script>\u2028é"))
    uri = run_records.write(store, "load", first, of_day(7))
    assert uri == store.uri("nights/load/20261025T000000Z.json")
    assert [dict(record)["day"] for record in run_records.read(store, "load")] == [7, 1]
    assert run_records.read(store, "load", first + timedelta(hours=1)) == [of_day(1, text="</script>\u2028é")]
    assert run_records.read(store, "other") == []


def test_a_record_of_an_earlier_version_has_the_current_keys(store: Store, utc: Callable[..., datetime]) -> None:
    written = {"train": {"stretch": 1.1}, "ingest": {"feeds": {"folded": {"read": 9, "folded": 3}}, "failures": {}}}
    run_records.write(store, "load", utc(2026, 10, 25), cast(RunRecord, written))
    (record,) = run_records.read(store, "load")
    assert record["train"] == {"interval_scale": 1.1}
    assert dict(present(record["ingest"])) == {"feeds": {"folded": {"read": 9, "aggregated": 3}}, "failures": {}}
    records: list[dict[str, object]] = [{}, {"train": None, "ingest": None}, {"ingest": {"feeds": None}}]
    for incomplete in records:
        run_records.write(store, "load", utc(2026, 10, 25), cast(RunRecord, incomplete))
        assert run_records.read(store, "load") == [cast(RunRecord, incomplete)]


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff"])
def test_a_damaged_record_is_left_out_and_named(
    content: bytes, store: Store, utc: Callable[..., datetime], caplog: pytest.LogCaptureFixture
) -> None:
    run_records.write(store, "load", utc(2026, 10, 25), of_day(1))
    store.put(layout.run_record("load", utc(2026, 10, 26)), content)
    assert run_records.read(store, "load") == [of_day(1)]
    assert "20261026T000000Z.json is left out: it is not " in caplog.text


def test_other_files_beside_the_records_are_ignored(store: Store, utc: Callable[..., datetime]) -> None:
    run_records.write(store, "load", utc(2026, 10, 25), of_day(1))
    for name in ("notes.json", "20261025T000000Z copy.json", "20269999T000000Z.json", "20261025T000000Z.json.json"):
        store.put(f"nights/load/{name}", b"{}")
    assert run_records.read(store, "load") == [of_day(1)]
