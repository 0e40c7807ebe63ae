"""Parser of the ENTSO-E Transparency Platform's XML documents, whose periods hold numbered points.

It uses the standard library. entsoe-py needs pandas, which the nightly path does not import.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from xml.etree import ElementTree

from storage.schemas import DataError
from storage.sources.fetch import excerpt
from storage.sources.request import Request

logger = logging.getLogger(__name__)

_NO_DATA = "no matching data"
_RESOLUTION = re.compile(r"PT(\d+)M|PT(\d+)H")
_VARIABLE_BLOCKS = "A03"  # curve type in which a point is valid until the next one
_DAY_AHEAD = "A01"
_MAX_POINTS = 1_000_000


def read_values(request: Request, body: bytes, sequence: int, area: str) -> Iterator[tuple[datetime, float, int]]:
    """Yield start, value and length in microseconds of every period with a value.

    A document whose prices are all of other auctions gives a warning, because the feed would be empty without a reason.

    Args:
        request: Request for the feed.
        body: The document.
        sequence: Number of the day-ahead auction, in zones with several. Other prices are left out.
        area: Name of the area, for the warning.

    Raises:
        DataError: The document is a refusal for another reason than missing data, or cannot be read.
    """
    root = _parse_xml(request, body)
    if root.tag.endswith("Acknowledgement_MarketDocument"):
        reasons = [" ".join((reason.text or "").split()) for reason in root.iterfind("{*}Reason/{*}text")]
        if any(_NO_DATA in reason.lower() for reason in reasons):
            return
        raise DataError(
            f"{request.redacted_uri}: the request was refused: "
            f"{request.redact('; '.join(reasons)) or 'no reason is given'}"
        )
    if not root.tag.endswith(("GL_MarketDocument", "Publication_MarketDocument")):
        raise DataError(f"{request.redacted_uri}: the response must be a document of load or prices, got {root.tag!r}")
    other_sequences: set[int] = set()
    has_requested = False
    try:
        for series in root.iterfind("{*}TimeSeries"):
            if _text(series, "contract_MarketAgreement.type", _DAY_AHEAD) != _DAY_AHEAD:
                continue
            position = _text(series, "classificationSequence_AttributeInstanceComponent.position", str(sequence))
            if int(position) != sequence:
                other_sequences.add(int(position))
                continue
            has_requested = True
            is_repeating = _text(series, "curveType", "A01") == _VARIABLE_BLOCKS
            for period in series.iterfind("{*}Period"):
                yield from _points(period, is_repeating)
    except (ValueError, ArithmeticError) as error:
        raise DataError(f"{request.redacted_uri}: a time series of the response cannot be read: {error}") from None
    if other_sequences and not has_requested:
        held = ", ".join(map(str, sorted(other_sequences)))
        logger.warning(
            "ENTSO-E holds prices of %s for auction sequence %s only, and sequence %d is requested. Set sequence in "
            "[feed.options] to read them.", area, held, sequence,
        )  # fmt: skip


def _parse_xml(request: Request, body: bytes) -> ElementTree.Element:
    try:
        # The platform's documents declare no entities. A document that does may be an attack (entity expansion).
        if b"<!DOCTYPE" not in body and b"<!ENTITY" not in body:
            return ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        pass
    raise DataError(f"{request.redacted_uri}: the response is not an XML document: {excerpt(request, body)}")


def _points(period: ElementTree.Element, is_repeating: bool) -> Iterator[tuple[datetime, float, int]]:
    """Yield start, value and length of each point. In a repeating curve a missing point has the previous value."""
    start, end = (_parse_instant(_text(period, f"timeInterval/{{*}}{name}")) for name in ("start", "end"))
    step = _parse_resolution(_text(period, "resolution"))
    count = (end - start) // step
    if not 0 < count <= _MAX_POINTS:
        raise ValueError(f"a period from {start} to {end} in steps of {step}")
    length = step // timedelta(microseconds=1)
    points = {int(_text(point, "position")): _parse_value(point) for point in period.iterfind("{*}Point")}
    value = None
    for position in range(1, count + 1):
        value = points.get(position, value if is_repeating else None)
        if value is not None:
            yield start + (position - 1) * step, value, length
    if points and not 1 <= min(points) <= max(points) <= count:
        raise ValueError(f"position {max(points)} of {count}")


def _parse_value(point: ElementTree.Element) -> float:
    element = point.find("{*}quantity")
    element = point.find("{*}price.amount") if element is None else element
    if element is None:
        raise ValueError("a point without quantity and price.amount")
    return float(element.text or "")


def _text(element: ElementTree.Element, name: str, default: str | None = None) -> str:
    text = element.findtext(f"{{*}}{name}", default)
    if text is None:
        raise ValueError(f"{element.tag.rpartition('}')[2]} without {name}")
    return text.strip()


def _parse_instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if instant.tzinfo is None:
        raise ValueError(f"a time without a zone, {text!r}")
    return instant


def _parse_resolution(text: str) -> timedelta:
    match = _RESOLUTION.fullmatch(text)
    if match is None:
        raise ValueError(f"a resolution of {text!r}")
    return timedelta(minutes=int(match[1])) if match[1] else timedelta(hours=int(match[2]))
