"""A real web server on this machine that answers as a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """A server: `web.answers[path]` is given the path with its query, and gives status, headers and body."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[str], tuple[int, dict[str, str], bytes]]] = {}
        self.asked: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append(self.path)
                status, headers, body = web.answers[self.path.split("?")[0]](self.path)
                self.send_response(status)
                for name, value in headers.items():
                    if name != "Content-Length":
                        self.send_header(name, value)
                # A longer length than the body's is a connection that is cut.
                self.send_header("Content-Length", headers.get("Content-Length", str(len(body))))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def give(self, path: str, *bodies: bytes | tuple[int, dict[str, str], bytes]) -> None:
        """Answer `path` with these bodies, one after the other; the last for ever."""
        left = [body if isinstance(body, tuple) else (200, {}, body) for body in bodies]
        self.answers[path] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def stop(self) -> None:
        """No answers any more, and the port is free."""
        self.server.shutdown()
        self.server.server_close()
