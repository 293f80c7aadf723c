"""Running other programs: no shell, no inherited standard input, a listed environment, failures as our own errors."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Final, NamedTuple

from gitstate.core import environment, errors, failures
from gitstate.core.errors import GitstateError, HostError

Argument = str | bytes

_PACKAGES: Final = {
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "mtree": "mtree-netbsd",
    "bsdtar": "libarchive-tools",
    "setcap": "libcap2-bin",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "getcap": "libcap2-bin",
}


ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")
"""Words before a program that must not go on writing when we are killed (prctl(2), PR_SET_PDEATHSIG)."""
ENCLOSED: Final = (
    *ENDS_WITH_US,
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--"),
)
"""The same for one that starts others: all of them end with it, and what they mount is gone (pid_namespaces(7))."""

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
    wrapper: Sequence[str] = (),
) -> bytes:
    """Run ``argv`` to its end and return its standard output; raises as ``finish``."""
    return finish(argv, stdin=stdin, variables=variables, personal=personal, accept=accept, wrapper=wrapper).output


def finish(
    argv: Sequence[Argument],
    *,
    stdin: bytes = b"",
    variables: Mapping[str, str] | None = None,
    personal: bool = False,
    accept: Collection[int],
    wrapper: Sequence[str] = (),
) -> Finished:
    """Run ``argv`` to its end, for a program whose exit code is an answer.

    For ``variables`` and ``personal`` see ``environment.of_program``. Raises HostError if the program is missing; if it
    exits with a code not in ``accept``, ProgramError, or what core/failures makes of its standard error.
    """
    try:
        words = _wrapped(argv, wrapper)
        variables = environment.of_program(argv[0], variables, personal=personal)
        done = subprocess.run(words, env=variables, input=stdin, capture_output=True, check=False)
    except OSError as error:
        raise _not_started(argv[0], error) from None
    if done.returncode not in accept:
        raise failed(argv, done.returncode, done.stderr)
    return Finished(done.returncode, done.stdout)


def _wrapped(argv: Sequence[Argument], wrapper: Sequence[str]) -> Sequence[Argument]:
    """``argv`` behind ``wrapper``; whatever goes wrong is told of the program itself. Raises FileNotFoundError."""
    if wrapper and shutil.which(_text(argv[0])) is None:
        raise FileNotFoundError
    return [*wrapper, *argv]


def failed(argv: Sequence[Argument], code: int, stderr: bytes) -> GitstateError:
    """The error for a program that ended with ``code``."""
    return failures.of_program([_text(word) for word in argv], code, stderr.decode(errors="replace"))


def _text(word: Argument) -> str:
    return word if isinstance(word, str) else word.decode(errors="replace")


def enclosed() -> Sequence[str]:
    """``ENCLOSED``, or what of it a container lets us do."""
    try:
        run([*ENCLOSED, "true"])
    except GitstateError:
        return ENDS_WITH_US
    return ENCLOSED


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
    argv: Sequence[Argument],
    *,
    variables: Mapping[str, str] | None = None,
    personal: bool = False,
    wrapper: Sequence[str] = (),
) -> Iterator[IO[bytes]]:
    """The standard output of ``argv`` as a stream, to be read to its end; a failure is raised when the block ends."""
    # No pipe: a child that complains more than a pipe holds would wait for us, and we for its output.
    with open(os.memfd_create("complaint"), "w+b") as complaint:
        try:
            child = subprocess.Popen(
                _wrapped(argv, wrapper),
                env=environment.of_program(argv[0], variables, personal=personal),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaint,
            )
        except OSError as error:
            raise _not_started(argv[0], error) from None
        with _read_to_end(child) as output:
            yield output
        if child.returncode:
            complaint.seek(0)
            raise failed(argv, child.returncode, complaint.read())


@contextmanager
def reading_all(argv: Sequence[Argument], before: Callable[[], None]) -> Iterator[IO[bytes]]:
    """Both outputs of ``argv`` as one stream, to be read to its end; for ``before`` see ``attended``.

    A failure is raised when the block ends, as ProgramError that knows the exit code alone.
    """
    child = _start_after(before, argv, subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT)
    with _read_to_end(child) as output:
        yield output
    if child.returncode:
        raise failed(argv, child.returncode, b"")


@contextmanager
def _read_to_end(child: subprocess.Popen[bytes]) -> Iterator[IO[bytes]]:
    with child:
        assert child.stdout is not None
        try:
            yield child.stdout
        except BaseException:
            child.kill()
            raise


@dataclass(frozen=True, slots=True)
class Attended:
    """A program that was started; ``descriptor`` can be polled, and is readable when it has ended."""

    descriptor: int
    _child: subprocess.Popen[bytes]

    def wait(self) -> int:
        """Its exit code, that of a shell if a signal ended it."""
        code = self._child.wait()
        return code if code >= 0 else 128 - code


@contextmanager
def attended(argv: Sequence[Argument], before: Callable[[], None], *, to_stderr: bool = False) -> Iterator[Attended]:
    """``argv`` on our own terminal, which is ours again at the end; Ctrl-C is only for the program meanwhile.

    ``before`` is called in the new process, which becomes the program then; what it raises is raised here. The program
    writes to our standard error alone if ``to_stderr``. It is killed if the block ends before it does.
    """
    with ExitStack() as stack:
        stack.enter_context(_own_terminal())
        output = sys.stderr.fileno() if to_stderr else None
        child = _start_after(before, argv, None, output, None)
        stack.callback(child.wait)
        stack.callback(child.kill)
        descriptor = os.pidfd_open(child.pid)
        stack.callback(os.close, descriptor)
        yield Attended(descriptor, child)


def _start_after(
    before: Callable[[], None], argv: Sequence[Argument], stdin: int | None, stdout: int | None, stderr: int | None
) -> subprocess.Popen[bytes]:
    reading, writing = os.pipe()

    def begin() -> None:
        try:
            before()
        except (GitstateError, OSError) as error:
            known = error if isinstance(error, GitstateError) else failures.of_system(error)
            os.write(writing, "\0".join((type(known).__name__, known.message, known.hint)).encode())
            raise

    try:
        variables = environment.of_program(argv[0])
        return subprocess.Popen(argv, env=variables, stdin=stdin, stdout=stdout, stderr=stderr, preexec_fn=begin)
    except subprocess.SubprocessError:
        os.set_blocking(reading, False)
        kind, message, hint = os.read(reading, select.PIPE_BUF).decode(errors="replace").split("\0")
        raise getattr(errors, kind, HostError)(message, hint) from None
    except OSError as error:
        raise _not_started(argv[0], error) from None
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def _own_terminal() -> Iterator[None]:
    """Ignore what the keyboard sends to us; at the end, take the terminal back from whoever had it last."""
    terminal = sys.stdin.fileno() if sys.stdin.isatty() else None
    modes = None if terminal is None else termios.tcgetattr(terminal)
    numbers = (signal.SIGINT, signal.SIGQUIT)
    before = [signal.signal(number, lambda *_: None) for number in numbers]  # SIG_IGN would be inherited
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        if terminal is not None and modes is not None:
            stopped = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with suppress(OSError, termios.error):  # the terminal may be gone
                os.tcsetpgrp(terminal, os.getpgrp())
                termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
            signal.signal(signal.SIGTTOU, stopped)


def restart_in_utf8() -> None:
    """Begin this program anew with Python in UTF-8 mode, unless it is: file names are bytes, and our texts UTF-8."""
    if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], dict(environment.own()))
