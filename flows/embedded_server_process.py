"""Main module of the embedded server's process, which ends when its standard input closes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from typing import IO, Any

from flows.private_files import make_private, sqlite_path

_END_LIMIT = 3.0  # seconds for the requests in progress


def _main() -> None:
    # Only the port may go to standard output. Text that a library prints goes to the errors of the command.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # All that the server writes is for its user only: the database, its log of transactions and results.
    os.umask(0o077)
    end = _End()
    threading.Thread(target=end.wait_for_parent, daemon=True).start()
    # These imports take seconds, and the parent may end in them.
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    url = settings.server.database.connection_url
    database = settings.home / "prefect.db" if url is None else sqlite_path(url.get_secret_value())
    make_private(settings.home, database)

    class Server(uvicorn.Server):
        """A server that writes its port when it accepts requests."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                _write_port(output, listener)

    # The system chooses a free port, and no other process can take it in between.
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(final=True), log_level="error", lifespan="on", timeout_graceful_shutdown=2)
    end.server = server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    sys.exit(0 if server.started else 1)


def _write_port(output: IO[str], listener: socket.socket) -> None:
    output.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    output.close()


class _End:
    """End of this process when its parent is gone.

    Attributes:
        server: The server, None while its libraries load.
    """

    def __init__(self) -> None:
        self.server: Any = None

    def wait_for_parent(self) -> None:
        """End the server when standard input ends, at the latest after some seconds."""
        while sys.stdin.read(1):
            pass
        if self.server is not None:
            self.server.should_exit = True
            time.sleep(_END_LIMIT)
        os._exit(0)


if __name__ == "__main__":
    _main()
