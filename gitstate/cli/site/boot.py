"""boot: what machines boot from, written from the directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from typing import Any, Final

import click

from gitstate.boot import files as publish
from gitstate.cli.base.app import Session, command, group
from gitstate.cli.base.output import emit, location, suggest, table
from gitstate.core.errors import PartlyDoneError
from gitstate.core.names import visible
from gitstate.release import archives, refresh
from gitstate.release.publishing import running
from gitstate.release.refresh import Refreshed

_MOST_LINES: Final = 2000
"""Of a diff: ten thousand scripts that all changed in one line are told by the first of them."""
_ARCHIVES: Final = "machine archives"
_KINDS: Final = {
    "tftp/boot/mac/": "scripts of machines",
    "tftp/boot/": "boot loaders",
    "tftp/": "scripts of snapshots",
    "etc/": "server configuration",
}


@group("gitstate boot write --reload")
def boot() -> None:
    """Boot files: what machines boot from.

    Scripts for iPXE, and the configuration of dnsmasq, nginx and the NFS
    server.
    """


@command(
    "gitstate boot write -n --diff",
    "gitstate boot write --reload",
    short_help="Write the boot files.",
    group=boot,
    writes=True,
)
@click.option("--diff", "with_diff", is_flag=True, help="Show the changes of text files.")
@click.option("--reload", "tells", is_flag=True, help="Reload the servers whose configuration changed.")
def write(session: Session, with_diff: bool, tells: bool) -> None:
    """Write the boot files of all clients.

    Snapshots that clients boot are exported, their kernels and initrds copied,
    and last the scripts that name them are written. Only changes are written.
    """
    site = session.opened.site
    if session.dry_run:
        refreshed = refresh.look(site)
        plan = publish.plan(site, session.opened.directory, session.observer, running=running(site))
        told: list[publish.ReloadResult] = []
    else:
        refreshed = refresh.refresh(site, session.observer)
        with publish.lock(site):
            plan = publish.plan(site, session.opened.directory, session.observer, running=running(site))
            publish.apply(plan, session.observer)
            told = publish.tell(plan) if tells else []
        refresh.clear(site, session.observer)
    for path in plan.texts.kept:
        session.observer.notice(f"{plan.location(path)} is not from the package and is kept")
    diff = "\n".join(_diff(plan)) if with_diff else None
    emit(
        session,
        "boot-write/1",
        _as_json(session, plan, refreshed, told, diff),
        _lines(session, plan, refreshed, told, diff),
    )
    if plan.pending and not tells:
        suggest(
            session, f"needs reload: {', '.join(publish.servers(plan.pending))}; next: gitstate boot write --reload"
        )
    if failed := [one for one in told if one.outcome is publish.Outcome.FAILED]:
        raise PartlyDoneError(
            "everything is written, but " + "; ".join(f"{one.server} can't be reloaded: {one.why}" for one in failed),
            "fix that, then run: gitstate boot write --reload",
        )


# --- for people -------------------------------------------------------------------------------------------------------


def _lines(
    session: Session, plan: publish.Plan, refreshed: list[Refreshed], told: list[publish.ReloadResult], diff: str | None
) -> Iterator[str]:
    if diff:
        yield diff
    if diff and (plan or _differs(refreshed)):
        yield ""
    rows = [[kind, *(str(counts[what]) for what in _COLUMNS)] for kind, counts in _counts(plan, refreshed).items()]
    changed = [row for row in rows if row[1:4] != ["0", "0", "0"]]
    yield from table(changed, ["", *_COLUMNS], colour=session.colour)
    word = "would be " if session.dry_run else ""
    if plan.group.gid is None:
        yield f"group {plan.group.name} {word}made"
    for user in plan.group.join:
        yield f"user {user} {word}made a member of group {plan.group.name}"
    if not plan and not _differs(refreshed):
        yield f"nothing to write: {_counted(plan.clients, 'client')}, {_counted(len(plan.images.images), 'snapshot')}"
    for one in told:
        command = " ".join(one.command)
        outcome = {"done": command, "by hand": f"by hand: {command}", "failed": f"{command} failed"}
        yield f"{one.server}: {outcome.get(one.outcome, one.outcome)}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)


_COLUMNS: Final = ("new", "changed", "removed", "unchanged")


def _differs(refreshed: list[Refreshed]) -> bool:
    return any(one.added or one.changed or one.removed for one in refreshed)


def _counts(plan: publish.Plan, refreshed: list[Refreshed]) -> dict[str, Counter[str]]:
    """How many of each kind come, change, go and stay."""
    counts = {kind: Counter[str]() for kind in ("exports", "kernels and initrds", _ARCHIVES, *_KINDS.values())}
    counts["exports"]["new"] = len(plan.exports)
    counts["exports"]["unchanged"] = len(plan.images.images) - len(plan.exports)
    for copy in plan.images.copies:
        counts["kernels and initrds"]["new" if copy.is_new else "changed"] += 1
    counts["kernels and initrds"]["unchanged"] = len(plan.images.copied)
    for one in refreshed:
        counts[_ARCHIVES] += Counter(
            {"new": len(one.added), "changed": len(one.changed), "removed": len(one.removed), "unchanged": one.kept}
        )
    for file in plan.texts.files:
        counts[_kind(file.path)]["new" if file.old is None else "changed"] += 1
    for stale in plan.texts.stale:
        counts[_kind(stale.path)]["removed"] += 1
    for path in plan.texts.unchanged:
        counts[_kind(path)]["unchanged"] += 1
    return counts


def _kind(path: str) -> str:
    return next(kind for start, kind in _KINDS.items() if path.startswith(start))


def _diff(plan: publish.Plan) -> Iterator[str]:
    """Unified diffs of all texts that change, cut after many lines."""
    lines = _all_diffs(plan)
    yield from islice(lines, _MOST_LINES)
    if left := sum(line.startswith("+++") for line in lines):
        yield f"… and {left} more files"


def _all_diffs(plan: publish.Plan) -> Iterator[str]:
    for file in plan.texts.files:
        yield from _one_diff(file.path, file.old, file.new)
    for one in plan.texts.stale:
        yield from _one_diff(one.path, one.old, None)


def _one_diff(path: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    before, after = ("/dev/null" if side is None else f"{letter}/{path}" for side, letter in ((old, "a"), (new, "b")))
    if b"\0" in (old or b"") + (new or b""):
        yield f"Binary files {before} and {after} differ"
        return
    old_lines, new_lines = ((side or b"").decode("utf-8", "replace").splitlines() for side in (old, new))
    yield from map(visible, unified_diff(old_lines, new_lines, before, after, lineterm=""))


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(
    session: Session, plan: publish.Plan, refreshed: list[Refreshed], told: list[publish.ReloadResult], diff: str | None
) -> dict[str, Any]:
    site = session.opened.site
    return {
        "dry_run": session.dry_run,
        "clients": plan.clients,
        "snapshots": len(plan.images.images),
        "group": {"name": plan.group.name, "made": plan.group.gid is None, "joined": list(plan.group.join)},
        "exports": [
            {"prototype": name, "commit": commit.hex(), "directory": location(site.exports_path(name) / commit.hex())}
            for name, commit in plan.exports
        ],
        "kernels": [
            {
                "prototype": copy.image.prototype,
                "commit": copy.image.commit,
                "directory": location(site.tftp / copy.image.path),
                "version": copy.version,
                "restored": copy.restored,
            }
            for copy in plan.images.copies
        ],
        "archives": [
            {
                "release": str(one.release.name),
                "directory": location(site.path / archives.folder_of(one.release.name)),
                "added": sorted(one.added),
                "changed": sorted(one.changed),
                "removed": sorted(one.removed),
                "unchanged": one.kept,
            }
            for one in refreshed
        ],
        "written": [
            {"path": location(plan.location(file.path)), "status": "A" if file.old is None else "M"}
            for file in plan.texts.files
        ],
        "removed": [location(plan.location(one.path)) for one in plan.texts.stale],
        "unchanged": len(plan.texts.unchanged),
        "kept": [location(plan.location(path)) for path in plan.texts.kept],
        "needs_reload": publish.servers(plan.pending),
        "reloads": [
            {"server": one.server, "command": list(one.command), "outcome": one.outcome.value, "why": one.why}
            for one in told
        ],
        "diff": diff,
    }
