"""Sources on the web: all kinds share their retries, their errors and their redaction."""

from __future__ import annotations

import json
import logging
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.stages.ingest import ingest
from flows.stages.panels import revision_panel, to_micros, visible_panel
from flows.stages.sources import read_feed
from storage.schemas import DataError
from storage.store import open_store
from tests.support.commands import gatecast
from tests.support.examples import examples
from tests.support.feeds import mutated
from tests.support.source_answers import Weather, answer, csv, document, hour, period
from tests.support.web_server import Response, Web

# A pipeline file with one feed, the path of its request, and a good response.
Case = tuple[Path, str, bytes]

HEAD = """
[pipeline]
name = "p"
store = "./store"
frequency = "1h"

[[feed]]
name = "demand"
role = "target"
values = ["y"]
"""
PATIENCE = 'timeout = "0.5s"\nretries = 2\nbackoff = "0.01s"\n'
HOURS = {"time": ["2018-09-01T00:00", "2018-09-01T01:00"], "y": [1.0, 2.0]}
POINTS = period("2018-09-01T00:00Z", "2018-09-01T02:00Z", "PT60M", {1: 1, 2: 2})

# By kind: the feed in the pipeline file, the path of its request, a good response with two rows.
KINDS = {
    "http": (
        'uri = "{address}/load.csv?token=${{KEY}}"\nvalid_time = "t"\n[feed.options]\n',
        "/load.csv", b"t,y\n2018-09-01,1\n2018-09-02,2\n",
    ),
    "open-meteo": (
        'uri = "{address}/v1"\nkind = "open-meteo"\n[feed.options]\napi = "archive"\napi_key = "${{KEY}}"\n'
        "locations = {{ here = {{ latitude = 1.0, longitude = 2.0 }} }}\n",
        "/v1", json.dumps({"hourly": HOURS}).encode(),
    ),
    "entsoe": (
        'uri = "{address}/api"\nkind = "entsoe"\n[feed.options]\ndocument = "load"\nareas = ["FR"]\n'
        'api_key = "${{KEY}}"\n',
        "/api", document(f"<curveType>A01</curveType>{POINTS}"),
    ),
    "eia": (
        'uri = "{address}/v2"\nkind = "eia"\n[feed.options]\nroute = "electricity/rto/region-data"\n'
        'frequency = "hourly"\nseries = "respondent"\napi_key = "${{KEY}}"\n',
        "/v2/electricity/rto/region-data/data/",
        answer(hour("CISO", "2018-09-01T01", "1"), hour("CISO", "2018-09-01T02", "2")),
    ),
    "ecb": (
        'uri = "{address}/service?token=${{KEY}}"\nkind = "ecb"\n[feed.options]\nflow = "EXR"\n'
        'series = {{ dollar = "D.USD.EUR.SP00.A" }}\n',
        "/service/data/EXR/D.USD.EUR.SP00.A", csv("D.USD.EUR.SP00.A", ("2018-09-03", "1"), ("2018-09-04", "2")),
    ),
}  # fmt: skip
SECRET = "planted-s3cret/+&"


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, web: Web, tmp_path: Path) -> Case:
    """Return a pipeline file with one feed, the path of its request, and a good response."""
    feed, path_of_request, good = KINDS[request.param]
    path = tmp_path / "p.toml"
    path.write_text(HEAD + feed.format(address=web.address) + PATIENCE)
    return path, path_of_request, good


def read(path: Path) -> pl.DataFrame:
    feed = pipeline_file.read(path, {"KEY": SECRET}).feed[0]
    since, until = datetime(2018, 9, 1, tzinfo=UTC), datetime(2018, 9, 2, tzinfo=UTC)
    return read_feed(feed, since, until, until)


def test_a_transient_error_is_retried(case: Case, web: Web) -> None:
    path, path_of_request, good = case
    web.respond(path_of_request, (429, {"Retry-After": "0"}, b"slow down"), (500, {}, b""), good)
    assert len(read(path)) == 2
    assert len(web.requests) == 3


