"""Fit of the linear expert of an ONNX file on newer data, by the file itself, without torch and onnx.

The file computes the design matrix of past windows. The closed form then gives the coefficients, which the file takes
as inputs. So a run forecasts with all data known at its issue time, however old the network is.

Shapes: S series, N issue times, H horizon, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluation.comparison import IssueTimes
from model.forecaster import CHUNK, Forecaster, Tables
from model.linear_expert import LINEAR_TABLES, MIN_WINDOWS, fit_scaled, residual_quantiles, with_context
from model.panel import Panel
from model.spec import UNKNOWN
from model.windows import build_windows, embedding_index


@dataclass(frozen=True)
class LinearRefit:
    """Tables of a new fit.

    Attributes:
        tables: Tables by the names of the file's inputs.
        digests: sha256 of the new rows of each series that was fitted, by name.
    """

    tables: Tables
    digests: dict[str, bytes]


def refit_linear(
    forecaster: Forecaster, panel: Panel, issue_times: IssueTimes, as_of: int,
    has_time: Callable[[], bool] | None = None,
) -> LinearRefit | None:  # fmt: skip
    """Fit the expert of each series of `panel` on the windows at `issue_times`, with the actuals known at `as_of`.

    A series keeps the tables of the file if it has no entry of its own, or fewer than `MIN_WINDOWS` complete horizons.
    So does one without an actual in the newest windows.
    The scaling and the weight beside the network stay those of the file. A series is fitted by itself, so the result
    does not depend on the other series of the panel.

    Args:
        forecaster: Model whose file has a linear expert.
        panel: S series with all revisions from the first context on.
        issue_times: Past issue times, ascending, whose contexts and horizons the panel covers.
        as_of: Issue time (us) at which the forecast is made.
        has_time: Function that returns False once the computation must end.

    Returns:
        The tables, or None if the file has no linear expert or no series could be fitted.
    """
    spec = forecaster.spec
    if not spec.linear or len(issue_times) < MIN_WINDOWS:
        return None
    tables = {name: table.copy() for name, table in forecaster.tables(has_time).items()}
    scaling, length = tables[LINEAR_TABLES["scaling"]], spec.grid.steps_per_day
    digests = {}
    for row, entry in enumerate(embedding_index(spec, panel.series)):
        if entry == UNKNOWN:
            continue
        own = _since_first_value(panel, row, issue_times, spec.context)
        rows = np.full(len(own), row)
        actual = panel.target.as_of(rows, own.steps - panel.first, spec.horizon, np.full(len(own), as_of))
        if np.isfinite(actual).all(axis=1).sum() < MIN_WINDOWS:
            continue
        design, window, target = _design(forecaster, panel, rows, own)
        known = with_context(actual, target)
        fit, residuals = fit_scaled(design, known, scaling[entry], window, length, is_forward=True)
        if not np.isfinite(fit.coefficients).all() or not np.isfinite(residuals).any(axis=0).all():
            continue
        new = {
            "coefficients": fit.coefficients, "residuals": residual_quantiles(residuals, spec.levels),
        }  # fmt: skip
        digest = hashlib.sha256()
        for name, values in new.items():
            table = tables[LINEAR_TABLES[name]]
            table[entry] = values
            digest.update(np.ascontiguousarray(table[entry]).tobytes())
        digests[panel.series[row]] = digest.digest()
    return LinearRefit(tables, digests) if digests else None


def _since_first_value(panel: Panel, row: int, issue_times: IssueTimes, context: int) -> IssueTimes:
    """Return the issue times whose context lies within the history of one series."""
    first = panel.first + int((~np.isnan(panel.target.layers[0].values[row])).argmax())
    has_context = issue_times.steps - context >= first
    return IssueTimes(issue_times.issues[has_context], issue_times.steps[has_context])


def _design(
    forecaster: Forecaster, panel: Panel, rows: NDArray[np.int64], issue_times: IssueTimes
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
    """Return design (N, G, F), location and scale (N, 2), and context (N, C) of the windows of one series."""
    designs, windows, targets = [], [], []
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        inputs = build_windows(forecaster.spec, panel, rows[part], issue_times.steps[part], issue_times.issues[part])
        design, window = forecaster.design(inputs)
        designs.append(design)
        windows.append(window)
        targets.append(inputs.target)
    return np.concatenate(designs), np.concatenate(windows).astype(np.float64), np.concatenate(targets)
