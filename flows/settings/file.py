"""Reader of the pipeline file: one TOML file, one pipeline.

The only place that reads the environment. `GATECAST_PIPELINE__STORE=...` sets a value, and `${NAME}` in a uri stands
for a secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError

from flows.held_text import hold_text
from flows.settings import toml_errors
from flows.settings.feed import Feed
from flows.settings.file_errors import SECRET, Place, error_lines, keys_at
from flows.settings.pipeline import Pipeline
from storage.errors import ExpectedError
from storage.redaction import environment_secrets, find_secrets, find_secrets_of_hidden, register_secrets
from storage.schemas.suggestions import closest, did_you_mean
from storage.store import Store, open_store

__all__ = ["OpenPipeline", "Pipeline", "PipelineFileError", "hold", "open_pipeline", "read"]

_DEEPEST = 20  # tables and lists in each other
_PREFIX = "GATECAST_"
# Variables of this project that are no settings of a pipeline file.
_OTHER_VARIABLES = frozenset(
    {
        "GATECAST_STATE", "GATECAST_HOME", "GATECAST_ALERT_WEBHOOK", "GATECAST_PREFECT_PORT", "GATECAST_POSTGRES_PORT",
        "GATECAST_TEST_CACHE", "GATECAST_TEST_SESSION",
    }
)  # fmt: skip
_TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
_DATA_SUFFIXES = _TEXT_SUFFIXES | {".parquet", ".pq", ".json", ".xlsx", ".xls", ".zip", ".gz"}
_SQLITE = "sqlite:///"
_NAME = re.compile(r"\$\{(\w+)\}")


class PipelineFileError(ExpectedError):
    """A wrong pipeline file. The message names the key, the value and what is allowed. Exit status 2."""


class OpenPipeline(NamedTuple):
    """Settings of a pipeline, and its store."""

    settings: Pipeline
    store: Store


def open_pipeline(pipeline_path: Path | str, text: str | None = None) -> OpenPipeline:
    """Read a pipeline file and open its store. Arguments and errors are those of `read`."""
    settings = read(pipeline_path, text=text)
    return OpenPipeline(settings, open_store(settings.pipeline.store))


@contextmanager
def hold(pipeline_path: Path | str) -> Iterator[OpenPipeline]:
    """Open a pipeline whose stages all use the text that its file has now.

    A file that is edited during a run, and is wrong for a moment, must not stop the later stages.

    Raises:
        PipelineFileError: If the file is wrong.
    """
    text = _read_text(Path(pipeline_path))
    with hold_text(str(pipeline_path), text):
        yield open_pipeline(pipeline_path, text)


def read(path: Path | str, environment: Mapping[str, str] | None = None, text: str | None = None) -> Pipeline:
    """Read and validate a pipeline file.

    Args:
        path: The TOML file. Relative paths in it are relative to its folder.
        environment: Variables to use instead of the process's environment.
        text: Text to use instead of the file's content.

    Raises:
        PipelineFileError: If the file is wrong, with one line per wrong key: its value and what is allowed.
    """
    path = Path(path)
    environment = os.environ if environment is None else environment
    content = _parse_toml(_read_text(path) if text is None else text, path)
    _refuse_secrets(content, path)
    variables = _apply_environment(content, environment)
    written = [feed.get("uri") if isinstance(feed, dict) else None for _, feed in _feeds(content)]
    secrets = _fill_uris(content, path, environment)
    # Before the validation, whose errors show values.
    register_secrets(environment_secrets(environment.items()))
    register_secrets(_secrets_of_uris(content, written, variables, secrets))
    _refuse_nul(content, path)
    try:
        settings = Pipeline.model_validate(content)
    except ValidationError as error:
        raise PipelineFileError("\n".join(error_lines(error, content, path, variables))) from None
    folder = path.resolve().parent
    section = settings.pipeline.model_copy(update={"store": _absolute(settings.pipeline.store, folder)})
    monitoring = settings.monitoring
    if monitoring.metrics is not None:
        monitoring = monitoring.model_copy(update={"metrics": _absolute(monitoring.metrics, folder)})
    feeds = tuple(
        _resolve_feed(feed, path, environment, folder, of_feed)
        for feed, of_feed in zip(settings.feed, secrets, strict=True)
    )
    return settings.model_copy(update={"pipeline": section, "feed": feeds, "monitoring": monitoring})


def _read_text(path: Path) -> str:
    if path.suffix.lower() in _DATA_SUFFIXES and path.is_file():
        raise PipelineFileError(
            f"{path}: is a data file, not a pipeline file. To get a pipeline file for it: gatecast init DIR"
            + (f" --from {path}." if path.suffix.lower() in _TEXT_SUFFIXES else ", then name it as uri in the file.")
        )
    try:
        # Editors of Windows write a byte order mark, which TOML does not allow.
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PipelineFileError(f"{path}: no such file. `gatecast init DIR` writes a pipeline file.") from None
    except IsADirectoryError:
        raise PipelineFileError(f"{path}: is a folder. Name the pipeline file in it, such as pipeline.toml.") from None
    except UnicodeDecodeError:
        raise PipelineFileError(f"{path}: not a TOML file: it is not in UTF-8. Save it in this encoding.") from None
    except OSError as error:
        raise PipelineFileError(f"{path}: cannot be read: {error.strerror}. Check its permissions.") from None


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(text)
        _refuse_depth(content, path)
        return content
    except tomllib.TOMLDecodeError as error:
        raise PipelineFileError(f"{path}: {toml_errors.describe(text, error)}") from None
    except RecursionError:
        raise PipelineFileError(f"{path}: has tables or lists in each other too often. Remove them.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise PipelineFileError(f"{path}: has a value that cannot be read: {error}. Correct it.") from None


def _refuse_depth(content: dict[str, Any], path: Path) -> None:
    """Raise PipelineFileError if tables or lists are nested deeper than any setting, without recursion."""
    values: list[tuple[Any, int]] = [(content, 0)]
    while values:
        value, depth = values.pop()
        if depth > _DEEPEST:
            raise PipelineFileError(f"{path}: has tables or lists in each other too often. Remove them.")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        values += [(one, depth + 1) for one in inner]


def _refuse_nul(value: Any, path: Path, key: str = "the file") -> None:
    """Raise PipelineFileError if a text holds the character NUL, which no path and no name may have."""
    if isinstance(value, str) and "\0" in value:
        raise PipelineFileError(f"{path}: {key}: must not hold the character NUL. Remove it.")
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in pairs:
        _refuse_nul(part, path, str(name) if key == "the file" else f"{key}.{name}")


def _resolve_feed(
    feed: Feed, path: Path, environment: Mapping[str, str], folder: Path, secrets: tuple[str, ...]
) -> Feed:
    """Return the feed with its API key filled in and its path made absolute."""
    key = getattr(feed.options, SECRET, None)
    if key is not None:
        secret = _substitute(key.get_secret_value(), f"{feed.name}.options.{SECRET}", path, environment)
        register_secrets([secret])
        feed = feed.model_copy(update={"options": feed.options.model_copy(update={SECRET: SecretStr(secret)})})
    return feed if feed.uri is None else feed.with_uri(_absolute(feed.uri, folder), secrets)


def _fill_uris(content: dict[str, Any], path: Path, environment: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Put the environment's values into the uris of the feeds, and return the secret parts of each uri.

    This precedes validation, because a uri that consists of one `${NAME}` implies its kind of source only afterwards.
    """
    secrets: list[tuple[str, ...]] = []
    for number, feed in _feeds(content):
        written = feed.get("uri") if isinstance(feed, dict) else None
        secrets.append(())
        if isinstance(written, str):
            feed["uri"] = uri = _substitute(written, f"{feed.get('name', number)}.uri", path, environment)
            # A uri that one variable holds as a whole is no secret by itself; storage.redaction knows its secret
            # parts. The path of a file has none.
            if "://" in uri and not _NAME.fullmatch(written):
                secrets[-1] = tuple(environment[name] for name in _NAME.findall(written))
    return secrets


