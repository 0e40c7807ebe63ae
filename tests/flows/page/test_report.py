"""Tests of the report page: verdict, content, and stores with missing parts."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from flows import clock
from flows.page import skill
from flows.page.document import pack_json
from flows.page.local_time import LocalTimeFormat
from flows.page.night_section import night_section
from flows.page.number_format import format_change, format_difference, format_number
from flows.page.report_page import render_report_page
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from flows.stages.report import collect_page_data, report
from model.checks.series_matching import match_series
from storage import layout, registry, run_records
from storage.schemas.records import PageReport, RunRecord
from storage.store import Store, open_store
from tests.support.commands import block, gatecast, gatecast_process, json_report
from tests.support.report_store import FEWEST, ISSUE, NOW, ZONE, make_store, write_pipeline_file

NAMES = ["north", "south", "west"]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("made"), NAMES)


@pytest.fixture
def path(once: Path, tmp_path: Path) -> Path:
    shutil.copytree(once.parent, tmp_path / "copy")
    return tmp_path / "copy" / once.name


def opened(path: Path) -> tuple[Pipeline, Store]:
    """Return settings and store of a pipeline file."""
    settings = pipeline_file.read(path)
    return settings, open_store(settings.pipeline.store)


def page(path: Path, now: datetime = NOW) -> tuple[PageReport, str]:
    """Return the report of the command, and the page without its scripts."""
    result = report(*opened(path), now)
    return result, re.sub(r"<script>.*?</script>", "", Path(result["path"]).read_text(), flags=re.DOTALL)


def packed(html: str) -> dict[str, Any]:
    """Return the page's data for its scripts."""
    (text,) = re.findall(r'id="packed">([^<]*)<', html)
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return content


def change_record(path: Path, issue: datetime, **changes: object) -> None:
    """Change keys of the run record of an issue time."""
    store = open_store(str(path.parent / "store"))
    run_records.write(store, "made", issue, json.loads(store.get(layout.run_record("made", issue))) | changes)


def test_complete_forecast_is_green_with_all_facts_in_the_sentence(path: Path) -> None:
    result, html = page(path)
    assert result["path"] == str(path.parent / "store/reports/made.html")
    assert result["colour"] == "green"
    coverage = pl.read_parquet(path.parent / "store/scores/made/*.parquet")["covered_80"].to_numpy().mean()
    assert result["sentence"] == (
        "Complete forecast published at 00:04 CET, 6 min before this run's deadline: 3 series, 24 hours from "
        "Mon 26 Oct 00:00 CET, by the model of Tue 6 Oct 2026 with data available until Mon 26 Oct 00:00 CET. "
        "Over the last 9 nights, each by its own model, pinball was 50% below the baseline's, and the 80% interval "
        f"contained {coverage:.0%} of the actuals."
    )
    assert result["bytes"] == len(Path(result["path"]).read_bytes())
    for shown in ("flat_line", "newest value 2 h later than usual", "no time in &#39;t&#39;", "PIT is not uniform",
                  "no champion to beat", "ingest 3.2 s", "MAE</abbr>, MW"):  # fmt: skip
        assert shown in html, shown


def test_curves_are_the_forecast_the_previous_one_and_the_actual_values(path: Path) -> None:
    data = packed(page(path)[1])["series"]
    row, store = data["ids"].index("south"), path.parent / "store"
    rows = pl.read_parquet(store / "latest/made.parquet").filter(series_id="south")
    curve = data["curves"][str(row)]
    quantiles = rows.select("^q.*$").to_numpy().ravel().tolist()
    places = data["decimals"][row]
    assert curve["quantiles"] == pytest.approx(quantiles, abs=0.51 * 10**-places)
    history = pl.read_parquet(store / "history/made/demand/*.parquet").filter(series_id="south").sort("valid_time")
    known = [value for value in curve["actual"] if value is not None]
    assert known == pytest.approx(history["y"].tail(48).to_list(), rel=1e-4)
    # The page shows 48 hours before the issue time. One day has 25 hours, so the first hour is 01:00.
    assert data["periods"][0] == "Sat 24 Oct 01:00 CEST"
    assert data["periods"][data["forecast_column"]] == "Mon 26 Oct 00:00 CET"
    assert data["earlier_column"] == data["forecast_column"] - 25
    assert data["issue_labels"][-1] == "Sun 25 Oct"


