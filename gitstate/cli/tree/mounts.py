"""mount and umount."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit, location
from gitstate.cli.tree.changes import live_option
from gitstate.core.names import display, octal
from gitstate.core.wording import counted, some_of
from gitstate.tree import checkin as engine
from gitstate.tree import mounts as use_case
from gitstate.tree.mounts import Mount


@command("gitstate mount desktop", "gitstate mount desktop --dry-run", writes=True)
@repo_argument
@live_option
def mount(session: Session, repo: str | None, live: Path | None) -> None:
    """Mount in REPO's live tree what programs need, in view of all.

    /proc, /sys, /dev, /run, /tmp, /var/tmp, package caches and the server's
    resolver, so that chroot works; gitstate shell does without. A check-in
    records nothing of it. To be undone by umount.
    """
    name = session.name(repo)
    repository = session.opened.repository(name)
    tree = engine.live_tree(repository, live)
    todo = use_case.plan_view(repository, tree)
    if not session.dry_run and todo.mounts:
        use_case.view(repository, tree)
    lines = mount_lines(todo.mounts) if session.dry_run else [_mounted(name, tree, todo.mounts)]
    value = {"repository": name, "live": location(tree), "mounts": mounts_json(todo.mounts), "dry_run": session.dry_run}
    emit(session, "mount/1", value, lines)


@command("gitstate umount desktop", writes=True)
@repo_argument
@live_option
def umount(session: Session, repo: str | None, live: Path | None) -> None:
    """Undo mount, also after a crash.

    A mount that something uses goes out of sight at once, and ends when nothing
    uses it any more. What others mounted there stays.
    """
    name = session.name(repo)
    repository = session.opened.repository(name)
    tree = engine.live_tree(repository, live)
    points = use_case.points_in_view(repository, tree)
    busy = [] if session.dry_run else use_case.unview(repository, tree)
    value = {
        "repository": name,
        "live": location(tree),
        "mounts": [octal(point) for point in points],
        "busy": [octal(point) for point in busy],
        "dry_run": session.dry_run,
    }
    if busy:
        named = some_of([f"/{display(point)}" for point in sorted(busy)])
        session.observer.notice(f"in use, so it ends when nothing uses it any more: {named}")
    done = "would be unmounted" if session.dry_run else "unmounted"
    line = f"{name}: {counted(len(points), 'mount')} {done}" if points else f"{name}: nothing is mounted"
    emit(session, "umount/1", value, [line])


def mount_lines(mounts: Iterable[Mount]) -> Iterator[str]:
    """A line for each mount, for people."""
    yield from (f"mount  /{display(one.point)}" for one in mounts)


def mounts_json(mounts: Iterable[Mount]) -> list[str]:
    """The mount points, for JSON."""
    return [octal(one.point) for one in mounts]


def _mounted(name: str, live: Path, mounts: tuple[Mount, ...]) -> str:
    if not mounts:
        return f"{name}: all is mounted already"
    return f"{name}: {counted(len(mounts), 'mount')} in {live}: chroot {live}; then gitstate umount {name}"
