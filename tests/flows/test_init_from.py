"""`gatecast init DIR --from FILE.csv`: a file that `check` accepts, and questions where the CSV is unclear."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.stages.feed_checks import check_feed
from flows.stages.init import init_from
from storage import history
from storage.schemas import DataError
from storage.store import open_store
from tests.support.commands import clear, gatecast, json_report

HOURS = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(24 * 60)]
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def ingested(folder: Path, csv: Path, *options: str) -> tuple[pl.DataFrame, str]:
    """Return the history of a CSV file after init, check and ingest, and the text of the pipeline file."""
    done = gatecast("init", folder / "new", "--from", csv, *options)
    assert done.returncode == 0, done.stderr
    path = folder / "new" / "pipeline.toml"
    assert f"Next: gatecast check {path}" in done.stdout
    text = path.read_text()
    answer_questions(path)
    checked = gatecast("check", path, "--json")
    assert checked.returncode == 0, checked.stderr + path.read_text()
    (report,) = json_report(checked)["feeds"].values()
    assert report["refused"] == 0, report["reasons"]
    assert gatecast("ingest", path).returncode == 0
    settings = pipeline_file.read(path, {})
    feed = settings.feed[0]
    store = open_store(settings.pipeline.store)
    return history.read_as_of(store, settings.name, feed.name, list(feed.values), LATER), text


def answer_questions(path: Path) -> None:
    """Accept what the file proposes."""
    path.write_text(re.sub(r"#[^#\n]*QUESTION: .*", "", path.read_text()))


def test_semicolons_decimal_commas_and_dates_with_the_day_first(tmp_path: Path) -> None:
    values = 1000 + np.arange(len(HOURS)) / 8
    lines = [
        f"{time:%d.%m.%Y %H:%M};{zone};" + f"{value + shift:,.3f}".replace(",", "x").replace(".", ",").replace("x", ".")
        for zone, shift in (("Nord", 0), ("Süd", 5000))
        for time, value in zip(HOURS, values, strict=True)
    ]
    csv = tmp_path / "Last 2024.csv"
    csv.write_bytes("\r\n".join(["Zeit;Gebiet;Last (MW)", *lines]).encode("cp1252"))
    rows, text = ingested(tmp_path, csv, "--timezone", "Europe/Berlin")
    assert 'encoding = "cp1252"' in text and 'decimal = ","' in text and 'thousands = "."' in text
    assert 'time_format = "%d.%m.%Y %H:%M"' in text and 'frequency = "1h"' in text and 'name = "last-2024"' in text
    assert rows["series_id"].unique().sort().to_list() == ["Nord", "Süd"]
    assert rows["valid_time"].min() == datetime(2023, 12, 31, 23, tzinfo=UTC)
    nord = rows.filter(series_id="Nord").sort("valid_time")["Last (MW)"]
    assert nord.to_list() == pytest.approx(values.tolist())


def test_daily_rows_of_iso_dates_need_no_options(tmp_path: Path) -> None:
    csv = tmp_path / "gas.csv"
    days = pl.date_range(datetime(2024, 1, 1), datetime(2024, 6, 30), "1d", eager=True)
    pl.concat([pl.DataFrame({"zone": zone, "day": days, "gwh": 100.5}) for zone in ("n", "s")]).write_csv(csv)
    rows, text = ingested(tmp_path, csv)
    assert 'frequency = "1d"' in text and "[feed.options]" not in text and 'series_id = "zone"' in text
    assert len(rows) == 2 * len(days)


def test_month_and_day_that_cannot_be_told_apart_are_a_question(tmp_path: Path) -> None:
    csv = tmp_path / "few.csv"
    csv.write_text("when,mw\n" + "".join(f"0{day}/0{day}/2024,{day}\n" for day in range(1, 8)))
    report = init_from(tmp_path / "new", csv)
    assert any("day and month cannot be told apart (first cell: '01/01/2024')" in line for line in report["questions"])


def test_american_dates_are_known_by_their_days(tmp_path: Path) -> None:
    csv = tmp_path / "us.csv"
    csv.write_text("when,mw\n" + "".join(f"{time:%m/%d/%Y %H:%M},{n}\n" for n, time in enumerate(HOURS)))
    rows, text = ingested(tmp_path, csv, "--timezone", "America/New_York")
    assert 'time_format = "%m/%d/%Y %H:%M"' in text
    assert len(rows) == len(HOURS) and "cannot be told apart" not in text


def test_a_column_per_hour_becomes_a_wide_table(tmp_path: Path) -> None:
    csv = tmp_path / "hours.csv"
    header = ";".join(["Fecha", *(f"H{hour}" for hour in range(1, 25))])
    days = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(40)]
    lines = [f"{day:%d/%m/%Y};" + ";".join(f"{day.day},{hour:02d}" for hour in range(24)) for day in days]
    csv.write_text("\n".join([header, *lines, ""]))
    rows, text = ingested(tmp_path, csv, "--timezone", "Europe/Madrid")
    assert 'wide = "hours"' in text and len(rows) == 40 * 24
    first = rows.sort("valid_time").row(0, named=True)
    assert (first["valid_time"], first["value"]) == (datetime(2023, 12, 31, 23, tzinfo=UTC), 1.0)


def _hours_file(path: Path, names: list[str], day: datetime, days: int, repeated: str | None = None) -> None:
    """Write a value in each column of an hour, 777 in a repeated one, and nothing where the hour is skipped."""
    lines = [";".join(["Tag", *names])]
    for number in range(days):
        at = day + timedelta(days=number)
        cells = []
        for name in names:
            hour = int("".join(filter(str.isdigit, name.split(":")[0])))
            is_skipped = (at.month, at.day, name[:2]) == (3, 31, "02")
            is_repeated = (at.month, at.day) == (10, 27)
            cells.append(
                ("777" if is_repeated else "")
                if name == repeated
                else ""
                if is_skipped
                else str(79 + 3 * number + hour)
            )
        lines.append(";".join([f"{at:%d.%m.%Y}", *cells]))
    path.write_text("\n".join([*lines, ""]))


def proposed_rows(folder: Path, csv: Path, zone: str) -> tuple[pl.DataFrame, str]:
    """Return the accepted rows of a CSV file as its proposed pipeline file reads it, and the text of that file."""
    path = Path(init_from(folder, csv, zone)["written"][0])
    pipeline = pipeline_file.read(path, {})
    result = check_feed(pipeline, pipeline.feed[0], LATER, datetime(1970, 1, 1, tzinfo=UTC))
    assert not len(result.refused)
    return result.accepted.sort("valid_time"), path.read_text()


@pytest.mark.parametrize("name", ["02B", "2B", "02:00B", "02*"])
@pytest.mark.parametrize("place", [3, 24])
def test_a_column_of_the_repeated_hour_is_proposed_as_such(tmp_path: Path, name: str, place: int) -> None:
    names = [f"{hour:02d}:00" if ":" in name else f"{hour:02d}" for hour in range(24)]
    names.insert(place, name)
    csv = tmp_path / "hours.csv"
    # A file of spring has the column, but no value in it.
    for month, change in ((3, []), (10, [102, 777, 103])):
        _hours_file(csv, names, datetime(2024, month, 20), 14, name)
        rows, text = proposed_rows(tmp_path / str(month), csv, "Europe/Berlin")
        assert 'wide = "hours"' in text and f'repeated_hour = ["{name}"]' in text
        begin = datetime(2024, 10, 27, tzinfo=UTC)
        values = rows.filter(pl.col("valid_time").is_between(begin, begin + timedelta(hours=2)))["value"]
        assert values.to_list() == change


def test_a_25th_column_is_a_question_unless_the_file_has_a_day_of_23_hours(tmp_path: Path) -> None:
    csv = tmp_path / "hours.csv"
    names = [str(hour) for hour in range(1, 26)]

    def proposed(folder: str, *cells: list[str]) -> str:
        whole = ["100"] * 24 + [""]
        rows = [whole, whole, *cells, whole]
        csv.write_text(
            "\n".join([",".join(["day", *names])] + [f"2024-03-{29 + n},{','.join(r)}" for n, r in enumerate(rows[:3])])
            + "\n"
        )
        init_from(tmp_path / folder, csv, "Europe/Berlin")
        return (tmp_path / folder / "pipeline.toml").read_text()

    assert "QUESTION: periods counted from the start of the day?" in proposed("open")
    counted = proposed("counted", ["100"] * 23 + ["", ""])
    assert 'wide = "periods"' in counted and "counted from the start of the day?" not in counted
    by_clock = proposed("clock", ["100", "100", "", *["100"] * 21, ""])
    assert 'wide = "hours"' in by_clock and 'repeated_hour = ["25"]' in by_clock and '"3", "25", "4"' in by_clock


def test_hours_sorted_as_text_beside_a_total_are_put_in_order(tmp_path: Path) -> None:
    csv = tmp_path / "hours.csv"
    names = [*sorted(f"H{hour}" for hour in range(1, 25)), "sum"]
    lines = [f"2024-01-{day:02d}," + ",".join([*(name[1:] for name in names[:-1]), "300"]) for day in range(1, 29)]
    csv.write_text("\n".join([",".join(["day", *names]), *lines, ""]))
    rows, text = proposed_rows(tmp_path / "new", csv, "UTC")
    assert '["H1", "H2", "H3"' in text
    assert rows["value"].head(24).to_list() == list(range(1, 25))


def test_questions_that_remain_are_an_error_of_check(tmp_path: Path) -> None:
    csv = tmp_path / "one.csv"
    csv.write_text("t,mw\n" + "".join(f"{time:%Y-%m-%dT%H:%M},{1.5 + n % 7}\n" for n, time in enumerate(HOURS)))
    path = Path(init_from(tmp_path / "new", csv)["written"][0])
    done = gatecast("check", path)
    assert done.returncode == 1
    assert f"error: {path}: 3 questions are not answered (line " in done.stderr
    assert "time from the end of a period until its value is known" in done.stderr
    assert "delete the comment from QUESTION on" in done.stderr
    assert "warning: " in gatecast("ingest", path).stderr
    answer_questions(path)
    assert gatecast("check", path).returncode == 0


def test_several_columns_of_numbers_are_a_question(tmp_path: Path) -> None:
    csv = tmp_path / "zones.csv"
    pl.DataFrame({"time": HOURS, "north": 1.5, "south": 2.5}).write_csv(csv, datetime_format="%Y-%m-%d %H:%M")
    rows, text = ingested(tmp_path, csv, "--timezone", "UTC")
    assert rows["series_id"].unique().sort().to_list() == ["north", "south"]
    assert "QUESTION: a series per column; else leave wide and columns out" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ("a,b\n1,2\n3,4\n", "no column holds times in a known form. The file has 'a', 'b'"),
        ("t,b\n2024-01-01,x\n2024-01-02,y\n", "no column beside 't' holds numbers"),
    ],
)
def test_a_file_without_times_or_numbers_is_one_error(tmp_path: Path, content: str, words: str) -> None:
    csv = tmp_path / "odd.csv"
    csv.write_text(content)
    clear(gatecast("init", tmp_path / "new", "--from", csv), 1, str(csv), words)
    assert not (tmp_path / "new").exists()


def test_options_that_do_not_fit_are_named(tmp_path: Path) -> None:
    clear(gatecast("init", tmp_path / "new", "--timezone", "UTC"), 2, "--timezone is for --from FILE.csv")
    clear(
        gatecast("init", tmp_path / "new", "--from", "x.csv", "--timezone", "Mars"), 2, "--timezone 'Mars': must be a"
    )
    zone = gatecast("init", tmp_path / "new", "--from", "x.csv", "--timezone", "Europe/Madird")
    clear(zone, 2, 'Did you mean "Europe/Madrid"?')
    clear(gatecast("init", tmp_path / "new", "--from", "x.csv"), 2, "--from x.csv: there is no such file")
    with pytest.raises(DataError, match="there is no such file"):
        init_from(tmp_path / "new", tmp_path / "none.csv")


def test_the_report_in_json_has_the_questions(tmp_path: Path) -> None:
    csv = tmp_path / "one.csv"
    csv.write_text("t,mw\n" + "".join(f"{time:%Y-%m-%dT%H:%M},1.5\n" for time in HOURS))
    report: dict[str, Any] = json.loads(gatecast("init", tmp_path / "new", "--from", csv, "--json").stdout)
    assert report["written"][0].endswith("pipeline.toml")
    assert any(question.startswith("zone of the times; all days are equally long") for question in report["questions"])


def written(tmp_path: Path, rows: list[str], name: str = "load.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([*rows, ""]))
    return path


def proposal(tmp_path: Path, rows: list[str]) -> str:
    report = init_from(tmp_path / "new", written(tmp_path, rows))
    return Path(report["written"][0]).read_text()


def test_years_of_two_digits(tmp_path: Path) -> None:
    text = proposal(tmp_path, ["t,load", *(f"{time:%d.%m.%y %H:%M},5" for time in HOURS)])
    assert 'time_format = "%d.%m.%y %H:%M"' in text


def test_a_mark_that_may_separate_thousands_is_a_question(tmp_path: Path) -> None:
    lines = [f"{time:%Y-%m-%d %H:%M};{number % 9 + 1}.234" for number, time in enumerate(HOURS)]
    assert "'1.234' is read as a number with three decimals. If it means 1234, set thousands" in (
        proposal(tmp_path, ["t;load", *lines])
    )


def test_decimals_of_other_lengths_are_no_question(tmp_path: Path) -> None:
    lines = [f"{time:%Y-%m-%d %H:%M};{number % 9}.{number % 7}" for number, time in enumerate(HOURS)]
    assert "three decimals" not in proposal(tmp_path, ["t;load", *lines])


def test_quoted_decimal_commas_beside_commas_as_separator(tmp_path: Path) -> None:
    lines = [f'{time:%Y-%m-%d %H:%M},"{number % 9},{number % 7}"' for number, time in enumerate(HOURS)]
    text = proposal(tmp_path, ["t,load", *lines])
    assert 'decimal = ","' in text and "separator" not in text and 'values = ["load"]' in text


@pytest.mark.parametrize("cell", ["{},5", ' "{},5"'])
def test_decimal_commas_that_are_not_quoted_are_one_error(tmp_path: Path, cell: str) -> None:
    lines = [f"{time:%Y-%m-%d %H:%M},{cell.format(number % 9)}" for number, time in enumerate(HOURS)]
    with pytest.raises(DataError, match=r"line 1 names 2 columns, but line 2 has 3 cells: .*or quote the numbers"):
        init_from(tmp_path / "new", written(tmp_path, ["time,load", *lines]))


def test_the_hour_in_a_column_of_its_own_is_one_error_with_what_to_do(tmp_path: Path) -> None:
    lines = [f"{time:%d.%m.%Y};{time.hour};5" for time in HOURS]
    with pytest.raises(DataError, match=r"the day is in column 'Datum' and the hour in 'Stunde'.*Join them in the sou"):
        init_from(tmp_path / "new", written(tmp_path, ["Datum;Stunde;Last", *lines]))


@pytest.mark.parametrize(("column", "unit"), [("GWh", "GWh"), ("Load (MW)", "MW"), ("load_mw", "MW"), ("flow", None)])
def test_the_unit_is_that_of_the_column(tmp_path: Path, column: str, unit: str | None) -> None:
    text = proposal(tmp_path, [f"t,{column}", *(f"{time:%Y-%m-%d %H:%M},5" for time in HOURS)])
    assert (f'unit = "{unit}"  ' in text) == (unit is not None) and ('# unit = "MW"' in text) == (unit is None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04rest", r"is a zip file or a workbook \(.xlsx\) and not CSV"),
        (b"\x89PNG\r\n", "is a picture and not CSV"),
        (b"a\0b\n", "is a binary file and not CSV"),
        (b"time,load\n", r"has only one line, the names of the columns \('time', 'load'\), and no rows"),
    ],
)
def test_a_file_without_a_table_is_one_error(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "load.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        init_from(tmp_path / "new", path)


def test_a_data_file_in_place_of_a_pipeline_file_names_the_command(tmp_path: Path) -> None:
    path = written(tmp_path, ["time,load", "2024-01-01,5"])
    clear(gatecast("check", path), 2, "is a data file", f"gatecast init DIR --from {path}")


def test_the_example_of_a_covariate_is_a_valid_feed(tmp_path: Path) -> None:
    csv = tmp_path / "load.csv"
    csv.write_text("time,load\n" + "".join(f"{time:%Y-%m-%d %H:%M},{hour}.5\n" for hour, time in enumerate(HOURS)))
    init_from(tmp_path / "new", csv, "Europe/Berlin")
    path = tmp_path / "new" / "pipeline.toml"
    begin = path.read_text().index("# [[feed]]")
    text = path.read_text()
    path.write_text(text[:begin] + text[begin:].replace("# ", "", 1).replace("\n# ", "\n"))
    target, weather = pipeline_file.read(path, {}).feed
    assert (target.role, weather.role, weather.values) == ("target", "known_future", ("temperature",))
