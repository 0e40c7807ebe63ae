"""The part of an ONNX file that some outputs need, compared with that of the onnx package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from model.onnx_runtime import ort
from model.partial_graph import keep_outputs


def model() -> onnx.ModelProto:
    """Return a graph of two outputs, each with an input and a constant of its own, and one of both."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in "abcd"]
    constants = [
        numpy_helper.from_array(np.full((1, 2), number, np.float32), name)
        for number, name in ((1, "one"), (2, "two"), (3, "three"))
    ]
    nodes = [
        helper.make_node("Add", ["a", "one"], ["shared"]),
        helper.make_node("Mul", ["shared", "two"], ["c"]),
        # `Clip` has no lower bound here: the empty name is no value.
        helper.make_node("Clip", ["b", "", "most"], ["low"]),
        helper.make_node("ReduceMax", ["three"], ["most"], keepdims=0),
        helper.make_node("Add", ["shared", "low"], ["d"]),
    ]
    nodes[2], nodes[3] = nodes[3], nodes[2]
    graph = helper.make_graph(nodes, "g", values[:2], values[2:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    made.metadata_props.add(key="k", value="v")
    onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize("output", ["c", "d"])
def test_the_part_of_an_output_is_that_of_the_onnx_package(output: str) -> None:
    whole = model()
    part = onnx.load_from_string(keep_outputs(whole.SerializeToString(), [output]))
    expected = Extractor(whole).extract_model(["a"] if output == "c" else ["a", "b"], [output])
    for field in ("node", "input", "output", "initializer"):
        names = [sorted(str(each) for each in getattr(one.graph, field)) for one in (part, expected)]
        assert names[0] == names[1], field
    assert part.opset_import == whole.opset_import and part.metadata_props == whole.metadata_props
    onnx.checker.check_model(part)


def test_both_parts_compute_what_the_whole_computes() -> None:
    content = model().SerializeToString()
    a, b = np.array([[1, 2], [3, 4]], np.float32), np.array([[5, 1], [-7, 0]], np.float32)
    whole = ort.InferenceSession(content).run(["c", "d"], {"a": a, "b": b})
    (c,) = ort.InferenceSession(keep_outputs(content, ["c"])).run(None, {"a": a})
    (d,) = ort.InferenceSession(keep_outputs(content, ["d"])).run(None, {"a": a, "b": b})
    np.testing.assert_array_equal(np.stack([c, d]), np.stack(whole))


_CONTENT = model().SerializeToString()


@given(st.integers(0, len(_CONTENT) - 1), st.integers(0, 255))
def test_a_changed_file_is_reduced_or_refused(place: int, byte: int) -> None:
    changed = bytearray(_CONTENT)
    changed[place] = byte
    for content in (bytes(changed), _CONTENT[:place]):
        try:
            assert len(keep_outputs(content, ["c"])) <= len(content) + 8
        except ValueError:
            pass
