"""Tests of `gatecast.read`: newest forecast, ranges, local times and actuals, of folders and buckets."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import gatecast
from storage import forecasts, history
from storage.store import open_store
from tests.support.commands import block
from tests.support.report_store import ISSUE, LEVELS, make_store
from tests.support.s3_server import BUCKET, S3Server

ROOT = Path(__file__).parents[2]
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a store with two pipelines of different levels: `made`, and `other` with values 1000 times larger."""
    make_store(tmp_path, ["A", "B"], count=4)
    store = open_store(str(tmp_path / "store"))
    write_other(tmp_path, 1000.0)
    rows = history.read_revisions(store, "made", "demand", ["y"], datetime(2100, 1, 1, tzinfo=UTC))
    history.append(store, "other", "load", rows.with_columns(pl.col("y") * 1000).rename({"y": "mw"}), ISSUE)
    return tmp_path / "store"


def write_other(folder: Path, factor: float) -> None:
    store = open_store(str(folder / "store"))
    levels = LEVELS[::2]
    for issue in forecasts.list_issue_times(store, "made"):
        rows, _ = forecasts.read(store, "made", str(BERLIN), issue)
        rows = rows.with_columns(pl.col("^q.*$") * factor).drop("q20", "q40", "q60", "q80")
        forecasts.publish(
            store, "other", "Asia/Kolkata", issue, [rows], levels, lambda: forecasts.ForecastMetadata(None, ""),
            targets={"load": "mw"},
        )  # fmt: skip


@pytest.mark.parametrize("reads", [gatecast.read, gatecast.read_samples])
def test_a_start_after_the_end_is_an_error(folder: Path, reads: Callable[..., pl.DataFrame]) -> None:
    with pytest.raises(ValueError, match=r"start 2026-10-26 is after end 2026-10-25\. Swap them"):
        reads(folder, "made", "2026-10-26", date(2026, 10, 25))
    assert len(gatecast.read(folder, "made", "2026-10-26", "2026-10-26")) == 48


def test_the_newest_forecast_has_its_pipeline_and_local_times(folder: Path) -> None:
    rows = gatecast.read(folder, "made")
    assert rows.columns[:7] == [
        "pipeline", "series_id", "issue_time", "issue_time_local", "valid_time", "valid_time_local", "step",
    ]  # fmt: skip
    assert rows["pipeline"].unique().to_list() == ["made"]
    assert rows["issue_time"].unique().to_list() == [ISSUE]
    assert rows.schema["valid_time_local"] == pl.Datetime("us", "Europe/Berlin")
    assert (rows["valid_time_local"].dt.convert_time_zone("UTC") == rows["valid_time"]).all()
    published = pl.read_parquet(folder / "latest/made.parquet")
    assert_frame_equal(rows.select(published.columns), published)
    assert gatecast.read(str(folder), "made", timezone="UTC").schema["valid_time_local"] == pl.Datetime("us", "UTC")


def test_a_forecast_of_the_far_future_is_not_the_newest(folder: Path) -> None:
    store, shift = open_store(str(folder)), timedelta(days=20_000)
    rows, _ = forecasts.read(store, "made", str(BERLIN), ISSUE)
    rows = rows.with_columns(pl.col("issue_time", "valid_time") + shift)
    forecasts.publish(
        store, "made", str(BERLIN), ISSUE + shift, [rows], LEVELS, lambda: forecasts.ForecastMetadata(None, "")
    )
    assert gatecast.read(folder, "made")["issue_time"].unique().to_list() == [ISSUE]
    assert len(gatecast.read(folder, "made", ISSUE + shift, ISSUE + shift)) == 48


def test_two_pipelines_are_never_mixed(folder: Path) -> None:
    made, other = gatecast.read(folder, "made"), gatecast.read(folder, "other")
    assert len(made) == len(other)
    assert other["q50"].to_list() == pytest.approx((made["q50"] * 1000).to_list())
    assert "q20" not in other.columns
    assert other.schema["valid_time_local"] == pl.Datetime("us", "Asia/Kolkata")


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("2026-10-24", None, 3),
        ("2026-10-24", "2026-10-25", 2),
        (None, "2026-10-24", 2),
        (date(2026, 10, 25), date(2026, 10, 25), 1),
        (datetime(2026, 10, 25, 0, 30), None, 1),
        ("2026-10-24T22:00:00+00:00", "2026-10-24T22:00:00+00:00", 1),
        ("2027-01-01", None, 0),
    ],
)
def test_a_range_of_issue_times_is_of_local_days(
    folder: Path, start: str | date | None, end: str | date | None, count: int
) -> None:
    rows = gatecast.read(folder, "made", start, end)
    assert rows["issue_time"].n_unique() == count
    assert rows["issue_time"].is_sorted()


