"""The audit of what is pinned, by a vulnerability service on this machine and by none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.web_server import PostReceiver

pytestmark = pytest.mark.process

Faults = dict[str, list[dict[str, Any]]]
AUDIT = Path(__file__).parent.parent / ".ci" / "audit.py"
FAULT = {
    "id": "PYSEC-2020-1", "summary": "bad", "details": "bad", "aliases": [],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "click"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}  # fmt: skip


@pytest.fixture
def faults() -> Faults:
    """Known faults by package: the contents of the service."""
    return {}


@pytest.fixture
def service(faults: Faults) -> Iterator[str]:
    """Return the address of a vulnerability service that returns `faults`."""
    server = PostReceiver(200, lambda query: {"vulns": faults.get(query["package"]["name"], [])})
    yield f"{server.address}/v1/query"
    server.stop()


def audit(tmp_path: Path, osv: str) -> subprocess.CompletedProcess[str]:
    """The audit of two packages, with nothing but `osv` within reach."""
    pinned = tmp_path / "constraints.txt"
    pinned.write_text("click==8.1.0\nidna==3.7\n")
    call = f"import sys, runpy; sys.exit(runpy.run_path({str(AUDIT)!r})['main']({str(pinned)!r}))"
    nowhere = "http://127.0.0.1:1"
    environment = {**os.environ, "PIP_AUDIT_OSV_URL": osv, "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PIP_AUDIT_CACHE_DIR": str(tmp_path / "cache")}
    return subprocess.run(
        [sys.executable, "-c", call], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


def test_a_known_vulnerability_fails_the_check(service: str, faults: Faults, tmp_path: Path) -> None:
    faults["click"] = [FAULT]
    done = audit(tmp_path, service)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "audit: click 8.1.0: PYSEC-2020-1; fixed in 99.0" in done.stdout
    assert "1 known vulnerabilities in 2 packages, by osv" in done.stdout


def test_no_vulnerability_is_reported_with_the_number_of_packages(service: str, tmp_path: Path) -> None:
    done = audit(tmp_path, service)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 known vulnerabilities in 2 packages, by osv" in done.stdout


def test_without_a_service_it_reports_so_and_passes(tmp_path: Path) -> None:
    done = audit(tmp_path, "http://127.0.0.1:1/v1/query")
    assert done.returncode == 0
    assert "audit: NOT AUDITED. No vulnerability service answered" in done.stdout
    assert done.stdout.count("knows no package") == 2


def test_make_check_audits() -> None:
    makefile = (AUDIT.parent.parent / "Makefile").read_text()
    assert "\ncheck: lint types audit\n" in makefile
    assert ".ci/audit.py" in makefile.partition("\naudit:")[2].partition("\n\n")[0]
