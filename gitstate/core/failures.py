"""What a failed system call or program means: the class of error, with its exit code, and what to do about it.

One table of errnos serves both: programs that run in the locale C end a complaint with the words of strerror(3).
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from gitstate.core.errors import (
    ConfigError,
    DamagedError,
    GitstateError,
    HostError,
    LockedError,
    NotFoundError,
    RefusedError,
    StorageError,
    UsageError,
)

Meaning = tuple[type[GitstateError], str]
"""A class of errors, and a hint."""

_FULL: Final[Meaning] = (StorageError, "nothing half done is left; make room and run it again")
_DISK: Final[Meaning] = (StorageError, "look at the kernel's log (dmesg): a disk or file server may be failing")
_IN_THE_WAY: Final[Meaning] = (HostError, "something else has that name: move it away, then run it again")
_UNFIT: Final[Meaning] = (HostError, "this file system or kernel can't do that: use another one")
_CHILDREN: Final[Meaning] = (HostError, "raise the limit of processes (ulimit -u), or end some")
_MEMORY: Final[Meaning] = (HostError, "free memory, or raise the limit (ulimit -v, MemoryMax), then run it again")
_KILLED: Final[Meaning] = (HostError, "run it again; if nobody killed it, look at the kernel's log for lack of memory")
_FILE_SIZE: Final[Meaning] = (StorageError, "raise the limit of a file's size (ulimit -f)")
_ODD: Final[Meaning] = (HostError, "nothing half done is left; mend that and run it again")

_BY_ERRNO: Final[Mapping[int, Meaning]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    errno.EFBIG: _FILE_SIZE,
    **dict.fromkeys((errno.EIO, errno.EREMOTEIO, errno.EUCLEAN, errno.EBADMSG, errno.ESTALE), _DISK),
    errno.EROFS: (HostError, "remount it read-write"),
    errno.EMFILE: (HostError, "raise the limit of open files (ulimit -n)"),
    errno.ENFILE: (HostError, "raise the system's limit of open files (sysctl fs.file-max)"),
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _CHILDREN,
    errno.E2BIG: (UsageError, "name fewer things in one command"),
    errno.EPERM: (HostError, "run it as root; a container must be allowed to do that, too"),
    errno.EACCES: (HostError, "run it as root, or as the owner"),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ELOOP, errno.ENXIO), _IN_THE_WAY
    ),
    **dict.fromkeys((errno.EBUSY, errno.ETXTBSY), (HostError, "something uses it, a mount perhaps: end that first")),
    errno.ECANCELED: _KILLED,
    errno.EXDEV: (HostError, "something is mounted there: unmount it first"),
    errno.ENOENT: (NotFoundError, "if something removed it meanwhile, run it again"),
    errno.ENAMETOOLONG: (HostError, "no file system holds that name: choose a shorter one"),
    **dict.fromkeys((errno.EINVAL, errno.EILSEQ, errno.EOVERFLOW, errno.ERANGE), _UNFIT),
    **dict.fromkeys((errno.ENOTSUP, errno.ENOSYS, errno.ENODEV, errno.ENOTTY), _UNFIT),
    **dict.fromkeys((errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT), (HostError, "is the server running?")),
    **dict.fromkeys((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN), (HostError, "is the network up?")),
}
_TOLD: Final = [
    (rf"(?m)(?:^|[:,] |\(){re.escape(os.strerror(number))}(?: ?\(.*|[.)])?$", meaning)
    for number, meaning in _BY_ERRNO.items()
    if meaning is not _IN_THE_WAY and number not in (errno.ENOENT, errno.EINVAL, errno.ERANGE)
]
"""A program may tell of a missing file or of one in the way and mean a lock, a damaged repository or a wrong word.

Patterns are compiled when something fails: to compile fifty takes as long as a short command.
"""
_BY_SIGNAL: Final[Mapping[int, Meaning]] = {signal.SIGBUS: _DISK, signal.SIGXFSZ: _FILE_SIZE}


# --- system calls -----------------------------------------------------------------------------------------------------


def of_system(error: OSError, where: object = None, hint: str = "") -> GitstateError:
    """The error for a failed system call: ``where`` instead of the file that it names, ``hint`` of the usual one."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    place = " -> ".join(names) if where is None else str(where)
    kind, usual = _BY_ERRNO.get(error.errno or 0, _ODD)
    return kind(f"{place}: " * bool(place) + (error.strerror or str(error)), hint or usual)


