"""Texts that may be printed: what gives a secret away in a uri, or repeats one, is hidden in them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote

_HIDDEN = "***"
_WORDS = "key|token|secret|password|passwd|pwd|sig|signature|auth|credential"
# Names of query parameters whose values are nobody's business.
_PARAMETER = re.compile(rf"(?i)((?:^|[?&;\s])[\w.-]*(?:{_WORDS})=)([^&\s'\"]+)")
# To the last @ of the word: a password that is not escaped may hold anything. Rather too much is hidden.
_PASSWORD = re.compile(r"(?<=://)([^/\s@:'\"]*):([^\s'\"]*)@")
_TOKEN = re.compile(r"(?<=://)([^/\s@:'\"]+)@")
_RESERVED = re.compile(r"[/?#@:\[\]&=;\s]+")
_SHORTEST = 4  # characters of a part of a secret that gives it away


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets`, in any form that a uri, HTML or JSON gives them, and without those of its own uris."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    if forms:
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        text = re.sub("|".join(map(re.escape, longest_first)), _HIDDEN, text, flags=re.IGNORECASE)
    text = _PASSWORD.sub(rf"\1:{_HIDDEN}@", text)
    text = _TOKEN.sub(lambda found: found[0] if found[1] == _HIDDEN else f"{_HIDDEN}@", text)
    return _PARAMETER.sub(rf"\1{_HIDDEN}", text)


def find_secrets(uri: str) -> set[str]:
    """What is secret in a uri by its place: the password, a user without one, the values of secret parameters."""
    found = {value for _, value in _PARAMETER.findall(uri)}
    for user, password in _PASSWORD.findall(uri):
        # As HTTP sends it, and a server may say it back.
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        found |= {password, base64.b64encode(pair).decode()}
    if not _is_database(uri):
        found |= set(_TOKEN.findall(uri))
    return found


def _is_database(uri: str) -> bool:
    return uri.partition("://")[0] in ("postgresql", "postgres")


def _forms(secret: str) -> set[str]:
    plain = unquote(secret)
    forms: set[str] = set()
    for text in (secret, plain):  # as it is written, and as it is meant
        in_json = json.dumps(text)[1:-1]
        forms |= {text, quote(text, safe=""), quote(text), quote_plus(text), html.escape(text)}
        forms |= {in_json, in_json.replace("/", r"\/")}
    # Of a secret that is not escaped, a driver takes a part for a host or a port, and says it.
    forms |= {part for part in _RESERVED.split(plain) if len(part) >= _SHORTEST}
    return forms