def test_fallbacks_are_amber_with_their_reasons(tmp_path: Path) -> None:
    result, html = page(make_store(tmp_path, NAMES, count=3, fallback=1))
    assert result["colour"] == "amber"
    assert result["sentence"].startswith(
        "Degraded forecast published at 00:04 CET, 6 min before this run's deadline: 3 series"
    )
    assert f"1 of 3 series by the baseline because {FEWEST}" in result["sentence"]
    assert f"forecast by the baseline: {FEWEST}" in html
    assert '<span class="count">1</span> series by the baseline' in html


def test_a_failed_stage_is_amber_and_named(path: Path) -> None:
    change_record(path, ISSUE, degraded=True, failures={"ingest:weather": "<b>404</b>"})
    result, html = page(path)
    assert result["colour"] == "amber"
    assert "ingest of weather failed: <b>404</b>" in result["sentence"]
    assert "<b>404</b>" not in html
    assert html.count("&lt;b&gt;404&lt;/b&gt;") >= 3


def test_after_the_deadline_is_red(path: Path) -> None:
    change_record(path, ISSUE, published_at=(ISSUE + timedelta(minutes=70)).isoformat())
    result, _ = page(path)
    assert result["colour"] == "red"
    assert result["sentence"].startswith(
        "Forecast published too late at 01:10 CET, 1 h 0 min after this run's deadline: 3 series"
    )


def test_no_forecast_for_the_due_issue_time_is_red(path: Path) -> None:
    tomorrow = ISSUE + timedelta(days=1)
    record = {"issue_time": tomorrow.isoformat(), "failures": {"forecast": "no space left"}, "forecast": None}
    run_records.write(open_store(str(path.parent / "store")), "made", tomorrow, cast(RunRecord, record))
    result, html = page(path, tomorrow + timedelta(minutes=11))
    assert result["colour"] == "red"
    assert result["sentence"] == (
        "No forecast published for Tue 27 Oct 00:00 CET, due by 00:10 CET (forecast failed: no space left). The newest "
        "forecast was issued Mon 26 Oct 00:00 CET. The store has data available until Mon 26 Oct 00:00 CET."
    )
    assert "no forecast published" in html
    # A forecast is not missing before its deadline.
    assert page(path, tomorrow + timedelta(minutes=9))[0]["colour"] == "green"


def test_old_data_are_a_replay(path: Path) -> None:
    result, html = page(path, NOW + timedelta(days=400))
    assert result["colour"] == "green"
    assert "This is a replay of the past" in html


def test_a_replayed_night_is_not_red_because_later_data_exist(path: Path) -> None:
    later = NOW + timedelta(days=400)
    change_record(path, ISSUE, started_at=later.isoformat(), published_at=later.isoformat(), deadline=None)
    result, html = page(path, later)
    assert result["colour"] == "green"
    assert "published on Tue 30 Nov 2027 00:12 CET" in result["sentence"]
    assert "This is a replay of the past" in html


def test_a_replay_has_the_scores_of_its_score_stage(path: Path) -> None:
    data = collect_page_data(*opened(path), NOW)
    before = ISSUE - timedelta(hours=30)
    later = (NOW + timedelta(days=400)).isoformat()
    for issue in data.issue_times[-2:]:
        store = open_store(str(path.parent / "store"))
        store.remove(layout.forecast("made", issue, str(ZONE)))
    change_record(path, data.issue_times[-3], started_at=later)
    replayed = collect_page_data(*opened(path), NOW)
    assert replayed.latest_issue_time == data.issue_times[-3] == replayed.due < before
    assert replayed.scores["valid_time"].max() < replayed.latest_issue_time  # type: ignore[operator]
    assert replayed.complete_night is not None
    assert replayed.complete_night["issue_time"][0] == data.issue_times[-4]


