"""Numbers in place of missing values are reported, values of their size are not."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.text_format import TextFormat
from tests.model.checks.test_feed_rows import LATE, MADRID, feed_rows, feed_shape


def check(values: list[object], **shape: object) -> CheckedRows:
    times = [datetime(2018, 7, 1) + timedelta(hours=hour) for hour in range(len(values))]
    return check_rows(feed_rows(times, values), feed_shape(**shape), MADRID, (None, None), LATE)


@pytest.mark.parametrize("number", [-999.0, 9999.0, -99.9])
@pytest.mark.parametrize("role", ["target", "known_future"])
def test_a_sentinel_is_reported(number: float, role: str) -> None:
    values: list[object] = [-3.5, number, 21.0, number, 12.25, None]
    (finding,) = check(values, role=role).findings
    assert (finding.check, finding.rows) == ("sentinel", 2)
    assert finding.detail.startswith(f"2 values of y: {number:g}, which many sources write for a missing value")
    texts: list[object] = [None if value is None else str(value) for value in values]
    assert len(check(texts, role=role).findings) == 1
    assert not check(texts, role=role, text=TextFormat(missing=(str(number),))).findings


@pytest.mark.parametrize("values", [[-999.0, -800.0, 1.0], [9000.0, 9999.0], [99.0, 60.0], [None, None], [999.0]])
def test_values_of_that_size_are_plausible(values: list[object]) -> None:
    assert not check(values).findings
