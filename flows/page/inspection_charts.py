"""The charts of an inspection as Vega-Lite specs, without data and without colours, as those of charts.py."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from flows.page.charts import column, fan, lines, plain, rows, spec
from flows.page.inspection import Inspection
from model.recurrent import LSTMTrace
from storage.schemas import quantile_column

_TALL = 300
_GATES = {"input_gate": "gate-input", "forget_gate": "gate-forget", "output_gate": "gate-output"}


def specs(found: Inspection) -> dict[str, dict[str, Any]]:
    """Every chart of the page by name."""
    unit = found.unit
    names = [quantile_column(level) for level in found.spec.levels]
    step = np.abs(found.effects.segments).max()
    made: dict[str, dict[str, Any]] = {
        "fan": fan(names, unit, earlier=False),
        "segments": _bars("size", f"mean change of the median, {unit}"),
        "steps": _map("step", step, f"change, {unit}", height=190, ticks=True),
        "hidden": lines({"hidden_state": "model"}, "mean size of the hidden state", column(), issue=True, zero=True),
        "hidden_state": _map("unit", 1.0, "hidden state"),
    }
    traces = [layer.trace for layer in found.layers]
    cells = [np.abs(trace.cell_state).max() for trace in traces if isinstance(trace, LSTMTrace)]
    if cells:
        states = {"cell_state": "gate-forget", "hidden_state": "model"}
        made |= {
            "gates": lines(_GATES, "mean over the units", column(), issue=True, domain=(0, 1)),
            "states": lines(states, "mean size over the units", column(), issue=True, zero=True),
            "written": _bars("written", "share of the last cell state", format="%"),
            "cell_state": _map("unit", max(cells), "cell state"),
            **{gate: _map("unit", None, gate.replace("_", " ")) for gate in _GATES},
        }
    return made


def _bars(field: str, title: str, format: str = ",f") -> dict[str, Any]:
    y = alt.Y(f"{field}:Q", title=title, axis=plain(format), scale=alt.Scale(zero=True))
    tooltip = [alt.Tooltip("when:N", title="segment"), alt.Tooltip(f"{field}:Q", title=title, format=".3~r")]
    x = column("left")
    return spec(rows().mark_rect(style="bin").encode(x=x, x2="right:Q", y=y, y2=alt.datum(0), tooltip=tooltip))


def _map(across: str, limit: float | None, title: str, height: int = _TALL, ticks: bool = False) -> dict[str, Any]:
    """A map of values from -limit to limit, or from 0 to 1: a column a segment, a row each of `across`."""
    scale = alt.Scale(domain=[0, 1], range="heatmap", interpolate="rgb")
    if limit is not None:
        scale = alt.Scale(domain=[-limit or -1, 0, limit or 1], range="diverging", interpolate="rgb")
    axis = plain(",d") if ticks else None
    y = alt.Y("low:Q", title=across, axis=axis, scale=alt.Scale(nice=False, zero=False, reverse=ticks))
    legend = alt.Legend(title=None, orient="right", gradientThickness=10, format=".3~r")
    tooltip = [
        alt.Tooltip("when:N", title="segment"), alt.Tooltip(f"{across}:Q"),
        alt.Tooltip("value:Q", title=title, format=".3~r"),
    ]  # fmt: skip
    cells = rows().mark_rect(style="cell").encode(
        x=column("left"), x2="right:Q", y=y, y2="high:Q", tooltip=tooltip,
        color=alt.Color("value:Q", scale=scale, legend=legend),
    )  # fmt: skip
    return spec(cells, height=height)
