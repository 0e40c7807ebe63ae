"""Tests that the generated parts of docs/ agree with the code and that the reference is complete."""

import inspect
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from docs.generate import PAGES, ROOT, render
from flows import summary
from storage import layout

_EXAMPLES = {
    "pipeline": "load", "feed": "demand", "version": "20180901T040000Z", "issue_time": datetime(2018, 9, 1, tzinfo=UTC),
    "timezone": "UTC", "series_id": "LDC1", "run": "20180901T040000Z-2", "shard": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return PAGES[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_generated_parts_are_up_to_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "<!-- generated: " in text
    assert render(text) == text, f"Run `python -m docs.generate` and commit docs/{path.name}."


def test_every_path_of_the_store_is_documented(page: str) -> None:
    keys = re.findall(r"`([^`]*<name>[^`]*)`", page)
    makers = [
        function
        for _, function in inspect.getmembers(layout, inspect.isfunction)
        if next(iter(inspect.signature(function).parameters), "") == "pipeline"
    ]
    assert len(makers) > 10
    for function in makers:
        arguments = [_EXAMPLES.get(name, "part") for name in inspect.signature(function).parameters]
        key = function(*arguments)
        assert any(_documents(documented, key) for documented in keys), key


def _documents(documented: str, key: str) -> bool:
    """Return whether a documented key, or one of its folders, stands for `key`."""
    parts = [re.sub(r"<[^>]+>|\*|\.\.\.", ".+", part) for part in documented.split("/")]
    return any(re.fullmatch("/".join(parts[:depth]), key) is not None for depth in range(1, len(parts) + 1))


def test_the_exit_statuses_are_documented(page: str) -> None:
    rows = dict(re.findall(r"^\| (\d) \| (.*) \|$", page, re.MULTILINE))
    assert set(rows) == {str(n) for n in (summary.PUBLISHED, summary.FAILED, summary.WRONG, summary.DEGRADED)}
    assert "degraded" in rows[str(summary.DEGRADED)]
    assert "Failure" in rows[str(summary.FAILED)]
    assert "pipeline file is wrong" in rows[str(summary.WRONG)]


def test_every_extra_is_documented(page: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    section = page.partition("| extra | adds |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(project["optional-dependencies"])


def test_every_link_within_the_page_has_a_target(page: str) -> None:
    titles = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    anchors |= {title.partition(":")[0].lower() for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= anchors


def test_the_code_cites_no_contract() -> None:
    cited = [
        path
        for folder in ("flows", "gatecast", "model", "storage")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bthe contract\b|\bcontract's\b", path.read_text(encoding="utf-8"))
    ]
    assert cited == []
