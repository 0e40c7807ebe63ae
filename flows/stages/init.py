"""Init: a commented pipeline file and its JSON Schema, with a tiny sample or for a file of the user."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from flows.settings import json_schema
from flows.settings.questions import MARKER
from flows.stages.file_inspection import inspect_table
from flows.stages.proposed_file import pipeline_name, proposed_text
from storage.samples import extract
from storage.schemas import DataError
from storage.schemas.records import InitReport
from storage.sources.csv_inspection import inspect_csv

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
    _require_absent((*texts, *tables))
    directory.mkdir(parents=True, exist_ok=True)
    for path, frame in tables.items():
        frame.write_parquet(path)
    return _write(texts, [*texts, *tables], [])


def init_from(directory: Path, file: Path, timezone: str | None = None) -> InitReport:
    """Write a pipeline file for a CSV file, proposed from its content, and the JSON Schema into `directory`.

    The CSV file itself is not copied or changed.

    Args:
        directory: Folder to write in, which is created if necessary.
        file: CSV file of one table.
        timezone: Zone of the local day and of times without an offset. None makes it a question in the file.

    Raises:
        DataError: If one of the files exists, or the CSV file shows no times or no numbers. Nothing is written then.
    """
    csv = inspect_csv(file)
    try:
        found = inspect_table(csv.table)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    uri = os.path.relpath(file.resolve(), directory.resolve())
    text = proposed_text(csv, found, pipeline_name(file), Path(uri).as_posix(), timezone)
    texts = {directory / _FILE: text, directory / json_schema.FILE_NAME: json_schema.schema_text()}
    _require_absent(texts)
    directory.mkdir(parents=True, exist_ok=True)
    questions = [line.partition(MARKER)[2] for line in text.splitlines()[3:] if MARKER in line]
    return _write(texts, list(texts), questions)


def _require_absent(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists():
            raise DataError(
                f"{path} is there already. Edit it, or remove it and repeat the command, or choose another folder."
            )


def _write(texts: dict[Path, str], written: list[Path], questions: list[str]) -> InitReport:
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return {"written": [str(path) for path in written], "questions": questions}
