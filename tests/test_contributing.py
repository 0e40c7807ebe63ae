"""CONTRIBUTING.md names files, targets and tiers that exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.tiers import TIERS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_file_that_it_names_exists() -> None:
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?)`", TEXT)
    linked = re.findall(r"\]\(([\w./-]+)\)", TEXT)
    created = {".pytest_cache/exports", "../shared/data", ".ci/run"}
    assert len(named) > 20
    assert [path for path in {*named, *linked} - created if not (ROOT / path).exists()] == []


def test_every_target_that_it_names_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make ([a-z-]+)", TEXT))
    assert targets >= {"quick", "test"}
    assert [target for target in targets if f"\n{target}:" not in makefile] == []


def test_its_table_holds_every_tier() -> None:
    tiers = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert sorted(tiers) == sorted(("quick", *TIERS))
    project = (ROOT / "pyproject.toml").read_text()
    assert all(f'\n    "{tier}: ' in project for tier in tiers)
