"""Init: a commented pipeline file, its JSON Schema, and a tiny sample beside them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from flows.settings import json_schema
from storage.samples import extract
from storage.schemas import DataError
from storage.schemas.records import InitReport

_FILE = "pipeline.toml"


def init(directory: Path) -> InitReport:
    """Write `pipeline.toml`, its JSON Schema and its sample into `directory`, which is created if necessary.

    Raises:
        DataError: If one of the files exists. Nothing is written then.
    """
    template = resources.files("flows.stages").joinpath("template.toml").read_text(encoding="utf-8")
    frames = extract.read_tiny_sample()
    texts = {directory / _FILE: template, directory / json_schema.FILE_NAME: json_schema.schema_text()}
    tables = {directory / f"{name}.parquet": frame for name, frame in frames.items()}
    for path in (*texts, *tables):
        if path.exists():
            raise DataError(f"{path} is there already. Choose another folder, or move the file away.")
    directory.mkdir(parents=True, exist_ok=True)
    for path, frame in tables.items():
        frame.write_parquet(path)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return {"written": [str(path) for path in (*texts, *tables)]}
