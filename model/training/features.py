"""What the network is given that needs no weights: units, lags, levels and the newest values of a context.

Shapes as in network.py. A value that was not visible is nought, and its mask too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.spec import ModelSpec

NEWEST = 3  # steps whose mean tells where the target is just now
LEVELS = 4  # recent levels, see `Features.levels`
_BACK = (1, 2, 3, 7, 14)  # segments back at which a step sees its own phase
_TINY = 1e-30  # a root has no gradient at nought
_HALF_LIFE = 5.0  # steps
CLIP = 10.0  # scaled inputs beyond this are spikes or faults; the network sees the limit


class Features:
    """Of windows of one spec.

    Attributes:
        back: segments back at which the lags are; those within the context.
        direct: how many numbers a step may be forecast from directly: its lags and their masks, its covariates, recent
            levels, the newest values.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.back = [b for b in _BACK if b <= -(-spec.context // spec.segment)]
        count = len(spec.known_future)
        self.direct = len(self.back) * (2 + count) + 6 * count + LEVELS + 2 * (NEWEST + count)

    def scales(self, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Location, standard deviation and unit of the context; (B, 1) each.

        The unit is the mean absolute change over a segment, or over a season where that is shorter. Not over a longer
        season: after one week of frost all of a context of two weeks differs from the week before, and an error is
        measured, and made, by the frost. Where the base is the last value, as of a market, the changes enter by their
        roots: their mean is five times what it was for all of the weeks in which one spike lies in the context.
        """
        lag = min(self.spec.season, self.spec.segment)
        count = mask.sum(dim=1, keepdim=True).clamp(min=1.0)
        first = _total(value) / count
        centred = (value - first) * mask  # twice: a large level costs float32 its small digits
        location = first + _total(centred) / count
        centred = (value - location) * mask
        floor = 1e-4 * location.abs() + 1e-6
        spread = torch.sqrt(_total(centred * centred) / count) + floor
        if lag >= self.spec.context:
            return location, spread, spread
        both = mask[:, lag:] * mask[:, :-lag]
        pairs = both.sum(dim=1, keepdim=True)
        change = (centred[:, lag:] - centred[:, :-lag]).abs() * both
        if self.spec.season == 1:
            fading = self._fading(change)
            change = (_total(torch.sqrt(change + _TINY) * fading) / _total(both * fading).clamp(min=_TINY)) ** 2
        else:
            change = _total(change) / pairs.clamp(min=1.0)
        scale = torch.where(pairs > 0, torch.maximum(change, 0.02 * spread), spread)
        return location, spread, scale

    def _fading(self, changes: Tensor) -> Tensor:
        """Weights of the changes of a context, oldest first: half of all is alike, half fades with their age, as in a
        GARCH model (Bollerslev 1986), whose variance returns to its long mean.
        """
        age = torch.arange(changes.shape[1] - 1, -1, -1, dtype=changes.dtype, device=changes.device)
        recent = torch.exp2(-age / _HALF_LIFE)
        return recent / recent.sum() + 1 / len(age)

    def seasonal_base(self, value: Tensor, mask: Tensor, location: Tensor) -> tuple[Tensor, int]:
        """The seasonal naive forecast (B, H, 1): the newest visible value of each phase, else the location."""
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
        """Each step's own phase in earlier segments, (B, H, lags), and their masks."""
        both = self.segments(torch.stack([value, mask], dim=2)).reshape(value.shape[0], -1, self.spec.segment, 2)
        picked = torch.stack([both[:, -back] for back in self.back], dim=2)  # (B, P, lags, 2)
        repeats = -(-self.spec.horizon // self.spec.segment)
        picked = picked.repeat(1, repeats, 1, 1)[:, : self.spec.horizon]
        return picked[..., 0], picked[..., 1]

    def changes(self, known: Tensor) -> list[Tensor]:
        """(B, H, K) for each lag: the covariates of a step less what they were where the lag is from."""
        spec, count = self.spec, len(self.spec.known_future)
        phase = torch.arange(spec.horizon, device=known.device) % spec.segment
        then = [(spec.context - back * spec.segment + phase).clamp(min=0) for back in self.back]
        return [known[:, spec.context :, :count] - known[:, index, :count] for index in then]

    def levels(self, centred: Tensor, mask: Tensor, base_lag: int) -> Tensor:
        """(B, H, 4), alike at every step: how recent means, in scales, differ from earlier ones.

        The last segment and the one that the base is from; the last three steps and those that the base is from; the
        last segment and the last seven; the last three steps and the last segment.
        """
        spec = self.spec

        def mean(first: int, length: int) -> Tensor:
            part = slice(max(0, spec.context - first), max(length, spec.context - first + length))
            return _total(centred[:, part]) / _total(mask[:, part]).clamp(min=1.0)

        segment, week = spec.segment, min(7 * spec.segment, spec.context)
        day, last = mean(segment, segment), mean(NEWEST, NEWEST)
        levels = torch.cat(
            [
                day - mean(segment + base_lag, segment), last - mean(NEWEST + base_lag, NEWEST),
                day - mean(week, week), last - day,
            ],
            dim=1,
        ).clamp(-CLIP, CLIP)  # fmt: skip
        return levels[:, None].expand(-1, spec.horizon, -1)

    def newest(self, centred: Tensor, mask: Tensor, known: Tensor, base_lag: int) -> Tensor:
        """(B, H, 2 (3 + K)), alike at every step: each of the newest values, in scales, against those one segment and
        one season before, and the newest covariates against theirs, which tell how much of it the weather is.
        """
        spec, count = self.spec, len(self.spec.known_future)
        now = slice(spec.context - NEWEST, spec.context)
        parts = []
        for lag in (base_lag, spec.segment):
            end = max(spec.context - lag, NEWEST)
            then = slice(end - NEWEST, end)
            parts.append((centred[:, now] - centred[:, then]) * mask[:, now] * mask[:, then])
            parts.append(known[:, spec.context - 1, :count] - known[:, end - 1, :count])
        return torch.cat(parts, dim=1).clamp(-CLIP, CLIP)[:, None].expand(-1, spec.horizon, -1)

    def then_and_now(self, table: Tensor, base_lag: int) -> list[Tensor]:
        """Covariates (B, C + H, F) at each step of the horizon, one segment earlier, and where the base is from."""
        spec = self.spec
        step = torch.arange(spec.horizon, device=table.device)
        now = spec.context + step
        return [table[:, index] for index in (now, *(
            (spec.context - lag + step % lag).clamp(min=0) for lag in (spec.segment, base_lag)
        ))]  # fmt: skip

    def segment_calendar(self, table: Tensor, ahead: bool = False) -> Tensor:
        """(B, T, F) -> (B, M, 2F): the calendar at both ends of each segment tells what lies between."""
        pad = -table.shape[1] % self.spec.segment
        if pad:
            table = nn.functional.pad(table, (0, 0, 0, pad) if ahead else (0, 0, pad, 0))
        segment = self.spec.segment
        return torch.cat([table[:, ::segment], table[:, segment - 1 :: segment]], dim=2)

    def segments(self, table: Tensor, ahead: bool = False) -> Tensor:
        """(B, T, F) -> (B, M, P * F); a length that is no multiple of P is padded with zeros at its far end."""
        pad = -table.shape[1] % self.spec.segment
        if pad:
            table = nn.functional.pad(table, (0, 0, 0, pad) if ahead else (0, 0, pad, 0))
        return table.reshape(table.shape[0], -1, self.spec.segment * table.shape[2])


def _total(rows: Tensor) -> Tensor:
    """(B, T) -> (B, 1) sums. ONNX Runtime adds in an order that depends on where in memory a row begins; padded
    to whole cache lines every row begins alike, and its sum does not depend on its place in the batch.
    """
    return nn.functional.pad(rows, (0, -rows.shape[1] % 16)).sum(dim=1, keepdim=True)
