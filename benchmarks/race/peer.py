"""A peer's forecast of the same series: neuralforecast's LSTM or NHITS, Parquet to Parquet.

Run by `benchmarks.race.peers` with the Python of an environment that has neuralforecast; it knows nothing of Gatecast.

    python peer.py fit MODEL FOLDER HISTORY           a model of one training step, saved in FOLDER
    python peer.py train MODEL HISTORY UPDATES        that many updates of 128 windows, on one thread; nothing is saved
    python peer.py predict FOLDER HISTORY OUT         nine quantiles of 24 steps of every series
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
    """The history, as neuralforecast wants it."""
    rows = pd.read_parquet(history, columns=["series_id", "valid_time", "y"])
    rows = rows.rename(columns={"series_id": "unique_id", "valid_time": "ds"})
    return rows.assign(ds=rows["ds"].dt.tz_localize(None))


def main() -> None:
    """One of the three."""
    logging.disable(logging.WARNING)
    what, *arguments = sys.argv[1:]
    if what == "fit":
        model, folder, history = arguments
        rows = read(history)
        # A week of history is all the input: one more day is repeated, so that there is something to learn from.
        again = rows.groupby("unique_id").tail(24)
        rows = pd.concat([again.assign(ds=again["ds"] - pd.Timedelta(days=7)), rows]).sort_values(["unique_id", "ds"])
        forecaster = NeuralForecast(models=[_MODELS[model](max_steps=1)], freq="h")
        forecaster.fit(rows)
        forecaster.save(folder, overwrite=True, save_dataset=False)
    elif what == "train":
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
