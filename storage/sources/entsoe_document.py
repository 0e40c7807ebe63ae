"""The XML documents of the ENTSO-E Transparency Platform: values out of periods of numbered points.

Read with the standard library. entsoe-py would do it too, but needs pandas, which has no place in a night.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from xml.etree import ElementTree

from storage.schemas import DataError
from storage.sources.fetch import excerpt
from storage.sources.request import Request

_NO_DATA = "no matching data"
_LENGTH = re.compile(r"PT(\d+)M|PT(\d+)H")
_VARIABLE_BLOCKS = "A03"  # a point stands until the next one
_DAY_AHEAD = "A01"
_MOST_POINTS = 1_000_000


def values(request: Request, content: bytes, sequence: int) -> Iterator[tuple[datetime, float, int]]:
    """Start, value and length (us) of every period that a document has a value for.

    Of prices, only those of the day-ahead auction and, where a zone has several, of the `sequence`-th.

    Raises DataError for a refusal, unless it says that there are no data, and for what is no such document.
    """
    root = _root(request, content)
    if root.tag.endswith("Acknowledgement_MarketDocument"):
        reasons = [" ".join((found.text or "").split()) for found in root.iterfind("{*}Reason/{*}text")]
        if any(_NO_DATA in reason.lower() for reason in reasons):
            return
        raise DataError(f"{request.shown}: refused: {request.redact('; '.join(reasons)) or 'without a reason'}")
    if not root.tag.endswith(("GL_MarketDocument", "Publication_MarketDocument")):
        raise DataError(f"{request.shown}: the answer is no document of load or prices, but {root.tag!r}")
    try:
        for series in root.iterfind("{*}TimeSeries"):
            if _said(series, "contract_MarketAgreement.type", _DAY_AHEAD) != _DAY_AHEAD:
                continue
            place = _said(series, "classificationSequence_AttributeInstanceComponent.position", str(sequence))
            if int(place) != sequence:
                continue
            repeats = _said(series, "curveType", "A01") == _VARIABLE_BLOCKS
            for period in series.iterfind("{*}Period"):
                yield from _points(period, repeats)
    except (ValueError, ArithmeticError) as error:
        raise DataError(f"{request.shown}: a time series of the answer cannot be read: {error}") from None


def _root(request: Request, content: bytes) -> ElementTree.Element:
    try:
        # The platform's documents declare no types; what declares entities may be a bomb.
        if b"<!DOCTYPE" not in content and b"<!ENTITY" not in content:
            return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError):
        pass
    raise DataError(f"{request.shown}: the answer is no XML document: {excerpt(request, content)}")


def _points(period: ElementTree.Element, repeats: bool) -> Iterator[tuple[datetime, float, int]]:
    start, end = (_instant(_said(period, f"timeInterval/{{*}}{name}")) for name in ("start", "end"))
    step = _length(_said(period, "resolution"))
    count = (end - start) // step
    if not 0 < count <= _MOST_POINTS:
        raise ValueError(f"a period from {start} to {end} in steps of {step}")
    length = step // timedelta(microseconds=1)
    points = {int(_said(point, "position")): _value(point) for point in period.iterfind("{*}Point")}
    value = None
    for position in range(1, count + 1):
        value = points.get(position, value if repeats else None)
        if value is not None:
            yield start + (position - 1) * step, value, length
    if points and not 1 <= min(points) <= max(points) <= count:
        raise ValueError(f"position {max(points)} of {count}")


def _value(point: ElementTree.Element) -> float:
    found = point.find("{*}quantity")
    found = point.find("{*}price.amount") if found is None else found
    if found is None:
        raise ValueError("a point without quantity and price.amount")
    return float(found.text or "")


def _said(element: ElementTree.Element, name: str, default: str | None = None) -> str:
    text = element.findtext(f"{{*}}{name}", default)
    if text is None:
        raise ValueError(f"{element.tag.rpartition('}')[2]} without {name}")
    return text.strip()


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if instant.tzinfo is None:
        raise ValueError(f"a time without a zone, {text!r}")
    return instant


def _length(text: str) -> timedelta:
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise ValueError(f"a resolution of {text!r}")
    return timedelta(minutes=int(found[1])) if found[1] else timedelta(hours=int(found[2]))
