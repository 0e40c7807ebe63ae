"""Parts of Vega-Lite charts that both pages use. The browser adds data and colours.

Each specification reads the data set `rows`, those over periods also `holidays` and `issue`. Its x axis counts columns,
labelled by the parameters `ticks` and `labels`: a day with a clock change has as much width as it has hours. Each mark
has a style, and drawing.js sets the style's colour for light and dark mode.
"""

from __future__ import annotations

from collections.abc import Callable

import altair as alt

from flows.page.chart_data import VegaSpec

_HEIGHT = 190
_FAN_HEIGHT = 230
_INPUT_HEIGHT = 60
_AXIS_EXTENT = 44  # pixels, so that charts below each other have the same x axis


def fan_spec(quantile_names: list[str], unit: str, with_earlier: bool = True, height: int = _FAN_HEIGHT) -> VegaSpec:
    """Return a fan chart: quantiles as nested bands, the median, and the actuals.

    Args:
        quantile_names: Quantile columns of the rows, lowest level first.
        unit: The target's unit.
        with_earlier: True to draw the outermost band and the median of the previous forecast as well.
        height: Height in pixels.
    """
    x = column_x()
    low, high = quantile_names[0], quantile_names[-1]
    y = _value_y(unit)
    bands = [(quantile_names[i], quantile_names[-1 - i]) for i in range(len(quantile_names) // 2)]
    tooltip = {
        "when": "period", "actual_text": "actual", "median_text": "median",
        "range_text": f"{_percent_of(low)} to {_percent_of(high)}",
    }  # fmt: skip
    earlier_band, earlier_line = [], []
    if with_earlier:
        tooltip["earlier_text"] = "previous forecast"
        earlier_band = [row_chart().mark_area(style="earlier-band").encode(x=x, y=y(f"e{low}"), y2=f"e{high}:Q")]
        earlier_line = [row_chart().mark_line(style="earlier").encode(x=x, y=y("eq50"))]
    return layered_spec(
        holiday_band(),
        *earlier_band,
        *(row_chart().mark_area(style="band").encode(x=x, y=y(bottom), y2=f"{top}:Q") for bottom, top in bands),
        *earlier_line,
        row_chart().mark_line(style="median").encode(x=x, y=y("q50")),
        issue_rule(),
        row_chart().mark_line(style="actual").encode(x=x, y=y("actual")),
        hover_layer(tooltip),
        height=height,
    )


def curves_spec(
    styles: dict[str, tuple[str, str]], unit: str, height: int = _FAN_HEIGHT, extra: dict[str, str] | None = None
) -> VegaSpec:
    """Return a chart of lines over periods.

    Args:
        styles: Style and title of each field. The tooltip shows the text in `<field>_text`.
        unit: Unit of the values.
        height: Height in pixels.
        extra: Title of each further text in the tooltip, by field.
    """
    x, y = column_x(), _value_y(unit)
    tooltip = {"when": "period"} | {f"{field}_text": title for field, (_, title) in styles.items()} | (extra or {})
    lines = [row_chart().mark_line(style=style).encode(x=x, y=y(field)) for field, (style, _) in styles.items()]
    return layered_spec(holiday_band(), *lines, issue_rule(), hover_layer(tooltip), height=height)


def past_spec(low_name: str, high_name: str, unit: str, last_title: str | None) -> VegaSpec:
    """Return a chart of past forecasts over the actuals.

    Args:
        low_name: Column of the lowest quantile.
        high_name: Column of the highest quantile.
        unit: The target's unit.
        last_title: Title of the forecasts with the longest lead time, None to draw only the newest forecasts.
    """
    x, y = column_x(), _value_y(unit)
    tooltip = {
        "when": "period", "actual_text": "actual", "first_text": "1 day ahead" if last_title else "forecast",
        "range_text": f"{_percent_of(low_name)} to {_percent_of(high_name)}",
    }  # fmt: skip
    layers = [
        holiday_band(),
        row_chart().mark_area(style="past-band").encode(x=x, y=y("low"), y2="high:Q"),
    ]
    if last_title:
        tooltip["last_text"] = last_title
        layers.append(row_chart().mark_line(style="earlier").encode(x=x, y=y("last")))
    layers.append(row_chart().mark_line(style="median").encode(x=x, y=y("first")))
    layers.append(row_chart().mark_line(style="actual").encode(x=x, y=y("actual")))
    return layered_spec(*layers, hover_layer(tooltip), height=_FAN_HEIGHT)


def input_spec() -> VegaSpec:
    """Return a small chart of one covariate, on the columns of a fan chart."""
    tooltip = {"when": "period", "value_text": "value"}
    x, y = column_x(), _value_y("", ticks=3)
    return layered_spec(
        row_chart().mark_line(style="input").encode(x=x, y=y("value")), issue_rule(), hover_layer(tooltip),
        height=_INPUT_HEIGHT,
    )  # fmt: skip


def _value_y(unit: str, ticks: int = 5) -> Callable[[str], alt.Y]:
    """Return a function from a field to a y axis of values."""

    def y(field: str) -> alt.Y:
        axis = alt.Axis(format=",f", tickCount=ticks, minExtent=_AXIS_EXTENT)
        return alt.Y(f"{field}:Q", title=unit or None, scale=alt.Scale(zero=False), axis=axis)

    return y


def hover_layer(tooltip: dict[str, str], formats: dict[str, str] | None = None, x: alt.X | None = None) -> alt.Chart:
    """Return one invisible column per row, as high as the chart, with a tooltip.

    The page's style makes the column under the pointer visible. A nearest-point selection is not used, because
    Vega-Lite takes its tooltips from another object, in which every field is undefined.

    Args:
        tooltip: Title by field.
        formats: Format by field. Other fields are texts.
        x: Axis of columns from `left` to `right`. By default each row has the column around its `x`.
    """
    formats = formats or {}
    tooltips = [
        alt.Tooltip(f"{field}:Q", title=title, format=formats[field])
        if field in formats
        else alt.Tooltip(f"{field}:N", title=title)
        for field, title in tooltip.items()
    ]
    chart = row_chart()
    if x is None:
        chart = chart.transform_calculate(left="datum.x - 0.5", right="datum.x + 0.5")
        x = alt.X("left:Q", axis=_labelled_axis(), scale=alt.Scale(nice=False, zero=False))
    columns: alt.Chart = chart.mark_rect(style="hover").encode(x=x, x2="right:Q", tooltip=tooltips)
    named: alt.Chart = columns.properties(name="hover")
    return named


def holiday_band() -> alt.Chart:
    """Return a band over each holiday, which the data set `holidays` contains."""
    scale = alt.Scale(nice=False, zero=False)
    chart: alt.Chart = (
        alt.Chart(alt.NamedData(name="holidays"))
        .mark_rect(style="holiday")
        .encode(x=alt.X("left:Q", axis=_labelled_axis(), scale=scale), x2="right:Q")
    )
    return chart


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
    value_format = ".1%" if number_format == "%" else ",.5~r"
    for field, style in styles.items():
        y = alt.Y(f"{field}:Q", title=title, scale=scale, axis=number_axis(number_format))
        layers.append(row_chart().mark_line(style=style).encode(x=x, y=y))
        layers.append(row_chart().mark_point(style=f"{style}-point").encode(x=x, y=y))
    tooltip = {"when": "for"} | {field: field.replace("_", " ") for field in styles}
    return layered_spec(*layers, hover_layer(tooltip, dict.fromkeys(styles, value_format)))


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
        labelOverlap="parity", labelSeparation=8, labelFlush=True, labelPadding=10,
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
