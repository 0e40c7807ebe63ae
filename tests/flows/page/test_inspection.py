"""Tests of the inspection page in a real browser, for models of several shapes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from flows.page.inspection import Inspection
from flows.page.inspection_page import render_inspection_page
from flows.settings import file as pipeline_file
from model.forecaster import Forecaster
from model.linear_contributions import covariate_responses, linear_contributions
from model.occlusion import occlusion_effects
from model.recurrent import RNNTrace
from model.training.export import to_onnx
from model.training.introspection import trace_recurrent_layers
from storage.schemas.records import Manifest
from tests.support import made
from tests.support.browser import HOSTILE, OpenWindow
from tests.support.networks import train
from tests.support.report_store import write_pipeline_file

pytestmark = pytest.mark.browser

MADE_AT = datetime(2026, 11, 1, tzinfo=UTC)


def inspection(folder: Path, **changes: Any) -> Inspection:
    """Return the inspection of one window of a network that was fitted for a few updates."""
    spec = made.spec(timezone="Europe/Berlin", **changes)
    network, samples, _ = train(spec, updates=5)
    model = to_onnx(network)
    forecaster, window = Forecaster(model), samples[3:4]
    window.target[0, 30:40] = np.nan
    actuals = np.full(spec.horizon, np.nan, np.float32)
    actuals[:5] = window.target[0, -24:-19]
    manifest = cast(Manifest, {"version": "v", "as_of": MADE_AT.isoformat()})
    settings = pipeline_file.read(write_pipeline_file(folder))
    return Inspection(
        settings=settings, series_id=HOSTILE[1], issue_time=datetime(2018, 10, 28, tzinfo=UTC),
        made_at=MADE_AT, spec=spec, manifest=manifest, first_step=427_944,
        window=window, quantiles=forecaster.quantiles(window)[0], actuals=actuals,
        layers=trace_recurrent_layers(model, window),
        effects=occlusion_effects(forecaster, window), responses=covariate_responses(forecaster, window),
        linear=linear_contributions(forecaster, window), notes=(f"Published as {HOSTILE[0]}.",),
    )  # fmt: skip


@pytest.fixture(
    scope="module", params=[{}, {"cell": "rnn", "layers": 2, "horizon": 30}, {"members": 2, "layers": 2, "horizon": 30}]
)
def inspected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    return inspection(tmp_path_factory.mktemp("inspection"), **request.param)


@pytest.fixture(scope="module")
def page(inspected: Inspection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "inspection.html"
    path.write_text(render_inspection_page(inspected))
    return path


@pytest.mark.parametrize("dark", [False, True])
def test_every_chart_is_drawn_without_error_or_request(
    reader: OpenWindow, inspected: Inspection, page: Path, dark: bool
) -> None:
    window = reader(dark=dark)
    opened = window.open(page)
    opened.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    window.scroll_to_end()
    assert window.errors == []
    assert [url for url in window.requests if not url.startswith("data:")] == [page.as_uri()]
    pairs = inspected.spec.members * inspected.spec.layers
    each = 2 if inspected.spec.cell == "rnn" else 8  # lines and maps of a layer
    inputs = 4 + (len(inspected.effects.covariates) > 1)
    assert opened.locator(".chart svg").count() == inputs + pairs * each
    assert opened.locator("h1").inner_text().startswith(HOSTILE[1])


def test_effects_come_first_and_every_chart_has_a_tooltip(
    reader: OpenWindow, inspected: Inspection, page: Path
) -> None:
    window = reader()
    opened = window.open(page)
    assert opened.locator("h2").first.inner_text() == "Effects of the inputs"
    assert opened.locator("details[open].fold").count() == 0
    opened.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    for chart in opened.locator(".chart:visible").all()[: 5 + 8]:
        texts = window.tooltips(chart)
        assert texts, chart.get_attribute("aria-label")
        assert not [text for text in texts if "undefined" in text or "NaN" in text or "null" in text]
    assert window.errors == []


def test_axe_reports_no_accessibility_violation(reader: OpenWindow, page: Path) -> None:
    window = reader(width=390)
    opened = window.open(page)
    window.scroll_to_end()
    result = Axe().run(opened)
    assert result.violations_count == 0, result.generate_report()
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


def test_same_inspection_has_the_same_page(inspected: Inspection) -> None:
    assert render_inspection_page(inspected) == render_inspection_page(replace(inspected))


def test_page_of_a_plain_recurrent_network_shows_no_gates(inspected: Inspection, page: Path) -> None:
    is_plain = inspected.spec.cell == "rnn"
    assert all(isinstance(layer.trace, RNNTrace) == is_plain for layer in inspected.layers)
    text = page.read_text()
    assert ("no gates and no cell state" in text) == is_plain
    assert ("Mean opening of the gates" in text) != is_plain
