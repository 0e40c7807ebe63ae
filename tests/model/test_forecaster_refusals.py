"""Models that a forecaster refuses or ends: data outside the file, wrong shapes, computations without an end."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from model.external_data import names_external_data
from model.forecaster import SPEC_KEY, Forecaster
from model.spec import ModelSpec
from model.windows import Windows

_HORIZON, _LEVELS, _CONTEXT = 4, (0.1, 0.5, 0.9), 8
_SPEC = ModelSpec(
    "1h", "UTC", None, _HORIZON, _CONTEXT, 4, 4, _LEVELS, None, None, (), (), "quantile", "lstm", 4, 1, 1
)  # fmt: skip
_SHAPE = (1, _HORIZON, len(_LEVELS))


def model(
    shape: tuple[int, ...] = _SHAPE, declared: list[str | int] | None = None, repeats: int = 1
) -> onnx.ModelProto:
    """A model whose quantiles for B windows have the shape (B * shape[0], *shape[1:]), computed in a loop."""
    inputs = [
        helper.make_tensor_value_info("target", TensorProto.FLOAT, ["B", _CONTEXT]),
        helper.make_tensor_value_info("calendar", TensorProto.FLOAT, ["C", None, None]),
    ]
    sizes = declared if declared is not None else ["B", "H", "Q"]
    output = helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, sizes)
    count = int(np.prod(shape))
    constants = {
        "weights": np.ones((_CONTEXT, count), np.float32), "shape": np.array([-1, *shape[1:]]),
        "repeats": np.array(repeats), "yes": np.array(True),
    }  # fmt: skip
    step = helper.make_graph(
        [helper.make_node("Identity", ["was"], ["is"]), helper.make_node("Neg", ["before"], ["after"])], "step",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("was", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("is", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["target", "weights"], ["flat"]),
        helper.make_node("Loop", ["repeats", "yes", "flat"], ["turned"], body=step),
        helper.make_node("Reshape", ["turned", "shape"], ["quantiles"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "model", inputs, [output], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made.metadata_props.add(key=SPEC_KEY, value=_SPEC.to_json())
    return made


def windows(count: int = 3) -> Windows:
    empty = np.zeros((count, _CONTEXT + _HORIZON, 0), np.float32)
    calendar = np.zeros((1, _CONTEXT + _HORIZON, 2), np.float32)
    target = np.ones((count, _CONTEXT), np.float32)
    return Windows(target, empty, empty[:, :_CONTEXT], calendar, np.zeros(count, np.int64))


def test_a_model_of_the_right_shape_forecasts() -> None:
    quantiles = Forecaster(model().SerializeToString()).quantiles(windows())
    assert quantiles.shape == (3, _HORIZON, 3) and (quantiles == -_CONTEXT).all()


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64])
def test_quantiles_of_another_type_are_refused(kind: int) -> None:
    """Integers would publish quantiles without their decimals."""
    made = model()
    made.graph.node[-1].output[0] = "exact"
    made.graph.node.append(helper.make_node("Cast", ["exact"], ["quantiles"], to=kind))
    made.graph.output[0].type.tensor_type.elem_type = kind
    with pytest.raises(ValueError, match=r"its quantiles have the type tensor\(\w+\) instead of tensor\(float\)"):
        Forecaster(made.SerializeToString())


# NumPy repeats an axis of length 1, and a forecast of one step would be published as one of all steps.
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, _HORIZON, 1), (1, 1, 1), (2, _HORIZON, 3), (1, _HORIZON + 1, 3)])
def test_quantiles_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="its quantiles have the shape"):
        Forecaster(model(shape).SerializeToString()).quantiles(windows())
    if shape[1:] != _SHAPE[1:]:
        with pytest.raises(ValueError, match="not a Gatecast model: its quantiles have the shape"):
            Forecaster(model(shape, ["B", *shape[1:]]).SerializeToString())


def test_the_shape_is_checked_of_what_was_computed() -> None:
    forecaster = Forecaster(model((2, _HORIZON, 3)).SerializeToString())
    with pytest.raises(ValueError, match=r"its quantiles have the shape \(6, 4, 3\) instead of \(3, 4, 3\)"):
        forecaster.quantiles(windows())


def test_a_model_without_quantiles_is_refused() -> None:
    other = model()
    other.graph.output[0].name = other.graph.node[-1].output[0] = "values"
    with pytest.raises(ValueError, match="not a Gatecast model: it has no output 'quantiles', but values"):
        Forecaster(other.SerializeToString())


def external(tensor: onnx.TensorProto, path: Path) -> None:
    """Move the data of a tensor into a file."""
    path.write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path.name)


def test_data_outside_the_file_are_refused_also_if_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outside = model()
    external(outside.graph.initializer[0], tmp_path / "weights.bin")
    with pytest.raises(ValueError, match="it refers to data outside the file, which no hash covers"):
        Forecaster(outside.SerializeToString())


def test_data_outside_the_file_are_found_wherever_a_tensor_can_be(tmp_path: Path) -> None:
    made = [model() for _ in range(3)]
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "far")
    external(tensor, tmp_path / "far.bin")
    made[0].graph.node[1].attribute[0].g.initializer.append(tensor)
    made[1].graph.node.append(helper.make_node("Constant", [], ["far"], value=tensor))
    made[2].functions.add(name="f", domain="d").node.append(helper.make_node("Constant", [], ["far"], value=tensor))
    assert all(names_external_data(each.SerializeToString()) for each in made)
    named = model()
    named.graph.node[0].name = named.graph.doc_string = "location"
    named.metadata_props.add(key="location", value="here")
    assert not names_external_data(named.SerializeToString())


_CONTENT = model().SerializeToString()


@given(st.integers(0, len(_CONTENT) - 1), st.integers(0, 255))
def test_a_changed_file_is_searched_or_refused(place: int, byte: int) -> None:
    changed = bytearray(_CONTENT)
    changed[place] = byte
    for content in (bytes(changed), _CONTENT[:place]):
        try:
            assert names_external_data(content) in (True, False)
        except ValueError:
            pass


def test_a_model_without_an_end_ends_with_the_time() -> None:
    endless = Forecaster(model(repeats=2**62).SerializeToString(), threads=2)
    end = time.monotonic() + 0.5
    quantiles = endless.quantiles(windows(300), has_time=lambda: time.monotonic() < end)
    assert np.isnan(quantiles).all()
    assert time.monotonic() < end + 60
