"""What `make serve` brings up, under kills: nothing known is lost, nothing is stuck, nothing is left behind."""

from __future__ import annotations

import re
import time

import pytest

from storage.schemas import MODEL
from tests.support.narrow import present
from tests.support.prefect_api import every
from tests.support.serving import Serving, kill, wait

pytestmark = pytest.mark.deployment

_STUCK = 180.0  # seconds after which no run of a dead worker may be Running


def test_a_worker_that_is_killed_leaves_no_run_behind_and_the_next_night_is_published(serving: Serving) -> None:
    dead = serving.mid_run("2018-09-05")
    kill(serving.pid("worker"))
    killed = time.monotonic()
    serving.answer.set()
    assert serving.make("status").returncode == 1
    assert serving.make("up").returncode == 0
    # The crashed run still holds the only concurrency slot.
    following = serving.watch("nightly/load-publish-forecast", issue_time="2018-09-06")
    assert serving.ended(dead, _STUCK - (time.monotonic() - killed))["state_type"] == "CRASHED"
    output, _ = following.communicate(timeout=180)
    assert following.returncode == 0, output
    forecast = serving.forecast("2018-09-06")
    assert forecast is not None and set(forecast["status"]) == {MODEL}
    assert serving.forecast("2018-09-05") is None


def test_a_server_that_is_killed_costs_no_night(serving: Serving) -> None:
    running = serving.mid_run("2018-09-07")
    kill(serving.pid("server"))
    serving.answer.set()
    wait(lambda: serving.forecast("2018-09-07") is not None, "the forecast, with no server there")
    assert set(present(serving.forecast("2018-09-07"))["status"]) == {MODEL}
    assert serving.make("status").returncode == 1
    assert serving.make("up").returncode == 0
    assert serving.ended(running)["state_name"] == "Completed"
    # The worker that was there before serves on.
    after = serving.trigger("nightly/load-publish-forecast", issue_time="2018-09-08")
    assert serving.ended(after)["state_name"] == "Completed"
    assert re.search(r"72 \w+ rows", serving.night(after))


def test_down_leaves_no_process_and_up_again_knows_what_was_known(serving: Serving) -> None:
    def known() -> dict[str, set[str]]:
        kinds = ("flow_runs", "deployments", "work_pools", "work_queues", "artifacts")
        identities = {kind: {thing["id"] for thing in every(serving.url, kind)} for kind in kinds}
        # A deploy schedules the nights to come anew.
        identities["flow_runs"] = {run["id"] for run in every(serving.url, "flow_runs") if run["start_time"]}
        # Those of triggers are made anew by every deploy; they remember nothing.
        ours = [a for a in every(serving.url, "automations") if a["name"].startswith("gatecast: ")]
        return identities | {"automations": {automation["id"] for automation in ours}}

    serving.mid_run("2018-09-09")
    before, secrets = known(), serving.at.read_secrets()
    assert serving.processes()
    down = serving.make("down")
    assert down.returncode == 0, down.stderr
    assert serving.processes() == {}
    assert serving.make("status").returncode == 1
    assert serving.make("down").returncode == 0
    up = serving.make("up")
    assert up.returncode == 0, up.stderr
    assert serving.at.read_secrets() == secrets
    after = known()
    for kind, things in before.items():
        assert things and things <= after[kind], kind
    assert [after[kind] for kind in ("deployments", "automations")] == [
        before[kind] for kind in ("deployments", "automations")
    ]
