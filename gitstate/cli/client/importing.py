"""client import."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, flush, suggest, write_out
from gitstate.cli.client.options import assigned_values, authorship_options, parsed_option
from gitstate.cli.client.output import apply, as_changes, new_revision
from gitstate.core.errors import ConfigError, PartlyDoneError, UsageError
from gitstate.core.failures import of_system
from gitstate.core.names import visible
from gitstate.core.wording import some_of
from gitstate.directory.importing.hosts import HostList, LineNote
from gitstate.directory.importing.lists import ListFormat, decode, read
from gitstate.directory.importing.plan import ImportOptions, ListImport, plan_import

_LONGEST: Final = 64 << 20
_NAMED: Final = 3
_STDIN: Final = "standard input"


def _form(text: str) -> ListFormat:
    """How a list is written. Raises UsageError."""
    try:
        return ListFormat(text.lower())
    except ValueError:
        raise UsageError(f"{text!r} is not a list's format", f"one of {', '.join(ListFormat)}") from None


@command(
    "gitstate client import lab3.csv --channel lab3 -n",
    "gitstate client import /var/lib/misc/dnsmasq.leases --pin desktop@v12",
    "gitstate client import /etc/dhcp/dhcpd.conf --channel lab3 --update",
    name="import",
    writes=True,
)
@click.argument("file", type=click.Path(path_type=Path, readable=False, allow_dash=True))
@parsed_option(
    "--format", "form", "FORMAT", _form, f"Format of the list, if it isn't recognised: {', '.join(ListFormat)}."
)
@assigned_values
@click.option("--ip", "leased_ips", is_flag=True, help="Give clients the addresses of their leases, too.")
@click.option("--update", is_flag=True, help="Change clients that differ from the list.")
@click.option("--skip-bad", is_flag=True, help="Skip wrong lines, and exit with 3.")
@authorship_options
def import_(
    session: Session,
    /,
    file: Path,
    form: ListFormat | None,
    leased_ips: bool,
    update: bool,
    skip_bad: bool,
    message: str | None,
    author: str | None,
    **values: Any,
) -> None:
    """Add the machines of a list as clients, all in one change.

    FILE is CSV (the first line names the columns: name, mac, ip, pin, ...),
    ethers, or a lease file or the configuration of dnsmasq or ISC dhcpd; - is
    standard input. Options such as --pin and --channel give new clients the values that
    the list doesn't have. If a line is wrong, nothing is done.
    """
    source = _STDIN if str(file) == "-" else visible(str(file))
    who = session.author(author)
    listing = _read(file, source, form)
    defaults = {key: value for key, value in values.items() if value}
    found = plan_import(
        session.opened.site, session.opened.directory, listing, ImportOptions(defaults, update, leased_ips)
    )
    may_apply = not found.bad or skip_bad
    if not (may_apply or session.dry_run):
        raise _wrong(source, found.bad)
    lines = list(_lines(found, source))
    if not session.json and not session.dry_run:  # the plan, before anything is done
        for line in lines:
            write_out(f"{line}\n")
        flush()
    why = found.message(source if source == _STDIN else visible(file.name)) if message is None else message
    made = may_apply and apply(session, found.plan, who, why)
    _tell(session, found, source, made, lines if session.dry_run else [])
    if found.bad and not skip_bad:
        raise _wrong(source, found.bad)
    if found.bad:
        raise PartlyDoneError(_named(source, found.bad), "fix these lines, and import it again")


def _read(file: Path, source: str, form: ListFormat | None) -> HostList:
    """What the list says. Raises HostError, ConfigError, UsageError."""
    try:
        if source == _STDIN:
            data = sys.stdin.buffer.read(_LONGEST + 1)
        else:
            with file.open("rb") as stream:
                data = stream.read(_LONGEST + 1)
    except OSError as error:
        raise of_system(error, source, "name a file that can be read, or -") from None
    if len(data) > _LONGEST:
        raise ConfigError(f"{source}: longer than {_LONGEST >> 20} MiB", "is it a list of machines?")
    try:
        return read(decode(data), form)
    except UsageError as fault:
        raise UsageError(f"{source}: {fault.message}", fault.hint) from None


def _tell(session: Session, found: ListImport, source: str, made: bool, lines: Iterable[str]) -> None:
    would = "would be " if session.dry_run else ""
    counts = Counter("changed" if change.old else "added" for change in found.plan.changes)
    words = [f"{counts[word]} {would}{word}" for word in ("added", "changed") if counts[word]]
    if found.same:
        words.append(f"{found.same} unchanged")
    value = {
        "changes": as_changes(found.plan.changes),
        "unchanged": found.same,
        "differing": as_changes(found.differing),
        "left_out": _as_json(found.left_out),
        "ignored": _as_json(found.ignored),
        "bad": _as_json(found.bad),
        "revision": new_revision(session, found.plan.directory, made),
        "dry_run": session.dry_run,
    }
    emit(session, "client-import/1", value, [*lines, f"{source}: {', '.join(words) or 'nothing to add'}"])
    if made:
        suggest(session, "next: gitstate boot write")


# --- for people -------------------------------------------------------------------------------------------------------


def _lines(found: ListImport, source: str) -> Iterator[str]:
    """The plan: what comes, what differs, what is left out, what is wrong."""
    for change, line in zip(found.plan.changes, found.plan.describe(), strict=True):
        yield f"{'set' if change.old else 'add'} {line}"
    for change in found.differing:
        yield f"unchanged {change.name}: the list has {change.describe()}; use --update"
    for why, lines in _by_reason(found.left_out).items():
        yield f"skipped: {why}: {_some_lines(lines)}"
    for why, lines in _by_reason(found.ignored).items():
        yield f"ignored: {why}: {_some_lines(lines)}"
    for one in found.bad:
        yield f"error: {source}, line {one.line}: {visible(one.why)}"


def _by_reason(remarks: Iterable[LineNote]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in remarks:
        found.setdefault(visible(one.why), []).append(one.line)
    return found


def _some_lines(lines: Sequence[int]) -> str:
    if len(lines) > _NAMED:
        return f"{len(lines)} lines, the first is {lines[0]}"
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"


def _wrong(source: str, bad: Sequence[LineNote]) -> ConfigError:
    return ConfigError(f"nothing added: {_named(source, bad)}", "-n shows all; fix them, or skip them with --skip-bad")


def _named(source: str, bad: Sequence[LineNote]) -> str:
    lines = [f"line {one.line}: {visible(one.why)}" for one in bad]
    return f"{source}, {some_of(lines, _NAMED, '; ')}"


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(remarks: Iterable[LineNote]) -> list[dict[str, Any]]:
    return [{"line": one.line, "why": one.why} for one in remarks]
