"""What is deployed is well formed, by the models of those who will read it, and keeps rules of ours."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import yaml
from compose_spec import PyCompose
from prefect import Flow
from prefect.cli.deploy._models import PrefectYamlModel, RawScheduleConfig
from prefect.cli.deploy._triggers import _initialize_deployment_triggers
from prefect.events.schemas.automations import EventTrigger
from prefect.server.schemas.schedules import CronSchedule
from prefect.settings import Settings
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate
from prefect.utilities.schema_tools.validation import ValidationError
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel

from deployments.installation import POOL, ROOT
from deployments.objects import QUEUES, read_automations
from flows.deployment_plan import ARRIVED, DEFAULT_DELAY, automation_name, plan, trigger_match
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from tests.support.deployments import DEPLOYED, DEPLOYMENTS, PREFECT_YAML, TEMPLATE, named
from tests.support.narrow import present
from tests.support.prefect_api import finished

pytestmark = pytest.mark.prefect

PIPELINES = sorted(DEPLOYMENTS.glob("*.toml"))
UNITS = sorted((DEPLOYMENTS / "systemd").glob("*.service"))
IMAGES = sorted((DEPLOYMENTS / "images").glob("*.Dockerfile"))
#: Of every pipeline; backfill has no schedule.
FLOWS = {"nightly", "train", "ingest", "backfill", "report"}
COMPOSE = DEPLOYMENTS / "compose.yaml"


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / path).is_file(), path
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(flow, Flow)
    return flow


each = pytest.mark.parametrize("deployment", DEPLOYED, ids=map(named, DEPLOYED))


def test_prefect_reads_prefect_yaml_and_ignores_none_of_it() -> None:
    read = PrefectYamlModel.model_validate(PREFECT_YAML)
    for ours, theirs in zip(DEPLOYED, read.deployments, strict=True):
        understood = theirs.model_dump(exclude_unset=True)
        assert ours.keys() == understood.keys()
        assert all(isinstance(schedule, RawScheduleConfig) for schedule in theirs.schedules or [])
        assert ours["work_pool"].keys() == understood["work_pool"].keys()
        assert ours["concurrency_limit"] == understood["concurrency_limit"]
    assert {"definitions", "deployments", "name", "prefect-version", "pull"} == PREFECT_YAML.keys()


def test_every_pipeline_has_every_deployment() -> None:
    planned = [one for path in PIPELINES for one in plan(settings_of(path))]
    assert sorted(map(named, DEPLOYED)) == sorted(f"{one.flow}/{one.name}" for one in planned)
    assert {one.flow for one in planned} == FLOWS
    for deployment in DEPLOYED:
        assert ROOT / deployment["parameters"]["pipeline"] in PIPELINES


def settings_of(path: Path) -> Pipeline:
    return pipeline_file.read(path, {"GAS_URI": "gas.csv"})


@each
def test_it_is_what_gatecast_deploy_would_create(deployment: dict[str, Any]) -> None:
    settings = settings_of(ROOT / deployment["parameters"]["pipeline"])
    # The markets start later, after the other pipeline.
    delay = timedelta(minutes=40) if settings.name == "market" else DEFAULT_DELAY
    (planned,) = [one for one in plan(settings, delay) if f"{one.flow}/{one.name}" == named(deployment)]
    schedules = [(schedule["slug"], schedule["cron"]) for schedule in deployment.get("schedules", [])]
    assert schedules == ([(planned.slug, planned.cron)] if planned.cron else [])
    assert deployment["description"] == planned.description
    assert deployment["tags"] == ["gatecast", settings.name, planned.tag]
    assert deployment["work_pool"]["work_queue_name"] == planned.queue
    triggers = [(t["name"], t["match"], t["expect"]) for t in deployment.get("triggers", [])]
    expected = (automation_name(settings), trigger_match(settings), [ARRIVED])
    assert triggers == ([expected] if planned.starts_on_data else [])


@each
def test_a_deployment(deployment: dict[str, Any]) -> None:
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert deployment["enforce_parameter_schema"] is True
    assert deployment["work_pool"]["name"] == POOL and deployment["work_pool"]["work_queue_name"] in QUEUES
    # Only what trains needs the image with torch.
    image = deployment["work_pool"].get("job_variables", {}).get("image")
    trains = deployment["work_pool"]["work_queue_name"] == "training"
    assert image == ("gatecast-training" if trains else None)


@each
def test_its_parameters_are_the_flow_s(deployment: dict[str, Any]) -> None:
    schema = parameter_schema(flow_of(deployment)).model_dump_for_openapi()
    given = deployment["parameters"] | (
        {"start": "2018-09-01", "end": "2018-09-02"} if "backfill" in named(deployment) else {}
    )
    validate(given, schema, raise_on_error=True)
    with pytest.raises(ValidationError, match="does not match"):
        validate(given | {"pipeline": "deployments/load"}, schema, raise_on_error=True)


@each
def test_its_schedules_are_in_the_pipeline_s_zone_and_outside_clock_changes(deployment: dict[str, Any]) -> None:
    at = pipeline_file.read(ROOT / deployment["parameters"]["pipeline"], {"GAS_URI": "gas.csv"}).pipeline
    schedules = deployment.get("schedules", [])
    assert bool(schedules) != (named(deployment).startswith("backfill/"))
    for schedule in schedules:
        assert schedule["timezone"] == at.timezone
        cron = CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        zone = ZoneInfo(at.timezone)
        # Around both clock changes of 2026, in America and in Europe.
        year: list[datetime] = []
        for month in (3, 10):
            fires = finished(cron.get_dates(n=700, start=datetime(2026, month, 5, tzinfo=zone)))
            year += [fire.astimezone(zone) for fire in fires]
        assert not [when for when in year if time(1) <= when.time() < time(3)]
        if named(deployment).startswith("nightly/"):
            # After the issue time, and within the hour that the alert rule GatecastNoNight leaves.
            issues = [datetime.combine(when, at.issue_at, zone) for when in year]
            assert all(
                timedelta(0) < when - issue < timedelta(hours=1) for when, issue in zip(year, issues, strict=True)
            )


@each
def test_its_triggers_are_prefect_s_and_its_own(deployment: dict[str, Any]) -> None:
    triggers = _initialize_deployment_triggers(deployment["name"], [dict(t) for t in deployment.get("triggers", [])])
    assert len(triggers) == (1 if named(deployment).startswith("nightly/") else 0)
    for trigger in triggers:
        trigger.set_deployment_id(uuid4())
        made = trigger.as_automation()
        assert isinstance(made.trigger, EventTrigger)
        pipeline = deployment["tags"][1]
        assert made.name == f"gatecast {pipeline}: publish the forecast when awaited data arrive"
        assert made.trigger.match["prefect.resource.id"] == [f"gatecast.pipeline.{pipeline}"]
        assert [action.type for action in made.actions] == ["run-deployment"]


@pytest.mark.parametrize(
    "template", [TEMPLATE, ProcessWorker.get_default_base_job_template()], ids=["kubernetes", "process"]
)
@each
def test_a_pool_of_either_kind_takes_its_job_variables(deployment: dict[str, Any], template: dict[str, Any]) -> None:
    validate(
        deployment["work_pool"].get("job_variables", {}),
        template["variables"],
        raise_on_error=True,
        preprocess=True,
        ignore_required=True,
    )


def test_the_automations_are_prefect_s() -> None:
    ours = yaml.safe_load((DEPLOYMENTS / "automations.yaml").read_text())
    read = read_automations(uuid4())
    assert [automation.name for automation in read] == [automation["name"] for automation in ours]
    for automation, declared in zip(read, ours, strict=True):
        kept = automation.model_dump(mode="json")
        assert declared.keys() <= kept.keys() and declared["trigger"].keys() <= kept["trigger"].keys()
        assert kept["trigger"]["expect"] and set(kept["trigger"]["expect"]) == set(declared["trigger"]["expect"])
        assert [action["type"] for action in kept["actions"]] == [action["type"] for action in declared["actions"]]
    assert {automation.name for automation in read_automations(None)} < {automation.name for automation in read}


def environment_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_prefect_has_every_setting_of_prefect_env_and_removes_what_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = environment_file(DEPLOYMENTS / "prefect.env")
    known = {name.upper() for setting in _settings(Settings) for name in setting}
    assert {name for name in variables if name.startswith("PREFECT_")} <= known
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = Settings().server
    assert server.services.db_vacuum.enabled_vacuum_types >= {"events", "flow_runs", "orphans"}
    assert server.services.db_vacuum.retention_period == timedelta(days=90)
    assert server.events.retention_period == timedelta(days=30)
    assert server.services.db_vacuum.event_retention_overrides["prefect.flow-run.heartbeat"] == timedelta(days=7)


def _settings(model: type[BaseModel], prefix: str = "prefect_") -> list[set[str]]:
    names: list[set[str]] = []
    for name, field in model.model_fields.items():
        nested = field.annotation if isinstance(field.annotation, type) else None
        if nested is not None and issubclass(nested, BaseModel):
            names += _settings(nested, f"{prefix}{name}_")
        else:
            choices = getattr(field.validation_alias, "choices", [])
            names.append({f"{prefix}{name}", *(choice for choice in choices if isinstance(choice, str))})
    return names


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_hadolint_has_nothing_to_say_of_an_image(image: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", image], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_what_an_image_copies_and_installs_is_there_and_it_does_not_run_as_root(image: Path) -> None:
    lines = image.read_text().replace("\\\n", " ").splitlines()
    sources = [source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert all((ROOT / source).exists() for source in sources)
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 10001"
    extras = {
        extra for line in lines if "'.[" in line for extra in line.partition("'.[")[2].partition("]")[0].split(",")
    }
    project = (ROOT / "pyproject.toml").read_text()
    assert extras and all(f"\n{extra} = [" in project for extra in extras)
    assert ("train" in extras) == (image.stem == "training")


def test_compose_is_compose() -> None:
    # YAML's `<<` is the reader's business, as in Docker's.
    spec = PyCompose.from_json(json.dumps(yaml.safe_load(COMPOSE.read_text()))).to_spec()
    assert present(spec.services).keys() == {"postgres", "server", "deploy", "nightly", "training"}
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for service in services.values():
        assert {*service.get("depends_on", {})} <= services.keys()
        for file in service.get("env_file", []):
            assert (DEPLOYMENTS / file).is_file()
        if isinstance(built := service.get("build"), dict):
            assert (DEPLOYMENTS / built["context"] / built["dockerfile"]).is_file()
    # What is open to the network: nothing.
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:4200:4200"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this machine: apt-get install systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Their program is at another place on this machine; all else is as it is."""
    program = tmp_path / "prefect"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS:
        text = unit.read_text()
        assert "/opt/gatecast/.venv/bin/prefect" in text
        (tmp_path / unit.name).write_text(text.replace("/opt/gatecast/.venv/bin/prefect", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    messages = [line for line in done.stderr.splitlines() if "gatecast" in line]
    assert done.returncode == 0 and not messages, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_names_files_that_are_there(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    paths = [line.rpartition("=")[2].lstrip("-").split()[0] for line in lines if "=/opt/gatecast/" in line]
    ours = [Path(path).relative_to("/opt/gatecast") for path in paths]
    assert {path.parts[0] for path in ours} <= {".venv", "deployments", "flows"}
    assert all((ROOT / path).is_file() for path in ours if path.parts[0] != ".venv")
    assert "User=gatecast" in lines and "NoNewPrivileges=true" in lines
