"""Data of charts, as a page carries them for the browser. Names are Vega-Lite fields."""

from __future__ import annotations

from typing import Any, NotRequired, TypeAlias, TypedDict

from flows.page.local_time import Tick

#: A Vega-Lite specification. Its structure is Vega-Lite's own: https://vega.github.io/schema/vega-lite.
VegaSpec: TypeAlias = dict[str, Any]

#: One row of a chart's data set, by field.
ChartRow: TypeAlias = dict[str, float | int | str | None]


class ChartData(TypedDict):
    """Data of one chart."""

    rows: list[ChartRow]
    ticks: list[Tick]
    #: Name of the specification. Without it, the specification has the chart's name.
    chart_spec: NotRequired[str]
    #: Data sets besides `rows`, by name.
    datasets: NotRequired[dict[str, list[ChartRow]]]


def rounded(value: float | None) -> float | None:
    """Return a share with the four decimals that a chart needs, None for a missing value."""
    return None if value is None or value != value else round(value, 4)
