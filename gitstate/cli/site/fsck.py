"""fsck."""

from __future__ import annotations

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit
from gitstate.core.errors import DamagedError, GitstateError
from gitstate.tree import verify


@command("gitstate fsck desktop", "gitstate fsck --json")
@repo_argument
def fsck(session: Session, repo: str | None) -> None:
    """Check REPO, or all repositories.

    Checks git's objects, then the records of every snapshot that a branch or
    tag reaches.
    """
    names = [repo] if repo else session.opened.site.repositories()
    found = [(name, _problems(session, name, alone=repo is not None)) for name in names]
    value = [{"repository": name, "problems": problems} for name, problems in found]
    lines = [line for name, problems in found for line in ([f"{name}: {one}" for one in problems] or [f"{name}: ok"])]
    emit(session, "fsck/1", {"repositories": value}, lines)
    if bad := [name for name, problems in found if problems]:
        raise DamagedError(f"damaged: {', '.join(bad)}", "fetch what is missing from a clone or a backup")


def _problems(session: Session, name: str, *, alone: bool) -> list[str]:
    """What is wrong. Of many repositories one that can't even be opened doesn't keep the others from their turn."""
    try:
        return verify.fsck(session.opened.repository(name), session.observer)
    except GitstateError as error:
        if alone:
            raise
        return [error.message]
