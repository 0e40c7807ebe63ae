"""Search of an ONNX file for tensors whose data lie in another file, without the onnx package.

ONNX Runtime would read such a file from the present folder. The hash of a model covers the ONNX file alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of TensorProto
_TENSOR = "tensor"
#: Kind of the message in each field that may lead to a tensor, by the kind of the message around it (onnx.proto).
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
}


def names_external_data(onnx: bytes) -> bool:
    """Return whether a tensor of the file has its data elsewhere.

    Raises:
        ValueError: The bytes are no protocol buffer.
    """
    try:
        return _is_external(memoryview(onnx), "model")
    except IndexError:
        raise ValueError("it is cut off") from None


def _is_external(message: memoryview, kind: str) -> bool:
    inner = _FIELDS.get(kind, {})
    for field, value in _fields(message):
        if kind == _TENSOR:
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                return True
        elif field in inner and isinstance(value, memoryview) and _is_external(value, inner[field]):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield number and value of each field: bytes, or an integer."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _read_varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            yield tag >> 3, value
        elif kind == _BYTES:
            length, position = _read_varint(message, position)
            if position + length > end:
                raise ValueError("it is cut off")
            yield tag >> 3, message[position : position + length]
            position += length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("it is no ONNX file")


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return an integer of variable length, and the position behind it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
