"""Times that a feed writes as text or as numbers: ISO 8601, or the formats that its pipeline file declares.

A text with an offset is an instant, one without is a wall-clock time. Each cell is parsed by its own form.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import reduce
from typing import NamedTuple

import polars as pl

from storage.schemas import INSTANT

#: Forms that need no declaration, for messages.
ACCEPTED_TIMES = '"2018-09-01 00:00" (also with T, seconds, Z or an offset such as +02:00) and "2018-09-01"'
#: Names beside the formats of strftime.
ISO, EPOCH_S, EPOCH_MS = "iso", "epoch_s", "epoch_ms"

_LOCAL = pl.Datetime("us")
_EPOCHS = {EPOCH_S: 1_000_000, EPOCH_MS: 1000}  # microseconds of one unit
# A smaller number of milliseconds is a time before 1973-03, or more probably one in seconds.
_FEWEST_MS = 100_000_000_000
_END_OF_DAY = r"([T ])24:00(:00(?:\.0+)?)?"
# 24 without minutes, and digits alone. Each is only for texts that a format of this end or form could not read.
_END_OF_DAY_BY_FORMAT = (
    (re.compile(r"[T ]%[Hk]$"), r"([T ])24$"), (re.compile(r"^%Y%m%d%H(?:%M)?(?:%S)?$"), r"^(\d{8})24((?:00){0,2})$"),
)  # fmt: skip
_SAMPLE = 100  # cells that may precede the first time, such as a row of units
_FEWEST_SWAPPED = 0.05  # share of the cells; fewer may be slips
_DAY = timedelta(days=1)


class ParsedTimes(NamedTuple):
    """Times of a column, each either a wall-clock time or an instant.

    Attributes:
        local: Wall-clock times (naive), null for the other cells. None if there are none.
        instants: Instants (UTC), null for the other cells. None if there are none.
        dates: Mask of the cells without a time of day. None if there are none.
        ends: Mask of the wall-clock times that were written as 24:00. None if there are none.
    """

    local: pl.Series | None
    instants: pl.Series | None
    dates: pl.Series | None = None
    ends: pl.Series | None = None

    @property
    def is_read(self) -> pl.Series:
        """Mask of the cells that are times."""
        masks = [times.is_not_null() for times in (self.local, self.instants) if times is not None]
        return reduce(pl.Series.__or__, masks)


class _Form(NamedTuple):
    """One form of a time.

    Attributes:
        format: Format of strftime.
        pattern: Regular expression of its texts, to find the form of a column from its first cells.
        has_offset: True if the text contains an offset from UTC.
        has_time: True if the text contains a time of day.
    """

    format: str
    pattern: str
    has_offset: bool
    has_time: bool = True

    def parse(self, text: pl.Series) -> pl.Series:
        """Return the times of the texts, null where a text has another form."""
        form = self.format
        if self.has_time and not _has_minutes(form):
            # Polars requires minutes beside hours.
            text, form = text + " 00", f"{form} %M"
        times = text.str.to_datetime(form, time_unit="us", strict=False, exact=True)
        return times.cast(INSTANT if self.has_offset else _LOCAL)


def _iso_forms() -> tuple[_Form, ...]:
    forms = []
    for separator in ("T", " "):
        for clock, pattern in (("%H:%M:%S%.f", r"\d\d:\d\d:\d\d(\.\d+)?"), ("%H:%M", r"\d\d:\d\d")):
            written = f"%Y-%m-%d{separator}{clock}"
            matches = rf"^\d{{4}}-\d\d-\d\d{separator}{pattern}"
            forms.append(_Form(written, f"{matches}$", has_offset=False))
            forms.append(_Form(f"{written}%#z", rf"{matches}\s?(Z|[+-]\d\d(:?\d\d)?)$", has_offset=True))
    return (*forms, _Form("%Y-%m-%d", r"^\d{4}-\d\d-\d\d$", has_offset=False, has_time=False))


_ISO_FORMS = _iso_forms()


def parse_times(column: pl.Series, formats: tuple[str, ...]) -> tuple[ParsedTimes, pl.Series | None]:
    """Parse a column of texts or whole numbers.

    Args:
        column: Texts, or whole numbers if `formats` are given.
        formats: Declared formats. Empty: ISO 8601.

    Returns:
        The times, and the problem with each cell that was read but cannot be used, or None without any.
    """
    text = column if column.dtype == pl.String else column.cast(pl.Int64, strict=False).cast(pl.String)
    if not formats:
        return _parse_forms(text, _ISO_FORMS), None
    # Beside seconds, a number too small for milliseconds is no mistake, and one too large for seconds is milliseconds.
    has_both = {EPOCH_S, EPOCH_MS} <= set(formats)
    results = [_parse_format(text, form) for form in formats]
    if has_both:
        seconds = formats.index(EPOCH_S)
        is_milliseconds = (_epoch_numbers(text).abs() > _FEWEST_MS).fill_null(False)
        instants = results[seconds].instants
        assert instants is not None
        results[seconds] = results[seconds]._replace(instants=instants.set(is_milliseconds, None))
    problems = [
        pl.when(pl.lit(_too_small(text, form))).then(pl.lit(f"number of {form} is too small; is it in seconds?"))
        for form in formats
        if form == EPOCH_MS and not has_both
    ]
    times, several = _merge(results)
    if several is not None:
        reason = (
            f"{column.name} is another time in each of several formats of options.time_format ({', '.join(formats)}); "
            "keep only the one that the feed uses"
        )
        problems.append(pl.when(pl.lit(several)).then(pl.lit(reason)))
    problem = pl.select(pl.coalesce(problems)).to_series() if problems else None
    return times, problem if problem is not None and problem.is_not_null().any() else None


def check_format(form: str) -> str | None:
    """Return what is wrong with a declared format, None if it can be used."""
    if form in (ISO, *_EPOCHS):
        return None
    if "%Z" in form or "%+" in form:
        return "must not contain the name of a zone (%Z), because it would be ignored; set time_zone of the feed"
    sample = pl.Series([datetime(2018, 9, 21, 13, 45, 30)]).dt.replace_time_zone("UTC")
    try:
        written = sample.dt.strftime(form.replace("%#z", "%z"))
        is_same_day = _form(form).parse(written).dt.date().item() == sample.dt.date().item()
    except pl.exceptions.PolarsError:
        is_same_day = False
    return (
        None if is_same_day else 'must be a format of strftime with year, month and day, "iso", "epoch_s" or "epoch_ms"'
    )


def swapped_format(cells: pl.Series, is_read: pl.Series, formats: tuple[str, ...]) -> str | None:
    """Return the declared format with day and month in the other order, if it reads all cells that were not read.

    A format in the wrong order reads the first twelve days of each month as other dates, and refuses the others.

    Args:
        cells: Texts of times.
        is_read: Which of them the declared formats read.
        formats: Declared formats.
    """
    form = formats[0] if len(formats) == 1 else ""
    if not ("%d" in form and "%m" in form):
        return None
    others = cells.filter(~is_read & (cells.str.strip_chars() != ""))
    if len(others) < max(1, _FEWEST_SWAPPED * len(cells)):
        return None
    swapped = form.replace("%d", "%\0").replace("%m", "%d").replace("%\0", "%m")
    return swapped if _parse_format(others, swapped).is_read.all() else None


def suggested_format(cell: str) -> str | None:
    """Return the format that a cell may have, for a message. It is never used without a declaration."""
    guesses = (
        (r"\d{9,10}", EPOCH_S), (r"\d{12,13}", EPOCH_MS), (r"\d{8}", "%Y%m%d"), (r"\d{12}", "%Y%m%d%H%M"),
        (r"\d{1,2}\.\d{1,2}\.\d{4}", "%d.%m.%Y"), (r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d\d", "%d.%m.%Y %H:%M"),
        (r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d\d:\d\d", "%d.%m.%Y %H:%M:%S"),
    )  # fmt: skip
    return next((form for pattern, form in guesses if re.fullmatch(pattern, cell)), None)


def _form(written: str) -> _Form:
    has_time = any(code in written for code in ("%H", "%I", "%k", "%l", "%T", "%R", "%r", "%X", "%c"))
    return _Form(written, "", has_offset="%z" in written or "%:z" in written or "%#z" in written, has_time=has_time)


def _has_minutes(form: str) -> bool:
    return any(code in form for code in ("%M", "%T", "%R", "%r", "%X", "%c"))


def _parse_format(text: pl.Series, form: str) -> ParsedTimes:
    if form == ISO:
        return _parse_forms(text, _ISO_FORMS)
    if form in _EPOCHS:
        number = _epoch_numbers(text)
        usable = number.abs() < pl.Series([2**62 // _EPOCHS[form]], dtype=pl.Int64)
        instants = (number.set(~usable.fill_null(True), None) * _EPOCHS[form]).cast(INSTANT)
        return ParsedTimes(None, instants.set(_too_small(text, form).fill_null(False), None))
    return _parse_forms(text, (_form(form),))


def _epoch_numbers(text: pl.Series) -> pl.Series:
    return text.str.strip_chars().cast(pl.Int64, strict=False)


def _too_small(text: pl.Series, form: str) -> pl.Series:
    if form != EPOCH_MS:
        return pl.repeat(False, len(text), dtype=pl.Boolean, eager=True)
    return _epoch_numbers(text).is_between(1, _FEWEST_MS)


def _parse_forms(text: pl.Series, forms: tuple[_Form, ...]) -> ParsedTimes:
    """Parse texts of several forms. A column of one form is the rule and takes one pass."""
    first, *others = sorted(forms, key=lambda form: not _matches_first(text, form)) if len(forms) > 1 else forms
    times = first.parse(text)
    result = _only(first, times)
    rows = (times.is_null() & text.is_not_null()).arg_true()
    if rows.is_empty():
        return result
    # Only the cells that are left need the other forms, and the removal of blanks.
    cells = text.gather(rows).str.strip_chars()
    is_end = cells.str.contains(rf"{_END_OF_DAY}\b").fill_null(False)
    cells = cells.str.replace(_END_OF_DAY, "${1}00:00${2}")
    for written, pattern in _END_OF_DAY_BY_FORMAT:
        if any(written.search(form.format) for form in forms):
            is_end |= cells.str.contains(pattern).fill_null(False)
            cells = cells.str.replace(pattern, "${1}00${2}")
    local, instants = (
        pl.repeat(None, len(rows), dtype=_LOCAL, eager=True),
        pl.repeat(None, len(rows), dtype=INSTANT, eager=True),
    )
    dates = pl.repeat(False, len(rows), dtype=pl.Boolean, eager=True)
    for form in (first, *others):
        parsed = form.parse(cells)
        found = parsed.is_not_null()
        if form.has_offset:
            instants = instants.zip_with(~found, parsed)
        else:
            local = local.zip_with(~found, parsed)
            dates = dates if form.has_time else dates | found
    return _scatter(result, len(text), rows, local, instants, dates, is_end)


def _matches_first(text: pl.Series, form: _Form) -> bool:
    """Return whether the first cells that look like a time have this form."""
    cells = text.drop_nulls().head(_SAMPLE).str.strip_chars()
    likely = cells.filter(cells.str.contains(r"^\d{4}-\d\d-\d\d"))
    return bool(likely.head(1).str.contains(form.pattern).any())


def _only(form: _Form, times: pl.Series) -> ParsedTimes:
    if form.has_offset:
        return ParsedTimes(None, times)
    return ParsedTimes(times, None, None if form.has_time else times.is_not_null())


def _scatter(
    result: ParsedTimes, count: int, rows: pl.Series, local: pl.Series, instants: pl.Series, dates: pl.Series,
    is_end: pl.Series,
) -> ParsedTimes:  # fmt: skip
    """Return the result with the times of some rows added. A time that was written as 24:00 moves to the next day."""
    local = local.zip_with(~is_end, local + _DAY)
    instants = instants.zip_with(~is_end, instants + _DAY)
    is_end = is_end & (local.is_not_null() | instants.is_not_null())

    def put(column: pl.Series | None, values: pl.Series) -> pl.Series | None:
        has_values = bool(values.any()) if values.dtype == pl.Boolean else values.null_count() < len(values)
        if not has_values:
            return column
        empty = False if values.dtype == pl.Boolean else None
        whole = pl.repeat(empty, count, dtype=values.dtype, eager=True) if column is None else column
        return whole.scatter(rows, values)

    local_times, own_instants = put(result.local, local), put(result.instants, instants)
    return ParsedTimes(local_times, own_instants, put(result.dates, dates), put(None, is_end))


def _merge(results: list[ParsedTimes]) -> tuple[ParsedTimes, pl.Series | None]:
    """Return the times of all formats, and the mask of the cells that have different times in two of them."""
    if len(results) == 1:
        return results[0], None
    count = len(results[0].is_read)
    empty = [pl.repeat(None, count, dtype=dtype, eager=True) for dtype in (_LOCAL, INSTANT)]
    empty += [pl.repeat(False, count, dtype=pl.Boolean, eager=True)] * 2
    merged, is_read, several = empty, empty[2], empty[2]
    for result in results:
        parts = [whole if part is None else part for part, whole in zip(result, empty, strict=True)]
        is_other = parts[0].ne_missing(merged[0]) | parts[1].ne_missing(merged[1])
        several |= is_read & result.is_read & is_other
        merged = [old.zip_with(is_read, part) for part, old in zip(parts, merged, strict=True)]
        is_read = is_read | result.is_read
    local, instants = (times.zip_with(~several, whole) for times, whole in zip(merged[:2], empty[:2], strict=True))
    return ParsedTimes(local, instants, merged[2], merged[3]), several if several.any() else None
