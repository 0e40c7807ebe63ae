"""Generator of tables in docs/reference.md, architecture.md, gas.md and README.md: `python -m docs.generate`.

Each generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. The text around it is written by hand.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import polars as pl

from flows.cli import main as command
from flows.settings.reference import SettingRow, setting_rows
from flows.stages.backtest import scores_by_step
from storage.schemas import forecast_schema, history_schema, records, sample_schema, score_schema
from storage.schemas.tables import shard_result_schema

ROOT = Path(__file__).parent.parent
#: Pages with generated parts.
PAGES = (*(ROOT / "docs" / name for name in ("reference.md", "architecture.md", "gas.md")), ROOT / "README.md")
_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMON_OPTIONS = ("as_json", "quiet")
_LEVELS = [0.1, 0.5, 0.9]

_RESULTS = ROOT / "benchmarks" / "results"
_DATA = {
    "load": "load of three US companies, hourly, 2018",
    "zones": "load of 20 zones of a US utility, hourly, 2007-07 to 2008-06",
    "halfhour": "load of Victoria, half-hourly, 2014",
    "daily": "electricity and gas demand of Spain, daily, 2025",
    "price-np": "price of Nord Pool, hourly, 2016-12 to 2018-12",
    "price-be": "price of Belgium, hourly, 2015 and 2016",
    "price-fr": "price of France, hourly, 2015 and 2016",
    "prices-2024": "prices of ten European zones, hourly, 2024",
    "prices-2024-noon": "prices of ten European zones, issued at noon, 2024",
    "price-czech": "price of Czechia, quarter-hourly, 2026-01 to 2026-08",
    "gas-germany": "gas demand of Germany by customers, daily, 2025",
    "gas-cities": "gas demand of four cities, daily, 2017-06 to 2018-05",
    "gas-denmark": "gas demand of Denmark, daily, 2025",
    "market-indices": "S&P 500, Nasdaq, VIX, WTI, daily, 2017 and 2018",
    "market-gas": "Henry Hub gas price, daily, 2024-08 to 2026-08",
    "market-stocks": "six stocks, daily, 2021-09 to 2023-09",
}

_PEERS = {
    "lightgbm": "LightGBM", "garch": "GARCH", "degree-days-corrected": "a corrected degree-day regression",
    "seasonal-naive": "the seasonal naive",
}  # fmt: skip

_FORECAST_COLUMNS = {
    "series_id": "Id of the series.",
    "issue_time": "Moment as of which the forecast was made.",
    "valid_time": "Start of the period that is forecast.",
    "step": "1 to horizon.",
    "q10": "Quantile of level 0.1, in the target's unit. One column per level, named by the level in percent (`q2_5` "
    "for 0.025). Quantiles never cross and lie inside `bounds`.",
    "q50": "The median.",
    "q90": "Quantile of level 0.9.",
    "status": "`model`: by the champion, with all inputs. `stale_model`: by a model, but an older one, or with late or "
    "missing inputs. `baseline`: by the seasonal naive baseline.",
    "reason": "Why the status is not `model`. Null for `model`.",
    "model_version": "Folder of the model below `models/<name>/`. Null for `baseline`.",
    "p_above_30000": "P(value > 30000). One column per threshold in `[forecast] above`.",
}
_SAMPLE_COLUMNS = {
    "series_id": "Copied from the forecast row.",
    "issue_time": "Copied from the forecast row.",
    "valid_time": "Copied from the forecast row.",
    "step": "Copied from the forecast row.",
    "sample": "Number of the path, 1 to N. The same number belongs together in all series and steps.",
    "value": "Value of the target on this path, in its unit, inside `bounds`.",
}
_SCORE_COLUMNS = {
    "series_id": "Copied from the forecast row.",
    "issue_time": "Copied from the forecast row.",
    "valid_time": "Copied from the forecast row.",
    "step": "Copied from the forecast row.",
    "status": "Copied from the forecast row.",
    "model_version": "Copied from the forecast row.",
    "actual": "Newest known value of the target.",
    "median": "Quantile of level 0.5.",
    "error": "actual - median.",
    "absolute_error": "|actual - median|.",
    "pinball": "Mean over levels of max(q e, (q - 1) e), e = actual - quantile, without the factor 2.",
    "covered_80": "1 if the actual lies inside the 80% interval, else 0. Null if the levels do not reach from 0.1 to "
    "0.9.",
    "pit": "Probability integral transform: the level at which the actual lies.",
    "baseline_pinball": "Pinball of the baseline of this issue time. Null if the series had no history.",
    "baseline_absolute_error": "Absolute error of the baseline.",
    "baseline_covered_80": "1 if the actual lies inside the baseline's 80% interval, else 0.",
    "scale": "MAE of the seasonal naive before the issue time, the denominator of MASE. Null if no two values are a "
    "season apart.",
}
_BACKTEST_COLUMNS = {
    "series_id": "Copied from the forecast row.",
    "issue_time": "Copied from the forecast row.",
    "step": "Copied from the forecast row.",
    "n": "1 if the actual is known, else 0. The scores are null then.",
    "mae": "Absolute error of the median.",
    "mase": "Absolute error divided by the seasonal naive MAE before the issue time.",
    "pinball": "Mean over levels, without the factor 2.",
    "coverage_80": "1 if the actual lies inside the 80% interval, else 0.",
    "baseline_mae": "Absolute error of the baseline.",
    "baseline_pinball": "Pinball of the baseline.",
}
_HISTORY_COLUMNS = {
    "series_id": "Id of the series. Null for covariates shared by all series.",
    "valid_time": "Start of the period.",
    "available_at": "When the value became known. Null for values known at every issue time.",
    "ingested_at": "When the value was written to the store.",
    "<value>": "Value. One column per name in the feed's `values`.",
}
_SHARD_COLUMNS = {
    "series_id": "Id of the series.",
    "newest": "Step of the newest visible value.",
    "ever": "True if the series ever had a value.",
    "status": "Status of the rows. Null for a series that has ended.",
    "reason": "Reason of the rows.",
    "model_version": "Model of the rows.",
    "digest": "sha256 of the data that the forecast was made from.",
    "incomplete": "Inputs that were late or missing: feed and reason.",
}


def main() -> None:
    """Write the generated parts of all pages."""
    for path in PAGES:
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")


def render(page: str) -> str:
    """Return the page with its generated parts made anew.

    Raises:
        KeyError: The page names an unknown part.
    """
    return _PART.sub(lambda match: f"{match[1]}\n{_PARTS[match[2]]()}\n\n{match[3]}", page)


def _pipeline_file() -> str:
    """Return one table of keys per table of the pipeline file and, for options, per kind of source."""
    parts = []
    for (table, kind), rows in groupby(setting_rows(), key=lambda row: (row.table, row.kind)):
        title = f"### `{table}`" + (f" of {kind}" if kind else "")
        parts.append(f"{title}\n\n{_table(('key', 'type', 'default', 'meaning'), map(_setting_cells, rows))}")
    return "\n\n".join(parts)


def _setting_cells(row: SettingRow) -> tuple[str, ...]:
    default = f"`{row.default}`" if _is_json(row.default) else row.default
    if row.default.startswith("see "):
        default = f"see `{row.default[4:]}`"
    notes = [row.description]
    if row.allowed.startswith("such as "):
        notes.append(f"Such as {row.allowed.removeprefix('such as ')}.")
    elif row.allowed:
        notes.append(f"Allowed: {row.allowed}.")
    return f"`{row.key}`", row.type, default, " ".join(notes).replace("<", "&lt;")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _commands() -> str:
    """Return usage, help and options of every command."""
    parts = [
        f"### `gatecast {name} {_usage(each)}`\n\n{inspect.cleandoc(str(each.help))}\n\n{_options(each)}".rstrip()
        for name, each in command.commands.items()
    ]
    return "\n\n".join(parts)


def _usage(each: click.Command) -> str:
    arguments = [parameter for parameter in each.params if isinstance(parameter, click.Argument)]
    required = [option for option in each.params if isinstance(option, click.Option) and option.required]
    optional = len(each.params) > len(arguments) + len(required)
    return " ".join([
        *(argument.metavar or str(argument.name).upper() for argument in arguments),
        *(f"{option.opts[0]} {option.metavar}" for option in required),
        *(["[OPTIONS]"] if optional else []),
    ])  # fmt: skip


def _options(each: click.Command) -> str:
    options = [
        option
        for option in each.params
        if isinstance(option, click.Option) and option.name not in _COMMON_OPTIONS and not option.hidden
    ]
    if not options:
        return ""
    return _table(("option", "meaning"), (_option_cells(option) for option in options))


def _option_cells(option: click.Option) -> tuple[str, ...]:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    notes = ["Required."] if option.required else []
    return f"`{', '.join(option.opts)}{value}`", " ".join([str(option.help), *notes])


def _tables() -> str:
    """Return the columns of every table in the store and of a backtest's output."""
    forecast = forecast_schema(_LEVELS, (30_000.0,))
    scores = scores_by_step(pl.DataFrame(schema=forecast_schema(_LEVELS)), pl.DataFrame(schema=score_schema()))
    tables: list[tuple[str, str, Mapping[str, Any], Mapping[str, str]]] = [
        (
            "Forecast file",
            "Also `latest/<name>.parquet` and a backtest's `forecasts.parquet`. Sorted by series_id and valid_time.",
            forecast,
            _FORECAST_COLUMNS,
        ),
        (
            "Sample paths",
            "`[forecast] samples` requests them ([store](store.md#sample-paths)). Sorted by series_id, sample and "
            "valid_time.",
            sample_schema(),
            _SAMPLE_COLUMNS,
        ),
        (
            "Scores",
            "One row per forecast row with a known actual ([scores](scores.md)).",
            score_schema(),
            _SCORE_COLUMNS,
        ),
        ("Backtest scores", "`scores.parquet`: one row per forecast row.", scores.schema, _BACKTEST_COLUMNS),
        ("History", "What was ingested from one feed.", history_schema(["<value>"]), _HISTORY_COLUMNS),
        (
            "Shard results",
            "Internal: files below `staging/` that shards of a running forecast leave, one row per series.",
            shard_result_schema(),
            _SHARD_COLUMNS,
        ),
    ]  # fmt: skip
    return "\n\n".join(f"### {title}\n\n{note}\n\n{_columns(schema, texts)}" for title, note, schema, texts in tables)


