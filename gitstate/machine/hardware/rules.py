"""Take reports of hardware, and change the rules of hardware classes; both may change clients' classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gitstate.core.signature import Signature
from gitstate.directory import Client, Directory, HardwareClass, no_such_class
from gitstate.directory.model.classes import normalized
from gitstate.machine.hardware import match as hardware
from gitstate.machine.hardware import probe
from gitstate.machine.hardware.probe import Running
from gitstate.machine.hardware.reports import Reports
from gitstate.machine.layers import Classes, load
from gitstate.store.lock import retry
from gitstate.store.site import Site


def matches(site: Site, rules: Iterable[HardwareClass], report: Mapping[str, Any]) -> tuple[hardware.Match, ...]:
    """The classes of a machine by ``rules``, and why."""
    return hardware.matches_of(rules, probe.modaliases(report), load(site).classes is Classes.ALL)


def _names(why: Iterable[hardware.Match]) -> tuple[str, ...]:
    return tuple(sorted(one.name for one in why))


# --- a report ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """A report, whether it is new, and the machine's classes by the rules, with the reasons (``why``).

    ``before`` are its classes so far; without rules they stay. ``running`` is None if it doesn't say.
    """

    site: Site
    host: str
    report: Mapping[str, Any]
    running: Running | None
    is_news: bool
    before: tuple[str, ...]
    classes: tuple[str, ...]
    why: tuple[hardware.Match, ...]


def plan_report(site: Site, directory: Directory, host: str, data: bytes) -> ReportPlan:
    """Parse a report of the client ``host``. Raises NotFoundError, UsageError."""
    client = directory.client(host)
    report, running = probe.split_running(probe.parse_report(data))
    rules = directory.classes()
    why = matches(site, rules.values(), report)
    classes = _names(why) if rules else client.classes
    is_news = Reports(site).is_news(client.name, report)
    return ReportPlan(site, client.name, report, running, is_news, client.classes, classes, why)


def apply_report(
    plan: ReportPlan, open_directory: Callable[[], Directory], author: Signature, committer: Signature
) -> None:
    """Keep the report and set the client's classes; ``open_directory`` is called for each try.

    Raises NotFoundError if the client is gone, LockedError after a minute.
    """
    retry(lambda: Reports(plan.site).put(plan.host, plan.report, (author, committer), plan.running))
    message = f"{plan.host} reports its hardware: {' '.join(plan.classes) or 'no class'}"

    def set_classes() -> None:
        directory = open_directory()
        client = directory.client(plan.host)
        directory.change([replace(client, classes=plan.classes)], [], author, message, committer)

    if plan.classes != plan.before:
        retry(set_classes)


# --- rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RulesPlan:
    """Rules to ``put`` and ``removed`` ones, and the ``clients`` whose classes change, by their last reports."""

    directory: Directory
    put: tuple[HardwareClass, ...]
    removed: tuple[str, ...]
    clients: tuple[tuple[Client, Client], ...]
    """Each as it is, and as it will be."""


def plan_rules(site: Site, directory: Directory, put: Iterable[HardwareClass], remove: Iterable[str]) -> RulesPlan:
    """Plan to change rules. Raises NotFoundError for a class to remove that doesn't exist, UsageError."""
    standing = directory.classes()
    removed = tuple(dict.fromkeys(remove))
    for name in removed:
        if name not in standing:
            raise no_such_class(name, standing)
    new = tuple(one for one in map(normalized, put) if standing.get(one.name) != one)
    rules = {name: one for name, one in standing.items() if name not in removed} | {one.name: one for one in new}
    ordered = sorted(rules.values(), key=lambda one: (one.order, one.name))
    clients = tuple(_reclassified(site, directory, ordered)) if ordered else ()
    return RulesPlan(directory, new, removed, clients)


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
