"""Records of the nights."""

from __future__ import annotations

from datetime import timedelta

import pytest

from storage import layout
from storage import run_records as nights
from storage.schemas import DataError


def test_records_come_back_oldest_first_and_a_second_run_replaces_the_first(store, utc):
    first = utc(2026, 10, 25)
    assert nights.read(store, "load") == []
    for day in (1, 0):
        nights.write(store, "load", first + timedelta(days=day), {"day": day, "text": "</script>\u2028é"})
    place = nights.write(store, "load", first, {"day": 7})
    assert place == store.uri("nights/load/20261025T000000Z.json")
    assert [record["day"] for record in nights.read(store, "load")] == [7, 1]
    assert nights.read(store, "load", first + timedelta(hours=1)) == [{"day": 1, "text": "</script>\u2028é"}]
    assert nights.read(store, "other") == []


def test_a_damaged_record_is_named(store, utc):
    nights.write(store, "load", utc(2026, 10, 25), {})
    store.put(layout.run_record("load", utc(2026, 10, 25)), b"{")
    with pytest.raises(DataError, match=r"20261025T000000Z\.json is not valid JSON"):
        nights.read(store, "load")
