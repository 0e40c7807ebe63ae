"""Promotion: retraining is normal, serving is earned on issue times that no candidate was fitted on."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """Whether the challenger serves from now on, and why, in a sentence with the figures."""

    promoted: bool
    reason: str


def decide(
    challenger: dict[str, float], champion: dict[str, float] | None, baseline: dict[str, float], margin: float
) -> Decision:
    """Compare summaries (`metrics.summary`) made on the same rows.

    Args:
        champion: None where no model serves yet, or the serving one cannot be used any more.
        margin: relative improvement of the mean pinball asked of the challenger over the champion.
    """
    score, bar = challenger["pinball"], baseline["pinball"]
    if not math.isfinite(score):
        return Decision(False, "refused: the challenger's forecasts are not finite")
    if not score < bar:
        return Decision(False, f"refused: pinball {score:.6g} does not beat the baseline's {bar:.6g}")
    against = f"{1 - score / bar:.1%} below the baseline's {bar:.6g}"
    if champion is None:
        return Decision(True, f"promoted: pinball {score:.6g}, {against}; no champion to beat")
    needed = champion["pinball"] * (1 - margin)
    if score > needed:
        asked = f" less the margin of {margin:.1%}" if margin else ""
        return Decision(False, f"refused: pinball {score:.6g}, the champion has {champion['pinball']:.6g}{asked}")
    return Decision(True, f"promoted: pinball {score:.6g}, the champion has {champion['pinball']:.6g}; {against}")
