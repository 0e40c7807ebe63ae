"""Log lines: their run, pipeline, issue time and stage, also from a stage process, and no secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import logs
from flows.stage_process import runner

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """JSON lines logged during the test. Afterwards nothing is bound any more."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.JsonLines())
    handler.addFilter(logs.Redacting())
    root, flows = logging.getLogger(), logging.getLogger("flows")
    level = flows.level
    root.addHandler(handler)
    flows.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    root.removeHandler(handler)
    flows.setLevel(level)
    logs.bind(run=None, pipeline=None, issue_time=None)


def test_a_line_has_its_context(lines: Lines) -> None:
    logs.bind(run="r1", pipeline="small", issue_time="2018-09-01T04:00:00+00:00")
    logging.getLogger("flows.nightly").warning("late: %s\nby far", "demand")
    logs.bind(issue_time=None)
    logging.getLogger("elsewhere").warning("x")
    first, second = lines()
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING", "logger": "flows.nightly", "run": "r1", "pipeline": "small",
        "issue_time": "2018-09-01T04:00:00+00:00", "message": "late: demand\nby far",
    }  # fmt: skip
    assert "issue_time" not in second


def test_no_secret_of_a_uri_in_a_line_or_a_traceback(lines: Lines) -> None:
    try:
        raise ValueError("no answer from https://me:planted@host/a?token=planted2&x=1")
    except ValueError:
        logging.getLogger("flows").exception("reading %s", "postgresql://reader:planted@host/b@c")
    (line,) = lines()
    assert line["message"] == "reading postgresql://reader:***@c"
    assert "ValueError: no answer from https://me:***@host/a?token=***&x=1" in line["error"]
    assert "planted" not in json.dumps(line)


@pytest.mark.process
def test_the_lines_of_a_stage_keep_their_logger_and_level(pipeline: Path, lines: Lines) -> None:
    """A damaged part of the history is logged in the stage process, as an error of storage."""
    logs.bind(run="r1", pipeline="small")
    (part,) = (pipeline.parent / "store/history/small/demand").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:1000])
    runner.run_stage("ingest", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=40)
    (error,) = [line for line in lines() if line["logger"] == "storage.history_parts"]
    assert error["level"] == "ERROR" and "is damaged" in error["message"]
    assert (error["run"], error["pipeline"], error["stage"]) == ("r1", "small", "ingest")


def test_a_line_that_a_library_prints_is_logged(lines: Lines) -> None:
    assert logs.relay("OMP: warning of https://a:planted@b", "train") == "OMP: warning of https://a:***@b"
    assert logs.relay('{"a": 1}', "train") == '{"a": 1}'
    assert [(line["logger"], line["stage"]) for line in lines()] == [("flows.stage_process", "train")] * 2


def test_prefects_lines_about_its_runs_are_hidden_only_while_a_command_reports_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = logging.LogRecord("prefect.flow_runs", logging.ERROR, "", 0, "Finished in state Failed()", None, None)
    own = logging.LogRecord("flows.nightly", logging.ERROR, "", 0, "Stage ingest failed.", None, None)
    # Commands of other tests in this process have switched the filter on.
    monkeypatch.setattr(logs.WithoutRunStates, "is_active", False)
    assert logs.WithoutRunStates().filter(line)
    monkeypatch.setattr(logs.WithoutRunStates, "is_active", True)
    assert not logs.WithoutRunStates().filter(line)
    assert logs.WithoutRunStates().filter(own)
