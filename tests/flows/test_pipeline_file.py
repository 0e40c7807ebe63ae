"""The pipeline file: an error names the key, the value and what is allowed."""

from __future__ import annotations

import re
from datetime import time, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.settings.file import PipelineFileError, read
from flows.settings.file_errors import PATTERN_WORDS
from flows.settings.types import SettingError, check_zone
from model.evaluation.alerts import Limits
from tests.support.pipelines import write_pipeline


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_pipeline(tmp_path)


def test_defaults(path: Path) -> None:
    path.write_text(path.read_text().replace("members = 1\n", "").replace("hidden_size = 16\n", ""))
    pipeline = read(path, {})
    assert pipeline.pipeline.quantile_levels == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert pipeline.pipeline.issue_at == time(0)
    assert (pipeline.model.head, pipeline.model.layers, pipeline.model.hidden_size) == ("quantile", 1, 64)
    assert pipeline.model.members == 1  # docs/experiments.md
    assert (pipeline.training.every, pipeline.training.seed) == (timedelta(days=1), 7)
    assert (pipeline.training.keep, pipeline.promotion.folds) == (30, 7)
    assert (pipeline.promotion.margin, pipeline.forecast.providers) == (0.0, ("cpu",))
    assert pipeline.monitoring.limits() == Limits(
        timedelta(days=28), timedelta(days=7), 0.0, 0.6, 0.95, max_bias=1.0, drift=0.2, evidence=2.5
    )
    assert (pipeline.forecast.deadline, pipeline.scale.engine) == (timedelta(minutes=10), "local")


def test_it_is_frozen(path: Path) -> None:
    with pytest.raises(ValidationError):
        read(path, {}).pipeline.horizon = 1


