"""The inspection page: one forecast with the effects of its inputs and the states of its model, as one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypedDict

import numpy as np

from flows.page.chart_data import ChartData, ChartRow, VegaSpec
from flows.page.document import render_document
from flows.page.inspection import Inspection
from flows.page.local_time import LocalTimeFormat, Tick
from flows.page.number_format import MISSING, column_decimals, format_difference, format_number, format_percent
from model.occlusion import segment_bounds
from model.recurrent import LSTMTrace, RecurrentLayer
from storage.schemas import quantile_column
from storage.schemas.counts import counted

_SCRIPTS = ("theme.js", "drawing.js", "unpack.js", "inspect.js")
_MAX_UNITS = 256  # units of a layer in one map. Of a larger layer, evenly spaced units of the sorted ones are drawn.
_MAX_LAYERS = 8  # layers with maps of their units. The other layers have charts of means only.
_BAR_HALF_WIDTH = 0.45
_NEGLIGIBLE = 0.001  # of the forecast: a smaller remainder is not shown
_MAX_COVARIATES = 12  # in the chart. The table has all.


class InspectionContent(TypedDict):
    """Data that the scripts of the inspection page read."""

    specs: dict[str, VegaSpec]
    charts: dict[str, ChartData]


class ForecastRow(TypedDict):
    """Forecast and actual of one period as text."""

    when: str
    low: str
    median: str
    high: str
    actual: str


class SegmentRow(TypedDict):
    """Effect of one segment on the median as text: mean absolute change and mean change."""

    when: str
    size: str
    change: str


class CovariateRow(TypedDict):
    """Effects of one covariate on the median as text.

    Attributes:
        name: Name of the covariate.
        everywhere: Mean absolute change of the median without it.
        horizon: The same without its values in the horizon.
        response: Mean change of the median if it is higher by 1 over the horizon.
    """

    name: str
    everywhere: str
    horizon: str
    response: str


class ContributionRow(TypedDict):
    """Contribution of one input to the linear expert's forecast as text: mean, and where it is largest."""

    name: str
    mean: str
    largest: str
    when: str


@dataclass(frozen=True)
class Segments:
    """Steps of the recurrence: the M segments of the context, then those of the horizon.

    Attributes:
        spans: Period names of each segment.
        ticks: Labels of the axis.
        context_count: M.
        mean_effects: Mean absolute change of the median without each segment of the context, shape (M,).
    """

    spans: list[str]
    ticks: list[Tick]
    context_count: int
    mean_effects: np.ndarray


class LayerPair(NamedTuple):
    """Encoder and decoder of one layer."""

    encoder: RecurrentLayer
    decoder: RecurrentLayer


class LayerView(TypedDict):
    """Charts and table of one layer. `maps` are chart names with their captions, empty if units are not drawn."""

    member: int
    number: int
    has_gates: bool
    has_maps: bool
    maps: list[tuple[str, str]]
    charts: dict[str, ChartData]
    #: Columns of `table`, besides the segment.
    columns: list[str]
    table: list[tuple[str, list[str]]]


