"""Folder, ports and secrets of an installation on one machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POOL = "gatecast"
_SECRET_BYTES = 32
_PASSWORD, _KEY = "POSTGRES_PASSWORD", "PREFECT_SERVER_API_AUTH_STRING"  # names in the file of the server


class InstallationError(Exception):
    """A wrong setting, or something that the machine lacks or forbids. The message says what to do."""


@dataclass(frozen=True)
class Installation:
    """Everything that `make serve` starts, with the folder and the ports that it uses.

    Attributes:
        state: Folder of the database, the logs and the secrets. It is created if it does not exist.
        prefect_port: Port of Prefect's server on 127.0.0.1.
        postgres_port: Port of PostgreSQL on 127.0.0.1.
        webhook: Address that gets a message about each failure. With None, failures are visible in Prefect only.
    """

    state: Path
    prefect_port: int
    postgres_port: int
    webhook: str | None

    @property
    def url(self) -> str:
        """Address of Prefect's API."""
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def server_file(self) -> Path:
        """File with the secrets of the server: the database's address and password."""
        return self.state / "server.env"

    @property
    def client_file(self) -> Path:
        """File with the settings of a client: the API's address and key."""
        return self.state / "client.env"

    def environment(self, *files: Path) -> dict[str, str]:
        """Return the environment of a process, with Prefect's settings from prefect.env and these files.

        Prefect settings of this process are left out, except for those of logging, which the user may choose. Of these,
        PREFECT_LOGGING_SETTINGS_PATH is always flows/logging.yml.

        Raises:
            InstallationError: A file has a line that is no setting.
        """
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        settings: dict[str, str] = {}
        for file in (ROOT / "deployments" / "prefect.env", *files):
            settings |= _read_environment_file(file)
        logging_settings = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_LOGGING_")}
        fixed = {
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT / "flows" / "logging.yml"),
            "GATECAST_HOME": str(ROOT),
        }
        return clean | settings | logging_settings | fixed

    def ensure_secrets(self) -> None:
        """Write both files of secrets, with mode 600. Existing secrets are kept, and addresses follow the ports."""
        self.state.mkdir(parents=True, exist_ok=True)
        password, key = self.read_secrets() or create_secrets()
        self.write_secrets(password, key)

    def read_secrets(self) -> tuple[str, str] | None:
        """Return the database's password and the API's key, or None before the first start.

        Raises:
            InstallationError: The file of the server lacks one of them.
        """
        if not self.server_file.exists():
            return None
        settings = _read_environment_file(self.server_file)
        for name in (_PASSWORD, _KEY):
            if name not in settings:
                raise InstallationError(f"{self.server_file} has no line {name}=...; restore the file from a backup")
        return settings[_PASSWORD], settings[_KEY]

    def write_secrets(self, password: str, key: str) -> None:
        """Write both files of secrets."""
        database = f"postgresql+asyncpg://gatecast:{password}@127.0.0.1:{self.postgres_port}/prefect"
        _write_environment_file(self.server_file, {
            _PASSWORD: password,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            _KEY: key,
            # By default the pages of the UI call port 4200, whatever port the server uses.
            "PREFECT_SERVER_UI_API_URL": self.url,
        })  # fmt: skip
        _write_environment_file(self.client_file, {"PREFECT_API_URL": self.url, "PREFECT_API_AUTH_STRING": key})


def read_installation(environment: Mapping[str, str] = os.environ) -> Installation:
    """Return the installation that the environment describes.

    The variables are GATECAST_STATE, GATECAST_PREFECT_PORT, GATECAST_POSTGRES_PORT and GATECAST_ALERT_WEBHOOK.

    Raises:
        InstallationError: A port is not a number from 1 to 65535.
    """
    # PostgreSQL does not run as root, and its user may not enter root's folders.
    default = Path("/var/lib/gatecast") if os.geteuid() == 0 else ROOT / "store" / "serve"
    return Installation(
        Path(environment.get("GATECAST_STATE") or default).resolve(),
        _read_port(environment, "GATECAST_PREFECT_PORT", 4200),
        _read_port(environment, "GATECAST_POSTGRES_PORT", 5442),
        environment.get("GATECAST_ALERT_WEBHOOK") or None,
    )


def create_secrets() -> tuple[str, str]:
    """Return a new password for the database and a new key for the API, `user:password`."""
    # Both are URL-safe, so that they need no quoting in a URL, an environment file or a shell.
    return secrets.token_urlsafe(_SECRET_BYTES), f"gatecast:{secrets.token_urlsafe(_SECRET_BYTES)}"


def _read_port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise InstallationError(f"{name} must be a port from 1 to 65535, got {text!r}. Example: {name}={default}")
    return int(text)


def _read_environment_file(file: Path) -> dict[str, str]:
    """Return the `NAME=value` lines of a file, in the form that systemd, compose and a shell read alike.

    Raises:
        InstallationError: A line has no `=`.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, file.read_text().splitlines()), start=1):
        if line and not line.startswith("#"):
            name, separator, value = line.partition("=")
            if not separator:  # The message leaves the line out, because it may be a secret.
                raise InstallationError(f"{file}, line {number}: must be NAME=value; correct or delete the line")
            values[name] = value
    return values


def _write_environment_file(file: Path, values: dict[str, str]) -> None:
    content = "".join(f"{name}={value}\n" for name, value in values.items())
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(content)
    temporary.replace(file)
