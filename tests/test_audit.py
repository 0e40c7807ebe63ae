"""The audit of what is pinned, by a vulnerability service on this machine and by none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

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
def service() -> Iterator[Any]:
    """A vulnerability service: `answers[package]` are its faults."""

    class Handler(BaseHTTPRequestHandler):
        answers: dict[str, list[dict[str, Any]]] = {}  # noqa: RUF012

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"vulns": self.answers.get(asked["package"]["name"], [])}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.address = f"http://127.0.0.1:{server.server_address[1]}/v1/query"  # type: ignore[attr-defined]
    yield Handler
    server.shutdown()
    server.server_close()


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


def test_a_known_vulnerability_fails_the_check(service: Any, tmp_path: Path) -> None:
    service.answers = {"click": [FAULT]}
    done = audit(tmp_path, service.address)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "audit: click 8.1.0: PYSEC-2020-1; fixed in 99.0" in done.stdout
    assert "1 known vulnerabilities in 2 packages, by osv" in done.stdout


def test_no_vulnerability_is_reported_with_the_number_of_packages(service: Any, tmp_path: Path) -> None:
    service.answers = {}
    done = audit(tmp_path, service.address)
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
