"""A PostgreSQL server on this machine, started for a session of tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _programs() -> Path | None:
    """Return the folder of PostgreSQL's own programs. Programs on the path may be wrappers."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders += [Path(on_path).parent] if on_path else []
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextmanager
def running() -> Iterator[str]:
    """Run a new PostgreSQL and yield its uri, with the user `reader` and a password."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    # PostgreSQL refuses to run as root.
    root = os.geteuid() == 0
    owner = pwd.getpwnam("postgres" if any(u.pw_name == "postgres" for u in pwd.getpwall()) else "nobody")
    base = Path(tempfile.mkdtemp(prefix="gatecast-postgres-"))
    if root:
        os.chown(base, owner.pw_uid, owner.pw_gid)

    def run(*command: str) -> None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(base)}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=base, env=environment, check=False,
            user=owner.pw_uid if root else None, group=owner.pw_gid if root else None,
            extra_groups=[] if root else None,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout

    data, log = base / "data", base / "log"
    secret = base / "secret"
    secret.write_text("planted-s3cret")
    secret.chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run(str(programs / "initdb"), "-D", str(data), "-U", "reader", "--auth=scram-sha-256", f"--pwfile={secret}")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={base} -c fsync=off"
    run(str(programs / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
    try:
        yield f"postgresql://reader:planted-s3cret@127.0.0.1:{port}/postgres"
    finally:
        run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(base, ignore_errors=True)
