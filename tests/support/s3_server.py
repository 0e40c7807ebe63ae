"""An S3 server on this machine, by moto.

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
    """A running server.

    Attributes:
        address: Endpoint of the server.
        client: boto3 client of the server.
    """

    def __init__(self, address: str) -> None:
        import boto3

        self.address = address
        self.client: Any = boto3.client(
            "s3", endpoint_url=address, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with the endpoint and credentials."""
        return self.credentials(self.address)

    @staticmethod
    def credentials(address: str) -> dict[str, str]:
        """Return environment variables with an endpoint and credentials."""
        return {
            "AWS_ENDPOINT_URL": address,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "planted-id",
            "AWS_SECRET_ACCESS_KEY": "planted-s3cret",
        }

    def reset(self) -> None:
        """Delete everything and create one empty bucket."""
        httpx.post(f"{self.address}/moto-api/reset")
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every user until the end of the block."""
        httpx.post(f"{self.address}/moto-api/reset-auth", content="0")
        try:
            yield
        finally:
            httpx.post(f"{self.address}/moto-api/reset-auth", content="1000000")

    def objects(self) -> list[str]:
        """Return every key of the bucket and of every unfinished multipart upload."""
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        uploads = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [entry["Key"] for entry in [*listed, *uploads]]


@contextmanager
def running() -> Iterator[S3Server]:
    """Run a server until the end of the block."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}")
    server.stop()


@contextmanager
def stalling_proxy(address: str, after: int) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Run a proxy that forwards `after` bytes of one request and then stalls until the block ends.

    Yields its address, and a function that waits until it stalls. At the end the server sees a broken request.
    """
    server = urlsplit(address)
    listener = socket.create_server(("127.0.0.1", 0))
    stalled, ended = threading.Event(), threading.Event()

    def forward() -> None:
        caller, _ = listener.accept()
        with caller, socket.create_connection((server.hostname, server.port)) as out:
            sent = 0
            while sent < after and (part := caller.recv(min(1 << 16, after - sent))):
                out.sendall(part)
                sent += len(part)
            stalled.set()
            ended.wait()
            out.shutdown(socket.SHUT_WR)
            # Wait until the server has handled the broken request.
            while out.recv(1 << 16):
                pass

    forwarder = threading.Thread(target=forward, daemon=True)
    forwarder.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: stalled.wait(60)
    finally:
        ended.set()
        forwarder.join(60)
        listener.close()
