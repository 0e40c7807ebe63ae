"""Fitting: pinball or CRPS, early stop, a budget of time."""

from __future__ import annotations

import functools
import logging
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch

from model.evaluation.calibration import interval_ratios, interval_scale, required_scale
from model.spec import ModelSpec
from model.training.devices import tensors
from model.training.heads import pinball
from model.training.network import Ensemble, SegmentLSTM, has_equal_weights
from model.training.samples import LabeledWindows, Sampler, augment_missing
from model.training.statistics import bin_edges, covariate_statistics, residual_quantiles, series_weights
from model.windows import Windows

logger = logging.getLogger(__name__)

_BATCH = 64
# Two cores halve the time of a batch; more add nothing to products of this size.
_THREADS = min(2, os.cpu_count() or 1)
_UPDATES = 3000
_LEARNING_RATE = 2e-3
_WARM_UP = 50  # updates
_DECAY = 0.995  # of the running mean of the weights
_EVERY = 50  # updates between two looks at the validation windows
_PATIENCE = 12  # looks without a gain
# Of a network that goes on from another's weights:
_WARM_EVERY = 25
_WARM_PATIENCE = 3
_SAMPLES = 4096
_SCORED = 256  # windows forecast at once
_Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def fit(
    spec: ModelSpec,
    source: Sampler,
    validation: LabeledWindows,
    seed: int,
    budget: float,
    elapsed: Callable[[], float],
    advance: Callable[[float], None],
    start: Ensemble | None = None,
    renew: bool = False,
    past: Sequence[float] = (),
    device: str = "cpu",
) -> Ensemble:
    """Train `spec.members` networks, or the next one of those of `start`, keep of each the state that was best on
    `validation`, and fit the width of their intervals to it.

    The rate stays as it is after a short warm-up and the weights are averaged as they run (Polyak and Juditsky 1992),
    so that a series that is soon learned costs little, and one that is not has time. Members are fitted one after the
    other; the places of those for which no time is left are taken by copies of the others, see `is_member_copy`.

    Args:
        seed: the same seed, data and machine give the same weights, unless the budget cuts in. A GPU adds in no fixed
            order, so there nearly the same.
        budget: seconds for all members that are trained, together.
        elapsed: seconds since the fit began (the clock is the caller's).
        advance: told the share done, 0 to 1.
        start: members in the order in which they were trained. The first of them is trained now and becomes the last;
            the others stay as they are. It goes on from its weights, with less patience, and keeps them where nothing
            is better on `validation`.
        renew: it begins from nothing instead.
        past: factors that were right for the intervals of earlier networks, see `calibration.interval_scale`.
        device: where the weights are while they are fitted, see `resolve_device`; what is returned is on the CPU.
    """
    torch.set_num_threads(_THREADS)
    begins = [None] * spec.members if start is None else [None if renew else start.networks[0]]

    def member(number: int, begun: float) -> SegmentLSTM:
        return _fit_member(
            spec, source, validation, _own_seed(seed, number, start), budget - begun,
            lambda: elapsed() - begun, lambda done: advance((number + done) / len(begins)), begins[number],
            torch.device(device),
        )  # fmt: skip

    trained: list[SegmentLSTM] = []
    longest = 0.0
    with _denormals_flushed():
        for number in range(len(begins)):
            begun = elapsed()
            if trained and budget - begun < longest / 2:  # too little to learn what the others have
                break
            trained.append(member(number, begun))
            longest = max(longest, elapsed() - begun)
    places = [trained[number % len(trained)] for number in range(len(begins))]
    ensemble = Ensemble(spec, [*(start.networks[1:] if start else []), *places]).eval()
    if len(spec.levels) > 1:
        found = interval_ratios(_forecast(ensemble, validation.windows), validation.actual, spec.levels)
        ensemble.interval_scale.fill_(interval_scale(required_scale(found, spec.levels), past))
    advance(1.0)
    return ensemble


def is_member_copy(network: Ensemble) -> bool:
    """Whether the member whose turn it is stands there a second time: it has not been fitted yet."""
    first, *others = network.networks
    return any(has_equal_weights(first, other) for other in others)


