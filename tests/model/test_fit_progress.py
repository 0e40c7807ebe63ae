"""Share of a fit that is done: it never falls or jumps, and is 1 when early stopping ends the training."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.fit_progress import share_done
from model.training.options import EarlyStopping

pytestmark = pytest.mark.training

STOPPING = EarlyStopping(every=50, patience=12)


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_the_share_never_falls_or_jumps(improvements: list[bool]) -> None:
    shares, worse = [0.0], 0
    for number, improves in enumerate(improvements, start=1):
        worse = 0 if improves else worse + 1
        if worse > STOPPING.patience:
            break
        shares.append(share_done(number * STOPPING.every, worse, STOPPING, 100_000, 0.0, shares[-1]))
    steps = [later - earlier for earlier, later in itertools.pairwise(shares)]
    assert all(0 <= step <= 1 / STOPPING.patience + 1e-9 for step in steps)
    if worse == STOPPING.patience:
        assert shares[-1] == 1.0


def test_time_and_updates_bound_the_share_too() -> None:
    assert share_done(50, 0, STOPPING, 100, used=0.1, shown=0.0) == 0.5
    assert share_done(50, 0, STOPPING, 3000, used=0.7, shown=0.0) == 0.7
    assert share_done(50, 0, STOPPING, 3000, used=1.2, shown=0.0) == 1.0