def test_paths_are_relative_to_the_file(path: Path) -> None:
    pipeline = read(path, {})
    assert pipeline.pipeline.store == str(path.parent / "store")
    assert pipeline.feed[0].uri == str(path.parent / "load.parquet")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "small"', 'name = "Small"', ["pipeline.name", "Small"]),
        ('frequency = "1h"', 'frequency = "2h"', ["pipeline.frequency", "2h", "15m"]),
        ('store = "./store"', 'store = "gs://bucket/x"', ["pipeline.store", "gs://bucket/x", "s3://bucket/prefix"]),
        ("horizon = 24", "horizon = 0", ["pipeline.horizon", "0"]),
        ("horizon = 24", 'horizon = "24"', ["pipeline.horizon", "a whole number", "Example: horizon = 24."]),
        ("horizon = 24", "horizons = 24", ["pipeline.horizons", "no such key"]),
        ('"America/New_York"\nholidays', '"America/Nowhere"\nholidays', ["pipeline.timezone", "Nowhere"]),
        ('holidays = "US"', 'holidays = "ZZ"', ["pipeline.holidays", "ZZ", "NYSE"]),
        ("season = 168", "season = 168\nquantile_levels = [0.1, 0.9]", ["quantile_levels", "0.5"]),
        ("season = 168", "season = 168\nquantile_levels = [0.0, 0.5]", ["quantile_levels", "between 0 and 1"]),
        ("season = 168", "season = 168\nquantile_levels = [0.9, 0.5]", ["quantile_levels", "ascend"]),
        ("bounds = { min = 0.0 }", "bounds = { min = 2.0, max = 1.0 }", ["bounds", "min must be below max"]),
        ("bounds = { min = 0.0 }", "bounds = { min = nan }", ["bounds.min", "finite"]),
        ("bounds = { min = 0.0 }", "bounds = { max = -inf }", ["bounds.max", "finite"]),
        ("season = 168", 'season = 168\nissue_at = "25:00"', ["pipeline.issue_at", "25:00"]),
        ('role = "target"', 'role = "goal"', ["feed 'demand': role", "goal", "known_future"]),
        ('role = "target"', 'role = "observed"', ["target"]),
        ('values = ["y"]', 'values = ["y", "z"]', ["feed 'demand'", "exactly one"]),
        ('values = ["y"]', 'values = ["y"]\nfixed_offset = "-5"', ["feed 'demand': fixed_offset", "-05:00"]),
        ('values = ["y"]', 'values = ["y"]\nfixed_offset = "-05:00"', ["fixed_offset and time_zone exclude"]),
        ("season = 168", 'season = 168\ngrid_offset = "90m"', ["grid_offset", "shorter than a period", "90m"]),
        ('values = ["y"]', 'values = ["y"]\nfold = "last"', ["feed 'demand': fold", "last", "first"]),
        ('budget = "300s"', 'budget = "soon"', ["training.budget", "soon"]),
        ('budget = "300s"', "keep = 0", ["training.keep", "0"]),
        ("folds = 7", "folds = 4", ["promotion.folds", "4", "greater than or equal to 5"]),
        ('head = "quantile"', 'head = "mixture"', ["model.head", "mixture", "softmax"]),
        ("[model]", '[monitoring]\nwindow = "7d"\n[model]', ["monitoring", "window must be \"14d\" or longer"]),
        ("[model]", '[monitoring]\nrecent = "28d"\n[model]', ["monitoring", "recent must be shorter than window"]),
        ("[model]", "[monitoring]\nmin_skill = 1.0\n[model]", ["monitoring.min_skill", "less than 1"]),
        ("[model]", "[monitoring]\nmin_skills = 0.1\n[model]", ["monitoring.min_skills", "no such key"]),
        ("[model]", "[monitoring]\nmin_skill = nan\n[model]", ["monitoring.min_skill", "finite"]),
        ("[model]", "[monitoring]\nmax_bias = 0\n[model]", ["monitoring.max_bias", "greater than 0"]),
        ("[model]", "[monitoring]\ncoverage = { min = 0.9 }\n[model]", ["monitoring.coverage", "below 0.8"]),
        ('name = "weather"', 'name = "demand"', ["feed names must differ"]),
        ("[pipeline]", "[pipeline", ["TOML"]),
    ],
)  # fmt: skip
def test_wrong_values(path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(PipelineFileError) as error:
        read(path, {})
    for word in [str(path), *words]:
        assert word in str(error.value)


def test_the_environment_gives_any_value(path: Path) -> None:
    pipeline = read(
        path,
        {
            "GATECAST_PIPELINE__STORE": "/elsewhere",
            "GATECAST_PIPELINE__HORIZON": "48",
            "GATECAST_FORECAST__PROVIDERS": '["cuda", "cpu"]',
            "GATECAST_FEED__0__AVAILABLE_AFTER": "2h",
            "GATECAST_FEED__WEATHER__TIME_ZONE": "UTC",
        },
    )
    assert (pipeline.pipeline.store, pipeline.pipeline.horizon) == ("/elsewhere", 48)
    assert pipeline.forecast.providers == ("cuda", "cpu")
    assert pipeline.feed[0].available_after == timedelta(hours=2)
    assert pipeline.feed[1].time_zone == "UTC"


def test_a_wrong_key_in_the_environment_is_an_error(path: Path) -> None:
    with pytest.raises(PipelineFileError, match="horizons"):
        read(path, {"GATECAST_PIPELINE__HORIZONS": "48"})


def test_secrets_come_from_the_environment(path: Path) -> None:
    path.write_text(path.read_text().replace("load.parquet", "${FOLDER}/load.parquet"))
    assert read(path, {"FOLDER": "/data"}).feed[0].uri == "/data/load.parquet"
    with pytest.raises(PipelineFileError, match="FOLDER"):
        read(path, {})


@pytest.mark.parametrize("wrong", ["5", '"abc"', "true"])
def test_levels_that_are_no_list(tmp_path: Path, wrong: str) -> None:
    path = write_pipeline(tmp_path)
    with pytest.raises(PipelineFileError, match="quantile_levels"):
        read(path, {"GATECAST_PIPELINE__QUANTILE_LEVELS": wrong})


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('frequency = "1h"', 'frequency = "hourly"', 'pipeline.frequency: must be \'15m\', \'30m\', \'1h\', \'1d\' or '
         '\'1b\', got "hourly". Did you mean "1h"?'),
        ('frequency = "1h"\n', "", "pipeline.frequency: is required."),
        ("frequency =", "frequncy =", 'pipeline.frequncy: there is no such key. Did you mean "frequency"?'),
        ("horizon = 24", "horizont = 24", 'pipeline.horizont: there is no such key. Did you mean "horizon"?'),
        ("[training]", "[trainig]", 'trainig: there is no such key. Did you mean "training"?'),
        ('values = ["y"]', 'values = ["y"]\nunits = "MW"', 'feed \'demand\': units: there is no such key. Did you mean '
         '"unit"?'),
        ('values = ["y"]', 'values = ["y"]\nchecks = { gaps = "warn" }', 'feed \'demand\': checks.gaps: there is no '
         'such key. Did you mean "gap"?'),
        ('role = "target"', 'role = "targt"', 'feed \'demand\': role: must be \'target\', \'known_future\' or '
         '\'observed\', got "targt". Did you mean "target"?'),
        ('"America/New_York"\nholidays', '"America/NewYork"\nholidays', 'pipeline.timezone: must be a time zone of '
         'the IANA database, which names a large city of each country, got "America/NewYork". Did you mean '
         '"America/New_York"?'),
        ('holidays = "US"', 'holidays = "Spain"', 'pipeline.holidays: must be a code of the holidays library: a '
         'country ("US"), a subdivision ("DE-BY") or a financial market ("NYSE", "ECB"), got "Spain". '
         'Did you mean "ES"?'),
        ('holidays = "US"', 'holidays = "us"', 'pipeline.holidays: must be a code of the holidays library: a country '
         '("US"), a subdivision ("DE-BY") or a financial market ("NYSE", "ECB"), got "us". Did you mean "US"?'),
        ('name = "demand"', "name = demand", "line 14, column 8 is not valid TOML: the value is not valid. Texts need "
         'quotation marks: name = "demand". The line is: name = demand'),
        ('store = "./store"', 'store = "./store', "line 4, column 17 is not valid TOML: the quotation mark at the end "
         'of a text is missing. Example: store = "./store". The line is: store = "./store'),
        ("horizon = 24", "horizon 24", "line 8, column 9 is not valid TOML: an equals sign must follow the key: "
         "key = value. The line is: horizon 24"),
        ("horizon = 24", "horizon = 24\nhorizon = 48", "line 9, column 13 is not valid TOML: this key is there twice. "
         "Delete one of them. The line is: horizon = 48"),
        ('values = ["y"]', 'values = "y"', "feed 'demand': values: must be a list, got \"y\". Example: [\"y\"]."),
        ('values = ["y"]', 'values = ["y"]\noptions = { decimal = 5 }', "feed 'demand': options.decimal: must be '.' "
         "or ',', got 5."),
        ('values = ["y"]', 'values = ["y"]\noptions = { decimals = "," }', "feed 'demand': options.decimals: there is "
         'no such key. Did you mean "decimal"?'),
        ('name = "small"', 'name = "My Load"', "pipeline.name: must begin with a lower-case letter and have only "
         'lower-case letters, digits and hyphens, at most 63 characters, got "My Load".'),
        ('name = "demand"', 'name = "de mand"', "feed 'de mand': name: must begin with a letter and have only letters, "
         'digits, hyphens and underscores, at most 63 characters, got "de mand".'),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line_with_what_was_meant(path: Path, old: str, new: str, line: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(PipelineFileError) as error:
        read(path, {})
    assert str(error.value) == f"{path}: {line}"


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("GATECAST_PIPELINE__HORIZN", ["GATECAST_PIPELINE__HORIZN:", 'Did you mean "GATECAST_PIPELINE__HORIZON"?']),
        ("GATECAST_PIPELNE__HORIZON", ["GATECAST_PIPELNE__HORIZON:", 'Did you mean "GATECAST_PIPELINE__HORIZON"?']),
        ("GATECAST_PIPELINE_HORIZON", ["two underscores", "Did you mean GATECAST_PIPELINE__HORIZON?"]),
        ("GATECAST_NONSENSE", ["GATECAST_NONSENSE is no setting"]),
        ("GATECAST_PIPELINE__FREQUENCY", ["GATECAST_PIPELINE__FREQUENCY: pipeline.frequency", 'got 7']),
        ("GATECAST_FEED__DEMAND__ROLE", ["GATECAST_FEED__DEMAND__ROLE: feed 'demand': role"]),
        ("GATECAST_FEED__DEMND__ROLE", ["there is no feed 'demnd'", 'Did you mean "demand"?']),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named(path: Path, variable: str, words: list[str]) -> None:
    with pytest.raises(PipelineFileError) as error:
        read(path, {variable: "7"})
    assert str(error.value).startswith("the environment variable ") and "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_every_pattern_of_the_settings_has_words() -> None:
    """Patterns of own types, such as durations, have a message of their own."""
    folder = Path(__file__).parents[2] / "flows/settings"
    texts = "".join((folder / name).read_text() for name in ("feed.py", "feed_options.py", "pipeline.py"))
    patterns = set(re.findall(r'Field\(pattern=r"([^"]+)"', texts))
    assert patterns == set(PATTERN_WORDS)


def test_variables_that_are_no_settings(path: Path) -> None:
    assert read(path, {"GATECAST_STATE": "/srv", "GATECAST_HOME": "/srv"}).name == "small"


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Munich", None),  # Zurich has the same region and some of the letters, but is no slip for it
        ("Europe/Madird", "Europe/Madrid"),
        ("europe/madrid", "Europe/Madrid"),
        ("US/Estern", "US/Eastern"),
        ("America/NewYork", "America/New_York"),
    ],
)
def test_a_zone_is_meant_only_if_its_city_is_written_alike(zone: str, meant: str | None) -> None:
    with pytest.raises(SettingError, match="a large city of each country") as caught:
        check_zone(zone)
    assert caught.value.meant == meant


def test_a_key_of_thousands_of_parts_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(".".join(["a"] * 5000) + " = 1\n")
    with pytest.raises(PipelineFileError, match="in each other too often"):
        read(path, {})
