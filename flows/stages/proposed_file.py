"""Text of a commented pipeline file for a CSV file, from what an inspection of the file showed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from flows.settings import json_schema
from flows.stages.file_inspection import FileInspection
from storage.sources.csv_inspection import InspectedCsv

_WIDTH = 40  # columns before a comment
# A unit in brackets, at the end of a column's name, or alone: Load (MW) a, load_mwh, GWh.
_UNIT = re.compile(r"(?:^|[^A-Za-z])([kKMmGgTt]?[Ww][Hh]?|(?:EUR|USD|GBP)/[kMG]Wh|mcm|therms|m3|°C)(?:[)\]]|$)")
# Column names are often in lower case.
_UNIT_NAMES = {name.lower(): name for name in ("W", "kW", "MW", "GW", "TW", "Wh", "kWh", "MWh", "GWh", "TWh")}
_SHOWN = 4  # names in a comment


def proposed_text(csv: InspectedCsv, found: FileInspection, name: str, uri: str, timezone: str | None) -> str:
    """Return a pipeline file.

    Args:
        csv: The file.
        found: What it shows.
        name: Name of the pipeline.
        uri: Address of the file, relative to the pipeline file.
        timezone: Zone that the user gave, None if it is a question.
    """
    parts = [
        _head(csv, found, uri),
        _pipeline(found, name, timezone),
        _feed(found, uri, timezone),
        _options(csv, found),
        _second_feed(found),
    ]
    return "\n".join("\n".join(lines) for lines in parts if lines)


def pipeline_name(path: Path) -> str:
    """Return a pipeline's name from a file's name."""
    name = re.sub(r"[^a-z0-9]+", "-", path.name.lower().partition(".")[0]).strip("-")
    name = name.lstrip("0123456789-")[:63].rstrip("-")
    return name or "pipeline"


def _head(csv: InspectedCsv, found: FileInspection, uri: str) -> list[str]:
    lines = [
        f"#:schema ./{json_schema.FILE_NAME}",
        f"# Proposed by `gatecast init` from {uri}: {len(csv.table):,} rows, {found.first} to {found.last}.".replace(
            "\n", " "
        ),
        "# Check each line. A line with QUESTION needs your answer. All keys: docs/reference.md.",
    ]
    return [*lines, *(f"# QUESTION: {note}".replace("\n", " ") for note in found.notes), ""]


def _pipeline(found: FileInspection, name: str, timezone: str | None) -> list[str]:
    lines = [
        "[pipeline]",
        _line("name", name),
        _line("store", "./store", "history, models and forecasts"),
        _line("frequency", found.frequency or "1h", _frequency_comment(found)),
        _line("timezone", timezone or "UTC", None if timezone else _zone_question()),
        '# holidays = "DE"                      # country, COUNTRY-SUBDIVISION or financial market',
        *_day_start_lines(found.frequency),
        _line("issue_at", "00:00", "local time of the issue; the first period of the forecast begins then"),
        _horizon_line(found.frequency),
    ]
    if found.smallest is not None and found.smallest >= 0:
        lines.append("# bounds = { min = 0.0 }               # the file has no negative value; not for prices")
    return [*lines, ""]


def _day_start_lines(frequency: str | None) -> list[str]:
    """Return the begin of a day as a comment: gas days begin in the morning."""
    if frequency != "1d":
        return []
    return ['# day_start = "06:00"                   # begin of a gas day; issue_at is then "06:00"']


def _horizon_line(frequency: str | None) -> str:
    """Return the default horizon as a comment, with what a day-ahead nomination needs."""
    if frequency in ("1d", "1b"):
        return "# horizon = 7                           # periods to forecast, the first is that of the issue time"
    a_day = {"15m": 96, "30m": 48}.get(frequency or "1h", 24)
    return (
        f"# horizon = {a_day:<28}# periods to forecast; to the end of tomorrow: {2 * a_day - a_day * 10 // 24} with "
        'issue_at = "10:00"'
    )


def _zone_question() -> str:
    return 'QUESTION: zone of the local day, such as "Europe/Berlin" (or `gatecast init --timezone`)'


def _frequency_comment(found: FileInspection) -> str:
    if found.frequency is None:
        return f"QUESTION: the rows have no regular distance (most often {found.step}): 15m, 30m, 1h, 1d or 1b"
    return "length of a period"


def _feed(found: FileInspection, uri: str, timezone: str | None) -> list[str]:
    lines = [
        "[[feed]]", _line("name", "target"), _line("role", "target"), _line("uri", uri),
    ]  # fmt: skip
    if found.wide == "series":
        lines.append(_line("series_id", "series", "a name for the columns' names: each column is a series"))
    elif found.series_id is not None:
        lines.append(_line("series_id", found.series_id))
    lines.append(_line("valid_time", found.time, "START of the period" if not found.names_ends else "see label"))
    if found.wide is not None:
        lines.append(_line("values", ["value"], "a name for the values of all columns"))
    else:
        others = ", ".join(found.values[1 : 1 + _SHOWN])
        lines.append(_line("values", [found.values[0]], f"QUESTION: or one of: {others}" if others else None))
    lines.append(_unit_line(found))
    if not found.has_offset and found.frequency not in ("1d", "1b"):
        lines.append(_line("time_zone", timezone or "UTC", _clock_comment(found, timezone)))
    if found.frequency == "1h" and found.wide is None and found.step is not None and found.step.total_seconds() < 3600:
        lines.append(_line("resample", "mean", 'QUESTION: "mean" for power and prices, "sum" for energy per period'))
    lines.append(_line("available_after", "0h", "QUESTION: time from the end of a period until its value is known"))
    return [*lines, ""]


def _unit_line(found: FileInspection) -> str:
    """Return the line of the unit: the one in the name of the values' column, else an example in a comment."""
    names = found.values if found.wide is not None else found.values[:1]
    units = {_UNIT_NAMES.get(match[1].lower(), match[1]) for name in names if (match := _UNIT.search(name))}
    if len(units) == 1:
        return _line("unit", units.pop(), "from the name of the column; shown on the report page")
    return '# unit = "MW"                           # shown on the report page'