def _own_seed(seed: int, number: int, start: Ensemble | None) -> int:
    """Of a member among those trained at once: one that takes another's place must not begin where any of them did."""
    newest = zlib.crc32(start.networks[-1].identity.weight.detach().numpy().tobytes()) if start else 0
    return int(np.random.SeedSequence([seed, number, newest]).generate_state(1)[0])


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Gradients underflow over long contexts, and denormals cost 4-6 times. The rest of the process keeps them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _fit_member(
    spec: ModelSpec, source: Sampler, validation: LabeledWindows, seed: int, budget: float,
    elapsed: Callable[[], float], advance: Callable[[float], None], start: SegmentLSTM | None, device: torch.device,
) -> SegmentLSTM:  # fmt: skip
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    sample = source.draw(random, min(_SAMPLES, 4 * len(source.known)))
    network = SegmentLSTM(
        spec, covariate_statistics(sample.windows), bin_edges(spec, sample), residual_quantiles(spec, sample)
    )
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(device)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=_running_mean)
    averaged = cast(SegmentLSTM, average.module).eval()
    for recurrent in (averaged.encoder, averaged.decoder):
        recurrent.flatten_parameters()  # a copy's are not, and cuDNN would do it at every call
    weight = series_weights(source).to(device)
    optimiser = _optimiser(network)
    every, patience = (_EVERY, _PATIENCE) if start is None else (_WARM_EVERY, _WARM_PATIENCE)
    best = math.inf if start is None else _score(averaged, validation, weight)
    best_state = {name: entry.clone() for name, entry in averaged.state_dict().items()}
    worse = 0
    for update in range(1, _UPDATES + 1):
        if worse >= patience or elapsed() >= budget:
            break
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * min(1.0, update / _WARM_UP)
        drawn = source.draw(random, _BATCH)
        loss = _loss(network, drawn, augment_missing(random, spec, drawn.windows), weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        if update % every == 0:
            advance(max(update / _UPDATES, elapsed() / budget))
            score = _score(averaged, validation, weight)
            worse = 0 if score < best else worse + 1
            if score < best:
                best, best_state = score, {name: entry.clone() for name, entry in averaged.state_dict().items()}
    network.load_state_dict(best_state if best < math.inf else averaged.state_dict())
    return network.cpu()


def _optimiser(network: SegmentLSTM) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 1e-2}, {"params": rest, "weight_decay": 0.0}],
        lr=_LEARNING_RATE, fused=True,
    )  # fmt: skip


def _running_mean(mean: _Tensors, now: _Tensors, count: torch.Tensor | int) -> None:
    """Exponential, with a short memory at first: a retrain of few steps must not end near where it began."""
    torch._foreach_lerp_(mean, now, max(1 - _DECAY, 10 / (10 + float(count))))


def _loss(network: SegmentLSTM, drawn: LabeledWindows, disturbed: Windows, weight: torch.Tensor) -> torch.Tensor:
    device = weight.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type != "cpu" or _fast_bfloat16()):
        raw, base, scale = network(**tensors(disturbed, device))
    raw = raw.float()
    actual = torch.from_numpy(drawn.actual).to(device)
    known = ~torch.isnan(actual)
    residual = (torch.where(known, actual, base[..., 0]) - base[..., 0]) / scale[..., 0]
    # In units of the series, as the score is, and not of the window: quiet weeks must not outweigh wild ones.
    loss = network.head.loss(raw, residual) * (scale[..., 0] * _of(weight, drawn.windows)).clamp(max=10.0)
    return (loss * known).sum() / known.sum().clamp(min=1)


@functools.cache
def _fast_bfloat16() -> bool:
    """Whether this CPU has tiles for bfloat16 (AMX): training in it is then about twice as fast.

    On a CPU that has only the vector instructions (AVX512-BF16) the conversions ate the gain when measured.
    """
    return torch.cpu._is_amx_tile_supported()


def _of(weight: torch.Tensor, windows: Windows) -> torch.Tensor:
    """(B, 1) the weight of each window's series."""
    return weight[torch.from_numpy(windows.series).to(weight.device)][:, None]


def _score(network: SegmentLSTM, validation: LabeledWindows, weight: torch.Tensor) -> float:
    """Mean pinball of the validation windows, in units of the series."""
    total, count, device = 0.0, 0, weight.device
    with torch.inference_mode():
        for start in range(0, len(validation.actual), _SCORED):
            part = slice(start, start + _SCORED)
            windows, actual = validation.windows[part], torch.from_numpy(validation.actual[part]).to(device)
            raw, base, scale = network(**tensors(windows, device))
            loss = pinball(network.quantiles(raw, base, scale), network.head.levels, actual).mean(dim=-1)
            loss = loss * _of(weight, windows)
            known = ~torch.isnan(actual)
            total, count = total + float(loss[known].sum()), count + int(known.sum())
    return total / max(count, 1)


def _forecast(network: Ensemble, given: Windows) -> np.ndarray:
    """(B, H, Q) raw quantiles."""
    with torch.inference_mode():
        parts = [network(**tensors(given[start : start + _SCORED])) for start in range(0, len(given), _SCORED)]
    return torch.cat(parts).numpy()
