"""Redaction of secrets in printed texts."""

from __future__ import annotations

import html
import json
import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.redaction import environment_secrets, find_secrets, find_secrets_of_hidden, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://reader:pw@host/db", "postgresql://reader:***@host/db"),
        ("postgresql://reader:p/w@d@host/db", "postgresql://reader:***@host/db"),
        ("'https://token@host/a' is gone", "'https://***@host/a' is gone"),
        ("https://host/a?x=1&api_key=pw&y=2", "https://host/a?x=1&api_key=***&y=2"),
        ("https://host/a?X-Amz-Signature=pw", "https://host/a?X-Amz-Signature=***"),
        ("two: http://a:pw@b and http://c:pw@d", "two: http://a:***@b and http://c:***@d"),
        ("https://host:8080/a?x=1", "https://host:8080/a?x=1"),
        ("s3://bucket/prefix, sqlite:///a.db, /a/b.csv, a@b", "s3://bucket/prefix, sqlite:///a.db, /a/b.csv, a@b"),
    ],
)
def test_secrets_of_a_uri_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_values_of_a_hidden_uri_that_may_be_keys_are_secret() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.Zq7xabcdefgh.Hh3sabcdefgh"
    hidden = (
        "https://h/electricity-load.2024.parquet/x?a=" + token + "&b=abc/def:ghi!jkl12345&start=2024-01-01T00:00:00Z"
    )
    assert find_secrets_of_hidden(hidden) == {token, "abc/def:ghi!jkl12345"}
    assert find_secrets_of_hidden(f"https://h/{token}/load.csv") == {token}


def test_the_user_of_a_database_is_public_and_the_token_of_a_server_is_secret() -> None:
    assert find_secrets("postgresql://reader@host/db") == set()
    assert find_secrets("https://token@host/?sig=abcd") == {"token", "abcd"}


@example("<%00")  # a text with an escape for a control character
@given(st.text(string.ascii_letters + string.digits + "/?#@:[]&=%+<>\"'é \\", min_size=4, max_size=30))
def test_a_secret_is_redacted_in_every_spelling(secret: str) -> None:
    escaped = (quote(secret), quote(secret, safe=""), quote(secret).lower())
    for spelling in (secret, *escaped, html.escape(secret), json.dumps(secret)[1:-1]):
        assert spelling not in redact(f"no answer: <{spelling}>, line 1", {secret})


def test_a_path_that_this_user_may_not_look_at_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    environment = {
        "KUBECONFIG": "/srv/.kube/config",
        "PATH": "/srv/bin:/bin",
        "API_TOKEN": "/srv/token",
    }
    assert environment_secrets(environment.items()) == {"/srv/token"}, "it may be a secret that begins with a slash"


def test_folders_and_paths_of_secret_files_are_no_secrets(tmp_path: Path) -> None:
    variables = {
        "PWD": "/home/me/gas", "OLDPWD": "/home/me", "DESKTOP_SESSION": "ubuntu",
        "APP_CREDENTIALS": str(tmp_path), "DB_PWD": "hunter2hunter2", "API_KEY": "/not/a/path",
    }  # fmt: skip
    assert environment_secrets(variables.items()) == {"hunter2hunter2", "/not/a/path"}
