"""Progress lines of stage processes: read back as they were written, and never part of a log."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from flows.stage_process.listener import Silent, current, listening, progress_writer, read_progress


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.text(), st.floats(0, 1))
def test_a_line_is_read_as_it_was_written(activity: str, share: float) -> None:
    stream = io.StringIO()
    progress_writer(stream)(activity, share)
    (line,) = stream.getvalue().splitlines()
    read = read_progress(line)
    assert read is not None and read[0] == activity and abs(read[1] - share) <= 1e-4


def test_other_lines_are_no_progress() -> None:
    for line in ("", "text", '{"progress": ', '{"progress": 1}', json.dumps({"level": "INFO", "progress": "x"})):
        assert read_progress(line) is None


def test_many_steps_give_few_lines() -> None:
    stream, clock = io.StringIO(), Clock()
    write = progress_writer(stream, clock)
    for step in range(10_001):
        clock.now = step / 10_000
        write("score", step / 10_000)
    shares = [json.loads(line)["share"] for line in stream.getvalue().splitlines()]
    assert len(shares) <= 12 and shares[0] == 0 and shares[-1] == 1
    write("report", 0.0)
    assert '"report"' in stream.getvalue()


def test_a_listener_is_replaced_for_a_while_only() -> None:
    before, other = current(), Silent()
    with listening(other):
        assert current() is other
    assert current() is before
