"""Content of an unknown table of text: which columns are times, ids and values, and how they are written.

Every result is a proposal to the user. What a file leaves open is named in `notes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from flows.stages.wide_inspection import find_day_columns
from model.checks.number_texts import parse_numbers, unreadable_numbers, value_texts
from model.checks.text_format import TextFormat
from model.checks.time_texts import EPOCH_MS, EPOCH_S, parse_times
from storage.schemas import DataError
from storage.schemas.suggestions import shown_names

_CLOCKS = ("", " %H:%M", " %H:%M:%S")
_DAY_FIRST = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%b-%Y", "%d %b %Y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y", "%m/%d/%y")
_YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_NUMBER_FORMS = (
    TextFormat(), TextFormat(","), TextFormat(".", ","), TextFormat(",", "."), TextFormat(",", " "),
    TextFormat(".", " "), TextFormat(".", "'"),
)  # fmt: skip
_FREQUENCIES = {
    timedelta(minutes=15): "15m",
    timedelta(minutes=30): "30m",
    timedelta(hours=1): "1h",
    timedelta(1): "1d",
}
_VALUE_NAMES = re.compile(r"load|demand|consum|price|value|[mgk]wh?\b|last|wert|verbrauch|preis|carga|demanda", re.I)
_ID_NAMES = re.compile(r"id\b|_id|series|zone|area|region|meter|site|station|name|company|country|symbol", re.I)
_MOST_MISSING = 0.5  # share of a value column's cells that may be texts for a missing value
_MOST_TEXTS = 5
_HOUR_NAMES = re.compile(r"hour|stunde|std\b|uhrzeit|zeit|time|hora|heure|ora\b|uur|^he$|^h$", re.I)
_FIRST_YEAR = 1800  # the first year that an ingest accepts
_SAMPLE = 5000  # rows that show the form of a column; all rows are read to confirm it
_WEEKEND = 6


@dataclass
class FileInspection:
    """Content that a table shows: its columns, their form, and the distance of its rows.

    Attributes:
        time: Column of the times.
        time_formats: Formats that fit all times, the first one proposed. Empty: ISO 8601.
        has_offset: True if the times have an offset from UTC.
        names_ends: True if a time is 24:00, which only the end of a period can be.
        series_id: Column of ids, None for one series.
        values: Columns of numbers, the proposed one first.
        numbers: How numbers are written.
        frequency: Frequency of the pipeline, None if no step is regular.
        step: Most frequent time between two rows of a series.
        wide: "hours" or "periods" if the columns are those of a day, "series" if each may be a series, else None.
            `values` are then all its columns.
        repeated_hour: Columns of the hour that a clock change repeats.
        wide_question: What the columns leave open.
        first, last: First and last time, as the file has them.
        smallest: Smallest value.
        odd_days: Days with another number of rows than the others, which clock changes explain.
        notes: What the file leaves open.
    """

    time: str
    time_formats: tuple[str, ...] = ()
    has_offset: bool = False
    names_ends: bool = False
    series_id: str | None = None
    values: tuple[str, ...] = ()
    numbers: TextFormat = field(default_factory=TextFormat)
    frequency: str | None = None
    step: timedelta | None = None
    wide: str | None = None
    repeated_hour: tuple[str, ...] = ()
    wide_question: str | None = None
    first: str = ""
    last: str = ""
    smallest: float | None = None
    odd_days: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def inspect_table(table: pl.DataFrame) -> FileInspection:
    """Return what a table of texts shows.

    Raises:
        DataError: No column holds times, or none holds numbers.
    """
    names = [name for name in table.columns if (table[name].str.strip_chars() != "").any()]
    time, formats, times = _time_column(table, names)
    found = FileInspection(time, formats)
    parsed, _ = parse_times(table[time], formats[:1])
    found.has_offset = parsed.instants is not None
    found.names_ends = parsed.ends is not None and bool(parsed.ends.any())
    rest = [name for name in names if name != time]
    found.numbers, values = _number_columns(table, rest)
    if len(formats) > 1:
        shown = table[time].drop_nulls().head(1).item()
        found.notes.append(
            f"{time}: day and month cannot be told apart (first cell: {shown!r}). The other form: {formats[1]!r}."
        )
    _refuse_hours_apart(table, time, times, rest)
    frame = pl.DataFrame({"time": times}).with_columns(table.select(rest))
    found.series_id = _id_column(frame, rest, values, found)
    values = [name for name in values if name != found.series_id]
    if not values:
        raise DataError(f"no column beside {time!r} holds numbers. The file has {shown_names(table.columns)}.")
    found.values = tuple(sorted(values, key=lambda name: not _VALUE_NAMES.search(name)))
    found.notes += _open_marks(table[found.values[0]], found.numbers)
    _set_steps(frame, found)
    _set_wide(table, found)
    _set_range(table, frame, found)
    return found


def _refuse_hours_apart(table: pl.DataFrame, time: str, times: pl.Series, names: list[str]) -> None:
    """Raise DataError if the times are days and another column has the hour of each row.

    No option of a feed joins two columns. Without the hour, all rows of a day would have one time.
    """
    if not (times.drop_nulls().dt.truncate("1d") == times.drop_nulls()).all() or times.n_unique() == len(times):
        return
    for name in filter(_HOUR_NAMES.search, names):
        cells = table[name].drop_nulls().str.strip_chars()
        is_hour = cells.str.contains(r"^([01]?\d|2[0-4])([:.][0-5]\d){0,2}$")
        if cells.n_unique() > 2 and is_hour.mean() > 0.99:  # type: ignore[operator]
            raise DataError(
                f"the day is in column {time!r} and the hour in {name!r}. A feed needs both in one column. Join them "
                f"in the source, such as {table[time][0]!r} and {table[name][0]!r} as '2024-01-31 13:00', then run "
                "this command again."
            )


def _open_marks(cells: pl.Series, form: TextFormat) -> list[str]:
    """Return a question if every decimal mark may also separate thousands, as in 1.234."""
    mark = form.decimal_mark
    marked = cells.drop_nulls().str.strip_chars()
    marked = marked.filter(marked.str.contains(mark, literal=True))
    if form.thousands is not None or marked.is_empty():
        return []
    if not marked.str.contains(rf"^[+-]?[1-9]\d{{0,2}}{re.escape(mark)}\d{{3}}$").all():
        return []
    shown = marked[0]
    return [
        f"{cells.name}: {shown!r} is read as a number with three decimals. If it means {shown.replace(mark, '')}, set "
        f'thousands = "{mark}" in [feed.options]' + (", and remove decimal." if mark == "," else ".")
    ]


def _time_column(table: pl.DataFrame, names: list[str]) -> tuple[str, tuple[str, ...], pl.Series]:
    """Return the column of times, the formats that read all its cells, and its times (naive)."""
    for name in names:
        cells = table[name]
        formats = _time_formats(cells.drop_nulls().head(_SAMPLE))
        if formats is None:
            continue
        fitting = [form for form in formats if _reads_all(cells, form)]
        if not fitting:
            continue
        by_regularity = sorted(fitting, key=lambda form: -_regularity(_times(cells, form)))
        best = _regularity(_times(cells, by_regularity[0]))
        # Of the right order of day and month the times have equal distances.
        several = [form for form in by_regularity if _regularity(_times(cells, form)) > best - 0.1]
        return name, tuple(form for form in several if form), _times(cells, several[0])
    raise DataError(
        f"no column holds times in a known form. The file has {shown_names(table.columns)}. Write the "
        "pipeline file by hand, with time_format in [feed.options]."
    )


def _time_formats(cells: pl.Series) -> list[str] | None:
    """Return the formats that read all cells of a sample, '' for ISO 8601, None if there is none."""
    if cells.is_empty():
        return None
    if _reads_all(cells, ""):
        return [""]
    formats = [f"{day}{clock}" for day in (*_DAY_FIRST, *_MONTH_FIRST, *_YEAR_FIRST) for clock in _CLOCKS]
    digits = cells.str.strip_chars().str.contains(r"^\d{10}$|^\d{13}$").all()
    formats += [EPOCH_S, EPOCH_MS] if digits else []
    return [form for form in formats if _reads_all(cells, form)] or None


def _reads_all(cells: pl.Series, form: str) -> bool:
    filled = cells.filter((cells.str.strip_chars() != "").fill_null(False))
    parsed, problem = parse_times(filled, (form,) if form else ())
    # A few cells may be damaged.
    is_read = len(filled) > 0 and problem is None and bool(parsed.is_read.mean() > 0.99)  # type: ignore[operator]
    # The format of a year with four digits also reads one with two: as a year of antiquity.
    return is_read and bool((_times(filled, form).dt.year() >= _FIRST_YEAR).any())


def _times(cells: pl.Series, form: str) -> pl.Series:
    parsed, _ = parse_times(cells, (form,) if form else ())
    times = parsed.instants.dt.replace_time_zone(None) if parsed.instants is not None else parsed.local
    assert times is not None
    return times


def _regularity(times: pl.Series) -> float:
    """Return the share of the most frequent distance between neighbouring times."""
    distances = times.drop_nulls().unique().sort().diff().drop_nulls()
    return 1.0 if distances.is_empty() else float(distances.value_counts()["count"].max()) / len(distances)  # type: ignore[arg-type]


def _number_columns(table: pl.DataFrame, names: list[str]) -> tuple[TextFormat, list[str]]:
    """Return the form of numbers that reads most columns, and these columns."""
    results = []
    for number, form in enumerate(_NUMBER_FORMS):
        missing: set[str] = set()
        columns = []
        for name in names:
            texts = _missing_texts(table[name], form)
            if texts is not None:
                columns.append(name)
                missing |= texts
        results.append(
            (len(columns), -number, columns, TextFormat(form.decimal, form.thousands, (), tuple(sorted(missing))))
        )
    _, _, columns, form = max(results, key=lambda result: result[:2])
    return form, columns


def _missing_texts(cells: pl.Series, form: TextFormat) -> set[str] | None:
    """Return the texts of a column that are no numbers, if they are few, else None."""
    text = value_texts(cells.drop_nulls(), form)
    filled = text.filter(text != "")
    if filled.is_empty():
        return None
    others = filled.filter(unreadable_numbers(filled, parse_numbers(filled, form)))
    if len(others) > _MOST_MISSING * len(filled) or others.n_unique() > _MOST_TEXTS:
        return None
    return set(others)


def _id_column(frame: pl.DataFrame, names: list[str], values: list[str], found: FileInspection) -> str | None:
    """Return the column that distinguishes rows of the same time, None if there are no such rows."""
    known = frame.filter(pl.col("time").is_not_null())
    most = known["time"].value_counts()["count"].max()
    if known.is_empty() or most == 1:
        return None
    texts = [name for name in names if name not in values]
    candidates = [*texts, *(name for name in values if _ID_NAMES.search(name))]
    candidates = [name for name in candidates if 1 < known[name].n_unique() < max(2, len(known) // 2)]
    distinct = {name: known.select("time", name).n_unique() for name in candidates}
    if not distinct:
        return None
    best = max(distinct, key=lambda name: (distinct[name], bool(_ID_NAMES.search(name))))
    if distinct[best] < 0.9 * len(known):
        # A clock change repeats a few times of a single series.
        if known["time"].n_unique() > 0.99 * len(known):
            return None
        found.notes.append(
            f"rows of one time repeat within each {best!r}: perhaps two columns name a series, or the hour is in a "
            "column of its own. Join them in the source."
        )
    others = [name for name in distinct if name != best and distinct[name] == distinct[best]]
    if others:
        found.notes.append(f"series_id may also be {', '.join(map(repr, others))}.")
    return best


def _set_steps(frame: pl.DataFrame, found: FileInspection) -> None:
    """Set frequency, step and the days of another length."""
    by = [found.series_id] if found.series_id else []
    times = frame.select("time", *by).drop_nulls("time").unique().sort(*by, "time")
    distance = pl.col("time").diff().over(by) if by else pl.col("time").diff()
    distances = times.select(distance.alias("d")).filter(pl.col("d") > timedelta(0))["d"]
    if distances.is_empty():
        return
    found.step = distances.mode().sort()[0]
    found.frequency = _FREQUENCIES.get(found.step)
    if found.step < timedelta(hours=1) and found.frequency is None:
        found.frequency = "1h"
        found.notes.append(f"the rows are {_text(found.step)} apart: hours are made of them, by resample.")
    days = times["time"].dt.weekday()
    if found.frequency == "1d" and len(times) >= 30 and not (days >= _WEEKEND).any():
        found.frequency = "1b"
        found.notes.append("no row is on a Saturday or Sunday: business days. Set holidays to those of the market.")
    if found.frequency in ("15m", "30m", "1h") and not found.has_offset:
        one = times.filter(pl.col(by[0]) == times[by[0]][0]) if by else times
        counts = frame.join(one, on=["time", *by]).group_by(pl.col("time").dt.date()).len().sort("time")
        counts = counts[1:-1]
        if len(counts):
            odd = counts.filter(pl.col("len") != counts["len"].mode()[0])
            found.odd_days = tuple(str(day) for day in odd["time"].head(4))


def _text(step: timedelta) -> str:
    minutes = step // timedelta(minutes=1)
    return f"{minutes} minutes" if minutes < 120 else str(step)


def _set_wide(table: pl.DataFrame, found: FileInspection) -> None:
    """Set `wide` if columns look like the hours of a day, or like one series each."""
    if found.frequency in ("1d", "1b", None):
        names = [name for name in table.columns if name not in (found.time, found.series_id)]
        day = find_day_columns(table, names, list(found.values))
        if day is not None:
            found.wide, found.values, found.frequency = day.kind, day.columns, day.frequency
            found.repeated_hour, found.wide_question = day.repeated_hour, day.question
            return
    if len(found.values) > 1 and found.series_id is None:
        found.wide = "series"
        found.values = tuple(sorted(found.values, key=table.columns.index))


def _set_range(table: pl.DataFrame, frame: pl.DataFrame, found: FileInspection) -> None:
    times = frame["time"]
    first, last = times.arg_min(), times.arg_max()
    if first is not None and last is not None:
        found.first, found.last = str(table[found.time][first]), str(table[found.time][last])
    numbers = parse_numbers(value_texts(table[found.values[0]].fill_null(""), found.numbers), found.numbers)
    smallest = numbers.min()
    found.smallest = smallest if isinstance(smallest, float) else None
