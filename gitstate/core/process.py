"""Running other programs: no shell, no inherited standard input, failures as our own errors."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Final

from gitstate.core.errors import HostError, StorageError

Argument = str | bytes

_PACKAGES: Final = {
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "mtree": "mtree-netbsd",
    "bsdtar": "libarchive-tools",
    "setcap": "libcap2-bin",
    "getcap": "libcap2-bin",
}


_NOT_ALLOWED: Final = re.compile(rb"Read-only file system|Permission denied")
_DAMAGE: Final = re.compile(
    r"(unable to|[Cc]ould not|cannot) (read|parse|stat)|bad tree|malformed|too-short|empty filename"
    r"|corrupt|inflate|packfile|index file|garbage at end"
)
_NO_ROOM: Final = re.compile(rb"No space left|diskspace|couldn't write|write error|Disk quota")
_is_noise: Final = re.compile("tar: (Removing leading|Exiting with|.*: implausibly old|.*: time stamp)").match


class ProgramError(StorageError):
    """A program failed, and not because of the disk or of permissions; ``said`` is its whole complaint."""

    def __init__(self, message: str, hint: str, said: str) -> None:
        super().__init__(message, hint)
        self.said = said

    @property
    def tells_of_damage(self) -> bool:
        """Whether git failed to read an object, rather than to understand an argument."""
        return _DAMAGE.search(self.said) is not None


class GitError(ProgramError):
    """git failed: probably the repository is damaged."""

    code, kind = 14, "damaged"


def _command(argv: Sequence[Argument], variables: Mapping[str, str] | None) -> list[Argument]:
    if not variables:
        return list(argv)
    return ["env", *[f"{name}={value}" for name, value in variables.items()], *argv]


def _missing(program: Argument) -> HostError:
    name = program if isinstance(program, str) else program.decode(errors="replace")
    return HostError(f"{name}: program not found", f"apt-get install {_PACKAGES.get(name, name)}")


def run(
    argv: Sequence[Argument],
    *,
    stdin: bytes = b"",
    variables: Mapping[str, str] | None = None,
    accept: Sequence[int] = (0,),
) -> bytes:
    """Run ``argv`` to its end and return its standard output.

    ``variables`` are added to the environment. Raises HostError if the program is missing, StorageError with
    the last line of its standard error if it exits with a code not in ``accept``.
    """
    try:
        done = subprocess.run(_command(argv, variables), input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise _missing(argv[0]) from None
    if done.returncode not in accept:
        raise failed(argv, done.returncode, done.stderr)
    return done.stdout


def failed(argv: Sequence[Argument], code: int, stderr: bytes) -> StorageError | HostError:
    """The error for a program that ended with ``code``."""
    words = [word if isinstance(word, str) else word.decode(errors="replace") for word in argv]
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip() and not _is_noise(line)]
    reasons = [line for line in lines if line.startswith(("fatal: ", "error: ", "E: "))][-1:] or lines[:1]
    said = reasons[0] if reasons else f"exit code {code}"
    message = f"{' '.join(_verb(words))}: {said}"
    if _NOT_ALLOWED.search(stderr):
        return HostError(message, "are you root, and is the file system writable?")
    if _NO_ROOM.search(stderr):
        return StorageError(message, "make room and run it again; nothing is lost")
    if words[0] == "git":
        return GitError(message, "run: gitstate fsck", "\n".join(lines))
    return ProgramError(message, "that is the program's own complaint", "\n".join(lines))


def _verb(words: Sequence[str]) -> list[str]:
    """The program and its subcommand: ``git update-ref``."""
    return [words[0], *[word for word in words[1:] if not word.startswith(("-", "/")) and "=" not in word][:1]]


def complaints(argv: Sequence[Argument]) -> list[str]:
    """Run a checker; the lines of both its outputs if it fails, none if it succeeds."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError:
        raise _missing(argv[0]) from None
    if not done.returncode:
        return []
    return (done.stdout + done.stderr).decode(errors="replace").splitlines() or [f"exit code {done.returncode}"]


def show(argv: Sequence[Argument], *, variables: Mapping[str, str] | None = None) -> int:
    """Run ``argv`` on our own terminal and return its exit code."""
    try:
        return subprocess.run(_command(argv, variables), check=False).returncode
    except FileNotFoundError:
        raise _missing(argv[0]) from None


@contextmanager
def reading(argv: Sequence[Argument], *, variables: Mapping[str, str] | None = None) -> Iterator[IO[bytes]]:
    """The standard output of ``argv`` as a stream; a failure is raised when the block ends."""
    try:
        child = subprocess.Popen(
            _command(argv, variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise _missing(argv[0]) from None
    assert child.stdout is not None
    try:
        yield child.stdout
    except BaseException:
        child.kill()
        child.communicate()
        raise
    _, stderr = child.communicate()
    if child.returncode:
        raise failed(argv, child.returncode, stderr)
