"""LSTM, NHITS and TFT of neuralforecast, trained once on the data before the test period with early stopping.

The library's cross-validation needs issue times at equal distances. Local days do not have them (clock changes,
business days), so each issue time is passed as a series of its own that ends there. The trained network reads only its
context.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from benchmarks.league.tasks import Task

#: Rows passed to the library at a time.
_ROWS = 400_000


def settings(peer: str, task: Task) -> dict[str, Any]:
    """Return the settings that differ from the library's defaults (Adam at 1e-3, LSTM with 2 layers of 128)."""
    settings = task.pipeline_table
    # The default of 1024 windows per step for NHITS and TFT is too slow: a window of TFT takes ten times the CPU of
    # the LSTM's.
    models: dict[str, dict[str, Any]] = {
        "nf-lstm": {"windows_batch_size": 128},
        "nf-nhits": {"windows_batch_size": 256, "scaler_type": "robust"},
        "nf-tft": {
            "windows_batch_size": 32,
            "hidden_size": 32,
            "max_steps": 400,
            "learning_rate": 3e-3,
            "input_size": min(settings["context"], settings["season"])
            if settings["season"] > 7
            else settings["context"],
        },
    }
    common = {
        "h": settings["horizon"], "input_size": settings["context"], "max_steps": 1000, "early_stop_patience_steps": 3,
        "val_check_steps": 100, "random_seed": 7, "inference_windows_batch_size": 128,
    }  # fmt: skip
    held = {"15m": 28 * 96, "30m": 28 * 48, "1h": 28 * 24, "1d": 182, "1b": 250}[settings["frequency"]]
    return {
        "model": peer[3:].upper(),
        "validation_steps": held,
        "log": task.group == "market",
        "arguments": {**common, **models[peer]},
    }


def forecast(panel: Panel, settings: dict[str, Any]) -> np.ndarray:
    """Return the quantiles, shape (S, I, H, Q), sorted so that they do not cross."""
    import torch
    from neuralforecast import NeuralForecast, models
    from neuralforecast.losses.pytorch import MQLoss

    for logger in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    # Recurrent networks otherwise spend most of their time on denormal numbers of 1e-40.
    torch.set_flush_denormal(True)
    values = panel.filled()
    values = np.log(values) if settings["log"] else values
    static = [f"series_{row}" for row in range(len(panel.series))] if len(panel.series) > 1 else []
    network = getattr(models, settings["model"])(
        **settings["arguments"], loss=MQLoss(quantiles=LEVELS.tolist()), futr_exog_list=list(panel.names),
        stat_exog_list=static or None, accelerator="cpu", enable_progress_bar=False, logger=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    runner = NeuralForecast(models=[network], freq=1)
    runner.fit(
        _past(panel, values), static_df=_static(static, [str(row) for row in range(len(panel.series))]),
        val_size=settings["validation_steps"],
    )  # fmt: skip
    out = np.empty((len(panel.series), len(panel.origins), panel.horizon, len(LEVELS)))
    chunk = max(1, _ROWS // (len(panel.series) * (panel.context + panel.horizon)))
    for start in range(0, len(panel.origins), chunk):
        part = slice(start, start + chunk)
        out[:, part] = _predict(runner, panel, values, panel.origins[part], static)
    return np.sort(np.exp(out) if settings["log"] else out, axis=-1)


def _past(panel: Panel, values: np.ndarray) -> Any:
    """Return the training table: every series from its first value to the first issue time."""
    import pandas as pd

    parts = []
    for row, series in enumerate(values[:, : panel.origins[0]]):
        begin = int(np.argmax(~np.isnan(series)))
        frame = pd.DataFrame(panel.known[row, begin : len(series)], columns=list(panel.names))
        frame.insert(0, "y", series[begin:])
        frame.insert(0, "ds", np.arange(begin, len(series)))
        frame.insert(0, "unique_id", str(row))
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _static(names: list[str], ids: list[str]) -> Any:
    """Return a one-hot column per series for each id (`row` or `row|issue`)."""
    import pandas as pd

    if not names:
        return None
    rows = [int(each.split("|")[0]) for each in ids]
    frame = pd.DataFrame(np.eye(len(names))[rows], columns=names)
    frame.insert(0, "unique_id", ids)
    return frame


def _predict(runner: Any, panel: Panel, values: np.ndarray, origins: np.ndarray, static: list[str]) -> np.ndarray:
    """Return the quantiles, shape (S, I, H, Q). Each window is a series of its own."""
    import pandas as pd

    context, horizon = panel.context, panel.horizon
    rows = np.repeat(np.arange(len(panel.series)), len(origins))[:, None]
    pairs = [(row, number) for row in range(len(panel.series)) for number in range(len(origins))]
    ids = [f"{row}|{number:06d}" for row, number in pairs]

    def table(offset: int, length: int) -> tuple[Any, np.ndarray]:
        steps = (origins[[number for _, number in pairs]] + offset)[:, None] + np.arange(length)
        frame = pd.DataFrame(panel.known[rows, steps].reshape(-1, len(panel.names)), columns=list(panel.names))
        frame.insert(0, "ds", np.tile(np.arange(offset, offset + length) + context, len(pairs)))
        frame.insert(0, "unique_id", np.repeat(ids, length))
        return frame, steps

    past, columns = table(-context, context)
    past.insert(2, "y", values[rows, columns].reshape(-1))
    future, _ = table(0, horizon)
    forecasts = runner.predict(past, static_df=_static(static, ids), futr_df=future)
    forecasts = forecasts.reset_index() if "unique_id" not in forecasts.columns else forecasts
    forecasts = forecasts.sort_values(["unique_id", "ds"])
    quantiles = [name for name in forecasts.columns if name not in ("unique_id", "ds", "index")]
    assert len(quantiles) == len(LEVELS)
    order = np.argsort(np.argsort(ids, kind="stable"), kind="stable")
    values_by_pair: np.ndarray = forecasts[quantiles].to_numpy().reshape(len(pairs), horizon, len(LEVELS))[order]
    return values_by_pair.reshape(len(panel.series), len(origins), horizon, len(LEVELS))
