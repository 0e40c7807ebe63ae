"""Stores: writes are atomic, even if the writer is killed."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from storage import forecasts, history, history_parts, layout
from storage.schemas import INSTANT, DataError, Missing, forecast_schema
from storage.store import FolderStore, ReplayStore, Store, open_store
from storage.store.parquet import parquet_writer
from tests.support.s3_server import BUCKET, S3Server, stalling_proxy
from tests.support.web_server import Response, Web

# The kernel kills a process that exceeds its file size limit, in the middle of a write.
LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
"""
WRITER = """
import sys
from storage.store import open_store
open_store(sys.argv[1]).put("forecasts/x.parquet", b"new" * int(sys.argv[2]))
"""


@pytest.mark.process
def test_a_writer_killed_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("forecasts/x.parquet", b"old")
    done = subprocess.run([sys.executable, "-c", LIMITED + WRITER, str(tmp_path), "100000"], check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert store.get("forecasts/x.parquet") == b"old"
    assert store.keys("forecasts", "*") == ["forecasts/x.parquet"], "an orphan is seen by no listing"
    assert len(list((tmp_path / "forecasts").iterdir())) == 2, "the writer was killed while it wrote"


@pytest.mark.process
def test_a_writer_killed_in_the_middle_of_a_put_leaves_what_was_there(s3: S3Server) -> None:
    """The file is larger than the size from which clients use multipart uploads."""
    uri = f"s3://{BUCKET}/store"
    open_store(uri).put("forecasts/x.parquet", b"old")
    with stalling_proxy(s3.address, 8_000_000) as (address, is_stalled):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, uri, "20000000"], env={**os.environ, "AWS_ENDPOINT_URL": address}
        )
        assert is_stalled(), "the writer never wrote so much"
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
    assert open_store(uri).get("forecasts/x.parquet") == b"old"
    assert s3.objects() == ["store/forecasts/x.parquet"], "neither a truncated object nor a multipart upload is left"


def test_a_later_write_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("nights/a.json", b"a")
    names = {"old": ".a.json.0123456789ab.tmp", "new": ".b.json.0123456789ab.tmp", "other": "old.tmp"}
    for age, name in names.items():
        path = tmp_path / "nights" / name
        path.write_bytes(b"x")
        if age != "new":
            os.utime(path, (0, 0))
    store.put("nights/b.json", b"b")
    assert {path.name for path in (tmp_path / "nights").iterdir()} == {"a.json", "b.json", names["new"], names["other"]}


@pytest.mark.process
def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = LIMITED.replace("SIG_DFL", "SIG_IGN") + WRITER
    command = [sys.executable, "-c", code, str(tmp_path), "100000"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert not list((tmp_path / "forecasts").iterdir())


def test_content_is_stored_until_it_is_removed(store: Store) -> None:
    key = "forecasts/pipeline=p/ä b%20#?.bin"
    with pytest.raises(Missing, match="does not exist"):
        store.get(key)
    assert not store.has(key)
    assert store.put(key, b"one") == store.uri(key)
    assert store.has(key) and store.get(key) == b"one"
    store.put(key, b"two")
    assert store.get(key) == b"two"
    store.move(key, f"{key}.aside")
    assert not store.has(key) and store.get(f"{key}.aside") == b"two"
    for _ in range(2):
        store.remove(f"{key}.aside")
        assert not store.has(f"{key}.aside")


def test_keys_are_listed_by_folder_and_pattern(store: Store) -> None:
    for key in ("a/b/2.parquet", "a/b/1.parquet", "a/b/c/3.parquet", "a/b/x.json", "a/bc/4.parquet", "a/b/.5.parquet"):
        store.put(key, b"")
    assert store.keys("a/b", "*.parquet") == ["a/b/1.parquet", "a/b/2.parquet", "a/b/c/3.parquet"]
    assert store.keys("a/b", "x.json") == ["a/b/x.json"]
    assert store.keys("a", "[14].parquet") == ["a/b/1.parquet", "a/bc/4.parquet"]
    assert store.keys("none", "*") == []


def test_tables_are_read_as_they_were_written(store: Store) -> None:
    first, second = pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3], "y": [0.5]})
    # Brackets in a key are literal and not a pattern.
    keys = ["history/p/[a]/1.parquet", "history/p/[a]/2.parquet"]
    store.put_parquet(keys[0], first, {"of": "first"})
    store.put_parquet(keys[1], second)
    assert store.scan(keys[:1]).collect().equals(first)
    schema = {"x": pl.Int64(), "y": pl.Float64()}
    both = store.scan(keys, missing_columns="insert", schema=schema).collect()
    assert both.rows() == [(1, None), (2, None), (3, 0.5)]
    assert store.read_metadata(keys[0])["of"] == "first"
    store.put_parquet(keys[0], second)
    assert store.scan(keys[:1]).collect().equals(second), "the second read sees the replacement"
    store.remove(keys[0])
    with pytest.raises((Missing, FileNotFoundError)):
        store.scan(keys).collect()


