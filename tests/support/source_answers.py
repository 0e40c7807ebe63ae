"""Answers of public data services, in the form that each one documents."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from tests.support.web_server import Web


def csv(key: str, *prices: tuple[str, str]) -> bytes:
    head = "KEY,FREQ,CURRENCY,CURRENCY_DENOM,EXR_TYPE,EXR_SUFFIX,TIME_PERIOD,OBS_VALUE"
    parts = key.split(".")
    return "\n".join([head, *(",".join([f"EXR.{key}", *parts, *price]) for price in prices)]).encode() + b"\n"


def answer(*rows: dict[str, Any], total: int | str | None = None) -> bytes:
    # The API gives its totals and, since 2024, its values as texts.
    response = {"total": str(len(rows)) if total is None else total, "dateFormat": "YYYY-MM-DD", "data": list(rows)}
    return json.dumps({"response": response, "request": {"command": "/v2/"}, "apiVersion": "2.1.12"}).encode()


def hour(respondent: str, period: str, value: str | None) -> dict[str, Any]:
    return {"period": period, "respondent": respondent, "type": "D", "value": value, "value-units": "megawatthours"}


def period(start: str, end: str, resolution: str, points: dict[int, object], value: str = "quantity") -> str:
    rows = "".join(f"<Point><position>{n}</position><{value}>{v}</{value}></Point>" for n, v in points.items())
    return (
        f"<Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval>"
        f"<resolution>{resolution}</resolution>{rows}</Period>"
    )


def document(*series: str, kind: str = "GL_MarketDocument") -> bytes:
    space = "urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"
    rows = "".join(f"<TimeSeries><mRID>{n}</mRID>{one}</TimeSeries>" for n, one in enumerate(series, 1))
    head = "<type>A65</type><createdDateTime>2018-09-03T18:45:41Z</createdDateTime>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<{kind} xmlns="{space}">{head}{rows}</{kind}>'.encode()


def price(*periods: str, sequence: int | None = None, contract: str = "A01", curve: str = "A03") -> str:
    place = "classificationSequence_AttributeInstanceComponent.position"
    position = f"<{place}>{sequence}</{place}>" if sequence else ""
    kind = f"<contract_MarketAgreement.type>{contract}</contract_MarketAgreement.type>"
    return f"{kind}{position}<curveType>{curve}</curveType>{''.join(periods)}"


def refusal(text: str) -> bytes:
    space = "urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"
    return (
        f'<Acknowledgement_MarketDocument xmlns="{space}"><mRID>be39</mRID>'
        f"<Reason><code>999</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
    ).encode()


class Weather:
    """The server: a variable is the latitude, plus a hundredth of the hour since `START`, plus 1000 a day of lead.

    A single run adds 10,000 times the day of the month of its start.
    """

    START = datetime(2018, 8, 1, tzinfo=UTC)

    def __init__(self, web: Web, first: str = "2018-08-01", last: str = "2018-09-16") -> None:
        self.first, self.last = first, last
        self.missing: set[tuple[str, str]] = set()
        self.missing_runs: set[str] = set()
        web.answers["/v1/weather"] = self

    def __call__(self, path: str) -> tuple[int, dict[str, str], bytes]:
        query = {key: value[0] for key, value in parse_qs(urlsplit(path).query).items()}
        if "run" in query:
            if query["run"] in self.missing_runs:
                return 400, {}, b'{"error": true, "reason": "The requested model run is not available"}'
            start = date.fromisoformat(query["run"][:10])
            end = start + timedelta(days=int(query["forecast_days"]) - 1)
            query |= {"start_date": start.isoformat(), "end_date": end.isoformat()}
        if query["start_date"] < self.first or query["end_date"] > self.last:
            which = "start_date" if query["start_date"] < self.first else "end_date"
            reason = f"Parameter '{which}' is out of allowed range from {self.first} to {self.last}"
            return 400, {}, json.dumps({"error": True, "reason": reason}).encode()
        places = [self.place(float(latitude), query) for latitude in query["latitude"].split(",")]
        return 200, {}, json.dumps(places if len(places) > 1 else places[0]).encode()

    def place(self, latitude: float, query: dict[str, str]) -> dict[str, Any]:
        table = "daily" if "daily" in query else "hourly"
        zone = ZoneInfo(query["timezone"])
        first, last = (date.fromisoformat(query[key]) for key in ("start_date", "end_date"))
        times = []
        time = datetime(first.year, first.month, first.day, tzinfo=zone)
        while time.date() <= last:
            times.append(time)
            time += timedelta(days=1) if table == "daily" else timedelta(hours=1)
        form = "%Y-%m-%d" if table == "daily" else "%Y-%m-%dT%H:%M"
        columns: dict[str, list[Any]] = {"time": [time.strftime(form) for time in times]}
        for name in query[table].split(","):
            lead = int(name.partition("_previous_day")[2] or 0)
            run = float(query.get("run", "2018-08-00T00")[8:10]) * 10_000
            hours = [(time - self.START) / timedelta(hours=1) for time in times]
            columns[name] = [
                None if (name, text) in self.missing else latitude + hour / 100 + 1000 * lead + run
                for hour, text in zip(hours, columns["time"], strict=True)
            ]
        return {"latitude": latitude, "longitude": 0.0, "utc_offset_seconds": 0, table: columns}
