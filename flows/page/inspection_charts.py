"""Charts of the inspection page as Vega-Lite specifications."""

from __future__ import annotations

import altair as alt
import numpy as np

from flows.page.chart_data import VegaSpec
from flows.page.inspection import Inspection
from flows.page.vega import column_x, fan_spec, layered_spec, line_spec, number_axis, row_chart
from model.recurrent import LSTMTrace
from storage.schemas import quantile_column

_MAP_HEIGHT = 300
_GATE_STYLES = {"input_gate": "gate-input", "forget_gate": "gate-forget", "output_gate": "gate-output"}


def inspection_specs(inspection: Inspection) -> dict[str, VegaSpec]:
    """Return every chart of the inspection page by name."""
    unit = inspection.unit
    names = [quantile_column(level) for level in inspection.spec.levels]
    largest_effect = float(np.abs(inspection.effects.segments).max())
    specs: dict[str, VegaSpec] = {
        "fan": fan_spec(names, unit, with_earlier=False),
        "covariates": _bar_spec("size", f"mean absolute change of the median, {unit}", label="covariate"),
        "segments": _bar_spec("size", f"mean absolute change of the median, {unit}"),
        "steps": _map_spec("step", largest_effect, f"change, {unit}", height=190, with_row_axis=True),
        "hidden": line_spec(
            {"hidden_state": "model"}, "mean absolute hidden state", column_x(), with_issue=True, from_zero=True
        ),
        "hidden_state": _map_spec("unit", 1.0, "hidden state"),
    }
    traces = [layer.trace for layer in inspection.layers]
    cell_limits = [float(np.abs(trace.cell_state).max()) for trace in traces if isinstance(trace, LSTMTrace)]
    if cell_limits:
        state_styles = {"cell_state": "gate-forget", "hidden_state": "model"}
        specs |= {
            "gates": line_spec(_GATE_STYLES, "mean over the units", column_x(), with_issue=True, domain=(0, 1)),
            "states": line_spec(
                state_styles, "mean absolute state over the units", column_x(), with_issue=True, from_zero=True
            ),
            "cell_state_share": _bar_spec("cell_state_share", "share of the last cell state", number_format="%"),
            "cell_state": _map_spec("unit", max(cell_limits), "cell state"),
            **{gate: _map_spec("unit", None, gate.replace("_", " ")) for gate in _GATE_STYLES},
        }
    return specs


def _bar_spec(field: str, title: str, number_format: str = ",f", label: str = "segment") -> VegaSpec:
    y = alt.Y(f"{field}:Q", title=title, axis=number_axis(number_format), scale=alt.Scale(zero=True))
    tooltip = [alt.Tooltip("when:N", title=label), alt.Tooltip(f"{field}:Q", title=title, format=".3~r")]
    x = column_x("left")
    bars = row_chart().mark_rect(style="bin").encode(x=x, x2="right:Q", y=y, y2=alt.datum(0), tooltip=tooltip)
    return layered_spec(bars)


def _map_spec(
    row_field: str, limit: float | None, title: str, height: int = _MAP_HEIGHT, with_row_axis: bool = False
) -> VegaSpec:
    """Return a heat map with one column per segment.

    Args:
        row_field: Name of the rows.
        limit: The colour scale reaches from -limit to limit. With None it reaches from 0 to 1.
        title: Title of the values.
        height: Height in pixels.
        with_row_axis: True to number the rows, with the first on top.
    """
    scale = alt.Scale(domain=[0, 1], range="heatmap", interpolate="rgb")
    if limit is not None:
        scale = alt.Scale(domain=[-limit or -1, 0, limit or 1], range="diverging", interpolate="rgb")
    axis = number_axis(",d") if with_row_axis else None
    y = alt.Y("low:Q", title=row_field, axis=axis, scale=alt.Scale(nice=False, zero=False, reverse=with_row_axis))
    legend = alt.Legend(title=None, orient="right", gradientThickness=10, format=".3~r")
    tooltip = [
        alt.Tooltip("when:N", title="segment"), alt.Tooltip(f"{row_field}:Q"),
        alt.Tooltip("value:Q", title=title, format=".3~r"),
    ]  # fmt: skip
    cells = row_chart().mark_rect(style="cell").encode(
        x=column_x("left"), x2="right:Q", y=y, y2="high:Q", tooltip=tooltip,
        color=alt.Color("value:Q", scale=scale, legend=legend),
    )  # fmt: skip
    return layered_spec(cells, height=height)
