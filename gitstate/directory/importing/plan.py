"""Plans for adding clients: several of the same values, or the machines of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gitstate.core.errors import GitstateError, UsageError
from gitstate.directory.importing.hosts import HostList, HostRow, LineNote
from gitstate.directory.model.channels import no_such_channel
from gitstate.directory.model.clients import Client, normalized, refuse_duplicate_addresses
from gitstate.directory.plan import ClientChange, Plan, check_pin, plan_add
from gitstate.directory.protocol import Directory
from gitstate.store.site import Site

KNOWN_ADDRESS: Final = "address of another client"
_SETS: Final = ("macs", "ips", "layers")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import a list.

    ``defaults`` are values for new clients that the list doesn't give. ``update``: change existing clients that differ.
    ``leased_ips``: take the addresses of leases as the clients' own.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    update: bool = False
    leased_ips: bool = False


@dataclass(frozen=True, slots=True)
class ListImport:
    """The plan for a list; ``differing`` clients change only with ``update``, ``same`` is how many needn't change."""

    plan: Plan
    bad: tuple[LineNote, ...]
    left_out: tuple[LineNote, ...]
    ignored: tuple[LineNote, ...]
    differing: tuple[ClientChange, ...]
    same: int

    def counts(self) -> str:
        """Return a short summary: ``2 added, 1 changed``."""
        count = Counter("changed" if change.old else "added" for change in self.plan.changes)
        return ", ".join(f"{count[word]} {word}" for word in ("added", "changed") if count[word]) or "nothing"

    def message(self, source: str) -> str:
        """Return the default commit message."""
        return "\n".join([f"client import {source}: {self.counts()}", "", *self.plan.describe()])


def plan_new(site: Site, directory: Directory, names: Sequence[str], values: Mapping[str, Any]) -> Plan:
    """Plan one new client or several of the same values. Raises UsageError, NotFoundError."""
    if len(names) > 1 and (values.get("macs") or values.get("ips")):
        raise UsageError("an address belongs to one client", "give --mac and --ip with one NAME, or import a list")
    first = plan_add(site, directory, Client(names[0], **values))
    clients = directory.clients()
    changes = list(first.changes)
    for name in names[1:]:
        if name in clients:
            raise UsageError(f"there is a client {name} already", f"gitstate client set {name} changes it")
        assert changes[0].new is not None
        changes.append(ClientChange(None, replace(changes[0].new, name=name)))
    return Plan(directory, "add", tuple(changes))


def plan_import(site: Site, directory: Directory, listing: HostList, options: ImportOptions) -> ListImport:
    """Plan the clients of a list. Raises UsageError, NotFoundError for defaults that can't be."""
    _check_values(site, directory, options.defaults)
    clients = directory.clients()
    rows, bad = _merged(_without_leased_ips(listing.rows, options))
    bad += _unknown(site, directory, rows, clients)
    bad_lines = {note.line for note in bad}
    changes, differing, same = [], [], 0
    lines: dict[str, HostRow] = {}
    for row in rows:
        change = _change(row, clients.get(row.name), options)
        if row.line in bad_lines:
            continue
        if change.old == change.new:
            same += 1
        elif change.old is not None and not options.update:
            differing.append(change)
        else:
            changes.append(change)
            lines[row.name] = row
    kept, conflicts, known = _without_duplicates(clients, changes, lines)
    plan = Plan(directory, "import", tuple(kept))
    new = {change.name: change.new for change in kept if change.new}
    refuse_duplicate_addresses((client for _, client in sorted({**clients, **new}.items())), new)
    return ListImport(
        plan,
        tuple(sorted([*listing.bad, *bad, *conflicts], key=lambda one: one.line)),
        tuple(sorted([*listing.left_out, *known], key=lambda one: one.line)),
        tuple(listing.ignored),
        tuple(differing),
        same,
    )


def _without_leased_ips(rows: Iterable[HostRow], options: ImportOptions) -> Iterable[HostRow]:
    """Yield the rows, leases without their addresses unless these are wanted."""
    for row in rows:
        if row.lease and not options.leased_ips:
            row = replace(row, values={key: value for key, value in row.values.items() if key != "ips"})
        yield row


