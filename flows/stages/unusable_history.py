"""Forecasts from a history of which some parts cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from flows.settings.pipeline import Pipeline
from storage import history_parts
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.store import PartialStore, Store

_T = TypeVar("_T")

_MAX_ATTEMPTS = 20  # A forecast reads each feed several times. Each attempt finds unusable parts of one feed.


def publish_despite_damage(
    settings: Pipeline, store: Store, publish: Callable[[Store, str | None], _T], stale_reason: str | None = None
) -> _T:
    """Publish a forecast without the parts of the history that cannot be used, and with the reason in its rows.

    Damaged parts are set aside. The others, such as those without a permission, stay as they are.

    Args:
        settings: Settings of the pipeline.
        store: Store of the pipeline.
        publish: Publishes from a store, with a reason why all rows are stale or None.
        stale_reason: Reason why all rows are stale in any case.

    Raises:
        DataError: Nothing can be published from what is left. The message names the parts that cannot be used.
    """
    hidden: list[str] = []
    reasons: list[str] = [stale_reason] if stale_reason else []

    def publish_known() -> _T:
        return publish(PartialStore(store, hidden) if hidden else store, "; ".join(reasons) or None)

    for _ in range(_MAX_ATTEMPTS):
        try:
            return publish_known()
        except history_parts.UnusableHistory as error:
            if isinstance(error, history_parts.DamagedHistory):
                moved = attempt(partial(history_parts.set_aside, store, settings.name, error.feed))
                if moved == []:
                    continue  # A server sent other bytes than it has. At the next look, the parts were good.
                if isinstance(moved, Failed):
                    reasons.append(moved.text)
            hidden += error.parts
            reasons.append(str(error))
        except DataError as error:
            if not hidden:
                raise
            # What is left is too little, and the parts that were left out are why.
            raise DataError("; ".join([*reasons, str(error)])) from None
    return publish_known()
