"""Questions that `gatecast init --from` wrote into a pipeline file and that nobody has answered."""

from __future__ import annotations

import re
from pathlib import Path

#: Beginning of a question in a comment.
MARKER = "QUESTION: "
_IN_COMMENT = re.compile(rf"#[^#\"]*?{MARKER}(.*)$")


def open_questions(path: Path) -> str | None:
    """Return an error about the questions that a pipeline file still contains, None without any."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    matches = [(number, _IN_COMMENT.search(line)) for number, line in enumerate(lines, 1)]
    found = [f"line {number}: {match.group(1).strip()}" for number, match in matches if match]
    if not found:
        return None
    count = "1 question is" if len(found) == 1 else f"{len(found)} questions are"
    return (
        f"{path}: {count} not answered ({'; '.join(found)}). Correct the value in each of these lines where it is "
        f"wrong, and delete the comment from {MARKER.strip(': ')} on."
    )