def _columns(schema: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Return a table of columns.

    Raises:
        ValueError: A column has no text, or a text has no column.
    """
    if set(schema) != set(texts):
        raise ValueError(f"columns and texts differ: {sorted(set(schema) ^ set(texts))}")
    return _table(("column", "type", "meaning"), ((f"`{n}`", _type(t), texts[n]) for n, t in schema.items()))


def _type(dtype: object) -> str:
    if isinstance(dtype, pl.Datetime):
        return f"timestamp[{dtype.time_unit}, {dtype.time_zone}]"
    return str(dtype).lower()


def _records() -> str:
    """Return the keys of every JSON record, from the source of storage/schemas/records.py."""
    source = Path(str(records.__file__)).read_text(encoding="utf-8")
    lines = source.splitlines()
    parts = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            rows = ((f"`{ast.unparse(f.target)}`", _annotation(f.annotation), _comment(lines, f)) for f in fields)
            parts.append(f"### {node.name}\n\n{ast.get_docstring(node)}\n\n{_table(('key', 'type', 'meaning'), rows)}")
    return "\n\n".join(parts)


def _annotation(node: ast.expr) -> str:
    text = ast.unparse(node).replace("'", '"')
    optional = re.fullmatch(r"NotRequired\[(.*)\]", text)
    return f"`{optional[1]}`, optional" if optional else f"`{text}`"


def _comment(lines: list[str], field: ast.AnnAssign) -> str:
    """Return the `#:` comment above a field."""
    comment: list[str] = []
    number = field.lineno - 2
    while lines[number].strip().startswith("#:"):
        comment.insert(0, lines[number].strip().removeprefix("#:").strip())
        number -= 1
    return " ".join(comment)


def _tree() -> str:
    """Return every package and module with the first sentence of its docstring."""
    packages = ("flows", "gatecast", "model", "storage")
    lines = [line for package in packages for line in _package_lines(ROOT / package, 0)]
    return "\n".join(["```", *lines, "```"])


def _package_lines(folder: Path, depth: int) -> Iterator[str]:
    yield _tree_line(f"{folder.name}/", folder / "__init__.py", depth)
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.is_dir() and (path / "__init__.py").exists():
            yield from _package_lines(path, depth + 1)
        elif path.suffix == ".py" and path.name != "__init__.py":
            yield _tree_line(path.name, path, depth + 1)


def _tree_line(name: str, path: Path, depth: int) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(docstring.partition("\n\n")[0].split())
    return f"{'  ' * depth + name:<30}{re.split(r'(?<=[a-z0-9)`][.]) ', first)[0].rstrip('.')}"


def _accuracy() -> str:
    """Return Gatecast's pinball beside the best other forecaster's, from the league's results."""
    page = (_RESULTS / "league.md").read_text(encoding="utf-8")
    rows = []
    for name, section in re.findall(r"^## ([a-z0-9-]+)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        scores = {cells[0]: cells[1:] for cells in _cells(section)}
        if "gatecast" not in scores:
            continue
        coverage = next(cell for cell in scores["gatecast"] if cell.endswith("%"))
        match = re.search(r"against ([a-z-]+), the best other: pinball ([+-][\d.]+)%.*?p = ([\d.e-]+)", section)
        assert match, f"The section {name} of {_RESULTS / 'league.md'} has no comparison."
        change, p_value = float(match[2]), float(match[3])
        text = f"{change:+.1f}% against {_PEERS[match[1]]}, {'p < 0.001' if p_value < 1e-3 else f'p = {p_value:.2g}'}"
        columns = [
            f"{float(scores[each][0]):.3f}" if each in scores else ""
            for each in ("gatecast", "lightgbm", "seasonal-naive")
        ]
        rows.append((change, (_DATA[name], *columns, text, f"{float(coverage[:-1]):.0f}%")))
    head = (
        "data and test period",
        "Gatecast",
        "LightGBM",
        "seasonal naive",
        "against the best other",
        "80% interval covers",
    )
    return _table(head, [row for _, row in sorted(rows)])


def _gas() -> str:
    """Return the tables of the results on daily gas, one heading lower."""
    page = (_RESULTS / "gas.md").read_text(encoding="utf-8")
    return page[page.index("## ") :].replace("## ", "### ").strip()


def _speed() -> str:
    """Return the costs of one-thread forecasts, from the results of the race."""
    page = (_RESULTS / "race.md").read_text(encoding="utf-8")
    costs = {(c[0], c[2]): c[3:6] for c in _cells(page) if len(c) == 9 and c[1] == "one"}
    rows = []
    for series in dict.fromkeys(series for series, _ in costs):
        for name in ("Gatecast", "LSTM", "NHITS"):
            wall, cpu, memory = costs[series, name]
            rows.append((series, name, wall, cpu, memory))
    return _table(("series", "forecaster", "wall s", "CPU s", "peak MB"), rows)


def _cells(text: str) -> list[list[str]]:
    """Return the cells of all table rows in a Markdown text."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def lines() -> Iterator[str]:
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"

    return "\n".join(lines())


_PARTS: dict[str, Callable[[], str]] = {
    "pipeline-file": _pipeline_file,
    "commands": _commands,
    "tables": _tables,
    "records": _records,
    "tree": _tree,
    "accuracy": _accuracy,
    "gas": _gas,
    "speed": _speed,
}

if __name__ == "__main__":
    main()
