"""Which members a fit trains, and what stands in the places of those for which there was no time."""

from __future__ import annotations

import itertools

import pytest
import torch

from model.training.devices import resolve_device
from model.training.fit import fit, is_member_copy, tensors
from model.training.heads import pinball
from model.training.network import Ensemble, SegmentLSTM, has_equal_weights
from tests.support import made

SPEC = made.spec(members=3)


@pytest.fixture(scope="module")
def trained():
    """A function that fits by a clock that counts calls: one at every update, and two a member."""
    source, validation = made.training_data(SPEC)

    def fitted(budget: float, *start: object) -> Ensemble:
        ticks = itertools.count()
        return fit(SPEC, source, validation, 7, budget, lambda: next(ticks), lambda done: None, *start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.training.fit._EVERY", 5)
        patch.setattr("model.training.fit._PATIENCE", 1)
        yield fitted


def which(network: Ensemble, *others: Ensemble) -> str:
    """A letter for each member, the same for equal ones; those of `others` have theirs first."""
    found: list[SegmentLSTM] = []
    letters = ""
    for member in (member for one in (*others, network) for member in one.networks):
        known = [number for number, seen in enumerate(found) if has_equal_weights(seen, member)]
        if not known:
            found.append(member)
        letters += "abcdefghi"[known[0] if known else len(found) - 1]
    return letters[-len(network.networks) :]


def test_what_there_is_no_time_for_is_a_copy_until_its_turn_comes(trained):
    first = trained(30)
    assert (which(first), is_member_copy(first)) == ("aaa", True)
    second = trained(30, first, True)
    assert (which(second, first), is_member_copy(second)) == ("aab", True)
    third = trained(30, second, True)
    assert (which(third, first, second), is_member_copy(third)) == ("abc", False)


def test_time_that_is_left_goes_to_the_next_member(trained):
    assert which(trained(30)) == "aaa"
    assert which(trained(100_000)) == "abc"


def test_one_member_goes_on_or_begins_anew_and_the_others_stay(trained):
    first = trained(100_000)
    assert which(trained(40, first, False), first)[:2] == "bc"
    anew = trained(40, first, True)
    assert which(anew, first) == "bcd"
    # It began elsewhere than any did.
    assert not torch.equal(anew.networks[2].series_embedding.weight, first.networks[0].series_embedding.weight)


def test_training_on_a_gpu_that_is_not_there_runs_on_the_cpu_and_says_so(caplog):
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here, so nothing falls back")
    assert resolve_device("cuda") == "cpu"
    assert "training runs on the CPU" in caplog.text
    caplog.clear()
    assert resolve_device("cpu") == "cpu"
    assert not caplog.text


def test_a_gpu_learns_what_the_cpu_learns():
    if resolve_device("cuda") == "cpu":
        pytest.skip("torch sees no GPU")
    spec = made.spec(hidden_size=32)
    source, validation = made.training_data(spec)

    def score(device: str) -> float:
        ticks = itertools.count()
        network = fit(spec, source, validation, 7, 300, lambda: next(ticks), lambda done: None, device=device)
        with torch.inference_mode():
            found = network(**tensors(validation.windows))
        unit = torch.from_numpy(validation.actual).abs().mean(dim=1, keepdim=True)
        loss = pinball(found, torch.tensor(spec.levels), torch.from_numpy(validation.actual)).mean(dim=-1)
        return float((loss / unit).nanmean())

    assert score("cuda") == pytest.approx(score("cpu"), rel=0.15)
