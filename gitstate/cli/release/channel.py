"""channel: what clients follow."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command, complete_channel, complete_prototype, group
from gitstate.cli.base.output import ago, confirm, date, emit, moment, shortened, suggest, table
from gitstate.cli.release.output import release_json
from gitstate.core import settings
from gitstate.core.errors import UsageError
from gitstate.core.names import visible
from gitstate.directory import Channel
from gitstate.release import channels
from gitstate.release.models import Release

_LATEST: Final = 10


@group("gitstate channel list", "gitstate channel create --help")
def channel() -> None:
    """Channels: the releases that clients follow.

    A channel releases one prototype and its layers. A tag CHANNEL/VERSION makes
    the next release.
    """


_one_name = click.argument("name", shell_complete=complete_channel)
_author = click.option("--author", metavar="NAME", help="Author of the change: 'Name <mail>'.")


@command(
    "gitstate channel create lab3 --prototype desktop",
    "gitstate channel create lab4 --help",
    group=channel,
    writes=True,
)
@click.argument("name")
@click.option(
    "--prototype", metavar="NAME", required=True, shell_complete=complete_prototype, help="The prototype it releases."
)
@click.option("--signed", is_flag=True, help="Release signed tags only.")
@_author
def create(session: Session, name: str, prototype: str, signed: bool, author: str | None) -> None:
    """Create the channel NAME."""
    session.opened.repository(prototype)
    who = session.author(author)
    plan = channels.plan(session.opened, name, prototype, who, signed=signed)
    if not session.dry_run:
        channels.apply(session.opened, plan, who, settings.committer())
    word = "would make" if session.dry_run else "made"
    value = {"channel": _as_json(plan.channel, None, 0), "pending": list(plan.pending), "dry_run": session.dry_run}
    emit(session, "channel-create/1", value, [f"{word} channel {name}, of {prototype}"])
    if plan.pending:
        suggest(session, f"pending tags: {', '.join(plan.pending)}; next: gitstate reconcile")
    elif not session.dry_run:
        suggest(session, f"next: gitstate push {prototype} {name}")


@command("gitstate channel list", name="list", group=channel)
def list_(session: Session) -> None:
    """List the channels and what they run."""
    log, followers = session.opened.releases, _followers(session)
    found = [(one, log.current(one.name)) for one in session.opened.directory.channels().values()]
    rows = [
        (
            one.name,
            one.prototype,
            release.name.version if release else "-",
            release.commit.hex()[:7] if release else "-",
            ago(release.when) if release else "-",
            str(followers[one.name]),
        )
        for one, release in found
    ]
    heads = ("NAME", "PROTOTYPE", "RELEASE", "COMMIT", "RELEASED", "CLIENTS")
    value = {"channels": [_as_json(one, release, followers[one.name]) for one, release in found]}
    emit(session, "channel-list/1", value, table(rows, heads, colour=session.colour))
    if not found:
        suggest(session, "no channels yet: gitstate channel create NAME --prototype P")


def _followers(session: Session) -> Counter[str | None]:
    return Counter(one.channel for one in session.opened.directory.clients().values() if one.pin is None)


@command("gitstate channel show lab3", group=channel)
@_one_name
def show(session: Session, name: str) -> None:
    """Show one channel and its latest releases.

    git log in site.git shows all of them.
    """
    one = channels.find_channel(session.opened.directory, name)
    releases = list(islice(session.opened.releases.of(name), _LATEST))
    current = releases[0] if releases else None
    clients = _followers(session)[name]
    value = _as_json(one, current, clients) | {"releases": [release_json(release) for release in releases]}
    lines = [
        name,
        f"  prototype  {one.prototype}",
        f"  signed     {'signed tags only' if one.signed else 'any annotated tag'}",
        f"  made       {date(one.created)} {visible(one.author)}",
        f"  clients    {clients}",
        f"  runs       {_parts(current) if current else 'nothing yet'}",
    ]
    heads = ("RELEASE", "COMMIT", "RELEASED", "BY", "WHAT")
    rows = [
        (str(one.name), one.commit.hex()[:7], date(one.when), one.author.partition(" <")[0], _what(one))
        for one in releases
    ]
    emit(session, "channel-show/1", value, [*lines, *([""] if rows else []), *table(rows, heads)])


def _parts(release: Release) -> str:
    layers = [f"{name} {oid.hex()[:7]}" for name, oid in sorted(release.layers.items())]
    return " + ".join([f"{release.prototype} {release.commit.hex()[:7]}", *layers])


def _what(release: Release) -> str:
    """The first words of what the tag said, else what the release is made of."""
    paragraphs = release.message.split("\n\n")
    said = paragraphs[1].partition("\n")[0] if len(paragraphs) > 3 else paragraphs[0].partition(": ")[2]
    return shortened(said, 40)


@command("gitstate channel remove lab3 --yes", group=channel, writes=True)
@_one_name
@click.option("--yes", is_flag=True, help="Don't ask.")
@_author
def remove(session: Session, name: str, yes: bool, author: str | None) -> None:
    """Remove a channel that no client follows.

    The history of its releases stays in site.git.
    """
    one = channels.plan_removal(session.opened, name)
    if not session.dry_run:
        if not yes:
            refusal = UsageError(f"removing {name} ends its releases", "confirm with --yes")
            confirm(session, f"Remove the channel {name}?", refusal)
        channels.remove(session.opened, one, session.author(author), settings.committer())
    word = "would remove" if session.dry_run else "removed"
    emit(session, "channel-remove/1", {"channel": name, "dry_run": session.dry_run}, [f"{word} channel {name}"])


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(one: Channel, current: Release | None, clients: int) -> dict[str, Any]:
    return {
        "name": one.name,
        "prototype": one.prototype,
        "signed": one.signed,
        "author": one.author,
        "created": moment(one.created),
        "clients": clients,
        "current": release_json(current) if current else None,
    }
