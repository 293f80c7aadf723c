"""fsck and gc."""

from __future__ import annotations

from typing import Any

import click

from gitstate import verify
from gitstate.cli.app import Session, common, pass_session, writes
from gitstate.cli.output import emit, size
from gitstate.errors import Damaged


@click.command(epilog="Example:  gitstate fsck desktop")
@click.argument("repo", required=False)
@common
@pass_session
def fsck(session: Session, repo: str | None) -> None:
    """Check REPO (all repositories if left out): git's objects, then every record of every snapshot."""
    names = [repo] if repo else list(session.site.repositories())
    problems = {name: verify.fsck(session.site.repository(name), session.observer) for name in names}
    lines = [
        line for name, found in problems.items() for line in ([f"{name}: {one}" for one in found] or [f"{name}: ok"])
    ]
    emit(session, "fsck/1", {"problems": problems}, lines)
    if any(problems.values()):
        raise Damaged("the repository is damaged", "fetch what is missing from a clone or a backup")


@click.command(epilog="Example:  gitstate gc desktop")
@click.argument("repo", required=False)
@click.option("--aggressive", is_flag=True, help="Look for better deltas: slow, for long-term storage.")
@common
@writes
@pass_session
def gc(session: Session, repo: str | None, aggressive: bool) -> None:
    """Repack REPO (all repositories if left out) and drop what nothing has reached for two weeks."""
    names = [repo] if repo else list(session.site.repositories())
    report: list[dict[str, Any]] = []
    for name in names:
        repository = session.site.repository(name)
        before = after = repository.size()
        if not session.dry_run:
            with repository.lock("gc"):
                session.observer.phase(f"git repack {name}")
                before, after = repository.collect_garbage(aggressive=aggressive)
        report.append({"repository": name, "before": before, "after": after})
    word = "now" if session.dry_run else "->"
    lines = [f"{one['repository']}: {size(one['before'])} {word} {size(one['after'])}" for one in report]
    emit(session, "gc/1", {"repositories": report}, lines)
