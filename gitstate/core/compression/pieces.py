"""A stream of pieces, read in any amounts, with little in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gitstate.core.errors import DamagedError

TRUNCATED = "it is truncated"

Damaged = Callable[[str], DamagedError]
"""Makes the error for bytes that can't be read, of why."""


class Pieces:
    """Bytes from ``source``, counted; more than ``most`` of them is an error, as whatever ``damaged`` is made of."""

    def __init__(self, source: Iterable[bytes], most: int, damaged: Damaged) -> None:
        self.damaged = damaged
        self._source = iter(source)
        self._piece = b""
        self._start = 0
        self._most = most
        self.position = 0

    def _fill(self) -> bool:
        """Make at least one byte available; False at the end."""
        while self._start == len(self._piece):
            piece = next(self._source, None)
            if piece is None:
                return False
            self._piece, self._start = piece, 0
        return True

    def some(self, most: int) -> bytes:
        """From 1 to ``most`` bytes, none at the end. Raises DamagedError."""
        if not self._fill():
            return b""
        taken = self._piece[self._start : self._start + most]
        self._start += len(taken)
        self.position += len(taken)
        if self.position > self._most:
            raise self.damaged(f"it unpacks to more than {self._most} bytes")
        return taken

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises DamagedError."""
        taken = self.some(count) if count else b""
        if len(taken) == count:
            return taken
        parts = [taken]
        left = count - len(taken)
        while left:
            parts.append(self.some(left))
            if not parts[-1]:
                raise self.damaged(TRUNCATED)
            left -= len(parts[-1])
        return b"".join(parts)

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes. Raises DamagedError."""
        while count:
            passed = len(self.some(count))
            if not passed:
                raise self.damaged(TRUNCATED)
            count -= passed

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end, without taking them."""
        while len(self._piece) - self._start < count:
            piece = next(self._source, None)
            if piece is None:
                break
            self._piece, self._start = self._piece[self._start :] + piece, 0
        return self._piece[self._start : self._start + count]

    def skip_zeros(self) -> None:
        """Skip the padding between archives. Raises DamagedError."""
        while self._fill():
            rest = self._piece[self._start :]
            zeros = len(rest) - len(rest.lstrip(b"\0"))
            if zeros:
                self.some(zeros)
            if zeros < len(rest):
                return

    def give_back(self, data: bytes) -> None:
        """Return the last bytes taken to the stream."""
        self._piece, self._start = data + self._piece[self._start :], 0
        self.position -= len(data)
