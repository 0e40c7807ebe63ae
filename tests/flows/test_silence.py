"""Forecasts of series that are silent for any time: one result for each series, whatever the number of shards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.settings import file as pipeline_file
from flows.stages.assemble import forecast_table
from flows.stages.fallback import FallbackOrder
from flows.stages.loaded_models import ModelChain
from flows.stages.shard import forecast_shard, shard_slices
from model.scatter import PanelLayout, scatter_channels
from model.timegrid import TimeGrid
from storage import history
from storage.store import open_store
from tests.support.made import hourly

# A history of decades would make each example slow.
_ISSUE = datetime(1970, 3, 1, tzinfo=UTC)
_HOURS = 400
_PIPELINE = """
[pipeline]
name = "p"
store = "./store"
frequency = "1h"
timezone = "UTC"
horizon = 4
context = 24
season = 6

[[feed]]
name = "demand"
role = "target"
uri = "none.parquet"
series_id = "series_id"
valid_time = "t"
values = ["y"]
"""
# Hours without a value before the issue time: none, a few, more than the context, than 8 seasons, and all.
_SILENCE = st.sampled_from([0, 1, 5, 30, 60, 150, _HOURS - 1])


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(silent=st.lists(_SILENCE, min_size=1, max_size=5))
def test_any_silence_gives_a_row_for_each_series(tmp_path_factory: pytest.TempPathFactory, silent: list[int]) -> None:
    path = Path(tmp_path_factory.mktemp("silence")) / "p.toml"
    path.write_text(_PIPELINE)
    tables = []
    for number, hours in enumerate(silent):
        values = 10 + np.sin(np.arange(_HOURS - hours) / 3 + number)
        tables.append(hourly(_ISSUE - timedelta(hours=_HOURS), values, f"s{number}"))
    found = []
    for shards in (1, 2, len(silent)):
        pipeline = pipeline_file.read(path, {"GATECAST_SCALE__SHARDS": str(shards)})
        store = open_store(pipeline.pipeline.store)
        if not history.has_rows(store, "p", "demand"):
            history.append(store, "p", "demand", pl.concat(tables), _ISSUE)
        names = tuple(f"s{number}" for number in range(len(silent)))
        order = FallbackOrder(ModelChain(pipeline, store, []), "no model")
        results = [
            forecast_shard(pipeline, store, _ISSUE, names[part], order) for part in shard_slices(pipeline, len(names))
        ]
        assert sum(len(result.series) for result in results) == len(names)
        assert all(result.values.shape == (len(result.series), 4, 9) for result in results)
        found.append(forecast_table(pipeline, _ISSUE, results))
        assert order.steps.failures == {}
    assert found[0].equals(found[1]) and found[0].equals(found[2])
    assert set(found[0].group_by("series_id").len()["len"]) == {4}
    assert found[0].select(pl.col("^q.*$").is_finite().all()).row(0) == (True,) * 9


@pytest.mark.parametrize(
    "columns", [["series_id", "valid_time", "y"], ["series_id", "valid_time", "available_at", "y"]]
)
@pytest.mark.parametrize("grouped", [True, False])
def test_no_rows_give_a_row_for_each_series_unless_it_is_shared(columns: list[str], grouped: bool) -> None:
    layout = PanelLayout(TimeGrid("1h", "UTC", None), ("a", "b", "c"), 0, 7)
    nothing = hourly(_ISSUE, np.ones(1)).clear().select(columns)
    for shared, rows in ((False, 3), (True, 1)):
        (channel,) = scatter_channels(layout, nothing, ["y"], grouped, shared)
        assert channel.layers[0].values.shape == (rows, 7) and np.isnan(channel.layers[0].values).all()
