"""Commands for an installation on one machine: `python -m deployments up | down | status | rotate | dump`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
import httpx

from deployments.daemon import Daemon
from deployments.installation import (
    POOL,
    ROOT,
    Installation,
    InstallationError,
    create_secrets,
    read_installation,
)
from deployments.postgres import Postgres

_STARTUP = 180.0  # seconds that a server or a worker may take on a busy machine
_PREFECT = (sys.executable, "-m", "prefect")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run PostgreSQL, Prefect with authentication, a worker, the deployments and the automations, on 127.0.0.1.

    Environment variables: GATECAST_STATE is the folder of the database, the logs and the secrets.
    GATECAST_PREFECT_PORT and GATECAST_POSTGRES_PORT are the ports.
    GATECAST_ALERT_WEBHOOK is the address that gets a message about each failure.
    """


def _command(action: Callable[..., None]) -> Callable[..., None]:
    @wraps(action)
    def run(**options: Any) -> None:
        try:
            action(read_installation(), **options)
        except InstallationError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return main.command()(run)


@_command
def up(installation: Installation) -> None:
    """Start what does not run yet, and deploy prefect.yaml."""
    installation.ensure_secrets()
    installation.state.chmod(0o755)  # PostgreSQL's user must be able to enter its own folder
    _postgres(installation).start()
    click.echo(f"PostgreSQL on 127.0.0.1:{installation.postgres_port}")
    _start_server(installation)
    _run_client(installation, [sys.executable, "-m", "deployments.objects"])
    deploy = [*_PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
    _run_client(installation, deploy)
    _start_worker(installation)
    _print_status(installation)


@_command
def down(installation: Installation) -> None:
    """Stop everything. Data, logs and secrets stay in their folder."""
    for daemon in (_worker(installation), _server(installation)):
        click.echo(f"{daemon.name} {'stopped' if daemon.stop() else 'was not running'}")
    if installation.read_secrets():
        _postgres(installation).stop()
    click.echo("PostgreSQL stopped")


@_command
def status(installation: Installation) -> None:
    """Print what runs. The exit status is 1 if something does not run."""
    _print_status(installation)
    is_up = (
        installation.read_secrets() is not None
        and _postgres(installation).is_running
        and _server_answers(installation)
        and _worker(installation).pid is not None
    )
    if not is_up:
        sys.exit(1)


@_command
def rotate(installation: Installation) -> None:
    """Create a new database password and a new API key, and restart the server and the worker."""
    if not installation.read_secrets():
        raise InstallationError("there is no installation here yet; run `make serve`")
    postgres = _postgres(installation)
    postgres.start()
    _worker(installation).stop()
    _server(installation).stop()
    password, key = create_secrets()
    postgres.query(f"alter role gatecast with password '{password}'")
    installation.write_secrets(password, key)
    _start_server(installation)
    _start_worker(installation)
    click.echo(f"new secrets in {installation.server_file} and {installation.client_file}")


@_command
def dump(installation: Installation) -> None:
    """Print Prefect's database as SQL."""
    if not installation.read_secrets():
        raise InstallationError("there is no installation here yet; run `make serve`")
    click.echo(_postgres(installation).dump(), nl=False)


def _postgres(installation: Installation) -> Postgres:
    secrets = installation.read_secrets()
    assert secrets is not None
    return Postgres(installation.state / "postgres", installation.postgres_port, secrets[0])


def _server(installation: Installation) -> Daemon:
    address = ("--host", "127.0.0.1", "--port", str(installation.prefect_port))
    return Daemon("server", installation.state, (*_PREFECT, "server", "start", *address))


def _worker(installation: Installation) -> Daemon:
    return Daemon("worker", installation.state, (*_PREFECT, "worker", "start", "--pool", POOL, "--type", "process"))


def _start_server(installation: Installation) -> None:
    server = _server(installation)
    server.start(installation.environment(installation.server_file))
    server.wait(lambda: _server_answers(installation), _STARTUP)
    click.echo(f"Prefect on {installation.url}")


def _start_worker(installation: Installation) -> None:
    worker = _worker(installation)
    before = worker.log.stat().st_size if worker.log.exists() else 0
    if worker.start(installation.environment(installation.client_file)):
        worker.wait(lambda: b"started!" in worker.log.read_bytes()[before:], _STARTUP)


def _server_answers(installation: Installation) -> bool:
    """Return whether Prefect's server answers and accepts this installation's key.

    Raises:
        InstallationError: A server with another key answers there.
    """
    try:
        response = httpx.get(f"{installation.url}/admin/version", auth=_authentication(installation), timeout=5)
    except httpx.HTTPError:
        return False
    if response.status_code == 401:
        raise InstallationError(
            f"another server answers at {installation.url}; set GATECAST_PREFECT_PORT to a free port"
        )
    return response.status_code == 200


def _authentication(installation: Installation) -> httpx.BasicAuth:
    secrets = installation.read_secrets()
    user, _, password = (secrets[1] if secrets else "").partition(":")
    return httpx.BasicAuth(user, password)


def _run_client(installation: Installation, command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=installation.environment(installation.client_file), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        output = (done.stdout + done.stderr).strip()[-2000:]
        raise InstallationError(f"`{' '.join(command[1:])}` ended with status {done.returncode}:\n{output}")


def _print_status(installation: Installation) -> None:
    server, worker = _server(installation), _worker(installation)
    has_postgres = installation.read_secrets() is not None and _postgres(installation).is_running
    address = installation.url.removesuffix("/api")
    client_file = installation.client_file
    lines = {
        "PostgreSQL": f"runs on 127.0.0.1:{installation.postgres_port}" if has_postgres else "does not run",
        "server": f"runs, {address} (process {server.pid})" if server.pid else "does not run",
        "worker": f"runs (process {worker.pid})" if worker.pid else "does not run",
        "alerts": "go to GATECAST_ALERT_WEBHOOK"
        if installation.webhook
        else "are visible in Prefect only: GATECAST_ALERT_WEBHOOK is not set",
        "secrets": f"{client_file}; for prefect: `set -a; . {client_file}; set +a`; the UI needs the key",
        "logs": f"{server.log} {worker.log}",
    }
    for name, text in lines.items():
        click.echo(f"{name:<11} {text}")


if __name__ == "__main__":
    main()
