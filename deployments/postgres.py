"""A PostgreSQL server in a folder, on 127.0.0.1 only, started with the programs that Debian installs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.installation import InstallationError

USER, DATABASE = "gatecast", "prefect"


@dataclass(frozen=True)
class Postgres:
    """A database cluster with one user.

    Attributes:
        folder: Folder of the cluster.
        port: Port on 127.0.0.1.
        password: Password of the user `gatecast`.
    """

    folder: Path
    port: int
    password: str

    @property
    def is_running(self) -> bool:
        """True if the server runs."""
        return self.exists and self._run("pg_ctl", "-D", str(self._data), "status", check=False).returncode == 0

    @property
    def exists(self) -> bool:
        """True if the cluster has been created."""
        return (self._data / "PG_VERSION").exists()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Create the cluster and the database if they do not exist, and start the server unless it runs."""
        if not self.exists:
            self._create()
        if not self.is_running:
            options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
            log = str(self.folder / "log")
            self._run("pg_ctl", "-D", str(self._data), "-l", log, "-w", "-o", options, "start")
        if self.query(f"select 1 from pg_database where datname = '{DATABASE}'", "postgres") != "1":
            self.query(f"create database {DATABASE}", "postgres")

    def stop(self) -> None:
        """Stop the server. Open sessions are closed."""
        if self.is_running:
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")

    def query(self, statement: str, database: str = DATABASE) -> str:
        """Return the output of psql. The statement goes through a pipe, so that no list of processes shows it."""
        done = self._run("psql", *self._address, "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", statement=statement)
        return done.stdout.strip()

    def dump(self) -> str:
        """Return the database as SQL."""
        return self._run("pg_dump", *self._address, "-d", DATABASE).stdout

    @property
    def _address(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)

    def _create(self) -> None:
        owner = _owner()
        self.folder.mkdir(parents=True, exist_ok=True)
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if owner is not None:
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            os.chown(password_file, owner.pw_uid, owner.pw_gid)
        self.folder.chmod(0o700)
        shutil.rmtree(self._data, ignore_errors=True)
        try:
            self._run(
                "initdb", "-D", str(self._data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password_file}",
                "--encoding=UTF8", "--locale=C.UTF-8",
            )  # fmt: skip
        finally:
            password_file.unlink()

    def _run(
        self, program: str, *arguments: str, statement: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        owner = _owner()
        user: Any = {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PGPASSWORD": self.password}
        try:
            done = subprocess.run(
                [str(find_programs() / program), *arguments], input=statement or "", capture_output=True, text=True,
                cwd=self.folder, env=environment, check=False, **user,
            )  # fmt: skip
        except PermissionError:
            raise InstallationError(
                f"PostgreSQL's user {owner.pw_name if owner else '?'!r} may not enter {self.folder}; "
                "set GATECAST_STATE to a folder that it may enter, such as /var/lib/gatecast"
            ) from None
        if check and done.returncode:
            raise InstallationError(
                f"{program} failed: {(done.stderr or done.stdout).strip()[-800:]} (log: {self.folder / 'log'})"
            )
        return done


def find_programs() -> Path:
    """Return the folder of the newest release's programs.

    Raises:
        InstallationError: PostgreSQL is not installed.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: float(f.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    folders += [Path(on_path).resolve().parent] if on_path else []
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise InstallationError("PostgreSQL is not installed; on Debian: apt-get install postgresql")


def _owner() -> pwd.struct_passwd | None:
    """Return the user that PostgreSQL runs as. None is the current user: only root needs another."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise InstallationError(
            "PostgreSQL does not run as root, and there is no user postgres; create it with `useradd --system postgres`"
        ) from None
