"""Reduction of an ONNX file to the part that some outputs need.

The wheels of ONNX Runtime (1.32) compute every node of a graph, whichever outputs are requested, and their option
`only_execute_path_to_fetches` has no effect. The design of the linear expert alone takes a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Iterable

from model.protocol_buffers import encode_bytes, read_encoded_fields, read_fields

_GRAPH = 7  # field of ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # fields of GraphProto
_NODE_INPUT, _NODE_OUTPUT = 1, 2  # fields of NodeProto
_TENSOR_NAME, _VALUE_NAME = 8, 1  # fields of TensorProto and ValueInfoProto


def keep_outputs(onnx: bytes, outputs: Iterable[str]) -> bytes:
    """Return the file with the named outputs alone, and with the nodes, constants and inputs that they depend on.

    A graph within a node, as of `If`, must not use names of the graph around it.

    Raises:
        ValueError: The bytes are no protocol buffer.
    """
    wanted = frozenset(outputs)
    return b"".join(
        encode_bytes(_GRAPH, _reduce_graph(value, wanted))
        if number == _GRAPH and isinstance(value, memoryview)
        else bytes(encoded)
        for number, value, encoded in read_encoded_fields(memoryview(onnx))
    )


def _reduce_graph(graph: memoryview, outputs: frozenset[str]) -> bytes:
    fields = list(read_encoded_fields(graph))
    needed, kept = set(outputs), set()
    # Nodes are in topological order, so the consumers of a value come after the node that makes it.
    for index in range(len(fields) - 1, -1, -1):
        number, value, _ = fields[index]
        if number == _NODE and isinstance(value, memoryview) and needed.intersection(_names(value, _NODE_OUTPUT)):
            kept.add(index)
            needed.update(_names(value, _NODE_INPUT))
            needed.discard("")  # an input or output that a node does without
    # Name and requested names of the fields that are left out unless something needs them.
    reduced = {
        _INITIALIZER: (_TENSOR_NAME, needed), _INPUT: (_VALUE_NAME, needed), _OUTPUT: (_VALUE_NAME, outputs),
    }  # fmt: skip
    for index, (number, value, _) in enumerate(fields):
        if number in reduced and isinstance(value, memoryview):
            name, requested = reduced[number]
            if not requested.isdisjoint(_names(value, name)):
                kept.add(index)
        elif number != _NODE:
            kept.add(index)
    return b"".join(bytes(fields[index][2]) for index in sorted(kept))


def _names(message: memoryview, field: int) -> list[str]:
    """Return the texts of one field."""
    return [
        bytes(value).decode() for number, value in read_fields(message)
        if number == field and isinstance(value, memoryview)
    ]  # fmt: skip
