"""Redaction of secrets in all that leaves the process: passwords and keys within a uri, and values of secrets in use.

The reader of the pipeline file registers the values of all secrets that the process uses. Every place where text leaves
the process then calls one of the functions here. docs/observability.md lists places, forms, and what is not
promised.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import polars as pl

from storage.secret_forms import SHORTEST, SecretFinder

_REPLACEMENT = "***"
_SECRET_NAMES = (
    "key|token|secret|password|passwd|passphrase|passwort|pass|pwd|sig|signature|auth|credential|credentials|appid|app_id"
    "|app-id|jwt|bearer|session|sessionid|sid|hmac|otp|pin|licen[cs]e|webhook"
)
_PARAMETER = re.compile(rf"(?i)((?:^|[?&;\s])[\w.-]*(?:{_SECRET_NAMES})=)([^&\s'\"]+)")
_HEADER = re.compile(r"(?i)(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:(?:basic|bearer|digest|token)\s+)?)([^\s'\",;]+)")
#: Variables of the shell and the desktop whose names look like those of secrets.
_PUBLIC_VARIABLES = frozenset({"PWD", "OLDPWD", "DESKTOP_SESSION"})
_VARIABLE = re.compile(rf"(?i)(?:^|_)(?:{_SECRET_NAMES}|auth_string|apikey)s?$")
# A password that is not escaped may contain any character, so it ends at the last @ of the word. This may redact too
# much, but never too little.
_PASSWORD = re.compile(r"(?<=://)([^/\s@:'\"]*):([^\s'\"]*)@")
_TOKEN = re.compile(r"(?<=://)([^/\s@:'\"]+)@")
_RESERVED = re.compile(r"[/?#@:\[\]&=;\s]+")
_MIN_PART_LENGTH = 4  # shorter parts of a secret occur in ordinary text
_LONGEST_PUBLIC_PART = 15  # characters of a part of an address that is surely no key
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_KEY_IN_PATH = re.compile(r"[\w=+~-]+|[\w=+~-]{8,}(?:\.[\w=+~-]{8,}){2}")  # also a JSON web token

# The secrets that this process uses. They only grow: a text may leave long after its pipeline was read.
_in_use: set[str] = set()
_finder = SecretFinder(())


def register_secrets(secrets: Iterable[str]) -> None:
    """Have every redaction of this process hide these values too."""
    global _finder
    new = {secret for secret in secrets if len(secret) >= SHORTEST} - _in_use
    if new:
        _in_use.update(new)
        _finder = SecretFinder(_in_use)


def forget_secrets() -> None:
    """Forget the registered values, for tests."""
    global _finder
    _in_use.clear()
    _finder = SecretFinder(())


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without `secrets`, the registered secrets, and the secrets of the uris in it.

    A registered secret is found in all forms of `storage.secret_forms`. One of `secrets` is also found in parts, where
    it is escaped for a uri, HTML or JSON.
    """
    text = redact_registered(text)
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    if forms:
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        text = re.sub("|".join(map(re.escape, longest_first)), _REPLACEMENT, text, flags=re.IGNORECASE)
    text = _HEADER.sub(rf"\1{_REPLACEMENT}", text)
    text = _PASSWORD.sub(rf"\1:{_REPLACEMENT}@", text)
    text = _TOKEN.sub(lambda match: match[0] if match[1] == _REPLACEMENT else f"{_REPLACEMENT}@", text)
    return _PARAMETER.sub(rf"\1{_REPLACEMENT}", text)


def redact_registered(text: str) -> str:
    """Return a text, which may be code, without the registered secrets only. No rule about names applies."""
    return _finder.replace(text, _REPLACEMENT)


