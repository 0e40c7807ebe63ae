"""The JSON Schema of the pipeline file and the table of its keys, both generated from the settings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from flows.settings import json_schema
from flows.settings import types as setting_types
from flows.settings.file import read
from flows.settings.reference import setting_rows
from flows.stages.init import init
from tests.flows.test_feed_options import EXAMPLES, HEAD, TARGET

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "deployments").glob("*.toml")), ROOT / "flows/stages/template.toml"]
SCHEMA = json_schema.pipeline_schema()
VALIDATOR = Draft7Validator(SCHEMA)


def errors(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def keys(schema: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of every table in a schema."""
    if isinstance(schema, dict):
        # A condition repeats keys that are described elsewhere.
        for name, inside in schema.items():
            if name == "properties":
                yield from inside.items()
            if name not in ("allOf", "examples"):
                yield from keys(inside)
    elif isinstance(schema, list):
        for inside in schema:
            yield from keys(inside)


def test_it_is_a_valid_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_accepts_the_files_of_the_project(path: Path) -> None:
    assert errors(path.read_text()) == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_it_accepts_the_examples_of_the_documentation(example: str) -> None:
    assert errors(HEAD + (example if 'role = "target"' in example else TARGET + example)) == []


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("frequency", "frequence") + TARGET,
        HEAD.replace("1h", "2h") + TARGET,
        HEAD,
        HEAD + TARGET + "[modle]\n",
        HEAD + TARGET + "[model]\nhidden_size = 0\n",
        HEAD + TARGET + "[model]\nsize = 10\n",
        HEAD + TARGET + '[training]\nbudget = "soon"\n',
        HEAD + TARGET + "[pipeline.bounds]\nlowest = 1.0\n",
        HEAD + TARGET + "[feed.options]\narea = 1\n",
        HEAD + TARGET.replace('uri = "load.parquet"', 'kind = "eia"') + '[feed.options]\nareas = ["FR"]\n',
        HEAD + TARGET.replace('uri = "load.parquet"', 'kind = "eia"') + '[feed.options]\nroute = "a"\n'
        'frequency = "daily"\napi_key = "planted"\n',
    ],
)  # fmt: skip
def test_it_refuses_what_the_reader_refuses(text: str) -> None:
    assert errors(text)


def test_an_api_key_may_come_from_the_environment() -> None:
    feed = TARGET.replace('uri = "load.parquet"', 'kind = "eia"').replace('valid_time = "ds"\n', "")
    assert errors(HEAD + feed + '[feed.options]\nroute = "a"\nfrequency = "daily"\n') == []


def test_every_key_has_a_description() -> None:
    described = dict(keys(SCHEMA))
    assert {"pipeline", "horizon", "members", "lead_days", "latitude"} <= described.keys()
    for name, schema in keys(SCHEMA):
        if "$ref" in schema:
            schema = {**SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
        assert schema.get("description", "").endswith("."), name


def test_defaults_are_written_as_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(HEAD + TARGET)
    plain = read(path, {})
    defaults = {
        name: {
            key: value["default"] for key, value in SCHEMA["$defs"][name]["properties"].items() if "default" in value
        }
        for name in ("Training", "Monitoring", "Forecast")
    }
    assert defaults["Training"]["budget"] == "120s" and defaults["Training"]["window"] == "730d"
    path.write_text(
        HEAD + TARGET + "".join(
            f"[{name.lower()}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
            for name, table in defaults.items()
        )
    )  # fmt: skip
    assert read(path, {}) == plain


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


@pytest.mark.parametrize("text", ["0s", "90s", "120s", "10m", "9h", "1d", "730d", "1.5s"])
def test_durations_are_written_as_they_are_read(text: str) -> None:
    assert setting_types.duration_text(setting_types.parse_duration(text)) == text


def test_the_reference_has_every_key_once() -> None:
    rows = list(setting_rows())
    names = [(row.table, row.key, row.kind) for row in rows]
    assert len(names) == len(set(names))
    assert {row.key for row in rows} == {name for name, _ in keys(SCHEMA["$defs"])}
    assert all(row.description.endswith(".") and row.type and row.default for row in rows)
    by_name = {name: row for name, row in zip(names, rows, strict=True)}
    assert by_name["[pipeline]", "horizon", ""].default.startswith("96 (15m)")
    assert by_name["[model]", "hidden_size", ""].allowed == "1 to 4096"
    assert by_name["[feed.checks]", "gap", ""].allowed == '"accept", "warn"'
    assert by_name["[feed.options]", "retries", "s3, http, open-meteo, entsoe, eia, ecb"].default == "4"
    assert by_name["[training]", "budget", ""].type == "duration"


def test_init_writes_it_and_names_it_in_the_file(tmp_path: Path) -> None:
    written = init(tmp_path / "new")["written"]
    folder = tmp_path / "new"
    assert {str(path) for path in folder.iterdir()} == set(written)
    first = (folder / "pipeline.toml").read_text().splitlines()[0]
    assert first == "#:schema ./pipeline.schema.json"
    assert (folder / "pipeline.schema.json").read_text() == json_schema.schema_text()
