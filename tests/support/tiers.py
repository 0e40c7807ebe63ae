"""Tiers of tests, by what a test needs, and what the quick tier refuses. The hooks are those of pytest."""

from __future__ import annotations

import importlib.abc
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import examples

#: Each tier of tests by what its tests need. A test of no tier is quick, see CONTRIBUTING.md.
TIERS = ("process", "training", "prefect", "database", "s3", "browser", "cluster", "shared", "deployment")
#: Fixtures that put each test that uses them in a tier.
_FIXTURES = {
    "trained": "training",
    "prefect_server": "prefect",
    "postgres": "database",
    "s3": "s3",
    "browser": "browser",
    "serving": "deployment",
}
#: Libraries that take seconds to load.
_SLOW_LIBRARIES = ("torch", "prefect", "playwright", "distributed")
# Files that take longest. They come first, because at the end one worker would be left alone with one of them.
_LONGEST = ("test_operation.py", "test_promotion_simulated.py", "test_end_to_end.py", "test_dask.py", "test_train.py")

_is_quick_test = False


class _RefusedLibraries(importlib.abc.MetaPathFinder):
    """Import hook that refuses slow libraries, so that no quick test loads one unnoticed."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name in _SLOW_LIBRARIES:
            raise ImportError(f"quick tests must not import {name}: mark the test with its tier, see CONTRIBUTING.md")


def _refuse_processes(event: str, _arguments: object) -> None:
    if _is_quick_test and event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        raise RuntimeError("a quick test must not start a process: mark it with its tier, see CONTRIBUTING.md")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what quick tests must not use, and try fewer random examples."""
    if config.option.markexpr == "quick":
        examples.lower()
        sys.meta_path.insert(0, _RefusedLibraries())
    sys.addaudithook(_refuse_processes)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m quick`, leave out files of another tier without importing them."""
    if config.option.markexpr == "quick" and collection_path.suffix == ".py":
        marked = rf"^pytestmark = \[?pytest\.mark\.({'|'.join(TIERS)})\b"
        return bool(re.search(marked, collection_path.read_text(), re.MULTILINE)) or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its tiers, and put the longest files first."""
    for item in items:
        fixtures: list[str] = getattr(item, "fixturenames", [])
        for fixture in _FIXTURES.keys() & fixtures:
            item.add_marker(_FIXTURES[fixture])
        if not any(item.get_closest_marker(tier) for tier in TIERS):
            item.add_marker("quick")
    order = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: (order.get(item.path.name, len(order)), item.path.parent != Path(__file__).parents[1]))


def _note_tier(item: pytest.Item) -> Iterator[None]:
    global _is_quick_test
    _is_quick_test = item.get_closest_marker("quick") is not None
    yield
    _is_quick_test = False


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Note whether the test to be set up is quick."""
    yield from _note_tier(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note whether the test to be called is quick. A teardown may stop servers that earlier tests have started."""
    yield from _note_tier(item)
