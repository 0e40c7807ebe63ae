"""An HTTP server on this machine whose responses are set by a test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Response = tuple[int, dict[str, str], bytes]


class Web:
    """A running server.

    Attributes:
        answers: By path, a function from the path with its query to status, headers and body.
        requests: Paths with queries of all requests.
        address: Address of the server.
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

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def respond(self, path: str, *responses: bytes | Response) -> None:
        """Set the responses of `path`, in this order. The last one repeats. A body alone has status 200."""
        left = [response if isinstance(response, tuple) else (200, {}, response) for response in responses]
        self.answers[path] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def stop(self) -> None:
        """Stop the server and free its port."""
        self.server.shutdown()
        self.server.server_close()
