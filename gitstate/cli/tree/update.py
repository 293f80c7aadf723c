"""update."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit, location
from gitstate.cli.tree.changes import change_lines, live_option, unrecorded_json
from gitstate.cli.tree.restore import numbers, summary, tell
from gitstate.tree import checkin as engine
from gitstate.tree import restore as restoring
from gitstate.tree import update as updating
from gitstate.tree.change import Change, LinksChanged, as_json
from gitstate.tree.update import Update


@command("gitstate update desktop", "gitstate update -n desktop", writes=True)
@repo_argument
@live_option
def update(session: Session, repo: str | None, live: Path | None) -> None:
    """Bring REPO's live tree to main, where others have pushed.

    Edits that aren't checked in stay: they are merged, texts by line, metadata
    by keyword. Where an edit and a commit don't go together, nothing is
    written, and the paths are named (exit code 12). -n shows what would change.
    """
    name = session.name(repo)
    repository = session.opened.repository(name)
    tree = engine.live_tree(repository, live)
    done = (updating.preview if session.dry_run else updating.run)(repository, tree, session.observer)
    shown = session.dry_run or session.json
    changes, links = restoring.changes(done.plan) if done.plan and shown else ([], [])
    left = [*(done.plan.skipped if done.plan else ()), *(done.counts.left if done.counts else ())]
    value = {
        "repository": name,
        "live": location(tree),
        "base": done.base.hex(),
        "commit": done.tip.hex(),
        "edited": done.edited,
        "changes": [as_json(one) for one in changes],
        "links": [as_json(one) for one in links],
        "left": unrecorded_json(left),
        **numbers(done.counts),
        "dry_run": session.dry_run,
    }
    emit(session, "update/1", value, _lines(session, name, done, changes, links))
    if done.plan:
        tell(session, done.plan, done.counts)


def _lines(
    session: Session, name: str, done: Update, changes: list[Change], links: list[LinksChanged]
) -> Iterator[str]:
    if done.plan is None:
        yield f"{name}: the live tree is at main, {done.tip.hex()[:7]}"
    elif done.counts is None:
        yield from change_lines(session, changes, links, times=False)
    else:
        stay = ", edits stay" if done.edited else ""
        yield f"{name}: {done.base.hex()[:7]} -> {done.tip.hex()[:7]}  {summary(done.counts)}{stay}"
