"""The picture of docs/lstm.md: `make picture`. A forecast of the sample, the gates that made it, and what moved it.

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

_GATES = {"input_gate": "#9a6b1f", "forget_gate": "#222", "output_gate": "#3b6fb6"}
_WIDTH = 370


def main(pipeline_path: str, series: str, issue: str, out: str) -> None:
    """Four panels: the forecast, the gates' means, what is left of each day in the cell, what each day moved."""
    pipeline = pipeline_file.read(Path(pipeline_path))
    at = clock.parse_time(issue, pipeline.pipeline.timezone)
    found = collect_inspection(pipeline, open_store(pipeline.pipeline.store), series, at, clock.now())
    encoder, decoder = (layer.trace for layer in found.layers if layer.member == layer.number == 0)
    assert isinstance(encoder, LSTMTrace) and isinstance(decoder, LSTMTrace)
    zone = ZoneInfo(pipeline.pipeline.timezone)
    first = found.issue_time.astimezone(zone)
    count, ahead = len(encoder.hidden_state), len(decoder.hidden_state)
    days = [f"{first + timedelta(days=day):%-d %b}" for day in range(-count, ahead)]
    gates = pl.concat(
        pl.DataFrame({"day": days, "gate": name.replace("_", " "), "mean": np.concatenate(
            [getattr(trace, name)[:, 0].mean(axis=1) for trace in (encoder, decoder)])})
        for name in _GATES
    )  # fmt: skip
    written = np.abs(encoder.state_contributions()[1:, 0]).sum(axis=1)
    past = pl.DataFrame(
        {"day": days[:count], "written": written / written.sum(),
         "moved": np.abs(found.effects.segments).mean(axis=1)}
    )  # fmt: skip
    apart = {"color": "independent"}  # each panel has its own legend beside it
    chart = alt.vconcat(
        alt.hconcat(forecast(found, zone), mean_gates(gates, days), spacing=30).resolve_scale(**apart),
        alt.hconcat(cells(encoder, decoder, days), bars(past, days, found.unit), spacing=30).resolve_scale(**apart),
        title=alt.Title(
            f"{series}, forecast issued {first:%Y-%m-%d %H:%M} local time, from the inside",
            subtitle="The encoder reads a day at a time; the last column is the decoder, on the day forecast",
            anchor="start",
        ),
        spacing=24,
    ).resolve_scale(**apart)
    chart = chart.configure_view(stroke=None).configure_axis(gridOpacity=0.4).configure_title(anchor="start")
    chart.save(out, scale_factor=2)
    print(f"wrote {out}")


def forecast(found: Inspection, zone: ZoneInfo) -> alt.LayerChart:
    """Three days of the context, the quantiles, and what came."""
    spec, horizon = found.spec, found.spec.horizon
    before = min(3 * spec.segment, spec.context)
    times = [t.astimezone(zone).replace(tzinfo=None) for t in found.period_starts(np.arange(-before, horizon))]
    values = np.concatenate([found.window.target[0, -before:], found.actuals]).astype(float)
    known = pl.DataFrame({"time": times, "y": values})
    quantiles = pl.DataFrame(found.quantiles, schema=[f"q{i}" for i in range(len(spec.levels))], orient="row")
    rows = alt.Chart(quantiles.with_columns(time=pl.Series(times[before:]))).encode(
        x=alt.X("time:T", title=None, axis=alt.Axis(format="%-d %b", tickCount="day"))
    )
    axis = {"title": found.unit, "scale": alt.Scale(zero=False)}
    middle, last = spec.levels.index(0.5), len(spec.levels) - 1
    bands = [
        rows.mark_area(opacity=0.22, color="#3b6fb6").encode(y=alt.Y(f"q{i}:Q", **axis), y2=f"q{last - i}:Q")
        for i in range(middle)
    ]
    median = rows.mark_line(color="#1d4e89", strokeWidth=2).encode(y=alt.Y(f"q{middle}:Q", **axis))
    line = alt.Chart(known).mark_line(color="#222", strokeWidth=1.5).encode(x="time:T", y=alt.Y("y:Q", **axis))
    return alt.layer(*bands, median, line).properties(
        width=_WIDTH, height=170, title="Load, and the quantiles forecast"
    )


def mean_gates(gates: pl.DataFrame, days: list[str]) -> alt.Chart:
    """A line a gate."""
    scale = alt.Scale(domain=[name.replace("_", " ") for name in _GATES], range=list(_GATES.values()))
    return alt.Chart(gates).mark_line(point=True).encode(
        x=_days(days), y=alt.Y("mean:Q", title=None, scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("gate:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
    ).properties(width=_WIDTH, height=170, title="How far the gates are open, mean over the units")  # fmt: skip


def cells(encoder: LSTMTrace, decoder: LSTMTrace, days: list[str]) -> alt.Chart:
    """The forget gate of every unit, those that keep longest on top."""
    forget = np.concatenate([encoder.forget_gate[:, 0], decoder.forget_gate[:, 0]])
    order = np.argsort(-encoder.forget_gate[:, 0].mean(axis=0))
    grid = pl.DataFrame(
        {"day": np.repeat(days, len(order)), "unit": np.tile(np.arange(len(order)), len(days)),
         "gate": forget[:, order].ravel()}
    )  # fmt: skip
    scale = alt.Scale(domain=[0, 1], range=["#ffffff", "#1d4e89"], interpolate="rgb")
    return alt.Chart(grid).mark_rect().encode(
        x=_days(days), y=alt.Y("unit:O", title="unit", axis=alt.Axis(labels=False, ticks=False)),
        color=alt.Color("gate:Q", title=None, scale=scale),
    ).properties(width=_WIDTH - 20, height=230, title="Forget gate of every unit (1 keeps all)")  # fmt: skip


def bars(past: pl.DataFrame, days: list[str], unit: str) -> alt.VConcatChart:
    """What each day wrote of the encoder's last cell state, and by how much hiding it moves the median."""

    def one(field: str, title: str, **axis: str) -> alt.Chart:
        return alt.Chart(past).mark_bar(color="#3b6fb6").encode(
            x=_days(days[: len(past)]), y=alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=4, **axis))
        ).properties(width=_WIDTH, height=85, title=title)  # fmt: skip

    return alt.vconcat(
        one("written", "Share of the encoder's last cell state that each day wrote", format="%"),
        one("moved", f"Mean change of the median when the day's load is hidden, {unit}"), spacing=18,
    )  # fmt: skip


def _days(days: list[str]) -> alt.X:
    return alt.X("day:N", title=None, sort=days, axis=alt.Axis(labelAngle=0, labelOverlap=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
