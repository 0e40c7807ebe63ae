"""Hostile names: no series id, pipeline, feed or version leads out of its folder. Ids only lose blanks around them."""

from __future__ import annotations

import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.settings import file as pipeline_file
from flows.settings.file import PipelineFileError
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from flows.stages.report import report
from storage import registry
from storage.schemas import DataError
from storage.store import open_store
from tests.support.commands import gatecast

PIPELINE = """
[pipeline]
name = "p"
store = "./inner/store"
frequency = "1d"
context = 14
season = 7
bounds = { min = 0.0 }

[[feed]]
name = "demand"
role = "target"
uri = "load.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
"""
NAMES = [
    "../../x", "..", ".", "/", "/etc/passwd", "a/b", "a\\b", "..\\..\\x", "C:\\x", "C:", "\\\\host\\share", "CON",
    "nul.txt", "COM1", "aux", "x" * 5000, "a\0b", "\0", "a\nb", "\x1b[2J", "-rf", "--help", "~", "$HOME",
    "${PW}", "`id`", "%2e%2e%2f", "*", "?", "[a]", "{a,b}", "**/*.parquet", "pipeline=other", "a=b", "café",
    "cafe\u0301", "\u202etxt", "\N{SNOWMAN}", "\N{PILE OF POO}", "\uff0e\uff0e\uff0f", "\ufeff",
    "</script><script>alert(1)</script>", "'; drop table x; --", "{{ 7 * 7 }}", "{% raise %}", "null", "nan", "1",
    ".hidden", "a.tmp", "champion.json", "con.", "x x",
]  # fmt: skip
FIRST = datetime(2018, 1, 1)
NOW = datetime(2018, 2, 10, tzinfo=UTC)
# All files that a pipeline may leave in its store.
KEYS = re.compile(
    r"history/p/demand/grid\.json|history/p/demand/[0-9TZ]+-[0-9a-f]{8}\.parquet|quarantine/p/demand/[0-9TZ]+-[0-9a-f]{8}\.parquet|latest/p\.parquet|"
    r"forecasts/pipeline=p/issue_date=2018-02-10/20180210T000000Z\.parquet|reports/p(/20180210T000000Z)?\.html"
)


def test_ids_that_differ_only_by_blanks_around_them_are_one_series(tmp_path: Path) -> None:
    rows = [
        {"series_id": f"{blank}x{blank}", "ds": FIRST + timedelta(days=day), "y": 1.0}
        for day, blank in enumerate(["", " ", "\r\n", "\u2028", "\t"])
    ]  # fmt: skip
    pl.DataFrame([*rows, rows[0] | {"series_id": " "}]).write_parquet(tmp_path / "load.parquet")
    (tmp_path / "p.toml").write_text(PIPELINE)
    pipeline_settings = pipeline_file.read(tmp_path / "p.toml", {})
    report_of_feed = ingest(pipeline_settings, open_store(pipeline_settings.pipeline.store), NOW, NOW)["feeds"][
        "demand"
    ]
    assert (report_of_feed["series"], report_of_feed["accepted"]) == (1, 5)
    assert report_of_feed["reasons"] == {"series_id is empty": 1}


def ingest_forecast_and_report(folder: Path, names: list[str]) -> pl.DataFrame:
    """Ingest one series for each name, with one refused row each, and return the published rows."""
    days = [FIRST + timedelta(days=day) for day in range(40)]
    frames = [
        pl.DataFrame({"series_id": name, "ds": days, "y": [-1.0, *(float(row + day % 7) for day in range(1, 40))]})
        for row, name in enumerate(names)
    ]
    pl.concat(frames).write_parquet(folder / "load.parquet")
    path = folder / "p.toml"
    path.write_text(PIPELINE)
    pipeline_settings = pipeline_file.read(path, {})
    store = open_store(pipeline_settings.pipeline.store)
    counts = ingest(pipeline_settings, store, NOW, NOW)["feeds"]["demand"]
    assert (counts["accepted"], counts["refused"]) == (39 * len(names), len(names))
    published = forecast(pipeline_settings, store, NOW, needs_champion=False)
    page = Path(report(pipeline_settings, store, NOW)["path"])
    assert page == folder / "inner/store/reports/p.html"
    return pl.read_parquet(published["path"], hive_partitioning=False)