def test_pages_of_earlier_nights_are_kept_and_linked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.stages.kept_pages.MAX_PAGES", 3)
    folder = path.parent / "store/reports/made"
    folder.mkdir(parents=True)
    for day in (20, 21, 22, 23):
        (folder / f"202610{day}T220000Z.html").write_text("page")
    _, html = page(path)
    kept = [file.name for file in sorted(folder.iterdir())]
    assert kept == ["20261022T220000Z.html", "20261023T220000Z.html", f"{layout.stamp(ISSUE)}.html"]
    assert 'href="made/20261023T220000Z.html">Sat 24 Oct 2026</a>' in html
    assert 'href="20261023T220000Z.html">' in (folder / kept[-1]).read_text()
    report(*opened(path), NOW, path.parent / "elsewhere.html")
    assert "Pages of earlier nights" not in (path.parent / "elsewhere.html").read_text()


def test_an_inspection_page_is_linked(path: Path) -> None:
    assert "gatecast inspect FILE --series south --issue-time 2026-10-26T00:00:00+01:00" in page(path)[1]
    store = open_store(str(path.parent / "store"))
    key = layout.inspection("made", ISSUE, "south")
    store.put(key, b"page")
    assert f'href="../{key}"' in page(path)[1]
    kept = store.get(layout.kept_report("made", ISSUE)).decode()
    assert f'href="../../{key}"' in kept


def test_files_of_the_forecast_are_in_the_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv, parquet = packed(page(path)[1])["downloads"]
    latest = pl.read_parquet(path.parent / "store/latest/made.parquet")
    assert base64.b64decode(parquet["content"]) == (path.parent / "store/latest/made.parquet").read_bytes()
    rows = pl.read_csv(base64.b64decode(csv["content"]))
    assert rows.columns == latest.columns
    assert rows["valid_time"][0] == "2026-10-26T00:00:00+01:00"
    assert csv["name"] == f"made-{layout.stamp(ISSUE)}.csv"
    monkeypatch.setattr("flows.stages.report._MAX_CSV_ROWS", 71)
    monkeypatch.setattr("flows.stages.report._MAX_PARQUET_BYTES", 10)
    assert packed(page(path)[1])["downloads"] == []


def test_newest_complete_night_and_errors(path: Path) -> None:
    html = page(path)[1]
    assert "Newest complete night</strong>, issued Sun 25 Oct 2026 00:00 CEST" in html
    data = packed(html)
    assert len(data["charts"]["error-hour"]["rows"]) == 24
    assert [row["when"] for row in data["charts"]["error-weekday"]["rows"]][:2] == ["Mon", "Tue"]
    assert len(data["charts"]["error-step"]["rows"]) == 24
    curves = data["series"]["curves"]["0"]["past"]
    assert len(curves["actual"]) == len(curves["first"]) == 7 * 24
    # One day has 25 hours, and its forecast 24.
    assert curves["first"].count(None) == 1


def test_error_of_the_sum_in_the_newest_complete_night(path: Path) -> None:
    data = collect_page_data(*opened(path), NOW)
    rows = skill.scorable_rows(data.scores)
    times = LocalTimeFormat("Europe/Berlin", "1h")
    night = night_section(data, rows, [0], times)
    assert night is not None and night["sum"] is not None and data.complete_night is not None
    error = (
        data.complete_night.group_by("valid_time")
        .agg((pl.col("actual") - pl.col("q50")).sum().alias("error"))
        .sort(pl.col("error").abs())
    )
    assert night["sum"]["name"] == "Sum of 3 series"
    assert night["sum"]["mae"] == format_number(float(error["error"].abs().to_numpy().mean()))
    assert night["sum"]["largest"] == format_difference(error["error"][-1])
    assert night["sum"]["when"] == times.format_peak(error["valid_time"][-1])
    assert len(night["sum"]["table"]) == len(night["sum"]["chart"]["rows"]) == 24
    html = page(path)[1]
    assert f'{night["sum"]["mae"]}<span class="unit">MW</span>' in html
    # Without an actual of one series, a period has no sum.
    gap = (pl.col("series_id") == "north") & (pl.col("step") < 3)
    lacking = data.complete_night.with_columns(actual=pl.when(~gap).then("actual"))
    less = night_section(replace(data, complete_night=lacking), rows, [0], times)
    assert less is not None and less["sum"] is not None and len(less["sum"]["table"]) == 22


