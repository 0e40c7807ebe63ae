"""Advisory steps: their failures are kept and logged, and what must end the run is raised."""

import logging

import pytest

from flows.stages.advisory_steps import AdvisorySteps
from storage.redaction import register_secrets
from storage.schemas import DataError


def fails_with(error: BaseException) -> str:
    raise error


class PanicException(BaseException):
    """A panic as Polars raises it: no subclass of Exception."""


def test_a_step_without_a_failure_returns_its_result() -> None:
    steps = AdvisorySteps()
    assert steps.run("copy", lambda: 3, 0) == 3
    assert steps.failures == {}


@pytest.mark.parametrize(
    ("error", "text", "has_traceback"),
    [
        (DataError("latest/load.parquet: cannot be written"), "latest/load.parquet: cannot be written", False),
        (OSError(28, "No space left on device", "/store/x"), "/store/x: No space left on device; check", False),
        (ValueError("odd"), "ValueError: odd", True),
        (PanicException("index out of bounds"), "PanicException: index out of bounds", True),
    ],
)  # fmt: skip
def test_a_failed_step_gives_the_other_result_and_its_error(
    error: BaseException, text: str, has_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    steps = AdvisorySteps()
    with caplog.at_level(logging.ERROR):
        assert steps.run("copy", lambda: fails_with(error), "none") == "none"
    assert steps.failures["copy"].startswith(text)
    (record,) = caplog.records
    assert "The run continues without it" in record.getMessage() and bool(record.exc_info) is has_traceback


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), FileExistsError("x")])
def test_an_interrupt_and_the_errors_that_pass_end_the_run(error: BaseException) -> None:
    steps = AdvisorySteps()
    with pytest.raises(type(error)):
        steps.run("copy", lambda: fails_with(error), None, passes=(FileExistsError,))
    assert steps.failures == {}


def test_the_kept_error_has_no_secret() -> None:
    register_secrets(["a-key-of-some-length"])
    steps = AdvisorySteps()
    steps.run("copy", lambda: fails_with(DataError("no answer for key a-key-of-some-length")), None)
    assert "a-key-of-some-length" not in steps.failures["copy"]