def render_inspection_page(inspection: Inspection) -> str:
    """Return the HTML of the inspection page."""
    # Altair takes half a second to import, and no other command draws charts.
    from flows.page.inspection_charts import inspection_specs

    spec, manifest = inspection.spec, inspection.manifest
    times = LocalTimeFormat(inspection.settings.pipeline.timezone, inspection.settings.pipeline.frequency)
    segments = _segments(inspection, times)
    segment_rows = _segment_rows(inspection, segments)
    layers = [_layer_view(inspection, pair, segments) for pair in _layer_pairs(inspection.layers)]
    fan = _fan_chart(inspection, times)
    first_zoomed = spec.context - min(spec.context, max(spec.horizon, 2 * spec.segment))
    zoom_rows = fan["rows"][first_zoomed:]
    charts: dict[str, ChartData] = {
        "fan": fan,
        "zoom": {**fan, "rows": zoom_rows},
        **_effect_charts(inspection, segments),
    }
    for number, layer in enumerate(layers):
        charts |= {f"{name}-{number}": chart for name, chart in layer["charts"].items()}
    content: InspectionContent = {"specs": inspection_specs(inspection), "charts": charts}
    median = inspection.quantiles[:, spec.levels.index(0.5)]
    return render_document(
        "inspect.html",
        _SCRIPTS,
        content,
        {
            "series": inspection.series_id,
            "settings": inspection.settings,
            "unit": inspection.unit,
            "spec": spec,
            "manifest": manifest,
            "issue": times.format_moment(inspection.issue_time, year=True),
            "made_at": times.format_moment(inspection.made_at, year=True),
            "notes": inspection.notes,
            "low": format_number(median.min()),
            "high": format_number(median.max()),
            "actual_count": int(np.isfinite(inspection.actuals).sum()),
            "as_of": _moment_text(manifest["as_of"], times),
            "trained_at": _moment_text(manifest.get("trained_at"), times),
            "fitted_to": _moment_text(manifest.get("fitted_to"), times),
            "visible_share": format_percent(float(np.isfinite(inspection.window.target).mean())),
            "is_known": bool(inspection.window.series[0]),
            "segments": segment_rows,
            "covariates": _covariate_rows(inspection),
            "contributions": contribution_rows(inspection, times),
            "strongest_segment": segment_rows[int(segments.mean_effects.argmax())],
            "layers": layers,
            "forecast": _forecast_rows(inspection, times),
        },
    )


def _moment_text(instant: str | None, times: LocalTimeFormat) -> str:
    return "not recorded" if instant is None else times.format_moment(datetime.fromisoformat(instant), year=True)


def _fan_chart(inspection: Inspection, times: LocalTimeFormat) -> ChartData:
    """Return the context, the quantiles and the actuals, one row per period."""
    context, horizon = inspection.spec.context, inspection.spec.horizon
    values = np.concatenate([inspection.window.target[0], inspection.actuals])
    starts = inspection.period_starts(np.arange(-context, horizon))
    names = [quantile_column(level) for level in inspection.spec.levels]
    rows: list[ChartRow] = []
    for x, start in enumerate(starts):
        row: ChartRow = {
            "x": x, "when": times.format_period(start), "actual": _chart_number(values[x]),
            "actual_text": format_number(float(values[x])), "median_text": MISSING, "range_text": MISSING,
        }  # fmt: skip
        if x >= context:
            quantiles = dict(zip(names, map(_chart_number, inspection.quantiles[x - context]), strict=True))
            low, high = (format_number(quantiles[name]) for name in (names[0], names[-1]))
            row |= {**quantiles, "median_text": format_number(quantiles["q50"]), "range_text": f"{low} to {high}"}
        rows.append(row)
    datasets: dict[str, list[ChartRow]] = {"issue": [{"x": context - 0.5}]}
    return {"chart_spec": "fan", "rows": rows, "ticks": times.period_ticks(starts), "datasets": datasets}


