"""From a list of machines to a plan: who is new, who differs, and which lines can't be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gitstate.core.errors import GitstateError, UsageError
from gitstate.directory.importing.lists import HostList, LineNote, Row
from gitstate.directory.model.channels import no_such_channel
from gitstate.directory.model.clients import Client, normalized, refuse_duplicate_addresses
from gitstate.directory.plan import ClientChange, Plan, check_pin, plan_add
from gitstate.directory.protocol import Directory
from gitstate.store.site import Site

KNOWN: Final = "address of another client"
_SETS: Final = ("macs", "ips", "layers")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a list is to be taken.

    ``defaults`` are values for new clients, where the list says nothing. ``update``: clients that differ become as
    the list says. ``leased_ips``: addresses of leases become the clients' own.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    update: bool = False
    leased_ips: bool = False


@dataclass(frozen=True, slots=True)
class ListImport:
    """What a list would do.

    ``differing`` are clients that would change if ``update`` were wished, ``same`` is how many are so already.
    """

    plan: Plan
    bad: tuple[LineNote, ...]
    left_out: tuple[LineNote, ...]
    differing: tuple[ClientChange, ...]
    same: int

    def counts(self) -> str:
        """In few words, for history."""
        count = Counter("changed" if step.old else "added" for step in self.plan.steps)
        return ", ".join(f"{count[word]} {word}" for word in ("added", "changed") if count[word]) or "nothing"

    def message(self, source: str) -> str:
        """What history says of it unless somebody says more."""
        return "\n".join([f"client import {source}: {self.counts()}", "", *self.plan.describe()])


def plan_new(site: Site, directory: Directory, names: Sequence[str], values: Mapping[str, Any]) -> Plan:
    """Plan one new client or several of the same values. Raises UsageError, NotFoundError."""
    if len(names) > 1 and (values.get("macs") or values.get("ips")):
        raise UsageError("an address belongs to one client", "give --mac and --ip with one NAME, or import a list")
    first = plan_add(site, directory, Client(names[0], **values))
    clients = directory.clients()
    steps = list(first.steps)
    for name in names[1:]:
        if name in clients:
            raise UsageError(f"there is a client {name} already", f"gitstate client set {name} changes it")
        assert steps[0].new is not None
        steps.append(ClientChange(None, replace(steps[0].new, name=name)))
    return Plan(directory, "add", tuple(steps))


def plan_import(site: Site, directory: Directory, listing: HostList, options: ImportOptions) -> ListImport:
    """Plan the clients of a list. Raises UsageError, NotFoundError for defaults that can't be."""
    _check_values(site, directory, options.defaults)
    clients = directory.clients()
    rows, bad = _merged(_taken(listing.rows, options))
    bad += _unknown(site, directory, rows, clients)
    worse = {remark.line for remark in bad}
    steps, differing, same = [], [], 0
    lines: dict[str, Row] = {}
    for row in rows:
        step = _step(row, clients.get(row.name), options)
        if row.line in worse:
            continue
        if step.old == step.new:
            same += 1
        elif step.old is not None and not options.update:
            differing.append(step)
        else:
            steps.append(step)
            lines[row.name] = row
    kept, clashes, strangers = _without_clashes(clients, steps, lines)
    plan = Plan(directory, "import", tuple(kept))
    new = {step.name: step.new for step in kept if step.new}
    refuse_duplicate_addresses((client for _, client in sorted({**clients, **new}.items())), new)
    return ListImport(
        plan,
        tuple(sorted([*listing.bad, *bad, *clashes], key=lambda one: one.line)),
        tuple(sorted([*listing.left_out, *strangers], key=lambda one: one.line)),
        tuple(differing),
        same,
    )


def _taken(rows: Iterable[Row], options: ImportOptions) -> Iterable[Row]:
    """The rows without what isn't wanted of them."""
    for row in rows:
        if row.lease and not options.leased_ips:
            row = replace(row, values={key: value for key, value in row.values.items() if key != "ips"})
        yield row


# --- one row for a name -----------------------------------------------------------------------------------------------


def _merged(rows: Iterable[Row]) -> tuple[list[Row], list[LineNote]]:
    """Rows of one name as one, where they agree; what is wrong with the others."""
    found: dict[str, Row] = {}
    bad = []
    for row in rows:
        first = found.setdefault(row.name, row)
        if first is row:
            continue
        why = _disagreement(first, row)
        if why:
            bad.append(LineNote(row.line, why))
        else:
            found[row.name] = replace(first, values=_union(first.values, row.values))
    return list(found.values()), bad


def _disagreement(first: Row, row: Row) -> str:
    if first.said != row.said:
        return f"{row.said} and {first.said} (line {first.line}) have one short name"
    if first.lease or row.lease:
        mine, others = set(row.values.get("macs", ())), set(first.values.get("macs", ()))
        if mine and others and not mine <= others and not others <= mine:
            return f"two machines call themselves {row.name}: another did in line {first.line}"
    for key, value in row.values.items():
        if key not in _SETS and first.values.get(key, value) != value:
            return f"{row.name} has another {key} in line {first.line}"
    return ""


def _union(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(first)
    for key, value in second.items():
        found[key] = tuple(dict.fromkeys((*found[key], *value))) if key in _SETS and key in found else value
    return found


# --- against the directory --------------------------------------------------------------------------------------------


def _step(row: Row, old: Client | None, options: ImportOptions) -> ClientChange:
    values = {key: value for key, value in row.values.items() if value}
    if old is None:
        return ClientChange(None, normalized(Client(row.name, **{**options.defaults, **values})))
    if row.lease:  # it has that card, too
        values |= {key: (*getattr(old, key), *values[key]) for key in ("macs", "ips") if key in values}
    return ClientChange(old, normalized(replace(old, **values)))


def _unknown(site: Site, directory: Directory, rows: Sequence[Row], clients: Mapping[str, Client]) -> list[LineNote]:
    """The rows whose pin or channel doesn't exist."""
    faults: dict[tuple[str, Any], GitstateError | None] = {}
    bad = []
    for row in rows:
        for key in ("pin", "channel"):
            value = row.values.get(key)
            old = clients.get(row.name)
            if not value or (old is not None and getattr(old, key) == value):
                continue
            if (key, value) not in faults:
                faults[key, value] = _fault(site, directory, {key: value})
            if fault := faults[key, value]:
                bad.append(LineNote(row.line, fault.message))
                break
    return bad


def _fault(site: Site, directory: Directory, values: Mapping[str, Any]) -> GitstateError | None:
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


def _without_clashes(
    clients: Mapping[str, Client], steps: Sequence[ClientChange], rows: Mapping[str, Row]
) -> tuple[list[ClientChange], list[LineNote], list[LineNote]]:
    """The steps in which no address is another's; the lines of the others: wrong ones, and leases of known machines."""
    changed = {step.name for step in steps}
    owners = {
        address: one.name for one in clients.values() if one.name not in changed for address in one.macs + one.ips
    }
    kept, bad, strangers = [], [], []
    for step in steps:
        assert step.new is not None
        row = rows[step.name]
        addresses = step.new.macs + step.new.ips
        taken = next((one for one in addresses if one in owners), None)
        if taken is None:
            kept.append(step)
            owners |= dict.fromkeys(addresses, step.name)
            continue
        owner = owners[taken]
        if row.lease and owner not in rows:
            strangers.append(LineNote(row.line, KNOWN))
        else:
            where = f" (line {rows[owner].line})" if owner in rows else ""
            bad.append(LineNote(row.line, f"{taken} can't be {step.name}'s: {owner} has it{where}"))
    return kept, bad, strangers
