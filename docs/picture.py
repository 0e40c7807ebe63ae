"""Picture of the README: a published forecast of the sample with the actuals. `make picture` writes it.

python -m docs.picture PIPELINE_FILE ISSUE_TIME OUT.png
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import altair as alt
import polars as pl

from flows import clock
from flows.settings import file as pipeline_file
from storage import forecasts, history
from storage.store import Store, open_store

_DAYS_BEFORE = 2
_KNOWN, _ACTUAL = "load known at the issue time", "actual load"
_COLOURS = alt.Scale(domain=[_KNOWN, _ACTUAL], range=["#222", "#d1495b"])
_BANDS = [("q10", "q90"), ("q20", "q80"), ("q30", "q70"), ("q40", "q60")]


def main(pipeline_path: str, issue: str, out: str) -> None:
    """Draw one panel per series: the days before, the quantiles, and the actual load of the forecast day."""
    settings = pipeline_file.read(Path(pipeline_path))
    store = open_store(settings.pipeline.store)
    zone = settings.pipeline.timezone
    issue_time = clock.parse_time(issue, zone)
    forecast, _ = forecasts.read(store, settings.name, zone, issue_time)
    (feed,) = settings.feeds("target")
    since = issue_time - timedelta(days=_DAYS_BEFORE)
    values = actual_values(store, settings.name, feed.name, feed.values[0], since, forecast)
    local = pl.col("valid_time").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    forecast, values = forecast.with_columns(time=local), values.with_columns(time=local)
    kind = pl.when(pl.col("valid_time") < issue_time).then(pl.lit(_KNOWN)).otherwise(pl.lit(_ACTUAL))
    values = values.with_columns(kind=kind)
    charts = [series_chart(forecast, values, series) for series in forecast["series_id"].unique().sort()]
    title = alt.Title(
        f"Load forecast issued {issue_time.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} local time",
        subtitle="Median and central 20, 40, 60 and 80% intervals of the LSTM, with the actual load",
        anchor="start",
    )
    chart = alt.vconcat(*charts, title=title, spacing=8).configure_view(stroke=None)
    chart.configure_axis(grid=True, gridOpacity=0.4, labelFontSize=11, titleFontSize=11).save(out, scale_factor=2)
    print(f"wrote {out}")


def actual_values(
    store: Store, pipeline: str, feed: str, value: str, since: datetime, forecast: pl.DataFrame
) -> pl.DataFrame:
    """Return the target's values from `since` to the end of the forecast: series_id, valid_time, y."""
    rows = history.read_as_of(store, pipeline, feed, [value], clock.now()).rename({value: "y"})
    return rows.filter(pl.col("valid_time").is_between(since, forecast["valid_time"].max()))


def series_chart(forecast: pl.DataFrame, values: pl.DataFrame, series: str) -> alt.LayerChart:
    """Return the panel of one series."""
    quantiles = alt.Chart(forecast.filter(pl.col("series_id") == series)).encode(x=alt.X("time:T", title=None))
    title, scale = f"{series}, MW", alt.Scale(zero=False)
    fan = [
        quantiles.mark_area(opacity=0.22, color="#3b6fb6").encode(
            y=alt.Y(f"{low}:Q", title=title, scale=scale), y2=f"{high}:Q"
        )
        for low, high in _BANDS
    ]
    median = quantiles.mark_line(color="#1d4e89", strokeWidth=2).encode(y="q50:Q")
    line = (
        alt.Chart(values.filter(pl.col("series_id") == series))
        .mark_line(color="#222", strokeWidth=1.5)
        .encode(
            x="time:T",
            y="y:Q",
            color=alt.Color("kind:N", title=None, legend=alt.Legend(orient="top"), scale=_COLOURS),
        )
    )
    chart: alt.LayerChart = alt.layer(*fan, median, line).properties(width=760, height=150)  # type: ignore[assignment]
    return chart


if __name__ == "__main__":
    main(*sys.argv[1:])
