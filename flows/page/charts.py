"""Charts of the report page as Vega-Lite specifications."""

from __future__ import annotations

from functools import cache
from typing import Any

import altair as alt

from flows.page.chart_data import VegaSpec
from flows.page.vega import (
    column_x,
    curves_spec,
    fan_spec,
    hover_layer,
    input_spec,
    layered_spec,
    line_spec,
    number_axis,
    past_spec,
    reference_line,
    row_chart,
)
from storage.schemas import quantile_column


# Altair takes a second for these specifications, and a process may write several pages of the same levels and unit.
@cache
def report_specs(
    levels: tuple[float, ...],
    unit: str,
    with_earlier: bool = True,
    last_title: str | None = None,
    is_single: bool = False,
) -> dict[str, VegaSpec]:
    """Return every chart of the report page by name.

    Args:
        levels: Quantile levels.
        unit: The target's unit.
        with_earlier: True if there is a forecast before the newest.
        last_title: Title of past forecasts of the last step, None to draw only the newest of each period.
        is_single: True if the page has one series, whose chart is larger.
    """
    names = [quantile_column(level) for level in levels]
    sums = {"forecast": ("median", "forecast"), "actual": ("actual", "actual"), "last_week": ("last-week", "last week")}
    if with_earlier:
        sums["earlier"] = ("earlier", "previous forecast")
    night_sum = {name: sums[name] for name in ("forecast", "actual")}
    errors = {"forecast": "model", "baseline": "baseline"}
    error_title = f"mean absolute error, {unit}"
    return {
        "fan": fan_spec(names, unit, with_earlier, **({"height": 320} if is_single else {})),
        "night": fan_spec(names, unit, with_earlier=False),
        "past": past_spec(names[0], names[-1], unit, last_title),
        "sum": curves_spec(sums, unit, height=260),
        "night-sum": curves_spec(night_sum, unit, height=260, extra={"error_text": "actual minus forecast"}),
        "input": input_spec(),
        "series-pinball": line_spec(
            {"pinball": "model", "baseline": "baseline"}, f"pinball, {unit}", column_x(), from_zero=True
        ),
        "skill": line_spec(
            {"skill": "model"}, "skill against the baseline", column_x(), number_format="%", target_value=0.0
        ),
        "coverage": line_spec(
            {"coverage": "model"}, "share inside the interval", column_x(), number_format="%", target_value=0.8,
            domain=(0, 1),
        ),
        "errors": line_spec(errors, error_title, column_x(), from_zero=True),
        "reliability": _reliability_spec(),
        "pit": _pit_spec(),
        "status": _status_spec(),
    }  # fmt: skip


def _reliability_spec() -> VegaSpec:
    scale = alt.Scale(domain=[0, 1])
    axis = number_axis("%")
    x = alt.X("level:Q", title="quantile level", scale=scale, axis=axis)
    y = alt.Y("share:Q", title="share of actuals at or below the quantile", scale=scale, axis=axis)
    tooltip = {"level": "quantile level", "share": "actuals at or below"}
    return layered_spec(
        row_chart().mark_line(style="ideal").encode(x=x, y=alt.Y("level:Q", axis=axis, scale=scale)),
        row_chart().mark_line(style="model").encode(x=x, y=y),
        row_chart().mark_point(style="model-point").encode(x=x, y=y),
        hover_layer(tooltip, dict.fromkeys(tooltip, ".1%"), alt.X("left:Q", axis=axis, scale=scale)),
    )


def _pit_spec() -> VegaSpec:
    y = alt.Y("density:Q", title="density, 1 if calibrated", axis=number_axis(), scale=alt.Scale(zero=True))
    axis, scale = number_axis("%"), alt.Scale(domain=[0, 1])
    x = alt.X("left:Q", title="quantile level", axis=axis, scale=scale)
    tooltip = {"left": "from level", "right": "to level", "density": "density"}
    formats = {"left": ".0%", "right": ".0%", "density": ".2f"}
    return layered_spec(
        row_chart().mark_rect(style="bin").encode(x=x, x2="right:Q", y=y, y2=alt.datum(0)),
        reference_line(1.0),
        hover_layer(tooltip, formats, x),
    )


def _status_spec() -> VegaSpec:
    """Return one stacked bar per issue time; from the bottom: model, stale model, baseline, not published."""
    x = column_x("left")
    styles = {"model": "status-model", "stale": "status-stale", "baseline": "status-baseline", "none": "status-none"}
    layers, below = [], "zero"
    tooltip = [alt.Tooltip("when:N", title="night"), alt.Tooltip("rows_text:N", title="rows")]
    shares: dict[str, Any] = {"title": "share of rows", "axis": number_axis("%"), "scale": alt.Scale(domain=[0, 1])}
    for top, style in styles.items():
        y = alt.Y(f"{'zero' if top == 'none' else below}:Q", **shares)
        bars = row_chart().mark_rect(style=style).encode(x=x, x2="right:Q", y=y, y2=f"{top}:Q", tooltip=tooltip)
        opacity = alt.condition("datum.none === 1", alt.value(float(top == "none")), alt.value(float(top != "none")))
        layers.append(bars.encode(opacity=opacity))
        below = top
    return layered_spec(*layers, height=120)
