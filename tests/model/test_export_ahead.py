"""Export of a graph by another process: the same file as without, and no process that outlives its use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model.training.export import to_onnx
from model.training.export_ahead import ExportAhead
from model.training.export_cache import use_export_cache
from model.training.network import untrained_network
from tests.support import made
from tests.support.session import share_exports

pytestmark = pytest.mark.training

SPEC = made.spec()


@pytest.fixture
def without_cache() -> Iterator[None]:
    """Take the cache of exports from this process. The processes that it starts still have it."""
    previous = use_export_cache(None)
    yield
    use_export_cache(previous)


@pytest.mark.usefixtures("without_cache")
def test_another_process_exports_the_same_file() -> None:
    with ExportAhead(SPEC) as export:
        template = export.template()
    assert template is not None
    share_exports()
    network = untrained_network(SPEC)
    assert to_onnx(network, template) == to_onnx(network)


def test_with_a_cache_or_without_a_spec_no_process_starts() -> None:
    for spec in (SPEC, None):
        with ExportAhead(spec) as export:
            assert export._process is None
            assert export.template() is None


@pytest.mark.usefixtures("without_cache")
def test_a_process_that_fails_gives_nothing() -> None:
    with ExportAhead(SPEC) as export:
        assert export._process is not None
        export._process.kill()
        assert export.template() is None


@pytest.mark.usefixtures("without_cache")
def test_the_process_ends_with_its_context_and_with_its_parent() -> None:
    with ExportAhead(SPEC) as export:
        process = export._process
    assert process is not None and process.returncode is not None
    with ExportAhead(SPEC) as export:
        process = export._process
        assert process is not None and process.stdin is not None
        process.stdin.close()  # as the system does when the parent is gone
        assert process.wait(timeout=60) == 1
