"""The page of a store: its colour and sentence, what it shows, and that whatever is missing only leaves a gap."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows import clock
from flows.page.payload import pack
from flows.page.render import render
from flows.settings import file as pipeline_file
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from flows.stages.report import collect_page_data, report
from storage import layout
from storage import run_records as nights
from storage.schemas import DataError
from storage.store import open_store
from tests.support.commands import gatecast, said
from tests.support.report_store import FEWEST, ISSUE, NOW, ZONE, made
from tests.support.report_store import pipeline_file as write

NAMES = ["north", "south", "west"]


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("made"), NAMES)


@pytest.fixture
def path(once, tmp_path) -> Path:
    shutil.copytree(once.parent, tmp_path / "copy")
    return tmp_path / "copy" / once.name


def opened(path: Path):
    pipeline = pipeline_file.read(path)
    return pipeline, open_store(pipeline.pipeline.store)


def page(path: Path, now: datetime = NOW) -> tuple[dict, str]:
    """What the report says of itself, and the page without the scripts."""
    told = report(*opened(path), now)
    return told, re.sub(r"<script>.*?</script>", "", Path(told["path"]).read_text(), flags=re.DOTALL)


def packed(html: str) -> dict:
    (text,) = re.findall(r'id="packed">([^<]*)<', html)
    return json.loads(gzip.decompress(base64.b64decode(text)))


def change(path: Path, issue: datetime, **facts) -> None:
    """The record of a night with other facts."""
    store = open_store(str(path.parent / "store"))
    nights.write(store, "made", issue, json.loads(store.get(layout.run_record("made", issue))) | facts)


def test_a_whole_night_is_green_and_its_sentence_tells_all(path):
    told, html = page(path)
    assert told["path"] == str(path.parent / "store/reports/made.html")
    assert told["colour"] == "green"
    held = pl.read_parquet(path.parent / "store/scores/made/*.parquet")["covered_80"].mean()
    assert told["sentence"] == (
        "Published whole at 00:04 CET, 6 min before the deadline: 3 series, 24 hours from Mon 26 Oct 00:00 CET, by the "
        "model of Tue 6 Oct 2026, from data known up to Mon 26 Oct 00:00 CET; over the last 9 nights the pinball was "
        f"50% below the baseline's, and the 80% interval held {held:.0%} of what came."
    )
    assert told["bytes"] == len(Path(told["path"]).read_bytes())
    for shown in ("flat_line", "newest value 2 h later than usual", "no time in &#39;t&#39;", "PIT is not uniform",
                  "no champion to beat", "ingest 3.2 s", "MAE, MW"):  # fmt: skip
        assert shown in html, shown


def test_the_curves_are_the_forecast_the_night_before_and_what_came(path):
    data = packed(page(path)[1])["series"]
    row, store = data["ids"].index("south"), path.parent / "store"
    rows = pl.read_parquet(store / "latest/made.parquet").filter(series_id="south")
    curve = data["curves"][str(row)]
    quantiles = rows.select("^q.*$").to_numpy().ravel().tolist()
    places = data["decimals"][row]
    assert curve["q"] == pytest.approx(quantiles, abs=0.51 * 10**-places)
    history = pl.read_parquet(store / "history/made/demand/*.parquet").filter(series_id="south").sort("valid_time")
    known = [value for value in curve["a"] if value is not None]
    assert known == pytest.approx(history["y"].tail(48).to_list(), rel=1e-4)
    # Two days before the issue are 48 hours; one of them had 25, so that the first is 01:00 of the day before.
    assert data["periods"][0] == "Sat 24 Oct 01:00 CEST"
    assert data["periods"][data["fan_at"]] == "Mon 26 Oct 00:00 CET"
    assert data["earlier_at"] == data["fan_at"] - 25
    assert data["nights"][-1] == "Sun 25 Oct"


def test_fallbacks_are_amber_with_the_why(tmp_path):
    told, html = page(made(tmp_path, NAMES, count=3, fallback=1))
    assert told["colour"] == "amber"
    assert told["sentence"].startswith("Published degraded at 00:04 CET, 6 min before the deadline: 3 series")
    assert f"1 of 3 by the baseline because {FEWEST}" in told["sentence"]
    assert f"made by the baseline: {FEWEST}" in html
    assert '<span class="n">1</span> series by the baseline' in html


def test_a_failed_stage_is_amber_and_named(path):
    change(path, ISSUE, degraded=True, failures={"ingest:weather": "<b>404</b>"})
    told, html = page(path)
    assert told["colour"] == "amber"
    assert "ingest:weather failed: <b>404</b>" in told["sentence"]
    assert "<b>404</b>" not in html
    assert html.count("&lt;b&gt;404&lt;/b&gt;") >= 3


def test_after_the_deadline_is_red(path):
    change(path, ISSUE, published_at=(ISSUE + timedelta(minutes=70)).isoformat())
    told, _ = page(path)
    assert told["colour"] == "red"
    assert told["sentence"].startswith("Published too late at 01:10 CET, 1 h 0 min after the deadline: 3 series")


def test_nothing_for_the_issue_that_is_due_is_red(path):
    tomorrow = ISSUE + timedelta(days=1)
    nights.write(open_store(str(path.parent / "store")), "made", tomorrow, {
        "issue_time": tomorrow.isoformat(), "failures": {"forecast": "no space left"}, "forecast": None})  # fmt: skip
    told, html = page(path, tomorrow + timedelta(minutes=11))
    assert told["colour"] == "red"
    assert told["sentence"] == (
        "Nothing was published for Tue 27 Oct 00:00 CET, due by 00:10 CET (forecast: no space left); the newest "
        "forecast is that of Mon 26 Oct 00:00 CET, and the store has data known up to Mon 26 Oct 00:00 CET."
    )
    assert "nothing published" in html
    # Until its deadline has passed, the night is not missing.
    assert page(path, tomorrow + timedelta(minutes=9))[0]["colour"] == "green"


def test_data_that_end_long_ago_are_a_replay(path):
    told, html = page(path, NOW + timedelta(days=400))
    assert told["colour"] == "green"
    assert "A replay of the past" in html


def test_a_market_has_no_forecast_to_miss_on_a_weekend(path):
    facts = collect_page_data(*opened(path), NOW)
    at = facts.settings.pipeline.model_copy(update={"frequency": "1b"})
    markets = facts.settings.model_copy(update={"pipeline": at})
    saturday = datetime(2026, 10, 24, tzinfo=ZONE)
    friday = facts.latest.with_columns(issue_time=pl.lit(saturday).cast(facts.latest.schema["issue_time"]))
    for due, colour in ((saturday + timedelta(days=2), "green"), (saturday + timedelta(days=3), "red")):
        _, judged = render(replace(facts, settings=markets, latest=friday, due=due, earlier=None))
        assert judged.colour == colour


@pytest.mark.parametrize("missing", ["scores", "nights", "quarantine", "models", "history", "latest"])
def test_what_is_missing_leaves_a_gap_and_no_more(path, missing):
    shutil.rmtree(path.parent / "store" / missing)
    told, html = page(path)
    assert told["colour"] == "green"
    assert {"scores": "No forecast has been scored yet", "nights": "is not on record", "latest": "north",
            "quarantine": "Nothing of it was ever refused", "models": "No model has been trained yet",
            "history": "from no data"}[missing] in html  # fmt: skip


def test_a_real_market_without_a_champion(tmp_path):
    pipeline = pipeline_file.read(
        Path(__file__).parents[3] / "deployments/market.toml", {"GATECAST_PIPELINE__STORE": str(tmp_path)}
    )
    store, zone = open_store(pipeline.pipeline.store), pipeline.pipeline.timezone
    issues = [clock.parse_time(f"2018-12-{day}", zone) for day in (20, 21, 22, 24)]
    ingest(pipeline, store, issues[-1], NOW)
    for issue in issues:
        forecast(pipeline, store, issue, needs_champion=False)
    told = report(pipeline, store, NOW)
    assert told["colour"] == "amber"
    assert "4 series, 5 business days from Mon 24 Dec, by the baseline alone" in told["sentence"]
    assert "4 of 4 by the baseline because there is no champion; no earlier night has been scored" in told["sentence"]
    data = packed(Path(told["path"]).read_text())["series"]
    # Christmas and New Year are no business days of the exchange.
    assert data["periods"][data["fan_at"] :] == ["Mon 24 Dec", "Wed 26 Dec", "Thu 27 Dec", "Fri 28 Dec", "Mon 31 Dec"]
    # The issue of Saturday has the same first period as that of Monday.
    assert data["earlier_at"] == data["fan_at"]


def test_one_level_alone_has_a_page_too(path):
    path.write_text(path.read_text().replace("season = 168", "season = 168\nquantile_levels = [0.5]"))
    assert page(path)[0]["colour"] == "green"


def test_an_alert_about_no_single_series(path):
    change(path, ISSUE, alerts=[{"check": "late_feed", "series_id": None, "detail": "weather"}])
    assert "<strong>late_feed</strong> <bdi>all series</bdi>: weather" in page(path)[1]


def test_the_first_night_has_a_page(tmp_path):
    told, html = page(write(tmp_path))
    assert told["colour"] == "red"
    assert "nothing has ever been published" in told["sentence"]
    assert "There is no series yet" in html
    assert "no network" in html


def test_the_same_store_gives_the_same_bytes(path):
    first = Path(page(path)[0]["path"]).read_bytes()
    assert Path(page(path)[0]["path"]).read_bytes() == first


def test_a_damaged_file_is_named(path):
    place = next((path.parent / "store/scores/made").iterdir())
    place.write_bytes(b"not parquet")
    with pytest.raises(DataError, match="scores"):
        report(*opened(path), NOW)


def test_the_command_writes_the_page_and_loads_no_prefect_torch_or_pandas(path, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for module in ("torch", "onnx", "pandas", "prefect"):
        (blocked / f"{module}.py").write_text(f"raise ImportError('{module} must not be imported')")
    done = gatecast("report", path, "--json", PYTHONPATH=str(blocked))
    assert done.returncode == 0, done.stderr
    assert Path(said(done)["path"]) == path.parent / "store/reports/made.html"
    done = gatecast("report", path, "--output", tmp_path / "elsewhere" / "page.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere/page.html").read_text().startswith("<!doctype html>")
    assert "wrote" in done.stdout
    assert gatecast("report", tmp_path / "no.toml").returncode == 2


def test_curves_beyond_the_room_are_left_out_and_the_page_says_so(path, monkeypatch):
    monkeypatch.setattr("flows.page.payload.ROOM", 700)
    html = page(path)[1]
    assert len(packed(html)["series"]["curves"]) == 1
    assert "The page has the curves of 1 of 3 series" in html


def test_the_unit_is_the_target_feeds(path):
    text = path.read_text()
    path.write_text(text.replace('unit = "MW"\n', ""))
    assert "MAE, the target&#39;s unit" in page(path)[1]
    path.write_text(text.replace('values = ["temperature"]', 'values = ["temperature"]\nunit = "K"'))
    with pytest.raises(pipeline_file.PipelineFileError, match="unit is for the target feed"):
        pipeline_file.read(path)
    more = text.split("[[feed]]")[1].replace('"demand"', '"more"').replace("MW", "GW")
    path.write_text(f"{text}\n[[feed]]{more}")
    with pytest.raises(pipeline_file.PipelineFileError, match="same unit"):
        pipeline_file.read(path)


def test_packing_is_the_same_for_the_same_and_holds_any_text():
    content = {"names": ["</script>", "\u2028", "\N{FACTORY}", '"']}
    assert pack(content) == pack(content)
    assert json.loads(gzip.decompress(base64.b64decode(pack(content)))) == content
    assert re.fullmatch(r"[A-Za-z0-9+/=]*", pack(content))
