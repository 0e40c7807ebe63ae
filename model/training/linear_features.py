"""The linear expert inside the network: design matrix, transformed target and forecast.

The forecast of a step is linear in whole past days of the target and in the covariates of past days and the day ahead.
So is the LEAR model (Lago et al. 2021). The coefficients are inputs of the ONNX file with default values, so
that a run can fit them anew without another file, see `model/linear_expert.py`.

Shapes: B windows, C context, H horizon, D steps per block, G blocks, K known_future and O observed covariates,
F features, R rows of the tables.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.calendar import CALENDAR
from model.linear_expert import MOST_ASINH, block_steps
from model.spec import ModelSpec
from model.training.features import CLIP, Features, stable_sum

_DAY_LAGS = (1, 2, 3, 7)  # days
_STEP_LAGS = (1, 2, 3, 4, 5, 6, 7, 14)  # steps of daily data
_COVARIATE_LAGS = (1, 7)
#: Days over which the weights of smoothed covariates halve, for data with several steps a day.
_HALF_LIVES = (1.0, 3.0)
#: Covariates times steps per day above which powers would have too many coefficients.
_MOST_POWERS = 200
_POINTS = 3  # of a block at which smoothed covariates are taken: its first, middle and last step
_MOST_DEVIATIONS = 4.0  # limit of a standardised covariate, because its cube grows fast beyond the fitted range
_MOST_SCALES = 50.0
_SEASONS_BACK = 4
#: Columns of the table `scaling` before those of the covariates.
TARGET_SCALING = 4
_FIRST_CALENDAR = next(number for number, name in enumerate(CALENDAR) if name == "mon")


class LinearFeatures:
    """Design matrix of the linear expert for one spec.

    Attributes:
        length: D, steps per block: a day, or one step of daily data.
        ahead: Steps of the horizon whose covariates a block receives: its own, or all of daily data, where the weather
            of the days before and after a step matters too.
        blocks: G, blocks of the horizon.
        size: F, number of features.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.length = spec.grid.steps_per_day
        self.blocks = -(-spec.horizon // self.length)
        lags = _DAY_LAGS if spec.grid.step else _STEP_LAGS
        self.target_lags = [lag for lag in lags if lag * self.length <= spec.context]
        self.covariate_lags = [lag for lag in _COVARIATE_LAGS if lag * self.length <= spec.context]
        known, observed = len(spec.known_future), len(spec.observed)
        is_daily = self.length == 1
        self.ahead = spec.horizon if is_daily else self.length
        self.powers = 3 if known * self.ahead <= _MOST_POWERS else 1
        self.half_lives = () if is_daily else _HALF_LIVES
        calendars = 1 if is_daily else 2
        self.size = (
            len(self.target_lags) * self.length
            + known * self.powers * (self.ahead + self.length * len(self.covariate_lags))
            + observed * self.length
            + known * len(self.half_lives) * _POINTS * min(self.powers, 2)
            + (len(CALENDAR) - _FIRST_CALENDAR) * calendars
        )

    def design(self, target: Tensor, known: Tensor, observed: Tensor, calendar: Tensor) -> Tensor:
        """Return the features, (B, G, F).

        A missing covariate of the horizon takes the value of the newest day, or its mean.

        Args:
            target: Scaled, transformed and imputed context, (B, C).
            known: Standardised known_future covariates, 0 if missing, then their masks, (B, C + H, 2K).
            observed: Standardised observed covariates, 0 if missing, then their masks, (B, C, 2O).
            calendar: Calendar of context and horizon, (B, C + H, number) or (1, C + H, number).
        """
        spec, length = self.spec, self.length
        count = target.shape[0]
        own = self.past_days(target)
        covariates = self._imputed(known)
        own.append(observed[:, spec.context - length :, : len(spec.observed)].flatten(1))
        past = [
            power.flatten(1)
            for lag in self.covariate_lags
            for power in self._powers(covariates[:, spec.context - lag * length : spec.context - (lag - 1) * length])
        ]
        shared = torch.cat([*own, *past], dim=1)
        blocks = []
        for block in range(self.blocks):
            begin = spec.context + block * length
            first = begin if self.ahead == length else spec.context
            ahead = covariates[:, first : first + self.ahead]
            if ahead.shape[1] < self.ahead:  # The horizon ends within a day.
                ahead = torch.cat([ahead, ahead[:, -1:].expand(-1, self.ahead - ahead.shape[1], -1)], dim=1)
            parts = [power.flatten(1) for power in self._powers(ahead)]
            parts += self._smoothed(covariates, begin)
            ends = [begin] if length == 1 else [begin, min(begin + length, calendar.shape[1]) - 1]
            parts += [calendar[:, end, _FIRST_CALENDAR:].expand(count, -1) for end in ends]
            blocks.append(torch.cat([shared, *parts], dim=1))
        return torch.stack(blocks, dim=1)

    def past_days(self, target: Tensor) -> list[Tensor]:
        """Return the first features of the design: the target of past days, each (B, D).

        Args:
            target: Scaled, transformed and imputed context, (B, C).
        """
        end, length = self.spec.context, self.length
        return [target[:, end - lag * length : end - (lag - 1) * length] for lag in self.target_lags]

    def _powers(self, values: Tensor) -> list[Tensor]:
        return [values, values**2, values**3][: self.powers]

    def _imputed(self, known: Tensor) -> Tensor:
        """Return the covariates (B, C + H, K), those that are missing ahead from the newest day."""
        spec, count = self.spec, len(self.spec.known_future)
        values, mask = known[..., :count].clamp(-_MOST_DEVIATIONS, _MOST_DEVIATIONS), known[..., count:]
        newest = values[:, spec.context - self.length : spec.context]
        repeats = -(-spec.horizon // self.length)
        persistent = newest.repeat(1, repeats, 1)[:, : spec.horizon]
        ahead = torch.where(mask[:, spec.context :] > 0, values[:, spec.context :], persistent)
        return torch.cat([values[:, : spec.context], ahead], dim=1)

    def _smoothed(self, covariates: Tensor, begin: int) -> list[Tensor]:
        """Return exponentially smoothed covariates at points of a block, and their squares, each (B, points * K)."""
        last = min(begin + self.length, covariates.shape[1]) - 1
        points = [begin, (begin + last + 1) // 2, last]
        parts = []
        for half_life in self.half_lives:
            steps = torch.arange(covariates.shape[1], dtype=covariates.dtype, device=covariates.device)
            rows = []
            for point in points:
                weights = torch.exp2((steps - point) / (half_life * self.length)) * (steps <= point)
                rows.append(weights / weights.sum())
            weighted = covariates.transpose(1, 2)[:, None] * torch.stack(rows)[:, None]  # (B, points, K, T)
            smooth = stable_sum(weighted)[..., 0].flatten(1)
            parts += [smooth, smooth**2][: self.powers]
        return parts


class LinearExpert(nn.Module):
    """Linear expert of a spec, with the tables that its last fit wrote.

    Attributes:
        coefficients: Coefficients by entry of the series embedding, intercept last, (R, H, F + 1).
        scaling: Columns by entry, (R, 4 + 2K + 2O). The first four are location, scale, transform and ridge penalty of
            the target. Means and standard deviations of the known_future covariates follow, then those of the observed.
            A scale of 0 stands for location and spread of the window. A transform of 1 is asinh, of 0 none. Only a new
            fit needs the penalty. With one scale for all series, covariates of a small series would hardly vary, and
            large coefficients would lose digits.
        residuals: Quantiles of the expert's scaled residuals, (R, H, Q).
        share: Weight of the expert's quantiles beside the network's, 0 to 1, (R, H).
    """

    coefficients: Tensor
    scaling: Tensor
    residuals: Tensor
    share: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.features = LinearFeatures(spec)
        self.window = Features(spec)
        rows = len(spec.series) + 1
        self.register_buffer("coefficients", torch.zeros(rows, spec.horizon, self.features.size + 1))
        counts = len(spec.known_future), len(spec.observed)
        neutral = [torch.zeros(TARGET_SCALING)]
        for count in counts:
            neutral += [torch.zeros(count), torch.ones(count)]
        self.register_buffer("scaling", torch.cat(neutral).repeat(rows, 1))
        self.register_buffer("residuals", torch.zeros(rows, spec.horizon, len(spec.levels)))
        self.register_buffer("share", torch.zeros(rows, spec.horizon))

    def covariates(self, known: Tensor, observed: Tensor, scaling: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised covariates, 0 where not visible, then their masks: (B, C + H, 2K) and (B, C, 2O).

        Args:
            known: Covariates of context and horizon, (B, C + H, K), NaN where not visible.
            observed: Covariates of the context, (B, C, O).
            scaling: Rows of the table, (B, 4 + 2K + 2O).
        """
        first = TARGET_SCALING
        standardised = []
        for values in (known, observed):
            count = values.shape[2]
            mean = scaling[:, None, first : first + count]
            deviation = scaling[:, None, first + count : first + 2 * count]
            visible = ~torch.isnan(values)
            scaled = (torch.where(visible, values, mean) - mean) / deviation
            standardised.append(torch.cat([scaled.clamp(-CLIP, CLIP), visible.to(values.dtype)], dim=-1))
            first += 2 * count
        return standardised[0], standardised[1]

    def scaled(self, target: Tensor, scaling: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scaled, transformed and imputed context (B, C), and location and scale, (B, 1) each.

        Args:
            target: Context, (B, C), NaN where not visible.
            scaling: Rows of the table, (B, 4 + 2K + 2O).
        """
        visible = ~torch.isnan(target)
        value = torch.where(visible, target, torch.zeros_like(target))
        mask = visible.to(target.dtype)
        own_location, own_spread, _ = self.window.window_statistics(value, mask)
        is_fixed = scaling[:, 1:2] > 0
        location = torch.where(is_fixed, scaling[:, :1], own_location)
        scale = torch.where(is_fixed, scaling[:, 1:2], own_spread)
        filled, seen = value, mask
        # A missing value takes that of a season before, else the mean of the window.
        for _ in range(max(1, min(_SEASONS_BACK, self.spec.context // self.spec.season))):
            filled = torch.where(seen > 0, filled, self._season_before(filled))
            seen = torch.maximum(seen, self._season_before(seen))
        scaled = (torch.where(seen > 0, filled, own_location) - location) / scale
        transformed = torch.where(scaling[:, 2:3] > 0, torch.asinh(scaled), scaled.clamp(-_MOST_SCALES, _MOST_SCALES))
        return transformed, location, scale

    def _season_before(self, values: Tensor) -> Tensor:
        return nn.functional.pad(values, (self.spec.season, 0))[:, : self.spec.context]

    def forward(
        self, target: Tensor, known_future: Tensor, observed: Tensor, calendar: Tensor, coefficients: Tensor,
        scaling: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Return design (B, G, F), forecast (B, H) in the target's unit, location and scale, (B, 1) each.

        Args:
            target: Context, (B, C).
            known_future: Covariates of context and horizon, (B, C + H, K).
            observed: Covariates of the context, (B, C, O).
            calendar: Calendar of context and horizon, (B or 1, C + H, number).
            coefficients: Coefficients of each window, (B, H, F + 1).
            scaling: Scaling of each window, (B, 4 + 2K + 2O).
        """
        scaled, location, scale = self.scaled(target, scaling)
        design = self.features.design(scaled, *self.covariates(known_future, observed, scaling), calendar)
        parts = []
        for block, steps in enumerate(block_steps(self.spec.horizon, self.features.length)):
            weights = coefficients[:, steps]
            # A matrix product would depend on the batch in its last bits.
            parts.append(stable_sum(weights[..., :-1] * design[:, block, None])[..., 0] + weights[..., -1])
        forecast = torch.cat(parts, dim=1)
        is_transformed = scaling[:, 2:3] > 0
        restored = torch.where(is_transformed, torch.sinh(forecast.clamp(-MOST_ASINH, MOST_ASINH)), forecast)
        return design, location + scale * restored, location, scale
