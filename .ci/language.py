"""Check of the language rules in CONTRIBUTING.md: long sentences, vague openings and words of the old style."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MOST_WORDS = 25
_OPENINGS = re.compile(
    r"^(of|what|whoever|whether|how|why|that|which|where|when|who|so many|by how|from .* on)\b", re.IGNORECASE
)
# Words that this project once used for other things than they mean. Each has a plain term in docs/glossary.md.
_OLD_STYLE = re.compile(
    r"\b(told|tells?|asked|whoever|what came|by heart|leans?|usual|stretch(es|ed)?|rungs?|climb(s|ed)?|is said|was said"
    r"|passed over|take in|taken in|what it says|rooms?)\b",
    re.IGNORECASE,
)
_ALLOWED = re.compile(r"language: allow")


class Fault(NamedTuple):
    """One violation, with its place."""

    path: str
    line: int
    message: str


def _texts(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield line number, text and whether it is a docstring, for every docstring and comment block."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text, not isinstance(node, ast.Module)
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != last + 1:
            yield first, " ".join(block), False
            block = []
        if not block:
            first = line
        block.append(token.string.lstrip("#: "))
        last = line
    if block:
        yield first, " ".join(block), False


def _sentences(text: str) -> Iterator[str]:
    prose = re.sub(r"`[^`]*`", "x", text)
    for paragraph in re.split(r"\n\s*\n|\n\s*(?=[\w*`, ]+:\s)|\n\s*[-*|] ", prose):
        if re.match(r"\s*(>>>|\.\. |\|)", paragraph):
            continue
        yield from re.split(r"(?<=[.!?:;])\s+", " ".join(paragraph.split()))


def faults(path: Path) -> Iterator[Fault]:
    """Yield the violations in one Python file."""
    for line, text, is_docstring in _texts(path):
        if _ALLOWED.search(text):
            continue
        if is_docstring and (opening := _OPENINGS.match(text)):
            yield Fault(str(path), line, f"docstring begins with {opening[0]!r}; begin with a verb")
        for sentence in _sentences(text):
            if len(sentence.split()) > _MOST_WORDS:
                yield Fault(str(path), line, f"{len(sentence.split())} words in one sentence: {sentence[:60]}...")
        for word in _OLD_STYLE.finditer(text):
            yield Fault(str(path), line, f"old style: {word[0]!r}")


def main() -> None:
    """Print the violations of the files or folders given, by default all that git tracks, and exit with 1 if any."""
    listed = subprocess.run(["git", "ls-files", "--", *sys.argv[1:]], capture_output=True, text=True, check=True)
    violations = [
        fault
        for name in listed.stdout.split()
        if name.endswith(".py") and Path(name).exists()
        for fault in faults(Path(name))
    ]
    for fault in violations:
        print(f"{fault.path}:{fault.line}: {fault.message}")
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
