"""layer owner."""

from __future__ import annotations

import os

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, suggest
from gitstate.core import settings
from gitstate.core.errors import UsageError
from gitstate.core.names import display, octal, tree_path
from gitstate.core.wording import some_of
from gitstate.tree import owners


@command(
    "gitstate layer owner lab/lab3 root:lp /etc/cups/printers.conf",
    "gitstate layer owner -R workload/kiosk kiosk:kiosk /home/kiosk",
    "gitstate layer owner lab/lab3 - /etc/cups/printers.conf",
    writes=True,
)
@click.argument("words", nargs=-1, required=True, metavar="[LAYER] USER[:GROUP] PATH...")
@click.option("-R", "--recursive", is_flag=True, help="Include everything below directories.")
@click.option("-m", "--message", metavar="TEXT", help="What was changed and why, for history.")
@click.option("--author", metavar="NAME", help="Author of the change: 'Name <mail>'.")
def owner(session: Session, words: tuple[str, ...], recursive: bool, message: str | None, author: str | None) -> None:
    """Set owners of files in LAYER by the names of accounts.

    Ids differ between images, names hardly do. Write USER, USER:GROUP, :GROUP,
    or - to remove names. This makes a snapshot of its own, based on what is
    checked in; check-ins keep names until somebody changes the owner in the
    live tree.
    """
    name, rest = session.split(words, words[:1])
    if "/" not in name and name != "base":
        raise UsageError(f"{name} is a prototype", "only layers have owners by name")
    if len(rest) < 2:
        raise UsageError("USER and PATH are missing", "gitstate layer owner LAYER USER[:GROUP] PATH...")
    wanted = owners.parse(os.fsencode(rest[0]))
    repository = session.opened.repository(name)
    found = owners.plan(repository, wanted, [tree_path(os.fsencode(word)) for word in rest[1:]], recursive=recursive)
    new = None
    if found.paths and not session.dry_run:
        text = message or f"owner {wanted}: {some_of([f'/{display(path)}' for path in found.paths], 1)}"
        who = session.author(author, repository.path)
        new = owners.apply(found, repository, who, settings.committer(), text)
    value = {
        "repository": name,
        "commit": new.hex() if new else None,
        "uname": _optional_octal(wanted.user),
        "gname": _optional_octal(wanted.group),
        "paths": [octal(path) or "." for path in found.paths],
        "dry_run": session.dry_run,
    }
    emit(session, "layer-owner/1", value, [f"{wanted}  /{display(path)}" for path in found.paths])
    if not found.paths:
        suggest(session, f"{name}: the owners are set already")
    elif new:
        suggest(session, f"{name}: {new.hex()[:7]}; machines get it with the next push")


def _optional_octal(name: bytes | None) -> str | None:
    return None if name is None else octal(name)
