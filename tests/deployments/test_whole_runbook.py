"""The commands of docs/runbook.md that need what `make serve` brings up, in order, against it.

Its file is the last by name: its backfill ingests all of the sample, after which no data can arrive any more.
"""

from __future__ import annotations

import pytest

from deployments.installation import ROOT
from tests.support import runbook
from tests.support.serving import Serving

pytestmark = pytest.mark.deployment


def test_every_command_that_needs_the_served_machine(serving: Serving) -> None:
    for block in runbook.served():
        done = runbook.run(block, ROOT, serving.environment, 600)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
