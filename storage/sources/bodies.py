"""Bodies of HTTP responses: decompressed part by part within a limit, and complete."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

import httpx

#: Compressions that a request accepts. Others would be decompressed without a limit.
ACCEPTED = "gzip, deflate"
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_PART = 1 << 20  # bytes
_ENDS = b"\n\r}]>"  # last bytes of complete CSV, JSON and XML


class IncompleteBody(Exception):
    """A body that ends before its content does."""


def read_body(response: httpx.Response, count: Callable[[int], None]) -> bytes:
    """Return the decompressed body of a response.

    Args:
        response: Response whose body was not read.
        count: Called with the length of each decompressed part. It raises an error if there are too many bytes.

    Raises:
        IncompleteBody: The body ends too early, or its compression is another or damaged.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    body = bytearray()
    for part in _decompress(response.iter_raw(), encoding):
        count(len(part))
        body += part
    has_length = "content-length" in response.headers or "transfer-encoding" in response.headers
    if not has_length and encoding == "identity" and body and body[-1] not in _ENDS:
        raise IncompleteBody("the response has no length and ends within a line, so it may be cut")
    return bytes(body)


def _decompress(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding in ("identity", ""):
        yield from parts
        return
    if encoding not in _WINDOW:
        raise IncompleteBody(f"the response has the compression {encoding!r}, which was not requested")
    decoder = zlib.decompressobj(_WINDOW[encoding])
    is_begun = False
    try:
        for part in parts:
            rest = part
            while rest:
                if decoder.eof:  # another member of a gzip file follows
                    decoder = zlib.decompressobj(_WINDOW[encoding])
                if unpacked := decoder.decompress(rest, _PART):
                    yield unpacked
                rest = decoder.unconsumed_tail or decoder.unused_data
                is_begun = True
    except zlib.error as error:
        raise IncompleteBody(f"the response is not {encoding}: {error}") from None
    if is_begun and not decoder.eof:
        raise IncompleteBody(f"the response ends within its {encoding} data")
