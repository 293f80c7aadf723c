"""gc."""

from __future__ import annotations

from typing import Any

import click

from gitstate.cli.base.app import Session, common, pass_session, repo_argument, writes
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, size
from gitstate.store import repack


def _names(session: Session, repo: str | None) -> list[str]:
    return [repo] if repo else list(session.opened.site.repositories())


@click.command(cls=Command, examples=("gitstate gc", "gitstate gc --aggressive desktop"))
@repo_argument
@click.option("--aggressive", is_flag=True, help="Look for better deltas: slow, for long-term storage.")
@common
@writes
@pass_session
def gc(session: Session, repo: str | None, aggressive: bool) -> None:
    """Repack REPO, or all repositories, and drop old unreachable objects.

    What check-ins wrote is compressed, packs are joined where that pays, and
    objects that no branch or tag has reached for two weeks are dropped.
    --aggressive compresses everything again.
    """
    report: list[dict[str, Any]] = []
    lines: list[str] = []
    for name in _names(session, repo):
        repository = session.opened.repository(name)
        plan = repack.plan(repository, aggressive=aggressive)
        after = repack.Size(plan.size, plan.packs)
        if not session.dry_run:
            with repository.lock("gc"):
                session.observer.phase(f"git repack {name}")
                after = repack.apply(repository, plan)
        report.append(
            {
                "repository": name,
                "before": plan.size,
                "after": after.size,
                "packs_before": plan.packs,
                "packs_after": after.packs,
                "compressed": plan.fresh,
            }
        )
        then = f", {plan.fresh} to compress" if session.dry_run else f" -> {_weight(after.size, after.packs)}"
        lines.append(f"{name}: {_weight(plan.size, plan.packs)}{then}")
    emit(session, "gc/1", {"repositories": report, "dry_run": session.dry_run}, lines)


def _weight(nbytes: int, packs: int) -> str:
    return f"{size(nbytes)} in {packs} pack{'' if packs == 1 else 's'}"
