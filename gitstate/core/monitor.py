"""Reports of progress, independent of who displays them."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Receives reports of progress. Methods are called from the working thread only, and often: keep them cheap."""

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        """A new phase begins; ``total`` units of work are expected if that is known."""

    def advance(self, amount: int = 1) -> None:
        """``amount`` more units of the current phase are done."""

    def notice(self, text: str) -> None:
        """A message to the user that is no error."""


class Silent:
    """An observer that ignores everything."""

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def notice(self, text: str) -> None:
        pass


SILENT: Observer = Silent()
