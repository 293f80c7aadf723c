"""``python -m tests.bench.floor DIR``: what no check-in into git can leave out, and nothing else.

Every file is read, hashed and deflated, by two threads, in the libraries and at the level that gitstate uses. What a
check-in takes beyond that is the walk, metadata, policy and the pack.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Final

from isal import isal_zlib

from gitstate.store.packs import LEVEL

_PIECE: Final = 1 << 20
_BATCH: Final = 64


def files(directory: str) -> Iterator[str]:
    """Every regular file below, each inode once."""
    seen = set()
    for above, *_ in os.walk(directory):
        for entry in (entry for entry in os.scandir(above) if entry.is_file(follow_symlinks=False)):
            if entry.inode() not in seen:
                seen.add(entry.inode())
                yield entry.path


def deflate(path: str) -> None:
    """Read a file, and compute what git stores of it."""
    digest, deflater = hashlib.sha1(usedforsecurity=False), isal_zlib.compressobj(LEVEL)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            deflater.compress(piece)
    deflater.flush()
    digest.digest()


def main() -> None:
    """Two threads take from one list."""
    left, lock = files(sys.argv[1]), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                batch = [path for path, _ in zip(left, range(_BATCH), strict=False)]
            if not batch:
                return
            for path in batch:
                deflate(path)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
