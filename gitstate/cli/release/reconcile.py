"""reconcile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, suggest
from gitstate.cli.release.output import release_json, released_line, step_lines
from gitstate.core import settings
from gitstate.core.errors import PartlyDoneError
from gitstate.release import reconcile as reconciling
from gitstate.release.models import Problem, ReconcileResult


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise what went wrong: the error itself if it is one, else all in one line."""
    found = list(problems)
    if len(found) == 1:
        raise found[0].error
    if found:
        said = "; ".join(one.error.message for one in found)
        raise PartlyDoneError(f"some releases failed: {said}", f"{found[0].error.hint}; then gitstate reconcile")


@command("gitstate reconcile", "gitstate reconcile -n", writes=True)
def reconcile(session: Session) -> None:
    """Publish pending tags, and finish what was interrupted.

    An export that a channel runs is made again if it is missing or damaged.
    Machines that run keep the damaged one until they are rebooted.

    Run it as often as you like: a tag is released once. git's hooks start it
    where the systemd units of gitstate are installed.
    """
    committer = settings.committer()
    conduct = reconciling.preview if session.dry_run else reconciling.reconcile
    result = conduct(session.opened, committer, session.observer)
    lines = list(result_lines(result, dry_run=session.dry_run))
    emit(session, "reconcile/1", _as_json(session, result), lines or ["nothing to publish"])
    for tag, newer in result.superseded:
        suggest(
            session,
            f"{tag.name} in {tag.repository} was never released, and {newer} is newer: delete it with git tag -d",
        )
    raise_problems(result.problems)


def result_lines(result: ReconcileResult, *, dry_run: bool = False) -> Iterator[str]:
    """What was done, or would be, for people."""
    word = "would fix" if dry_run else "fixed"
    for made in result.published:
        yield released_line(made)
        yield from step_lines(made)
    yield from (f"would release {one.name}: {one.repository} {one.commit.hex()[:7]}" for one in result.pending)
    yield from (f"{word}: {line}" for line in result.repaired)


def _as_json(session: Session, result: ReconcileResult) -> dict[str, Any]:
    return {
        "published": [
            release_json(made.release) | {"before": str(made.before.name) if made.before else None}
            for made in result.published
        ],
        "pending": [
            {"repository": one.repository, "tag": str(one.name), "commit": one.commit.hex()} for one in result.pending
        ],
        "refused": [
            {
                "channel": one.channel,
                "what": one.what,
                "code": one.error.code,
                "message": one.error.message,
                "hint": one.error.hint,
            }
            for one in result.problems
        ],
        "superseded": [
            {"repository": tag.repository, "tag": str(tag.name), "by": str(newer)} for tag, newer in result.superseded
        ],
        "repaired": result.repaired,
        "dry_run": session.dry_run,
    }
