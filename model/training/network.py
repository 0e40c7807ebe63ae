"""The network: an LSTM over segments of the context, a decoder over the horizon, a head of quantiles.

It takes raw values with NaN for what was not visible, and gives raw quantiles: scaling, masks, identity of the
series and physical bounds live inside, so nothing has to be kept beside the ONNX file.

Shapes: B windows, C context, H horizon, P steps a segment, M segments, K known_future, O observed covariates,
Q quantile levels, Z hidden size. Segments: SegRNN (Lin et al. 2023, arXiv:2308.11200). LSTM: Hochreiter and
Schmidhuber (1997) with the forget gate of Gers et al. (2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.calendar import CALENDAR
from model.spec import ModelSpec
from model.training.heads import HEADS, Head, SoftmaxHead

_NEWEST = 3  # steps whose mean tells where the target is just now
_LEVELS = 4  # recent levels, see `_levels`
_IDENTITY = 16  # width of the series embedding
_STEP = 16  # width of what the decoder says to each single step
_BACK = (1, 2, 3, 7, 14)  # segments back at which a step sees its own phase
_DROPOUT = 0.3  # of what the two recurrent networks take and give; docs/experiments.md
_TINY = 1e-30  # a root has no gradient at nought
_CLIP = 10.0  # scaled inputs beyond this are spikes or faults; the network sees the limit


@dataclass(frozen=True)
class Statistics:
    """Location and scale of the covariates over the fitting data, (K,) and (O,) each."""

    known_location: Tensor
    known_scale: Tensor
    observed_location: Tensor
    observed_scale: Tensor


class Scaled(nn.Module):
    """Standardise covariates (..., F) whose NaN mean 'not visible', and append the mask: (..., 2F)."""

    location: Tensor
    scale: Tensor

    def __init__(self, location: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)

    def forward(self, values: Tensor) -> Tensor:
        seen = ~torch.isnan(values)
        scaled = (torch.where(seen, values, self.location) - self.location) / self.scale
        return torch.cat([scaled.clamp(-_CLIP, _CLIP), seen.to(values.dtype)], dim=-1)


class SequenceDropout(nn.Module):
    """Dropout of (B, T, Z) whose mask is the same at every step of a sequence (Gal and Ghahramani 2016)."""

    def forward(self, sequence: Tensor) -> Tensor:
        """The sequence with units missing while the module trains, as it is else."""
        if not self.training:
            return sequence
        kept = torch.rand(sequence.shape[0], 1, sequence.shape[2]) >= _DROPOUT
        return sequence * (kept / (1 - _DROPOUT)).to(sequence.dtype)


class SegmentLSTM(nn.Module):
    """One member of the ensemble.

    Args:
        spec: shapes and meaning of inputs and outputs.
        statistics: of the covariates.
        edges: (bins + 1,) limits of the softmax head's bins in scaled units; the quantile head ignores them.
    """

    def __init__(self, spec: ModelSpec, statistics: Statistics, edges: Tensor) -> None:
        super().__init__()
        self.spec = spec
        size, segment = spec.hidden_size, spec.segment
        known, observed, calendar = 2 * len(spec.known_future), 2 * len(spec.observed), len(CALENDAR)
        self.known = Scaled(statistics.known_location, statistics.known_scale)
        self.observed = Scaled(statistics.observed_location, statistics.observed_scale)
        self.identity = nn.Embedding(len(spec.series) + 1, _IDENTITY)
        self.segment_in = nn.Linear(segment * 2, size)
        self.segment_known = nn.Linear(segment * known, size, bias=False) if known else None
        self.segment_observed = nn.Linear(segment * observed, size, bias=False) if observed else None
        self.segment_calendar = nn.Linear(2 * calendar, size, bias=False)
        self.window_in = nn.Linear(_IDENTITY + 3, size)
        self.future_in = nn.Linear(segment * known, size) if known else None
        self.future_calendar = nn.Linear(2 * calendar, size)
        self.recurrent = nn.LSTM if spec.cell == "lstm" else nn.RNN
        self.encoder = self.recurrent(size, size, spec.layers, batch_first=True)
        self.decoder = self.recurrent(size, size, spec.layers, batch_first=True)
        self.to_steps = nn.Linear(size, segment * _STEP)
        self.back = [b for b in _BACK if b <= -(-spec.context // segment)]
        # What a step may be forecast from directly: its lags and their masks, its covariates, recent levels, the newest
        # values.
        count = len(spec.known_future)
        direct = len(self.back) * (2 + count) + 3 * known + _LEVELS + 2 * (_NEWEST + count)
        self.step_in = nn.Linear(_STEP + direct, size)
        self.step_window = nn.Linear(_IDENTITY + 3, size, bias=False)
        self.step_calendar = nn.Linear(3 * calendar, size, bias=False)
        self.dropout = SequenceDropout()
        self.shift = nn.Linear(direct, 1, bias=False)
        nn.init.zeros_(self.shift.weight)
        self.head: Head = HEADS[spec.head](size, spec.levels, edges)
        for recurrent in (self.encoder, self.decoder):
            if isinstance(recurrent, nn.LSTM):
                raise_forget_bias(recurrent)

    def forward(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The head's raw output (B, H, ...), and the base (B, H, 1) and scale (B, 1, 1) it is relative to."""
        spec = self.spec
        seen = ~torch.isnan(target)
        value = torch.where(seen, target, torch.zeros_like(target))
        mask = seen.to(target.dtype)
        location, spread, scale = self._scales(value, mask)
        base, base_lag = self._seasonal_base(value, mask, location)
        shape = ((value - location) / spread * mask).clamp(-_CLIP, _CLIP)
        window = torch.cat(
            [
                self.identity(series),
                torch.sqrt(scale / spread),  # no Log: see heads._positive
                torch.asinh(location / spread) / 3,
                mask.mean(dim=1, keepdim=True),
            ],
            dim=1,
        )  # (B, identity + 3)
        known = self.known(known_future)  # (B, C + H, 2K)
        past = self.segment_in(torch.cat([self._segments(shape[..., None]), self._segments(mask[..., None])], dim=2))
        past = past + self.segment_calendar(self._segment_calendar(calendar[:, : spec.context]))
        if self.segment_known is not None:
            past = past + self.segment_known(self._segments(known[:, : spec.context]))
        if self.segment_observed is not None:
            past = past + self.segment_observed(self._segments(self.observed(observed)))
        past = self.dropout(nn.functional.silu(past + self.window_in(window)[:, None]))  # (B, M, Z)
        _, state = self.encoder(past)
        future = self.future_calendar(self._segment_calendar(calendar[:, spec.context :], ahead=True))
        if self.future_in is not None:
            future = future + self.future_in(self._segments(known[:, spec.context :], ahead=True))
        future = future.expand(target.shape[0], -1, -1)  # one calendar may serve all windows
        decoded, _ = self.decoder(self.dropout(nn.functional.silu(future)), state)
        steps = self.to_steps(self.dropout(decoded)).reshape(decoded.shape[0], -1, _STEP)[:, : spec.horizon]
        lagged, lag_mask = self._lags(value, mask)
        relative = ((lagged - base) / scale[..., None] * lag_mask).clamp(-_CLIP, _CLIP)
        centred = (value - location) * mask / scale
        direct = torch.cat(
            [
                relative, lag_mask, *self._then_and_now(known, base_lag), *self._changes(known),
                self._levels(centred, mask, base_lag), self._newest(centred, mask, known, base_lag),
            ],
            dim=2,
        )  # fmt: skip
        hidden = self.step_in(torch.cat([steps, direct], dim=2)) + self.step_window(window)[:, None]
        hidden = hidden + self.step_calendar(torch.cat(self._then_and_now(calendar, base_lag), dim=2))
        # What a linear regression on lags and covariates finds need not be learned through a hidden layer.
        return self.head(nn.functional.silu(hidden), self.shift(direct)), base, scale[..., None]

    def _scales(self, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
            change = (_total(torch.sqrt(change + _TINY)) / pairs.clamp(min=1.0)) ** 2
        else:
            change = _total(change) / pairs.clamp(min=1.0)
        scale = torch.where(pairs > 0, torch.maximum(change, 0.02 * spread), spread)
        return location, spread, scale

    def _seasonal_base(self, value: Tensor, mask: Tensor, location: Tensor) -> tuple[Tensor, int]:
        """The seasonal naive forecast (B, H, 1): the newest visible value of each phase, else the location."""
        spec = self.spec
        count = spec.context // spec.season
        if count == 0:
            return location[:, None].expand(-1, spec.horizon, 1), spec.segment
        tail = value[:, -count * spec.season :].reshape(-1, count, spec.season)
        tail_mask = mask[:, -count * spec.season :].reshape(-1, count, spec.season)
        rank = torch.arange(1, count + 1, dtype=value.dtype)[None, :, None] * tail_mask
        newest = (rank == rank.amax(dim=1, keepdim=True)).to(value.dtype) * tail_mask
        phase = (tail * newest).sum(dim=1) + location * (1 - newest.sum(dim=1))  # (B, season)
        repeats = -(-spec.horizon // spec.season)
        return phase.repeat(1, repeats)[:, : spec.horizon, None], spec.season

    def _lags(self, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Each step's own phase in earlier segments, (B, H, lags), and their masks."""
        both = self._segments(torch.stack([value, mask], dim=2)).reshape(value.shape[0], -1, self.spec.segment, 2)
        picked = torch.stack([both[:, -back] for back in self.back], dim=2)  # (B, P, lags, 2)
        repeats = -(-self.spec.horizon // self.spec.segment)
        picked = picked.repeat(1, repeats, 1, 1)[:, : self.spec.horizon]
        return picked[..., 0], picked[..., 1]

    def _changes(self, known: Tensor) -> list[Tensor]:
        """(B, H, K) for each lag: the covariates of a step less what they were where the lag is from."""
        spec, count = self.spec, len(self.spec.known_future)
        phase = torch.arange(spec.horizon) % spec.segment
        then = [(spec.context - back * spec.segment + phase).clamp(min=0) for back in self.back]
        return [known[:, spec.context :, :count] - known[:, index, :count] for index in then]

    def _levels(self, centred: Tensor, mask: Tensor, base_lag: int) -> Tensor:
        """(B, H, 4), alike at every step: how recent means, in scales, differ from earlier ones.

        The last segment and the one that the base is from; the last three steps and those that the base is from; the
        last segment and the last seven; the last three steps and the last segment.
        """
        spec = self.spec

        def mean(first: int, length: int) -> Tensor:
            part = slice(max(0, spec.context - first), max(length, spec.context - first + length))
            return _total(centred[:, part]) / _total(mask[:, part]).clamp(min=1.0)

        segment, week = spec.segment, min(7 * spec.segment, spec.context)
        day, last = mean(segment, segment), mean(_NEWEST, _NEWEST)
        levels = torch.cat(
            [
                day - mean(segment + base_lag, segment), last - mean(_NEWEST + base_lag, _NEWEST),
                day - mean(week, week), last - day,
            ],
            dim=1,
        ).clamp(-_CLIP, _CLIP)  # fmt: skip
        return levels[:, None].expand(-1, spec.horizon, -1)

    def _newest(self, centred: Tensor, mask: Tensor, known: Tensor, base_lag: int) -> Tensor:
        """(B, H, 2 (3 + K)), alike at every step: each of the newest values, in scales, against those one segment and
        one season before, and the newest covariates against theirs, which tell how much of it the weather is.
        """
        spec, count = self.spec, len(self.spec.known_future)
        now = slice(spec.context - _NEWEST, spec.context)
        parts = []
        for lag in (base_lag, spec.segment):
            end = max(spec.context - lag, _NEWEST)
            then = slice(end - _NEWEST, end)
            parts.append((centred[:, now] - centred[:, then]) * mask[:, now] * mask[:, then])
            parts.append(known[:, spec.context - 1, :count] - known[:, end - 1, :count])
        return torch.cat(parts, dim=1).clamp(-_CLIP, _CLIP)[:, None].expand(-1, spec.horizon, -1)

    def _then_and_now(self, table: Tensor, base_lag: int) -> list[Tensor]:
        """Covariates (B, C + H, F) at each step of the horizon, one segment earlier, and where the base is from."""
        spec = self.spec
        step = torch.arange(spec.horizon)
        now = spec.context + step
        return [table[:, index] for index in (now, *(
            (spec.context - lag + step % lag).clamp(min=0) for lag in (spec.segment, base_lag)
        ))]  # fmt: skip

    def _segment_calendar(self, table: Tensor, ahead: bool = False) -> Tensor:
        """(B, T, F) -> (B, M, 2F): the calendar at both ends of each segment tells what lies between."""
        pad = -table.shape[1] % self.spec.segment
        if pad:
            table = nn.functional.pad(table, (0, 0, 0, pad) if ahead else (0, 0, pad, 0))
        segment = self.spec.segment
        return torch.cat([table[:, ::segment], table[:, segment - 1 :: segment]], dim=2)

    def _segments(self, table: Tensor, ahead: bool = False) -> Tensor:
        """(B, T, F) -> (B, M, P * F); a length that is no multiple of P is padded with zeros at its far end."""
        pad = -table.shape[1] % self.spec.segment
        if pad:
            table = nn.functional.pad(table, (0, 0, 0, pad) if ahead else (0, 0, pad, 0))
        return table.reshape(table.shape[0], -1, self.spec.segment * table.shape[2])


class Ensemble(nn.Module):
    """Members averaged quantile by quantile (Vincentization), stretched around the median, kept inside `bounds`:
    (B, H, Q) raw quantiles.
    """

    stretch: Tensor

    def __init__(self, spec: ModelSpec, members: list[SegmentLSTM]) -> None:
        super().__init__()
        self.spec = spec
        self.networks = members
        self.middle = spec.levels.index(0.5)
        self.register_buffer("stretch", torch.ones(1))  # see model/calibration.py
        self.members = nn.ModuleList(members)

    def forward(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor
    ) -> Tensor:
        return self.outputs(target, known_future, observed, calendar, series)["quantiles"]

    def outputs(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor
    ) -> dict[str, Tensor]:
        """`quantiles`; of a softmax head also the distribution of every member, which knows no bounds: raw `edges` of
        its bins (B, H, members, N + 1), stretched as the quantiles are, and their `probabilities` (B, H, members, N).
        """
        quantiles, edges, probabilities = [], [], []
        for member in self.networks:
            raw, base, scale = member(target, known_future, observed, calendar, series)
            quantiles.append(base + scale * member.head.quantiles(raw))
            if isinstance(member.head, SoftmaxHead):
                edges.append((base + scale * member.head.edges).expand(-1, raw.shape[1], -1))
                probabilities.append(torch.softmax(raw, dim=-1))
        mean = torch.stack(quantiles).mean(dim=0)
        median = mean[..., self.middle : self.middle + 1]
        mean = median + self.stretch * (mean - median)
        if self.spec.lower is not None:
            mean = mean.clamp(min=self.spec.lower)
        if self.spec.upper is not None:
            mean = mean.clamp(max=self.spec.upper)
        if not edges:
            return {"quantiles": mean}
        centre = median[:, :, None]
        limits = centre + self.stretch * (torch.stack(edges, dim=2) - centre)
        return {"quantiles": mean, "edges": limits, "probabilities": torch.stack(probabilities, dim=2)}


def _total(rows: Tensor) -> Tensor:
    """(B, T) -> (B, 1) sums. ONNX Runtime adds in an order that depends on where in memory a row begins; padded
    to whole cache lines every row begins alike, and its sum does not depend on its place in the batch.
    """
    return nn.functional.pad(rows, (0, -rows.shape[1] % 16)).sum(dim=1, keepdim=True)


def raise_forget_bias(lstm: nn.LSTM) -> None:
    """Start with the forget gates open (Jozefowicz et al. 2015); torch's gate order is i, f, g, o."""
    for name, parameter in lstm.named_parameters():
        if name.startswith("bias_ih"):
            size = parameter.shape[0] // 4
            nn.init.ones_(parameter.data[size : 2 * size])
