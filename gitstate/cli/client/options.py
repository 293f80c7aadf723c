"""A client's values as options, and who is named, parsed at the door."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from gitstate.cli.base.app import Completion, Function, Session, complete_channel, complete_prototype, completion
from gitstate.core import names
from gitstate.core.errors import UsageError
from gitstate.core.failures import of_system
from gitstate.core.wording import some_of
from gitstate.directory import STATES, Kind, selection
from gitstate.directory.model import clients as model
from gitstate.directory.selection import ClientNames


def parsed(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """An option's or argument's callback that takes its text, or each of its texts, through ``parse``."""

    def read(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(parse(one) for one in value)
        return None if value is None else parse(value)

    return read


def parsed_option(
    word: str, key: str, metavar: str, parse: Callable[[str], Any], text: str, **more: Any
) -> Callable[[Function], Function]:
    """An option whose text goes through ``parse``."""
    return click.option(word, key, metavar=metavar, callback=parsed(parse), help=text, **more)


complete_layer = completion(lambda session, parameters: session.opened.site.layers())


def one_of(words: Iterable[str]) -> Completion:
    """Complete one of ``words``."""
    known = tuple(words)
    return completion(lambda session, parameters: known)


_ADDRESSES: Final = (
    parsed_option("--mac", "macs", "MAC", names.mac_address, "Ethernet address; repeatable.", multiple=True),
    parsed_option("--ip", "ips", "IP", names.ip_address, "IPv4 or IPv6 address; repeatable.", multiple=True),
)
_ASSIGNED: Final = (
    parsed_option("--pin", "pin", "PROTOTYPE@REV", names.pin, "Snapshot to boot: desktop@v12."),
    parsed_option(
        "--channel", "channel", "NAME", model.channel_name, "Channel to follow.", shell_complete=complete_channel
    ),
    parsed_option(
        "--kind", "kind", "KIND", model.client_kind, f"One of {', '.join(Kind)}.", shell_complete=one_of(Kind)
    ),
    parsed_option("--workload", "workload", "NAME", model.workload_name, "Workload: it gets the layer workload/NAME."),
    parsed_option(
        "--layer",
        "layers",
        "LAYER",
        model.layer_name,
        "Extra layer, KIND/NAME; repeatable.",
        multiple=True,
        shell_complete=complete_layer,
    ),
    parsed_option(
        "--state",
        "state",
        "MODE",
        model.state_mode,
        f"Where it keeps its writable state: {', '.join(STATES)}.",
        shell_complete=one_of(STATES),
    ),
    parsed_option(
        "--maintains",
        "maintains",
        "PROTOTYPE",
        model.prototype_name,
        "Boot this prototype's live tree, writable: one client for each prototype.",
        shell_complete=complete_prototype,
    ),
)
_EMPTY: Final[dict[str, tuple[str, Any, str]]] = {
    "no_mac": ("macs", (), "MACs"),
    "no_ip": ("ips", (), "IPs"),
    "no_pin": ("pin", None, "pin"),
    "no_channel": ("channel", None, "channel"),
    "no_workload": ("workload", None, "workload"),
    "no_layer": ("layers", (), "extra layers"),
    "no_maintains": ("maintains", None, "maintained prototype"),
}
"""Option -> the key of the value that it removes, what is left, and the value's name."""


def client_values(function: Function) -> Function:
    """Options for all values of a client."""
    for option in reversed(_ADDRESSES + _ASSIGNED):
        function = option(function)
    return function


def assigned_values(function: Function) -> Function:
    """Options for all values of a client but its addresses."""
    for option in reversed(_ASSIGNED):
        function = option(function)
    return function


def removals(function: Function) -> Function:
    """Options that remove values."""
    for flag, (_, _, value) in reversed(_EMPTY.items()):
        word = f"--{flag.replace('_', '-')}"
        function = click.option(word, flag, is_flag=True, help=f"Remove its {value}.")(function)
    return function


def _message(text: str) -> str:
    if not text.strip():
        raise UsageError("the message is empty", "without -m, history describes the change")
    return text


def authorship_options(function: Function) -> Function:
    """Author and message of a change."""
    author = click.option("--author", metavar="NAME", help="Author of the change: 'Name <mail>'.")
    text = "What was changed and why, for history."
    return click.option("-m", "--message", metavar="TEXT", callback=parsed(_message), help=text)(author(function))


def changed_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the options ask for. Raises UsageError."""
    values = {key: value for key, value in options.items() if key not in _EMPTY and value}
    for flag, (key, nothing, _) in _EMPTY.items():
        if options[flag]:
            if key in values:
                word = flag.removeprefix("no_")
                raise UsageError(f"--{word} and --no-{word} exclude each other", "choose one")
            values[key] = nothing
    if not values:
        raise UsageError("nothing to set", "such as --pin PROTOTYPE@REV; see gitstate client set --help")
    return values


# --- who --------------------------------------------------------------------------------------------------------------


def existing_clients(session: Session, who: ClientNames) -> list[str]:
    """The names of clients; machines of netgroups that aren't clients are noted. Raises NotFoundError."""
    found, strangers = selection.existing_clients(session.opened.directory, who)
    for group, others in strangers.items():
        session.observer.notice(f"of @{group} these aren't clients: {some_of(others)}")
    return found


def _parse_names(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> ClientNames:
    return selection.parse_names(words)


complete_client = completion(lambda session, parameters: session.opened.directory.clients())
one_name = click.argument("name", callback=parsed(names.host_name), shell_complete=complete_client)


def names_argument(metavar: str, **attributes: Any) -> Callable[[Function], Function]:
    """Names of machines, ranges and netgroups."""
    return click.argument("who", metavar=metavar, nargs=-1, callback=_parse_names, **attributes)


new_names = names_argument("NAME...", required=True)
many_names = names_argument("NAME...", required=True, shell_complete=complete_client)


def content(file: Path, most: int) -> bytes:
    """What a file, or standard input, begins with, at most ``most`` bytes and one more. Raises NotFoundError."""
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            return stream.read(most + 1)
    except OSError as error:
        raise of_system(error, file, "name a file that can be read, or - for standard input") from None
