"""Keys of the store. Only this module joins them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

HISTORY = "history"  # first part of every key of the history
FORECASTS = "forecasts"  # first part of every key of a forecast file
_STAMP = "%Y%m%dT%H%M%SZ"
_FORECAST_PARTS = 4  # of the key of a forecast file
_FIRST_YEAR, _LAST_YEAR = 1800, 2300  # outside which a stamp is not one of this store
_ISSUE_FILE = re.compile(r"(\d{8}T\d{6}Z)\.[a-z]+")


def stamp(instant: datetime) -> str:
    """Return an instant as file names and versions write it: `20180901T040000Z`."""
    return instant.astimezone(UTC).strftime(_STAMP)


def parse_stamp(stamp: str) -> datetime:
    """Return the instant of a stamp, in UTC."""
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)


def issue_time(key: str) -> datetime:
    """Return the issue time (UTC) of a key that this package wrote."""
    return parse_stamp(key.rpartition("/")[2].partition(".")[0])


def issue_times(keys: Iterable[str]) -> dict[str, datetime]:
    """Return the issue time (UTC) of each key whose last part is one and a suffix, in the order of the keys.

    Other keys are left out, because people put files of their own beside those of the store.
    """
    found = {}
    for key in keys:
        match = _ISSUE_FILE.fullmatch(key.rpartition("/")[2])
        try:
            if match is not None and _FIRST_YEAR < (time := parse_stamp(match[1])).year < _LAST_YEAR:
                found[key] = time
        except ValueError:
            continue  # digits that are no time
    return found


def history(pipeline: str, feed: str) -> str:
    """Return the folder of one feed's history."""
    return f"{HISTORY}/{pipeline}/{feed}"


def history_grid(pipeline: str, feed: str) -> str:
    """Return the key of the settings by which a feed's history was placed in time."""
    return f"{history(pipeline, feed)}/grid.json"


def quarantine(pipeline: str, feed: str) -> str:
    """Return the folder of one feed's refused rows."""
    return f"quarantine/{pipeline}/{feed}"


def models(pipeline: str) -> str:
    """Return the folder of a pipeline's models."""
    return f"models/{pipeline}"


def model(pipeline: str, version: str) -> str:
    """Return the key of a version's ONNX file."""
    return f"{models(pipeline)}/{version}/model.onnx"


def manifest(pipeline: str, version: str) -> str:
    """Return the key of a version's manifest: hashes, scores and the promotion decision."""
    return f"{models(pipeline)}/{version}/manifest.json"


def champion(pipeline: str) -> str:
    """Return the key of the file that names the champion."""
    return f"{models(pipeline)}/champion.json"


def forecasts(pipeline: str) -> str:
    """Return the folder of a pipeline's forecast files."""
    return f"{FORECASTS}/pipeline={pipeline}"


def pipeline_of_forecast(key: str) -> str:
    """Return the pipeline of the forecast file at `key`."""
    return key.split("/")[1].partition("=")[2]


def forecast(pipeline: str, issue_time: datetime, timezone: str) -> str:
    """Return the key of a forecast file. Its `issue_date` is the local date in the pipeline's `timezone`."""
    return f"{forecasts(pipeline)}/{_issue_file(issue_time, timezone)}"


def is_forecast(key: str) -> bool:
    """Return whether a key below `forecasts` lies in the folder of an issue date."""
    parts = key.split("/")
    return len(parts) == _FORECAST_PARTS and parts[2].startswith("issue_date=")


def sample_paths(pipeline: str, issue_time: datetime, timezone: str) -> str:
    """Return the key of the sample paths of a forecast, outside `forecasts/`, whose glob holds forecasts only."""
    return f"{all_sample_paths(pipeline)}/{_issue_file(issue_time, timezone)}"


def all_sample_paths(pipeline: str) -> str:
    """Return the folder of a pipeline's sample paths."""
    return f"samples/pipeline={pipeline}"


def _issue_file(issue_time: datetime, timezone: str) -> str:
    day = issue_time.astimezone(ZoneInfo(timezone)).date()
    return f"issue_date={day}/{stamp(issue_time)}.parquet"


def latest(pipeline: str) -> str:
    """Return the key of the copy of the newest forecast file."""
    return f"latest/{pipeline}.parquet"


def metrics(pipeline: str) -> str:
    """Return the key of the last run's metrics, a text file in Prometheus' format."""
    return f"metrics/{pipeline}.prom"


def collector_metrics(pipeline: str) -> str:
    """Return the key of the metrics in a collector's folder, which other programs share."""
    return f"gatecast-{pipeline}.prom"


def scores(pipeline: str) -> str:
    """Return the folder of a pipeline's score files."""
    return f"scores/{pipeline}"


def score(pipeline: str, issue_time: datetime) -> str:
    """Return the key of the score file of one issue time."""
    return f"{scores(pipeline)}/{stamp(issue_time)}.parquet"


def run_records(pipeline: str) -> str:
    """Return the folder of a pipeline's run records."""
    return f"nights/{pipeline}"


def run_record(pipeline: str, issue_time: datetime) -> str:
    """Return the key of the record of the nightly run for one issue time."""
    return f"{run_records(pipeline)}/{stamp(issue_time)}.json"


def report(pipeline: str) -> str:
    """Return the key of the report page."""
    return f"reports/{pipeline}.html"


def kept_reports(pipeline: str) -> str:
    """Return the folder of the report pages of earlier issue times."""
    return f"reports/{pipeline}"


def kept_report(pipeline: str, issue_time: datetime) -> str:
    """Return the key of the report page that was written for one issue time."""
    return f"{kept_reports(pipeline)}/{stamp(issue_time)}.html"


def inspections(pipeline: str) -> str:
    """Return the folder of a pipeline's inspection pages."""
    return f"inspections/{pipeline}"


def inspection(pipeline: str, issue_time: datetime, series_id: str) -> str:
    """Return the key of the inspection page of one series' forecast.

    The id's letters and digits make the name readable, and a hash of the id makes it unique.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", series_id)[:40].strip("-")
    digest = hashlib.sha256(series_id.encode()).hexdigest()[:8]
    return f"{inspections(pipeline)}/{stamp(issue_time)}-{readable}-{digest}.html"


def staging(pipeline: str) -> str:
    """Return the folder of the files that the shards of a forecast exchange until the forecast is published."""
    return f"staging/{pipeline}"


def run_name(issue_time: datetime, start: datetime, token: str, shards: int) -> str:
    """Return the name of one attempt at a sharded forecast."""
    return f"{stamp(issue_time)}-{stamp(start)}-{token}-{shards}"


def shard_count(run: str) -> int:
    """Return the number of shards of the run with this name."""
    return int(run.rsplit("-", 1)[1])


def run_start(key: str) -> datetime | None:
    """Return the start of the run that wrote the shard file at `key`, None if no run wrote it."""
    try:
        return parse_stamp(key.rsplit("/", 1)[1].split("-")[1])
    except (ValueError, IndexError):
        return None


def shard_file(pipeline: str, run: str, shard: int, kind: str) -> str:
    """Return the key of a shard's file of one `kind`.

    A run has no folder of its own, so that removing its files leaves no empty folder.
    """
    return f"{staging(pipeline)}/{run}.{shard:05d}-of-{shard_count(run):05d}.{kind}.parquet"
