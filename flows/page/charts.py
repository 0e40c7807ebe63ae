"""The charts as Vega-Lite specs, without data and without colours: the browser gives both.

Every spec reads the data set `rows`; `x` is a column number, labelled by the parameters `ticks` and `labels`, so that
a clock change is as wide as it is long. Marks are named by styles; drawing.js gives each its colour in light and dark.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from storage.schemas import quantile_column

_HEIGHT = 190


def specs(levels: tuple[float, ...], unit: str) -> dict[str, dict[str, Any]]:
    """Every chart of the page by name."""
    names = [quantile_column(level) for level in levels]
    return {
        "fan": fan(names, unit),
        "series-nights": lines({"pinball": "model", "baseline": "bar"}, f"pinball, {unit}", column(), zero=True),
        "skill": lines({"skill": "model"}, "skill against the baseline", column(), format="%", rule=0.0),
        "coverage": lines({"coverage": "model"}, "share inside", column(), format="%", rule=0.8, domain=(0, 1)),
        "steps": lines({"model": "model", "baseline": "bar"}, "mean absolute error / scale", _steps(), zero=True),
        "reliability": _reliability(),
        "pit": _pit(),
        "status": _status(),
    }


def fan(names: list[str], unit: str, earlier: bool = True) -> dict[str, Any]:
    """Quantiles as nested bands, where there is one the earlier forecast's outermost band and median, and what came."""
    x = alt.X("x:Q", axis=_labelled(), scale=alt.Scale(nice=False, zero=False))
    low, high = names[0], names[-1]
    scale = alt.Scale(zero=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=unit, scale=scale, axis=plain())

    bands = [(names[i], names[-1 - i]) for i in range(len(names) // 2)]
    hover = alt.selection_point(
        name="hover", nearest=True, on="pointerover", clear="pointerout", fields=["x"], empty=False
    )
    shown = {
        "when": "period", "came": "actual", "span": f"{_words(low)} to {_words(high)}", "median": "median",
    }  # fmt: skip
    earlier_band, earlier_line = [], []
    if earlier:
        shown["before"] = "median, forecast before"
        earlier_band = [rows().mark_area(style="earlier-band").encode(x=x, y=y(f"e{low}"), y2=f"e{high}:Q")]
        earlier_line = [rows().mark_line(style="earlier").encode(x=x, y=y("eq50"))]
    return spec(
        *earlier_band,
        *(rows().mark_area(style="band").encode(x=x, y=y(bottom), y2=f"{top}:Q") for bottom, top in bands),
        *earlier_line,
        rows().mark_line(style="median").encode(x=x, y=y("q50")),
        _issue(),
        rows().mark_line(style="actual").encode(x=x, y=y("actual")),
        rows().mark_rule(style="hover").encode(
            x=x, opacity=alt.condition(hover, alt.value(0.5), alt.value(0)),
            tooltip=[alt.Tooltip(f"{field}:N", title=title) for field, title in shown.items()],
        ).add_params(hover),
        height=230,
    )  # fmt: skip


def _words(name: str) -> str:
    return f"{name.removeprefix('q').replace('_', '.')}%"


def lines(
    fields: dict[str, str], title: str, x: alt.X, format: str = ",f", rule: float | None = None,
    zero: bool = False, domain: tuple[float, float] | None = None, issue: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A line with points for each field, in the style named; and what it is measured against, or the issue time."""
    scale = alt.Scale(zero=zero) if domain is None else alt.Scale(domain=list(domain))
    layers: list[alt.Chart] = []
    if rule is not None:
        layers.append(_ideal(rule))
    if issue:
        layers.append(_issue())
    for field, style in fields.items():
        y = alt.Y(f"{field}:Q", title=title, scale=scale, axis=plain(format))
        tooltip = [
            alt.Tooltip("when:N", title="for"),
            alt.Tooltip(f"{field}:Q", title=field, format=".1%" if format == "%" else ",.5~r"),
        ]
        layers.append(rows().mark_line(style=style).encode(x=x, y=y))
        layers.append(rows().mark_point(style=f"{style}-point").encode(x=x, y=y, tooltip=tooltip))
    return spec(*layers)


def _reliability() -> dict[str, Any]:
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("level:Q", title="quantile level", scale=scale, axis=plain("%"))
    y = alt.Y("share:Q", title="share of actuals at or below it", scale=scale, axis=plain("%"))
    tooltip = [alt.Tooltip("level:Q", format=".1%"), alt.Tooltip("share:Q", format=".1%")]
    return spec(
        rows().mark_line(style="ideal").encode(x=x, y=alt.Y("level:Q", axis=plain("%"), scale=scale)),
        rows().mark_line(style="model").encode(x=x, y=y),
        rows().mark_point(style="model-point").encode(x=x, y=y, tooltip=tooltip),
    )


def _pit() -> dict[str, Any]:
    y = alt.Y("density:Q", title="times as often as promised", axis=plain(), scale=alt.Scale(zero=True))
    x = alt.X("low:Q", title="between the quantiles of these levels", axis=plain("%"), scale=alt.Scale(domain=[0, 1]))
    tooltip = [alt.Tooltip("low:Q", format=".0%"), alt.Tooltip("high:Q", format=".0%"),
               alt.Tooltip("density:Q", format=".2f")]  # fmt: skip
    return spec(
        rows().mark_rect(style="bin").encode(x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tooltip),
        _ideal(1.0),
    )


def _status() -> dict[str, Any]:
    """A bar a night, from below: model, stale model, baseline, nothing published."""
    x = alt.X("left:Q", title=None, axis=_labelled(), scale=alt.Scale(nice=False, zero=False))
    tops = {"model": "status-model", "stale": "status-stale", "baseline": "status-baseline", "none": "status-none"}
    layers, below = [], "zero"
    tooltip = [alt.Tooltip("when:N", title="night"), alt.Tooltip("told:N", title="rows")]
    shares: dict[str, Any] = {"title": "share of rows", "axis": plain("%"), "scale": alt.Scale(domain=[0, 1])}
    for top, style in tops.items():
        y = alt.Y(f"{'zero' if top == 'none' else below}:Q", **shares)
        bars = rows().mark_rect(style=style).encode(x=x, x2="right:Q", y=y, y2=f"{top}:Q", tooltip=tooltip)
        shown = alt.condition("datum.none === 1", alt.value(float(top == "none")), alt.value(float(top != "none")))
        layers.append(bars.encode(opacity=shown))
        below = top
    return spec(*layers)


def _ideal(value: float) -> alt.Chart:
    """One line across at the value that would be right."""
    return alt.Chart(alt.InlineData([{}])).mark_rule(style="ideal").encode(y=alt.datum(value))


def _issue() -> alt.Chart:
    """A line down where the forecast begins, which the data set `issue` says."""
    return alt.Chart(alt.NamedData(name="issue")).mark_rule(style="issue").encode(x="x:Q")


def rows() -> alt.Chart:
    """A chart of the rows that the browser gives."""
    return alt.Chart(alt.NamedData(name="rows"))


def column(field: str = "x") -> alt.X:
    """Columns labelled by the parameters of the chart."""
    return alt.X(f"{field}:Q", title=None, axis=_labelled(), scale=alt.Scale(nice=False, zero=False))


def _steps() -> alt.X:
    return alt.X("x:Q", title="steps ahead", axis=plain(",d"), scale=alt.Scale(nice=False, zero=False))


def _labelled() -> alt.Axis:
    return alt.Axis(
        title=None, values=alt.ExprRef("ticks"), labelExpr="labels[datum.value]", grid=True,
        labelOverlap="greedy", labelSeparation=8, labelFlush=True,
    )  # fmt: skip


def plain(format: str = ",f") -> alt.Axis:
    """An axis of numbers, with as many decimals as its steps need."""
    return alt.Axis(format=format, tickCount=5)


def spec(*layers: alt.Chart | alt.LayerChart, height: int = _HEIGHT) -> dict[str, Any]:
    """Layers as one chart that fills its place."""
    params = [alt.param(name="ticks", value=[]), alt.param(name="labels", value={})]
    chart = alt.layer(*layers).add_params(*params).properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )  # fmt: skip
    spec = chart.to_dict()
    spec.pop("config", None)
    return spec
