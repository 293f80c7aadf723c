"""Several entries written as one change: made by the journal, undone if one of them had changed meanwhile."""

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
    connection: Connection, pending_file: PendingFile, items: Sequence[EntryChange], who: str, message: str
) -> None:
    """Make the change.

    Raises LockedError with all as it was; UnreachableError if the server went away, and it is pending.
    """
    pending = PendingChange(secrets.token_hex(8), who, message, tuple(items))
    pending_file.save(pending)
    done: list[EntryChange] = []
    failures: list[tuple[str, ldap.LDAPError]] = []
    by_name = {item.dn: item for item in items}
    writes = filter(
        None, (write_request(item) for item in items if not failures)
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
        raise _half_done(connection, error, len(done), len(items))
    undone = PendingChange(
        pending.number, who, f"taking back: {message}", tuple(item.reverse for item in reversed(done))
    )
    pending_file.save(undone)
    finish(connection, pending_file, undone)
    raise translated(error, connection.uri, dn)


def _half_done(connection: Connection, error: ldap.LDAPError, done: int, count: int) -> UnreachableError:
    why = translated(error, connection.uri, f"{done} of {count} entries are written")
    return UnreachableError(why.message, "the next change finishes this one, or gitstate directory check --finish")


def finish(connection: Connection, pending_file: PendingFile, pending: PendingChange) -> None:
    """Do what is left of a change. What others changed of these entries meanwhile stays where it can."""
    left = [now for item in pending.items if (now := _left(connection, item)) is not None]
    for one, error in connection.write(filter(None, map(write_request, left))):
        if isinstance(error, DOWN):
            raise _half_done(connection, error, len(pending.items) - len(left), len(pending.items))
        if error is not None:
            raise translated(error, connection.uri, one.dn)
    pending_file.clear()


def remaining(connection: Connection, pending: PendingChange) -> list[str]:
    """The entries that a change hasn't come to yet."""
    return [item.dn for item in pending.items if _left(connection, item) is not None]


def _left(connection: Connection, item: EntryChange) -> EntryChange | None:
    """What is to be done from how an entry is now; None if nothing is."""
    found = connection.search(item.dn, _EVERYTHING, ["*"], ldap.SCOPE_BASE)
    current = found[0].entry if found else None
    if current is None or item.new is None:
        return None if current is None and item.new is None else EntryChange(item.dn, current, item.new)
    new = rebased(current, item.old or {}, item.new)
    return EntryChange(item.dn, current, new) if difference(current, new) else None


def write_request(item: EntryChange) -> Write | None:
    """What to ask the server for; None for nothing."""
    if item.new is None:
        return Write(item.dn, None, csn=item.csn)
    if item.old is None:
        return Write(item.dn, [], entry=item.new)
    modifications = difference(item.old, item.new)
    return Write(item.dn, modifications, csn=item.csn) if modifications else None


def create_container(connection: Connection, dn: str) -> None:
    """Make the entry below which others are to stand, if it isn't there."""
    if connection.search(dn, "(objectClass=*)", ["1.1"], ldap.SCOPE_BASE):
        return
    kind, value, _ = str2dn(dn)[0][0]
    if kind.lower() != "ou":
        raise ConfigError(f"{connection.uri}: there is no {dn}", "make it with the tools of the LDAP server")
    entry = {"objectClass": [b"organizationalUnit"], "ou": [value.encode()]}
    for one, error in connection.write([Write(dn, [], entry=entry)]):
        if error is not None:
            raise translated(error, connection.uri, one.dn)
