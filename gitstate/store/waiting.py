"""Locks that are waited for: who publishes beside us is soon done, and we have something to tell somebody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from gitstate.core.errors import LockedError

_PATIENCE: Final = 600.0
"""Seconds: a first export of a large root takes its time."""
_PAUSE: Final = 0.05


@contextmanager
def patiently(lock: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Hold ``lock``, once whoever has it is done. Raises LockedError after ten minutes."""
    until = time.monotonic() + _PATIENCE
    while True:
        held = lock()
        try:
            held.__enter__()
            break
        except LockedError:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE)
    try:
        yield
    finally:
        held.__exit__(None, None, None)
