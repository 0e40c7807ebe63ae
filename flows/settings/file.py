"""Reading the pipeline file: one TOML file, one pipeline.

The only place that reads the environment: `GATECAST_PIPELINE__STORE=...` gives a value, `${NAME}` in a uri a
secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from storage.redaction import redact

_PREFIX = "GATECAST_"
_SECRET = "api_key"
_NAME = re.compile(r"\$\{(\w+)\}")


class PipelineFileError(Exception):
    """The pipeline file is wrong: the message names the key, the value and what is allowed. Exit status 2."""


def read(path: Path | str, environment: Mapping[str, str] | None = None) -> Pipeline:
    """Read and validate a pipeline file.

    Args:
        path: the TOML file; relative paths in it are relative to its folder.
        environment: the process's by default.

    Raises:
        PipelineFileError: naming the first key that is wrong, its value and what is allowed.
    """
    path = Path(path)
    environment = os.environ if environment is None else environment
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise PipelineFileError(f"{path}: there is no such file; `gatecast init DIR` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise PipelineFileError(f"{path}: not a TOML file: {error}") from None
    _no_secrets(content, path)
    _overlay(content, environment)
    hidden = _fill_uris(content, path, environment)
    try:
        pipeline = Pipeline.model_validate(content)
    except ValidationError as error:
        raise PipelineFileError("\n".join(f"{path}: {line}" for line in _explain(error))) from None
    folder = path.resolve().parent
    at = pipeline.pipeline.model_copy(update={"store": _place(pipeline.pipeline.store, folder)})
    monitoring = pipeline.monitoring
    if monitoring.metrics is not None:
        monitoring = monitoring.model_copy(update={"metrics": _place(monitoring.metrics, folder)})
    feeds = tuple(
        _filled(feed, path, environment, folder, secret) for feed, secret in zip(pipeline.feed, hidden, strict=True)
    )
    return pipeline.model_copy(update={"pipeline": at, "feed": feeds, "monitoring": monitoring})


def _filled(feed: Feed, path: Path, environment: Mapping[str, str], folder: Path, hidden: tuple[str, ...]) -> Feed:
    """The feed with its key, and with its path made absolute."""
    key = getattr(feed.options, _SECRET, None)
    if key is not None:
        secret = _secrets(key.get_secret_value(), f"{feed.name}.options.{_SECRET}", path, environment)
        feed = feed.model_copy(update={"options": feed.options.model_copy(update={_SECRET: SecretStr(secret)})})
    return feed if feed.uri is None else feed.with_uri(_place(feed.uri, folder), hidden)


def _fill_uris(content: dict[str, Any], path: Path, environment: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Put the environment's values into the uris of the feeds; of each feed, what of its uri is secret.

    Before anything is validated, since a uri that is all `${NAME}` tells only then what kind of source it is.
    """
    feeds = content.get("feed")
    hidden: list[tuple[str, ...]] = []
    for number, feed in enumerate(feeds if isinstance(feeds, list) else []):
        written = feed.get("uri") if isinstance(feed, dict) else None
        hidden.append(())
        if isinstance(written, str):
            feed["uri"] = uri = _secrets(written, f"{feed.get('name', number)}.uri", path, environment)
            # A uri that is given as a whole is secret only where uris are; a file's is not at all.
            if "://" in uri and not _NAME.fullmatch(written):
                hidden[-1] = tuple(environment[name] for name in _NAME.findall(written))
    return hidden


def _no_secrets(content: dict[str, Any], path: Path) -> None:
    """A key in the file itself would be kept and copied with it."""
    feeds = content.get("feed")
    for number, feed in enumerate(feeds if isinstance(feeds, list) else []):
        options = feed.get("options") if isinstance(feed, dict) else None
        written = options.get(_SECRET) if isinstance(options, dict) else None
        if written is not None and not (isinstance(written, str) and _NAME.fullmatch(written)):
            raise PipelineFileError(
                f"{path}: feed.{number}.options.{_SECRET}: a secret does not belong in the file; "
                'write "${NAME}" and set NAME in the environment'
            )


def _overlay(content: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Values of `GATECAST_<TABLE>__<KEY>`; a feed is named by its number from 0 or by its name."""
    for variable in sorted(environment):
        if not variable.startswith(_PREFIX) or "__" not in variable:
            continue
        parts = variable.removeprefix(_PREFIX).lower().split("__")
        place: Any = content
        for part in parts[:-1]:
            if isinstance(place, list):
                place = _item(place, part, variable)
            elif isinstance(place, dict):
                place = place.setdefault(part, {})
            else:
                raise PipelineFileError(f"{variable}: {part!r} is not a table of the pipeline file")
        if not isinstance(place, dict):
            raise PipelineFileError(f"{variable}: names a table, not a key of one")
        text = environment[variable]
        # A secret of digits is a text all the same.
        place[parts[-1]] = text if parts[-1] == _SECRET else _toml_value(text)


def _item(feeds: list[Any], part: str, variable: str) -> Any:
    for number, feed in enumerate(feeds):
        if part == str(number) or (isinstance(feed, dict) and part == str(feed.get("name")).lower()):
            return feed
    raise PipelineFileError(f"{variable}: there is no feed {part!r}")


def _toml_value(text: str) -> Any:
    """A number, list, table or boolean where the text is one in TOML; else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _secrets(uri: str, key: str, path: Path, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise PipelineFileError(f"{path}: feed.{key}: the environment has no variable {match[1]}; set it")
        return environment[match[1]]

    return _NAME.sub(value, uri)


def _place(uri: str, folder: Path) -> str:
    return uri if "://" in uri else os.path.normpath(folder / uri)


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        what = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            what = "there is no such key"
        elif fault["type"] == "missing":
            what = "is required"
        else:
            given = fault["input"]
            # A table may hold a secret, and a long list says less than its key.
            hidden = isinstance(given, dict) or fault["loc"][-1:] == (_SECRET,) or len(str(given)) > 200
            what = what if hidden else f"{redact(repr(given))}: {what}"
        lines.append(f"{key}: {what}")
    return lines
