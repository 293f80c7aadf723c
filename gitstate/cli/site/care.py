"""fsck and gc."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, common, pass_session, repo_argument, writes
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, size
from gitstate.core.errors import DamagedError, GitstateError
from gitstate.core.names import octal
from gitstate.store import repack
from gitstate.tree import merge, verify


@click.command(cls=Command, examples=("gitstate fsck desktop", "gitstate fsck --json"))
@repo_argument
@common
@pass_session
def fsck(session: Session, repo: str | None) -> None:
    """Check REPO, or all: git's objects, then every record.

    Every snapshot that any branch or tag reaches is read.
    """
    found = [(name, _problems(session, name, alone=repo is not None)) for name in _names(session, repo)]
    value = [{"repository": name, "problems": problems} for name, problems in found]
    lines = [line for name, problems in found for line in ([f"{name}: {one}" for one in problems] or [f"{name}: ok"])]
    emit(session, "fsck/1", {"repositories": value}, lines)
    if bad := [name for name, problems in found if problems]:
        raise DamagedError(f"damaged: {', '.join(bad)}", "fetch what is missing from a clone or a backup")


def _problems(session: Session, name: str, *, alone: bool) -> list[str]:
    """What is wrong. Of many repositories one that can't even be opened doesn't keep the others from their turn."""
    try:
        return verify.fsck(session.repository(name), session.observer)
    except GitstateError as error:
        if alone:
            raise
        return [error.message]


def _names(session: Session, repo: str | None) -> list[str]:
    return [repo] if repo else list(session.site.repositories())


@click.command(cls=Command, examples=("gitstate gc", "gitstate gc --aggressive desktop"))
@repo_argument
@click.option("--aggressive", is_flag=True, help="Look for better deltas: slow, for long-term storage.")
@common
@writes
@pass_session
def gc(session: Session, repo: str | None, aggressive: bool) -> None:
    """Repack REPO, or all, and drop what is long unreachable.

    What check-ins wrote is squeezed, packs are joined where that pays, and what no branch and no tag has reached for
    two weeks goes with the pack that it is in. --aggressive squeezes everything anew.
    """
    report: list[dict[str, Any]] = []
    lines: list[str] = []
    for name in _names(session, repo):
        repository = session.repository(name)
        plan = repack.plan(repository, aggressive=aggressive)
        after = repack.Weight(plan.size, plan.packs)
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
                "squeezed": plan.fresh,
            }
        )
        then = f", {plan.fresh} to squeeze" if session.dry_run else f" -> {_weight(after.size, after.packs)}"
        lines.append(f"{name}: {_weight(plan.size, plan.packs)}{then}")
    emit(session, "gc/1", {"repositories": report, "dry_run": session.dry_run}, lines)


def _weight(nbytes: int, packs: int) -> str:
    return f"{size(nbytes)} in {packs} pack{'' if packs == 1 else 's'}"


@click.command(
    "merge-driver", cls=Command, hidden=True, examples=("git merge runs it: gitstate merge-driver %O %A %B",)
)
@click.argument("base", type=click.Path(path_type=Path, readable=False))
@click.argument("ours", type=click.Path(path_type=Path, readable=False))
@click.argument("theirs", type=click.Path(path_type=Path, readable=False))
@common
@pass_session
def merge_driver(session: Session, base: Path, ours: Path, theirs: Path) -> int:
    """Merge three .gitstate files into OURS, entry by entry.

    git runs it for merge=gitstate (gitattributes(5)). Exits with 1 where both sides insist.
    """
    parsed = [merge.parse_side(path.read_bytes(), path.name) for path in (base, ours, theirs)]
    result = merge.merge_records(*parsed)
    ours.write_bytes(result.text)
    for name in result.conflicts:
        print(f"both sides changed the record of {octal(name)}", file=sys.stderr)
    return 1 if result.conflicts else 0
