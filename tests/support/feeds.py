"""Feeds of files cut from the sample, and damaged copies of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from flows.settings import file as pipeline_file
from tests.support.pipelines import SAMPLES

FILE = """
[pipeline]
name = "p"
store = "./store"
frequency = "1h"
timezone = "America/New_York"
bounds = {{ min = 0.0 }}

[[feed]]
name = "demand"
role = "target"
uri = "{uri}"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
time_zone = "America/New_York"
{more}
"""
LATE = datetime(2018, 12, 1, tzinfo=UTC)


def pipeline_of(folder: Path, uri: str, more: str = "") -> pipeline_file.Pipeline:
    path = folder / "p.toml"
    path.write_text(FILE.format(uri=uri, more=more))
    return pipeline_file.read(path, {})


def sample(days: int) -> pl.DataFrame:
    first = pl.datetime(2018, 6, 1)
    rows = pl.read_parquet(SAMPLES / "load.parquet")
    return rows.filter(pl.col("ds").is_between(first, first + pl.duration(days=days), closed="left"))


def mutated(content: bytes, dice: random.Random) -> bytes:
    """`content` with some bytes changed, cut, doubled or put elsewhere."""
    changed = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        place, size = dice.randrange(len(changed)), dice.randint(1, 60)
        part = changed[place : place + size]
        match dice.randrange(6):
            case 0:
                changed[place : place + size] = b""
            case 1:
                changed[place:place] = part
            case 2:
                changed[place] = dice.randrange(256)
            case 3:
                changed[place:place] = dice.choice([b"\n", b",", b'"', b"\x00", b"\xff", b"NaN", b"1e999", b"-", b"\r"])
            case 4:
                del changed[place:]
            case 5:
                target = dice.randrange(len(changed))
                changed[target:target] = part
        if not changed:
            return b""
    return bytes(changed)
