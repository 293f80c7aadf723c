"""Progress for people: bars on a terminal, one line per notice elsewhere. Standard error only."""

from __future__ import annotations

import sys
import time
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


class Bars:
    """A terminal: a line for each phase that takes long enough to wonder about."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""
        self._total: int | None = None
        self._unit = ""
        self._done = 0
        self._shown = time.monotonic()
        self._printed: set[str] = set()

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        self._close()
        self._what, self._total, self._unit = what, total, unit
        self._done, self._shown = 0, time.monotonic()
        if what.startswith(("mmdebstrap", "copy", "git ")):
            self._show()

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if self._progress is None and now - self._shown > _PATIENCE:
            self._show()
        if self._progress is not None and self._task is not None and now - self._shown > _INTERVAL:
            self._shown = now
            self._progress.update(self._task, completed=self._done, amount=self._amount())

    def notice(self, text: str) -> None:
        self._close()
        _note(text, self._printed)

    def _show(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        what, amount = TextColumn("{task.description}"), TextColumn("{task.fields[amount]}")
        columns = (what, BarColumn(), amount, TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(
            escape(self._what), total=self._total, completed=self._done, amount=self._amount()
        )
        self._progress.start()

    def _amount(self) -> str:
        """The amount done; nothing for work that doesn't count."""
        if not self._done:
            return ""
        return f"{self._done}/{self._total} {self._unit}" if self._total else f"{self._done} {self._unit}"

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _note(text: str, printed: set[str]) -> None:
    """Print each note once: a release is checked before its tag is made and again when it is published."""
    if text not in printed:
        printed.add(text)
        print(f"note: {text}", file=sys.stderr)
