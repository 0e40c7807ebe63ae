"""Protection of a history from settings that would place its rows at other times than before."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import numpy as np

from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.settings.types import duration_text
from model.timegrid import MINUTE
from storage import history, history_grids, layout
from storage.history_grids import Grid
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.store import Store

#: Settings that decide since when a row counts as known.
_AVAILABILITY = ("feed.available_after", "feed.available_at")


class ChangedGrid(DataError):
    """The settings place rows at other times than those of the feed's history."""


def grid_settings(settings: Pipeline, feed: Feed) -> Grid:
    """Return the settings that decide at which time a row of a feed is stored, by key.

    The pipeline's time zone counts for days only: shorter periods are counted in UTC.
    """
    grid, shape = settings.grid, feed.shape()
    keys: Grid = {
        "pipeline.frequency": grid.frequency,
        "feed.resample": feed.resample,
        "feed.upsample": feed.upsample,
        "feed.time_zone": feed.time_zone,
        "feed.fixed_offset": feed.fixed_offset,
        "feed.options.label": shape.label,
        "feed.options.period": None if shape.period is None else duration_text(shape.period),
    }
    if grid.step is not None:
        keys["pipeline.grid_offset"] = f"{grid.offset // MINUTE}m"
    else:
        minutes = grid.day_start // MINUTE
        keys |= {"pipeline.timezone": grid.timezone, "pipeline.day_start": f"{minutes // 60:02d}:{minutes % 60:02d}"}
    if grid.frequency == "1b":
        keys["pipeline.holidays"] = grid.holidays
    return keys


def _read_settings(feed: Feed) -> Grid:
    """Return the settings that decide which rows of a feed are in its history, and since when they count as known."""
    return {
        "feed.available_after": duration_text(feed.available_after) if feed.available_after else "0h",
        "feed.available_at": feed.available_at,
        "feed.values": json.dumps(sorted(feed.values)),
    }


class OlderRows(NamedTuple):
    """Compares the rows in a feed's history with what its present settings would have stored.

    Attributes:
        availability: How their availability differs, None if it does not.
        lack_values: Whether the settings name a column of values that they do not have.
    """

    availability: str | None
    lack_values: bool


def compare_older_rows(settings: Pipeline, store: Store, feed: Feed) -> OlderRows:
    """Compare the settings by which a feed's older rows were read with the present ones."""
    recorded, present = history_grids.read(store, settings.name, feed.name) or {}, _read_settings(feed)
    values = recorded.get("feed.values")
    lack_values = values is not None and not set(feed.values) <= set(json.loads(values))
    changed = [key for key in _AVAILABILITY if key in recorded and recorded[key] != present[key]]
    if not changed or not history.has_rows(store, settings.name, feed.name):
        return OlderRows(None, lack_values)
    differences = ", ".join(f"{key} = {_text(recorded[key])} (now {_text(present[key])})" for key in changed)
    # A backtest may see them earlier than a night does.
    text = (
        f"feed {feed.name!r}: older rows of its history were ingested with {differences}, and keep that availability. "
        "A backtest may see them too early. Run `gatecast ingest FILE --reread`, or restore the setting"
    )
    return OlderRows(text, lack_values)


def require_same_grid(settings: Pipeline, store: Store, feeds: Iterable[Feed]) -> None:
    """Check that the histories of feeds were ingested with the present settings.

    Raises:
        ChangedGrid: A setting has changed since.
    """
    for feed in feeds:
        recorded = history_grids.read(store, settings.name, feed.name)
        if recorded is not None:
            _require_recorded_grid(settings, store, feed, recorded)


def changed_grids(settings: Pipeline, store: Store) -> dict[str, ChangedGrid]:
    """Return, by feed, the error of each history that the present settings do not fit."""
    errors: dict[str, ChangedGrid] = {}
    for feed in settings.feed:
        # A history that cannot be read is not compared. The ingest of its feed sets damaged parts aside, or goes on
        # without those that cannot be read.
        result = attempt(partial(_require_grid, settings, store, feed))
        if isinstance(result, Failed) and isinstance(result.error, ChangedGrid):
            errors[feed.name] = result.error
    return errors


def _require_grid(settings: Pipeline, store: Store, feed: Feed) -> None:
    recorded = history_grids.read(store, settings.name, feed.name)
    if recorded is None:
        _require_periods_on_grid(settings, store, feed)
    else:
        _require_recorded_grid(settings, store, feed, recorded)


def record_grid(settings: Pipeline, store: Store, feed: Feed, is_new: bool) -> None:
    """Record the settings by which a feed is ingested from now on.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history.
        feed: The feed.
        is_new: Whether all rows of the history are ingested now. Otherwise the availability of older rows stays.
    """
    recorded = history_grids.read(store, settings.name, feed.name)
    present = grid_settings(settings, feed) | _read_settings(feed)
    if recorded and not is_new and history.has_rows(store, settings.name, feed.name):
        present |= {key: recorded[key] for key in _AVAILABILITY if key in recorded}
    if recorded != present:
        history_grids.write(store, settings.name, feed.name, present)


def _require_recorded_grid(settings: Pipeline, store: Store, feed: Feed, recorded: Grid) -> None:
    """Check that the settings are those of the record. A setting that the record lacks is not compared."""
    present = grid_settings(settings, feed)
    changed = [key for key in present if key in recorded and recorded[key] != present[key]]
    if changed and history.has_rows(store, settings.name, feed.name):
        differences = ", ".join(f"{key} = {_text(recorded[key])} (now {_text(present[key])})" for key in changed)
        folder = store.uri(layout.history(settings.name, feed.name))
        raise ChangedGrid(
            f"feed {feed.name!r}: its history in {folder} was ingested with {differences}, so its rows would be "
            "at wrong times. Restore the setting or use another pipeline.name; or run `gatecast ingest "
            "FILE --reread`, which keeps the old rows aside and reads the feed again from feed.start"
        )


def _require_periods_on_grid(settings: Pipeline, store: Store, feed: Feed) -> None:
    """Check all periods of a history without a record, as versions before 0.3.0 wrote it."""
    instants = history.read_valid_times(store, settings.name, feed.name).dt.epoch("us").to_numpy()
    off_grid = instants[settings.grid.start(settings.grid.index(instants)) != instants]
    if len(off_grid):
        first = np.datetime64(int(off_grid[0]), "us")
        raise ChangedGrid(
            f"feed {feed.name!r}: {len(off_grid):,} periods of its history, the first at {first}Z, do not begin where "
            f"a period of {settings.grid.frequency} in {settings.grid.timezone} begins. Was it ingested with another "
            "pipeline.frequency, timezone or day_start? Restore the setting, or run `gatecast ingest FILE --reread`"
        )


def _text(value: str | None) -> str:
    return "unset" if value is None else repr(value)
