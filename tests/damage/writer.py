"""A process that writes to a file through a mapping that it keeps.

``python -m tests.damage.writer FILE``: for every line on standard input it does what the line says and answers
``done``: ``write BYTE`` fills the mapping with that byte; ``loop`` does so with one byte after the
other, from its beginning to its end, until the next line.
"""

from __future__ import annotations

import mmap
import os
import select
import sys


def main(path: str) -> None:
    """Serve."""
    descriptor = os.open(path, os.O_RDWR)
    pages = mmap.mmap(descriptor, 0)
    os.close(descriptor)
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["write", byte]:
                pages[:] = bytes([int(byte)]) * len(pages)
            case ["loop"]:
                _loop(pages)
        print("done", flush=True)


def _loop(pages: mmap.mmap) -> None:
    number, rounds = 0, [bytes([byte]) * len(pages) for byte in range(256)]
    print("looping", flush=True)
    while not select.select([0], [], [], 0)[0]:
        number = (number + 1) % 256
        pages[:] = rounds[number]


if __name__ == "__main__":
    main(sys.argv[1])
