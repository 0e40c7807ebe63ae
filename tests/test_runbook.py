"""Commands of docs/runbook.md, and a section for every alert."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import polars as pl
import yaml

from deployments.installation import ROOT
from model.evaluation.alerts import CHECKS, DECAY
from tests.support import runbook

TEXT = runbook.PAGE.read_text()


def operator_s_folder(trained: Path, folder: Path) -> Path:
    """A trained pipeline named `load`, lying as in the repository: its file in deployments, its store beside that."""
    deployments = folder / "deployments"
    deployments.mkdir(parents=True)
    for table in trained.parent.glob("*.parquet"):
        shutil.copy(table, deployments)
    text = trained.read_text().replace('name = "small"', 'name = "load"').replace('"./store"', '"../store"')
    # The champion is that of the fixture: a night has nothing to train, but for the one before it.
    text = text.replace("[training]", '[training]\nevery = "30d"')
    (deployments / "load.toml").write_text(text)
    for part in ("history", "models"):
        shutil.copytree(trained.parent / "store" / part / "small", folder / "store" / part / "load")
    return folder


def test_every_command_is_run_by_one_test_or_the_other() -> None:
    for block in runbook.blocks():
        for command in runbook.commands(block):
            known = command.startswith((*runbook.SERVED, *runbook.ALONE)) or command in runbook.SHELL
            assert known, f"no test runs {command!r}"
        kinds = [
            command.startswith(runbook.ALONE) and not command.startswith(runbook.SERVED)
            for command in runbook.commands(block)
        ]
        assert not any(kinds) or all(kinds), f"two kinds in one block:\n{block}"
    assert [*runbook.alone()] and [*runbook.served()]
    # A block in another language would be run by nobody.
    assert len(re.findall(r"^```", TEXT, re.MULTILINE)) == 2 * len(runbook.blocks())


def test_every_command_that_needs_no_server(trained: Path, prefect_server: dict[str, str], tmp_path: Path) -> None:
    folder = operator_s_folder(trained, tmp_path)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "GATECAST_"))}
    for block in runbook.alone():
        done = runbook.run(block, folder, {**clean, **prefect_server}, 300)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    # What the restored store forecasts is what the lost one had forecast.
    (lost,) = (folder / "store.damaged").glob("forecasts/*/issue_date=2018-09-01/*.parquet")
    restored = folder / "store" / lost.relative_to(folder / "store.damaged")
    assert restored.read_bytes() == lost.read_bytes()
    assert pl.read_parquet(restored)["status"].unique().to_list() == ["model"]
    assert (folder / "page.html").stat().st_size > 10_000
    backfilled = folder / "store" / "forecasts" / "pipeline=load"
    assert {path.name for path in backfilled.iterdir()} >= {"issue_date=2018-08-31", "issue_date=2018-09-01"}


def test_every_alert_is_in_it() -> None:
    groups = yaml.safe_load((ROOT / "deployments" / "alerts.rules.yml").read_text())["groups"]
    rules = {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    assert dict(re.findall(r"^\| `(Gatecast\w+)` \((\w+)\)", TEXT, re.MULTILINE)) == rules
    automations = yaml.safe_load((ROOT / "deployments" / "automations.yaml").read_text())
    assert re.findall(r"^\| `(gatecast: [^`]+)`", TEXT, re.MULTILINE) == [a["name"] for a in automations]
    assert {*DECAY} < {*CHECKS}
    assert {*re.findall(r"^\| `([a-z]+)` \|", TEXT, re.MULTILINE)} == {*CHECKS}


def sections_of(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_its_links_lead_somewhere() -> None:
    sections = sections_of(TEXT)
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in sections, target
        else:
            name, _, section = target.partition("#")
            page = runbook.PAGE.parent / name
            assert page.is_file(), target
            assert not section or section in sections_of(page.read_text()), target
