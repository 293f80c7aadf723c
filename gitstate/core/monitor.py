"""How long work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Told of progress. Every method may be called from the working thread only, and often: keep them cheap."""

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        """A new phase begins; ``total`` units of work are expected if that is known."""

    def advance(self, amount: int = 1) -> None:
        """``amount`` more units of the current phase are done."""

    def notice(self, text: str) -> None:
        """Something the user should know that is no error."""


class Silent:
    """The observer of tests and scripts."""

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def notice(self, text: str) -> None:
        pass


SILENT: Observer = Silent()