def is_in_the_way(error: OSError) -> bool:
    """Whether something else stands where the call wanted a file or a directory."""
    return _BY_ERRNO.get(error.errno or 0) is _IN_THE_WAY


def of_exception(error: Exception) -> GitstateError | None:
    """The error for what the machine refuses us in another form than OSError; None if it is a fault of ours."""
    if isinstance(error, MemoryError):
        return HostError("out of memory", _MEMORY[1])
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return HostError(str(error), _CHILDREN[1])
    return of_system(error) if isinstance(error, OSError) else None


# --- programs ---------------------------------------------------------------------------------------------------------


class ProgramError(HostError):
    """A program failed for a reason of its own; ``said`` is its whole complaint."""

    def __init__(self, message: str, hint: str, said: str) -> None:
        super().__init__(message, hint)
        self.said = said


class ProgramUsageError(UsageError, ProgramError):
    """git doesn't understand an option."""


class ProgramRefusedError(RefusedError, ProgramError):
    """One of git's hooks said no."""


class ProgramConfigError(ConfigError, ProgramError):
    """git can't read a configuration file."""


class ProgramNotFoundError(NotFoundError, ProgramError):
    """git knows no such revision or path."""


class ProgramLockedError(LockedError, ProgramError):
    """Another git holds a lock, or moved the ref first."""


class ProgramDamagedError(DamagedError, ProgramError):
    """git met an object, a pack or a ref that it can't read."""


_OWN_HINT: Final = "that is the program's own complaint"

Rule = tuple[str, type[ProgramError], str]


def _rule(kind: type[ProgramError], hint: str, *patterns: str) -> Rule:
    return "|".join(patterns), kind, hint


_BY_PROGRAM: Final[Mapping[str, Sequence[Rule]]] = {
    "git": (
        _rule(
            ProgramError,
            "a hook calls a gitstate that isn't there any more: gitstate reconcile renews the hooks",
            r"hooks/\S+: (?:line )?\d+: (?:exec: )?\S+: (?:not found|Permission denied|No such file)",
            r"cannot (?:exec|run) '?\S*hooks/",
        ),
        _rule(
            ProgramRefusedError,
            "one of the repository's hooks said no",
            r"aborted by .*hook|hook declined|hook .*exited",
        ),
        _rule(
            ProgramLockedError,
            "another git is at work or was faster: try again when it is done",
            r"\.lock': File exists|is at [0-9a-f]+ but expected|reference already exists",
        ),
        _rule(
            ProgramError,
            "git's configuration forbids it: see protocol.allow in git help config",
            r"transport '.*' not allowed",
        ),
        _rule(
            ProgramError,
            "its configuration would run as you: chown -R it, or run it as its owner",
            r"dubious ownership",
        ),
        _rule(ProgramConfigError, "correct it with an editor", r"bad (?:\w+ )?config"),
        _rule(
            ProgramError,
            _IN_THE_WAY[1],
            r"exists; cannot create|File exists|Not a directory|Is a directory|Directory not empty|already exists",
        ),
        _rule(
            ProgramDamagedError,
            "run: gitstate fsck",
            r"(?:unable to|[Cc]ould not|cannot|failed to) (?:read|parse|stat|unpack) (?!config|username|password)",
            r"bad (?:tree|object|ref)|malformed|too[- ]short|too short to be|empty filename|corrupt|inflate|packfile",
            r"index file|garbage at end|(?:hash|sha1|CRC|checksum|id) mismatch|is empty|broken (?:ref|link)",
            r"(?:missing|invalid) (?:blob|tree|commit|tag|object|sha1)|does not point to a valid",
            r"did not send all necessary objects",
        ),
        _rule(
            ProgramNotFoundError,
            "is it spelt right? gitstate log shows what there is",
            r"unknown revision|bad revision|ambiguous argument|[Nn]ot a valid (?:object|commit|ref)|single revision",
            r"did not match any|does not exist in|no such path|not have any commits",
        ),
        _rule(
            ProgramUsageError,
            "git help shows what it takes",
            r"usage: |unrecognized|unknown|invalid|cannot be used|exclusive|incompatible|requires|expects",
        ),
    ),
    "mmdebstrap": (_rule(ProgramError, "correct the suite, the packages or the mirror, and create it again", "E: "),),
    "tar": (
        _rule(ProgramError, "install the program that unpacks it", r"Cannot exec: No such file|not found$"),
        _rule(
            ProgramDamagedError,
            _OWN_HINT,
            r"not look like a tar|Unexpected EOF|[Ii]nvalid|[Cc]orrupt|not recoverable|checksum|unexpected end",
            r"format|Skipping to next|[Mm]alformed|damaged|Is a directory|Not a directory|File exists|truncated",
            r"Member name contains|Cannot hard link to",
        ),
    ),
}
_is_noise: Final = re.compile(
    "tar: (?:Removing leading|Exiting with|.*: implausibly old|.*: time stamp)|warning: |hint: "
    "|bzip2: Inappropriate ioctl"
).match
"""bzip2 adds the words of an errno to damage of any kind."""
_NO_ROOM: Final = re.compile(
    r"Wrote only \d+ of \d+ bytes|diskspace|couldn't write|write error$|Disk quota", re.MULTILINE
)
_is_sum: Final = re.compile("E: (?:setup failed|mmdebstrap failed|.* failed$)").match
"""mmdebstrap's last lines only say that apt failed."""
_CAUSES: Final = 3
_UNWRITTEN: Final = re.compile(r"[Cc]ould not write new index file|couldn't set '|unable to write (?:file|tree|loose)")
"""What git says of a failed write or rename without its reason."""
_DIED: Final = re.compile(r"died of signal (\d+)")


