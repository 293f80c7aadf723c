"""status without REPO: the site at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import LETTERS, ago, emit, location, moment, suggest, table
from gitstate.core.errors import PartlyDoneError
from gitstate.core.names import visible
from gitstate.core.wording import counted, some_of
from gitstate.release import status as site_status
from gitstate.release.status import BootFiles, Edits, Running, SiteStatus, Tree, Users


def glance(session: Session, *, quick: bool, exit_code: bool) -> int:
    """Print an overview of the site. Raises the directory's error, PartlyDoneError for other problems."""
    found = site_status.status(session.opened, session.observer, quick=quick)
    emit(session, "site-status/1", _as_json(session, found, quick=quick), _lines(session, found))
    if not found.trees:
        suggest(session, "no prototypes yet: gitstate prototype create NAME")
    if found.problem:
        raise found.problem
    if found.problems:
        messages = [problem.message for problem in found.problems]
        raise PartlyDoneError(some_of(messages, 1, "; "), found.problems[0].hint)
    return 1 if exit_code and any(one.edits and one.edits.differs for one in found.trees) else 0


# --- for people -------------------------------------------------------------------------------------------------------


def _lines(session: Session, found: SiteStatus) -> Iterator[str]:
    yield f"site {session.opened.site.path}"
    colour = session.colour
    trees = [
        (
            one.repository,
            one.commit.hex()[:7] if one.commit else "-",
            ago(one.when) if one.when is not None else "-",
            _live(one),
        )
        for one in found.trees
    ]
    yield from _part(table(trees, ("REPO", "SNAPSHOT", "CHECKED IN", "LIVE TREE"), colour=colour))
    channels = [_channel(one) for one in found.channels]
    yield from _part(table(channels, ("CHANNEL", "RUNS", "SNAPSHOT", "RELEASED", "CLIENTS", ""), colour=colour))
    if found.problem is not None:
        yield from _part([f"channels and clients: {visible(found.problem.message)}"])
    users = [(str(one.clients), _what(one)) for one in found.users]
    yield from _part(table(users, ("CLIENTS", "RUN"), colour=colour))
    if found.boot is not None:
        yield from _part([f"boot files: {_boot(found.boot)}"])


def _part(lines: list[str]) -> Iterator[str]:
    """A part of the page, an empty line in front."""
    if lines:
        yield ""
        yield from lines


def _live(one: Tree) -> str:
    if one.problem is not None:
        return visible(one.problem.message)
    if one.live is None:
        return "-"
    if one.edits is None:
        return str(one.live)
    edits = _edits(one.edits, one.commit is None)
    if one.standing is None:
        return edits
    there = f"{counted(one.standing.behind, 'commit')} behind" if one.standing.behind else "beside"
    return f"{there} main, {edits}"


def _edits(edits: Edits, is_first: bool) -> str:
    words = [f"{edits.counts[letter]} {word}" for letter, word in LETTERS.items() if edits.counts.get(letter)]
    if is_first:
        words = ["nothing checked in yet"]
    elif edits.differs and not words:
        words = ["times or records differ"]
    if edits.refused:
        words.append(f"{edits.refused} refused by policy")
    return ", ".join(words) or "nothing to check in"


def _channel(one: Running) -> tuple[str, ...]:
    release = one.release
    wait = f"{', '.join(one.pending)} waits: gitstate reconcile" if one.pending else ""
    if release is None:
        return one.channel.name, "-", "-", "-", str(one.clients), wait
    commit = f"{release.prototype} {release.commit.hex()[:7]}"
    return one.channel.name, str(release.name), commit, ago(release.when), str(one.clients), wait


def _what(one: Users) -> str:
    later = f", {one.outdated} of them another snapshot until they reboot" if one.outdated else ""
    if one.pin is not None:
        return f"{one.pin}, pinned{later}"
    if one.channel is not None:
        return f"{one.release or f'nothing: {one.channel} has no release'}{later}"
    return "nothing: no channel, no pin"


def _boot(one: BootFiles) -> str:
    if one.problem is not None:
        return visible(one.problem.message)
    reloads = f"{', '.join(one.needs_reload)} need reload" if one.needs_reload else ""
    files = f"{one.files} to be written or removed" if one.files else ""
    if files or reloads:
        return f"{', '.join(filter(None, (files, reloads)))}: gitstate boot write --reload"
    return "up to date" if one.files is not None else "not looked at"


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(session: Session, found: SiteStatus, *, quick: bool) -> dict[str, Any]:
    return {
        "site": location(session.opened.site.path),
        "quick": quick,
        "repositories": [_tree_json(one) for one in found.trees],
        "channels": [_channel_json(one) for one in found.channels],
        "clients": [
            {
                "channel": one.channel,
                "release": one.release,
                "pin": one.pin,
                "clients": one.clients,
                "outdated": one.outdated,
            }
            for one in found.users
        ],
        "boot": {
            "files": found.boot.files,
            "needs_reload": list(found.boot.needs_reload),
            "problem": found.boot.problem.message if found.boot.problem else None,
        }
        if found.boot
        else None,
        "problem": found.problem.message if found.problem else None,
    }


def _tree_json(one: Tree) -> dict[str, Any]:
    edits = one.edits
    return {
        "repository": one.repository,
        "commit": one.commit.hex() if one.commit else None,
        "when": moment(one.when) if one.when is not None else None,
        "subject": one.subject,
        "live": location(one.live) if one.live else None,
        "edits": {
            "differs": edits.differs,
            "refused": edits.refused,
            **{word.replace(" ", "_"): edits.counts.get(letter, 0) for letter, word in LETTERS.items()},
        }
        if edits
        else None,
        "main": {"commit": one.standing.main.hex(), "behind": one.standing.behind, "ahead": one.standing.ahead}
        if one.standing
        else None,
        "problem": one.problem.message if one.problem else None,
    }


def _channel_json(one: Running) -> dict[str, Any]:
    release = one.release
    return {
        "name": one.channel.name,
        "prototype": one.channel.prototype,
        "release": str(release.name) if release else None,
        "commits": {name: oid.hex() for name, oid in sorted(release.commits.items())} if release else {},
        "when": moment(release.when) if release else None,
        "clients": one.clients,
        "pending": list(one.pending),
    }
