"""Training of an ensemble: which members are trained, and what fills the places for which no time is left."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from model.training.devices import resolve_device, to_tensors
from model.training.fit import fit, is_member_copy
from model.training.fit_progress import FitProgress
from model.training.heads import pinball
from model.training.network import Ensemble, SegmentLSTM, has_equal_weights
from model.training.options import EarlyStopping, FitOptions
from tests.support import made

pytestmark = pytest.mark.training

Train = Callable[..., Ensemble]


@pytest.fixture(scope="module")
def train() -> Train:
    """Train three members by a clock that counts its calls: one per update, and two per member."""
    data = made.training_data(made.spec(members=3))

    def trained(seconds: float, start: Ensemble | None = None, renew: bool = False) -> Ensemble:
        ticks = itertools.count()
        options = FitOptions(7, max_seconds=seconds, full_stopping=EarlyStopping(every=5, patience=1))
        return fit(data, options, start, renew, elapsed=lambda: next(ticks))

    return trained


def letters(network: Ensemble, *others: Ensemble) -> str:
    """Return a letter for each member, equal for equal members. Members of `others` get the first letters."""
    distinct: list[SegmentLSTM] = []
    text = ""
    for member in (member for ensemble in (*others, network) for member in ensemble.networks):
        equal = [number for number, other in enumerate(distinct) if has_equal_weights(other, member)]
        if not equal:
            distinct.append(member)
        text += "abcdefghi"[equal[0] if equal else len(distinct) - 1]
    return text[-len(network.networks) :]


def test_copies_fill_the_places_of_members_that_are_not_trained_yet(train: Train) -> None:
    first = train(30)
    assert (letters(first), is_member_copy(first)) == ("aaa", True)
    second = train(30, first, renew=True)
    assert (letters(second, first), is_member_copy(second)) == ("aab", True)
    third = train(30, second, renew=True)
    assert (letters(third, first, second), is_member_copy(third)) == ("abc", False)


def test_remaining_time_goes_to_the_next_member(train: Train) -> None:
    assert letters(train(30)) == "aaa"
    assert letters(train(100_000)) == "abc"


def test_one_member_continues_or_begins_anew_and_the_others_stay(train: Train) -> None:
    first = train(100_000)
    assert letters(train(40, first), first)[:2] == "bc"
    renewed = train(40, first, renew=True)
    assert letters(renewed, first) == "bcd"
    # The new member began with weights that no other member began with.
    assert not torch.equal(renewed.networks[2].series_embedding.weight, first.networks[0].series_embedding.weight)


def test_max_updates_bounds_each_member() -> None:
    data = made.training_data(made.spec(members=2))
    states: list[FitProgress] = []
    options = FitOptions(7, max_updates=15, full_stopping=EarlyStopping(every=10, patience=100))
    assert letters(fit(data, options, advance=states.append)) == "ab"
    # The last update is evaluated, also between two regular evaluations.
    assert [state.update for state in states] == [10, 15, 10, 15]
    assert [state.share for state in states] == pytest.approx([1 / 3, 0.5, 5 / 6, 1.0])
    # The loss of the seasonal naive forecast stays the same.
    assert len({state.baseline for state in states}) == 1
    assert 0 < states[-1].loss and 0 < states[-1].baseline


def test_progress_does_not_change_the_weights() -> None:
    data, options = made.training_data(made.spec()), FitOptions(7, max_updates=20)
    quiet, shown = fit(data, options), fit(data, options, advance=lambda state: None)
    assert all(torch.equal(one, other) for one, other in zip(quiet.parameters(), shown.parameters(), strict=True))


def test_without_a_gpu_training_runs_on_the_cpu_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("torch has a GPU here")
    assert resolve_device("cuda") == "cpu"
    assert "trains on the CPU" in caplog.text
    caplog.clear()
    assert resolve_device("cpu") == "cpu"
    assert not caplog.text


def test_a_gpu_learns_what_the_cpu_learns() -> None:
    if resolve_device("cuda") == "cpu":
        pytest.skip("torch has no GPU here")
    spec = made.spec(hidden_size=32)
    data = made.training_data(spec)
    validation = data.validation

    def loss(device: str) -> float:
        network = fit(data, FitOptions(7, max_updates=300, device=device))
        with torch.inference_mode():
            quantiles = network(**to_tensors(validation.windows))
        size = torch.from_numpy(validation.actual).abs().mean(dim=1, keepdim=True)
        losses = pinball(quantiles, torch.tensor(spec.levels), torch.from_numpy(validation.actual)).mean(dim=-1)
        return float((losses / size).nanmean())

    assert loss("cuda") == pytest.approx(loss("cpu"), rel=0.15)
