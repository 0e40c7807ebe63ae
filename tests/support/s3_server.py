"""A real server of the S3 protocol on this machine: moto's.

moto and boto3 are imported late: they take a second, and most tests need neither.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

REGION = "eu-central-1"
BUCKET = "market"


class S3Server:
    """A running server: `address` is its endpoint, `client` boto3's for it."""

    def __init__(self, address: str) -> None:
        import boto3

        self.address = address
        self.client: Any = boto3.client(
            "s3", endpoint_url=address, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )

    @property
    def environment(self) -> dict[str, str]:
        """Where and who, as AWS names it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "planted-id",
            "AWS_SECRET_ACCESS_KEY": "planted-s3cret",
        }

    def reset(self) -> None:
        """One bucket, empty."""
        httpx.post(f"{self.address}/moto-api/reset")
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """The server knows no user and checks each from now on."""
        httpx.post(f"{self.address}/moto-api/reset-auth", content="0")
        try:
            yield
        finally:
            httpx.post(f"{self.address}/moto-api/reset-auth", content="1000000")

    def objects(self) -> list[str]:
        """Every key of the bucket, and every upload in parts that was begun."""
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        begun = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [entry["Key"] for entry in [*listed, *begun]]


@contextmanager
def running() -> Iterator[S3Server]:
    """A server, until the end of the block."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}")
    server.stop()


@contextmanager
def line_that_stops(address: str, after: int) -> Iterator[tuple[str, Callable[[], bool]]]:
    """A line to the server that carries `after` bytes of one request, and no more until the block ends.

    Gives its address, and what waits until it has stopped. The server then sees the request break off.
    """
    server = urlsplit(address)
    listener = socket.create_server(("127.0.0.1", 0))
    stopped, given_up = threading.Event(), threading.Event()

    def carry() -> None:
        caller, _ = listener.accept()
        with caller, socket.create_connection((server.hostname, server.port)) as out:
            carried = 0
            while carried < after and (part := caller.recv(min(1 << 16, after - carried))):
                out.sendall(part)
                carried += len(part)
            stopped.set()
            given_up.wait()
            out.shutdown(socket.SHUT_WR)
            # Until the server has made up its mind about what came.
            while out.recv(1 << 16):
                pass

    carrier = threading.Thread(target=carry, daemon=True)
    carrier.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: stopped.wait(60)
    finally:
        given_up.set()
        carrier.join(60)
        listener.close()
