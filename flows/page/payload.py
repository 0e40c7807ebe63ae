"""What the browser draws from: every number once, rounded for reading, packed into one text.

A page of many series carries the curves of those that fit `ROOM`; of the others it has the figures. The page says so.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from flows.page.local_time import LocalTimes, at_micros
from flows.page.page_data import PageData
from storage.schemas import quantile_column

#: Numbers that the curves of all series may have together: about 13 MB of page.
ROOM = 4_000_000
_DIGITS = 5


def pack(content: dict[str, Any]) -> str:
    """JSON, gzip, base64: safe inside any element, the same bytes for the same content."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def series(
    data: PageData, table: pl.DataFrame, first_rows: list[int], issues: list[datetime], arrays: dict[str, np.ndarray],
    times: LocalTimes,
) -> dict[str, Any]:  # fmt: skip
    """Figures of every series, curves of those that fit: `first_rows` of the table first, then in its order.

    Args:
        issues, arrays: scored nights and (S, K) figures by series and night, from `skill.night_arrays`.
    """
    if data.latest is None:
        return {"count": 0}
    names = [quantile_column(level) for level in data.settings.pipeline.quantile_levels]
    count, columns = data.actuals.shape
    fan, fan_at = _on_grid(data, data.latest, names)
    earlier, earlier_at = (None, 0) if data.earlier is None else _on_grid(data, data.earlier, names)
    decimals = [_decimals(largest) for largest in np.nan_to_num(np.abs(fan)).max(axis=(1, 2))]
    each = columns + 2 * fan[0].size + 3 * len(issues)
    curves = {}
    for row in list(dict.fromkeys([*first_rows, *range(count)]))[: ROOM // each]:
        places = decimals[row]
        curves[row] = {
            "a": _rounded(data.actuals[row], places),
            "q": _rounded(fan[row].ravel(), places),
            "e": None if earlier is None else _rounded(earlier[row].ravel(), places),
            "p": _rounded(arrays["pinball"][row], places + 1),
            "b": _rounded(arrays["baseline_pinball"][row], places + 1),
            "c": _rounded(arrays["coverage"][row], 3),
        }
    starts = [at_micros(int(start)) for start in data.settings.grid.start(data.first_step + np.arange(columns))]
    reasons = {reason: number for number, reason in enumerate(table["reason"].drop_nulls().unique().sort())}
    return {
        "count": count,
        "ids": table["series_id"].to_list(),
        "status": table["status"].to_list(),
        "reasons": list(reasons),
        "reason": [reasons.get(reason) for reason in table["reason"]],
        "decimals": decimals,
        "level": [_number(value, places) for value, places in zip(table["level"], decimals, strict=True)],
        **{name: [_number(value, 4) for value in table[name]] for name in ("skill", "recent_skill", "coverage")},
        "periods": [times.period(start) for start in starts],
        "ticks": times.ticks(starts),
        "issue": fan_at - 0.5,
        "fan_at": fan_at,
        "earlier_at": earlier_at,
        "horizon": data.settings.pipeline.horizon,
        "names": names,
        "nights": [times.day(issue) for issue in issues],
        "night_ticks": times.nights(issues),
        "curves": curves,
    }


def _on_grid(data: PageData, forecast: pl.DataFrame, names: list[str]) -> tuple[np.ndarray, int]:
    """(S, horizon, Q) quantiles of the page's series, NaN where one is not in the file; and the column of step 1."""
    horizon = data.settings.pipeline.horizon
    issued = forecast["issue_time"][0]
    at = data.settings.grid.first_step(int(issued.timestamp()) * 1_000_000) - data.first_step
    place = {name: row for row, name in enumerate(data.series_ids)}
    known = forecast.filter(pl.col("series_id").is_in(data.series_ids), pl.col("step") <= horizon)
    row = known["series_id"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    step = known["step"].to_numpy() - 1
    out = np.full((len(data.series_ids), horizon, len(names)), np.nan)
    for level, name in enumerate(names):
        # A level that the pipeline file named only later is missing in an older night's file.
        if name in known.columns:
            out[row, step, level] = known[name].to_numpy()
    return out, at


def _decimals(largest: float) -> int:
    if not math.isfinite(largest) or largest == 0:
        return 2
    return int(min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), 12))


def _rounded(values: np.ndarray, places: int) -> list[float | int | None]:
    rounded = np.round(values.astype(np.float64), places)
    whole = places == 0
    return [None if value != value else int(value) if whole else value for value in rounded.tolist()]


def _number(value: float | None, places: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, places)
