"""HTTP servers on this machine: one whose responses are set by a test, and one that keeps what is posted to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Response = tuple[int, dict[str, str], bytes]
#: Seconds between two looks for a request to stop. The library's default of 0.5 s would be half of the quick tests.
_POLL = 0.01


class _HttpServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: some tests have a client that gives up and breaks the connection."""


class LocalServer:
    """A running server on a free port.

    Attributes:
        address: Address of the server.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = _HttpServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True).start()

    def stop(self) -> None:
        """Stop the server and free its port."""
        self._server.shutdown()
        self._server.server_close()


class PostReceiver(LocalServer):
    """A running server that keeps the JSON objects posted to it.

    Attributes:
        posts: Path and object of each request, in the order of arrival.
    """

    def __init__(self, status: int, respond: Callable[[Any], Any] = lambda _: None) -> None:
        """Start the server.

        Args:
            status: Status of each response.
            respond: Return the response's JSON value for a posted object. Null gives an empty response.
        """
        self.posts: list[tuple[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.posts.append((self.path, posted))
                value = respond(posted)
                body = b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                if body:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)


class Web(LocalServer):
    """A running server whose responses are set by a test.

    Attributes:
        answers: By path, a function from the path with its query to status, headers and body.
        requests: Paths with queries of all requests.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[str], Response]] = {}
        self.requests: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append(self.path)
                status, headers, body = web.answers[self.path.split("?")[0]](self.path)
                self.send_response(status)
                for name, value in headers.items():
                    if name != "Content-Length":
                        self.send_header(name, value)
                # A declared length beyond the body's makes the connection break within the response.
                self.send_header("Content-Length", headers.get("Content-Length", str(len(body))))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)

    def respond(self, path: str, *responses: bytes | Response) -> None:
        """Set the responses of `path`, in this order. The last one repeats. A body alone has status 200."""
        left = [response if isinstance(response, tuple) else (200, {}, response) for response in responses]
        self.answers[path] = lambda _: left.pop(0) if len(left) > 1 else left[0]
