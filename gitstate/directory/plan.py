"""Changes of clients: looked at first, then made in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import Pin
from gitstate.core.signature import Signature
from gitstate.core.wording import did_you_mean, nearest
from gitstate.directory.model.channels import no_such_channel
from gitstate.directory.model.clients import Client, no_such_client, normalized, refuse_duplicate_addresses
from gitstate.directory.protocol import Directory
from gitstate.store.site import Site

_WORDS: Final = {
    "macs": "MAC",
    "ips": "IP",
    "kind": "kind",
    "channel": "channel",
    "pin": "pin",
    "workload": "workload",
    "classes": "class",
    "layers": "layer",
    "state": "state",
}
_NAMED: Final = 3
_PLAIN: Final = Client("")


@dataclass(frozen=True, slots=True)
class ClientChange:
    """What becomes of one client: None where it wasn't there before, or won't be."""

    old: Client | None
    new: Client | None

    @property
    def name(self) -> str:
        """Whose step it is."""
        client = self.new or self.old
        assert client is not None
        return client.name

    def words(self) -> str:
        """What it changes, for people."""
        if self.new is None:
            return ""
        old = self.old or _PLAIN
        return ", ".join(
            _words(word, getattr(old, key), getattr(self.new, key)) for key, word in _differing(old, self.new)
        )


def _differing(old: Client, new: Client) -> Iterator[tuple[str, str]]:
    return ((key, word) for key, word in _WORDS.items() if getattr(old, key) != getattr(new, key))


def _words(word: str, old: object, new: object) -> str:
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
    """Changes to be made together; ``verb`` is ``add``, ``set`` or ``remove``."""

    directory: Directory
    verb: str
    steps: tuple[ClientChange, ...]

    def describe(self) -> list[str]:
        """What will be done, a line each."""
        return [f"{step.name}: {step.words()}".removesuffix(": ") for step in self.steps]

    @property
    def message(self) -> str:
        """What history says of it unless somebody says more."""
        lines = self.describe()
        if len(lines) == 1:
            return f"client {self.verb} {lines[0]}"
        names = [step.name for step in self.steps]
        who = f"{len(names)} clients" if len(names) > _NAMED else ", ".join(names)
        same = {step.words() for step in self.steps}
        what = f": {same.pop()}" if len(same) == 1 else ""
        return "\n".join([f"client {self.verb} {who}{what}".removesuffix(": "), "", *lines])


def plan_add(site: Site, directory: Directory, client: Client) -> Plan:
    """Plan a new client. Raises UsageError, NotFoundError."""
    clients = directory.clients()
    if client.name in clients:
        raise UsageError(f"there is a client {client.name} already", f"gitstate client set {client.name} changes it")
    return _checked(site, directory, "add", clients, [ClientChange(None, normalized(client))])


def plan_set(site: Site, directory: Directory, names: Sequence[str], values: Mapping[str, Any]) -> Plan:
    """Plan new values, by the keys of ``Client``, for all of ``names``. Raises UsageError, NotFoundError."""
    clients = directory.clients()
    steps = []
    for name in dict.fromkeys(names):
        if name not in clients:
            raise no_such_client(name, clients)
        new = normalized(replace(clients[name], **values))
        if new != clients[name]:
            steps.append(ClientChange(clients[name], new))
    return _checked(site, directory, "set", clients, steps)


def plan_remove(directory: Directory, names: Iterable[str]) -> Plan:
    """Plan to remove clients. Raises NotFoundError."""
    clients = directory.clients()
    steps = []
    for name in dict.fromkeys(names):
        if name not in clients:
            raise no_such_client(name, clients)
        steps.append(ClientChange(clients[name], None))
    return Plan(directory, "remove", tuple(steps))


def _checked(
    site: Site, directory: Directory, verb: str, clients: Mapping[str, Client], steps: Iterable[ClientChange]
) -> Plan:
    plan = Plan(directory, verb, tuple(steps))
    new = {step.new.name: step.new for step in plan.steps if step.new}
    refuse_duplicate_addresses((client for _, client in sorted({**clients, **new}.items())), new)
    channels = sorted(_asked(plan, "channel"))
    known = directory.channels() if channels else {}
    for channel in channels:
        if channel not in known:
            raise no_such_channel(channel, known)
    for pin in sorted(_asked(plan, "pin")):
        check_pin(site, pin)
    return plan


def _asked(plan: Plan, key: str) -> set[Any]:
    """The values of ``key`` that clients are to get; those that they have already were looked at when they got them."""
    new = [(step.old, getattr(step.new, key)) for step in plan.steps if step.new]
    return {value for old, value in new if value and (old is None or getattr(old, key) != value)}


def check_pin(site: Site, pin: Pin) -> None:
    """Raise NotFoundError, with the nearest names, unless the prototype is there and has the revision."""
    if not site.repository_path(pin.prototype).is_dir():
        there = site.prototypes()
        near = nearest(pin.prototype, there) or there[:3]
        hint = did_you_mean(near, "gitstate prototype create makes one")
        raise NotFoundError(f"no prototype {pin.prototype}", hint)
    site.repository(pin.prototype).resolve(pin.revision)


def apply(plan: Plan, author: Signature, committer: Signature, message: str | None = None) -> None:
    """Make the changes in one step. Raises LockedError if the directory was changed since the plan."""
    put = [step.new for step in plan.steps if step.new]
    remove = [step.name for step in plan.steps if step.new is None]
    plan.directory.change(put, remove, author, plan.message if message is None else message, committer)
