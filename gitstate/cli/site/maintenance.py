"""fsck, gc."""

from __future__ import annotations

from typing import Any

import click

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit, size
from gitstate.core.errors import DamagedError, GitstateError, NotFoundError
from gitstate.core.wording import counted
from gitstate.release import integrity
from gitstate.tree import bootstrap, maintenance, verify
from gitstate.tree.maintenance import Repacked, Size


@command("gitstate fsck desktop", "gitstate fsck --json")
@repo_argument
def fsck(session: Session, repo: str | None) -> None:
    """Check REPO, or all repositories.

    Checks git's objects, then the records of every snapshot that a branch or
    tag reaches. Without REPO, also site.git and directory.git, and that what
    channels run is there.
    """
    site = session.opened.site
    names = [repo] if repo else [*site.repositories(), *integrity.own_repositories(site)]
    if not names:
        raise NotFoundError("there is nothing to check: no repositories", "gitstate prototype create makes one")
    unread: dict[str, GitstateError] = {}
    found = [(name, _problems(session, name, unread, alone=repo is not None)) for name in names]
    value = [{"repository": name, "problems": problems} for name, problems in found]
    lines = [line for name, problems in found for line in ([f"{name}: {one}" for one in problems] or [f"{name}: ok"])]
    emit(session, "fsck/1", {"repositories": value}, lines)
    if bad := [name for name, problems in found if problems and name not in unread]:
        raise DamagedError(f"damaged: {', '.join(bad)}", "fetch what is missing from a clone or a backup")
    if unread:
        raise next(iter(unread.values()))


def _problems(session: Session, name: str, unread: dict[str, GitstateError], *, alone: bool) -> list[str]:
    """What is wrong. Of many repositories one that can't even be read doesn't keep the others from their turn.

    If that is no damage but lack of rights, say, the error joins ``unread``.
    """
    try:
        if name in integrity.own_repositories(session.opened.site):
            return integrity.fsck_own(session.opened, name, session.observer)
        return verify.fsck(session.opened.repository(name), session.observer)
    except GitstateError as error:
        if alone:
            raise
        if not isinstance(error, DamagedError):
            unread[name] = error
        return [error.message]


@command("gitstate gc", "gitstate gc --aggressive desktop", writes=True)
@repo_argument
@click.option("--aggressive", is_flag=True, help="Look for better deltas: slow, for long-term storage.")
def gc(session: Session, repo: str | None, aggressive: bool) -> None:
    """Repack REPO, or all repositories.

    What check-ins wrote is compressed, packs are joined where that pays, and
    objects that no branch or tag has reached for two weeks are dropped.
    --aggressive compresses everything again. Without REPO, also site.git and
    directory.git.
    """
    site = session.opened.site
    names = [repo] if repo else [*site.repositories(), *integrity.own_repositories(site)]
    if repo is None and not session.dry_run:
        bootstrap.clear_killed(site)
    found = {}
    for name in names:
        repository = integrity.open_repository(session.opened, name)
        found[name] = maintenance.gc(repository, name, session.observer, aggressive=aggressive, dry_run=session.dry_run)
    value = {"repositories": [_as_json(name, one) for name, one in found.items()], "dry_run": session.dry_run}
    emit(session, "gc/1", value, [_line(session, name, one) for name, one in found.items()])


def _line(session: Session, name: str, one: Repacked) -> str:
    then = f", {one.compressed} to compress" if session.dry_run else f" -> {_size(one.after)}"
    return f"{name}: {_size(one.before)}{then}"


def _size(one: Size) -> str:
    return f"{size(one.size)} in {counted(one.packs, 'pack')}"


def _as_json(name: str, one: Repacked) -> dict[str, Any]:
    return {
        "repository": name,
        "before": one.before.size,
        "after": one.after.size,
        "packs_before": one.before.packs,
        "packs_after": one.after.packs,
        "compressed": one.compressed,
    }
