"""Forecast of the same series by neuralforecast's LSTM or NHITS, from Parquet to Parquet.

`benchmarks.race.peers` runs it with the Python of an environment that has neuralforecast. It does not import
Gatecast.

- `python peer.py fit MODEL FOLDER HISTORY` saves a model of one training step in FOLDER.
- `python peer.py train MODEL HISTORY UPDATES` trains for a number of updates of 128 windows and saves nothing.
- `python peer.py predict FOLDER HISTORY OUT` forecasts nine quantiles of 24 steps of every series.
"""

from __future__ import annotations

import logging
import sys

import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import LSTM, NHITS

_LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
_QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
_COMMON = {"h": 24, "input_size": 168, "loss": MQLoss(quantiles=_LEVELS), **_QUIET}
_MODELS = {
    "LSTM": lambda **more: LSTM(
        **_COMMON, **more, encoder_hidden_size=128, encoder_n_layers=1, decoder_hidden_size=128
    ),
    "NHITS": lambda **more: NHITS(**_COMMON, **more),
}


def read(history: str) -> pd.DataFrame:
    """Return the history in the format of neuralforecast."""
    rows = pd.read_parquet(history, columns=["series_id", "valid_time", "y"])
    rows = rows.rename(columns={"series_id": "unique_id", "valid_time": "ds"})
    return rows.assign(ds=rows["ds"].dt.tz_localize(None))


def main() -> None:
    """Run one of the three commands."""
    logging.disable(logging.WARNING)
    command, *arguments = sys.argv[1:]
    if command == "fit":
        model, folder, history = arguments
        rows = read(history)
        # The history is one week, the length of the input. A repeated day before it makes one training window.
        repeated = rows.groupby("unique_id").tail(24)
        rows = pd.concat([repeated.assign(ds=repeated["ds"] - pd.Timedelta(days=7)), rows]).sort_values(
            ["unique_id", "ds"]
        )
        forecaster = NeuralForecast(models=[_MODELS[model](max_steps=1)], freq="h")
        forecaster.fit(rows)
        forecaster.save(folder, overwrite=True, save_dataset=False)
    elif command == "train":
        model, history, updates = arguments
        network = _MODELS[model](max_steps=int(updates), windows_batch_size=128, batch_size=128)
        NeuralForecast(models=[network], freq="h").fit(read(history))
    else:
        folder, history, out = arguments
        forecast = NeuralForecast.load(folder).predict(df=read(history))
        forecast.to_parquet(out, compression="zstd")
        print(len(forecast))


if __name__ == "__main__":
    main()