def test_the_last_day_has_its_errors_beside_a_night_of_two_days(path: Path) -> None:
    data = collect_page_data(*opened(path), NOW)
    rows = skill.scorable_rows(data.scores)
    times = LocalTimeFormat("Europe/Berlin", "1h")
    one = night_section(data, rows, [0], times)
    assert one is not None and one["last_day"] is None
    # Forecasts of 48 hours. That of Sunday covers its 25 hours, and that of Monday is not scored yet.
    later = rows.with_columns(pl.col("valid_time") + timedelta(days=1), pl.col("absolute_error") * 3)
    two = pl.concat([rows, later])
    night = night_section(data, two, [0], times)
    assert night is not None and night["last_day"] is not None
    sunday = two.filter(
        pl.col("valid_time").dt.convert_time_zone("Europe/Berlin").dt.day() == 25,
        issue_time=rows["issue_time"].max(),
    )
    assert len(sunday) == 25 * 3
    assert night["last_day"]["day"] == "Sun 25 Oct"
    assert night["last_day"]["issued"] == "Sun 25 Oct 00:00 CEST"
    assert night["last_day"]["mae"] == format_number(float(sunday["absolute_error"].to_numpy().mean()))
    assert night["last_day"]["largest"] == format_difference(sunday.sort("absolute_error").row(-1, named=True)["error"])


def test_daily_data_have_the_errors_of_the_last_day_one_day_ahead(path: Path) -> None:
    """Daily forecasts of two days: the newest complete night is a day older than the newest actual."""
    hourly = collect_page_data(*opened(path), NOW)
    text = path.read_text()
    for old, new in (('"1h"', '"1d"'), ("horizon = 24", "horizon = 2"), ("season = 168", "season = 7"), ("MW", "GWh")):
        text = text.replace(old, new)
    (path.parent / "daily.toml").write_text(text)
    data = replace(hourly, settings=pipeline_file.read(path.parent / "daily.toml"))
    first = skill.scorable_rows(hourly.scores).filter(step=1)
    local = pl.col("valid_time").dt.convert_time_zone("Europe/Berlin")
    second = first.with_columns(local.dt.offset_by("1d").dt.convert_time_zone("UTC"), pl.col("absolute_error") * 3)
    newest = first["issue_time"].max()
    # The newest forecast has the actuals of its first day only.
    rows = pl.concat([first, second.filter(pl.col("issue_time") < newest)])
    complete = second.filter(pl.col("issue_time") < newest)["issue_time"].max()
    night = night_section(
        replace(data, complete_night=rows.filter(issue_time=complete).with_columns(q50=pl.col("actual"))), rows, [],
        LocalTimeFormat("Europe/Berlin", "1d"),
    )  # fmt: skip
    assert night is not None and night["last_day"] is not None
    last = first.filter(issue_time=newest)
    assert night["last_day"]["mae"] == format_number(float(last["absolute_error"].to_numpy().mean()))
    actual, error = (float(last[name].cast(pl.Float64).sum()) for name in ("actual", "error"))
    assert night["last_day"]["total"] == format_change(actual, actual - error)


def test_prices_and_a_single_series_have_no_error_of_a_sum(path: Path) -> None:
    path.write_text(path.read_text().replace('"MW"', '"EUR/MWh"'))
    assert "night-sum" not in packed(page(path)[1])["charts"]


def test_terms_are_explained_at_their_first_use(path: Path) -> None:
    html = page(path)[1]
    for term in ("pinball", "baseline", "80% interval", "champion", "skill", "coverage"):
        shown = re.search(rf"[^-\w]{term}", html[html.index("<main") :], re.IGNORECASE)
        assert shown is not None
        before = html[html.index("<main") :][: shown.start() + 1]
        assert before.endswith(('">', "<dt>")), (term, before[-80:])


