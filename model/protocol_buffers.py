"""Reading and writing of the fields of a protocol buffer, without the onnx package.

The import of onnx costs more than a night's use of it. Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def read_fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield number and value of each field: bytes, or an integer. Fields of fixed length are left out.

    Raises:
        ValueError: The bytes are no protocol buffer.
    """
    for number, value, _ in read_encoded_fields(message):
        if value is not None:
            yield number, value


def read_encoded_fields(message: memoryview) -> Iterator[tuple[int, memoryview | int | None, memoryview]]:
    """Yield number, value and encoding of each field. The value of a field of fixed length is None.

    Raises:
        ValueError: The bytes are no protocol buffer.
    """
    position, end = 0, len(message)
    while position < end:
        start = position
        value: memoryview | int | None = None
        tag, position = _read_varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _read_varint(message, position)
        elif kind == _BYTES:
            length, position = _read_varint(message, position)
            value, position = message[position : position + length], position + length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("it is no ONNX file")
        if position > end:
            raise ValueError("it is cut off")
        yield tag >> 3, value, message[start:position]


def encode_bytes(number: int, content: bytes) -> bytes:
    """Return the encoding of a field of bytes."""
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return an integer of variable length, and the position behind it."""
    value = shift = 0
    while True:
        if position == len(message):
            raise ValueError("it is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
