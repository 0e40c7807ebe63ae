"""The network: an LSTM over segments of the context, a decoder over the horizon, and a head that returns quantiles.

Its inputs are raw values, NaN if not visible. Its outputs are quantiles in the target's unit. Scaling, masks, the
embedding of series and the bounds are part of the network, so the ONNX file needs no other file beside it.

Shapes: B windows, C context, H horizon, P steps per segment, M segments, Q quantile levels, Z hidden size, N bins.
K and O are the numbers of known_future and observed covariates, F is that of any columns, such as the calendar's.
T is the length of any sequence, such as C + H steps or M segments.

Segments: SegRNN (Lin et al. 2023, arXiv:2308.11200). LSTM: Hochreiter and Schmidhuber (1997), with the forget gate of
Gers et al. (2000).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.calendar import CALENDAR
from model.spec import ModelSpec
from model.training.features import CLIP, Features
from model.training.heads import BINS, HEADS, Head, SoftmaxHead
from model.training.linear_features import LinearExpert
from model.training.standardise import Standardise

_EMBEDDING = 16  # Size of the series embedding.
_STEP = 16  # Size of the decoder's output per step.
_WINDOW_NUMBERS = 3  # Numbers beside the series embedding that describe a window, see `SegmentLSTM.forward`.
_DROPOUT = 0.3  # Of the encoder's input, and of the decoder's input and output, see docs/experiments.md.


@dataclass(frozen=True)
class CovariateStatistics:
    """Mean and standard deviation of the covariates over the training windows, shape (K,) and (O,)."""

    known_mean: Tensor
    known_deviation: Tensor
    observed_mean: Tensor
    observed_deviation: Tensor


#: Statistics of a market's history. A file of an earlier version may lack some.
MARKET_STATISTICS = ("volatility_roots", "reversions")


@dataclass(frozen=True)
class MarketStatistics:
    """Statistics of the training data that a member of a market keeps. Other members have neither.

    Attributes:
        residual_quantiles: Quantiles of the scaled residuals at each step over the training windows, (H, Q). None
            without a residual prior, see `uses_residual_prior`.
        volatility_roots: Long-run volatility of each entry of the series embedding, (series + 1,), see
            `market_statistics.volatility_roots`. None also in a file of an earlier version.
        reversions: Share of a spike that is gone at each step, by entry of the series embedding, (series + 1, H), see
            `market_statistics.reversions`. None also in a file of an earlier version.
    """

    residual_quantiles: Tensor | None = None
    volatility_roots: Tensor | None = None
    reversions: Tensor | None = None


class SequenceDropout(nn.Module):
    """Dropout of (B, T, Z) with one mask for all steps of a sequence (Gal and Ghahramani 2016)."""

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the sequence, in training mode with dropped units."""
        if not self.training:
            return sequence
        kept = torch.rand(sequence.shape[0], 1, sequence.shape[2], device=sequence.device) >= _DROPOUT
        return sequence * (kept / (1 - _DROPOUT)).to(sequence.dtype)