def test_other_models_are_folded_with_what_their_manifests_have(path: Path) -> None:
    store = open_store(str(path.parent / "store"))
    registry.add(
        store, "made", ISSUE - timedelta(days=1), b"another model",
        {"decision": {"promoted": False, "reason": "refused: pinball 5"}, "updates": 1200, "linear_weights": [0.25]},
    )  # fmt: skip
    html = page(path)[1]
    assert html.index("pinball 5") < html.index("no champion to beat")
    assert "<dt>updates</dt><dd>1,200</dd>" in html
    assert (
        "<dt>weight of the linear expert by part of the horizon (the network has the rest)</dt><dd>0.250</dd>" in html
    )
    registry.add(
        store,
        "made",
        ISSUE - timedelta(hours=1),
        b"a third",
        {"decision": {"promoted": False, "reason": "refused: pinball 6"}},
    )
    assert "1 other model</summary>" in page(path)[1]


def test_first_night_has_no_empty_chart(tmp_path: Path) -> None:
    html = page(make_store(tmp_path, NAMES, count=1))[1]
    charts = set(re.findall('data-chart="([^"]*)"', html))
    assert charts == {"sum"}
    assert "vs forecast of" not in html


def test_no_forecast_of_a_market_is_overdue_on_a_weekend(path: Path) -> None:
    data = collect_page_data(*opened(path), NOW)
    assert data.latest is not None
    at = data.settings.pipeline.model_copy(update={"frequency": "1b"})
    markets = data.settings.model_copy(update={"pipeline": at})
    saturday = datetime(2026, 10, 24, tzinfo=ZONE)
    friday = data.latest.with_columns(issue_time=pl.lit(saturday).cast(data.latest.schema["issue_time"]))
    for due, colour in ((saturday + timedelta(days=2), "green"), (saturday + timedelta(days=3), "red")):
        _, verdict = render_report_page(replace(data, settings=markets, latest=friday, due=due, earlier=None))
        assert verdict.colour == colour


@pytest.mark.parametrize("missing", ["scores", "nights", "quarantine", "models", "history", "latest"])
def test_missing_part_of_the_store_leaves_a_gap(path: Path, missing: str) -> None:
    shutil.rmtree(path.parent / "store" / missing)
    result, html = page(path)
    assert result["colour"] == "green"
    assert {"scores": "No forecast has been scored yet", "nights": "has no recorded row counts", "latest": "north",
            "quarantine": "<strong>demand</strong>", "models": "No model has been trained yet",
            "history": "with no target values"}[missing] in html  # fmt: skip


def test_a_real_market_without_a_champion(tmp_path: Path) -> None:
    pipeline = pipeline_file.read(
        Path(__file__).parents[3] / "deployments/market.toml", {"GATECAST_PIPELINE__STORE": str(tmp_path)}
    )
    store, zone = open_store(pipeline.pipeline.store), pipeline.pipeline.timezone
    issues = [clock.parse_time(f"2018-12-{day}", zone) for day in (20, 21, 22, 24)]
    ingest(pipeline, store, issues[-1], NOW)
    for issue in issues:
        forecast(pipeline, store, issue, needs_champion=False)
    result = report(pipeline, store, NOW)
    assert result["colour"] == "amber"
    assert "4 series, 5 business days from Mon 24 Dec, by the baseline only" in result["sentence"]
    assert (
        "4 of 4 series by the baseline because there is no champion. No earlier forecast has been scored"
        in result["sentence"]
    )
    data = packed(Path(result["path"]).read_text())["series"]
    # Christmas and New Year are not business days of the exchange.
    assert data["periods"][data["forecast_column"] :] == [
        "Mon 24 Dec",
        "Wed 26 Dec",
        "Thu 27 Dec",
        "Fri 28 Dec",
        "Mon 31 Dec",
    ]
    # The issue times of Saturday and Monday have the same first period.
    assert data["earlier_column"] == data["forecast_column"]


def test_a_single_quantile_level_has_a_page(path: Path) -> None:
    path.write_text(path.read_text().replace("season = 168", "season = 168\nquantile_levels = [0.5]"))
    assert page(path)[0]["colour"] == "green"


def test_alert_on_all_series(path: Path) -> None:
    change_record(path, ISSUE, alerts=[{"check": "late_feed", "series_id": None, "detail": "weather"}])
    assert "<strong>late_feed</strong> <bdi>all series</bdi>: weather" in page(path)[1]


