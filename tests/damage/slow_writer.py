"""A process whose one write(2) into a file rests half-way until it is told to go on, as if its source were swapped out.

``python -m tests.damage.slow_writer FILE``; prints ``begun`` when half of the file is written, ``done`` after a line of
input. Exit code 77: no userfaultfd(2) here.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import struct
import sys
import threading
from typing import Final

SIZE: Final = 16 << 20
UNAVAILABLE: Final = 77

_SYSCALL: Final = {"x86_64": 323, "aarch64": 282}
_API, _REGISTER, _COPY = 0xC018AA3F, 0xC020AA00, 0xC028AA03  # linux/userfaultfd.h
_MISSING: Final = 1


def main() -> None:
    pages = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    faults = ctypes.CDLL(None).syscall(_SYSCALL.get(os.uname().machine, -1), os.O_CLOEXEC | os.O_NONBLOCK)
    if faults < 0:
        sys.exit(UNAVAILABLE)
    fcntl.ioctl(faults, _API, struct.pack("QQQ", 0xAA, 0, 0))
    fcntl.ioctl(faults, _REGISTER, struct.pack("QQQQ", address, SIZE, _MISSING, 0))
    half = ctypes.create_string_buffer(b"N" * (SIZE // 2), SIZE // 2)

    def provide(offset: int) -> None:
        fcntl.ioctl(faults, _COPY, struct.pack("QQQQq", address + offset, ctypes.addressof(half), SIZE // 2, 0, 0))

    provide(0)
    file = os.open(sys.argv[1], os.O_WRONLY)
    writing = threading.Thread(target=os.pwrite, args=(file, pages, 0))
    writing.start()
    select.select([faults], [], [])  # the second half is wanted
    print("begun", flush=True)
    sys.stdin.readline()
    provide(SIZE // 2)
    writing.join()
    os.close(file)
    print("done", flush=True)


if __name__ == "__main__":
    main()