def _secrets_of_uris(
    content: dict[str, Any], written: list[Any], variables: Mapping[Place, str], parts: list[tuple[str, ...]]
) -> set[str]:
    """Return the secrets of all uris that hold for every output: those of one that is in no file are more.

    Args:
        content: Content of the file, with the values of the environment.
        written: The uri of each feed before its variables were filled in.
        variables: Variable of the environment by the place of its value.
        parts: The secret parts of each uri.
    """
    secrets: set[str] = set()
    for (number, feed), text, of_feed in zip(_feeds(content), written, parts, strict=True):
        uri = feed.get("uri") if isinstance(feed, dict) else None
        if not isinstance(uri, str) or "://" not in uri:
            continue
        is_hidden = ("feed", number, "uri") in variables or _NAME.fullmatch(str(text)) is not None
        secrets |= find_secrets_of_hidden(uri) if is_hidden else find_secrets(uri)
        # The credentials of a bucket are in the environment. Its name is in the paths that a report has to show.
        if not uri.startswith("s3://"):
            secrets |= set(of_feed)
    return secrets


def _refuse_secrets(content: dict[str, Any], path: Path) -> None:
    # A key in the file would be kept in version control and copied with the file.
    for number, feed in _feeds(content):
        options = feed.get("options") if isinstance(feed, dict) else None
        written = options.get(SECRET) if isinstance(options, dict) else None
        if written is not None and not (isinstance(written, str) and _NAME.fullmatch(written)):
            raise PipelineFileError(
                f"{path}: feed {feed.get('name', number)!r}: options.{SECRET}: a secret does not belong in the file. "
                'Write "${NAME}" and set NAME in the environment.'
            )


