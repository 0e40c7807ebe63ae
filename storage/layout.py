"""Keys of the contract's store: the only place where they are put together."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

HISTORY = "history"  # first part of the keys of what was ingested
_STAMP = "%Y%m%dT%H%M%SZ"


def stamp(instant: datetime) -> str:
    """`20180901T040000Z`: an instant as file and version names write it."""
    return instant.astimezone(UTC).strftime(_STAMP)


def parse_stamp(stamp: str) -> datetime:
    """The instant of a stamp, UTC."""
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)


def issue_time(key: str) -> datetime:
    """The issue time that the last part of a key names, UTC."""
    return parse_stamp(key.rpartition("/")[2].partition(".")[0])


def history(pipeline: str, feed: str) -> str:
    """Folder of one feed's history."""
    return f"{HISTORY}/{pipeline}/{feed}"


def quarantine(pipeline: str, feed: str) -> str:
    """Folder of one feed's refused rows."""
    return f"quarantine/{pipeline}/{feed}"


def models(pipeline: str) -> str:
    """Folder of a pipeline's models."""
    return f"models/{pipeline}"


def model(pipeline: str, version: str) -> str:
    """The ONNX file of one version."""
    return f"{models(pipeline)}/{version}/model.onnx"


def manifest(pipeline: str, version: str) -> str:
    """What is known of one version: hashes, scores, decision."""
    return f"{models(pipeline)}/{version}/manifest.json"


def champion(pipeline: str) -> str:
    """Which version serves."""
    return f"{models(pipeline)}/champion.json"


def forecasts(pipeline: str) -> str:
    """Folder of a pipeline's forecast files."""
    return f"forecasts/pipeline={pipeline}"


def forecast(pipeline: str, issue_time: datetime, timezone: str) -> str:
    """The forecast file of one issue time; `issue_date` is the local date in the pipeline's `timezone`."""
    day = issue_time.astimezone(ZoneInfo(timezone)).date()
    return f"{forecasts(pipeline)}/issue_date={day}/{stamp(issue_time)}.parquet"


def latest(pipeline: str) -> str:
    """The copy of the newest forecast."""
    return f"latest/{pipeline}.parquet"


def metrics(pipeline: str) -> str:
    """The metrics of the last night, as a collector of Prometheus' text files wants them."""
    return f"metrics/{pipeline}.prom"


def collector_metrics(pipeline: str) -> str:
    """The same in a folder that other programs write to, too."""
    return f"gatecast-{pipeline}.prom"


def scores(pipeline: str) -> str:
    """Folder of the forecasts that came true, scored."""
    return f"scores/{pipeline}"


def score(pipeline: str, issue_time: datetime) -> str:
    """The scores of the forecast of one issue time."""
    return f"{scores(pipeline)}/{stamp(issue_time)}.parquet"


def run_records(pipeline: str) -> str:
    """Folder of the nights' records."""
    return f"nights/{pipeline}"


def run_record(pipeline: str, issue_time: datetime) -> str:
    """What the night of one issue time did."""
    return f"{run_records(pipeline)}/{stamp(issue_time)}.json"


def report(pipeline: str) -> str:
    """The page people read in the morning."""
    return f"reports/{pipeline}.html"


def inspection(pipeline: str, issue_time: datetime, series_id: str) -> str:
    """The page of one series' forecast: its id's letters and digits are for people, the hash tells it apart."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", series_id)[:40].strip("-")
    told_apart = hashlib.sha256(series_id.encode()).hexdigest()[:8]
    return f"inspections/{pipeline}/{stamp(issue_time)}-{readable}-{told_apart}.html"


def staging(pipeline: str) -> str:
    """Folder of what the shards of a forecast leave for each other until its file is out."""
    return f"staging/{pipeline}"


def run_name(issue_time: datetime, begun: datetime, token: str, shards: int) -> str:
    """The name of one try of a forecast in so many shards."""
    return f"{stamp(issue_time)}-{stamp(begun)}-{token}-{shards}"


def shard_count(run: str) -> int:
    """How many shards a run has."""
    return int(run.rsplit("-", 1)[1])


def run_start(key: str) -> datetime:
    """When the run began whose `staged` this is."""
    return parse_stamp(key.rsplit("/", 1)[1].split("-")[1])


def shard_file(pipeline: str, run: str, shard: int, what: str) -> str:
    """The order or the part of one shard. No folder of its own a run: none is left behind."""
    return f"{staging(pipeline)}/{run}.{shard:05d}-of-{shard_count(run):05d}.{what}.parquet"
