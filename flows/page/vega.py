"""Parts of Vega-Lite charts that both pages use. The browser adds data and colours.

Each specification reads the data set `rows`. Its x axis counts columns, labelled by the parameters `ticks` and
`labels`: a day with a clock change has as much width as it has hours. Each mark has a style, and drawing.js sets the
style's colour for light and dark mode.
"""

from __future__ import annotations

import altair as alt

from flows.page.chart_data import VegaSpec

_HEIGHT = 190
_FAN_HEIGHT = 230


def fan_spec(quantile_names: list[str], unit: str, with_earlier: bool = True) -> VegaSpec:
    """Return a fan chart: quantiles as nested bands, the median, and the actuals.

    Args:
        quantile_names: Quantile columns of the rows, lowest level first.
        unit: The target's unit.
        with_earlier: True to draw the outermost band and the median of the previous forecast as well.
    """
    x = alt.X("x:Q", axis=_labelled_axis(), scale=alt.Scale(nice=False, zero=False))
    low, high = quantile_names[0], quantile_names[-1]
    scale = alt.Scale(zero=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=unit, scale=scale, axis=number_axis())

    bands = [(quantile_names[i], quantile_names[-1 - i]) for i in range(len(quantile_names) // 2)]
    hover = alt.selection_point(
        name="hover", nearest=True, on="pointerover", clear="pointerout", fields=["x"], empty=False
    )
    tooltip = {
        "when": "period", "actual_text": "actual",
        "range_text": f"{_percent_of(low)} to {_percent_of(high)} quantile", "median_text": "median",
    }  # fmt: skip
    earlier_band, earlier_line = [], []
    if with_earlier:
        tooltip["earlier_text"] = "median, previous forecast"
        earlier_band = [row_chart().mark_area(style="earlier-band").encode(x=x, y=y(f"e{low}"), y2=f"e{high}:Q")]
        earlier_line = [row_chart().mark_line(style="earlier").encode(x=x, y=y("eq50"))]
    return layered_spec(
        *earlier_band,
        *(row_chart().mark_area(style="band").encode(x=x, y=y(bottom), y2=f"{top}:Q") for bottom, top in bands),
        *earlier_line,
        row_chart().mark_line(style="median").encode(x=x, y=y("q50")),
        issue_rule(),
        row_chart().mark_line(style="actual").encode(x=x, y=y("actual")),
        row_chart().mark_rule(style="hover").encode(
            x=x, opacity=alt.condition(hover, alt.value(0.5), alt.value(0)),
            tooltip=[alt.Tooltip(f"{field}:N", title=title) for field, title in tooltip.items()],
        ).add_params(hover),
        height=_FAN_HEIGHT,
    )  # fmt: skip


def _percent_of(quantile_name: str) -> str:
    """Return the level of a quantile column as percent, for example `2.5%` for `q2_5`."""
    return f"{quantile_name.removeprefix('q').replace('_', '.')}%"


def line_spec(
    styles: dict[str, str], title: str, x: alt.X, number_format: str = ",f", target_value: float | None = None,
    from_zero: bool = False, domain: tuple[float, float] | None = None, with_issue: bool = False,
) -> VegaSpec:  # fmt: skip
    """Return a chart of lines with points.

    Args:
        styles: Style by field.
        title: Title of the y axis.
        x: The x axis.
        number_format: Format of the y axis.
        target_value: Value to draw as a horizontal reference line.
        from_zero: True to let the y axis include zero.
        domain: Range of the y axis.
        with_issue: True to draw a vertical line at the issue time.
    """
    scale = alt.Scale(zero=from_zero) if domain is None else alt.Scale(domain=list(domain))
    layers: list[alt.Chart] = []
    if target_value is not None:
        layers.append(reference_line(target_value))
    if with_issue:
        layers.append(issue_rule())
    for field, style in styles.items():
        y = alt.Y(f"{field}:Q", title=title, scale=scale, axis=number_axis(number_format))
        tooltip = [
            alt.Tooltip("when:N", title="for"),
            alt.Tooltip(f"{field}:Q", title=field, format=".1%" if number_format == "%" else ",.5~r"),
        ]
        layers.append(row_chart().mark_line(style=style).encode(x=x, y=y))
        layers.append(row_chart().mark_point(style=f"{style}-point").encode(x=x, y=y, tooltip=tooltip))
    return layered_spec(*layers)


def reference_line(value: float) -> alt.Chart:
    """Return a horizontal line at the ideal value."""
    chart: alt.Chart = alt.Chart(alt.InlineData([{}])).mark_rule(style="ideal").encode(y=alt.datum(value))
    return chart


def issue_rule() -> alt.Chart:
    """Return a vertical line at the issue time, which the data set `issue` contains."""
    chart: alt.Chart = alt.Chart(alt.NamedData(name="issue")).mark_rule(style="issue").encode(x="x:Q")
    return chart


def row_chart() -> alt.Chart:
    """Return a chart of the data set `rows`."""
    return alt.Chart(alt.NamedData(name="rows"))


def column_x(field: str = "x") -> alt.X:
    """Return an x axis of column numbers with the labels of the chart's parameters."""
    return alt.X(f"{field}:Q", title=None, axis=_labelled_axis(), scale=alt.Scale(nice=False, zero=False))


def _labelled_axis() -> alt.Axis:
    return alt.Axis(
        title=None, values=alt.ExprRef("ticks"), labelExpr="labels[datum.value]", grid=True,
        labelOverlap="greedy", labelSeparation=8, labelFlush=True,
    )  # fmt: skip


def number_axis(number_format: str = ",f") -> alt.Axis:
    """Return an axis of numbers with about five ticks."""
    return alt.Axis(format=number_format, tickCount=5)


def layered_spec(*layers: alt.Chart | alt.LayerChart, height: int = _HEIGHT) -> VegaSpec:
    """Return the layers as one chart that fills the width of its container."""
    params = [alt.param(name="ticks", value=[]), alt.param(name="labels", value={})]
    chart = alt.layer(*layers).add_params(*params).properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )  # fmt: skip
    spec: VegaSpec = chart.to_dict()
    spec.pop("config", None)
    return spec
