"""Kubernetes: the job that Prefect's own worker makes of our template, and what is applied by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml
from kubernetes_asyncio import client as kubernetes
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL
from prefect.settings.context import temporary_settings
from prefect.utilities.schema_tools import is_valid_schema
from prefect.utilities.templating import find_placeholders
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

from deployments.installation import POOL
from tests.support.deployments import DEPLOYED, DEPLOYMENTS, TEMPLATE, named
from tests.support.prefect_api import finished
from tests.support.web_server import PostReceiver

pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster() -> Iterator[PostReceiver]:
    """The API of a cluster, which takes each job and returns it."""
    server = PostReceiver(201, lambda job: job)
    yield server
    server.stop()


async def submit(cluster: PostReceiver, variables: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The job that Prefect's own worker asks the cluster for, for a run with these job variables."""
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="nightly load")
    job = await KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, variables)
    job.prepare_for_flow_run(run)
    address = kubernetes.Configuration(host=cluster.address)
    async with kubernetes.ApiClient(address) as api:
        await KubernetesWorker(work_pool_name=POOL)._create_job(job, api)
    return cluster.posts[-1]


@pytest.mark.parametrize("deployment", [d for d in DEPLOYED if d["name"] == "load"], ids=named)
def test_a_run_s_job_in_kubernetes(
    deployment: dict[str, Any], cluster: PostReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in worker()["spec"]["template"]["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(setting["name"], setting["value"])
    client = {PREFECT_API_AUTH_STRING: "gatecast:planted-key", PREFECT_API_URL: "http://server:4200/api"}
    with temporary_settings(client):
        path, job = finished(submit(cluster, deployment["work_pool"].get("job_variables", {})))
    assert path == "/apis/batch/v1/namespaces/gatecast/jobs"
    pod = job["spec"]["template"]["spec"]
    # Prefect asks for these two here; they belong to the job, where 1 is the default, and Kubernetes drops them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    known(job)
    (container,) = pod["containers"]
    training = deployment["work_pool"]["work_queue_name"] == "training"
    assert container["image"] == ("gatecast-training" if training else "gatecast-nightly")
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["envFrom"] == [{"secretRef": {"name": "gatecast"}}]
    environment = {entry["name"]: entry for entry in container["env"]}
    assert environment["GATECAST_TRAINING__EVERY"]["value"] == "8d"
    assert "PREFECT__FLOW_RUN_ID" in environment
    reference = {"secretKeyRef": {"name": "gatecast", "key": "PREFECT_API_AUTH_STRING"}}
    assert environment["PREFECT_API_AUTH_STRING"]["valueFrom"] == reference
    assert "planted-key" not in json.dumps(job)
    locked(pod)


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOYMENTS / "kubernetes" / name).read_text()))


def worker() -> dict[str, Any]:
    return next(found for found in manifests("worker.yaml") if found["kind"] == "Deployment")


def test_every_variable_of_the_template_is_used_and_every_one_used_is_there() -> None:
    is_valid_schema(TEMPLATE["variables"], preprocess=False)
    used = {placeholder.name for placeholder in find_placeholders(TEMPLATE["job_configuration"])}
    assert used == TEMPLATE["variables"]["properties"].keys()
    assert TEMPLATE["job_configuration"].keys() <= KubernetesWorkerJobConfiguration.model_fields.keys()


@pytest.mark.parametrize("manifest", [*manifests("worker.yaml"), *manifests("deploy.yaml")], ids=lambda m: m["kind"])
def test_what_is_applied_to_kubernetes(manifest: dict[str, Any]) -> None:
    known(manifest)
    assert manifest["metadata"]["namespace"] == TEMPLATE["variables"]["properties"]["namespace"]["default"]
    if manifest["kind"] in ("Deployment", "Job"):
        locked(manifest["spec"]["template"]["spec"])
    if manifest["kind"] == "PersistentVolumeClaim":
        assert manifest["metadata"]["name"] == TEMPLATE["variables"]["properties"]["store_claim"]["default"]


def known(manifest: dict[str, Any]) -> None:
    """By Kubernetes' own model of it, to which no key of ours is unknown and no value of another type."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    model = f"{version.capitalize()}{manifest['kind']}"
    assert group.partition(".")[0] in ("", "apps", "batch", "rbac")

    async def read_manifest() -> Any:
        async with kubernetes.ApiClient() as api:
            return api.sanitize_for_serialization(api._ApiClient__deserialize(manifest, model))

    assert finished(read_manifest()) == manifest


def locked(pod: dict[str, Any]) -> None:
    """No root, nothing written but to volumes, bounded."""
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 10001
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        for kind in ("requests", "limits"):
            assert container["resources"][kind].keys() == {"cpu", "memory"}
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