def of_program(words: Sequence[str], code: int, complaint: str) -> GitstateError:
    """The error for a program that ended with the exit code ``code``, below 0 the number of a signal."""
    lines = [line for line in complaint.splitlines() if line.strip() and not _is_noise(line)]
    said = "\n".join(lines)
    message = f"{_verb(words)}: {_reason(lines, code)}"
    cause = cause_of(code, said)
    if cause is not None:
        return cause[0](message, cause[1])
    for pattern, kind, hint in _BY_PROGRAM.get(words[0], ()):
        if re.search(pattern, said):
            return kind(message, hint, said)
    cause = cause_of(code, complaint)  # in a warning, perhaps
    return (
        cause[0](f"{message}: {_reason(complaint.splitlines(), code)}", cause[1])
        if cause
        else ProgramError(message, _OWN_HINT, said)
    )


def cause_of(code: int, said: str) -> Meaning | None:
    """What lies outside of a program that failed: the disk, rights, limits, a signal; None if nothing of that."""
    died = _DIED.search(said)
    number = -code if code < 0 else int(died[1]) if died else code - 128 if 128 < code < 193 and not said else 0
    if number:
        return _BY_SIGNAL.get(number, _KILLED)
    if _NO_ROOM.search(said):
        return _FULL
    if _UNWRITTEN.search(said) and not any(re.search(pattern, said) for pattern, _ in _TOLD):
        return _DISK
    return next((meaning for pattern, meaning in _TOLD if re.search(pattern, said)), None)


def _reason(lines: Sequence[str], code: int) -> str:
    """The line that says most (of apt, those that it failed for), or how the program ended."""
    if causes := [line for line in lines if line.startswith(("E: ", "dpkg: error")) and not _is_sum(line)]:
        return "; ".join(dict.fromkeys(line.removeprefix("E: ").strip() for line in causes[:_CAUSES]))
    told = [line for line in lines if line.startswith(("fatal: ", "error: ", "E: "))][-1:] or lines[:1]
    if told:
        return told[0]
    number = -code if code < 0 else code - 128
    return f"killed by {signal.strsignal(number) or number}" if 0 < number < signal.NSIG else f"exit code {code}"


def _verb(words: Sequence[str]) -> str:
    """The program and its subcommand: ``git update-ref``."""
    return " ".join([words[0], *[one for one in words[1:] if not one.startswith(("-", "/")) and "=" not in one][:1]])