def files_outside_the_store(folder: Path) -> set[str]:
    """Return the files under `folder` outside the store, and check that those in the store are allowed."""
    inside = folder / "inner" / "store"
    files = {path for path in folder.rglob("*") if path.is_file()}
    kept = {path.relative_to(inside).as_posix() for path in files if path.is_relative_to(inside)}
    assert [key for key in kept if not KEYS.fullmatch(key)] == []
    return {path.relative_to(folder).as_posix() for path in files if not path.is_relative_to(inside)}


def test_hostile_series_ids_stay_in_their_tables(tmp_path: Path) -> None:
    rows = ingest_forecast_and_report(tmp_path, NAMES)
    assert set(rows["series_id"]) == set(NAMES) and len(rows) == 7 * len(NAMES)
    assert files_outside_the_store(tmp_path) == {"load.parquet", "p.toml"}
    page = (tmp_path / "inner/store/reports/p.html").read_text()
    assert "<script>alert(1)</script>" not in page


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.text(min_size=1, max_size=40).filter(lambda name: name == name.strip()), min_size=1, max_size=6, unique=True
    )
)
def test_series_ids_of_any_text_stay_in_their_tables(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path).resolve()
        rows = ingest_forecast_and_report(folder, names)
        assert set(rows["series_id"]) == set(names)
        assert files_outside_the_store(folder) == {"load.parquet", "p.toml"}


def _read_with_name(folder: Path, key: str, name: str) -> None:
    text = PIPELINE.replace('name = "p"' if key == "pipeline" else 'name = "demand"', f"name = {_toml(name)}")
    (folder / "p.toml").write_text(text, encoding="utf-8")
    pipeline_file.read(folder / "p.toml", {})


def _toml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'


@pytest.mark.parametrize("key", ["pipeline", "feed"])
@pytest.mark.parametrize(
    "name", [*(n for n in NAMES if n not in ("CON", "COM1", "aux", "null", "nan")), "", "p\n", "p" * 64]
)
def test_hostile_names_of_pipelines_and_feeds_are_refused(tmp_path: Path, key: str, name: str) -> None:
    with pytest.raises(PipelineFileError, match=r"name"):
        _read_with_name(tmp_path, key, name)


@given(st.text(max_size=80))
@settings(deadline=None)
def test_a_pipeline_name_is_plain_or_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as path:
        try:
            _read_with_name(Path(path), "pipeline", name)
        except PipelineFileError:
            return
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name)


@pytest.mark.parametrize("version", ["../../x", "..", "../other/20180901T000000Z-1", "/etc", "a/b", ".", "x" * 300, ""])
def test_a_hostile_version_never_serves(pipeline: Path, version: str) -> None:
    outside = pipeline.parent / "x" / "model.onnx"
    outside.parent.mkdir()
    outside.write_bytes(b"not ours")
    before = {path: path.read_bytes() for path in pipeline.parent.rglob("*") if path.is_file()}
    if version:
        done = gatecast("models", pipeline, f"--rollback={version}")
        assert done.returncode == 1 and done.stderr.startswith("error:") and "Traceback" not in done.stderr
    store = open_store(str(pipeline.parent / "store"))
    with pytest.raises((DataError, OSError)):
        registry.load(store, "small", version)
    assert {path: path.read_bytes() for path in pipeline.parent.rglob("*") if path.is_file()} == before


def test_no_control_character_of_a_name_reaches_the_terminal(tmp_path: Path) -> None:
    day = [FIRST + timedelta(days=day) for day in range(40)]
    name = "\x1b[2J\x07evil\r"
    pl.DataFrame({"series_id": name, "ds": day, "y": [-1.0] * 20 + [5.0] * 20}).write_parquet(tmp_path / "load.parquet")
    (tmp_path / "p.toml").write_text(PIPELINE)
    done = gatecast("ingest", tmp_path / "p.toml", "--as-of", "2018-02-10")
    assert done.returncode == 0 and "evil" in done.stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr)
