"""client: who runs what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import click

from gitstate import names, settings
from gitstate.cli.app import Session, common, complete_repository, pass_session, writes
from gitstate.cli.app import names as printing_names
from gitstate.cli.client_values import (
    client_values,
    complete_client,
    many_names,
    one_name,
    parsed,
    parsed_option,
    removals,
    wanted,
    who_and_why,
)
from gitstate.cli.help import Group
from gitstate.cli.output import date, emit, moment, printable, table, talk, write_name
from gitstate.directory import DEFAULT_STATE, Client, Kind, model, open_directory, plan
from gitstate.directory.protocol import LastChange
from gitstate.errors import UsageFault

_DONE: Final = {"add": "added", "set": "set", "remove": "removed"}


@click.group(cls=Group, examples=("gitstate client list", "gitstate client add --help"))
@common
def client() -> None:
    """Say which machine runs what.

    A client is a machine's entry in the directory: its name, its addresses, and
    the snapshot that it boots.
    """


# --- changes ----------------------------------------------------------------------------------------------------------


@client.command(
    examples=(
        "gitstate client add lab3-12 --mac 52:54:00:12:34:56 --pin desktop@v12",
        "gitstate client add lab3-13 --mac 525400123457 \\\n    --ip 10.77.0.13 --pin desktop@v12 --workload kiosk",
    )
)
@click.argument("name", callback=parsed(names.host_name))
@client_values
@who_and_why
@common
@writes
@pass_session
def add(session: Session, /, name: str, message: str | None, author: str | None, **values: Any) -> None:
    """Enter a machine as the client NAME.

    NAME is its host name. No two clients have one MAC or one IP; the snapshot
    that it is pinned to must exist. It boots so after the next boot write.
    """
    given = {key: value for key, value in values.items() if value}
    directory = open_directory(session.site)
    _make(session, plan.plan_add(session.site, directory, Client(name, **given)), message, author)


@client.command(
    "set",
    examples=(
        "gitstate client set lab3-12 --pin desktop@v13",
        "gitstate client set lab3-12 lab3-13 --kind diskless --no-pin",
        "gitstate client set lab3-12 --mac 52:54:00:aa:bb:cc -m 'new network card'",
    ),
)
@many_names
@client_values
@removals
@who_and_why
@common
@writes
@pass_session
def set_(session: Session, /, hosts: tuple[str, ...], message: str | None, author: str | None, **options: Any) -> None:
    """Change clients: only what is named, for all of them at once.

    --mac, --ip and --layer say all that the client has from now on.
    """
    values = wanted(options)
    if len(set(hosts)) > 1 and (values.get("macs") or values.get("ips")):
        raise UsageFault("an address belongs to one client", "set --mac and --ip for one client at a time")
    directory = open_directory(session.site)
    _make(session, plan.plan_set(session.site, directory, hosts, values), message, author)


@client.command(examples=("gitstate client remove lab3-12", "gitstate client remove lab3-12 lab3-13 -m 'sold'"))
@many_names
@who_and_why
@common
@writes
@pass_session
def remove(session: Session, hosts: tuple[str, ...], message: str | None, author: str | None) -> None:
    """Remove clients. History keeps their entries."""
    _make(session, plan.plan_remove(open_directory(session.site), hosts), message, author)


def _make(session: Session, planned: plan.Plan, message: str | None, author: str | None) -> None:
    """Make the changes, or say what they would be."""
    if message is not None and not message.strip():
        raise UsageFault("an empty message says nothing", "leave out -m: history says what was changed")
    who = settings.author(session.settings, author)
    revision = None
    if planned.steps and not session.dry_run:
        revision = plan.apply(planned, who, settings.committer(), message)
    word = f"would {planned.verb}" if session.dry_run else _DONE[planned.verb]
    value = {
        "changes": [
            {"name": step.name, "old": _as_json(step.old), "new": _as_json(step.new)} for step in planned.steps
        ],
        "revision": revision,
        "dry_run": session.dry_run,
    }
    lines = [f"{word} {line}" for line in planned.describe()]
    emit(session, f"client-{planned.verb}/1", value, lines or ["nothing to change"])
    if revision is not None:
        talk(session, "next: gitstate boot write")


# --- looks ------------------------------------------------------------------------------------------------------------


@client.command(
    "list",
    examples=("gitstate client list", "gitstate client list 'lab3-*' --prototype desktop", "gitstate client list -z"),
)
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, shell_complete=complete_client)
@parsed_option("--kind", "kind", "KIND", model.kind_of, "Only those of this kind.")
@parsed_option("--pin", "pin", "PROTOTYPE@REV", names.pin, "Only those that are pinned so.")
@parsed_option(
    "--prototype",
    "prototype",
    "NAME",
    names.repo_name,
    "Only those that are pinned to any snapshot of it.",
    shell_complete=complete_repository,
)
@click.option("--new", "unknown", is_flag=True, help="Machines that asked how to boot and aren't known.")
@common
@printing_names
@pass_session
def list_(
    session: Session,
    patterns: tuple[str, ...],
    kind: Kind | None,
    pin: names.Pin | None,
    prototype: str | None,
    unknown: bool,
) -> None:
    """List the clients, or those whose names match a PATTERN.

    A PATTERN is a name, or one with * and ? as in a shell.
    """
    raw, directory = session.raw, open_directory(session.site)
    clients = directory.clients()
    if unknown:
        if patterns or kind or pin or prototype:
            raise UsageFault("--new lists machines that aren't clients yet", "leave names and filters out")
        _list_new(session, clients, raw=raw)
        return
    found = [
        one
        for one in clients.values()
        if _matches(one.name, patterns)
        and (kind is None or one.kind is kind)
        and (pin is None or one.pin == pin)
        and (prototype is None or (one.pin is not None and one.pin.prototype == prototype))
    ]
    if raw:
        for one in found:
            write_name(one.name.encode())
        return
    value = {"revision": directory.revision() or None, "clients": [_as_json(one) for one in found]}
    emit(session, "client-list/1", value, [] if session.json else _table(found, colour=session.colour))
    if not clients:
        talk(session, "no clients yet: gitstate client add NAME --mac MAC --pin PROTOTYPE@REV")


def _list_new(session: Session, clients: Mapping[str, Client], *, raw: bool) -> None:
    """The machines of dnsmasq's log whose addresses no client has."""
    from gitstate import publish  # whoever asks for clients needn't wait for it

    known = {mac for one in clients.values() for mac in one.macs}
    found = [one for one in publish.machines_that_asked(session.site) if one.mac not in known]
    if raw:
        for one in found:
            write_name(one.mac.encode())
        return
    machines = [{"mac": one.mac, "ip": one.ip, "asked": one.when, "firmware": one.firmware} for one in found]
    rows = [(one.mac, one.ip or "-", one.when, one.firmware or "-") for one in found]
    lines = table(rows, ("MAC", "IP", "ASKED", "FIRMWARE"), colour=session.colour)
    emit(session, "client-list-new/1", {"machines": machines}, lines)
    if found:
        talk(session, f"next: gitstate client add NAME --mac {found[-1].mac} --pin PROTOTYPE@REV")
    else:
        talk(session, "no unknown machine has asked how to boot")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def _table(clients: Iterable[Client], *, colour: bool) -> list[str]:
    heads = ("NAME", "MAC", "IP", "RUNS", "KIND")
    rows = [
        (one.name, ",".join(one.macs) or "-", ",".join(one.ips) or "-", one.runs or "-", one.kind) for one in clients
    ]
    return table(rows, heads, colour=colour)


