"""What a report of hardware changes, and what a change of the rules for hardware classes does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gitstate.core.signature import Signature
from gitstate.directory import Client, Directory, HardwareClass, open_directory
from gitstate.directory.model.classes import normalized
from gitstate.machine.hardware import match as hardware
from gitstate.machine.hardware import probe
from gitstate.machine.hardware.reports import Reports
from gitstate.machine.layers import Classes, load
from gitstate.store.lock import retry
from gitstate.store.site import Site


def matches(site: Site, report: Mapping[str, Any]) -> tuple[hardware.Match, ...]:
    """The classes that the rules of ``site`` say, and why."""
    return _matches(site, open_directory(site).classes().values(), report)


def _matches(site: Site, rules: Iterable[HardwareClass], report: Mapping[str, Any]) -> tuple[hardware.Match, ...]:
    return hardware.matches_of(rules, probe.modaliases(report), load(site).classes is Classes.ALL)


def _names(why: Iterable[hardware.Match]) -> tuple[str, ...]:
    return tuple(sorted(one.name for one in why))


# --- a report ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """What becomes of a report: whether it is kept, and the machine's classes by the rules, ``why`` with them.

    ``before`` are its classes so far; without any rule they stay.
    """

    site: Site
    host: str
    report: Mapping[str, Any]
    is_news: bool
    before: tuple[str, ...]
    classes: tuple[str, ...]
    why: tuple[hardware.Match, ...]


def plan_report(site: Site, host: str, data: bytes) -> ReportPlan:
    """Look into a report of the client ``host``. Raises NotFoundError, UsageError."""
    directory = open_directory(site)
    client = directory.client(host)
    report = probe.parse_report(data)
    rules = directory.classes()
    why = _matches(site, rules.values(), report)
    classes = _names(why) if rules else client.classes
    is_news = Reports(site).is_news(client.name, report)
    return ReportPlan(site, client.name, report, is_news, client.classes, classes, why)


def apply_report(plan: ReportPlan, author: Signature, committer: Signature) -> None:
    """Keep the report and set the client's classes.

    Raises NotFoundError if the client is gone, LockedError after a minute.
    """
    retry(lambda: Reports(plan.site).put(plan.host, plan.report, (author, committer)))
    message = f"{plan.host} reports its hardware: {' '.join(plan.classes) or 'no class'}"

    def set_classes() -> None:
        directory = open_directory(plan.site)
        client = directory.client(plan.host)
        directory.change([replace(client, classes=plan.classes)], [], author, message, committer)

    if plan.classes != plan.before:
        retry(set_classes)


# --- rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RulesPlan:
    """Rules ``put`` and ``removed``, and the ``clients`` whose classes, by what they last reported, are others then."""

    site: Site
    directory: Directory
    put: tuple[HardwareClass, ...]
    removed: tuple[str, ...]
    clients: tuple[tuple[Client, Client], ...]
    """Each as it is, and as it will be."""


def plan_rules(site: Site, put: Iterable[HardwareClass], remove: Iterable[str]) -> RulesPlan:
    """Plan to change rules. Raises NotFoundError for a class to remove that there isn't, UsageError."""
    directory = open_directory(site)
    standing = directory.classes()
    removed = tuple(dict.fromkeys(remove))
    for name in removed:
        if name not in standing:
            from gitstate.directory import no_such_class

            raise no_such_class(name, standing)
    new = tuple(one for one in map(normalized, put) if standing.get(one.name) != one)
    rules = {name: one for name, one in standing.items() if name not in removed} | {one.name: one for one in new}
    ordered = sorted(rules.values(), key=lambda one: (one.order, one.name))
    clients = tuple(_reclassified(site, directory, ordered)) if ordered else ()
    return RulesPlan(site, directory, new, removed, clients)


def _reclassified(site: Site, directory: Directory, rules: list[HardwareClass]) -> Iterable[tuple[Client, Client]]:
    reports = Reports(site).all()
    clients = directory.clients() if reports else {}
    every = load(site).classes is Classes.ALL
    for name in sorted(reports.keys() & clients.keys()):
        why = hardware.matches_of(rules, probe.modaliases(reports[name]), every)
        if _names(why) != clients[name].classes:
            yield clients[name], replace(clients[name], classes=_names(why))


def apply_rules(plan: RulesPlan, author: Signature, committer: Signature, message: str) -> None:
    """Change the rules, then the clients. Raises LockedError if the directory was changed since the plan."""
    if plan.put or plan.removed:
        plan.directory.change_classes(plan.put, plan.removed, author, message, committer)
    if plan.clients:
        plan.directory.change([new for _, new in plan.clients], [], author, message, committer)
