"""Features of a window that need no weights: location, scale, seasonal base, lags, levels and newest values.

Shapes as in network.py. A value that was not visible is 0, and so is its mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.spec import ModelSpec

#: Number of newest steps whose values and mean describe the current level.
NEWEST = 3
#: Number of features of `Features.level_differences`.
LEVELS = 4
#: Limit of scaled inputs. Larger values are spikes or faults, and the network receives the limit instead.
CLIP = 10.0
_LAG_SEGMENTS = (1, 2, 3, 7, 14)
#: Distance from the context's mean, relative to the mean, beyond which a market's value is a spike.
SPIKE = 0.4
_TINY = 1e-30  # a square root has no gradient at 0
_HALF_LIFE = 5.0  # steps after which a change of a market counts half


class Features:
    """Features of the windows of one spec.

    Attributes:
        lag_segments: Lags in segments, those that lie within the context.
        direct_size: Number of features of a step that bypass the recurrent layers: lags and their masks, covariates
            at the step and before, level differences and newest differences.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.lag_segments = [lag for lag in _LAG_SEGMENTS if lag <= -(-spec.context // spec.segment)]
        count = len(spec.known_future)
        self.direct_size = len(self.lag_segments) * (2 + count) + 6 * count + LEVELS + 2 * (NEWEST + count)

    def window_statistics(
        self, value: Tensor, mask: Tensor, volatility_root: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return location, standard deviation and scale of the context, shape (B, 1) each.

        The scale is the mean absolute change over a segment, or over a season if that is shorter. A longer season would
        measure unusual weeks: after a week of frost, a whole context of two weeks differs from the week before.
        It is at least the standard deviation times the squared share of the context that is missing.

        A market's base forecast is its last value. There the scale is the squared mean of the changes' square roots,
        which one spike moves less, and recent changes count more. Where the volatility of the series over its whole
        history is known, it has a third of the weight (docs/experiments.md, "Markets").

        Args:
            value: Context of the target, 0 where not visible, (B, C).
            mask: 1 where visible, (B, C).
            volatility_root: Long-run volatility of each window's series, see `statistics.volatility_roots`, (B, 1). 0
                if unknown; None if it is unknown for all.
        """
        lag = min(self.spec.season, self.spec.segment)
        count = mask.sum(dim=1, keepdim=True).clamp(min=1.0)
        first = stable_sum(value) / count
        centred = (value - first) * mask  # centred twice, because float32 loses the small digits of a large level
        location = first + stable_sum(centred) / count
        centred = (value - location) * mask
        floor = 1e-4 * location.abs() + 1e-6
        spread = torch.sqrt(stable_sum(centred * centred) / count) + floor
        if lag >= self.spec.context:
            return location, spread, spread
        both = mask[:, lag:] * mask[:, :-lag]
        pairs = both.sum(dim=1, keepdim=True)
        change = (centred[:, lag:] - centred[:, :-lag]).abs() * both
        if self.spec.season == 1:
            weights = self._volatility_weights(change)
            roots = stable_sum(torch.sqrt(change + _TINY) * weights)
            weight = stable_sum(both * weights)
            if volatility_root is not None:
                roots = roots + volatility_root * torch.sqrt(torch.sqrt(location * location + spread * spread))
                weight = weight + (volatility_root > 0).to(weight.dtype)
            change = (roots / weight.clamp(min=_TINY)) ** 2
        else:
            change = stable_sum(change) / pairs.clamp(min=1.0)
        # The more is missing, the more steps have no base forecast but the mean, whose residuals have the size of the
        # spread. The square leaves windows as they are that miss little. Of a complete context the share is 0.
        missing = 1 - mask.sum(dim=1, keepdim=True) / self.spec.context
        floor = spread * torch.clamp(missing * missing, min=0.02)
        scale = torch.where(pairs > 0, torch.maximum(change, floor), spread)
        return location, spread, scale

    def _volatility_weights(self, changes: Tensor) -> Tensor:
        """Return weights of the changes of a context, oldest first, shape (T,).

        One half of the weight is constant, the other decays exponentially with age. A GARCH model (Bollerslev 1986)
        does the same: its variance follows recent changes and returns to a long-run mean.
        """
        age = torch.arange(changes.shape[1] - 1, -1, -1, dtype=changes.dtype, device=changes.device)
        recent = torch.exp2(-age / _HALF_LIFE)
        return recent / recent.sum() + 1 / len(age)

    def spike(self, base: Tensor, location: Tensor) -> Tensor:
        """Return the part of a market's last value that is a spike, (B, H, 1), 0 within `SPIKE` of the mean.

        Args:
            base: Last value, (B, H, 1).
            location: Mean of the context, (B, 1).
        """
        distance = base - location[:, None]
        return torch.sign(distance) * nn.functional.relu(distance.abs() - SPIKE * location.abs()[:, None])

    def seasonal_base(self, value: Tensor, mask: Tensor, location: Tensor) -> tuple[Tensor, int]:
        """Return the seasonal naive forecast, shape (B, H, 1), and its lag in steps.

        It is the newest visible value of each phase of the season, else the location.
        """
        spec = self.spec
        count = spec.context // spec.season
        if count == 0:
            return location[:, None].expand(-1, spec.horizon, 1), spec.segment
        tail = value[:, -count * spec.season :].reshape(-1, count, spec.season)
        tail_mask = mask[:, -count * spec.season :].reshape(-1, count, spec.season)
        rank = torch.arange(1, count + 1, dtype=value.dtype, device=value.device)[None, :, None] * tail_mask
        newest = (rank == rank.amax(dim=1, keepdim=True)).to(value.dtype) * tail_mask
        phase = (tail * newest).sum(dim=1) + location * (1 - newest.sum(dim=1))  # (B, season)
        repeats = -(-spec.horizon // spec.season)
        return phase.repeat(1, repeats)[:, : spec.horizon, None], spec.season

    def lags(self, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values at the same phase of earlier segments, and their masks, shape (B, H, lags) each."""
        both = self.segments(torch.stack([value, mask], dim=2)).reshape(value.shape[0], -1, self.spec.segment, 2)
        picked = torch.stack([both[:, -lag] for lag in self.lag_segments], dim=2)  # (B, P, lags, 2)
        repeats = -(-self.spec.horizon // self.spec.segment)
        picked = picked.repeat(1, repeats, 1, 1)[:, : self.spec.horizon]
        return picked[..., 0], picked[..., 1]

    def covariate_differences(self, known: Tensor) -> list[Tensor]:
        """Return the covariates of a step minus those at each lag, shape (B, H, K) per lag."""
        spec, count = self.spec, len(self.spec.known_future)
        phase = torch.arange(spec.horizon, device=known.device) % spec.segment
        lagged = [(spec.context - lag * spec.segment + phase).clamp(min=0) for lag in self.lag_segments]
        return [known[:, spec.context :, :count] - known[:, index, :count] for index in lagged]

    def level_differences(self, centred: Tensor, mask: Tensor, base_lag: int) -> Tensor:
        """Return differences between recent means and earlier ones, in scales, equal at every step, shape (B, H, 4).

        The four compare: the last segment and the one that the base forecast is from; the newest steps and those that
        the base forecast is from; the last segment and the last seven; the newest steps and the last segment.
        """
        spec = self.spec

        def mean(first: int, length: int) -> Tensor:
            part = slice(max(0, spec.context - first), max(length, spec.context - first + length))
            return stable_sum(centred[:, part]) / stable_sum(mask[:, part]).clamp(min=1.0)

        segment, week = spec.segment, min(7 * spec.segment, spec.context)
        last_segment, newest = mean(segment, segment), mean(NEWEST, NEWEST)
        differences = torch.cat(
            [
                last_segment - mean(segment + base_lag, segment), newest - mean(NEWEST + base_lag, NEWEST),
                last_segment - mean(week, week), newest - last_segment,
            ],
            dim=1,
        ).clamp(-CLIP, CLIP)  # fmt: skip
        return differences[:, None].expand(-1, spec.horizon, -1)

    def newest_differences(self, centred: Tensor, mask: Tensor, known: Tensor, base_lag: int) -> Tensor:
        """Return differences of the newest values and covariates, equal at every step, shape (B, H, 2 (3 + K)).

        Each of the newest values is compared, in scales, with the one a season and the one a segment before. So are the
        newest covariates, which show how much of a difference the weather explains.
        """
        spec, count = self.spec, len(self.spec.known_future)
        now = slice(spec.context - NEWEST, spec.context)
        parts = []
        for lag in (base_lag, spec.segment):
            end = max(spec.context - lag, NEWEST)
            before = slice(end - NEWEST, end)
            parts.append((centred[:, now] - centred[:, before]) * mask[:, now] * mask[:, before])
            parts.append(known[:, spec.context - 1, :count] - known[:, end - 1, :count])
        return torch.cat(parts, dim=1).clamp(-CLIP, CLIP)[:, None].expand(-1, spec.horizon, -1)

    def current_and_lagged(self, table: Tensor, base_lag: int) -> list[Tensor]:
        """Return covariates at each step of the horizon, one segment earlier, and at the step of the base forecast.

        Args:
            table: Covariates of context and horizon, (B, C + H, F).
            base_lag: Lag of the base forecast in steps.

        Returns:
            Three tensors of shape (B, H, F).
        """
        spec = self.spec
        step = torch.arange(spec.horizon, device=table.device)
        lagged = [(spec.context - lag + step % lag).clamp(min=0) for lag in (spec.segment, base_lag)]
        return [table[:, index] for index in (spec.context + step, *lagged)]

    def segment_calendar(self, table: Tensor, ahead: bool = False) -> Tensor:
        """Return the calendar at the first and last step of each segment, (B, T, F) to (B, M, 2F)."""
        padded = self._pad(table, ahead)
        segment = self.spec.segment
        return torch.cat([padded[:, ::segment], padded[:, segment - 1 :: segment]], dim=2)

    def segments(self, table: Tensor, ahead: bool = False) -> Tensor:
        """Return the steps of each segment side by side, (B, T, F) to (B, M, P * F).

        Args:
            table: Values per step.
            ahead: Whether the table is of the horizon. Zeros complete its last segment, else the first one.
        """
        padded = self._pad(table, ahead)
        return padded.reshape(padded.shape[0], -1, self.spec.segment * padded.shape[2])

    def _pad(self, table: Tensor, ahead: bool) -> Tensor:
        missing = -table.shape[1] % self.spec.segment
        if not missing:
            return table
        return nn.functional.pad(table, (0, 0, 0, missing) if ahead else (0, 0, missing, 0))


def stable_sum(rows: Tensor) -> Tensor:
    """Return the sums of the last axis, (..., T) to (..., 1), equal for a row at any place in a batch.

    ONNX Runtime adds in an order that depends on where in memory a row begins. Rows that are padded to whole cache
    lines all begin alike.
    """
    return nn.functional.pad(rows, (0, -rows.shape[-1] % 16)).sum(dim=-1, keepdim=True)
