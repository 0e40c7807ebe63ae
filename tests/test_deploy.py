"""`gatecast deploy` on a real server: what it creates, a second time, after a rename, and without a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import clear, gatecast_process, json_report
from tests.support.pipelines import write_pipeline
from tests.support.prefect_api import every, request

pytestmark = pytest.mark.prefect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A pipeline file whose pipeline no other test deploys."""
    path = write_pipeline(tmp_path / "copy")
    path.write_text(path.read_text().replace('name = "small"', 'name = "deployed"'))
    return path


def deployed(url: str) -> dict[str, dict[str, Any]]:
    """Return the deployments of the pipeline by name."""
    tags = {"tags": {"all_": ["gatecast", "deployed"]}}
    return {one["name"]: one for one in every(url, "deployments", deployments=tags)}


def automations(url: str) -> list[str]:
    return [one["name"] for one in every(url, "automations") if one["name"].startswith("gatecast deployed")]


def test_a_pipeline_is_deployed_updated_and_removed(path: Path, prefect_server: dict[str, str]) -> None:
    url = prefect_server["PREFECT_API_URL"]
    first = gatecast_process("deploy", path, "--work-pool", "elsewhere", **prefect_server)
    assert first.returncode == 0, first.stderr
    assert "prefect worker start --pool elsewhere" in first.stdout
    before = deployed(url)
    assert before.keys() == {
        "deployed-publish-forecast", "deployed-retrain-model", "deployed-ingest-feeds",
        "deployed-backfill-forecasts", "deployed-write-page",
    }  # fmt: skip
    nightly = before["deployed-publish-forecast"]
    assert nightly["parameters"] == {"pipeline": str(path)} and nightly["entrypoint"] == "flows.nightly.nightly"
    assert nightly["work_pool_name"] == "elsewhere" and nightly["work_queue_name"] == "nightly"
    assert nightly["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert [schedule["schedule"]["cron"] for schedule in nightly["schedules"]] == ["20 0 * * *"]
    assert automations(url) == ["gatecast deployed: publish the forecast when awaited data arrive"]

    # A deployment of an earlier version, which has another name.
    former = {"name": "deployed", "flow_id": nightly["flow_id"], "tags": ["gatecast", "deployed"]}
    request("POST", f"{url}/deployments/", json=former)
    again = gatecast_process("deploy", path, "--delay", "40m", "--inactive", "--json", **prefect_server)
    assert json_report(again)["removed"] == ["nightly/deployed"]
    after = deployed(url)
    assert {name: one["id"] for name, one in after.items()} == {name: one["id"] for name, one in before.items()}
    schedules = after["deployed-publish-forecast"]["schedules"]
    assert [(one["schedule"]["cron"], one["active"]) for one in schedules] == [("40 0 * * *", False)]
    assert len(automations(url)) == 1

    removed = gatecast_process("deploy", path, "--remove", "--json", **prefect_server)
    assert len(json_report(removed)["removed"]) == 5
    assert not deployed(url) and not automations(url)


def test_a_module_path_starts_the_flow_from_any_folder(tmp_path: Path) -> None:
    code = "from prefect.flows import load_flow_from_entrypoint as load; print(load('flows.nightly.nightly').name)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.stdout.strip() == "nightly", done.stderr


def test_without_a_server_the_error_says_what_to_set(path: Path, tmp_path: Path) -> None:
    home = {"PREFECT_HOME": str(tmp_path / "home")}
    clear(gatecast_process("deploy", path, PREFECT_API_URL="", **home), 1, "no Prefect server", "PREFECT_API_URL")
    unreachable = gatecast_process("deploy", path, PREFECT_API_URL="http://127.0.0.1:9/api", **home)
    clear(unreachable, 1, "http://127.0.0.1:9/api", "cannot be reached")
    clear(gatecast_process("deploy", path, "--delay", "soon", **home), 2, "--delay 'soon'", "20m")
