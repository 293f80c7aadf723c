"""Files to threads in batches: enough at once to keep the cores busy, never more than a bounded number of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from gitstate.scan.content import Outcome, Recorder, Task
from gitstate.scan.shapes import Frame

_IN_FLIGHT: Final = 48 << 20
_BATCH_FILES: Final = 128
_BATCH_BYTES: Final = 4 << 20

Job = tuple[Frame, Task]
Accept = Callable[[Frame, Task, Outcome], None]


class Pipeline:
    """Hands files to threads and their outcomes to ``accept``, in order, in the caller's thread."""

    def __init__(self, recorder: Recorder, pool: ThreadPoolExecutor, accept: Accept) -> None:
        self._recorder = recorder
        self._pool = pool
        self._accept = accept
        self._futures: deque[tuple[Future[list[Outcome]], list[Job], int]] = deque()
        self._flying = 0
        self._batch: list[Job] = []
        self._batch_bytes = 0

    def file(self, frame: Frame, task: Task, size: int) -> None:
        """Read one file of ``size`` bytes."""
        frame.waiting += 1
        self._batch.append((frame, task))
        self._batch_bytes += size
        if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
            self._submit()

    def database(self, frame: Frame, tasks: list[Task]) -> None:
        """Read the files of a database in use under its locks."""
        frame.waiting += len(tasks)
        self._fly([(frame, task) for task in tasks], self._recorder.record_database, _BATCH_BYTES)

    def drain(self) -> None:
        """Wait for everything handed over."""
        self._submit()
        while self._futures:
            self._collect()

    def _submit(self) -> None:
        if self._batch:
            batch, size = self._batch, self._batch_bytes
            self._batch, self._batch_bytes = [], 0
            self._fly(batch, self._recorder.record_batch, size)

    def _fly(self, batch: list[Job], work: Callable[[list[Task]], list[Outcome]], size: int) -> None:
        while self._futures and self._flying + size > _IN_FLIGHT:
            self._collect()
        self._flying += size
        self._futures.append((self._pool.submit(work, [task for _, task in batch]), batch, size))

    def _collect(self) -> None:
        """Take in the oldest batch."""
        future, batch, size = self._futures.popleft()
        self._flying -= size
        for (frame, task), outcome in zip(batch, future.result(), strict=True):
            frame.waiting -= 1
            self._accept(frame, task, outcome)
