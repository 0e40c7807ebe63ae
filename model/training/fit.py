"""Training of an ensemble: members one after the other, then one interval scale for all.

A member minimises the pinball loss, or the continuous ranked probability score with a softmax head. Its training ends
by early stopping, after `max_updates` updates or when the time is used up.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from model.evaluation.calibration import interval_ratios, interval_scale, required_scale
from model.linear_expert import fit_shares
from model.training.devices import to_tensors
from model.training.fit_progress import Advance, FitProgress, naive_loss, share_done
from model.training.heads import pinball
from model.training.linear_features import LinearExpert
from model.training.market_statistics import market_statistics
from model.training.network import (
    Ensemble,
    MarketStatistics,
    SegmentLSTM,
    has_equal_weights,
    linear_outputs,
    linear_tables,
)
from model.training.options import FitOptions, TrainingData
from model.training.samples import LabeledWindows, augment_missing
from model.training.statistics import (
    bin_edges,
    covariate_statistics,
    residual_quantiles,
    series_weights,
)
from model.windows import Windows

BATCH_SIZE = 64  # windows per update
_LEARNING_RATE = 2e-3
_WARM_UP = 50  # updates
_MAX_GRADIENT_NORM = 1.0
_WEIGHT_DECAY = 1e-2
_AVERAGE_DECAY = 0.995  # per update, of the running mean of the weights
_MAX_SAMPLE = 4096  # windows from which the statistics of the data are computed
_MAX_NAIVE_SAMPLE = 1024  # windows for the baseline.
_FORECAST_BATCH = 256
_Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def _no_clock() -> float:
    return 0.0


def _no_progress(progress: FitProgress) -> None:
    pass


def fit(
    data: TrainingData,
    options: FitOptions,
    start: Ensemble | None = None,
    renew: bool = False,
    past_scales: Sequence[float] = (),
    elapsed: Callable[[], float] = _no_clock,
    advance: Advance = _no_progress,
) -> Ensemble:
    """Train an ensemble: all members, or the next one of `start`.

    Of each member the weights that are best on the validation windows are kept. The learning rate is constant after a
    short warm-up, and the weights are averaged over the updates (Polyak and Juditsky 1992). So early stopping decides
    the number of updates, which differs by a factor of five between series (docs/experiments.md).

    Members are trained one after the other. If the time ends before all are trained, copies of the trained ones fill
    the remaining places, see `is_member_copy`.

    Args:
        data: Windows to fit on, and validation windows.
        options: Seed, bounds and hardware.
        start: Ensemble to continue, its members in the order of their training. Only the first member is trained, and
            becomes the last. It begins with its weights, and keeps them if no update improves the validation loss.
        renew: Begin with random weights instead.
        past_scales: Interval scales that earlier networks required, see `calibration.interval_scale`.
        elapsed: Seconds since the training began. The caller owns the clock.
        advance: Callback that receives the progress after each evaluation of the validation windows.

    Returns:
        The ensemble, on the CPU, in evaluation mode.
    """
    torch.set_num_threads(options.threads)
    spec = data.source.spec
    starts = [None] * spec.members if start is None else [None if renew else start.networks[0]]
    market = market_statistics(data.source, None if start is None else start.networks[0].market_statistics)
    baseline = math.nan if advance is _no_progress else _baseline_loss(data, options.seed)

    def train_member(number: int, begun: float) -> SegmentLSTM:
        own_options = replace(
            options, seed=_member_seed(options.seed, number, start), max_seconds=options.max_seconds - begun
        )

        def advance_member(share: float, update: int, loss: float) -> None:
            advance(FitProgress(number, (number + share) / len(starts), update, loss, baseline))

        return _fit_member(data, own_options, starts[number], market, lambda: elapsed() - begun, advance_member)

    trained: list[SegmentLSTM] = []
    longest = 0.0
    with _denormals_flushed():
        for number in range(len(starts)):
            begun = elapsed()
            # In half of the time that another member took, this one would learn too little.
            if trained and options.max_seconds - begun < longest / 2:
                break
            trained.append(train_member(number, begun))
            longest = max(longest, elapsed() - begun)
    newest = [trained[number % len(trained)] for number in range(len(starts))]
    expert = data.linear.expert if data.linear else None
    ensemble = Ensemble(spec, [*(start.networks[1:] if start else []), *newest], expert).eval()
    if expert is not None and spec.head == "quantile":
        expert.share[:] = _fit_share(ensemble, data)
    if len(spec.levels) > 1:
        ratios = interval_ratios(_forecast(ensemble, data.validation.windows), data.validation.actual, spec.levels)
        ensemble.interval_scale.fill_(interval_scale(required_scale(ratios, spec.levels), past_scales))
    return ensemble


def _baseline_loss(data: TrainingData, seed: int) -> float:
    source, size = data.source, min(_MAX_NAIVE_SAMPLE, len(data.source.starts))
    return naive_loss(
        source.spec, source.draw(np.random.default_rng(seed), size), data.validation, series_weights(source)
    )


def is_member_copy(network: Ensemble) -> bool:
    """Return whether the member to be trained next is a copy of another one, so that it was never trained itself."""
    first, *others = network.networks
    return any(has_equal_weights(first, other) for other in others)


def _member_seed(seed: int, number: int, start: Ensemble | None) -> int:
    """Return the seed of one member. It depends on the newest member, so a new one begins with other weights."""
    newest = start.networks[-1].series_embedding.weight.detach().numpy().tobytes() if start else None
    checksum = 0 if newest is None else zlib.crc32(newest)
    return int(np.random.SeedSequence([seed, number, checksum]).generate_state(1)[0])


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Flush denormal numbers to zero. Gradients underflow over long contexts, and denormals are 4 to 6 times slower.

    The setting is the thread's, so it is undone afterwards.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _fit_member(
    data: TrainingData, options: FitOptions, start: SegmentLSTM | None, market: MarketStatistics,
    elapsed: Callable[[], float], advance: Callable[[float, int, float], None],
) -> SegmentLSTM:  # fmt: skip
    """Train one member, from the weights of `start` or from random ones.

    Arguments are those of `fit`, and the result of `market_statistics`.
    """
    source, spec, device = data.source, data.source.spec, torch.device(options.device)
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    sample = source.draw(random, min(_MAX_SAMPLE, 4 * len(source.starts)))
    network = SegmentLSTM(
        spec, covariate_statistics(sample.windows), bin_edges(spec, sample, market),
        replace(market, residual_quantiles=residual_quantiles(spec, sample, market)),
    )  # fmt: skip
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(device)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=_update_mean)
    averaged = cast(SegmentLSTM, average.module).eval()
    for recurrent in (averaged.encoder, averaged.decoder):
        recurrent.flatten_parameters()  # the copy is not flattened, and cuDNN would flatten it at every call
    weights = series_weights(source).to(device)
    bfloat16 = _has_fast_bfloat16() if options.bfloat16 is None else options.bfloat16
    optimiser = _optimiser(network)
    stopping = options.full_stopping if start is None else options.warm_stopping
    # No update changes the linear expert, so its forecast serves all evaluations.
    forecasts = _linear_forecasts(data)
    best_loss = math.inf if start is None else _validation_loss(averaged, data, weights, forecasts)
    best_state = _copy_state(averaged)
    worse, share = 0, 0.0  # evaluations since the best one, share of the training that is done
    for update in range(1, options.max_updates + 1):
        if worse >= stopping.patience or elapsed() >= options.max_seconds:
            break
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * min(1.0, update / _WARM_UP)
        batch = source.draw(random, BATCH_SIZE)
        augmented = augment_missing(random, spec, batch.windows)
        loss = _training_loss(network, batch, augmented, weights, bfloat16, _left_out_forecast(data, batch, augmented))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
        optimiser.step()
        average.update_parameters(network)
        if update % stopping.every == 0 or update == options.max_updates:
            validation_loss = _validation_loss(averaged, data, weights, forecasts)
            worse += 1
            if validation_loss < best_loss:
                best_loss, best_state, worse = validation_loss, _copy_state(averaged), 0
            used = elapsed() / options.max_seconds
            share = share_done(update, worse, stopping, options.max_updates, used, share)
            advance(share, update, best_loss)
    network.load_state_dict(best_state if best_loss < math.inf else averaged.state_dict())
    return network.cpu()


def _copy_state(network: SegmentLSTM) -> dict[str, torch.Tensor]:
    return {name: entry.clone() for name, entry in network.state_dict().items()}


def _optimiser(network: SegmentLSTM) -> torch.optim.Optimizer:
    """Return AdamW. Only matrices decay: decay of a bias would pull forecasts towards zero."""
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=_LEARNING_RATE, fused=True,
    )  # fmt: skip


def _update_mean(mean: _Tensors, current: _Tensors, count: torch.Tensor | int) -> None:
    """Update the exponential running mean of the weights in place.

    Its memory is short at first, because the mean of a training of few updates must not stay near the initial weights.
    """
    torch._foreach_lerp_(mean, current, max(1 - _AVERAGE_DECAY, 10 / (10 + float(count))))


def _training_loss(
    network: SegmentLSTM, batch: LabeledWindows, augmented: Windows, weights: torch.Tensor, bfloat16: bool,
    linear_forecast: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """Return the mean loss over the known actuals of a batch.

    Args:
        network: Member in training mode.
        batch: Windows with their actuals.
        augmented: The same windows with values hidden, see `augment_missing`.
        weights: Weight of each series, (series + 1,).
        bfloat16: Whether a CPU computes in bfloat16. A GPU always does.
        linear_forecast: Forecast of the linear expert, (B, H), None without one.
    """
    device = weights.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16 or device.type != "cpu"):
        base = None if linear_forecast is None else linear_forecast.to(device)
        raw, base_forecast, scale = network(**to_tensors(augmented, device), linear_forecast=base)
    raw = raw.float()
    actual = torch.from_numpy(batch.actual).to(device)
    known = ~torch.isnan(actual)
    residual = (torch.where(known, actual, base_forecast[..., 0]) - base_forecast[..., 0]) / scale[..., 0]
    # The loss counts in the series' scale, as the scores do. In the window's scale, calm weeks would outweigh volatile
    # ones.
    window_weights = (scale[..., 0] * _window_weights(weights, batch.windows)).clamp(max=10.0)
    loss = network.head.loss(raw, residual) * window_weights
    return cast(torch.Tensor, (loss * known).sum() / known.sum().clamp(min=1))


@functools.cache
def _has_fast_bfloat16() -> bool:
    """Return whether this CPU has matrix tiles for bfloat16 (AMX), which about halves the time of a training.

    With vector instructions alone (AVX512-BF16), the conversions cost as much as the products save.
    """
    return bool(torch.cpu._is_amx_tile_supported())


def _window_weights(weights: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Return the weight of each window's series, shape (B, 1)."""
    return weights[torch.from_numpy(windows.series).to(weights.device)][:, None]