class SegmentLSTM(nn.Module):
    """One ensemble member.

    Args:
        spec: Shape and meaning of inputs and outputs.
        statistics: Statistics of the covariates.
        edges: Edges of the softmax head's bins in scales, (N + 1,). The quantile head ignores them.
        market: Statistics of a market.
    """

    half_residual_quantiles: Tensor | None
    volatility_roots: Tensor | None
    reversions: Tensor | None

    def __init__(
        self,
        spec: ModelSpec,
        statistics: CovariateStatistics,
        edges: Tensor,
        market: MarketStatistics = MarketStatistics(),
    ) -> None:
        super().__init__()
        self.spec = spec
        size, segment = spec.hidden_size, spec.segment
        known, observed, calendar = 2 * len(spec.known_future), 2 * len(spec.observed), len(CALENDAR)
        self.known = Standardise(statistics.known_mean, statistics.known_deviation)
        self.observed = Standardise(statistics.observed_mean, statistics.observed_deviation)
        self.series_embedding = nn.Embedding(len(spec.series) + 1, _EMBEDDING)
        self.segment_in = nn.Linear(segment * 2, size)
        self.segment_known = nn.Linear(segment * known, size, bias=False) if known else None
        self.segment_observed = nn.Linear(segment * observed, size, bias=False) if observed else None
        self.segment_calendar = nn.Linear(2 * calendar, size, bias=False)
        self.window_in = nn.Linear(_EMBEDDING + _WINDOW_NUMBERS, size)
        self.future_in = nn.Linear(segment * known, size) if known else None
        self.future_calendar = nn.Linear(2 * calendar, size)
        self.recurrent = nn.LSTM if spec.cell == "lstm" else nn.RNN
        self.encoder = self.recurrent(size, size, spec.layers, batch_first=True)
        self.decoder = self.recurrent(size, size, spec.layers, batch_first=True)
        self.to_steps = nn.Linear(size, segment * _STEP)
        self.features = Features(spec)
        self.step_in = nn.Linear(_STEP + self.features.direct_size, size)
        self.step_window = nn.Linear(_EMBEDDING + _WINDOW_NUMBERS, size, bias=False)
        self.step_calendar = nn.Linear(3 * calendar, size, bias=False)
        self.dropout = SequenceDropout()
        self.linear_skip = nn.Linear(self.features.direct_size, 1, bias=False)
        nn.init.zeros_(self.linear_skip.weight)
        self.head: Head = HEADS[spec.head](size, spec.levels, edges)
        # Halved here, because the exporter would replace a division of weights by a constant, see heads.SoftmaxHead.
        half = None if market.residual_quantiles is None else market.residual_quantiles / 2
        self.register_buffer("half_residual_quantiles", half)
        self.register_buffer("volatility_roots", market.volatility_roots)
        self.register_buffer("reversions", market.reversions)
        for recurrent in (self.encoder, self.decoder):
            if isinstance(recurrent, nn.LSTM):
                raise_forget_bias(recurrent)

    @property
    def market_statistics(self) -> MarketStatistics:
        """Statistics of the history of a market that this member has."""
        return MarketStatistics(volatility_roots=self.volatility_roots, reversions=self.reversions)

    def forward(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor,
        linear_forecast: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return the head's raw output with the base forecast and the scale of its quantiles.

        Args:
            target: Context of the target, (B, C).
            known_future: Covariates of context and horizon, (B, C + H, K).
            observed: Covariates of the context, (B, C, O).
            calendar: Calendar of context and horizon, (B, C + H, F), or (1, C + H, F) for all windows.
            series: Entries in the series embedding, (B,).
            linear_forecast: Forecast of the linear expert, (B, H). It replaces the seasonal naive base forecast.

        Returns:
            Raw output (B, H, Q) or (B, H, N), base forecast (B, H, 1) and scale (B, 1, 1).
        """
        spec, features = self.spec, self.features
        visible = ~torch.isnan(target)
        value = torch.where(visible, target, torch.zeros_like(target))
        mask = visible.to(target.dtype)
        # Mean and standard deviation of the context, and its mean absolute change over a season or a segment.
        root = None if self.volatility_roots is None else self.volatility_roots[series][:, None]
        location, spread, scale = features.window_statistics(value, mask, root)
        base_forecast, base_lag = features.seasonal_base(value, mask, location)
        if self.reversions is not None:
            gone = self.reversions[series][..., None]
            base_forecast = base_forecast - gone * features.spike(base_forecast, location)
        if linear_forecast is not None:
            base_forecast = linear_forecast[..., None]
        standardised = ((value - location) / spread * mask).clamp(-CLIP, CLIP)
        window = torch.cat(
            [
                self.series_embedding(series),
                # A root spreads out small ratios. A logarithm's last bits depend on the batch, see heads._positive.
                torch.sqrt(scale / spread),
                # A mean may be many deviations from zero. Ten deviations give about 1, like the other inputs.
                torch.asinh(location / spread) / 3,
                mask.mean(dim=1, keepdim=True),
            ],
            dim=1,
        )  # (B, _EMBEDDING + _WINDOW_NUMBERS)
        known = self.known(known_future)  # (B, C + H, 2K)
        segments = [features.segments(standardised[..., None]), features.segments(mask[..., None])]
        past = self.segment_in(torch.cat(segments, dim=2))
        past = past + self.segment_calendar(features.segment_calendar(calendar[:, : spec.context]))
        if self.segment_known is not None:
            past = past + self.segment_known(features.segments(known[:, : spec.context]))
        if self.segment_observed is not None:
            past = past + self.segment_observed(features.segments(self.observed(observed)))
        past = self.dropout(nn.functional.silu(past + self.window_in(window)[:, None]))  # (B, M, Z)
        _, state = self.encoder(past)
        future = self.future_calendar(features.segment_calendar(calendar[:, spec.context :], ahead=True))
        if self.future_in is not None:
            future = future + self.future_in(features.segments(known[:, spec.context :], ahead=True))
        future = future.expand(target.shape[0], -1, -1)  # a single calendar serves all windows
        decoded, _ = self.decoder(self.dropout(nn.functional.silu(future)), state)
        steps = self.to_steps(self.dropout(decoded)).reshape(decoded.shape[0], -1, _STEP)[:, : spec.horizon]
        lagged, lag_mask = features.lags(value, mask)
        relative = ((lagged - base_forecast) / scale[..., None] * lag_mask).clamp(-CLIP, CLIP)
        centred = (value - location) * mask / scale
        direct = torch.cat(
            [
                relative, lag_mask, *features.current_and_lagged(known, base_lag),
                *features.covariate_differences(known), features.level_differences(centred, mask, base_lag),
                features.newest_differences(centred, mask, known, base_lag),
            ],
            dim=2,
        )  # fmt: skip
        hidden = self.step_in(torch.cat([steps, direct], dim=2)) + self.step_window(window)[:, None]
        hidden = hidden + self.step_calendar(torch.cat(features.current_and_lagged(calendar, base_lag), dim=2))
        # Linear effects of lags and covariates bypass the hidden layer, which learns them slowly.
        return self.head(nn.functional.silu(hidden), self.linear_skip(direct)), base_forecast, scale[..., None]

    def quantiles(self, raw: Tensor, base_forecast: Tensor, scale: Tensor) -> Tensor:
        """Return the quantiles in the target's unit, shape (B, H, Q). Arguments are the results of `forward`."""
        scaled = self.head.quantiles(raw)
        if self.half_residual_quantiles is not None:
            scaled = scaled / 2 + self.half_residual_quantiles
        return base_forecast + scale * scaled

    def predict_outputs(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor,
        linear_forecast: Tensor | None = None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return all that this member contributes to the file's outputs. Arguments are those of `forward`.

        Returns:
            Quantiles (B, H, Q). With a softmax head also the edges of its bins (B, H, N + 1) in the target's unit, and
            their probabilities (B, H, N).
        """
        raw, base_forecast, scale = self(target, known_future, observed, calendar, series, linear_forecast)
        quantiles = self.quantiles(raw, base_forecast, scale)
        if not isinstance(self.head, SoftmaxHead):
            return (quantiles,)
        edges = (base_forecast + scale * self.head.edges).expand(-1, raw.shape[1], -1)
        return quantiles, edges, torch.softmax(raw, dim=-1)


class Ensemble(nn.Module):
    """A linear expert and an ensemble of members, whose quantiles are averaged level by level (Vincentization).

    The interval scale then widens or narrows the intervals around the median, and the bounds clip the quantiles.

    Args:
        spec: Shape and meaning of inputs and outputs.
        members: Members in the order of their training.
        linear: Linear expert, None if the spec has none.

    Attributes:
        networks: The members as a typed list. `members` holds the same for torch.
        interval_scale: Factor on the distance of each quantile from the median, (1,), see
            model/evaluation/calibration.py.
    """

    interval_scale: Tensor

    def __init__(self, spec: ModelSpec, members: list[SegmentLSTM], linear: LinearExpert | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.networks = members
        self.linear = linear
        self.middle = spec.levels.index(0.5)
        self.register_buffer("interval_scale", torch.ones(1))
        self.members = nn.ModuleList(members)

    def forward(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor
    ) -> Tensor:
        """Return the quantiles, shape (B, H, Q). Arguments are those of `SegmentLSTM.forward`."""
        return self.outputs(target, known_future, observed, calendar, series)["quantiles"]

    def outputs(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor
    ) -> dict[str, Tensor]:
        """Return the outputs of the ONNX file by name. Arguments are those of `SegmentLSTM.forward`.

        Returns:
            `quantiles` (B, H, Q). With a softmax head also the distribution of every member: `edges` of its bins
            (B, H, members, N + 1), scaled like the quantiles but not clipped, and `probabilities` (B, H, members, N).
        """
        inputs = (target, known_future, observed, calendar, series)
        if self.linear is None:
            parts = [member.predict_outputs(*inputs) for member in self.networks]
            return self.combine_members(*(torch.stack(part) for part in zip(*parts, strict=True)))
        _, forecast, quantiles, _ = linear_outputs(self.linear, *inputs, **linear_tables(self.linear))
        parts = [member.predict_outputs(*inputs, forecast) for member in self.networks]
        stacked = [torch.stack(part) for part in zip(*parts, strict=True)]
        share = self.linear.share[series][..., None]
        edges, probabilities = stacked[1:] or (None, None)
        return self.combine_members(stacked[0], edges, probabilities, quantiles, share)

    def combine_members(
        self, quantiles: Tensor, edges: Tensor | None = None, probabilities: Tensor | None = None,
        linear_quantiles: Tensor | None = None, share: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Return `outputs` from the stacked outputs of all members and of the linear expert.

        Args:
            quantiles: Quantiles, (members, B, H, Q).
            edges: Edges of the softmax head's bins, (members, B, H, N + 1).
            probabilities: Probabilities of the bins, (members, B, H, N).
            linear_quantiles: Quantiles of the linear expert, (B, H, Q).
            share: Weight of the linear expert, (B, H, 1).
        """
        mean = quantiles.mean(dim=0)
        if linear_quantiles is not None and share is not None:
            mean = mean + share * (linear_quantiles - mean)
        median = mean[..., self.middle : self.middle + 1]
        mean = median + self.interval_scale * (mean - median)
        if self.spec.lower is not None:
            mean = mean.clamp(min=self.spec.lower)
        if self.spec.upper is not None:
            mean = mean.clamp(max=self.spec.upper)
        if edges is None or probabilities is None:
            return {"quantiles": mean}
        centre = median[:, :, None]
        scaled_edges = centre + self.interval_scale * (edges.movedim(0, 2) - centre)
        return {"quantiles": mean, "edges": scaled_edges, "probabilities": probabilities.movedim(0, 2)}


def linear_tables(linear: LinearExpert) -> dict[str, Tensor]:
    """Return the tables of a linear expert by their names in `linear_outputs`."""
    return {"coefficients": linear.coefficients, "scaling": linear.scaling, "residuals": linear.residuals}


def linear_outputs(
    linear: LinearExpert, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, series: Tensor,
    coefficients: Tensor, scaling: Tensor, residuals: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return design (B, G, F), forecast (B, H), quantiles (B, H, Q), and location and scale (B, 2).

    Args:
        linear: The expert.
        target: As in `SegmentLSTM.forward`, and so are all inputs up to `series`.
        known_future: Covariates known ahead.
        observed: Covariates of the context.
        calendar: Calendar.
        series: Entries in the series embedding, (B,).
        coefficients: Table of the expert, (R, H, F + 1).
        scaling: Table of the expert, (R, 4 + 2K + 2O).
        residuals: Table of the expert, (R, H, Q).
    """
    design, forecast, location, scale = linear(
        target, known_future, observed, calendar, coefficients[series], scaling[series]
    )
    quantiles = forecast[..., None] + scale[..., None] * residuals[series]
    return design, forecast, quantiles, torch.cat([location, scale], dim=1)


def uses_residual_prior(spec: ModelSpec) -> bool:
    """Return whether forecasts average the network's quantiles with those of the training windows' scaled residuals.

    They do for markets: the season is one step, so that the base forecast is the last value, and the head returns
    quantiles. There hardly anything but the size of changes is predictable, and the scale already follows it. The
    average is more robust than the network alone (docs/experiments.md, "Markets").
    """
    return spec.season == 1 and spec.head == "quantile"


def untrained_network(spec: ModelSpec, absent: Collection[str] = ()) -> Ensemble:
    """Return a network of `spec` with random weights and neutral statistics.

    Args:
        spec: Shape and meaning of inputs and outputs.
        absent: Statistics that members of a market do not have, as those of earlier versions: `volatility_roots` and
            `reversions`.
    """
    known, observed = len(spec.known_future), len(spec.observed)
    edges = torch.linspace(-1, 1, BINS + 1) if spec.head == "softmax" else torch.empty(0)

    def member() -> SegmentLSTM:
        statistics = CovariateStatistics(
            torch.zeros(known), torch.ones(known), torch.zeros(observed), torch.ones(observed)
        )
        rows, is_market = len(spec.series) + 1, spec.season == 1
        market = MarketStatistics(
            torch.zeros(spec.horizon, len(spec.levels)) if uses_residual_prior(spec) else None,
            torch.zeros(rows) if is_market and "volatility_roots" not in absent else None,
            torch.zeros(rows, spec.horizon) if is_market and "reversions" not in absent else None,
        )
        return SegmentLSTM(spec, statistics, edges.clone(), market)

    members = [member() for _ in range(spec.members)]
    return Ensemble(spec, members, LinearExpert(spec) if spec.linear else None).eval()


def has_equal_weights(one: SegmentLSTM, other: SegmentLSTM) -> bool:
    """Return whether two members of one spec have equal weights."""
    others = other.state_dict()
    return all(torch.equal(entry, others[name]) for name, entry in one.state_dict().items())


def raise_forget_bias(lstm: nn.LSTM) -> None:
    """Set the bias of the forget gates to 1, so that they start open (Jozefowicz et al. 2015).

    torch stacks the gates in the order input, forget, cell, output.
    """
    for name, parameter in lstm.named_parameters():
        if name.startswith("bias_ih"):
            size = parameter.shape[0] // 4
            nn.init.ones_(parameter.data[size : 2 * size])
