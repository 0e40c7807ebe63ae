"""Records of nightly runs in a store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from storage import layout, run_records
from storage.schemas import DataError


def test_records_are_read_oldest_first_and_a_second_run_replaces_the_first(store, utc):
    first = utc(2026, 10, 25)
    assert run_records.read(store, "load") == []
    for day in (1, 0):
        run_records.write(store, "load", first + timedelta(days=day), {"day": day, "text": "</script>\u2028é"})
    uri = run_records.write(store, "load", first, {"day": 7})
    assert uri == store.uri("nights/load/20261025T000000Z.json")
    assert [record["day"] for record in run_records.read(store, "load")] == [7, 1]
    assert run_records.read(store, "load", first + timedelta(hours=1)) == [{"day": 1, "text": "</script>\u2028é"}]
    assert run_records.read(store, "other") == []


def test_a_record_of_an_earlier_version_has_the_current_keys(store, utc):
    written = {"train": {"stretch": 1.1}, "ingest": {"feeds": {"folded": {"read": 9, "folded": 3}}, "failures": {}}}
    run_records.write(store, "load", utc(2026, 10, 25), written)
    (record,) = run_records.read(store, "load")
    assert record["train"] == {"interval_scale": 1.1}
    assert record["ingest"] == {"feeds": {"folded": {"read": 9, "aggregated": 3}}, "failures": {}}
    for incomplete in ({}, {"train": None, "ingest": None}, {"ingest": {"feeds": None}}):
        run_records.write(store, "load", utc(2026, 10, 25), incomplete)
        assert run_records.read(store, "load") == [incomplete]


def test_a_damaged_record_is_named(store, utc):
    run_records.write(store, "load", utc(2026, 10, 25), {})
    store.put(layout.run_record("load", utc(2026, 10, 25)), b"{")
    with pytest.raises(DataError, match=r"20261025T000000Z\.json is not valid JSON"):
        run_records.read(store, "load")