def _validation_loss(
    network: SegmentLSTM, data: TrainingData, weights: torch.Tensor, linear_forecasts: torch.Tensor | None
) -> float:
    """Return the mean weighted pinball loss of the validation windows.

    Args:
        network: Member in evaluation mode.
        data: Data of the training.
        weights: Weight of each series, (series + 1,).
        linear_forecasts: Result of `_linear_forecasts`.
    """
    total, count, device, validation = 0.0, 0, weights.device, data.validation
    with torch.inference_mode():
        for start in range(0, len(validation.actual), _FORECAST_BATCH):
            part = slice(start, start + _FORECAST_BATCH)
            windows, actual = validation.windows[part], torch.from_numpy(validation.actual[part]).to(device)
            base = None if linear_forecasts is None else linear_forecasts[part]
            raw, base_forecast, scale = network(
                **to_tensors(windows, device), linear_forecast=None if base is None else base.to(device)
            )
            loss = pinball(network.quantiles(raw, base_forecast, scale), network.head.levels, actual).mean(dim=-1)
            loss = loss * _window_weights(weights, windows)
            known = ~torch.isnan(actual)
            total, count = total + float(loss[known].sum()), count + int(known.sum())
    return total / max(count, 1)


def _left_out_forecast(data: TrainingData, batch: LabeledWindows, augmented: Windows) -> torch.Tensor | None:
    """Return the linear expert's forecast of training windows, (B, H), each without the fold of its window."""
    if data.linear is None:
        return None
    tensors = to_tensors(augmented)
    series = torch.from_numpy(batch.windows.series)
    tensors.pop("series")
    with torch.no_grad():
        _, forecast, _, _ = data.linear.expert(**tensors, **data.linear.left_out_tables(series, batch.steps))
    return cast(torch.Tensor, forecast)


