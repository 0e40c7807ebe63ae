"""Where everything of a bring-up lies, its ports, and its secrets."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POOL = "gatecast"
_SECRET_BYTES = 32


class BringUpError(Exception):
    """Something that the machine lacks or forbids; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """One bring-up.

    Attributes:
        state: the folder of the database, the logs and the secrets; made if it is not there.
        prefect_port, postgres_port: on 127.0.0.1.
        webhook: where failures are told; None: nowhere but in Prefect.
    """

    state: Path
    prefect_port: int
    postgres_port: int
    webhook: str | None

    @property
    def url(self) -> str:
        """Prefect's API."""
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def server_file(self) -> Path:
        """What only the server knows: the way to the database."""
        return self.state / "server.env"

    @property
    def client_file(self) -> Path:
        """What a client needs: the API's address and its key."""
        return self.state / "client.env"

    def environment(self, *files: Path) -> dict[str, str]:
        """That of a process which Prefect's settings of `files` are for; ours, without Prefect settings of its own."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        said: dict[str, str] = {}
        for file in (ROOT / "deployments" / "prefect.env", *files):
            said |= _read(file)
        fixed = {
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT / "flows" / "logging.yml"),
            "GATECAST_HOME": str(ROOT),
        }
        # How much is logged, and in which form, is the caller's to say.
        asked = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_LOGGING_")}
        return clean | said | asked | fixed

    def ensure_secrets(self) -> None:
        """Make the two files of secrets, mode 600; what is in them already is kept, addresses follow the ports."""
        self.state.mkdir(parents=True, exist_ok=True)
        password, key = self.secrets() or new_secrets()
        self.write_secrets(password, key)

    def secrets(self) -> tuple[str, str] | None:
        """The database's password and the API's key; None before the first bring-up."""
        if not self.server_file.exists():
            return None
        said = _read(self.server_file)
        return said["POSTGRES_PASSWORD"], said["PREFECT_SERVER_API_AUTH_STRING"]

    def write_secrets(self, password: str, key: str) -> None:
        """Write both files."""
        database = f"postgresql+asyncpg://gatecast:{password}@127.0.0.1:{self.postgres_port}/prefect"
        _write(self.server_file, {
            "POSTGRES_PASSWORD": password,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_API_AUTH_STRING": key,
            # Else the pages of the UI ask port 4200, whatever the server's is.
            "PREFECT_SERVER_UI_API_URL": self.url,
        })  # fmt: skip
        _write(self.client_file, {"PREFECT_API_URL": self.url, "PREFECT_API_AUTH_STRING": key})


def read(environment: Mapping[str, str] = os.environ) -> Place:
    """The place that GATECAST_STATE, GATECAST_PREFECT_PORT, GATECAST_POSTGRES_PORT and GATECAST_ALERT_WEBHOOK give.

    Raises:
        BringUpError: a port is none.
    """
    # PostgreSQL will not run as root, and its user may not enter root's folders.
    default = Path("/var/lib/gatecast") if os.geteuid() == 0 else ROOT / "store" / "serve"
    return Place(
        Path(environment.get("GATECAST_STATE") or default).resolve(),
        _port(environment, "GATECAST_PREFECT_PORT", 4200),
        _port(environment, "GATECAST_POSTGRES_PORT", 5442),
        environment.get("GATECAST_ALERT_WEBHOOK") or None,
    )


def new_secrets() -> tuple[str, str]:
    """A new password of the database and a new key of the API, `user:password`."""
    # Urlsafe, so that neither needs quoting in a URL, an env file or a shell.
    return secrets.token_urlsafe(_SECRET_BYTES), f"gatecast:{secrets.token_urlsafe(_SECRET_BYTES)}"


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise BringUpError(f"{name}={text!r}: must be a port from 1 to 65535")
    return int(text)


def _read(file: Path) -> dict[str, str]:
    """`NAME=value` lines; the form that systemd, compose and a shell read alike."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _write(file: Path, values: dict[str, str]) -> None:
    content = "".join(f"{name}={value}\n" for name, value in values.items())
    beside = file.with_name(f".{file.name}.tmp")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(content)
    beside.replace(file)
