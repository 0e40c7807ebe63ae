"""Terms of forecasting on the report page, each with a short explanation as in docs/glossary.md."""

from __future__ import annotations

import html
import re

TERMS = {
    "median": "the middle of a forecast: the actual is as likely above it as below it",
    "80% interval": "the range between the 10% and the 90% quantile; 80% of the actuals should lie inside",
    "coverage": "the share of actuals inside the 80% interval",
    "baseline": "a simple forecast to compare with: the value of one season before, and its past errors as quantiles",
    "pinball": "the mean error of a forecast over all its quantiles, in the unit of the values; smaller is better",
    "skill": "1 minus the pinball divided by the baseline's: 100% is perfect, 0% is as good as the baseline",
    "champion": "the trained model that serves, until a newer one is better on past forecasts and replaces it",
    "actual": "the observed value of a forecast period",
}


def explained(text: str, *names: str) -> str:
    """Return a text as HTML, with an explanation at the first place of each term.

    Args:
        text: Plain text. Its special characters are escaped.
        names: Keys of TERMS.
    """
    if not names:
        return html.escape(text)
    found: set[str] = set()
    parts: list[str] = []
    for part in re.split(f"\\b({'|'.join(map(re.escape, names))})\\b", text, flags=re.IGNORECASE):
        name = part.lower()
        if name in names and name not in found:
            found.add(name)
            parts.append(f'<abbr class="term" title="{html.escape(TERMS[name])}">{html.escape(part)}</abbr>')
        else:
            parts.append(html.escape(part))
    return "".join(parts)
