"""What `make serve` brings up: nights by schedule, by hand and by event, one at a time, for who has the key."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml

from deployments.installation import ROOT
from storage.schemas import MODEL
from tests.support.prefect_api import every, request
from tests.support.serving import Serving, wait

pytestmark = pytest.mark.deployment

DEPLOYED = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]


def test_only_who_has_the_key_is_answered(serving: Serving) -> None:
    address = f"{serving.at.url}/flow_runs/filter"
    assert httpx.post(address, json={}).status_code == 401
    assert httpx.post(address, json={}, auth=("gatecast", "guessed")).status_code == 401
    assert httpx.post(f"{serving.url}/flow_runs/filter", json={}).status_code == 200
    for file in (serving.at.server_file, serving.at.client_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_pages_of_the_ui_ask_this_server(serving: Serving) -> None:
    response = httpx.get(f"{serving.at.url.removesuffix('/api')}/ui-settings")
    assert response.json()["api_url"] == serving.at.url
    assert response.json()["auth"] == "BASIC"


def test_all_of_it_is_deployed_and_the_next_nights_are_scheduled(serving: Serving) -> None:
    deployments = {(d["name"], d["entrypoint"]): d for d in every(serving.url, "deployments")}
    assert set(deployments) == {(d["name"], d["entrypoint"]) for d in DEPLOYED}
    for wanted in DEPLOYED:
        there = deployments[wanted["name"], wanted["entrypoint"]]
        assert there["global_concurrency_limit"]["limit"] == 1
        assert there["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert len(there["schedules"]) == len(wanted.get("schedules", []))

    def scheduled(name: str) -> list[datetime]:
        runs = [run for run in serving.runs(name) if run["auto_scheduled"]]
        return [datetime.fromisoformat(run["expected_start_time"]) for run in runs]

    nights = wait(lambda: scheduled("nightly/load-publish-forecast"), "the next nights")
    assert {(at.minute, at.hour in (4, 5)) for at in nights} == {(20, True)}
    assert scheduled("nightly/gas-publish-forecast") == []
    assert serving.make("status").returncode == 0


def test_two_nights_asked_for_at_once_are_published_one_after_the_other(serving: Serving) -> None:
    days = ("2018-09-02", "2018-09-03")
    processes = [serving.watch("nightly/load-publish-forecast", issue_time=day) for day in days]
    for process in processes:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    runs = [r for r in serving.runs("nightly/load-publish-forecast") if r["parameters"].get("issue_time") in days]
    first, second = sorted(runs, key=lambda run: run["start_time"])
    assert first["end_time"] <= second["start_time"]
    assert {run["state_name"] for run in runs} == {"Completed"}
    for day in days:
        forecast = serving.forecast(day)
        assert forecast is not None and len(forecast) == 72 and set(forecast["status"]) == {MODEL}
    assert all("72 model rows" in serving.night(run["id"]) for run in runs)


def test_a_wrong_parameter_is_refused_before_there_is_a_run(serving: Serving) -> None:
    for wrong in ("issue_time=yesterday", "pipeline=load", "issued=2018-09-02"):
        done = serving.prefect("deployment", "run", "nightly/load-publish-forecast", "--param", wrong)
        assert done.returncode == 1, done.stdout
        name, _, value = wrong.partition("=")
        assert name in done.stdout + done.stderr
        assert not [
            run for run in serving.runs("nightly/load-publish-forecast") if run["parameters"].get(name) == value
        ]


def test_data_that_arrive_start_the_night_that_waits_for_them(serving: Serving) -> None:
    before = {run["id"] for run in serving.runs("nightly/load-publish-forecast")}
    ingest = serving.trigger("ingest/load-ingest-feeds", as_of="2018-09-15")
    assert serving.ended(ingest)["state_name"] == "Completed"

    def started() -> dict[str, Any] | None:
        new = [
            run
            for run in serving.runs("nightly/load-publish-forecast")
            if run["id"] not in before and not run["auto_scheduled"]
        ]
        return new[0] if new else None

    run = wait(started, "a night that the data started")
    assert run["created_by"]["type"] == "AUTOMATION"
    assert serving.ended(run["id"])["state_type"] == "COMPLETED"
    assert "rows" in serving.night(run["id"])


def test_a_schedule_starts_a_night(serving: Serving) -> None:
    deployment = serving.deployment("nightly/load-publish-forecast")
    begins = datetime.now(UTC) + timedelta(seconds=15)
    schedule = {"interval": 3600, "anchor_date": begins.isoformat(), "timezone": "UTC"}
    body = [{"schedule": schedule, "active": True}]
    made = request("POST", f"{serving.url}/deployments/{deployment['id']}/schedules", json=body)
    assert made.status_code == 201, made.text
    # As a deploy does: what is new is scheduled within seconds, a schedule alone within a minute.
    request("PATCH", f"{serving.url}/deployments/{deployment['id']}", json={"paused": False})
    try:

        def due() -> dict[str, Any] | None:
            runs = [run for run in serving.runs("nightly/load-publish-forecast") if run["auto_scheduled"]]
            at = {run["id"]: datetime.fromisoformat(run["expected_start_time"]) for run in runs}
            return next((run for run in runs if abs(at[run["id"]] - begins) < timedelta(seconds=1)), None)

        run = wait(due, "the run of the schedule")
        ended = serving.ended(run["id"])
    finally:
        request("DELETE", f"{serving.url}/deployments/{deployment['id']}/schedules/{made.json()[0]['id']}")
    assert ended["state_type"] == "COMPLETED"
    assert "rows" in serving.night(run["id"])
