"""reconcile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, suggest
from gitstate.cli.release.output import (
    release_json,
    released_line,
    step_lines,
)
from gitstate.core import settings
from gitstate.core.errors import PartlyDoneError
from gitstate.release import reconcile as reconciling
from gitstate.release.models import Outcome, Problem


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

    Run it as often as you like: a tag is released once. git's hooks start it
    where the systemd units of gitstate are installed.
    """
    committer = settings.committer()
    if session.dry_run:
        outcome = reconciling.foresee(session.opened.site, committer, session.observer)
    else:
        outcome = reconciling.reconcile(session.opened.site, committer, session.observer)
    lines = list(outcome_lines(outcome))
    emit(session, "reconcile/1", _outcome_json(session, outcome), lines or ["nothing to publish"])
    for wish, newer in outcome.overtaken:
        suggest(
            session,
            f"{wish.name} in {wish.repository} was never released, and {newer} is newer: delete it with git tag -d",
        )
    raise_problems(outcome.problems)


def outcome_lines(outcome: Outcome) -> Iterator[str]:
    """What was done, for people."""
    for done in outcome.published:
        yield released_line(done)
        yield from step_lines(done)
    yield from (f"would release {one.name}: {one.repository} {one.commit.hex()[:7]}" for one in outcome.foreseen)
    yield from (f"fixed: {line}" for line in outcome.mended)


def _outcome_json(session: Session, outcome: Outcome) -> dict[str, Any]:
    return {
        "published": [
            release_json(done.release) | {"before": str(done.before.name) if done.before else None}
            for done in outcome.published
        ],
        "foreseen": [_wanted(one.repository, str(one.name), one.commit) for one in outcome.foreseen],
        "refused": [
            {
                "channel": one.channel,
                "what": one.what,
                "code": one.error.code,
                "message": one.error.message,
                "hint": one.error.hint,
            }
            for one in outcome.problems
        ],
        "overtaken": [
            {"repository": wish.repository, "tag": str(wish.name), "by": str(newer)}
            for wish, newer in outcome.overtaken
        ],
        "fixed": outcome.mended,
        "dry_run": session.dry_run,
    }


def _wanted(repository: str, tag: str, commit: bytes) -> dict[str, str]:
    return {"repository": repository, "tag": tag, "commit": commit.hex()}
