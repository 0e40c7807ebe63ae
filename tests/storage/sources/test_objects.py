"""Feeds on S3, on a real server of the protocol."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from storage.schemas import FILE, DataError
from storage.sources import objects
from storage.sources.request import Request
from tests.support.commands import gatecast, json_report
from tests.support.s3_server import BUCKET, S3Server

COLUMNS = ["t", "y"]


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A bucket with objects."""
    for number in range(3):
        rows = pl.DataFrame({"t": [f"2018-09-0{number + 1}"], "y": [float(number)], "more": ["x"]})
        parquet = io.BytesIO()
        rows.write_parquet(parquet)
        csv = rows.write_csv().encode()
        for key, content in {
            f"load/2018/part {number}.parquet": parquet.getvalue(),
            f"load/part-{number}.csv": csv,
            f"load/part-{number}.csv.gz": gzip.compress(csv),
        }.items():
            s3.client.put_object(Bucket=BUCKET, Key=key, Body=content)
    s3.client.put_object(Bucket=BUCKET, Key="load/spoilt.parquet", Body=b"not parquet")
    return f"s3://{BUCKET}"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("load/2018/part 1.parquet", [1.0]),
        ("load/2018/*.parquet", [0.0, 1.0, 2.0]),
        ("**/part?[!1].parquet", [0.0, 2.0]),
        ("load/part-*.csv", ["0.0", "1.0", "2.0"]),
        ("l*/part-[01].csv.gz", ["0.0", "1.0"]),
    ],
)
def test_one_object_and_a_glob(
    bucket: str, request_of: Callable[..., Request], key: str, values: list[float] | list[str]
) -> None:
    rows = objects.read(request_of(f"{bucket}/{key}", COLUMNS))
    assert rows.drop(FILE, strict=False).columns == COLUMNS
    assert rows["y"].to_list() == values


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://market/load/none.csv", r"s3://market/load/none.csv: there is no such object"),
        ("s3://market/none/*.csv", r"s3://market/none/\*.csv: no object of the bucket matches"),
        ("s3://nowhere/load.csv", r"s3://nowhere/load.csv: there is no such bucket"),
        ("s3://nowhere/*.csv", r"s3://nowhere: there is no such bucket"),
        ("s3://market/load/spoilt.parquet", r"s3://market/load/spoilt.parquet: cannot be read as parquet"),
        ("s3://market/load/part-0.txt", r"there is no such object"),
        ("s3://market", r"write it as s3://bucket/key"),
        ("s3:///load.csv", r"write it as s3://bucket/key"),
    ],
)
def test_a_missing_or_unreadable_object_is_an_error_of_one_line(
    bucket: str, request_of: Callable[..., Request], uri: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as raised:
        objects.read(request_of(uri, COLUMNS))
    assert "\n" not in str(raised.value)


def test_a_column_that_is_not_there(bucket: str, request_of: Callable[..., Request]) -> None:
    message = r"s3://market/load/part-0.csv: there is no column 'z'; the file has 't', 'y', 'more'"
    with pytest.raises(DataError, match=message):
        objects.read(request_of(f"{bucket}/load/*.csv", ["z"]))


def test_a_bucket_that_refuses_its_user(bucket: str, s3: S3Server, request_of: Callable[..., Request]) -> None:
    """The error contains neither part of the key."""
    with s3.refusing(), pytest.raises(DataError, match="the store refuses: InvalidAccessKeyId") as raised:
        objects.read(request_of(f"{bucket}/load/part-0.csv", COLUMNS))
    assert "planted" not in str(raised.value)


def test_no_credentials(bucket: str, request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DataError, match=r"no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        objects.read(request_of(f"{bucket}/load/part-0.csv", COLUMNS, retries=0))


def test_an_unreachable_server_is_an_error(
    bucket: str, request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second read also shows that a process is not bound to the first endpoint that it used."""
    assert len(objects.read(request_of(f"{bucket}/load/part-0.csv", COLUMNS))) == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(
        DataError, match=r"s3://market/load/part-0.csv: no answer from http://127.0.0.1:1 after 2 retries"
    ):
        objects.read(request_of(f"{bucket}/load/part-0.csv", COLUMNS))


def test_a_pipeline_reads_it(bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        '[pipeline]\nname = "p"\nstore = "./store"\nfrequency = "1d"\n[[feed]]\nname = "demand"\nrole = "target"\n'
        f'uri = "{bucket}/load/2018/*.parquet"\nvalid_time = "t"\nvalues = ["y"]\n[feed.options]\nretries = 1\n'
    )
    done = gatecast("ingest", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json_report(done)["feeds"]["demand"]["added"] == 3
    path.write_text(path.read_text().replace("2018/*", "none"))
    done = gatecast("ingest", path)
    assert done.returncode == 1
    assert (
        done.stderr == "error: feed 'demand': s3://market/load/none.parquet: there is no such object; check its key\n"
    )
