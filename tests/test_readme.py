"""Tests that the commands, files and Python code of README.md work and that its links exist."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import cli, clock
from flows.settings import file as pipeline_file
from tests.support.commands import gatecast
from tests.support.gas_demand import write_gas_demand

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Day on which the output in the README was made.
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def block(language: str, containing: str) -> str:
    """Return the one code block of a language that contains a text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (block,) = [text for name, text in blocks if name == language and containing in text]
    return str(block)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the CSV and the pipeline file of the README, as the working directory."""
    write_gas_demand(tmp_path / "gas.csv")
    (tmp_path / "gas.toml").write_text(block("toml", 'uri = "gas.csv"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    return tmp_path


def test_the_csv_is_the_one_shown(folder: Path) -> None:
    assert (folder / "gas.csv").read_text().startswith(block("csv", "gas_day"))


def test_check_prints_what_the_readme_shows(folder: Path) -> None:
    command, _, output = block("", "$ gatecast check").partition("\n")
    done = gatecast(*shlex.split(command.removeprefix("$ gatecast ")))
    assert done.returncode == 0
    assert done.stdout == output


@pytest.mark.training
def test_the_forecast_is_read_as_the_readme_shows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.many import champion
    from storage import registry
    from storage.store import open_store

    assert gatecast("ingest", "gas.toml", "--quiet").returncode == 0
    settings = pipeline_file.read("gas.toml")
    store = open_store(settings.pipeline.store)
    facts = {"decision": {"promoted": True, "reason": "random weights"}, "seen_to": "2026-11-01T05:00:00+00:00"}
    version = registry.add(store, "gas", datetime(2026, 11, 29, 5, tzinfo=UTC), champion(settings.spec()), facts)
    registry.promote(store, "gas", version)
    done = gatecast("forecast", "gas.toml")
    assert done.returncode == 0, done.stderr
    assert figures_removed(done.stdout) in figures_removed(block("", "$ gatecast nightly"))
    exec(block("python", "latest/gas.parquet"), {})
    printed = capsys.readouterr().out
    assert figures_removed(printed) == figures_removed(block("", "series_id ┆"))


def figures_removed(text: str) -> str:
    """Return a text with all numbers, paths and spaces removed."""
    return re.sub(r"\S*/\S*|[\d.]+|\s+", "", text)


def test_every_command_and_option_exists() -> None:
    lines = re.findall(r"^(?:\$ )?gatecast ([a-z]+ .*?)(?:  +#.*)?$", README, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        name, *arguments = shlex.split(line)
        command = cli.main.commands[name]
        command.make_context(name, arguments, resilient_parsing=False)


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_linked_file_and_section_exists() -> None:
    for path, section in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)", README):
        target = ROOT / path if path else ROOT / "README.md"
        assert target.exists(), path
        if section:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert section in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, section
