"""review: edits that came from machines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from gitstate.cli.base.app import Session, command, complete_repository, completion, group
from gitstate.cli.base.output import date, emit, moment, shortened, suggest, table, write_out
from gitstate.core import settings
from gitstate.core.errors import PartlyDoneError
from gitstate.core.names import display, octal, tree_path, visible
from gitstate.core.wording import counted, some_of
from gitstate.release.review import merging, names, receive, reviews, splitting
from gitstate.release.review.reviews import Review
from gitstate.tree.change import as_json

_SHOWN = 48
_COLOURS = {"commit ": "33", "diff --git ": "1", "metadata": "1", "@@": "36", "+": "32", "-": "31"}


@group("gitstate review list", "gitstate review show lab3-12/20250312T140900Z")
def review() -> None:
    """Reviews: edits that were made on machines.

    gitstate checkin on a machine sends them. They wait as branches
    checkin/HOST/TIME until somebody merges or drops them; nothing that machines
    boot depends on them. REVIEW is HOST/TIME.
    """


complete_review = completion(
    lambda session, parameters: [f"{one.name.host}/{one.name.when}" for one in reviews.all_reviews(session.opened)]
)
_one_review = click.argument("name", metavar="REVIEW", shell_complete=complete_review)


@command("gitstate review list", name="list", group=review)
def list_(session: Session) -> None:
    """List what waits to be reviewed, by machine, the oldest first."""
    found = reviews.all_reviews(session.opened)
    heads = ("REVIEW", "CAME", "AUTHOR", "CHANGES", "IN", "MESSAGE")
    rows = [
        (
            f"{one.name.host}/{one.name.when}",
            date(one.when),
            visible(one.author.partition(" <")[0]),
            str(one.files),
            " ".join(branch.name for branch in one.branches),
            shortened(visible(one.message.partition("\n")[0]), _SHOWN),
        )
        for one in found
    ]
    emit(session, "review-list/1", {"reviews": list(map(_as_json, found))}, table(rows, heads, colour=session.colour))
    if not found:
        suggest(session, "nothing waits to be reviewed")


@command("gitstate review show lab3-12/20250312T140900Z", group=review)
@_one_review
def show(session: Session, name: str) -> None:
    """Show what a review changes, in each repository: as gitstate show does."""
    found = reviews.find(session.opened, names.parse(name))
    if session.json:
        changes = [{"repository": one.name} | reviews.diff_json(one) for one in found.branches]
        emit(session, "review-show/1", _as_json(found) | {"differences": changes}, [])
        return
    for branch in found.branches:
        over = f" over {branch.base.hex()[:7]}" if branch.base else ", a new layer"
        write_out(f"=== {branch.name}{over}\n")
        for line in reviews.diff(branch):
            write_out(f"{_coloured(line) if session.colour else line}\n")
    _tell_rights(session, found)
    for repository in found.missing:
        session.observer.notice(f"{repository}: it has no such branch any more")


def _tell_rights(session: Session, one: Review) -> None:
    """A line for each, however many: the one that matters could be among those left out."""
    for branch in one.branches:
        for line in branch.rights():
            session.observer.notice(line)


def _coloured(line: str) -> str:
    """A line of a diff as git colours it."""
    colour = next((colour for beginning, colour in _COLOURS.items() if line.startswith(beginning)), None)
    return f"\x1b[{colour}m{line}\x1b[m" if colour else line


def _as_json(one: Review) -> dict[str, Any]:
    return {
        "review": str(one.name),
        "host": one.name.host,
        "when": moment(one.when),
        "author": one.author,
        "message": one.message,
        "changes": one.files,
        "branches": [
            {
                "repository": branch.name,
                "commit": branch.snapshot.oid.hex(),
                "base": branch.base.hex() if branch.base else None,
            }
            for branch in one.branches
        ],
        "missing": one.missing,
    }


@command(
    "gitstate review merge lab3-12/20250312T140900Z",
    "gitstate review merge lab3-12/20250312T140900Z --to lab/lab3",
    group=review,
    writes=True,
)
@_one_review
@click.option(
    "--to", metavar="LAYER", shell_complete=complete_repository, help="Put changes of the prototype into this layer."
)
@click.option("--author", metavar="NAME", help="Author of the merge: 'Name <mail>'.")
def merge(session: Session, name: str, to: str | None, author: str | None) -> None:
    """Merge a review into main of its repositories; its branches are deleted.

    What both sides changed is merged entry by entry. If anything conflicts,
    nothing is changed. With --to, what was changed in the prototype goes to
    LAYER, and what was removed is hidden by it.
    """
    found = reviews.find(session.opened, names.parse(name))
    plan = merging.plan(session.opened, found, to)
    _tell_rights(session, found)
    made = {}
    if not session.dry_run:
        made = merging.apply(plan, session.author(author), settings.committer())
    targets = [(one.branch.name, one.repository.name) for one in plan.steps]
    value = {
        "review": str(found.name),
        "merged": [
            {"from": branch, "to": target, "commit": made[target].hex() if made else None} for branch, target in targets
        ],
        "dry_run": session.dry_run,
    }
    word = "would be merged" if session.dry_run else "merged"
    lines = [
        f"{target}: {word}{f' as {made[target].hex()[:7]}' if made else ''}, {found.name.host}'s edits of {branch}"
        for branch, target in targets
    ]
    emit(session, "review-merge/1", value, lines)
    for step in plan.steps:
        if made and step.repository.live is not None:
            suggest(session, f"next: gitstate update {step.repository.name}, for its live tree; then gitstate push")


@command("gitstate review split lab3-12/20250312T140900Z /etc/fstab", group=review, writes=True)
@_one_review
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
def split(session: Session, name: str, paths: tuple[str, ...]) -> None:
    """Take PATHs, and all below them, into a review of their own."""
    found = reviews.find(session.opened, names.parse(name))
    plan = splitting.plan(session.opened, found, [tree_path(os.fsencode(path)) for path in paths])
    if not session.dry_run:
        splitting.apply(plan, settings.committer())
    value = {
        "review": str(found.name),
        "new": str(plan.name),
        "taken": [{"repository": repository, "change": as_json(change)} for repository, change in plan.taken],
        "dry_run": session.dry_run,
    }
    word = "would take" if session.dry_run else "took"
    emit(
        session,
        "review-split/1",
        value,
        [
            f"{plan.name}: {word} {counted(len(plan.taken), 'change')}",
            *(f"  {change.letter}  {display(change.path)}" for _, change in plan.taken),
        ],
    )


@command("gitstate review drop lab3-12/20250312T140900Z", group=review, writes=True)
@_one_review
def drop(session: Session, name: str) -> None:
    """Delete a review: what it holds is not wanted.

    The machine keeps its edits until it boots.
    """
    found = reviews.find(session.opened, names.parse(name))
    if not session.dry_run:
        reviews.drop(found)
    word = "would be dropped" if session.dry_run else "dropped"
    value = _as_json(found) | {"dry_run": session.dry_run}
    lines = [f"{one.name}: {word}, {one.snapshot.oid.hex()[:7]}" for one in found.branches]
    emit(session, "review-drop/1", value, lines)


# --- from machines ----------------------------------------------------------------------------------------------------


@command(
    "ssh lab3-12 gitstate checkin --output - | gitstate review receive lab3-12 -",
    "gitstate review receive lab3-12 sent",
    name="receive",
    group=review,
    writes=True,
)
@click.argument("host")
@click.argument("file", type=click.Path(path_type=Path, readable=False, allow_dash=True))
def receive_(session: Session, host: str, file: Path) -> None:
    """Record the edits of the machine HOST as a review.

    FILE is what gitstate checkin --output wrote there; - is standard input.
    Without --output it sends the same by ssh to gitstate serve.
    """
    if str(file) == "-":
        receive_checkin(session, host, sys.stdin.buffer)
        return
    with open(file, "rb") as stream:
        receive_checkin(session, host, stream)


def receive_checkin(session: Session, host: str, stream: BinaryIO) -> None:
    """Take a check-in that comes on a stream. Raises PartlyDoneError for what was left out."""
    plan = receive.plan(session.opened, host, stream)
    error = receive.clock_error(plan, int(time.time()))
    result = None
    if not session.dry_run:
        result = receive.apply(plan, stream, settings.committer(), session.observer)
    left = result.left_out if result else plan.left_out
    value = {
        "host": plan.host,
        "review": str(result.name) if result and result.parts else None,
        "was_there": result.was_there if result else False,
        "branches": [
            {
                "repository": one.repository,
                "commit": one.commit.hex(),
                "base": one.base.hex() if one.base else None,
                "changes": one.files,
            }
            for one in (result.parts if result else ())
        ],
        "repositories": plan.repositories,
        "notes": [visible(note) for note in plan.notes],
        "left_out": [{"path": octal(one.path), "why": one.why} for one in left],
        "clock_error": error,
        "dry_run": session.dry_run,
    }
    emit(session, "review-receive/1", value, _received_lines(plan, result, error))
    if left:
        what = counted(len(left), "change")
        named = some_of([f"/{display(one.path)} ({one.why})" for one in left])
        raise PartlyDoneError(
            f"{what} left out: {named}", "the rest is recorded" if result else "-n: nothing is recorded"
        )


def _received_lines(plan: receive.Plan, result: receive.Received | None, error: int | None) -> Iterator[str]:
    if error is not None:
        yield f"the clock of {plan.host} is {abs(error) // 86400} days {'ahead' if error > 0 else 'behind'}"
    yield from map(visible, plan.notes)
    if result is None:
        yield f"{plan.host}: {counted(len(plan.targets), 'change')} for {', '.join(plan.repositories)}"
        return
    if not result.parts:
        yield "nothing to check in: the server has all of it"
    for part in result.parts:
        over = f" over {part.base.hex()[:7]}" if part.base else ", a new layer"
        there = ", as before" if result.was_there else ""
        yield f"{part.repository}: {counted(part.files, 'change')}{over} -> branch {result.name}{there}"
