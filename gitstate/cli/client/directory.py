"""directory: the whole of it, from one backend to another."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from gitstate.cli.base.app import Session, command, group
from gitstate.cli.base.output import emit, suggest
from gitstate.cli.client.options import authorship_options
from gitstate.core import settings
from gitstate.core.errors import ConfigError
from gitstate.core.wording import counted

_SHOWN = 20
_DONE = {"add": "added", "set": "set", "remove": "removed"}


@group("gitstate directory check", "gitstate directory export >clients.ldif")
def directory() -> None:
    """The directory: clients, channels and hardware classes.

    It is part of the site (directory.git) or in LDAP, as [directory] in
    site.toml says.
    """


@command(
    "gitstate directory export >clients.ldif",
    "gitstate directory export | ldapadd -Y EXTERNAL -H ldapi:///",
    group=directory,
)
@click.option("--base", metavar="DN", default=None, help="Base DN of the printed entries [o=gitstate].")
def export(session: Session, base: str | None) -> None:
    """Print all entries as LDIF.

    Entries that gitstate itself doesn't use are included.
    """
    from gitstate.directory import transfer
    from gitstate.directory.options import distinguished_name

    opened = session.opened.directory
    records = list(transfer.export_entries(opened, transfer.BASE if base is None else distinguished_name(base)))
    text = "\n".join(records)
    emit(session, "directory-export/1", {"ldif": text}, text.split("\n")[:-1])


@command(
    "gitstate directory import clients.ldif",
    "gitstate directory import -n --replace clients.ldif",
    name="import",
    group=directory,
    writes=True,
)
@click.argument("file", type=click.Path(path_type=Path, readable=False, allow_dash=True))
@click.option("--replace", is_flag=True, help="Remove clients, channels and hardware classes that FILE doesn't have.")
@authorship_options
def import_(session: Session, file: Path, replace: bool, message: str | None, author: str | None) -> None:
    """Add the clients, channels and hardware classes of an LDIF file.

    FILE is the output of export or ldapsearch; - is standard input. Existing
    entries are changed to what FILE says. It can be run again.
    """
    from gitstate.directory import transfer

    data, where = (sys.stdin.buffer.read(), "standard input") if str(file) == "-" else (file.read_bytes(), str(file))
    content = transfer.parse(data, where)
    plan = transfer.plan_import(session.opened.directory, content, replace=replace)
    who = session.author(author)
    lines = plan.describe()
    if lines and not session.dry_run:
        transfer.apply(plan, who, settings.committer(), message or f"directory import {where}")
    value = {
        "clients": [one.name for one in plan.clients],
        "channels": [one.name for one in plan.channels],
        "classes": [one.name for one in plan.classes],
        "removed_clients": list(plan.removed_clients),
        "removed_channels": list(plan.removed_channels),
        "removed_classes": list(plan.removed_classes),
        "others": content.others,
        "dry_run": session.dry_run,
    }
    words = {one: f"would {one}" if session.dry_run else done for one, done in _DONE.items()}
    shown = [f"{words[verb]} {what} {name}" for verb, what, name in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        shown.append(f"and {len(lines) - _SHOWN} more")
    emit(session, "directory-import/1", value, shown or ["nothing to change"])
    if lines and not session.dry_run:
        suggest(session, "next: gitstate boot write")


@command("gitstate directory check", "gitstate directory check --finish", group=directory)
@click.option("--finish", is_flag=True, help="Finish a change that was interrupted.")
def check(session: Session, finish: bool) -> None:
    """Check that the directory can be reached and is consistent.

    Reports wrong entries, addresses that two clients have, missing channels,
    and changes that were interrupted.
    """
    from gitstate.directory.check import check as find_problems

    opened = session.opened.directory
    if finish:
        opened.finish()
    report = find_problems(opened)
    counts = f"{counted(report.clients, 'client')}, {counted(report.channels, 'channel')}"
    if report.classes:
        counts += f", {counted(report.classes, 'hardware class', 'hardware classes')}"
    emit(session, "directory-check/1", asdict(report), [report.about, counts, *(report.problems or ("ok",))])
    if report.problems:
        raise ConfigError("the directory is inconsistent", "--finish completes an interrupted change; correct the rest")
