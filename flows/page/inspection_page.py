"""One forecast of one series, seen from the inside: facts -> one HTML file."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from flows.page import document
from flows.page.inspection import Inspection
from flows.page.local_time import LocalTimes
from flows.page.number_format import figure, percent
from model.occlusion import segment_bounds
from model.recurrent import LSTMTrace, RecurrentLayer
from storage.schemas import quantile_column

_DAILY = ("1d", "1b")
_SCRIPTS = ("theme.js", "drawing.js", "unpack.js", "inspect.js")
_UNITS = 256  # of a layer drawn; of a larger one every so many
_LAYERS = 8  # whose units are drawn; the means of all are


def render(found: Inspection) -> str:
    """The page."""
    # Late: Altair takes half a second, and no other command draws.
    from flows.page.inspection_charts import specs

    times = LocalTimes(found.settings.pipeline.timezone, found.settings.pipeline.frequency in _DAILY)
    segments = _segments(found, times)
    covariates = _covariates(found)
    layers = [_layer(found, at, segments) for at in _pairs(found.layers)]
    fan = _fan(found, times)
    begin = found.spec.context - min(found.spec.context, max(found.spec.horizon, 2 * found.spec.segment))
    close = [row for row in fan["rows"] if row["x"] >= begin]
    charts = {"fan": fan, "close": fan | {"rows": close}, **_moved(found, segments)}
    for number, layer in enumerate(layers):
        charts |= {f"{name}-{number}": chart for name, chart in layer["charts"].items()}
    content = {"specs": specs(found), "charts": charts}
    median = found.quantiles[:, found.spec.levels.index(0.5)]
    return document.write(
        "inspect.html", _SCRIPTS, content,
        series=found.series_id, pipeline=found.settings, unit=found.unit, spec=found.spec, manifest=found.manifest,
        issue=times.moment(found.issue_time, year=True), made_at=times.moment(found.made_at, year=True),
        notes=found.notes, low=figure(median.min()), high=figure(median.max()),
        came=int(np.isfinite(found.actuals).sum()), as_of=_told(found.manifest["as_of"], times),
        trained_at=_told(found.manifest.get("trained_at"), times),
        fitted_to=_told(found.manifest.get("fitted_to"), times),
        seen=percent(float(np.isfinite(found.window.target).mean())), known=bool(found.window.series[0]),
        segments=segments["table"], covariates=covariates, first_segment=_strongest(segments), layers=layers,
        forecast=_table(found, times),
    )  # fmt: skip


def _told(instant: str | None, times: LocalTimes) -> str:
    return "not on record" if instant is None else times.moment(datetime.fromisoformat(instant), year=True)


def _fan(found: Inspection, times: LocalTimes) -> dict[str, Any]:
    """The context, the quantiles and what came: a row a period."""
    context, horizon = found.spec.context, found.spec.horizon
    actual = np.concatenate([found.window.target[0], found.actuals])
    starts = found.period_starts(np.arange(-context, horizon))
    names = [quantile_column(level) for level in found.spec.levels]
    rows: list[dict[str, Any]] = []
    for x, start in enumerate(starts):
        row: dict[str, Any] = {
            "x": x, "when": times.period(start), "actual": _number(actual[x]), "came": figure(float(actual[x])),
            "median": "\N{EN DASH}", "span": "\N{EN DASH}",
        }  # fmt: skip
        if x >= context:
            values = dict(zip(names, map(_number, found.quantiles[x - context]), strict=True))
            low, high = (figure(values[name]) for name in (names[0], names[-1]))
            row |= values | {"median": figure(values["q50"]), "span": f"{low} to {high}"}
        rows.append(row)
    return {"spec": "fan", "rows": rows, "ticks": times.ticks(starts), "more": {"issue": [{"x": context - 0.5}]}}


def _segments(found: Inspection, times: LocalTimes) -> dict[str, Any]:
    """The steps of the recurrence, those of the encoder and then those of the decoder, and what each moved."""
    spec = found.spec
    past = segment_bounds(spec.context, spec.segment) - spec.context
    ahead = np.minimum(np.arange(0, -(-spec.horizon // spec.segment) + 1) * spec.segment, spec.horizon)
    bounds = np.concatenate([past, ahead[1:]])
    starts, last = found.period_starts(bounds[:-1]), found.period_starts(bounds[1:] - 1)
    spans = [
        times.period(begin) if begin == end else f"{times.period(begin)} to {times.period(end)}"
        for begin, end in zip(starts, last, strict=True)
    ]
    size = np.abs(found.effects.segments).mean(axis=1)
    return {
        "spans": spans,
        "ticks": times.segments(starts, len(past) - 1),
        "past": len(past) - 1,
        "size": size,
        "table": [
            {"when": span, "size": figure(value), "change": figure(change)}
            for span, value, change in zip(spans, size, found.effects.segments.mean(axis=1), strict=False)
        ],
    }


def _strongest(segments: dict[str, Any]) -> dict[str, str]:
    return segments["table"][int(segments["size"].argmax())]


def _moved(found: Inspection, segments: dict[str, Any]) -> dict[str, Any]:
    ticks = [tick for tick in segments["ticks"] if tick.at < segments["past"]]
    sizes = [
        {"left": x - 0.45, "right": x + 0.45, "when": segments["spans"][x], "size": _number(value)}
        for x, value in enumerate(segments["size"])
    ]
    cells = [
        {"left": x - 0.5, "right": x + 0.5, "low": step + 0.5, "high": step + 1.5, "when": segments["spans"][x],
         "step": step + 1, "value": _number(value)}
        for x, changes in enumerate(found.effects.segments)
        for step, value in enumerate(changes)
    ]  # fmt: skip
    return {
        "segments": {"spec": "segments", "rows": sizes, "ticks": ticks},
        "steps": {"spec": "steps", "rows": cells, "ticks": ticks},
    }


def _covariates(found: Inspection) -> list[dict[str, str]]:
    """A row a covariate, the strongest first; hidden wholly, and over the horizon where it reaches there."""

    def size(change: np.ndarray | None) -> float | None:
        return None if change is None else float(np.abs(change).mean())

    rows = [
        (name, size(change), size(found.effects.horizon_covariates.get(name)))
        for name, change in found.effects.covariates.items()
    ]
    rows.sort(key=lambda row: -(row[1] or 0.0))
    return [{"name": name, "wholly": figure(wholly), "ahead": figure(ahead)} for name, wholly, ahead in rows]


def _pairs(layers: tuple[RecurrentLayer, ...]) -> list[tuple[RecurrentLayer, RecurrentLayer]]:
    """Encoder and decoder of each layer of each member."""
    decoders = {(at.member, at.number): at for at in layers if at.subnetwork == "decoder"}
    return [(at, decoders[at.member, at.number]) for at in layers if at.subnetwork == "encoder"]


def _layer(found: Inspection, pair: tuple[RecurrentLayer, RecurrentLayer], segments: dict[str, Any]) -> dict[str, Any]:
    """Charts and table of one layer: the encoder's steps, and the decoder's after them."""
    encoder, decoder = (at.trace for at in pair)
    gated = isinstance(encoder, LSTMTrace)
    names = ("input_gate", "forget_gate", "output_gate", "cell_state", "hidden_state") if gated else ("hidden_state",)
    values = {
        name: np.concatenate([getattr(encoder, name)[:, 0], getattr(decoder, name)[:, 0]]) for name in names
    }  # (T, Z) each
    means = {name: (np.abs(value) if "state" in name else value).mean(axis=1) for name, value in values.items()}
    if isinstance(encoder, LSTMTrace):
        # The first row is what was there before the first segment: nothing.
        written = np.abs(encoder.state_contributions()[1:, 0]).sum(axis=1)
        means["written"] = written / written.sum()
    order = np.argsort(values["forget_gate" if gated else "hidden_state"].mean(axis=0))
    place = {"ticks": segments["ticks"], "more": {"issue": [{"x": segments["past"] - 0.5}]}}
    spans = segments["spans"]
    rows = [
        {"x": x, "when": span, **{name: _number(mean[x]) for name, mean in means.items() if x < len(mean)}}
        for x, span in enumerate(spans)
    ]
    charts: dict[str, Any] = {"states": {"spec": "states" if gated else "hidden", "rows": rows, **place}}
    if gated:
        charts["gates"] = {"spec": "gates", "rows": rows, **place}
        bars = [row | {"left": row["x"] - 0.45, "right": row["x"] + 0.45} for row in rows[: segments["past"]]]
        charts["written"] = {"spec": "written", "rows": bars, "ticks": segments["ticks"]}
    drawn = pair[0].member * found.spec.layers + pair[0].number < _LAYERS
    if drawn:
        shown = order[np.linspace(0, len(order) - 1, min(len(order), _UNITS)).astype(int)]
        for name, value in values.items():
            charts[name] = {"spec": name, "rows": _cells(value[:, shown], shown, spans), **place}
    return {
        "member": pair[0].member + 1,
        "number": pair[0].number + 1,
        "gated": gated,
        "drawn": drawn,
        "maps": [(name, name.replace("_", " ")) for name in names] if drawn else [],
        "charts": charts,
        "table": [{"when": span, **{name: f"{m[x]:.3f}" if x < len(m) else "" for name, m in means.items()}}
                  for x, span in enumerate(spans)],
    }  # fmt: skip


def _cells(values: np.ndarray, units: np.ndarray, spans: list[str]) -> list[dict[str, Any]]:
    return [
        {"left": x - 0.5, "right": x + 0.5, "low": row, "high": row + 1, "unit": int(unit), "when": spans[x],
         "value": _number(values[x, row])}
        for x in range(len(values))
        for row, unit in enumerate(units)
    ]  # fmt: skip


def _table(found: Inspection, times: LocalTimes) -> list[dict[str, str]]:
    middle = found.spec.levels.index(0.5)
    return [
        {"when": times.period(start), "low": figure(q[0]), "median": figure(q[middle]), "high": figure(q[-1]),
         "came": figure(float(came))}
        for start, q, came in zip(
            found.period_starts(np.arange(found.spec.horizon)), found.quantiles, found.actuals, strict=True
        )
    ]  # fmt: skip


def _number(value: float) -> float | None:
    """Five significant digits, for reading and for drawing."""
    return float(f"{value:.5g}") if np.isfinite(value) else None