def _clock_comment(found: FileInspection, timezone: str | None) -> str:
    if found.wide in ("hours", "periods"):
        seen = "zone of the days"
    elif found.odd_days:
        seen = f"days of another length: {', '.join(found.odd_days)}; if they are clock changes, the zone of the place"
    else:
        seen = "all days are equally long: UTC, or standard time (fixed_offset)"
    return seen if timezone else f"QUESTION: zone of the times; {seen}"


def _options(csv: InspectedCsv, found: FileInspection) -> list[str]:
    """Return the table of options, or nothing if the file has the default form."""
    form, numbers = csv.form, found.numbers
    lines = []
    if form.separator != ",":
        lines.append(_line("separator", form.separator))
    if form.encoding != "utf-8":
        lines.append(_line("encoding", form.encoding))
    if form.skip_rows:
        lines.append(_line("skip_rows", form.skip_rows, "lines before the names of the columns"))
    if numbers.decimal not in (None, "."):
        lines.append(_line("decimal", numbers.decimal))
    if numbers.thousands is not None:
        lines.append(_line("thousands", numbers.thousands))
    if found.time_formats:
        lines.append(_line("time_format", found.time_formats[0]))
    if numbers.missing:
        lines.append(_line("missing", list(numbers.missing), "texts that mean a missing value"))
    if found.names_ends:
        lines.append(_line("label", "end", "24:00 is the END of a period"))
    if found.wide is not None:
        lines.append(_line("wide", found.wide, _wide_comment(found)))
        lines.append(_line("columns", list(found.values)))
        if found.repeated_hour:
            lines.append(_line("repeated_hour", list(found.repeated_hour), "the second of two equal hours in autumn"))
    if not csv.ends_with_line:
        lines.append(_line("last_line", "accept", "the last line has no line end, but the file is complete"))
    return ["[feed.options]", *lines, ""] if lines else []


def _second_feed(found: FileInspection) -> list[str]:
    """Return a covariate's feed as a comment: a weather forecast improves most load forecasts."""
    zone = [] if found.has_offset or found.frequency in ("1d", "1b") else ['# time_zone = "UTC"']
    return [
        "# A covariate, such as a forecast of the temperature, is a further feed. Each row of it must have been known",
        "# in advance: actual temperatures of the past are not forecasts, and a test with them is too good.",
        "# [[feed]]", '# name = "weather"',
        '# role = "known_future"                 # "observed" if its values are not known ahead',
        '# uri = "weather.csv"', '# valid_time = "time"', '# values = ["temperature"]', *zone,
        '# available_at = "issued_at"            # column of the instant at which a row was known, if there is one', "",
    ]  # fmt: skip


def _wide_comment(found: FileInspection) -> str:
    if found.wide == "series":
        return "QUESTION: a series per column; else leave wide and columns out, and name one column in values"
    if found.wide_question is not None:
        return f"QUESTION: {found.wide_question}"
    return "a column per hour of the day" if found.wide == "hours" else "a column per period of the day"


def _line(key: str, value: object, comment: str | None = None) -> str:
    # A JSON text is a TOML text, and a list of JSON is a list of TOML.
    text = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    return text if comment is None else f"{text:<{_WIDTH}}# {comment}".replace("\n", " ")