@client.command(examples=("gitstate client show lab3-12",))
@one_name
@common
@pass_session
def show(session: Session, name: str) -> None:
    """Tell all about one client, and who changed it last."""
    directory = open_directory(session.site)
    found, last = directory.client(name), directory.last_change(name)
    value = {"client": _as_json(found), "last_change": _last_as_json(last)}
    emit(session, "client-show/1", value, _told(found, last))


def _told(one: Client, last: LastChange | None) -> list[str]:
    facts = (
        ("MAC", " ".join(one.macs) or "none"),
        ("IP", " ".join(one.ips) or "none"),
        ("runs", one.runs or "nothing yet"),
        ("channel", one.channel if one.pin else None),
        ("kind", one.kind),
        ("workload", one.workload),
        ("classes", " ".join(one.classes)),
        ("layers", " ".join(one.layers)),
        ("state", one.state if one.state != DEFAULT_STATE else None),
        ("changed", f"{last.revision[:7]} {date(last.when)} {printable(last.author)}" if last else None),
        ("", printable(last.subject) if last else None),
    )
    return [one.name, *(f"  {word:<8}  {text}" for word, text in facts if text)]


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(one: Client | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "name": one.name,
        "macs": list(one.macs),
        "ips": list(one.ips),
        "kind": str(one.kind),
        "channel": one.channel,
        "pin": {"repository": one.pin.prototype, "revision": one.pin.revision} if one.pin else None,
        "workload": one.workload,
        "classes": list(one.classes),
        "layers": list(one.layers),
        "state": one.state,
    }


def _last_as_json(last: LastChange | None) -> dict[str, Any] | None:
    if last is None:
        return None
    return {"revision": last.revision, "author": last.author, "when": moment(last.when), "subject": last.subject}