def redact_values(value: Any) -> Any:
    """Return a value, such as one of JSON, in which every text is redacted, also the names of objects."""
    if isinstance(value, str):
        return redact_registered(value)
    if isinstance(value, bytes):
        return redact_registered(value.decode("latin-1")).encode("latin-1")
    if isinstance(value, dict):
        return {redact_values(name): redact_values(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(inner) for inner in value]
    return value


def redact_table(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose texts do not contain registered secrets. Names of columns are redacted too."""
    if not _in_use:
        return table
    changed = {}
    for name, dtype in table.schema.items():
        if dtype in (pl.String, pl.Binary, pl.Categorical, pl.Enum) or dtype.is_nested():
            changed[name] = _redact_column(table[name])
    table = table.with_columns(**changed)
    names = {name: redact_registered(name) for name in table.columns}
    return table.rename(names) if len(set(names.values())) == len(names) else table


def _redact_column(column: pl.Series) -> pl.Series:
    """Return a column with the secrets in its texts replaced."""
    if column.dtype == pl.Binary or column.dtype.is_nested():
        return pl.Series(column.name, redact_values(column.to_list()), column.dtype)
    texts = column.cast(pl.String)
    replaced = {text: shown for text in texts.unique().drop_nulls() if (shown := redact_registered(text)) != text}
    return texts.replace(replaced) if replaced else column


def has_secret(text: str) -> bool:
    """Return whether a text contains a registered secret."""
    return redact_registered(text) != text


def environment_secrets(environment: Iterable[tuple[str, str]]) -> set[str]:
    """Return the values of variables whose names say that they are secret, and the secrets of uris in the others."""
    secrets: set[str] = set()
    for name, value in environment:
        if "://" in value:
            secrets |= find_secrets(value)
        # The path of a file that holds a secret is none.
        if _VARIABLE.search(name) and name not in _PUBLIC_VARIABLES and not _is_file(value):
            secrets |= {value, *((value.partition(":")[2],) if ":" in value and "://" not in value else ())}
    return secrets


def _is_file(text: str) -> bool:
    """Return whether a text is the absolute path of something that exists and that this user may look at."""
    try:
        return Path(text).is_absolute() and Path(text).exists()
    except OSError:
        return False


def find_secrets_of_hidden(uri: str) -> set[str]:
    """Return the secrets of a uri that stands in no file: also values and parts of the path that may be a key."""
    parts = urlsplit(uri)
    values = {value for _, value in parse_qsl(parts.query) if _may_be_key(value) and not _DATE.match(value)}
    # A dot in the path is mostly that of a file's name.
    return find_secrets(uri) | values | {part for part in parts.path.split("/") if _may_be_key(part, _KEY_IN_PATH)}


def _may_be_key(text: str, pattern: re.Pattern[str] = re.compile(r"\S+")) -> bool:
    return len(text) > _LONGEST_PUBLIC_PART and not text.isalpha() and pattern.fullmatch(text) is not None


def find_secrets(uri: str) -> set[str]:
    """Return the secrets of a uri: the password, a user without a password, and values of secret parameters."""
    secrets = {value for _, value in _PARAMETER.findall(uri)}
    for user, password in _PASSWORD.findall(uri):
        # HTTP sends user and password in Base64, and a server may repeat that in an error.
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        secrets |= {password, base64.b64encode(pair).decode()}
    if not _is_database(uri):
        secrets |= set(_TOKEN.findall(uri))
    return secrets


def _is_database(uri: str) -> bool:
    return uri.partition("://")[0] in ("postgresql", "postgres")


def _forms(secret: str) -> set[str]:
    """Return all spellings of a secret that an error message may contain."""
    unescaped = unquote(secret)
    forms: set[str] = set()
    for text in (secret, unescaped):
        in_json = json.dumps(text)[1:-1]
        forms |= {text, quote(text, safe=""), quote(text), quote_plus(text), html.escape(text)}
        forms |= {in_json, in_json.replace("/", r"\/")}
    # A driver that parses an unescaped secret as part of the address reports a part of it as host or port.
    forms |= {part for part in _RESERVED.split(unescaped) if len(part) >= _MIN_PART_LENGTH}
    return forms