def _linear_forecasts(data: TrainingData) -> torch.Tensor | None:
    """Return the linear expert's forecasts of the validation windows, (N, H), None without an expert."""
    if data.linear is None:
        return None
    expert, windows = data.linear.expert, data.validation.windows
    starts = range(0, len(windows), _FORECAST_BATCH)
    with torch.inference_mode():
        parts = [
            linear_outputs(expert, **to_tensors(windows[start : start + _FORECAST_BATCH]), **linear_tables(expert))[1]
            for start in starts
        ]
    return torch.cat(parts) if parts else None


def _fit_share(network: Ensemble, data: TrainingData) -> torch.Tensor:
    """Return the weight of the linear expert for each step, (H,), by the pinball loss of the validation windows.

    Each block of steps has one weight, shrunk towards one half as far as there are few windows.
    """
    expert = cast(LinearExpert, network.linear)
    quantiles, actual = {}, data.validation.actual
    weights = series_weights(data.source).numpy()[data.validation.windows.series]
    for share in (0.0, 1.0):
        expert.share.fill_(share)
        quantiles[share] = _forecast(network, data.validation.windows)
    return torch.from_numpy(
        fit_shares(quantiles[0.0], quantiles[1.0], actual, weights, network.spec.levels, len(actual))
    ).float()


def _forecast(network: Ensemble, windows: Windows) -> np.ndarray:
    """Return the quantiles in the target's unit, shape (B, H, Q)."""
    starts = range(0, len(windows), _FORECAST_BATCH)
    with torch.inference_mode():
        parts = [network(**to_tensors(windows[start : start + _FORECAST_BATCH])) for start in starts]
    return torch.cat(parts).numpy()
