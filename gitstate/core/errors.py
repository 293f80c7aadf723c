"""The one tree of errors: what went wrong, what to do about it, and the exit code a script can rely on."""

from __future__ import annotations

from typing import ClassVar


class GitstateError(Exception):
    """An error that the user is told in one line.

    ``message`` says what and where, ``hint`` what to do; ``code`` is the documented exit code.
    """

    code: ClassVar[int] = 70
    kind: ClassVar[str] = "bug"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(GitstateError):
    """Arguments that can't be meant: a bad name, an impossible combination."""

    code, kind = 2, "usage"


class PartlyDoneError(GitstateError):
    """The work was done except for what the message names."""

    code, kind = 3, "partly done"


class RefusedError(GitstateError):
    """Policy forbids it; nothing was recorded."""

    code, kind = 4, "refused"


class HostError(GitstateError):
    """Not root, a program missing or failed, a read-only file system, no live tree, a name in the way, a limit."""

    code, kind = 5, "environment"


class StorageError(GitstateError):
    """I/O error or disk full."""

    code, kind = 6, "storage"


class ConfigError(GitstateError):
    """A configuration file or template is wrong."""

    code, kind = 7, "configuration"


class NotFoundError(GitstateError):
    """A site, repository, revision or path that doesn't exist."""

    code, kind = 10, "not found"


class LockedError(GitstateError):
    """Another process holds the lock, or moved the ref first."""

    code, kind = 11, "locked"


class ConflictError(GitstateError):
    """Two states that can't be joined without a decision."""

    code, kind = 12, "conflict"


class UnreachableError(GitstateError):
    """The directory (LDAP) doesn't answer, or doesn't let us in."""

    code, kind = 13, "directory unreachable"


class DamagedError(GitstateError):
    """Data that was found to break the format: a bad record, a corrupt pack, a hostile tree."""

    code, kind = 14, "damaged"
