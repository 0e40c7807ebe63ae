"""Check of the Prefect API that PREFECT_API_URL names: wrong answers, and none."""

from __future__ import annotations

import threading

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import configured_server
from flows.embedded_server import ServerError
from tests.support.web_server import Response, Web

pytestmark = pytest.mark.prefect


@pytest.mark.parametrize("answer", [b"<html></html>", b"{}", (500, {}, b""), (401, {}, b'{"exception_message": "x"}')])
def test_an_answer_that_is_none_of_prefect_is_named(web: Web, answer: bytes | Response) -> None:
    for path in ("/api/csrf-token", "/api/admin/version", "/api/flows/filter"):
        web.respond(path, answer)
    settings = {PREFECT_API_URL: f"{web.address}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with (
        temporary_settings(settings),
        pytest.raises(ServerError, match=rf"API at {web.address}/api cannot be used: (?!No P)"),
    ):
        configured_server.require_answer(60)


def test_an_api_that_never_answers_is_given_up(web: Web) -> None:
    ended = threading.Event()

    def wait(_: str) -> Response:
        ended.wait(60)
        return 200, {}, b""

    web.answers["/api/csrf-token"] = web.answers["/api/admin/version"] = wait
    with temporary_settings({PREFECT_API_URL: f"{web.address}/api"}):
        with pytest.raises(ServerError, match=r"did not answer within 0\.5 s"):
            configured_server.require_answer(0.5)
    ended.set()
