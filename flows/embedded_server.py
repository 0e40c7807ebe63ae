"""Prefect's embedded server of one command: only its user can reach it, and it ends with the command.

Prefect starts one by itself if no API is configured. That one accepts every user of the machine, its database is
readable for all of them, and it stays when the command is killed.
"""

from __future__ import annotations

import atexit
import json
import secrets
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import IO

from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from storage.redaction import register_secrets

_END_LIMIT = 8.0  # seconds that the server may take to end, before it is killed
_USER = "gatecast"
_SETTINGS = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "0"}


class ServerError(Exception):
    """Prefect's embedded server did not start."""


def start_if_needed(
    environment: MutableMapping[str, str], meanwhile: Callable[[], object] = lambda: None
) -> bool:  # fmt: skip
    """Start a server and have Prefect use it, if no API is configured. It ends with this process.

    Returns:
        Whether a server was started.

    Args:
        environment: Variables of this process, which get the address and the key of the server.
        meanwhile: Function that is called while the server starts, which takes seconds.

    Raises:
        ServerError: The server ended, or did not answer in time.
    """
    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return False
    key = f"{_USER}:{secrets.token_urlsafe(32)}"
    register_secrets([key, key.removeprefix(f"{_USER}:")])
    port = _start(key, environment, settings.server.ephemeral.startup_timeout_seconds, meanwhile)
    environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    environment["PREFECT_API_AUTH_STRING"] = key
    refresh_global_settings_context()
    return True


def _start(key: str, environment: Mapping[str, str], limit: float, meanwhile: Callable[[], object]) -> int:
    """Start the server process with a key, and return its port."""
    # An interrupt from the keyboard must reach this process only, whose last state the server still records.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.embedded_server_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
        env={**environment, **_SETTINGS, "PREFECT_SERVER_API_AUTH_STRING": key},
    )  # fmt: skip
    # The pipe to the server stays open as long as this process lives, however it ends. The server ends when it closes.
    assert process.stdout is not None
    atexit.register(_stop, process)
    meanwhile()
    line = _read_line(process.stdout, limit)
    if line is None:
        process.kill()
        raise ServerError(
            f"Prefect's embedded server did not answer within {limit:.0f} s. Set "
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS to a longer time, or PREFECT_API_URL to a running server."
        )
    if not line:
        raise ServerError(
            f"Prefect's embedded server ended with status {process.wait()} before it answered. Its errors are above. "
            "Correct its settings, or set PREFECT_API_URL to a running server."
        )
    return int(json.loads(line)["port"])


def _read_line(stream: IO[str], limit: float) -> str | None:
    """Return the next line, empty at the end of the stream, or None after the limit."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline() if selector.select(limit) else None


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
