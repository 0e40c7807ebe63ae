"""Picture of docs/lstm.md: a forecast of the sample, its gates and the effects of its inputs.

`make picture` runs it:
python -m docs.gates_picture PIPELINE_FILE SERIES ISSUE_TIME OUT.png
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import altair as alt
import numpy as np
import polars as pl

from flows import clock
from flows.page.inspection import Inspection
from flows.settings import file as pipeline_file
from flows.stages.inspect import collect_inspection
from model.recurrent import LSTMTrace
from storage.store import open_store

_GATE_COLOURS = {"input_gate": "#9a6b1f", "forget_gate": "#222", "output_gate": "#3b6fb6"}
_WIDTH = 370


def main(pipeline_path: str, series: str, issue: str, out: str) -> None:
    """Draw four panels: forecast, mean gates, forget gate of every unit, contribution and effect of each day."""
    settings = pipeline_file.read(Path(pipeline_path))
    issue_time = clock.parse_time(issue, settings.pipeline.timezone)
    store = open_store(settings.pipeline.store)
    inspection = collect_inspection(settings, store, series, issue_time, clock.now())
    encoder, decoder = (layer.trace for layer in inspection.layers if layer.member == layer.number == 0)
    assert isinstance(encoder, LSTMTrace) and isinstance(decoder, LSTMTrace)
    zone = ZoneInfo(settings.pipeline.timezone)
    local_issue = inspection.issue_time.astimezone(zone)
    context_days, horizon_days = len(encoder.hidden_state), len(decoder.hidden_state)
    days = [f"{local_issue + timedelta(days=day):%-d %b}" for day in range(-context_days, horizon_days)]
    top = alt.hconcat(
        forecast_chart(inspection, zone), mean_gates_chart(encoder, decoder, days), spacing=30
    ).resolve_scale(color="independent")
    bottom = alt.hconcat(
        forget_gate_chart(encoder, decoder, days), day_charts(inspection, encoder, days), spacing=30
    ).resolve_scale(color="independent")
    title = alt.Title(
        f"{series}, forecast issued {local_issue:%Y-%m-%d %H:%M} local time: gates and effects",
        subtitle="The encoder reads one day per step. The last column is the decoder, on the forecast day.",
        anchor="start",
    )
    chart = alt.vconcat(top, bottom, title=title, spacing=24).resolve_scale(color="independent")
    chart = chart.configure_view(stroke=None).configure_axis(gridOpacity=0.4).configure_title(anchor="start")
    chart.save(out, scale_factor=2)
    print(f"wrote {out}")


def forecast_chart(inspection: Inspection, zone: ZoneInfo) -> alt.LayerChart:
    """Return the last three days of the context, the quantiles, and the actuals."""
    spec, horizon = inspection.spec, inspection.spec.horizon
    before = min(3 * spec.segment, spec.context)
    starts = inspection.period_starts(np.arange(-before, horizon))
    times = [start.astimezone(zone).replace(tzinfo=None) for start in starts]
    values = np.concatenate([inspection.window.target[0, -before:], inspection.actuals]).astype(float)
    known = pl.DataFrame({"time": times, "y": values})
    quantiles = pl.DataFrame(inspection.quantiles, schema=[f"q{i}" for i in range(len(spec.levels))], orient="row")
    rows = alt.Chart(quantiles.with_columns(time=pl.Series(times[before:]))).encode(
        x=alt.X("time:T", title=None, axis=alt.Axis(format="%-d %b", tickCount="day"))
    )
    scale = alt.Scale(zero=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=inspection.unit, scale=scale)

    middle, last = spec.levels.index(0.5), len(spec.levels) - 1
    bands = [
        rows.mark_area(opacity=0.22, color="#3b6fb6").encode(y=y(f"q{i}"), y2=f"q{last - i}:Q") for i in range(middle)
    ]
    median = rows.mark_line(color="#1d4e89", strokeWidth=2).encode(y=y(f"q{middle}"))
    line = alt.Chart(known).mark_line(color="#222", strokeWidth=1.5).encode(x="time:T", y=y("y"))
    chart: alt.LayerChart = alt.layer(*bands, median, line).properties(
        width=_WIDTH, height=170, title="Load and quantile forecast"
    )  # type: ignore[assignment]
    return chart


def mean_gates_chart(encoder: LSTMTrace, decoder: LSTMTrace, days: list[str]) -> alt.Chart:
    """Return one line per gate: its mean over the units."""
    rows = pl.concat(
        pl.DataFrame({"day": days, "gate": name.replace("_", " "), "mean": np.concatenate(
            [getattr(trace, name)[:, 0].mean(axis=1) for trace in (encoder, decoder)])})
        for name in _GATE_COLOURS
    )  # fmt: skip
    names = [name.replace("_", " ") for name in _GATE_COLOURS]
    scale = alt.Scale(domain=names, range=list(_GATE_COLOURS.values()))
    chart: alt.Chart = alt.Chart(rows).mark_line(point=True).encode(
        x=_day_axis(days), y=alt.Y("mean:Q", title=None, scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("gate:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
    ).properties(width=_WIDTH, height=170, title="Mean opening of the gates over the units")  # fmt: skip
    return chart


def forget_gate_chart(encoder: LSTMTrace, decoder: LSTMTrace, days: list[str]) -> alt.Chart:
    """Return a heat map of the forget gate, one row per unit, the largest mean on top."""
    forget = np.concatenate([encoder.forget_gate[:, 0], decoder.forget_gate[:, 0]])
    order = np.argsort(-encoder.forget_gate[:, 0].mean(axis=0))
    rows = pl.DataFrame(
        {"day": np.repeat(days, len(order)), "unit": np.tile(np.arange(len(order)), len(days)),
         "gate": forget[:, order].ravel()}
    )  # fmt: skip
    scale = alt.Scale(domain=[0, 1], range=["#ffffff", "#1d4e89"], interpolate="rgb")
    chart: alt.Chart = alt.Chart(rows).mark_rect().encode(
        x=_day_axis(days), y=alt.Y("unit:O", title="unit", axis=alt.Axis(labels=False, ticks=False)),
        color=alt.Color("gate:Q", title=None, scale=scale),
    ).properties(width=_WIDTH - 20, height=230, title="Forget gate of every unit (1: cell state kept)")  # fmt: skip
    return chart


def day_charts(inspection: Inspection, encoder: LSTMTrace, days: list[str]) -> alt.VConcatChart:
    """Return each day's share of the encoder's last cell state, and its effect on the median."""
    contributions = np.abs(encoder.state_contributions()[1:, 0]).sum(axis=1)
    rows = pl.DataFrame(
        {"day": days[: len(contributions)], "share": contributions / contributions.sum(),
         "effect": np.abs(inspection.effects.segments).mean(axis=1)}
    )  # fmt: skip

    def bar_chart(field: str, title: str, number_format: str = "") -> alt.Chart:
        axis = alt.Axis(tickCount=4, format=number_format)
        chart: alt.Chart = alt.Chart(rows).mark_bar(color="#3b6fb6").encode(
            x=_day_axis(days[: len(rows)]), y=alt.Y(f"{field}:Q", title=None, axis=axis)
        ).properties(width=_WIDTH, height=85, title=title)  # fmt: skip
        return chart

    return alt.vconcat(
        bar_chart("share", "Share of the encoder's last cell state written on each day", "%"),
        bar_chart("effect", f"Mean absolute change of the median without the day's load, {inspection.unit}"),
        spacing=18,
    )


def _day_axis(days: list[str]) -> alt.X:
    return alt.X("day:N", title=None, sort=days, axis=alt.Axis(labelAngle=0, labelOverlap=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
