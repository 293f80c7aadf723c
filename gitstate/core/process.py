"""Running other programs: no shell, no inherited standard input, a listed environment, failures as our own errors."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Final, NamedTuple

from gitstate.core import environment, failures
from gitstate.core.errors import GitstateError, HostError

Argument = str | bytes

_PACKAGES: Final = {
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "mtree": "mtree-netbsd",
    "bsdtar": "libarchive-tools",
    "setcap": "libcap2-bin",
    "getcap": "libcap2-bin",
}


_INT: Final = struct.Struct("i")


def _not_started(program: Argument, error: OSError) -> GitstateError:
    """The error for a program that can't be run at all."""
    name = _text(program)
    if isinstance(error, FileNotFoundError):
        return HostError(f"{name}: program not found", f"apt-get install {_PACKAGES.get(name, name)}")
    return failures.of_system(error, name)


class Finished(NamedTuple):
    """How a program ended: its exit code, and its standard output."""

    code: int
    output: bytes


def run(
    argv: Sequence[Argument],
    *,
    stdin: bytes = b"",
    variables: Mapping[str, str] | None = None,
    personal: bool = False,
    accept: Collection[int] = (0,),
) -> bytes:
    """Run ``argv`` to its end and return its standard output; raises as ``finish``."""
    return finish(argv, stdin=stdin, variables=variables, personal=personal, accept=accept).output


def finish(
    argv: Sequence[Argument],
    *,
    stdin: bytes = b"",
    variables: Mapping[str, str] | None = None,
    personal: bool = False,
    accept: Collection[int],
) -> Finished:
    """Run ``argv`` to its end, for a program whose exit code is an answer.

    For ``variables`` and ``personal`` see ``environment.of_program``. Raises HostError if the program is missing; if it
    exits with a code not in ``accept``, ProgramError, or what core/failures makes of its standard error.
    """
    try:
        variables = environment.of_program(argv[0], variables, personal=personal)
        done = subprocess.run(argv, env=variables, input=stdin, capture_output=True, check=False)
    except OSError as error:
        raise _not_started(argv[0], error) from None
    if done.returncode not in accept:
        raise failed(argv, done.returncode, done.stderr)
    return Finished(done.returncode, done.stdout)


def failed(argv: Sequence[Argument], code: int, stderr: bytes) -> GitstateError:
    """The error for a program that ended with ``code``."""
    return failures.of_program([_text(word) for word in argv], code, stderr.decode(errors="replace"))


def _text(word: Argument) -> str:
    return word if isinstance(word, str) else word.decode(errors="replace")


def complaints(argv: Sequence[Argument]) -> list[str]:
    """Run a checker; the lines of both its outputs if it finds fault, none if it succeeds.

    Raises StorageError or HostError if it couldn't look: no rights, no memory, a disk that fails.
    """
    try:
        variables = environment.of_program(argv[0])
        done = subprocess.run(argv, env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise _not_started(argv[0], error) from None
    if not done.returncode:
        return []
    stopped = failures.cause_of(done.returncode, done.stderr.decode(errors="replace"))
    if stopped is not None:
        raise failed(argv, done.returncode, done.stderr)
    return (done.stdout + done.stderr).decode(errors="replace").splitlines() or [f"exit code {done.returncode}"]


def show(argv: Sequence[Argument], *, variables: Mapping[str, str] | None = None) -> int:
    """Run ``argv`` on our own terminal and return its exit code."""
    try:
        return subprocess.run(argv, env=environment.of_program(argv[0], variables), check=False).returncode
    except OSError as error:
        raise _not_started(argv[0], error) from None


def end_with_reader(descriptor: int, words: bytes, every: float = 5) -> None:
    """End this process by SIGTERM when nobody reads the pipe ``descriptor`` any more; nothing if it is no pipe.

    ``words`` are written to it, every so many seconds: git-receive-pack(1) keeps the pipe of a hook open when its
    client is gone, and only leaves it unread.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        watch = threading.Thread(target=_watch_reader, args=(descriptor, words, every, os.getpid()), daemon=True)
        watch.start()


def _watch_reader(descriptor: int, words: bytes, every: float, process: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLERR, for a closed pipe, is told unasked
    unread = 0
    while unread < 2 and not poll.poll(every * 1000):
        waiting = bytearray(_INT.size)
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
        unread = unread + 1 if any(waiting) else 0
        if not unread:
            os.write(descriptor, words)
    os.kill(process, signal.SIGTERM)


@contextmanager
def reading(
    argv: Sequence[Argument], *, variables: Mapping[str, str] | None = None, personal: bool = False
) -> Iterator[IO[bytes]]:
    """The standard output of ``argv`` as a stream, to be read to its end; a failure is raised when the block ends."""
    # No pipe: a child that complains more than a pipe holds would wait for us, and we for its output.
    with open(os.memfd_create("complaint"), "w+b") as complaint:
        try:
            child = subprocess.Popen(
                argv,
                env=environment.of_program(argv[0], variables, personal=personal),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaint,
            )
        except OSError as error:
            raise _not_started(argv[0], error) from None
        with child:
            assert child.stdout is not None
            try:
                yield child.stdout
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            complaint.seek(0)
            raise failed(argv, child.returncode, complaint.read())


def restart_in_utf8() -> None:
    """Begin this program anew with Python in UTF-8 mode, unless it is: file names are bytes, and our texts UTF-8."""
    if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], dict(environment.own()))
