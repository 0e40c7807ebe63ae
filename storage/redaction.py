"""Redaction of secrets in texts that are printed: passwords and keys within a uri, and repetitions of them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote

_REPLACEMENT = "***"
_SECRET_NAMES = "key|token|secret|password|passwd|pwd|sig|signature|auth|credential"
_PARAMETER = re.compile(rf"(?i)((?:^|[?&;\s])[\w.-]*(?:{_SECRET_NAMES})=)([^&\s'\"]+)")
# A password that is not escaped may contain any character, so it ends at the last @ of the word. This may redact too
# much, but never too little.
_PASSWORD = re.compile(r"(?<=://)([^/\s@:'\"]*):([^\s'\"]*)@")
_TOKEN = re.compile(r"(?<=://)([^/\s@:'\"]+)@")
_RESERVED = re.compile(r"[/?#@:\[\]&=;\s]+")
_MIN_PART_LENGTH = 4  # shorter parts of a secret occur in ordinary text


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without `secrets` and without the secrets of the uris in it.

    A secret is also found where it is escaped for a uri, HTML or JSON.
    """
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    if forms:
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        text = re.sub("|".join(map(re.escape, longest_first)), _REPLACEMENT, text, flags=re.IGNORECASE)
    text = _PASSWORD.sub(rf"\1:{_REPLACEMENT}@", text)
    text = _TOKEN.sub(lambda match: match[0] if match[1] == _REPLACEMENT else f"{_REPLACEMENT}@", text)
    return _PARAMETER.sub(rf"\1{_REPLACEMENT}", text)


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
