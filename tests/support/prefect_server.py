"""A standing Prefect server for tests: one for all processes of a session."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from tests.support import session
from tests.support.web_server import LocalServer

_STARTUP = 180.0  # seconds


def environment() -> dict[str, str]:
    """Return the environment variables that lead to the session's server. The first call starts it."""
    variables: dict[str, str] = json.loads(session.once("prefect-server", _start).read_text())
    return variables


@contextlib.contextmanager
def failing_proxy(url: str, after: int) -> Iterator[str]:
    """Yield the address of a proxy to an API, whose answers from request `after` on have status 500."""
    requests = itertools.count(1)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            names = ("Content-Type", "Prefect-Csrf-Token", "Prefect-Csrf-Client", "X-PREFECT-API-VERSION")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            status, content = 500, b""
            if next(requests) < after:
                answered = httpx.request(
                    self.command, f"{url.removesuffix('/api')}{self.path}", content=body, headers=headers, timeout=60
                )
                status, content = answered.status_code, answered.content
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    server = LocalServer(Handler)
    try:
        yield f"{server.address}/api"
    finally:
        server.stop()


def _start(path: Path) -> None:
    home = path.with_name("prefect-home")
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    settings = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    settings["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "30"
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            stdout=log, stderr=log, env={**clean, **settings}, start_new_session=True,
        )  # fmt: skip
    session.stop_at_end(server.pid)
    end = time.monotonic() + _STARTUP
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                path.write_text(json.dumps({"PREFECT_API_URL": url, **settings}))
                return
        assert server.poll() is None, (home / "server.log").read_text()
        time.sleep(0.2)
    pytest.fail(f"the Prefect server did not start within {_STARTUP:.0f} s")