def _feeds(content: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    feeds = content.get("feed")
    return enumerate(feeds if isinstance(feeds, list) else [])


def _apply_environment(content: dict[str, Any], environment: Mapping[str, str]) -> dict[Place, str]:
    """Set the values of `GATECAST_<TABLE>__<KEY>`. A feed is named by its number from 0 or by its name.

    Returns:
        Variable by the place of its value.
    """
    variables: dict[Place, str] = {}
    for variable in sorted(environment):
        if not variable.startswith(_PREFIX) or variable in _OTHER_VARIABLES:
            continue
        parts = variable.removeprefix(_PREFIX).lower().split("__")
        if len(parts) == 1:
            raise PipelineFileError(_unknown_variable(variable))
        table: Any = content
        place: Place = ()
        for part in parts[:-1]:
            if isinstance(table, list):
                number = _feed_number(table, part, variable)
                table, place = table[number], (*place, number)
            elif isinstance(table, dict):
                table, place = table.setdefault(part, {}), (*place, part)
            else:
                raise PipelineFileError(f"{variable}: {part!r} is not a table of the pipeline file.")
        if not isinstance(table, dict):
            raise PipelineFileError(f"{variable}: must name a key of a table, not a table.")
        text = environment[variable]
        # A secret of digits is a text, not a number.
        table[parts[-1]] = text if parts[-1] == SECRET else _toml_value(text)
        variables[(*place, parts[-1])] = variable
    return variables


def _unknown_variable(variable: str) -> str:
    settings = [f"{_PREFIX}{name}__{key}".upper() for name in Pipeline.model_fields for key in keys_at((name,))]
    by_letters = {name.replace("_", ""): name for name in settings}
    # All names begin with the same prefix, so similar ones have much in common.
    found = closest(variable.replace("_", ""), by_letters, 0.9)
    hint = f" Did you mean {by_letters[found]}?" if found else ""
    return (
        f"the environment variable {variable} is no setting. Settings are GATECAST_<TABLE>__<KEY>, such as "
        f"GATECAST_PIPELINE__STORE, with two underscores. Correct or unset it.{hint}"
    )


def _feed_number(feeds: list[Any], part: str, variable: str) -> int:
    names = [str(feed.get("name")).lower() if isinstance(feed, dict) else "" for feed in feeds]
    for number, name in enumerate(names):
        if part in (str(number), name):
            return number
    raise PipelineFileError(
        f"the environment variable {variable}: there is no feed {part!r}.{did_you_mean(part, names)} The feeds are "
        f"{', '.join(names)}."
    )


def _toml_value(text: str) -> Any:
    """Return the number, list, table or boolean that the text is in TOML, or else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _substitute(text: str, key: str, path: Path, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise PipelineFileError(f"{path}: feed.{key}: the environment has no variable {match[1]}. Set it.")
        return environment[match[1]]

    return _NAME.sub(value, text)


def _absolute(uri: str, folder: Path) -> str:
    """Return a path relative to the pipeline file, also that of a SQLite database, as an absolute one."""
    if uri.startswith(_SQLITE):
        database = uri.removeprefix(_SQLITE)
        is_path = database and not database.startswith((":", "file:"))
        return f"{_SQLITE}{_absolute(database, folder)}" if is_path else uri
    # The home of an unknown user stays as it is written.
    return uri if "://" in uri else os.path.normpath(folder / os.path.expanduser(uri))  # noqa: PTH111