def _segments(inspection: Inspection, times: LocalTimeFormat) -> Segments:
    """Return the segments of the encoder and then those of the decoder."""
    spec = inspection.spec
    past = segment_bounds(spec.context, spec.segment) - spec.context
    ahead = np.minimum(np.arange(0, -(-spec.horizon // spec.segment) + 1) * spec.segment, spec.horizon)
    bounds = np.concatenate([past, ahead[1:]])
    starts, last_starts = inspection.period_starts(bounds[:-1]), inspection.period_starts(bounds[1:] - 1)
    spans = [
        times.format_period(first) if first == last else f"{times.format_period(first)} to {times.format_period(last)}"
        for first, last in zip(starts, last_starts, strict=True)
    ]
    return Segments(
        spans=spans,
        ticks=times.segment_ticks(starts, len(past) - 1),
        context_count=len(past) - 1,
        mean_effects=np.abs(inspection.effects.segments).mean(axis=1),
    )


def _segment_rows(inspection: Inspection, segments: Segments) -> list[SegmentRow]:
    changes = inspection.effects.segments.mean(axis=1)
    return [
        {"when": span, "size": format_number(size), "change": format_number(change)}
        for span, size, change in zip(segments.spans, segments.mean_effects, changes, strict=False)
    ]


def _effect_charts(inspection: Inspection, segments: Segments) -> dict[str, ChartData]:
    """Return the charts of the effects: of each covariate, of each segment, and each step's change."""
    ticks = [tick for tick in segments.ticks if tick.at < segments.context_count]
    bars: list[ChartRow] = [
        {"left": x - _BAR_HALF_WIDTH, "right": x + _BAR_HALF_WIDTH, "when": segments.spans[x],
         "size": _chart_number(size)}
        for x, size in enumerate(segments.mean_effects)
    ]  # fmt: skip
    cells: list[ChartRow] = [
        {"left": x - 0.5, "right": x + 0.5, "low": step + 0.5, "high": step + 1.5, "when": segments.spans[x],
         "step": step + 1, "value": _chart_number(value)}
        for x, changes in enumerate(inspection.effects.segments)
        for step, value in enumerate(changes)
    ]  # fmt: skip
    sizes = {name: float(np.abs(change).mean()) for name, change in inspection.effects.covariates.items()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_MAX_COVARIATES]
    covariates: list[ChartRow] = [
        {"left": x - _BAR_HALF_WIDTH, "right": x + _BAR_HALF_WIDTH, "when": name, "size": _chart_number(size)}
        for x, (name, size) in enumerate(largest)
    ]
    names = [Tick(x, 0, name) for x, (name, _) in enumerate(largest)]
    return {
        "covariates": {"chart_spec": "covariates", "rows": covariates, "ticks": names},
        "segments": {"chart_spec": "segments", "rows": bars, "ticks": ticks},
        "steps": {"chart_spec": "steps", "rows": cells, "ticks": ticks},
    }


def _covariate_rows(inspection: Inspection) -> list[CovariateRow]:
    """Return the covariates, largest effect first. An observed covariate has no values in the horizon."""

    def size(change: np.ndarray | None) -> float | None:
        return None if change is None else float(np.abs(change).mean())

    effects, responses = inspection.effects, inspection.responses
    rows = [
        (name, size(change), size(effects.horizon_covariates.get(name))) for name, change in effects.covariates.items()
    ]
    rows.sort(key=lambda row: -(row[1] or 0.0))
    return [
        {
            "name": name, "everywhere": format_number(everywhere), "horizon": format_number(horizon),
            "response": format_difference(float(responses[name].mean())) if name in responses else MISSING,
        }
        for name, everywhere, horizon in rows
    ]  # fmt: skip


def contribution_rows(inspection: Inspection, times: LocalTimeFormat) -> list[ContributionRow]:
    """Return the reference forecast, the contributions and the sum of both; empty without a linear expert.

    Args:
        inspection: Content of the page.
        times: Format of times.
    """
    linear = inspection.linear
    if linear is None:
        return []
    named = [(f"target {counted(lag, 'day')} before", effect) for lag, effect in linear.days.items()]
    named += list(linear.covariates.items())
    named.append(("calendar", linear.calendar))
    if np.abs(linear.remainder).max() > _NEGLIGIBLE * np.abs(linear.forecast).max():
        named.append(("inputs together", linear.remainder))
    named.sort(key=lambda entry: -float(np.abs(entry[1]).mean()))
    periods = inspection.period_starts(np.arange(inspection.spec.horizon))
    places = column_decimals(float(effect.mean()) for _, effect in named)
    rows: list[ContributionRow] = [
        {
            "name": "reference forecast",
            "mean": format_number(float(linear.reference.mean()), places),
            "largest": "",
            "when": "",
        }
    ]
    for name, effect in named:
        largest = int(np.abs(effect).argmax())
        rows.append(
            {"name": name, "mean": format_difference(float(effect.mean()), places),
             "largest": format_difference(float(effect[largest]), places), "when": times.format_peak(periods[largest])}
        )  # fmt: skip
    total = format_number(float(linear.forecast.mean()), places)
    return [*rows, {"name": "forecast of the linear expert", "mean": total, "largest": "", "when": ""}]


def _layer_pairs(layers: tuple[RecurrentLayer, ...]) -> list[LayerPair]:
    """Return encoder and decoder of each layer of each member."""
    decoders = {(layer.member, layer.number): layer for layer in layers if layer.subnetwork == "decoder"}
    return [LayerPair(layer, decoders[layer.member, layer.number]) for layer in layers if layer.subnetwork == "encoder"]


def _layer_view(inspection: Inspection, pair: LayerPair, segments: Segments) -> LayerView:
    """Return charts and table of one layer, with the decoder's steps after the encoder's."""
    encoder, decoder = pair.encoder.trace, pair.decoder.trace
    has_gates = isinstance(encoder, LSTMTrace)
    names = ["input_gate", "forget_gate", "output_gate", "cell_state"] if has_gates else []
    names.append("hidden_state")
    # Each has the shape (T, Z): T steps, Z units.
    values = {name: np.concatenate([getattr(encoder, name)[:, 0], getattr(decoder, name)[:, 0]]) for name in names}
    means = {name: (np.abs(value) if "state" in name else value).mean(axis=1) for name, value in values.items()}
    if isinstance(encoder, LSTMTrace):
        # The first row is the part of the initial cell state, which is zero.
        contributions = np.abs(encoder.state_contributions()[1:, 0]).sum(axis=1)
        means["cell_state_share"] = contributions / contributions.sum()
    spans, ticks = segments.spans, segments.ticks
    datasets: dict[str, list[ChartRow]] = {"issue": [{"x": segments.context_count - 0.5}]}
    rows: list[ChartRow] = [
        {"x": x, "when": span, **{name: _chart_number(mean[x]) for name, mean in means.items() if x < len(mean)}}
        for x, span in enumerate(spans)
    ]
    states_spec = "states" if has_gates else "hidden"
    charts: dict[str, ChartData] = {
        "states": {"chart_spec": states_spec, "rows": rows, "ticks": ticks, "datasets": datasets}
    }  # fmt: skip
    if has_gates:
        bars: list[ChartRow] = [
            {**row, "left": x - _BAR_HALF_WIDTH, "right": x + _BAR_HALF_WIDTH}
            for x, row in enumerate(rows[: segments.context_count])
        ]
        charts["gates"] = {"chart_spec": "gates", "rows": rows, "ticks": ticks, "datasets": datasets}
        charts["cell_state_share"] = {"chart_spec": "cell_state_share", "rows": bars, "ticks": ticks}
    has_maps = pair.encoder.member * inspection.spec.layers + pair.encoder.number < _MAX_LAYERS
    if has_maps:
        order = np.argsort(values["forget_gate" if has_gates else "hidden_state"].mean(axis=0))
        units = order[np.linspace(0, len(order) - 1, min(len(order), _MAX_UNITS)).astype(int)]
        for name, value in values.items():
            cells = _unit_cells(value[:, units], units, spans)
            charts[name] = {"chart_spec": name, "rows": cells, "ticks": ticks, "datasets": datasets}
    return {
        "member": pair.encoder.member + 1,
        "number": pair.encoder.number + 1,
        "has_gates": has_gates,
        "has_maps": has_maps,
        "maps": [(name, name.replace("_", " ")) for name in names] if has_maps else [],
        "charts": charts,
        "columns": [name.replace("_", " ") for name in means],
        "table": [
            (span, [f"{mean[x]:.3f}" if x < len(mean) else "" for mean in means.values()])
            for x, span in enumerate(spans)
        ],
    }


def _unit_cells(values: np.ndarray, units: np.ndarray, spans: list[str]) -> list[ChartRow]:
    """Return the cells of a map of `values`, shape (T, units)."""
    return [
        {"left": x - 0.5, "right": x + 0.5, "low": row, "high": row + 1, "unit": int(unit), "when": spans[x],
         "value": _chart_number(values[x, row])}
        for x in range(len(values))
        for row, unit in enumerate(units)
    ]  # fmt: skip


def _forecast_rows(inspection: Inspection, times: LocalTimeFormat) -> list[ForecastRow]:
    starts = inspection.period_starts(np.arange(inspection.spec.horizon))
    median_column = inspection.spec.levels.index(0.5)
    return [
        {"when": times.format_period(start), "low": format_number(quantiles[0]),
         "median": format_number(quantiles[median_column]), "high": format_number(quantiles[-1]),
         "actual": format_number(float(actual))}
        for start, quantiles, actual in zip(starts, inspection.quantiles, inspection.actuals, strict=True)
    ]  # fmt: skip


def _chart_number(value: float) -> float | None:
    """Return a number with five significant digits, None for NaN."""
    return float(f"{value:.5g}") if np.isfinite(value) else None
