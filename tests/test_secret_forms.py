"""A secret in each form, at each place where text leaves the process."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import polars as pl
import pytest

from flows import logs, terminal
from flows.settings import file as pipeline_file
from flows.stages import metrics as metrics_stage
from storage import layout, metrics, quarantine, redaction, run_records
from storage.redaction import redact_values, register_secrets
from storage.store import open_store
from tests.support.commands import gatecast
from tests.support.web_server import Web

SECRET = "pl4nted/qu1etly@w0rd:9é"
_BYTES = SECRET.encode()
_CODES = [ord(c) for c in SECRET]

#: A form of the secret by its name. Each is what a server or a library may make of a key.
FORMS = {
    "plain": SECRET,
    "upper case": SECRET.upper(),
    "percent": quote(SECRET, safe=""),
    "percent of a form": quote_plus(SECRET),
    "percent in lower case": quote(SECRET, safe="").lower(),
    "percent of every byte": "".join(f"%{byte:02X}" for byte in _BYTES),
    "percent twice": quote(quote(SECRET, safe=""), safe=""),
    "base64": base64.b64encode(_BYTES).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(_BYTES).decode().rstrip("="),
    "base64 after one byte": base64.b64encode(b":" + _BYTES).decode(),
    "base64 of user and password": base64.b64encode(b"reader:" + _BYTES).decode(),
    "hex": _BYTES.hex(),
    "hex in upper case": _BYTES.hex().upper(),
    "hex with colons": _BYTES.hex(":"),
    "entities": html.escape(SECRET).replace("@", "&commat;").replace("/", "&sol;").replace("4", "&#52;"),
    "decimal entities": "".join(f"&#{code};" for code in _CODES),
    "hexadecimal entities": "".join(f"&#x{code:X};" for code in _CODES),
    "long entities": "".join(f"&#x{code:010x};" if code % 2 else f"&#{code:010d};" for code in _CODES),
    "unicode": "".join(f"\\u{code:04x}" for code in _CODES),
    "unicode in JSON in JSON": json.dumps(json.dumps("".join(f"\\u{code:04X}" for code in _CODES))),
    "unicode of eight digits": "".join(f"\\U{code:08x}" for code in _CODES),
    "escapes of bytes": "".join(f"\\x{byte:02x}" for byte in _BYTES),
    "JSON": json.dumps(SECRET)[1:-1].replace("/", r"\/"),
    "mixed": quote(SECRET[:9], safe="") + "".join(f"\\u{code:04x}" for code in _CODES[9:]),
    "start": SECRET[:10],
    "end": SECRET[-10:],
    "middle": SECRET[6:17],
    "start of base64": base64.b64encode(_BYTES).decode()[:14],
    "start of hex": _BYTES.hex()[:20],
    "start of percent": quote(SECRET, safe="")[:14],
}


def is_shown(form: str, text: str) -> bool:
    """Return whether a text shows twelve characters of a form in a row, whatever backslashes are between them."""
    sought, searched = (each.lower().replace("\\", "") for each in (form, text))
    return any(sought[i : i + 12] in searched for i in range(max(1, len(sought) - 11)))


@pytest.fixture(autouse=True)
def _in_use() -> None:
    register_secrets([SECRET])


def _stdout(text: str, folder: Path) -> str:
    stream, sys.stdout = sys.stdout, io.StringIO()
    try:
        terminal.Output(as_json=False, quiet=False).print_result({}, [text])
        terminal.Output(as_json=True, quiet=False).print_result({"a": {text: [text]}}, [])
        return sys.stdout.getvalue()
    finally:
        sys.stdout = stream


def _stderr(text: str, folder: Path) -> str:
    stream, sys.stderr = sys.stderr, io.StringIO()
    try:
        terminal.print_error(f"error: {text}")
        try:
            raise ValueError(text)
        except ValueError as error:
            logs.redact_python_output()
            sys.excepthook(ValueError, error, error.__traceback__)
        return sys.stderr.getvalue()
    finally:
        sys.stderr = stream


def _log(text: str, folder: Path) -> str:
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("flows", logging.INFO, "", 1, "read %s", (text,), sys.exc_info())
    logs.Redacting().filter(record)
    return logs.JsonLines().format(record) + logging.Formatter().format(record)


def _quarantine(text: str, folder: Path) -> str:
    store = open_store(str(folder))
    rows = pl.DataFrame({"a": [text, "b"], "list": [[text], []], "reason": [f"a is not a number, got {text!r}", "c"]})
    assert quarantine.append(store, "p", "f", rows, datetime(2020, 1, 1, tzinfo=UTC)) == 2
    assert quarantine.append(store, "p", "f", rows, datetime(2020, 1, 2, tzinfo=UTC)) == 0, "known rows come again"
    return str(quarantine.read(store, "p", "f").to_dicts())


def _record(text: str, folder: Path) -> str:
    store, time = open_store(str(folder)), datetime(2020, 1, 1, tzinfo=UTC)
    record: Any = {"failures": {"ingest:f": text, text: "x"}, "alerts": [{"text": text}]}
    run_records.write(store, "p", time, record)
    content = store.get(layout.run_record("p", time)).decode()
    assert json.loads(content)
    return content


def _metrics(text: str, folder: Path) -> str:
    store = open_store(str(folder))
    gauges = metrics_stage._Gauges("p")
    gauges.set_each("stage_failed", "Stages.", "stage", {text: 1.0})
    metrics.write(store, "p", gauges.text())
    return store.get(layout.metrics("p")).decode()


def _result(text: str, folder: Path) -> str:
    """The report of a stage process, and a table of Prefect."""
    return json.dumps(redact_values({"feeds": {"f": {"reasons": [text], "n": 1, "x": None}}, text: (text,)}))


def _page(text: str, folder: Path) -> str:
    return redaction.redact_registered(f"<script>const a='{text}'</script><td title=\"{text}\">{text}</td>")


PLACES: dict[str, Callable[[str, Path], str]] = {
    "standard output": _stdout, "standard error": _stderr, "log": _log, "quarantine": _quarantine,
    "run record": _record, "metrics": _metrics, "result": _result, "page": _page,
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_no_form_leaves_at_any_place(form: str, place: str, tmp_path: Path) -> None:
    shown = PLACES[place](f"before {FORMS[form]} after", tmp_path)
    assert "***" in shown and "before" in shown and "after" in shown
    assert not is_shown(FORMS[form], shown), shown


def test_the_search_of_this_file_finds_every_form() -> None:
    for form in FORMS.values():
        assert is_shown(form, json.dumps({"a": f"x{form}y"}, ensure_ascii=False))
        assert is_shown(form, f"x{form[:24]}")


HEAD = """
[pipeline]
name = "p"
store = "./store"
frequency = "1d"

