"""Search of an ONNX file for tensors whose data lie in another file.

ONNX Runtime would read such a file from the present folder. The hash of a model covers the ONNX file alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from model.protocol_buffers import read_fields

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
    return _is_external(memoryview(onnx), "model")


def _is_external(message: memoryview, kind: str) -> bool:
    inner = _FIELDS.get(kind, {})
    for field, value in read_fields(message):
        if kind == _TENSOR:
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                return True
        elif field in inner and isinstance(value, memoryview) and _is_external(value, inner[field]):
            return True
    return False
