"""A secret is planted wherever one can be configured, and everything that runs leave is searched for it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest

from tests.support.commands import gatecast, json_report, nightly_process
from tests.support.pipelines import ISSUE, write_pipeline
from tests.support.prefect_api import events, every
from tests.support.s3_server import S3Server
from tests.support.web_server import Web

# Drivers split a uri at these characters, so no part may be shown either.
SECRET = "pl4nted/qu1etly@w0rd:9"
PARTS = re.compile(rb"(?i)pl4nted|qu1etly|w0rd:9")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{20,}")
_GONE = "127.0.0.1:1"


def leaks(content: bytes) -> list[bytes]:
    """Return the places of the secret in `content`: plain, or inside base64 or compressed data."""
    leaked = [content[max(0, hit.start() - 80) : hit.end() + 40] for hit in PARTS.finditer(content)]
    for word in _BASE64.findall(content):
        # Other characters may precede a short base64 word. The long ones, such as those of the page, start at once.
        for start in range(4 if len(word) < 400 else 1):
            part = word[start:].replace(b"-", b"+").replace(b"_", b"/")
            decoded = base64.b64decode(part[: len(part) - (len(part) % 4 == 1)] + b"==")
            leaked += [decoded[:200] for hidden in (decoded, _inflated(decoded)) if PARTS.search(hidden)]
    return leaked


def _inflated(content: bytes) -> bytes:
    """Return the content decompressed by gzip or zlib, empty if it is neither."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(content)
    except zlib.error:
        return b""


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every file under `folder`, of Parquet also the rows and metadata."""
    for place in sorted(folder.rglob("*")):
        if place.is_file():
            content = place.read_bytes()
            yield str(place), place.name.encode() + content
            if place.suffix == ".parquet":
                yield f"{place} read", pl.read_parquet(io.BytesIO(content)).write_ndjson().encode()
                yield f"{place} metadata", json.dumps(pl.read_parquet_metadata(io.BytesIO(content))).encode()


def test_the_search_finds_a_secret_in_other_forms(tmp_path: Path) -> None:
    pair = base64.b64encode(b"reader:" + SECRET.encode())
    packed = base64.b64encode(gzip.compress(SECRET.encode() * 3))
    for hidden in (SECRET.encode(), b"Basic " + pair, packed, quote(SECRET).encode()):
        assert leaks(b"before " + hidden + b" after")
    pl.DataFrame({"a": [SECRET] * 9}).write_parquet(tmp_path / "a.parquet", metadata={"b": "x"})
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "b.parquet", metadata={"b": SECRET})
    named = {name.rpartition("/")[2] for name, content in everything(tmp_path) if leaks(content)}
    assert named >= {"a.parquet read", "b.parquet metadata"}
    assert not leaks(b"a" * 1000 + b" nothing")


def feed(path: Path, uri: str, query: str = "") -> None:
    """Make the target feed of the pipeline file one of `uri`."""
    impatient = '[feed.options]\ntimeout = "2s"\nretries = 0\n\n' if not query else ""
    more = f"query = '{query}'\n" if query else ""
    text = path.read_text().replace('uri = "load.parquet"\n', f'uri = "{uri}"\n{more}')
    path.write_text(text.replace('[[feed]]\nname = "weather"', f'{impatient}[[feed]]\nname = "weather"'))


QUERY = "select 1 as series_id, now() as ds, 1.0 as y"
PERCENT = quote(SECRET, safe="")
# The uri in the file, the value of PW in the environment, and a text that the error must contain.
BROKEN = {
    "postgres, refused": (f"postgresql://reader:${{PW}}@{_GONE}/db", PERCENT, "refused"),
    "postgres, no such host": ("postgresql://reader:${PW}@no-such-host.invalid/db", PERCENT, "no-such-host.invalid"),
    "postgres, not escaped": (f"postgresql://reader:${{PW}}@{_GONE}/db", SECRET, "the connection failed"),
    "postgres, in a parameter": (f"postgresql://{_GONE}/db?user=reader&password=${{PW}}", PERCENT, "refused"),
    "postgres, as a whole": ("${PW}", f"postgresql://reader:{SECRET}@{_GONE}/db", "the connection failed"),
    "web, 404 that says the address": ("{web}/gone/load.csv?sort=1&code=${PW}", PERCENT, "HTTP status 404"),
    "web, part of the path": ("{web}/gone/${PW}/load.csv", PERCENT, "HTTP status 404"),
    "web, user and password": ("{user}/gone/load.csv", PERCENT, "HTTP status 404"),
    "web, not escaped": ("{user}/gone/load.csv", SECRET, ""),
    "web, refused": (f"https://reader:${{PW}}@{_GONE}/load.csv", PERCENT, "ConnectError"),
    "web, no such host": ("https://${PW}.invalid/load.csv", SECRET, ""),
    "web, not an address": ("http://[${PW}/load.csv", SECRET, ""),
    "web, as a whole": ("${PW}", f"https://reader:{PERCENT}@{_GONE}/load.csv?token=qu1etly", "ConnectError"),
    "web, by the environment alone": ("https://x/load.csv", None, ""),
    "S3, a bucket of that name": ("s3://${PW}/load.csv", SECRET, ""),
}  # fmt: skip


def _echo(web: Web) -> None:
    """Answer with the whole request, as a careless server does."""
    for path in (f"/gone/{PERCENT}/load.csv", f"/gone/{SECRET}/load.csv", "/gone/load.csv"):
        web.answers[path] = lambda url: (404, {}, f"<p>no {url} {json.dumps(SECRET)} for {url}".encode())


@pytest.mark.parametrize("case", BROKEN)
def test_no_error_contains_a_secret(case: str, tmp_path: Path, web: Web, s3: S3Server) -> None:
    uri, secret, words = BROKEN[case]
    _echo(web)
    path = write_pipeline(tmp_path)
    user = web.address.replace("://", "://reader:${PW}@")
    uri = uri.replace("{web}", web.address).replace("{user}", user)
    feed(path, uri, QUERY if "postgres" in case else "")
    environment = (
        {"PW": secret} if secret else {"GATECAST_FEED__DEMAND__URI": f"https://reader:{SECRET}@{_GONE}/load.csv"}
    )
    environment["AWS_SECRET_ACCESS_KEY"] = SECRET
    for command in (("check",), ("ingest", "--as-of", ISSUE)):
        done = gatecast(command[0], path, *command[1:], **environment)
        assert done.returncode == 1, done.stderr
        assert "error: feed 'demand':" in done.stderr and words in done.stderr
        assert "Traceback" not in done.stderr
        assert not leaks((done.stdout + done.stderr).encode())
    for name, content in everything(tmp_path):
        assert not leaks(content), name


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATECAST_PIPELINE__STORE", f"https://reader:{SECRET}@host/store"),
        ("GATECAST_PIPELINE__STORE", f"s3://reader:{SECRET}@bucket/store"),
        ("GATECAST_FEED__DEMAND__URL", f"https://reader:{SECRET}@host/load.csv"),
        ("GATECAST_FEED__DEMAND__KIND", f"https://host/load.csv?token={SECRET}"),
        ("GATECAST_FEED__GONE__URI", f"https://host/load.csv?token={SECRET}"),
        ("AWS_ENDPOINT_URL", f"http://reader:{SECRET}@{_GONE}"),
    ],
)
def test_no_error_of_a_setting_contains_a_secret(variable: str, value: str, tmp_path: Path, s3: S3Server) -> None:
    path = write_pipeline(tmp_path)
    if variable.startswith("AWS"):
        path.write_text(path.read_text().replace('"./store"', '"s3://market/store"'))
    done = gatecast("ingest", path, "--as-of", ISSUE, **{variable: value})
    assert done.returncode in (1, 2) and "error:" in done.stderr
    assert not leaks((done.stdout + done.stderr).encode())


@pytest.fixture(scope="module")
def password(postgres: str) -> str:
    """A user of the database whose password is the secret; its address without it."""
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute(f"create role planted login password '{SECRET}'")
        cursor.execute("create table load (series_id text, ds timestamp, y float8)")
        cursor.execute("grant select on load to planted")
        connection.commit()
    return postgres


def _fill(postgres: str, load: pl.DataFrame) -> None:
    load.select("series_id", "ds", "y").write_database("load", postgres, engine="adbc", if_table_exists="append")


def test_runs_leave_no_secret_anywhere(
    trained: Path, prefect_server: dict[str, str], password: str, web: Web, s3: S3Server, tmp_path: Path
) -> None:
    """A run that reads with its secrets and runs that fail with them: everything that they leave is searched."""
    path = write_pipeline(tmp_path)
    load = pl.read_parquet(tmp_path / "load.parquet")
    _fill(password, load)
    weather = io.BytesIO()
    # The server repeats the key in cells, also in other forms.
    rows = pl.read_parquet(tmp_path / "temperature.parquet").cast(pl.String)
    words = [SECRET, PERCENT, base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex(), SECRET[:13]]
    echoes = [
        rows[-1 - i].with_columns(pl.lit(word).alias(name)) for i, word in enumerate(words) for name in rows.columns
    ]
    pl.concat([rows, *echoes]).write_csv(weather)
    web.answers["/w/load.csv"] = lambda _: (200, {}, weather.getvalue())
    _echo(web)
    host = password.rpartition("@")[2]
    feed(path, f"postgresql://planted:${{PW}}@{host}", "select series_id, ds, y from load where ds < :until")
    text = path.read_text()
    wanted = web.address.replace("://", "://reader:${PW}@") + "/w/load.csv?code=${PW}"
    path.write_text(text.replace('uri = "temperature.parquet"', f'uri = "{wanted}"'))
    environment = {
        **prefect_server, "PW": PERCENT, "AWS_SECRET_ACCESS_KEY": SECRET, "GATECAST_TRAINING__MAX_UPDATES": "20",
        "PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    }  # fmt: skip
    home = Path(prefect_server["PREFECT_HOME"])
    worked = nightly_process(path, home, "--issue-time", ISSUE, "--json", **environment)
    report = json_report(worked)
    assert report["failures"] == {} and report["ingest"]["feeds"]["demand"]["read"] > 1000
    assert report["ingest"]["feeds"]["weather"]["refused"] >= len(words) and "***" in worked.stdout
    path.write_text(path.read_text().replace("/w/load.csv", "/gone/load.csv").replace(host, f"{_GONE}/postgres"))
    degraded = nightly_process(path, home, "--issue-time", "2018-09-02", "--json", **environment)
    assert json_report(degraded)["failures"].keys() == {"ingest:demand", "ingest:weather"}
    path.write_text(path.read_text().replace('name = "small"', 'name = "doomed"'))
    failed = nightly_process(path, home, "--issue-time", "2018-09-02", "--json", **environment)
    assert failed.returncode == 1
    for done in (worked, degraded, failed):
        assert not leaks((done.stdout + done.stderr).encode())
    assert (tmp_path / "store/reports/doomed.html").exists()
    searched = 0
    for name, content in everything(tmp_path / "store"):
        searched += 1
        assert not leaks(content), name
    assert searched > 20
    url = prefect_server["PREFECT_API_URL"]
    for what in ("flow_runs", "task_runs", "logs", "artifacts", "flows", "block_documents", "variables"):
        objects = every(url, what)
        assert not leaks(json.dumps(objects).encode()), what
        assert objects or what in ("block_documents", "variables"), what
    assert events(url) and not leaks(json.dumps(events(url)).encode())
    # Files of Prefect whose content its API does not return.
    for place in [place for place in home.rglob("*") if place.is_file()]:
        assert not PARTS.search(place.read_bytes()), place
