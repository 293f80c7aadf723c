"""Hand files to threads in batches: enough at once to keep the cores busy, and never more than a bounded number.

More threads than cores make all of them slower: a thread that returns from the kernel finds the interpreter's lock
taken, and sleeps. So the caller's thread does a batch itself where it would otherwise wait.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final

from gitstate.tree.scan.content import LARGE, FileTask, Outcome, Recorder
from gitstate.tree.scan.models import Frame

_BATCHES: Final = 16
"""The most that wait: enough to last while the caller reads a large file."""
_BATCH_FILES: Final = 128
_BATCH_BYTES: Final = 4 << 20

Job = tuple[Frame, FileTask]
Done = list[tuple[Job, Outcome]]
Accept = Callable[[Frame, FileTask, Outcome], None]


class Pipeline:
    """Has threads read files, and passes outcomes to ``accept`` in the caller's thread, as they come."""

    def __init__(self, recorder: Recorder, pool: ThreadPoolExecutor, accept: Accept) -> None:
        self._recorder = recorder
        self._pool = pool
        self._accept = accept
        self._done: SimpleQueue[Future[Done]] = SimpleQueue()
        self._in_flight = 0
        self._batch: list[Job] = []
        self._batch_bytes = 0

    def file(self, frame: Frame, task: FileTask, size: int) -> None:
        """Read one file of ``size`` bytes."""
        if size >= LARGE:
            self._start([(frame, task)], self._recorder.record_batch)
            return
        self._batch.append((frame, task))
        self._batch_bytes += size
        if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
            self._submit()

    def database(self, frame: Frame, tasks: list[FileTask]) -> None:
        """Read the files of a database in use under its locks."""
        self._start([(frame, task) for task in tasks], self._recorder.record_database)

    def drain(self) -> None:
        """Wait until everything is read."""
        self._submit()
        while self._in_flight:
            self._collect()

    def _submit(self) -> None:
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._start(batch, self._recorder.record_batch)

    def _start(self, batch: list[Job], work: Callable[[list[FileTask]], list[Outcome]]) -> None:
        while not self._done.empty():
            self._collect()
        if self._in_flight == _BATCHES:
            self._accept_all(_record(batch, work))
        else:
            self._in_flight += 1
            self._pool.submit(_record, batch, work).add_done_callback(self._done.put)

    def _collect(self) -> None:
        done = self._done.get().result()
        self._in_flight -= 1
        self._accept_all(done)

    def _accept_all(self, done: Done) -> None:
        for (frame, task), outcome in done:
            self._accept(frame, task, outcome)


def _record(batch: list[Job], work: Callable[[list[FileTask]], list[Outcome]]) -> Done:
    return list(zip(batch, work([task for _, task in batch]), strict=True))