def test_no_key_leaves_the_store(store: Store) -> None:
    for key in ("../x", "/etc/x", "a/../../x"):
        methods: list[Callable[[str], object]] = [
            store.uri,
            store.get,
            store.has,
            store.remove,
            lambda key: store.put(key, b""),
        ]
        for use in methods:
            with pytest.raises(DataError, match="outside the store"):
                use(key)


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://", "s3:///x", "s3://bucket//x", "s3://bucket/../x"])
def test_an_invalid_uri_is_refused(uri: str) -> None:
    with pytest.raises(DataError, match=rf"{re.escape(uri)}.*a folder, or s3://bucket/prefix"):
        open_store(uri)


def test_the_error_of_an_invalid_uri_hides_its_password() -> None:
    with pytest.raises(DataError, match=r"s3://a:\*\*\*@c/x.*a folder, or s3://bucket/prefix"):
        open_store("s3://a:planted@c/x")


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}", f"s3://{BUCKET}/", f"s3://{BUCKET}/a", f"s3://{BUCKET}/a/b/"])
def test_a_prefix_may_be_none_or_several_folders(s3: S3Server, uri: str) -> None:
    store = open_store(uri)
    stored = store.put("latest/p.parquet", b"x")
    assert stored == f"{uri.rstrip('/')}/latest/p.parquet"
    assert [f"s3://{BUCKET}/{key}" for key in s3.objects()] == [stored]
    assert store.keys("latest", "*") == ["latest/p.parquet"]


def uses(store: Store) -> list[Callable[[], object]]:
    """Return one call of each method of a store."""
    return [
        lambda: store.get("a/x"), lambda: store.has("a/x"), lambda: store.put("a/x", b""), lambda: store.keys("a", "*"),
        lambda: store.remove("a/x"), lambda: store.move("a/x", "a/y"), lambda: store.scan(["a/x", "a/y"]),
    ]  # fmt: skip


@pytest.mark.parametrize("use", range(7))
def test_a_missing_bucket_is_an_error_of_every_method(s3: S3Server, use: int) -> None:
    with pytest.raises(DataError, match=r"s3://nowhere/p\b.*: there is no such bucket"):
        uses(open_store("s3://nowhere/p"))[use]()


@pytest.mark.parametrize("use", range(7))
def test_a_refused_user_is_an_error_of_every_method(s3: S3Server, use: int) -> None:
    with s3.refusing(), pytest.raises(DataError, match=rf"s3://{BUCKET}/p\b.*: the store refuses: ") as raised:
        uses(open_store(f"s3://{BUCKET}/p"))[use]()
    assert "planted" not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://user:planted@127.0.0.1:1"])