def test_the_newest_actual_stands_beside_each_forecast(folder: Path) -> None:
    store = open_store(str(folder))
    before = gatecast.read(folder, "other", "2026-10-25", actuals=True)
    known = before.filter(pl.col("actual").is_not_null())
    assert 0 < len(known) < len(before)
    first = known.row(0, named=True)
    revised = pl.DataFrame({
        "series_id": [first["series_id"]], "valid_time": [first["valid_time"]],
        "available_at": [ISSUE + timedelta(days=9)], "mw": [-1.0],
    }, schema_overrides={"valid_time": pl.Datetime("us", "UTC"), "available_at": pl.Datetime("us", "UTC")})  # fmt: skip
    history.append(store, "other", "load", revised, ISSUE)
    after = gatecast.read(folder, "other", "2026-10-25", actuals=True)
    is_first = (pl.col("series_id") == first["series_id"]) & (pl.col("valid_time") == first["valid_time"])
    assert set(after.filter(is_first)["actual"]) == {-1.0}
    assert_frame_equal(after.filter(~is_first), before.filter(~is_first))


def test_errors_say_what_is_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(gatecast.DataError, match=r"no forecast of pipeline 'mad'\. Pipelines with one: made, other"):
        gatecast.read(folder, "mad")
    with pytest.raises(gatecast.DataError, match="Pipelines with one: none"):
        gatecast.read(tmp_path / "empty", "made")
    with pytest.raises(gatecast.DataError, match=r"'1.11.2026' is not a date .* Example: '2026-11-01'"):
        gatecast.read(folder, "made", "1.11.2026")
    with pytest.raises(gatecast.DataError, match=r"no sample paths .* samples = 100 in \[forecast\]"):
        gatecast.read_samples(folder, "made")
    with pytest.raises(gatecast.DataError, match="does not name its target feeds"):
        gatecast.read(folder, "made", actuals=True)
    (newest,) = folder.glob("forecasts/pipeline=made/issue_date=2026-10-26/*.parquet")
    newest.write_bytes(b"PAR1 cut")
    with pytest.raises(gatecast.DataError, match="cannot be read as a forecast file"):
        gatecast.read(folder, "made")


def test_a_forecast_of_an_earlier_version_needs_a_timezone(tmp_path: Path) -> None:
    old = ROOT / "tests" / "data" / "version_0_1" / "forecast.parquet"
    issue = pl.read_parquet(old)["issue_time"][0]
    target = tmp_path / f"forecasts/pipeline=old/issue_date=2023-08-14/{issue:%Y%m%dT%H%M%SZ}.parquet"
    target.parent.mkdir(parents=True)
    target.write_bytes(old.read_bytes())
    with pytest.raises(gatecast.DataError, match='timezone="Europe/Berlin"'):
        gatecast.read(tmp_path, "old")
    assert len(gatecast.read(tmp_path, "old", timezone="Europe/Berlin")) > 0


def test_a_bucket_is_read_as_a_folder(folder: Path, s3: S3Server) -> None:
    for path in folder.rglob("*.parquet"):
        s3.client.upload_file(str(path), BUCKET, f"store/{path.relative_to(folder)}")
    bucket = f"s3://{BUCKET}/store"
    assert_frame_equal(gatecast.read(bucket, "other"), gatecast.read(folder, "other"))
    both = [gatecast.read(store, "other", "2026-10-24", actuals=True) for store in (bucket, folder)]
    assert_frame_equal(*both)


@pytest.mark.process
def test_the_package_imports_neither_torch_nor_prefect(tmp_path: Path) -> None:
    make_store(tmp_path, ["A"], count=1)
    blocked = block(tmp_path, "torch", "onnx", "onnxruntime", "prefect", "pandas", "flows", "model")
    code = f"import gatecast; print(gatecast.__version__, len(gatecast.read({str(tmp_path / 'store')!r}, 'made')))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(blocked)!r}, {str(ROOT)!r}]; {code}"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [gatecast.__version__, "24"]


@pytest.mark.process
def test_python_m_gatecast_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gatecast", "--version"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"gatecast, version {gatecast.__version__}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of the files in a wheel of this working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in (name for name in listed if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/"))):
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    build = "import setuptools.build_meta as build, sys; build.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=folder / "source", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.mark.process
@pytest.mark.parametrize(
    "name",
    [
        "gatecast/__init__.py", "gatecast/__main__.py", "gatecast/py.typed",
        "flows/nightly.py", "flows/logging.yml", "flows/stages/template.toml", "flows/page/assets/page.js",
        "storage/samples/load.parquet",
        "deployments/__main__.py", "deployments/prefect.yaml", "deployments/automations.yaml",
        "deployments/alerts.rules.yml", "deployments/prefect.env", "deployments/compose.yaml",
        "deployments/load.toml", "deployments/images/nightly.Dockerfile", "deployments/kubernetes/worker.yaml",
        "deployments/kubernetes/base-job-template.json", "deployments/systemd/gatecast-worker.service",
    ],
)  # fmt: skip
def test_the_wheel_holds_what_a_deployment_needs(wheel: set[str], name: str) -> None:
    assert name in wheel


@pytest.mark.process
def test_the_wheel_holds_every_file_of_its_packages(wheel: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "deployments", "flows", "gatecast", "model", "storage"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert {name for name in listed if (ROOT / name).exists()} - wheel == set()
    assert not [name for name in wheel if name.startswith(("tests/", "benchmarks/", "docs/"))]