def test_ids_that_do_not_match_are_shown_beside_their_feed(path: Path) -> None:
    store = open_store(str(path.parent / "store"))
    record = json.loads(store.get(layout.run_record("made", ISSUE)))
    record["ingest"]["feeds"]["demand"]["matching"] = match_series({"<1>"}, {"<1>"}, {"01", "<1>"})
    change_record(path, ISSUE, ingest=record["ingest"])
    assert "1 of 2 series (50%) of the target have no row in this feed: &#39;01&#39;." in page(path)[1]


def test_a_store_without_forecasts_has_a_page(tmp_path: Path) -> None:
    result, html = page(write_pipeline_file(tmp_path))
    assert result["colour"] == "red"
    assert "No forecast has been published before" in result["sentence"]
    assert "There is no series yet" in html
    assert "no network" in html


def test_same_store_has_the_same_page(path: Path) -> None:
    first = Path(page(path)[0]["path"]).read_bytes()
    assert Path(page(path)[0]["path"]).read_bytes() == first


@pytest.mark.parametrize("content", [b"null", b"{", b"\x00PAR1"])
@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("models/made/champion.json", "champion"), ("scores/made/*.parquet", "scores"),
        ("nights/made/*.json", None), ("quarantine/made/demand/*", None), ("models/made/*/manifest.json", None),
        ("forecasts/pipeline=made/issue_date=2026-10-24/*", "forecast of 2026-10-23 22:00 UTC"),
        ("history/made/demand/*.parquet", None),
    ],
)  # fmt: skip
def test_a_damaged_part_is_left_out_and_named(path: Path, pattern: str, part: str | None, content: bytes) -> None:
    damaged = sorted((path.parent / "store").glob(pattern))[0]
    damaged.unlink()
    damaged.write_bytes(content)
    result, html = page(path)
    assert result["colour"] == "green"
    if part:
        assert f"Not on this page, because it could not be read: {part}" in html


def test_a_directory_in_place_of_a_file_is_left_out(path: Path) -> None:
    champion = path.parent / "store/models/made/champion.json"
    champion.unlink(missing_ok=True)
    champion.mkdir()
    assert "could not be read: champion" in page(path)[1]


@pytest.mark.process
def test_command_writes_the_page_without_prefect_torch_or_pandas(path: Path, tmp_path: Path) -> None:
    blocked = block(tmp_path, "torch", "onnx", "pandas", "prefect")
    done = gatecast_process("report", path, "--json", PYTHONPATH=str(blocked))
    assert done.returncode == 0, done.stderr
    assert Path(json_report(done)["path"]) == path.parent / "store/reports/made.html"
    done = gatecast("report", path, "--output", tmp_path / "elsewhere" / "page.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere/page.html").read_text().startswith("<!doctype html>")
    assert "Wrote" in done.stdout
    assert gatecast("report", tmp_path / "no.toml").returncode == 2


def test_curves_beyond_the_limit_are_left_out_with_a_note(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.page.series_payload.MAX_VALUES", 1300)
    html = page(path)[1]
    assert len(packed(html)["series"]["curves"]) == 1
    assert "This page has the curves of 1 of 3 series" in html


def test_unit_is_that_of_the_target_feed(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace('unit = "MW"\n', ""))
    assert "MAE</abbr>, the target&#39;s unit" in page(path)[1]
    path.write_text(text.replace('values = ["temperature"]', 'values = ["temperature"]\nunit = "K"'))
    with pytest.raises(pipeline_file.PipelineFileError, match="unit is for the target feed"):
        pipeline_file.read(path)
    more = text.split("[[feed]]")[1].replace('"demand"', '"more"').replace("MW", "GW")
    path.write_text(f"{text}\n[[feed]]{more}")
    with pytest.raises(pipeline_file.PipelineFileError, match="same unit"):
        pipeline_file.read(path)


def test_packed_json_is_deterministic_and_holds_any_text() -> None:
    content = {"names": ["</script>", "\u2028", "\N{FACTORY}", '"']}
    assert pack_json(content) == pack_json(content)
    assert json.loads(gzip.decompress(base64.b64decode(pack_json(content)))) == content
    assert re.fullmatch(r"[A-Za-z0-9+/=]*", pack_json(content))
