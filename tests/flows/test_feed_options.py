"""Options of each kind of source, and the examples of docs/sources.md."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from flows.settings import file as pipeline_file
from flows.settings.feed_options import EntsoeOptions, OpenMeteoOptions
from flows.settings.file import PipelineFileError
from tests.support.narrow import present

HEAD = """
[pipeline]
name = "p"
store = "./store"
frequency = "1h"
"""
TARGET = """
[[feed]]
name = "demand"
role = "target"
uri = "load.parquet"
valid_time = "ds"
values = ["y"]
"""
FEED = '[[feed]]\nname = "demand"\nrole = "target"\nvalues = ["y"]\n'
SQL = 'query = "q"\nuri = "sqlite:///a"\nvalid_time = "t"\n[feed.options]\n'
CSV = 'uri = "load.csv"\nvalid_time = "t"\n[feed.options]\n'
EXAMPLES: list[str] = re.findall(
    r"```toml\n(.*?)```", (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8"), re.DOTALL
)
ENTSOE = 'kind = "entsoe"\n{more}[feed.options]\ndocument = "{document}"\nareas = {areas}\n'
METEO = (
    'kind = "open-meteo"\n[feed.options]\napi = "archive"\nlocations = { here = { latitude = 1.0, longitude = 2.0 } }\n'
)


def read(folder: Path, feeds: str, frequency: str = "1h", **environment: str) -> pipeline_file.Pipeline:
    path = folder / "p.toml"
    path.write_text(HEAD.replace('"1h"', f'"{frequency}"') + feeds)
    return pipeline_file.read(path, environment)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.findall(r'name = "(.*?)"', text)[0])
def test_the_examples_of_the_documentation_are_valid(tmp_path: Path, example: str) -> None:
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", example), "planted-s3cret")
    feeds = example if 'role = "target"' in example else TARGET + example
    pipeline = read(tmp_path, feeds, "15m" if "upsample" in example else "1h", **secrets)
    assert "planted-s3cret" not in repr(pipeline.feed[-1].options)
    for kind in ("uri", "available_at", "series_id"):
        assert getattr(pipeline.feed[-1], kind) is None or f"{kind} =" in example


def test_each_kind_has_an_example() -> None:
    text = "\n".join(EXAMPLES)
    for kind in ("open-meteo", "entsoe", "eia", "ecb"):
        assert f'kind = "{kind}"' in text
    for scheme in ("s3://", "postgresql://", "https://"):
        assert f'uri = "{scheme}' in text


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ('valid_time = "t"\n', ["feed 'demand'", "uri is required"]),
        ('uri = "load.csv"\n', ["feed 'demand'", "valid_time is required"]),
        ('uri = "load.csv"\nkind = "ftp"\nvalid_time = "t"\n', ["feed 'demand': kind", "ftp", "entsoe"]),
        ('uri = "load.csv"\nvalid_time = "t"\n[feed.options]\nformat = "csv"\n', ["options", "no such key"]),
        ('uri = "sqlite:///a"\nquery = "q"\nvalid_time = "t"\n[feed.options]\nretries = 1\n', ["options.retries"]),
        ('uri = "s3://a/b.csv"\nvalid_time = "t"\n[feed.options]\nareas = []\n', ["options.areas", "no such key"]),
        ('uri = "http://a"\nvalid_time = "t"\n[feed.options]\napi_key = "${A}"\n', ["options.api_key", "no such key"]),
        ('uri = "http://a"\nvalid_time = "t"\n[feed.options]\nkind = "eia"\n', ["kind is a key of the feed"]),
        (CSV + 'separator = ";;"\n', ["options.separator", "one ASCII character"]),
        (CSV + 'encoding = "klingon"\n', ["options.encoding", "klingon"]),
        (CSV + 'time_format = "%H:%M"\n', ["options.time_format", "year, month and day", "%d/%m/%Y"]),
        (CSV + 'time_format = ["iso", "%d/%m/%Y %Z"]\n', ["options.time_format", "time_zone of the feed"]),
        (CSV + 'decimal = ","\nthousands = ","\n', ["feed 'demand': options:", "they must differ"]),
        (CSV + 'period = "15m"\n', ["options", 'period is for label = "end"']),
        (CSV + 'label = "end"\nperiod = "15m"\n', ["feed 'demand'", "options.period is for a feed with resample"]),
        ('resample = "sum"\n' + CSV + 'label = "end"\n', ["feed 'demand'", "needs options.period"]),
        ('upsample = "divide"\nresample = "sum"\n' + CSV, ["feed 'demand'", "upsample and resample exclude"]),
        ('upsample = "divide"\n' + CSV + 'label = "end"\n', ["feed 'demand'", 'upsample needs label = "start"']),
        ('upsample = "divide"\n' + CSV, ['upsample of a feed is for frequency = "15m" or "30m"']),
        (CSV.replace(".csv", ".parquet") + "skip_rows = 1\n", ["feed 'demand'", "options.skip_rows is for CSV"]),
        (CSV.replace("load.csv", "https://a/b") + 'separator = ";"\n', ["options.separator is for CSV"]),
        (SQL + "skip_rows = 1\n", ["options.skip_rows", "no such key"]),
        ('early = "warn"\n' + CSV, ["feed 'demand'", "early is for target and observed feeds with available_at"]),
        (METEO + 'decimal = ","\n', ["options.decimal", "no such key"]),
        (METEO + "document = 'load'\n", ["demand': options.document", "no such key for a source of kind 'open-meteo'"]),
        (METEO + "lead_days = [1]\n", ["options", "lead_days is for api", "archive"]),
        (METEO.replace("1.0", "91.0"), ["locations.here.latitude", "91.0", "90"]),
        (METEO.replace("archive", "previous-runs") + "lead_days = [8]\n", ["lead_days", "8"]),
        (ENTSOE.format(document="load", areas='["FR"]', more=""), ["options.api_key", "is required"]),
        (ENTSOE.format(document="loads", areas='["FR"]', more=""), ["options.document", "loads", "load_forecast"]),
        (ENTSOE.format(document="load", areas='["FX"]', more=""), ["options.areas", "FX", "DE_LU"]),
        ('kind = "eia"\n[feed.options]\nroute = "/natural-gas/"\n', ["options.route", "natural-gas", "frequency"]),
        ('kind = "ecb"\n[feed.options]\nflow = "EXR"\nseries = { usd = "D..EUR" }\n', ["options.series.usd", "D..EUR"]),
    ],
)  # fmt: skip
def test_wrong_options(tmp_path: Path, feed: str, words: list[str]) -> None:
    with pytest.raises(PipelineFileError) as raised:
        read(tmp_path, FEED + feed, A="b")
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"areas": '["FR", "BE"]'}, ["feed 'demand'", 'series_id = "series_id"']),
        ({"more": 'valid_time = "t"\n'}, ["valid_time of kind 'entsoe' is 'valid_time'"]),
        ({"more": 'available_at = "known"\n'}, ["available_at is not for kind 'entsoe'"]),
        ({"document": "price", "more": 'available_after = "1h"\n'}, ["available_after is not for rows that have"]),
    ],
)
def test_a_known_source_names_its_columns(tmp_path: Path, options: dict[str, str], words: list[str]) -> None:
    feed = ENTSOE.format(**{"document": "load", "areas": '["FR"]', "more": ""} | options)
    with pytest.raises(PipelineFileError) as raised:
        read(tmp_path, FEED + feed + 'api_key = "${KEY}"\n', KEY="b")
    for word in words:
        assert word in str(raised.value)


def test_a_secret_comes_from_the_environment_only(tmp_path: Path) -> None:
    feed = FEED + ENTSOE.format(document="load", areas='["FR"]', more="")
    for written in ('"planted-s3cret"', "1234567", '"${KEY}planted"'):
        with pytest.raises(PipelineFileError, match=r"options.api_key: a secret does not belong in the file") as raised:
            read(tmp_path, feed + f"api_key = {written}\n", KEY="b")
        assert "planted" not in str(raised.value)
    with pytest.raises(PipelineFileError, match=r"feed.demand.options.api_key: the environment has no variable KEY"):
        read(tmp_path, feed + 'api_key = "${KEY}"\n')
    # A key of digits is a text. An error beside it does not print it.
    key = {"GATECAST_FEED__DEMAND__OPTIONS__API_KEY": "0123456789"}
    options = read(tmp_path, feed, **key).feed[0].options
    assert isinstance(options, EntsoeOptions)
    assert present(options.api_key).get_secret_value() == "0123456789"
    with pytest.raises(PipelineFileError) as raised:
        read(tmp_path, feed.replace('"load"', '"loads"'), **key)
    assert "0123456789" not in str(raised.value)


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    options = read(tmp_path, FEED + METEO.replace("archive", "previous-runs")).feed[0].options
    assert isinstance(options, OpenMeteoOptions)
    assert (options.lead_days, options.delay, options.timeout) == ((1, 2), timedelta(hours=9), timedelta(seconds=30))
    assert (options.retries, options.backoff, options.resolution) == (4, timedelta(seconds=1), "hourly")