[[feed]]
name = "demand"
role = "target"
valid_time = "t"
series_id = "who"
values = ["y"]
"""


def _ingest(folder: Path, uri: str, **environment: str) -> tuple[str, bytes]:
    """Ingest a feed and return what was printed, and all bytes in the store."""
    path = folder / "p.toml"
    uri_line = f'uri = "{uri}"\n' if uri else ""
    path.write_text(HEAD + uri_line + '[feed.options]\nretries = 0\ntimeout = "5s"\nformat = "csv"\n')
    printed = []
    for command in (["check", path], ["ingest", path, "--as-of", "2018-10-01"], ["ingest", path, "--json"]):
        done = gatecast(*command, **environment)
        printed.append(done.stdout + done.stderr)
    content = b""
    for file in sorted(folder.joinpath("store").rglob("*.parquet")):
        content += pl.read_parquet(file).write_ndjson().encode()
    return "".join(printed), content


# Where the key is written: its place in the uri, with the variable that holds it or the whole uri.
KEYS = {
    "appid": "?appid={key}", "pass": "?user=a&pass={key}", "api_key": "?api_key={key}", "code": "?code={key}",
    "path": "{key}",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["part", "variable", "setting"])
@pytest.mark.parametrize("name", KEYS)
def test_cells_that_echo_the_key_of_the_request(name: str, kind: str, tmp_path: Path, web: Web) -> None:
    """A server repeats the key in an id, a time and a value, in the header and in an error."""
    key = "5f3a9c0de17b4482aa61b0c7d9e8f123"
    lines = [f"2018-09-{day:02},a,{day}" for day in range(1, 21)]
    lines += [f"2018-09-21,{key},1", f"{key},a,2", f"2018-09-22,a,{key}", f"2018-09-23,b,{key[:16]}"]
    path = "/load/" + (key if name == "path" else "")
    web.answers[path] = lambda _: (200, {}, "\n".join(["t,who,y", *lines]).encode())
    place = KEYS[name]
    uri = f"{web.address}/load/{place.format(key='${KEY}' if kind == 'part' else key)}"
    if kind == "part":
        printed, stored = _ingest(tmp_path, uri, KEY=key)
    elif kind == "variable":
        printed, stored = _ingest(tmp_path, "${URI}", URI=uri)
    else:
        printed, stored = _ingest(tmp_path, "https://x/load.csv", GATECAST_FEED__DEMAND__URI=uri)
    assert "24 rows, 20 accepted" in printed, printed
    for text in (printed, stored.decode()):
        assert key[:16] not in text and key[8:24] not in text, text
        assert "***" in text
    assert b"who repeats a secret of the feed" in stored


def test_values_that_are_no_secrets_stay(tmp_path: Path) -> None:
    environment = {
        "HOST": "localhost", "DB_PASSWORD": "password", "SOME_KEY": "2018", "API_TOKEN": "a1b2c3d4e5f6", "AREA": "FR",
        "DATA": "/data",
    }  # fmt: skip
    path = tmp_path / "p.toml"
    path.write_text(HEAD + 'uri = "https://${HOST}/load.csv?area=${AREA}&from=2018-01-01"\n')
    pipeline_file.read(path, environment)
    text = "localhost: password for FR, 2018-01-01 and 20181101T040000Z in /data is not a1b2c3d4e5f6."
    assert redaction.redact_registered(text) == text.replace("a1b2c3d4e5f6", "***")


def test_a_word_of_a_secret_stays_and_half_of_the_words_does_not() -> None:
    register_secrets(["forecast-key-2024", "correcthorsebatterystaple"])
    shown = redaction.redact_registered("the forecast of 2024 is correct; forecast-key-2024, horsebatterysta, t-key-20")
    assert shown == "the forecast of 2024 is correct; ***, ***, ***"


def test_a_long_text_with_halves_of_surrogate_pairs_is_redacted() -> None:
    text = "/[\\ud800-\\udbff]/ \ud800 &#xD800; &#99999999; %u%%% \\u12 " * 200 + FORMS["unicode"]
    shown = redaction.redact_registered(text)
    assert shown.endswith("***") and shown.startswith("/[\\ud800-\\udbff]/ \ud800 &#xD800;")


def test_the_compressed_tables_of_a_page_stay() -> None:
    table = base64.b64encode(bytes(range(256)) * 8 + _BYTES).decode()
    assert redaction.redact_registered(f"a {table} {SECRET}") == f"a {table} ***"