def test_an_unreachable_server_is_an_error(s3: S3Server, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(DataError, match=rf"s3://{BUCKET}/p: .*no answer from http://127\.0\.0\.1:1 after") as raised:
        open_store(f"s3://{BUCKET}/p").keys("a", "*")
    assert "planted" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_listing_that_is_cut_is_requested_again(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = "<Contents><Key>p/a/x</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>"
    listing = f"<ListBucketResult>{entry}</ListBucketResult>".encode()
    for name, value in S3Server.credentials(web.address).items():
        monkeypatch.setenv(name, value)
    lengths = {"Content-Length": str(len(listing))}
    cut, page = (200, lengths, listing[:60]), b"<html><body>Welcome</body></html>"
    refusal: Response = (404, {}, b"<Error><Code>NoSuchKey</Code></Error>")
    web.respond(f"/{BUCKET}/p/.gatecast-no-such-object", refusal)
    web.respond(f"/{BUCKET}", cut, page, listing[:60], listing)
    assert open_store(f"s3://{BUCKET}/p").keys("a", "*") == ["a/x"]
    web.respond(f"/{BUCKET}", b"<ListBucketResult></ListBucketResult>")
    assert open_store(f"s3://{BUCKET}/p").keys("a", "*") == []
    web.respond(f"/{BUCKET}", page)
    web.respond(f"/{BUCKET}/p/.gatecast-no-such-object", page)
    with pytest.raises(DataError, match="listing a: the response is none of an S3 server"):
        open_store(f"s3://{BUCKET}/p").keys("a", "*")


def test_a_listing_whose_second_page_is_of_another_server_is_requested_again(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in S3Server.credentials(web.address).items():
        monkeypatch.setenv(name, value)

    def listing(names: range, head: str) -> bytes:
        time = "<LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size>"
        entries = "".join(f"<Contents><Key>p/a/{name}</Key>{time}</Contents>" for name in names)
        return f"<ListBucketResult>{head}{entries}</ListBucketResult>".encode()

    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>"
    first, second = listing(range(1000), more), listing(range(1000, 1003), "")
    web.respond(f"/{BUCKET}/p/.gatecast-no-such-object", (404, {}, b"<Error><Code>NoSuchKey</Code></Error>"))
    web.respond(f"/{BUCKET}", first, b"<html><body>Welcome</body></html>", first, second)
    assert len(open_store(f"s3://{BUCKET}/p").keys("a", "*")) == 1003


@pytest.mark.process
def test_a_folder_needs_nothing_of_s3(tmp_path: Path) -> None:
    code = "import sys; sys.modules['obstore'] = None; from storage.store import open_store; {}"
    for uri, status, message in ((str(tmp_path), 0, ""), ("s3://market/p", 1, "pip install 'gatecast[s3]'")):
        use = code.format(f"open_store({uri!r}).put('a/x', b'')")
        done = subprocess.run([sys.executable, "-c", use], check=False, capture_output=True, text=True)
        assert done.returncode == status and message in done.stderr


def test_only_parts_of_the_history_are_cached(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, rows = f"s3://{BUCKET}/p", pl.DataFrame({"x": [1]})
    keys = ["history/p/f/a.parquet", "scores/p/b.parquet"]
    store, small = open_store(uri), open_store(uri)
    for key in keys:
        store.put_parquet(key, rows)
        assert store.scan([key]).collect().equals(rows)
    with monkeypatch.context() as patch:
        patch.setattr("storage.store.bucket._CACHE_BYTES", 10)
        assert small.scan(keys[:1]).collect().equals(rows), "the part is larger than the cache"
    for key in keys:
        s3.client.delete_object(Bucket=BUCKET, Key=f"p/{key}")
    assert store.scan(keys[:1]).collect().equals(rows)
    for other, key in ((store, keys[1]), (small, keys[0])):
        with pytest.raises(Missing):
            other.scan([key])


def test_a_replay_reads_the_history_of_another_store_and_writes_its_own(new_store: Callable[[], Store]) -> None:
    source, own = new_store(), new_store()
    source.put("history/p/f/a.parquet", b"1")
    source.put("models/p/champion.json", b"{}")
    replay = ReplayStore(own, source)
    assert replay.get("history/p/f/a.parquet") == b"1"
    assert replay.keys("history/p/f", "*.parquet") == ["history/p/f/a.parquet"]
    assert not replay.has("models/p/champion.json")
    replay.put("models/p/champion.json", b"[]")
    assert source.get("models/p/champion.json") == b"{}"
    assert replay.uri("history/x") == source.uri("history/x") and replay.uri("models/x") == own.uri("models/x")


BLOCK = pl.DataFrame({"x": range(30_000)})


def test_a_table_is_written_block_by_block_and_its_metadata_last(store: Store) -> None:
    written = []
    for blocks in ([BLOCK], [BLOCK.head(1), BLOCK.slice(1, 25_000), BLOCK.slice(25_001)]):
        metadata: dict[str, str] = {}
        with (
            store.atomic_file("a/x.parquet") as file,
            parquet_writer(file, BLOCK.schema, metadata.copy) as add,
        ):
            for block in blocks:
                add(block)
            assert not store.has("a/x.parquet")
            metadata["rows"] = str(len(BLOCK))
        written.append(store.get("a/x.parquet"))
        store.remove("a/x.parquet")
    assert written[0] == written[1]
    assert pl.read_parquet(io.BytesIO(written[0])).equals(BLOCK)
    assert pl.read_parquet_metadata(io.BytesIO(written[0]))["rows"] == "30000"
    assert store.keys("a", "*") == []


def test_a_table_whose_blocks_fail_is_not_stored(store: Store) -> None:
    with pytest.raises(KeyError, match="mine"):
        with store.atomic_file("a/x.parquet") as file, parquet_writer(file, BLOCK.schema, dict) as add:
            add(BLOCK)
            raise KeyError("mine")
    with pytest.raises(pl.exceptions.PolarsError), store.atomic_file("a/x.parquet") as file:
        with parquet_writer(file, BLOCK.schema, dict) as add:
            for _ in range(100):
                add(pl.DataFrame({"y": ["other"]}))
    assert store.keys("a", "*") == []


def test_a_copy_is_independent(store: Store) -> None:
    store.put("a/x", b"one")
    store.copy("a/x", "b/y")
    store.put("a/x", b"two")
    assert store.get("b/y") == b"one"


def test_a_replay_writes_to_a_folder_what_it_reads_from_a_bucket(s3: S3Server, folder: FolderStore) -> None:
    source = open_store(f"s3://{BUCKET}/p")
    source.put_parquet("history/p/f/a.parquet", pl.DataFrame({"x": [1]}))
    replay = ReplayStore(folder, source)
    assert replay.scan(["history/p/f/a.parquet"]).collect()["x"].to_list() == [1]
    replay.put("models/p/champion.json", b"[]")
    assert (folder.root / "models/p/champion.json").read_bytes() == b"[]"


def test_a_damaged_copy_in_latest_is_replaced(store: Store, utc: Callable[..., datetime]) -> None:
    store.put(layout.latest("p"), b"nonsense")
    rows = pl.DataFrame(schema=forecast_schema([0.5]))
    forecasts.publish(store, "p", "UTC", utc(2024, 1, 1), [rows], [0.5], lambda: forecasts.ForecastMetadata(None, ""))
    newest = store.get(layout.forecast("p", utc(2024, 1, 1), "UTC"))
    assert store.get(layout.latest("p")) == newest
    forecasts.publish(store, "p", "UTC", utc(2023, 1, 1), [rows], [0.5], lambda: forecasts.ForecastMetadata(None, ""))
    assert store.get(layout.latest("p")) == newest, "an older forecast does not replace the newest"


def test_a_wrong_file_in_place_of_a_forecast_is_not_complete(store: Store, utc: Callable[..., datetime]) -> None:
    """A degraded forecast leaves a complete one as it is. No other file may keep it from being published."""
    issue = utc(2024, 1, 1)
    values = {
        "series_id": "a", "issue_time": issue, "valid_time": issue, "step": 1, "q50": 1.0, "status": "model",
    }  # fmt: skip
    schema = forecast_schema([0.5])
    rows = pl.DataFrame({name: [values.get(name)] for name in schema}, schema=schema)
    forecasts.publish(store, "p", "UTC", issue, [rows], [0.5], lambda: forecasts.ForecastMetadata(None, ""))

    def is_complete(issue_time: datetime, *valid_times: datetime, levels: Sequence[float] = (0.5,)) -> bool:
        required = pl.Series("valid_time", valid_times or [issue], INSTANT)
        schema = forecast_schema(list(levels))
        return forecasts.read_complete(store, "p", "UTC", required, issue_time, schema) is not None

    assert is_complete(issue)
    assert not is_complete(issue, levels=(0.1, 0.5, 0.9)), "the quantile levels were changed since"
    assert not is_complete(issue, issue, utc(2024, 1, 2)), "the horizon was changed since"
    whole, key = store.get(layout.forecast("p", issue, "UTC")), layout.forecast("p", utc(2024, 1, 2), "UTC")
    assert not is_complete(utc(2024, 1, 2))
    for content in (rows.clear(), rows.select("status"), rows):
        buffer = io.BytesIO()
        content.write_parquet(buffer)
        store.put(key, buffer.getvalue())
        assert not is_complete(utc(2024, 1, 2))
    store.put(key, whole[:-1])
    assert not is_complete(utc(2024, 1, 2))


def test_a_file_is_no_folder_of_a_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be opened: it is not a folder"):
        open_store(str(tmp_path / "store"))


def test_a_name_that_is_not_utf_8_is_of_no_file_of_the_store(folder: FolderStore) -> None:
    folder.put_parquet("history/p/f/ä.parquet", pl.DataFrame({"x": [1]}))
    path = os.fsencode(folder.root / "history/p/f") + b"/\xff\xfe.parquet"
    Path(os.fsdecode(path)).write_bytes(b"")
    assert folder.keys("history/p/f", "*.parquet") == ["history/p/f/ä.parquet"]


def test_a_pipe_in_place_of_a_file_is_an_error_and_blocks_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "champion.json")
    (tmp_path / "history/p/f").mkdir(parents=True)
    os.mkfifo(tmp_path / "history/p/f/a.parquet")
    (tmp_path / "history/p/f/b.parquet").symlink_to("/dev/zero")
    store = open_store(str(tmp_path))
    with pytest.raises(DataError, match="not a regular file"):
        store.get("champion.json")
    for part in ("a", "b"):
        with pytest.raises((DataError, OSError), match="not a regular file"):
            store.scan([f"history/p/f/{part}.parquet"]).collect()
    with pytest.raises(history_parts.UnreadableHistory, match="not a regular file"):
        history.read_as_of(store, "p", "f", ["y"], datetime(2026, 1, 1, tzinfo=UTC))


def test_stamps_of_other_ages_are_no_issue_times() -> None:
    keys = ["forecasts/00010101T000000Z.parquet", "forecasts/99991231T235959Z.parquet", "x/20180901T040000Z.json"]
    assert list(layout.issue_times(keys)) == ["x/20180901T040000Z.json"]