def test_a_connection_that_breaks_within_the_response_is_retried(case: Case, web: Web) -> None:
    path, path_of_request, good = case
    cut = (200, {"Content-Length": str(len(good))}, good[: len(good) // 2])
    web.respond(path_of_request, cut, cut, good)
    assert len(read(path)) == 2
    web.respond(path_of_request, cut)
    with pytest.raises(DataError, match=r"feed 'demand': .*RemoteProtocolError.*after 3 attempts"):
        read(path)


def test_a_response_beyond_the_timeout_is_retried(case: Case, web: Web) -> None:
    path, path_of_request, good = case
    waits = [0.8, 0.0]

    def slowly(_: str) -> Response:
        time.sleep(waits.pop(0) if waits else 0.8)
        return 200, {}, good

    web.answers[path_of_request] = slowly
    assert len(read(path)) == 2
    path.write_text(path.read_text().replace("retries = 2", "retries = 0"))
    with pytest.raises(DataError, match=r"feed 'demand': .*ReadTimeout.*after 1 attempt"):
        read(path)


def test_a_web_page_in_place_of_data_is_an_error(case: Case, web: Web) -> None:
    path, path_of_request, _ = case
    web.respond(
        path_of_request, (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>\n<p>Closed until noon</p>")
    )
    with pytest.raises(DataError, match=r"is a web page, not data: .*Closed until noon") as raised:
        read(path)
    assert "\n" not in str(raised.value)
    assert len(web.requests) == 1


def test_no_secret_is_printed(
    case: Case, web: Web, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither errors nor debug logs nor the options contain it, although the server received it."""
    path, path_of_request, good = case
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        web.respond(path_of_request, (503, {}, SECRET.encode()), (400, {}, b"<p>bad " + SECRET.encode()), good)
        with pytest.raises(DataError) as raised:
            read(path)
        read(path)
    feed = pipeline_file.read(path, {"KEY": SECRET}).feed[0]
    printed = "".join([str(raised.value), caplog.text, *capfd.readouterr(), repr(feed.options)])
    assert "planted" not in printed
    assert all("planted-s3cret" in path for path in web.requests)


def test_an_error_of_the_command_is_one_line(case: Case, web: Web, tmp_path: Path) -> None:
    path, path_of_request, _ = case
    web.respond(path_of_request, (403, {}, b"no\n" + SECRET.encode()))
    done = gatecast("ingest", path, KEY=SECRET)
    assert done.returncode == 1
    assert done.stderr.startswith("error: feed 'demand': ")
    assert "HTTP status 403" in done.stderr
    assert "Traceback" not in done.stderr
    assert "planted" not in done.stdout + done.stderr


def test_a_mutated_response_gives_rows_or_one_error(case: Case, web: Web) -> None:
    """Fifty mutated responses give rows or a DataError of one line."""
    path, path_of_request, good = case
    for seed in range(examples(50)):
        web.respond(path_of_request, mutated(good, random.Random(seed)))
        try:
            read(path)
        except DataError as error:
            assert len(str(error).splitlines()) == 1


WEATHER = """
[pipeline]
name = "p"
store = "./store"
frequency = "1h"

[[feed]]
name = "demand"
role = "target"
uri = "load.csv"
valid_time = "t"
values = ["y"]

[[feed]]
name = "weather"
role = "known_future"
kind = "open-meteo"
uri = "{address}/v1/weather"
values = ["temperature_2m"]
start = "2018-08-20"
[feed.options]
api = "previous-runs"
locations = {{ here = {{ latitude = 60.0, longitude = 5.0 }} }}
"""


def test_the_forecast_known_at_the_issue_time_does_not_depend_on_the_ingest(web: Web, tmp_path: Path) -> None:
    """Previous runs are ingested at the issue time and days later, and both show the same leads."""
    Weather(web)
    issue = datetime(2018, 9, 1, tzinfo=UTC)
    path = tmp_path / "p.toml"
    path.write_text(WEATHER.format(address=web.address))
    (tmp_path / "load.csv").write_text("t,y\n2018-08-31T00:00,1\n")
    pipeline = pipeline_file.read(path, {})
    first = pipeline.grid.first_step(to_micros(issue))
    seen = []
    for days in (0, 5):
        store = open_store(str(tmp_path / f"store-{days}"))
        at = issue + timedelta(days=days)
        ingest(pipeline, store, at, at + timedelta(minutes=1))
        for panel in (visible_panel, revision_panel):
            known = panel(pipeline, store, ("demand",), issue, first, 24).known_future[0]
            seen.append(known.as_of(np.array([0]), np.array([0]), 24, np.array([to_micros(issue)]))[0])
    # Lead 1 is known 24 - 9 hours before its period, so it is visible for the first 16 hours.
    leads = [round((value - 60) / 1000) for value in seen[0]]
    assert leads == [1] * 16 + [2] * 8
    assert all((other == seen[0]).all() for other in seen)
