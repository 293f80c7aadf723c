"""Programs that end when nobody reads what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support import PROJECT

_WATCHES = """
import sys, time
from gitstate.core.process import end_with_reader
end_with_reader(2, b"working\\n", 0.05)
time.sleep(float(sys.argv[1]))
"""


def started(seconds: float, stderr: int) -> subprocess.Popen[bytes]:
    """A process that works for so many seconds."""
    return subprocess.Popen([sys.executable, "-c", _WATCHES, str(seconds)], stderr=stderr, cwd=PROJECT)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "unread"])
def test_a_pipe_that_nobody_reads_ends_it(closed: bool) -> None:
    reader, writer = os.pipe()
    with started(120, writer) as child:
        os.close(writer)
        assert os.read(reader, 8) == b"working\n"
        if closed:
            os.close(reader)
        assert child.wait(60) == -signal.SIGTERM
    if not closed:
        os.close(reader)


def test_a_reader_keeps_it() -> None:
    with started(1, subprocess.PIPE) as child:
        assert b"working\nworking\n" in child.communicate(timeout=60)[1]
        assert child.returncode == 0


def test_a_file_is_nobodys_pipe() -> None:
    with open(os.devnull, "wb") as file, started(0.3, file.fileno()) as child:
        assert child.wait(60) == 0
