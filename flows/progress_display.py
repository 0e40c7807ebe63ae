"""Progress of a command: one display on a terminal, which is drawn again in place, and one line per stage elsewhere.

Only `StageBar` needs rich, whose import takes 40 ms. So a command imports it for a terminal only.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.coloured_text import Coloured, terminal_width
from storage.redaction import redact_registered

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_NAME_WIDTH = 9  # of the longest stage, "forecast", and a blank
_MIN_SHARE, _MIN_SECONDS = 0.02, 2.0  # before the time left is shown
_REDRAWS = 4  # per second


def ended_line(stage: str, seconds: float, error: str | None) -> Coloured:
    """Return the line about a stage that ended."""
    took = f"{stage:<{_NAME_WIDTH}}{'failed after' if error else 'done in'} {seconds:.0f} s"
    return Coloured(f"{took}: {error}" if error else took, "bad" if error else "good")


def time_left(share: float, seconds: float) -> str:
    """Return the time left of a stage that needed some seconds for a share, empty if it is not known yet."""
    if share < _MIN_SHARE or seconds < _MIN_SECONDS or share >= 1:
        return ""
    minutes, rest = divmod(round(seconds * (1 - share) / share), 60)
    return f"{minutes}:{rest:02} left"


class StageLines:
    """A listener that prints one line when a stage ends."""

    def __init__(self, echo: Callable[[Coloured], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._echo, self._clock = echo, clock
        self._started: dict[str, float] = {}

    def start(self, stage: str) -> None:
        """Remember when the stage started."""
        self._started[stage] = self._clock()

    def advance(self, stage: str, activity: str, share: float) -> None:
        """Discard the progress."""

    def end(self, stage: str, error: str | None) -> None:
        """Print the duration of the stage, and its error."""
        self._echo(ended_line(stage, self._clock() - self._started.pop(stage, self._clock()), error))


class StageBar:
    """A listener that draws the current stage with a bar, its percentage, the time left and its activity.

    Args:
        keeps_stages: Whether the line about a stage that ended stays above the bar.
        clock: Seconds since any instant.
    """

    def __init__(self, keeps_stages: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._keeps_stages, self._clock = keeps_stages, clock
        self._lock = threading.Lock()
        self._console: Console | None = None
        self._stage, self._activity, self._share, self._started = "", "", 0.0, clock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the bar on standard error. Other lines of this process appear above it."""
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False, width=terminal_width(sys.stderr))
        with Live(
            get_renderable=self.render, console=self._console, transient=True, refresh_per_second=_REDRAWS,
            redirect_stdout=False,
        ):  # fmt: skip
            yield

    def start(self, stage: str) -> None:
        """Show a stage from its beginning."""
        with self._lock:
            self._stage, self._activity, self._share, self._started = stage, "", 0.0, self._clock()

    def advance(self, stage: str, activity: str, share: float) -> None:
        """Show the progress of a stage. The bar never goes back."""
        with self._lock:
            if stage == self._stage:
                self._activity, self._share = activity, min(1.0, max(self._share, share))

    def end(self, stage: str, error: str | None) -> None:
        """Replace the bar by a line about the stage."""
        with self._lock:
            line, self._stage = ended_line(stage, self._clock() - self._started, error), ""
        if self._console is not None and self._keeps_stages:
            self._console.print(
                redact_registered(line.text), style={"good": "green", "bad": "red"}.get(line.meaning, ""), markup=False
            )

    def render(self) -> RenderableType:
        """Return what is drawn now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            stage, activity, share, seconds = self._stage, self._activity, self._share, self._clock() - self._started
        if not stage:
            return Text("")
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        row.add_column(justify="right", no_wrap=True, width=4)
        row.add_column(justify="right", no_wrap=True, width=11)
        # Without a share, the growing time shows that the stage is alive. A moving bar would draw 1 kB each time.
        bar = ProgressBar(total=1.0, completed=share) if share else Text("")
        left = time_left(share, seconds) if share else f"{seconds:.0f} s"
        row.add_row(stage.ljust(_NAME_WIDTH - 1), bar, f"{share:.0%}" if share else "", left)
        detail = Text(" " * _NAME_WIDTH + activity, style="dim", no_wrap=True, overflow="ellipsis")
        return Group(row, detail) if activity and activity != stage else row
