"""Statistics of the training windows: weights of the series, and constants that a member keeps beside its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from model.baseline import seasonal_scale
from model.spec import UNKNOWN, ModelSpec
from model.training.devices import to_tensors
from model.training.heads import BINS
from model.training.network import CovariateStatistics, MarketStatistics, SegmentLSTM, uses_residual_prior
from model.training.samples import LabeledWindows, Sampler
from model.windows import Windows, embedding_index

_TAILS = (0.002, 0.998)  # levels between which half of the softmax head's edges are evenly spaced


def series_weights(source: Sampler) -> torch.Tensor:
    """Return the weight of each entry of the series embedding in loss and score, shape (series + 1,).

    It is one over the in-sample seasonal naive MAE of the series, as in MASE, so that series of any size count alike.
    The unknown entry, and a series whose MAE is unknown or 0, have weight 1.
    """
    panel, spec = source.panel, source.spec
    scale = seasonal_scale(known_target(source), spec.season)
    weights = np.ones(len(spec.series) + 1, np.float32)
    has_scale = np.isfinite(scale) & (scale > 0)
    entries = embedding_index(spec, panel.series)
    weights[entries[has_scale]] = 1 / scale[has_scale]
    weights[UNKNOWN] = 1.0
    return torch.from_numpy(weights)


def known_target(source: Sampler) -> np.ndarray:
    """Return the target of all series until the last step at which a forecast may start, newest revisions, (S, N)."""
    panel = source.panel
    count = len(panel.series)
    return panel.target.final(np.arange(count), np.zeros(count, np.int64), source.last - panel.first + 1)


def covariate_statistics(windows: Windows) -> CovariateStatistics:
    """Return mean and standard deviation of the covariates over windows."""
    return CovariateStatistics(*_moments(windows.known_future), *_moments(windows.observed))


def _moments(table: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of the visible values, (B, T, F) to (F,) each; 1 for no deviation."""
    flat = table.reshape(table.shape[0] * table.shape[1], table.shape[2]).astype(np.float64)
    visible = ~np.isnan(flat)
    count = np.maximum(visible.sum(axis=0), 1)
    mean = np.where(visible, flat, 0).sum(axis=0) / count
    deviation = np.sqrt((np.where(visible, flat - mean, 0) ** 2).sum(axis=0) / count)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(deviation.astype(np.float32))


def bin_edges(spec: ModelSpec, sample: LabeledWindows, market: MarketStatistics) -> torch.Tensor:
    """Return the edges of the softmax head's bins in scales, ascending, shape (N + 1,); empty for a quantile head."""
    if spec.head != "softmax":
        return torch.empty(0)
    residuals = scaled_residuals(spec, sample, market).ravel()
    residuals = residuals[~np.isnan(residuals)]
    # Half of the edges are quantiles of the residuals, half are evenly spaced over their range. With the former alone,
    # the bins in the tails would be wide, and the probability in them would lengthen the tails.
    low, high = np.quantile(residuals, _TAILS)
    dense = np.quantile(residuals, np.linspace(0, 1, BINS // 2 + 1))
    edges = np.sort(np.concatenate([dense, np.linspace(low, high, BINS // 2)]))
    # The outer bins also hold residuals somewhat beyond the sample's. Every bin has a positive width.
    reach = 0.05 * (edges[-1] - edges[0]) + 1e-3
    edges[0], edges[-1] = edges[0] - reach, edges[-1] + reach
    return torch.from_numpy(np.maximum.accumulate(edges + np.arange(BINS + 1) * 1e-6).astype(np.float32))


def residual_quantiles(
    spec: ModelSpec, sample: LabeledWindows, market: MarketStatistics
) -> torch.Tensor | None:  # fmt: skip
    """Return the quantiles of the scaled residuals at each step, shape (H, Q); None without a residual prior."""
    if not uses_residual_prior(spec):
        return None
    quantiles = np.nanquantile(scaled_residuals(spec, sample, market), spec.levels, axis=0)  # (Q, H)
    return torch.from_numpy(np.nan_to_num(quantiles).T.astype(np.float32).copy())


def scaled_residuals(spec: ModelSpec, sample: LabeledWindows, market: MarketStatistics) -> np.ndarray:
    """Return the actuals minus the base forecast, divided by the scale of their windows, shape (B, H).

    Base forecast and scale need no weights, so a network with random weights computes them.

    Args:
        spec: Shape and meaning of inputs and outputs.
        sample: Windows with their actuals.
        market: Statistics of a market that base forecast and scale need.
    """
    network = SegmentLSTM(
        replace(spec, head="quantile"), covariate_statistics(sample.windows), torch.empty(0),
        replace(market, residual_quantiles=None),
    ).eval()  # fmt: skip
    with torch.inference_mode():
        _, base_forecast, scale = network(**to_tensors(sample.windows))
    residuals: np.ndarray = (sample.actual - base_forecast[..., 0].numpy()) / scale[..., 0].numpy()
    return residuals
