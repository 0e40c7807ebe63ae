"""A PostgreSQL of one's own in a folder, on loopback alone, from the programs that Debian installs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.place import BringUpError

USER, DATABASE = "gatecast", "prefect"


@dataclass(frozen=True)
class Postgres:
    """The cluster in `folder`, whose one user has `password`."""

    folder: Path
    port: int
    password: str

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.made and self._run("pg_ctl", "-D", str(self._data), "status", check=False).returncode == 0

    @property
    def made(self) -> bool:
        """Whether there is a cluster."""
        return (self._data / "PG_VERSION").exists()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Make the cluster if there is none, start it if it does not run, make the database if there is none."""
        if not self.made:
            self._make()
        if not self.running:
            options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
            log = str(self.folder / "log")
            self._run("pg_ctl", "-D", str(self._data), "-l", log, "-w", "-o", options, "start")
        if self.query(f"select 1 from pg_database where datname = '{DATABASE}'", "postgres") != "1":
            self.query(f"create database {DATABASE}", "postgres")

    def stop(self) -> None:
        """Stop it; sessions are cut."""
        if self.running:
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")

    def query(self, statement: str, database: str = DATABASE) -> str:
        """The answer of psql. The statement goes through a pipe: what it holds appears in no list of processes."""
        done = self._run("psql", *self._where, "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", said=statement)
        return done.stdout.strip()

    def dump(self) -> str:
        """The database as SQL."""
        return self._run("pg_dump", *self._where, "-d", DATABASE).stdout

    @property
    def _where(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)

    def _make(self) -> None:
        owner = _owner()
        self.folder.mkdir(parents=True, exist_ok=True)
        given = self.folder / "password"
        given.touch(mode=0o600)
        given.write_text(self.password)
        if owner is not None:
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            os.chown(given, owner.pw_uid, owner.pw_gid)
        self.folder.chmod(0o700)
        shutil.rmtree(self._data, ignore_errors=True)
        try:
            self._run(
                "initdb", "-D", str(self._data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={given}",
                "--encoding=UTF8", "--locale=C.UTF-8",
            )  # fmt: skip
        finally:
            given.unlink()

    def _run(
        self, program: str, *arguments: str, said: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        owner = _owner()
        who: Any = {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PGPASSWORD": self.password}
        try:
            done = subprocess.run(
                [str(programs() / program), *arguments], input=said or "", capture_output=True, text=True,
                cwd=self.folder, env=environment, check=False, **who,
            )  # fmt: skip
        except PermissionError:
            raise BringUpError(
                f"the user {owner.pw_name if owner else '?'!r}, as whom PostgreSQL runs, may not enter {self.folder}; "
                "set GATECAST_STATE to a folder that it may enter, such as /var/lib/gatecast"
            ) from None
        if check and done.returncode:
            raise BringUpError(f"{program}: {(done.stderr or done.stdout).strip()[-800:]} (log: {self.folder / 'log'})")
        return done


def programs() -> Path:
    """The folder of PostgreSQL's own programs, the newest release first. Raises BringUpError where there are none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: float(f.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    folders += [Path(on_path).resolve().parent] if on_path else []
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise BringUpError("PostgreSQL is not installed; on Debian: apt-get install postgresql")


def _owner() -> pwd.struct_passwd | None:
    """As whom PostgreSQL runs, where we are root and it refuses to."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise BringUpError(
            "PostgreSQL refuses to run as root, and there is no user postgres; make one (useradd --system postgres)"
        ) from None
