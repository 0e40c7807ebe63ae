"""Tests of the figures at the head of the page, and of the units that may be added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flows.page.local_time import LocalTimeFormat
from flows.page.number_format import column_decimals, format_change
from flows.page.outlook import make_outlook
from flows.page.page_data import PageData
from flows.page.units import total_unit
from flows.settings import file as pipeline_file
from flows.stages.report import collect_page_data
from storage.store import open_store
from tests.support.report_store import NOW, make_store

TIMES = LocalTimeFormat("Europe/Berlin", "1h")


@pytest.mark.parametrize(
    ("unit", "frequency", "total"),
    [
        ("MW", "1h", ("MWh", 1.0)), ("kW", "15m", ("kWh", 0.25)), ("GWel", "1d", ("GWh", 24.0)),
        ("mcm/d", "1d", ("mcm", 1.0)), ("GWh/h", "30m", ("GWh", 0.5)), ("mcm per day", "1h", ("mcm", 1 / 24)),
        ("MWh", "1h", ("MWh", 1.0)), ("passengers", "1b", ("passengers", 1.0)),
        ("EUR/MWh", "1h", None), ("\N{DEGREE SIGN}C", "1h", None), ("%", "1h", None), ("USD", "1b", None),
        (None, "1h", None), ("MW", "1b", None), ("EUR/d", "1d", None),
    ],
)  # fmt: skip
def test_values_are_added_only_if_their_unit_allows_it(
    unit: str | None, frequency: str, total: tuple[str, float] | None
) -> None:
    assert total_unit(unit, frequency) == total


def test_change_in_percent_or_as_a_difference() -> None:
    nan = float("nan")
    changes = [format_change(*pair) for pair in ((103.2, 100), (96.8, 100), (100.01, 100), (nan, 1), (-2.0, -5.0))]
    assert changes == ["+3.2%", "\N{MINUS SIGN}3.2%", "0.0%", "\N{EN DASH}", "+3.000"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PageData:
    settings = pipeline_file.read(make_store(tmp_path_factory.mktemp("made"), ["a", "b"], count=2))
    return collect_page_data(settings, open_store(settings.pipeline.store), NOW)


def curves(*peaks: float) -> np.ndarray:
    """Return one curve per series: 10, and a peak in the 18th period."""
    values = np.full((len(peaks), 24), 10.0)
    values[:, 17] = peaks
    return values


def test_sum_of_all_series_comes_first(made: PageData) -> None:
    data = replace(made, last_week=curves(20.0, 20.0))
    outlook = make_outlook(data, curves(30.0, 60.0), curves(30.0, 42.0), 25, [0], TIMES)
    assert outlook is not None and outlook["head"] is not None and outlook["chart"] is not None
    peak, minimum, total = outlook["head"]["figures"]
    assert outlook["head"]["name"] == "Sum of 2 series"
    assert peak == ("Peak", "90.00", "MW", "Mon 26 Oct 17:00", "+25.0%", "+125.0%")
    assert minimum[:4] == ("Minimum", "20.00", "MW", "Mon 26 Oct 00:00")
    assert total[:4] == ("Total", "550.0", "MWh", "Mon 26 Oct")
    assert [row["name"] for row in outlook["rows"]] == ["b", "a"]
    assert outlook["cards"][0][0].value == "30.00"
    assert not outlook["same_periods"]
    assert (outlook["span"], outlook["last_week"]) == ("Mon 26 Oct", "Mon 19 Oct")


def test_periods_of_a_forecast_without_overlap_are_named(made: PageData) -> None:
    outlook = make_outlook(made, curves(30.0, 60.0), curves(30.0, 42.0), 24, [], TIMES)
    assert outlook is not None
    # The day before has 25 hours.
    assert (outlook["earlier"], outlook["last_week"]) == ("Sun 25 Oct", None)


def test_a_new_series_is_left_out_of_the_changes_of_the_sum(made: PageData) -> None:
    last_week = curves(20.0, np.nan)
    last_week[1] = np.nan
    outlook = make_outlook(replace(made, last_week=last_week), curves(30.0, 60.0), None, 0, [], TIMES)
    assert outlook is not None and outlook["head"] is not None
    peak = outlook["head"]["figures"][0]
    assert (peak.value, peak.from_last_week, outlook["left_out"]) == ("90.00", "+50.0%", 1)
    assert "last_week" not in outlook["curves"]


def test_numbers_of_a_column_have_the_same_decimals(made: PageData) -> None:
    outlook = make_outlook(made, curves(1800.4, 60.0), None, 0, [0], TIMES)
    assert outlook is not None
    assert [row["figures"][0].value for row in outlook["rows"]] == ["1,800.4", "60.0"]
    assert outlook["cards"][0][0].value == "1,800"
    assert [column_decimals(column) for column in ([38.1, 4.67], [0.02, 5000.0], [], [None, 0.0])] == [2, 2, 0, 0]


def test_forecasts_that_overlap_are_compared_where_both_exist(made: PageData) -> None:
    earlier = np.roll(curves(50.0, 50.0), 6, axis=1)
    earlier[:, :6] = 1000.0
    outlook = make_outlook(made, curves(50.0, 50.0), earlier, 6, [], TIMES)
    assert outlook is not None and outlook["head"] is not None
    assert outlook["same_periods"]
    assert [figure.from_earlier for figure in outlook["head"]["figures"]] == ["0.0%"] * 3


def test_prices_have_no_sum(made: PageData) -> None:
    feeds = [
        feed.model_copy(update={"unit": "EUR/MWh"}) if feed.role == "target" else feed for feed in made.settings.feed
    ]
    data = replace(made, settings=made.settings.model_copy(update={"feed": tuple(feeds)}))
    outlook = make_outlook(data, curves(30.0, -60.0), None, 0, [], TIMES)
    assert outlook is not None and outlook["head"] is None and outlook["chart"] is None
    assert [figure.name for figure in outlook["rows"][0]["figures"]] == ["Peak", "Minimum", "Mean"]


def test_last_week_counts_where_it_is_known(made: PageData) -> None:
    last_week = curves(20.0, 20.0)
    last_week[:, 20:] = np.nan
    outlook = make_outlook(replace(made, last_week=last_week), curves(40.0, 40.0), None, 0, [], TIMES)
    assert outlook is not None and outlook["head"] is not None
    assert outlook["head"]["figures"][0].from_last_week == "+100.0%"
    last_week[:, 5:] = np.nan
    outlook = make_outlook(replace(made, last_week=last_week), curves(40.0, 40.0), None, 0, [], TIMES)
    assert outlook is not None and outlook["head"] is not None
    assert outlook["head"]["figures"][0].from_last_week == "\N{EN DASH}"
