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
from model.training.features import CLIP, Features
from model.training.heads import BINS, HEADS, Head, SoftmaxHead

_IDENTITY = 16  # width of the series embedding
_STEP = 16  # width of what the decoder says to each single step
_DROPOUT = 0.3  # of what the two recurrent networks take and give; docs/experiments.md


@dataclass(frozen=True)
class CovariateStatistics:
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
        return torch.cat([scaled.clamp(-CLIP, CLIP), seen.to(values.dtype)], dim=-1)


class SequenceDropout(nn.Module):
    """Dropout of (B, T, Z) whose mask is the same at every step of a sequence (Gal and Ghahramani 2016)."""

    def forward(self, sequence: Tensor) -> Tensor:
        """The sequence with units missing while the module trains, as it is else."""
        if not self.training:
            return sequence
        kept = torch.rand(sequence.shape[0], 1, sequence.shape[2], device=sequence.device) >= _DROPOUT
        return sequence * (kept / (1 - _DROPOUT)).to(sequence.dtype)


class SegmentLSTM(nn.Module):
    """One member of the ensemble.

    Args:
        spec: shapes and meaning of inputs and outputs.
        statistics: of the covariates.
        edges: (bins + 1,) limits of the softmax head's bins in scaled units; the quantile head ignores them.
        usual: (H, Q) quantiles of the scaled residuals at each step, over the fitting data; only where
            `uses_residual_prior`.
    """

    half_residual_quantiles: Tensor | None

    def __init__(
        self, spec: ModelSpec, statistics: CovariateStatistics, edges: Tensor, usual: Tensor | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        size, segment = spec.hidden_size, spec.segment
        known, observed, calendar = 2 * len(spec.known_future), 2 * len(spec.observed), len(CALENDAR)
        self.known = Scaled(statistics.known_location, statistics.known_scale)
        self.observed = Scaled(statistics.observed_location, statistics.observed_scale)
        self.series_embedding = nn.Embedding(len(spec.series) + 1, _IDENTITY)
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
        self.features = Features(spec)
        self.step_in = nn.Linear(_STEP + self.features.direct, size)
        self.step_window = nn.Linear(_IDENTITY + 3, size, bias=False)
        self.step_calendar = nn.Linear(3 * calendar, size, bias=False)
        self.dropout = SequenceDropout()
        self.linear_skip = nn.Linear(self.features.direct, 1, bias=False)
        nn.init.zeros_(self.linear_skip.weight)
        self.head: Head = HEADS[spec.head](size, spec.levels, edges)
        # Halved here: what the graph computed with fitted numbers alone the exporter would fold, see heads.SoftmaxHead.
        self.register_buffer("half_residual_quantiles", None if usual is None else usual / 2)
        for recurrent in (self.encoder, self.decoder):
            if isinstance(recurrent, nn.LSTM):
                raise_forget_bias(recurrent)

    def forward(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The head's raw output (B, H, ...), and the base (B, H, 1) and scale (B, 1, 1) it is relative to."""
        spec, of = self.spec, self.features
        seen = ~torch.isnan(target)
        value = torch.where(seen, target, torch.zeros_like(target))
        mask = seen.to(target.dtype)
        location, spread, scale = of.scales(value, mask)
        base, base_lag = of.seasonal_base(value, mask, location)
        shape = ((value - location) / spread * mask).clamp(-CLIP, CLIP)
        window = torch.cat(
            [
                self.series_embedding(series),
                torch.sqrt(scale / spread),  # no Log: see heads._positive
                torch.asinh(location / spread) / 3,
                mask.mean(dim=1, keepdim=True),
            ],
            dim=1,
        )  # (B, identity + 3)
        known = self.known(known_future)  # (B, C + H, 2K)
        past = self.segment_in(torch.cat([of.segments(shape[..., None]), of.segments(mask[..., None])], dim=2))
        past = past + self.segment_calendar(of.segment_calendar(calendar[:, : spec.context]))
        if self.segment_known is not None:
            past = past + self.segment_known(of.segments(known[:, : spec.context]))
        if self.segment_observed is not None:
            past = past + self.segment_observed(of.segments(self.observed(observed)))
        past = self.dropout(nn.functional.silu(past + self.window_in(window)[:, None]))  # (B, M, Z)
        _, state = self.encoder(past)
        future = self.future_calendar(of.segment_calendar(calendar[:, spec.context :], ahead=True))
        if self.future_in is not None:
            future = future + self.future_in(of.segments(known[:, spec.context :], ahead=True))
        future = future.expand(target.shape[0], -1, -1)  # one calendar may serve all windows
        decoded, _ = self.decoder(self.dropout(nn.functional.silu(future)), state)
        steps = self.to_steps(self.dropout(decoded)).reshape(decoded.shape[0], -1, _STEP)[:, : spec.horizon]
        lagged, lag_mask = of.lags(value, mask)
        relative = ((lagged - base) / scale[..., None] * lag_mask).clamp(-CLIP, CLIP)
        centred = (value - location) * mask / scale
        direct = torch.cat(
            [
                relative, lag_mask, *of.then_and_now(known, base_lag), *of.changes(known),
                of.levels(centred, mask, base_lag), of.newest(centred, mask, known, base_lag),
            ],
            dim=2,
        )  # fmt: skip
        hidden = self.step_in(torch.cat([steps, direct], dim=2)) + self.step_window(window)[:, None]
        hidden = hidden + self.step_calendar(torch.cat(of.then_and_now(calendar, base_lag), dim=2))
        # What a linear regression on lags and covariates finds need not be learned through a hidden layer.
        return self.head(nn.functional.silu(hidden), self.linear_skip(direct)), base, scale[..., None]

    def quantiles(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """(B, H, Q) raw quantiles from what `forward` gives."""
        scaled = self.head.quantiles(raw)
        return base + scale * (
            scaled if self.half_residual_quantiles is None else scaled / 2 + self.half_residual_quantiles
        )

    def predict_outputs(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor
    ) -> tuple[Tensor, ...]:
        """Raw quantiles (B, H, Q); of a softmax head also edges of its bins (B, H, N + 1) and their probabilities."""
        raw, base, scale = self(target, known_future, observed, calendar, series)
        quantiles = self.quantiles(raw, base, scale)
        if not isinstance(self.head, SoftmaxHead):
            return (quantiles,)
        edges = (base + scale * self.head.edges).expand(-1, raw.shape[1], -1)
        return quantiles, edges, torch.softmax(raw, dim=-1)


class Ensemble(nn.Module):
    """Members averaged quantile by quantile (Vincentization), stretched around the median, kept inside `bounds`:
    (B, H, Q) raw quantiles.
    """

    interval_scale: Tensor

    def __init__(self, spec: ModelSpec, members: list[SegmentLSTM]) -> None:
        super().__init__()
        self.spec = spec
        self.networks = members
        self.middle = spec.levels.index(0.5)
        self.register_buffer("interval_scale", torch.ones(1))  # see model/evaluation/calibration.py
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
        told = [member.predict_outputs(target, known_future, observed, calendar, series) for member in self.networks]
        return self.combine_members(*(torch.stack(part) for part in zip(*told, strict=True)))

    def combine_members(
        self, quantiles: Tensor, edges: Tensor | None = None, probabilities: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`outputs` from what each member told, members first: (members, B, H, ...)."""
        mean = quantiles.mean(dim=0)
        median = mean[..., self.middle : self.middle + 1]
        mean = median + self.interval_scale * (mean - median)
        if self.spec.lower is not None:
            mean = mean.clamp(min=self.spec.lower)
        if self.spec.upper is not None:
            mean = mean.clamp(max=self.spec.upper)
        if edges is None or probabilities is None:
            return {"quantiles": mean}
        centre = median[:, :, None]
        limits = centre + self.interval_scale * (edges.movedim(0, 2) - centre)
        return {"quantiles": mean, "edges": limits, "probabilities": probabilities.movedim(0, 2)}


def uses_residual_prior(spec: ModelSpec) -> bool:
    """Whether a forecast is the mean of what the network says and of the usual quantiles in the unit of the window.

    Of a market little can be learned from its past but how wild it is, which the unit says; docs/experiments.md.
    """
    return spec.season == 1 and spec.head == "quantile"


def untrained_network(spec: ModelSpec) -> Ensemble:
    """A network of `spec` that nobody has fitted."""
    known, observed = len(spec.known_future), len(spec.observed)
    edges = torch.linspace(-1, 1, BINS + 1) if spec.head == "softmax" else torch.empty(0)

    def member() -> SegmentLSTM:
        statistics = CovariateStatistics(
            torch.zeros(known), torch.ones(known), torch.zeros(observed), torch.ones(observed)
        )
        usual = torch.zeros(spec.horizon, len(spec.levels)) if uses_residual_prior(spec) else None
        return SegmentLSTM(spec, statistics, edges.clone(), usual)

    return Ensemble(spec, [member() for _ in range(spec.members)]).eval()


def has_equal_weights(one: SegmentLSTM, other: SegmentLSTM) -> bool:
    """Whether two members of one spec have the same weights."""
    others = other.state_dict()
    return all(torch.equal(entry, others[name]) for name, entry in one.state_dict().items())


def raise_forget_bias(lstm: nn.LSTM) -> None:
    """Start with the forget gates open (Jozefowicz et al. 2015); torch's gate order is i, f, g, o."""
    for name, parameter in lstm.named_parameters():
        if name.startswith("bias_ih"):
            size = parameter.shape[0] // 4
            nn.init.ones_(parameter.data[size : 2 * size])
