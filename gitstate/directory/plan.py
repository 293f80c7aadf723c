"""Changes of clients, planned and then made in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gitstate.core import fs
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import Pin
from gitstate.core.signature import Signature
from gitstate.core.wording import did_you_mean, nearest
from gitstate.directory.model.channels import no_such_channel
from gitstate.directory.model.clients import (
    Client,
    no_such_client,
    normalized,
    refuse_duplicate_addresses,
    refuse_two_maintainers,
)
from gitstate.directory.model.ldif import client_entry
from gitstate.directory.protocol import Directory
from gitstate.store.site import Site

_LABELS: Final = {
    "macs": "MAC",
    "ips": "IP",
    "kind": "kind",
    "channel": "channel",
    "pin": "pin",
    "workload": "workload",
    "classes": "class",
    "layers": "layer",
    "state": "state",
    "maintains": "maintains",
}
_NAMED: Final = 3
_PLAIN: Final = Client("")


@dataclass(frozen=True, slots=True)
class ClientChange:
    """A client before and after; None where there is none."""

    old: Client | None
    new: Client | None

    @property
    def name(self) -> str:
        """The client's name."""
        client = self.new or self.old
        assert client is not None
        return client.name

    def describe(self) -> str:
        """Return what changes: ``pin desktop@v1 -> desktop@v2``."""
        if self.new is None:
            return ""
        old = self.old or _PLAIN
        return ", ".join(
            _difference(word, getattr(old, key), getattr(self.new, key)) for key, word in _differing(old, self.new)
        )


def _differing(old: Client, new: Client) -> Iterator[tuple[str, str]]:
    return ((key, word) for key, word in _LABELS.items() if getattr(old, key) != getattr(new, key))


def _difference(word: str, old: object, new: object) -> str:
    before, after = _shown(old), _shown(new)
    if not after:
        return f"no {word}"
    return f"{word} {before} -> {after}" if before else f"{word} {after}"


def _shown(value: object) -> str:
    if isinstance(value, Pin) or not isinstance(value, tuple):
        return "" if value is None else str(value)
    return " ".join(map(str, value))


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes to be made together; ``verb`` is that of the command."""

    directory: Directory
    verb: str
    changes: tuple[ClientChange, ...]

    def describe(self) -> list[str]:
        """Return a line for each change."""
        return [f"{change.name}: {change.describe()}".removesuffix(": ") for change in self.changes]

    @property
    def message(self) -> str:
        """The default commit message."""
        lines = self.describe()
        if len(lines) == 1:
            return f"client {self.verb} {lines[0]}"
        names = [change.name for change in self.changes]
        subject = f"{len(names)} clients" if len(names) > _NAMED else ", ".join(names)
        same = {change.describe() for change in self.changes}
        what = f": {same.pop()}" if len(same) == 1 else ""
        return "\n".join([f"client {self.verb} {subject}{what}".removesuffix(": "), "", *lines])


def plan_add(site: Site, directory: Directory, client: Client) -> Plan:
    """Plan a new client. Raises UsageError, NotFoundError."""
    clients = directory.clients()
    if client.name in clients:
        raise UsageError(f"there is a client {client.name} already", f"gitstate client set {client.name} changes it")
    return _checked(site, directory, "add", clients, [ClientChange(None, normalized(client))])


def plan_set(site: Site, directory: Directory, names: Sequence[str], values: Mapping[str, Any]) -> Plan:
    """Plan new values, by the keys of ``Client``, for all of ``names``. Raises UsageError, NotFoundError."""
    clients = directory.clients()
    changes = []
    for name in dict.fromkeys(names):
        if name not in clients:
            raise no_such_client(name, clients)
        new = normalized(replace(clients[name], **values))
        if new != clients[name]:
            changes.append(ClientChange(clients[name], new))
    return _checked(site, directory, "set", clients, changes)


def plan_remove(directory: Directory, names: Iterable[str]) -> Plan:
    """Plan to remove clients. Raises NotFoundError."""
    clients = directory.clients()
    changes = []
    for name in dict.fromkeys(names):
        if name not in clients:
            raise no_such_client(name, clients)
        changes.append(ClientChange(clients[name], None))
    return Plan(directory, "remove", tuple(changes))


def _checked(
    site: Site, directory: Directory, verb: str, clients: Mapping[str, Client], changes: Iterable[ClientChange]
) -> Plan:
    plan = Plan(directory, verb, tuple(changes))
    new = {change.new.name: change.new for change in plan.changes if change.new}
    together = [client for _, client in sorted({**clients, **new}.items())]
    refuse_duplicate_addresses(together, new)
    refuse_two_maintainers(together, new)
    channels = sorted(_requested(plan, "channel"))
    known = directory.channels() if channels else {}
    for channel in channels:
        if channel not in known:
            raise no_such_channel(channel, known)
    for pin in sorted(_requested(plan, "pin")):
        check_pin(site, pin)
    for prototype in sorted(_requested(plan, "maintains")):
        check_prototype(site, prototype)
    return plan


def _requested(plan: Plan, key: str) -> set[Any]:
    """Return the new values of ``key``; existing ones were checked when they were set."""
    new = [(change.old, getattr(change.new, key)) for change in plan.changes if change.new]
    return {value for old, value in new if value and (old is None or getattr(old, key) != value)}


def check_pin(site: Site, pin: Pin) -> None:
    """Raise NotFoundError unless the prototype exists and has the revision."""
    check_prototype(site, pin.prototype)
    site.repository(pin.prototype).resolve(pin.revision)


def check_prototype(site: Site, name: str) -> None:
    """Raise NotFoundError unless the prototype exists."""
    if not fs.has_directory(site.repository_path(name)):
        there = site.prototypes()
        near = nearest(name, there) or there[:3]
        hint = did_you_mean(near, "gitstate prototype create makes one")
        raise NotFoundError(f"no prototype {name}", hint)


def check(plan: Plan) -> None:
    """Raise UsageError for what can't be recorded."""
    for change in plan.changes:
        if change.new is not None:
            client_entry(change.new)


def apply(plan: Plan, author: Signature, committer: Signature, message: str | None = None) -> None:
    """Make the changes in one step. Raises LockedError if the directory was changed since the plan."""
    put = [change.new for change in plan.changes if change.new]
    remove = [change.name for change in plan.changes if change.new is None]
    plan.directory.change(put, remove, author, plan.message if message is None else message, committer)
