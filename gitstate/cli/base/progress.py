"""Progress for people: bars on a terminal, one line per notice elsewhere. Standard error only."""

from __future__ import annotations

import sys
import time
from threading import RLock, Timer, current_thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE: Final = 0.5
"""Seconds before a bar appears: most commands are done by then."""
_INTERVAL: Final = 0.1


class Plain:
    """No terminal: notices only."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._printed: set[str] = set()

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def notice(self, text: str) -> None:
        if not self._quiet:
            _note(text, self._printed)


_on_screen: Bars | None = None
"""There is one terminal."""


def clear() -> None:
    """Remove the bar, so that something else can be printed."""
    if _on_screen is not None:
        _on_screen.clear()


class Bars:
    """A terminal: a bar for each phase that takes long enough to wonder about, gone before anything else is printed."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._timer: Timer | None = None
        self._changing = RLock()
        self._what = ""
        self._total: int | None = None
        self._unit = ""
        self._done = 0
        self._shown = 0.0
        self._printed: set[str] = set()

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        global _on_screen
        self.clear()
        _on_screen = self
        self._what, self._total, self._unit, self._done = what, total, unit, 0
        self._timer = Timer(_PATIENCE, self._show)  # by the clock: many phases are one call of another program
        self._timer.daemon = True
        self._timer.start()

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        if self._progress is not None and self._task is not None and time.monotonic() - self._shown > _INTERVAL:
            self._shown = time.monotonic()
            self._progress.update(self._task, completed=self._done, amount=self._amount())

    def notice(self, text: str) -> None:
        self.clear()
        _note(text, self._printed)

    def clear(self) -> None:
        with self._changing:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._progress is not None:
                self._progress.stop()
                self._progress = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        what, amount = TextColumn("{task.description}"), TextColumn("{task.fields[amount]}")
        columns = (what, BarColumn(), amount, TimeElapsedColumn())
        with self._changing:
            if self._timer is not current_thread():  # cleared meanwhile
                return
            progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = progress.add_task(
                escape(self._what), total=self._total, completed=self._done, amount=self._amount()
            )
            progress.start()
            self._progress = progress

    def _amount(self) -> str:
        """The amount done; nothing for work that doesn't count."""
        if not self._done:
            return ""
        return f"{self._done}/{self._total} {self._unit}" if self._total else f"{self._done} {self._unit}"


def _note(text: str, printed: set[str]) -> None:
    """Print each note once: a release is checked before its tag is made and again when it is published."""
    if text not in printed:
        printed.add(text)
        print(f"note: {text}", file=sys.stderr)
