"""Everything on one machine: `python -m deployments up | down | status | rotate | dump`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
import httpx

from deployments import place
from deployments.daemon import Daemon
from deployments.place import POOL, ROOT, BringUpError, Place
from deployments.postgres import Postgres

_STARTING = 180.0  # seconds that a server or a worker may take on a busy machine
_PREFECT = (sys.executable, "-m", "prefect")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """PostgreSQL, Prefect with authentication, a worker, the deployments and the automations, on 127.0.0.1.

    GATECAST_STATE says in which folder, GATECAST_PREFECT_PORT and GATECAST_POSTGRES_PORT say where,
    GATECAST_ALERT_WEBHOOK to whom failures are told.
    """


def _command(act: Callable[..., None]) -> Callable[..., None]:
    @wraps(act)
    def run(**options: Any) -> None:
        try:
            act(place.read(), **options)
        except BringUpError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return main.command()(run)


@_command
def up(at: Place) -> None:
    """Bring up what is not up yet; deploy what is in prefect.yaml."""
    at.ensure_secrets()
    at.state.chmod(0o755)  # PostgreSQL's user must get through to its own folder
    _postgres(at).start()
    click.echo(f"PostgreSQL on 127.0.0.1:{at.postgres_port}")
    _start(at)
    _client(at, [sys.executable, "-m", "deployments.objects"])
    _client(at, [*_PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"])
    _start_worker(at)
    _say(at)


@_command
def down(at: Place) -> None:
    """Stop everything; what it knows stays in its folder."""
    for daemon in (_worker(at), _server(at)):
        click.echo(f"{daemon.name} {'stopped' if daemon.stop() else 'was not running'}")
    if at.secrets():
        _postgres(at).stop()
    click.echo("PostgreSQL stopped")


@_command
def status(at: Place) -> None:
    """Say what runs; exit status 1 if something does not."""
    _say(at)
    if not (at.secrets() and _postgres(at).running and _answers(at) and _worker(at).pid):
        sys.exit(1)


@_command
def rotate(at: Place) -> None:
    """A new database password and a new API key; the server and the worker are started anew."""
    if not at.secrets():
        raise BringUpError("nothing was brought up here yet; run `make serve`")
    postgres = _postgres(at)
    postgres.start()
    _worker(at).stop()
    _server(at).stop()
    password, key = place.new_secrets()
    postgres.query(f"alter role gatecast with password '{password}'")
    at.write_secrets(password, key)
    _start(at)
    _start_worker(at)
    click.echo(f"new secrets in {at.server_file} and {at.client_file}")


@_command
def dump(at: Place) -> None:
    """Print Prefect's database as SQL."""
    if not at.secrets():
        raise BringUpError("nothing was brought up here yet; run `make serve`")
    click.echo(_postgres(at).dump(), nl=False)


def _postgres(at: Place) -> Postgres:
    secrets = at.secrets()
    assert secrets is not None
    return Postgres(at.state / "postgres", at.postgres_port, secrets[0])


def _server(at: Place) -> Daemon:
    where = ("--host", "127.0.0.1", "--port", str(at.prefect_port))
    return Daemon("server", at.state, (*_PREFECT, "server", "start", *where))


def _worker(at: Place) -> Daemon:
    return Daemon("worker", at.state, (*_PREFECT, "worker", "start", "--pool", POOL, "--type", "process"))


def _start(at: Place) -> None:
    server = _server(at)
    server.start(at.environment(at.server_file))
    server.wait(lambda: _answers(at), _STARTING)
    click.echo(f"Prefect on {at.url}")


def _start_worker(at: Place) -> None:
    worker = _worker(at)
    before = worker.log.stat().st_size if worker.log.exists() else 0
    if worker.start(at.environment(at.client_file)):
        worker.wait(lambda: b"started!" in worker.log.read_bytes()[before:], _STARTING)


def _answers(at: Place) -> bool:
    """Whether a server answers there, and to our key."""
    secrets = at.secrets()
    try:
        asked = httpx.get(f"{at.url}/admin/version", auth=httpx.BasicAuth(*_key(secrets)), timeout=5)
    except httpx.HTTPError:
        return False
    if asked.status_code == 401:
        raise BringUpError(f"what answers at {at.url} is not this server; set GATECAST_PREFECT_PORT to a free port")
    return asked.status_code == 200


def _key(secrets: tuple[str, str] | None) -> tuple[str, str]:
    user, _, password = (secrets[1] if secrets else "").partition(":")
    return user, password


def _client(at: Place, command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=at.environment(at.client_file), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BringUpError(f"{' '.join(command[1:])}:\n{(done.stdout + done.stderr).strip()[-2000:]}")


def _say(at: Place) -> None:
    server, worker = _server(at), _worker(at)
    postgres = at.secrets() is not None and _postgres(at).running
    shown = {
        "PostgreSQL": f"runs on 127.0.0.1:{at.postgres_port}" if postgres else "does not run",
        "server": f"runs, {at.url.removesuffix('/api')} (process {server.pid})" if server.pid else "does not run",
        "worker": f"runs (process {worker.pid})" if worker.pid else "does not run",
        "alerts": "go to GATECAST_ALERT_WEBHOOK"
        if at.webhook
        else "are shown in Prefect alone: no GATECAST_ALERT_WEBHOOK",
        "secrets": f"{at.client_file}; for prefect: `set -a; . {at.client_file}; set +a`; the UI asks for the key",
        "logs": f"{server.log} {worker.log}",
    }
    for what, how in shown.items():
        click.echo(f"{what:<11} {how}")


if __name__ == "__main__":
    main()
