"""live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit, location
from gitstate.core.errors import UsageError
from gitstate.tree import live as engine
from gitstate.tree.live import Action

_MODES: Final = {"dir": Action.DIRECTORY, "overlay": Action.OVERLAY}


@command(
    "gitstate live desktop --mode overlay",
    "gitstate live desktop --fold",
    "gitstate live --all",
    writes=True,
)
@repo_argument
@click.option("--mode", metavar="dir|overlay", type=click.Choice(sorted(_MODES)), help="What the live tree is to be.")
@click.option("--fold", is_flag=True, help="Lay it anew over the newest snapshot, with nothing above.")
@click.option("--all", "everyone", is_flag=True, help="Mount all live trees that are overlays, as after a boot.")
def live(session: Session, repo: str | None, mode: str | None, fold: bool, everyone: bool) -> None:
    """Show, mount or change what REPO's live tree is.

    A directory, or an overlay: then the export of a snapshot lies below, and a
    check-in and status read only what was edited. Without options an overlay
    that isn't mounted is mounted. --mode and --fold want all edits checked in,
    and nothing that uses the tree.
    """
    if everyone and (repo or mode or fold):
        raise UsageError("--all stands alone", "gitstate live --all")
    names = session.opened.site.repositories() if everyone else [session.name(repo)]
    rows = [_one(session, name, _MODES[mode] if mode else None, fold) for name in names]
    if everyone:
        rows = [row for row in rows if row["mode"] == "overlay"]
    emit(session, "live/1", {"trees": rows, "dry_run": session.dry_run}, _lines(session, rows))
    if any(row["action"] == "fold" for row in rows) and not session.dry_run:
        session.observer.notice("clients that have it mounted by NFS must mount it again: their handles are stale")


def _one(session: Session, name: str, mode: Action | None, fold: bool) -> dict[str, Any]:
    repository = session.opened.repository(name)
    exports = session.opened.site.exports_path(name)
    if repository.live is None or (mode is None and not fold and engine.is_empty(repository)):
        return _row(name, None, "dir", Action.NOTHING, None)
    plan = engine.plan(repository, exports, session.observer, mode=mode, fold=fold)
    done = plan if session.dry_run else engine.apply(plan, session.observer)
    is_overlay = done.action is not Action.DIRECTORY and (done.layers is not None or done.action is Action.OVERLAY)
    return _row(name, done, "overlay" if is_overlay else "dir", done.action, done.commit)


def _row(name: str, done: engine.Plan | None, mode: str, action: Action, commit: bytes | None) -> dict[str, Any]:
    return {
        "repository": name,
        "live": location(done.live) if done else None,
        "mode": mode,
        "action": action.value,
        "commit": commit.hex() if commit else None,
    }


def _lines(session: Session, rows: list[dict[str, Any]]) -> Iterator[str]:
    would = "would be " if session.dry_run else ""
    did = {"mount": f"{would}mounted", "overlay": f"{would}made", "fold": f"{would}folded", "dir": f"{would}made"}
    for row in rows:
        what = f"an overlay over {row['commit'][:7]}" if row["mode"] == "overlay" else "a directory"
        done = f", {did[row['action']]}" if row["action"] in did else ""
        yield f"{row['repository']}: {what}{done}  {row['live'] or ''}".rstrip()
