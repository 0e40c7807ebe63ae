"""The files of deployments/, as tests read them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from deployments.installation import ROOT

DEPLOYMENTS = ROOT / "deployments"
PREFECT_YAML = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text())
DEPLOYED: list[dict[str, Any]] = PREFECT_YAML["deployments"]
TEMPLATE = json.loads((DEPLOYMENTS / "kubernetes" / "base-job-template.json").read_text())


def named(deployment: dict[str, Any]) -> str:
    return f"{deployment['entrypoint'].rpartition(':')[2]}/{deployment['name']}"
