"""Ids of a feed beside the series of the target: covariates that belong to no series, and series without covariates."""

from __future__ import annotations

import re
from collections.abc import Set

from storage.schemas.records import SeriesMatching

_SHOWN = 3


def match_series(ids: Set[str], all_ids: Set[str], series: Set[str]) -> SeriesMatching | None:
    """Return how the ids of a covariate feed match the series, None if each series has its covariate and no id is left.

    Args:
        ids: Ids of the feed.
        all_ids: Ids of all feeds with the same covariates.
        series: Ids of the target's series.
    """
    unmatched, uncovered = sorted(ids - series), sorted(series - all_ids)
    if not unmatched and not uncovered:
        return None
    similar = similar_ids(unmatched, series)
    return {
        "ids": len(ids), "unmatched": len(unmatched), "unmatched_examples": unmatched[:_SHOWN],
        "series": len(series), "uncovered": len(uncovered), "uncovered_examples": uncovered[:_SHOWN],
        "similar": len(similar), "similar_examples": similar[:_SHOWN],
    }  # fmt: skip


def similar_ids(ids: Set[str] | list[str], series: Set[str]) -> list[list[str]]:
    """Return the pairs of an id and a series that differ only by case, blanks, zeros or punctuation of a number."""
    by_form = {_normal_form(name): name for name in sorted(series)}
    pairs = ((name, by_form.get(_normal_form(name))) for name in sorted(ids))
    return [[name, other] for name, other in pairs if other is not None and other != name]


def similar_within(ids: Set[str]) -> list[list[str]]:
    """Return the groups of ids of one feed that differ only by case, blanks, zeros or punctuation of a number."""
    groups: dict[str, list[str]] = {}
    for name in sorted(ids):
        groups.setdefault(_normal_form(name), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _normal_form(name: str) -> str:
    """Return an id in lower case, without blanks, without leading zeros of its numbers and without a final .0."""
    form = re.sub(r"\.0+$", "", re.sub(r"\s+", "", name).casefold())
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", form)


def describe(matching: SeriesMatching) -> list[str]:
    """Return one sentence for each kind of id that does not match, with its count, share and examples."""
    lines = []
    if matching["unmatched"]:
        lines.append(
            f"{_share(matching['unmatched'], matching['ids'], 'ids')} of this feed belong to no series of the target: "
            f"{_names(matching['unmatched_examples'], matching['unmatched'])}."
        )
    if matching["uncovered"]:
        lines.append(
            f"{_share(matching['uncovered'], matching['series'], 'series')} of the target have no row in this feed: "
            f"{_names(matching['uncovered_examples'], matching['uncovered'])}."
        )
    if matching["similar"]:
        pairs = ", ".join(f"{name!r} and series {other!r}" for name, other in matching["similar_examples"])
        more = f" and {matching['similar'] - _SHOWN:,} more" if matching["similar"] > _SHOWN else ""
        lines.append(
            f"Ids that differ only by case, blanks or zeros: {pairs}{more}. Write them the same way in both sources."
        )
    return lines


def no_match_error(ids: Set[str], series: Set[str]) -> str:
    """Return the error of a covariate feed that has no id of any series."""
    similar = similar_ids(ids, series)
    hint = "They differ only by case, blanks or zeros. Write them" if similar else "Write the ids"
    own, others = (f"{len(names):,} ({_names(sorted(names)[:_SHOWN], len(names))})" for names in (ids, series))
    return (
        f"no covariate row belongs to any series. Ids of this feed: {own}. Series of the target: {others}. {hint} the "
        "same way in both sources, or leave series_id out for a covariate that all series share."
    )


def _share(count: int, total: int, what: str) -> str:
    return f"{count:,} of {total:,} {what} ({count / total:.0%})"


def _names(examples: list[str], count: int) -> str:
    return ", ".join(map(repr, examples)) + (", ..." if count > len(examples) else "")
