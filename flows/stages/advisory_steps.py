"""Advisory steps: parts of a run without which it goes on, such as copies, records and checks of earlier results."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from storage.redaction import redact
from storage.schemas.attempts import Failed, attempt

logger = logging.getLogger(__name__)

T = TypeVar("T")
Other = TypeVar("Other")


@dataclass(frozen=True)
class AdvisorySteps:
    """Runner of the advisory steps of one run. It logs and keeps their failures.

    Attributes:
        failures: Error by step.
    """

    failures: dict[str, str] = field(default_factory=dict)

    def run(
        self, step: str, action: Callable[[], T], otherwise: Other, passes: tuple[type[Exception], ...] = ()
    ) -> T | Other:  # fmt: skip
        """Return the result of a step, or `otherwise` if it fails. Errors of the types in `passes` are raised."""
        result = attempt(action, passes)
        if not isinstance(result, Failed):
            return result
        self.failures[step] = redact(result.text)
        # An expected error says what to do. Any other one needs its traceback.
        trace = None if result.is_expected else result.error
        logger.error("Step %r failed: %s. The run continues without it.", step, self.failures[step], exc_info=trace)
        return otherwise
