"""Check of the import rules in docs/architecture.md: no import that no rule names, and no cycle."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
_STORAGE = "storage storage.schemas storage.sources"
_FLOW = (
    "flows flows.settings flows.stages flows.issue_time flows.run_names flows.states flows.tasks prefect " + _STORAGE
)

#: What each unit may import besides itself and the standard library. A unit is a package or module with all below it
#: that no longer name covers. A module may also be named alone. `late:X` may be imported within a function only, or
#: for type checkers only, which keeps X out of the runs that do not call it.
RULES: dict[str, str] = {
    "storage.schemas": "storage.errors numpy polars",
    "storage.sources": "storage storage.schemas httpx polars tenacity late:adbc_driver_manager",
    "storage": "storage.schemas storage.sources numpy polars late:obstore",
    "model": "storage.schemas numpy polars onnxruntime threadpoolctl late:holidays late:scipy",
    "model.training": "model storage.schemas numpy onnx torch late:onnxscript",
    "flows": "flows.settings flows.stage_process flows.stages.progress late:flows.stages model click polars pydantic "
    "late:rich late:flows.configured_server late:flows.deploy late:flows.embedded_server late:flows.issue_time "
    + _STORAGE,
    "flows.issue_time": "flows flows.settings flows.stages " + _STORAGE,
    "flows.held_text": "",
    "flows.settings": "flows.held_text model pydantic pydantic_core " + _STORAGE,
    "flows.page": "flows.settings model storage.schemas altair jinja2 numpy polars late:vl_convert",
    "flows.stages": "flows.clock flows.summary flows.page flows.settings model late:model.training numpy polars "
    "prometheus_client late:scipy " + _STORAGE,
    "flows.stage_process": "flows.clock flows.deadline flows.held_text flows.logs flows.stages.progress storage.errors "
    "late:flows.settings late:flows.stages late:storage late:storage.schemas",
    # Flows, and the only modules that know Prefect.
    "flows.artifacts": "flows flows.settings flows.stages polars prefect " + _STORAGE,
    "flows.deploy": "flows flows.backfill flows.ingest flows.nightly flows.report flows.settings flows.train httpx "
    "prefect",
    "flows.configured_server": "flows.embedded_server prefect storage",
    "flows.embedded_server": "prefect storage",
    "flows.embedded_server_process": "flows late:prefect late:uvicorn",
    "flows.run_names": "flows flows.settings prefect",
    "flows.states": "prefect storage",
    "flows.tasks": "flows flows.settings flows.stage_process late:flows.stages prefect storage.schemas",
    "flows.sharded": _FLOW + " late:prefect_dask",
    "flows.nightly": _FLOW + " flows.artifacts flows.sharded",
    "flows.backfill": _FLOW,
    "flows.backtest": _FLOW,
    "flows.forecast": _FLOW + " flows.sharded",
    "flows.ingest": _FLOW,
    "flows.report": _FLOW,
    "flows.train": _FLOW,
    # For users from Python: it reads a store, and starts the command.
    "gatecast": "polars storage storage.schemas",
    "gatecast.__main__": "flows",
    "deployments": "click httpx prefect yaml",
}


class Import(NamedTuple):
    """One import of a module: by which module, in which line, and whether within a function."""

    importer: str
    imported: str
    line: int
    is_late: bool


def read_imports(root: Path, packages: list[str]) -> list[Import]:
    """Return every import of the packages under `root`, in the order of files and lines."""
    imports = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            tree = ast.parse(path.read_text(encoding="utf-8"))
            imports += [Import(name, *rest) for rest in _imports(root, tree, is_late=False)]
    return imports


def _imports(root: Path, node: ast.AST, *, is_late: bool) -> Iterator[tuple[str, int, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno, is_late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            # A relative import has no rule: no module of this project needs one.
            module = "." * child.level + (child.module or "")
            for alias in child.names:
                place = root.joinpath(*module.split("."), alias.name)
                is_module = place.is_dir() or place.with_suffix(".py").exists()
                yield f"{module}.{alias.name}" if is_module else module, child.lineno, is_late
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_for_types = (
            isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        )
        yield from _imports(root, child, is_late=is_late or is_function or is_for_types)


def find_unit(module: str, rules: Mapping[str, str]) -> str | None:
    """Return the longest name in the rules that covers a module, None if there is none."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in rules), None)


def forbidden_imports(imports: list[Import], rules: Mapping[str, str]) -> list[str]:
    """Return one line for each import that no rule names."""
    violations = []
    for entry in imports:
        unit = find_unit(entry.importer, rules)
        top = entry.imported.split(".")[0]
        if unit is None:
            violations.append(f"{entry.importer}: no rule in .ci/imports.py covers this module. Add one.")
        elif top not in sys.stdlib_module_names:
            imported = find_unit(entry.imported, rules) or top
            allowed = {unit, *rules[unit].split()}
            if entry.is_late:
                allowed |= {name.removeprefix("late:") for name in allowed}
            if allowed.isdisjoint((imported, entry.imported)):
                how = "within a function " if entry.is_late else ""
                violations.append(
                    f"{entry.importer}:{entry.line}: {unit} must not import {entry.imported} {how}"
                    f"(rule of .ci/imports.py: {rules[unit]})"
                )
    return violations


def import_cycles(imports: list[Import]) -> list[str]:
    """Return one line for each cycle of imports at the level of modules."""
    graph: dict[str, list[str]] = {}
    for entry in imports:
        if not entry.is_late:
            graph.setdefault(entry.importer, []).append(entry.imported)
    cycles: list[str] = []
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            cycles.append("cycle: " + " -> ".join([*path[path.index(module) :], module]))
        elif module not in finished:
            for imported in graph.get(module, []):
                visit(imported, [*path, module])
            finished.add(module)

    for module in sorted(graph):
        visit(module, [])
    return cycles


def main() -> None:
    """Print every violation, and exit with status 1 if there is one."""
    packages = sorted({name.split(".")[0] for name in RULES})
    imports = read_imports(ROOT, packages)
    violations = forbidden_imports(imports, RULES) + import_cycles(imports)
    print("\n".join(violations) or f"imports: {len(imports)} checked, none forbidden")
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
