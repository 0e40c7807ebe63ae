"""Fit of the linear expert in closed form: what it recovers, what each fold leaves out, and its weight."""

from __future__ import annotations

import numpy as np
import pytest

from model import ridge
from model.linear_expert import FOLDS, block_steps, fit_linear, fit_scaled, fit_shares, residual_quantiles

LENGTH, BLOCKS, FEATURES = 3, 2, 5


def sample(count: int = 400, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return designs (N, G, F), actuals (N, H), and the coefficients behind them (H, F + 1)."""
    random = np.random.default_rng(1)
    design = random.normal(size=(count, BLOCKS, FEATURES)).astype(np.float32)
    truth = random.normal(size=(BLOCKS * LENGTH, FEATURES + 1))
    actual = np.concatenate(
        [
            design[:, block].astype(np.float64) @ truth[steps, :-1].T + truth[steps, -1]
            for block, steps in enumerate(block_steps(BLOCKS * LENGTH, LENGTH))
        ],
        axis=1,
    )
    return design, actual + noise * random.normal(size=actual.shape), truth


def test_it_recovers_the_coefficients_of_a_linear_process() -> None:
    design, actual, truth = sample()
    fit = fit_linear(design, actual, LENGTH, penalty=0.0)
    assert np.allclose(fit.coefficients, truth, atol=1e-5)
    assert np.abs(fit.residuals).max() < 1e-4


def test_a_larger_penalty_gives_smaller_coefficients() -> None:
    design, actual, _ = sample(noise=0.5)
    sizes = [np.abs(fit_linear(design, actual, LENGTH, penalty).coefficients[:, :-1]).sum() for penalty in (0, 1, 30)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_fold_is_forecast_without_its_own_actuals() -> None:
    design, actual, _ = sample(noise=0.5)
    fit = fit_linear(design, actual, LENGTH, 1.0)
    changed = actual.copy()
    changed[fit.part == 4] += 100
    other = fit_linear(design, changed, LENGTH, 1.0)
    forecast, changed_forecast = actual - fit.residuals, changed - other.residuals
    assert np.allclose(forecast[fit.part == 4], changed_forecast[fit.part == 4])
    assert not np.allclose(forecast[fit.part == 5], changed_forecast[fit.part == 5])
    assert fit.parts.shape[0] == FOLDS


@pytest.mark.parametrize("features_per_row", [0, 1_000_000])
@pytest.mark.parametrize("is_forward", [False, True])
def test_a_part_is_left_out_as_by_a_fit_on_the_others(
    monkeypatch: pytest.MonkeyPatch, features_per_row: int, is_forward: bool
) -> None:
    monkeypatch.setattr(ridge, "_FEATURES_PER_ROW", features_per_row)
    design, actual, _ = sample(noise=0.5)
    fit = fit_linear(design, actual, LENGTH, 0.0, is_forward)
    for number in (0, 3, len(fit.parts) - 1):
        rows, others = np.flatnonzero(fit.part == number), actual.copy()
        if is_forward:
            others[rows[0] :] = np.nan
            expected = fit_linear(design, others, LENGTH, 0.0).coefficients[:LENGTH]
            assert np.allclose(fit.parts[number, :LENGTH], expected)
        else:
            others[max(rows[0] - 7, 0) : rows[-1] + 8] = np.nan
            assert np.allclose(fit.parts[number], fit_linear(design, others, LENGTH, 0.0).coefficients)


def test_forward_residuals_are_of_fits_on_older_windows() -> None:
    design, actual, _ = sample(noise=0.5)
    fit = fit_linear(design, actual, LENGTH, 1.0, is_forward=True)
    assert np.array_equal(fit.coefficients, fit_linear(design, actual, LENGTH, 1.0).coefficients)
    assert np.isnan(fit.residuals[:-90]).all() and np.isfinite(fit.residuals[-90:]).all()
    changed = actual.copy()
    begin = np.flatnonzero(fit.part == 3)[0]
    # The second block of the window before is not known yet at the first issue time of the part.
    changed[begin:] += 100
    changed[begin - 1, LENGTH:] += 100
    other = fit_linear(design, changed, LENGTH, 1.0, is_forward=True)
    rows = fit.part == 3
    assert np.allclose((actual - fit.residuals)[rows], (changed - other.residuals)[rows])
    assert not np.allclose((actual - fit.residuals)[-1], (changed - other.residuals)[-1])


def test_a_recent_change_of_level_moves_the_residual_quantiles() -> None:
    design, actual, _ = sample(noise=0.5)
    actual[-90:] += 20
    forward, both_sides = (fit_linear(design, actual, LENGTH, 1.0, is_forward) for is_forward in (True, False))
    medians = [residual_quantiles(fit.residuals, (0.5,)).mean() for fit in (forward, both_sides)]
    assert medians[0] > medians[1] > 0


def test_unknown_actuals_and_constant_features_do_not_matter() -> None:
    design, actual, truth = sample()
    design[:, :, 2] = 7.0
    actual = actual - design[:, :, 2].repeat(LENGTH, axis=1) * truth[:, 2]
    actual[::9, 1] = np.nan
    fit = fit_linear(design, actual, LENGTH, 0.0)
    assert np.isfinite(fit.coefficients).all() and not fit.coefficients[:, 2].any()


@pytest.mark.parametrize("is_asinh", [False, True])
def test_residuals_are_in_scales_with_and_without_the_transform(is_asinh: bool) -> None:
    design, scaled, _ = sample(noise=0.2)
    scaled = scaled.clip(-3, 3) / 3
    window = np.tile([[50.0, 10.0]], (len(design), 1))
    scaling = np.array([0, 0, is_asinh, 1.0], np.float32)
    _, residuals = fit_scaled(design, (50 + 10 * scaled).astype(np.float32), scaling, window, LENGTH)
    _, moved = fit_scaled(design, (1000 + 10 * scaled).astype(np.float32), scaling, window + np.array([950, 0]), LENGTH)
    assert np.median(np.abs(residuals)) < 0.5 and np.allclose(residuals, moved, atol=1e-3)


def test_residual_quantiles_are_ascending_and_from_the_newest_issue_times() -> None:
    residuals = np.concatenate([np.full((500, 2), 1000.0), np.random.default_rng(0).normal(size=(90, 2))])
    residuals[:, 1] = np.nan
    quantiles = residual_quantiles(residuals, (0.1, 0.5, 0.9))
    assert np.abs(quantiles).max() < 5 and (np.diff(quantiles[0]) > 0).all()
    assert not quantiles[1].any()


def test_the_better_forecast_gets_the_weight_unless_windows_are_few() -> None:
    random = np.random.default_rng(0)
    actual = random.normal(size=(300, 8)).astype(np.float32)
    good = actual[..., None] + np.array([-0.1, 0.0, 0.1])
    bad = good + random.normal(size=(300, 8, 1))
    weights, levels = np.ones(300, np.float32), (0.1, 0.5, 0.9)
    assert (fit_shares(bad, good, actual, weights, levels, 300) > 0.9).all()
    assert (fit_shares(good, bad, actual, weights, levels, 300) < 0.1).all()
    few = fit_shares(bad[:4], good[:4], actual[:4], weights[:4], levels, 4)
    assert (np.abs(few - 0.5) < 0.1).all()
