"""A command on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 60

_SIZE: Final = ("COLUMNS", "LINES")
"""They would win over the terminal's own size; pytest-xdist sets them."""


@dataclass(frozen=True)
class Screen:
    """How a command ended, and all that it wrote to its terminal."""

    code: int
    text: str


def on_terminal(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    size: tuple[int, int] = (24, 80),
    typed: bytes = b"",
    until: Callable[[], bool] = lambda: False,
) -> Screen:
    """Run ``argv`` with standard input, output and error on a terminal; press Ctrl-C as soon as ``until`` is true."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    child = subprocess.Popen(
        argv,
        env={name: value for name, value in environment.items() if name not in _SIZE} | {"TERM": "xterm-256color"},
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    os.write(ours, typed)
    data, pressed, started = b"", False, time.monotonic()
    try:
        while piece := _read(ours):
            data += piece if piece != b"\0" else b""
            if not pressed and until():
                os.write(ours, b"\x03")
                pressed = True
            assert time.monotonic() - started < PATIENCE, data
    finally:
        os.close(ours)
        child.kill()
        code = child.wait()
    return Screen(code, data.decode(errors="replace").replace("\r\n", "\n"))


def _read(terminal: int) -> bytes:
    """What came; a NUL if nothing did for a while; nothing at the end."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(terminal, selectors.EVENT_READ)
        if not waiting.select(0.01):
            return b"\0"
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the last who had it open has gone
        return b""
