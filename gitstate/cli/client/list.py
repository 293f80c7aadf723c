"""client list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from gitstate.cli.base.app import Session, command, complete_channel, complete_prototype
from gitstate.cli.base.output import emit, suggest, table, write_name
from gitstate.cli.client.options import complete_client, parsed_option
from gitstate.cli.client.output import as_json, running_as_json
from gitstate.core import names
from gitstate.core.errors import UsageError
from gitstate.core.names import visible
from gitstate.directory import Client, selection
from gitstate.directory.model import clients as model

if TYPE_CHECKING:
    from gitstate.machine.hardware.probe import Running

_FILTERS: Final = (
    ("kind", "KIND", model.client_kind, "Only clients of this kind."),
    ("channel", "NAME", model.channel_name, "Only clients of this channel, also pinned ones."),
    ("pin", "PROTOTYPE@REV", names.pin, "Only clients with this pin."),
    ("prototype", "NAME", names.repo_name, "Only clients pinned to any snapshot of it."),
    ("workload", "NAME", model.workload_name, "Only clients of this workload."),
    ("class", "NAME", model.class_name, "Only clients of this hardware class."),
    ("mac", "MAC", names.mac_address, "Only the client with this address."),
    ("ip", "IP", selection.parse_network, "Only clients with this address, or in this network (10.77.0.0/24)."),
)


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    for word, metavar, parse, text in reversed(_FILTERS):
        complete = {"prototype": complete_prototype, "channel": complete_channel}.get(word)
        function = parsed_option(f"--{word}", word, metavar, parse, text, shell_complete=complete)(function)
    return function


@command(
    "gitstate client list",
    "gitstate client list 'lab3-*' --prototype desktop",
    "gitstate client list 'lab3-[01-12]' @kiosks -z",
    "gitstate client list --mac 52:54:00:12:34:56",
    name="list",
    names=True,
)
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, shell_complete=complete_client)
@_filters
@click.option("--new", "unknown", is_flag=True, help="List machines that asked how to boot and aren't clients.")
def list_(session: Session, /, patterns: tuple[str, ...], unknown: bool, **filters: Any) -> None:
    """List clients.

    A PATTERN is a name, with * and ? as in a shell, a range (lab3-[01-24]) or a
    netgroup (@lab3). Only clients that pass all filters are listed.
    """
    raw, directory = session.raw, session.opened.directory
    given = {key: value for key, value in filters.items() if value is not None}
    if unknown:
        if patterns or given:
            raise UsageError("--new lists machines that aren't clients yet", "remove the names and filters")
        _list_new(session, directory.clients(), raw=raw)
        return
    found = selection.search(directory, patterns, given)
    if raw:
        for one in found:
            write_name(one.name.encode())
        return
    revision = directory.revision() if session.json else ""  # for which a server has to look at every entry
    from gitstate.machine.hardware.reports import Reports  # names alone don't need it

    running = Reports(session.opened.site).running()
    clients = [{**(as_json(one) or {}), "running": running_as_json(running.get(one.name))} for one in found]
    value = {"revision": revision or None, "clients": clients}
    emit(session, "client-list/1", value, [] if session.json else _table(found, running, colour=session.colour))
    if not found and not directory.clients():
        suggest(session, "no clients yet: gitstate client add NAME --mac MAC --pin PROTOTYPE@REV")


def _list_new(session: Session, clients: Mapping[str, Client], *, raw: bool) -> None:
    """The machines of dnsmasq's log whose addresses no client has."""
    from gitstate.boot import files as publish  # whoever asks for clients needn't wait for it

    known = {mac for one in clients.values() for mac in one.macs}
    found = [one for one in publish.machines_that_asked(session.opened.site) if one.mac not in known]
    if raw:
        for one in found:
            write_name(one.mac.encode())
        return
    value = [{"mac": one.mac, "ip": one.ip, "asked": one.when, "firmware": one.firmware} for one in found]
    rows = [(one.mac, one.ip or "-", one.when, one.firmware or "-") for one in found]
    lines = table(rows, ("MAC", "IP", "ASKED", "FIRMWARE"), colour=session.colour)
    emit(session, "client-list-new/1", {"machines": value}, lines)
    if found:
        suggest(session, f"next: gitstate client adopt {found[-1].mac} NAME --channel CHANNEL")
    else:
        suggest(session, "no unknown machine has asked how to boot")


def _table(clients: Iterable[Client], running: Mapping[str, Running], *, colour: bool) -> list[str]:
    """What machines reported has a column if one of them did."""
    heads: tuple[str, ...] = ("NAME", "MAC", "IP", "RUNS", "KIND")
    rows: list[tuple[str, ...]] = []
    reported = []
    for one in clients:
        rows.append((one.name, ",".join(one.macs) or "-", ",".join(one.ips) or "-", one.runs or "-", one.kind))
        found = running.get(one.name)
        reported.append(visible(str(found)) if found else "-")
    if any(text != "-" for text in reported):
        heads = (*heads, "REPORTS")
        rows = [(*row, text) for row, text in zip(rows, reported, strict=True)]
    return table(rows, heads, colour=colour)
