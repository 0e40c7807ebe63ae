"""Init: a commented pipeline file and a tiny sample beside it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from storage.samples import extract
from storage.schemas import DataError

_FILE = "pipeline.toml"


def init(directory: Path) -> dict[str, Any]:
    """Write `pipeline.toml` and its sample into `directory`, which is made if it is not there.

    Raises:
        DataError: a file of that name is there already; nothing is written.
    """
    template = resources.files("flows.stages").joinpath("template.toml").read_text(encoding="utf-8")
    frames = extract.read_tiny_sample()
    places = [directory / _FILE, *(directory / f"{name}.parquet" for name in frames)]
    for place in places:
        if place.exists():
            raise DataError(f"{place} is there already; choose another folder or move it away")
    directory.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.write_parquet(directory / f"{name}.parquet")
    places[0].write_text(template, encoding="utf-8")
    return {"written": [str(place) for place in places]}
