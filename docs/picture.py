"""The picture of the README: `make picture`. A published forecast of the sample, and what came.

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
_COLOURS = {"domain": ["load known at the issue time", "load that came"], "range": ["#222", "#d1495b"]}
_BANDS = [("q10", "q90"), ("q20", "q80"), ("q30", "q70"), ("q40", "q60")]


def main(pipeline_path: str, issue: str, out: str) -> None:
    """Draw one panel a series: the days before, the quantiles, and the actual load of the day forecast."""
    pipeline = pipeline_file.read(Path(pipeline_path))
    store = open_store(pipeline.pipeline.store)
    zone = pipeline.pipeline.timezone
    at = clock.parse_time(issue, zone)
    forecast, _ = forecasts.read(store, pipeline.name, zone, at)
    (feed,) = pipeline.feeds("target")
    actual = known(store, pipeline.name, feed.name, feed.values[0], at - timedelta(days=_DAYS_BEFORE), forecast)
    local = pl.col("valid_time").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    forecast, actual = forecast.with_columns(time=local), actual.with_columns(time=local)
    split = actual.with_columns(
        known=pl.when(pl.col("valid_time") < at)
        .then(pl.lit("load known at the issue time"))
        .otherwise(pl.lit("load that came"))
    )
    charts = [panel(forecast, split, series) for series in forecast["series_id"].unique().sort()]
    title = alt.Title(
        f"Load forecast issued {at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} local time",
        subtitle="Median and the central 20, 40, 60 and 80% of the LSTM's quantiles, with the load that came",
        anchor="start",
    )
    chart = alt.vconcat(*charts, title=title, spacing=8).configure_view(stroke=None)
    chart.configure_axis(grid=True, gridOpacity=0.4, labelFontSize=11, titleFontSize=11).save(out, scale_factor=2)
    print(f"wrote {out}")


def known(store: Store, pipeline: str, feed: str, value: str, since: datetime, forecast: pl.DataFrame) -> pl.DataFrame:
    """Actual values from `since` to the end of the forecast: series_id, valid_time, y."""
    rows = history.read_as_of(store, pipeline, feed, [value], clock.now()).rename({value: "y"})
    return rows.filter(pl.col("valid_time").is_between(since, forecast["valid_time"].max()))


def panel(forecast: pl.DataFrame, actual: pl.DataFrame, series: str) -> alt.LayerChart:
    """One series."""
    quantiles = alt.Chart(forecast.filter(pl.col("series_id") == series)).encode(x=alt.X("time:T", title=None))
    axis = {"title": f"{series}, MW", "scale": alt.Scale(zero=False)}
    fan = [
        quantiles.mark_area(opacity=0.22, color="#3b6fb6").encode(y=alt.Y(f"{low}:Q", **axis), y2=f"{high}:Q")
        for low, high in _BANDS
    ]
    median = quantiles.mark_line(color="#1d4e89", strokeWidth=2).encode(y="q50:Q")
    came = (
        alt.Chart(actual.filter(pl.col("series_id") == series))
        .mark_line(color="#222", strokeWidth=1.5)
        .encode(
            x="time:T",
            y="y:Q",
            color=alt.Color("known:N", title=None, legend=alt.Legend(orient="top"), scale=alt.Scale(**_COLOURS)),
        )
    )
    return alt.layer(*fan, median, came).properties(width=760, height=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