# --- one row for a name -----------------------------------------------------------------------------------------------


def _merged(rows: Iterable[HostRow]) -> tuple[list[HostRow], list[LineNote]]:
    """Merge rows of one name; return the rows, and notes on those that contradict each other."""
    found: dict[str, HostRow] = {}
    bad = []
    for row in rows:
        first = found.setdefault(row.name, row)
        if first is row:
            continue
        why = _contradiction(first, row)
        if why:
            bad.append(LineNote(row.line, why))
        else:
            found[row.name] = replace(first, values=_union(first.values, row.values))
    return list(found.values()), bad


def _contradiction(first: HostRow, row: HostRow) -> str:
    if first.full_name != row.full_name:
        return f"{row.full_name} and {first.full_name} (line {first.line}) have the same short name"
    if first.lease or row.lease:
        mine, others = set(row.values.get("macs", ())), set(first.values.get("macs", ()))
        if mine and others and not mine <= others and not others <= mine:
            return f"two machines use the name {row.name}, the other in line {first.line}"
    for key, value in row.values.items():
        if key not in _SETS and first.values.get(key, value) != value:
            return f"{row.name} has a different {key} in line {first.line}"
    return ""


def _union(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(first)
    for key, value in second.items():
        found[key] = tuple(dict.fromkeys((*found[key], *value))) if key in _SETS and key in found else value
    return found


# --- against the directory --------------------------------------------------------------------------------------------


def _change(row: HostRow, old: Client | None, options: ImportOptions) -> ClientChange:
    values = {key: value for key, value in row.values.items() if value}
    if old is None:
        return ClientChange(None, normalized(Client(row.name, **{**options.defaults, **values})))
    if row.lease:  # a further network card
        values |= {key: (*getattr(old, key), *values[key]) for key in ("macs", "ips") if key in values}
    return ClientChange(old, normalized(replace(old, **values)))


def _unknown(
    site: Site, directory: Directory, rows: Sequence[HostRow], clients: Mapping[str, Client]
) -> list[LineNote]:
    """Return notes on the rows whose pin or channel doesn't exist."""
    errors: dict[tuple[str, Any], GitstateError | None] = {}
    bad = []
    for row in rows:
        for key in ("pin", "channel"):
            value = row.values.get(key)
            old = clients.get(row.name)
            if not value or (old is not None and getattr(old, key) == value):
                continue
            if (key, value) not in errors:
                errors[key, value] = _error(site, directory, {key: value})
            if error := errors[key, value]:
                bad.append(LineNote(row.line, error.message))
                break
    return bad


def _error(site: Site, directory: Directory, values: Mapping[str, Any]) -> GitstateError | None:
    try:
        _check_values(site, directory, values)
    except GitstateError as error:
        return error
    return None


def _check_values(site: Site, directory: Directory, values: Mapping[str, Any]) -> None:
    """Raise NotFoundError unless pin and channel exist."""
    if channel := values.get("channel"):
        channels = directory.channels()
        if channel not in channels:
            raise no_such_channel(channel, channels)
    if pin := values.get("pin"):
        check_pin(site, pin)


def _without_duplicates(
    clients: Mapping[str, Client], changes: Sequence[ClientChange], rows: Mapping[str, HostRow]
) -> tuple[list[ClientChange], list[LineNote], list[LineNote]]:
    """Return the changes without duplicate addresses, notes on the others, and notes on leases of known clients."""
    changed = {change.name for change in changes}
    owners = {
        address: one.name for one in clients.values() if one.name not in changed for address in one.macs + one.ips
    }
    kept, bad, known = [], [], []
    for change in changes:
        assert change.new is not None
        row = rows[change.name]
        addresses = change.new.macs + change.new.ips
        taken = next((one for one in addresses if one in owners), None)
        if taken is None:
            kept.append(change)
            owners |= dict.fromkeys(addresses, change.name)
            continue
        owner = owners[taken]
        if row.lease and owner not in rows:
            known.append(LineNote(row.line, KNOWN_ADDRESS))
        else:
            where = f" (line {rows[owner].line})" if owner in rows else ""
            bad.append(LineNote(row.line, f"{taken} can't be assigned to {change.name}: {owner} has it{where}"))
    return kept, bad, known
