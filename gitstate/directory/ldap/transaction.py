"""Several entries written as one change: recorded in a journal, undone if one of them had changed meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

import ldap
from ldap.dn import str2dn

from gitstate.core.errors import ConfigError, UnreachableError
from gitstate.directory.ldap.connection import Connection, Write
from gitstate.directory.ldap.entry_mappings import difference, rebased
from gitstate.directory.ldap.errors import DOWN, translated
from gitstate.directory.ldap.pending import EntryChange, PendingChange, PendingFile

_EVERYTHING: Final = "(objectClass=*)"


def commit(
    connection: Connection, pending_file: PendingFile, changes: Sequence[EntryChange], who: str, message: str
) -> None:
    """Write the changes, all or nothing.

    Raises LockedError with everything as before; UnreachableError if the server went away and the change is pending.
    """
    pending = PendingChange(secrets.token_hex(8), who, message, tuple(changes))
    pending_file.save(pending)
    done: list[EntryChange] = []
    failures: list[tuple[str, ldap.LDAPError]] = []
    by_name = {change.dn: change for change in changes}
    writes = filter(
        None, (write_request(change) for change in changes if not failures)
    )  # one after another, as they are asked for
    for one, error in connection.write(writes):
        if error is None:
            done.append(by_name[one.dn])
        else:
            failures.append((one.dn, error))
    if not failures:
        pending_file.clear()
        return
    dn, error = next((one for one in failures if isinstance(one[1], DOWN)), failures[0])
    if isinstance(error, DOWN):
        raise _interrupted(connection, error, len(done), len(changes))
    undone = PendingChange(
        pending.number, who, f"taking back: {message}", tuple(change.reverse for change in reversed(done))
    )
    pending_file.save(undone)
    finish(connection, pending_file, undone)
    raise translated(error, connection.uri, dn)


def _interrupted(connection: Connection, error: ldap.LDAPError, done: int, count: int) -> UnreachableError:
    why = translated(error, connection.uri, f"{done} of {count} entries are written")
    return UnreachableError(why.message, "the next change finishes this one, or gitstate directory check --finish")


def finish(connection: Connection, pending_file: PendingFile, pending: PendingChange) -> None:
    """Complete an interrupted change. What others changed in these entries meanwhile stays where it can."""
    left = [now for change in pending.changes if (now := _remaining_change(connection, change)) is not None]
    for one, error in connection.write(filter(None, map(write_request, left))):
        if isinstance(error, DOWN):
            raise _interrupted(connection, error, len(pending.changes) - len(left), len(pending.changes))
        if error is not None:
            raise translated(error, connection.uri, one.dn)
    pending_file.clear()


def remaining(connection: Connection, pending: PendingChange) -> list[str]:
    """Return the DNs that a change hasn't reached yet."""
    return [change.dn for change in pending.changes if _remaining_change(connection, change) is not None]


def _remaining_change(connection: Connection, change: EntryChange) -> EntryChange | None:
    """The change that remains for an entry as it is now; None if there is none."""
    found = connection.search(change.dn, _EVERYTHING, ["*"], ldap.SCOPE_BASE)
    current = found[0].entry if found else None
    if current is None or change.new is None:
        return None if current is None and change.new is None else EntryChange(change.dn, current, change.new)
    new = rebased(current, change.old or {}, change.new)
    return EntryChange(change.dn, current, new) if difference(current, new) else None


def write_request(change: EntryChange) -> Write | None:
    """Return the write request for a change; None if nothing differs."""
    if change.new is None:
        return Write(change.dn, None, csn=change.csn)
    if change.old is None:
        return Write(change.dn, [], entry=change.new)
    modifications = difference(change.old, change.new)
    return Write(change.dn, modifications, csn=change.csn) if modifications else None


def create_container(connection: Connection, dn: str) -> None:
    """Create the parent entry if it doesn't exist."""
    if connection.search(dn, "(objectClass=*)", ["1.1"], ldap.SCOPE_BASE):
        return
    kind, value, _ = str2dn(dn)[0][0]
    if kind.lower() != "ou":
        raise ConfigError(f"{connection.uri}: there is no {dn}", "make it with the tools of the LDAP server")
    entry = {"objectClass": [b"organizationalUnit"], "ou": [value.encode()]}
    for one, error in connection.write([Write(dn, [], entry=entry)]):
        if error is not None:
            raise translated(error, connection.uri, one.dn)
