"""boot: what machines boot from, written from the directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import unified_diff
from itertools import chain, islice
from typing import Any, Final

import click

from gitstate.boot import files
from gitstate.cli.base.app import Session, command, group
from gitstate.cli.base.output import emit, location, suggest, table
from gitstate.core.errors import PartlyDoneError
from gitstate.core.names import visible
from gitstate.core.wording import counted, some_of
from gitstate.release import boot_files
from gitstate.release.boot_files import Written

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
@click.option("--reload", is_flag=True, help="Reload the servers whose configuration changed.")
def write(session: Session, with_diff: bool, reload: bool) -> None:
    """Write the boot files of all clients.

    Snapshots that clients boot are exported, their kernels and initrds copied,
    and last the scripts that name them are written. Only changes are written.
    What stands is read back: a kernel, an archive or a script that the disk
    has damaged is written anew.
    """
    if session.dry_run:
        written = boot_files.preview(session.opened, session.observer)
    else:
        written = boot_files.write(session.opened, session.observer, reload=reload)
    plan = written.plan
    for path in plan.texts.kept:
        session.observer.notice(f"{plan.location(path)} is not from the package and is kept")
    diff = "\n".join(_diff(plan)) if with_diff else None
    emit(session, "boot-write/1", _as_json(session, written, diff), _lines(session, written, diff))
    if plan.pending and not reload:
        suggest(session, f"needs reload: {', '.join(files.servers(plan.pending))}; next: gitstate boot write --reload")
    if left_out := [text for one in written.archives for text in one.left_out]:
        raise PartlyDoneError(
            f"everything is written, but machine archives lack secrets: {some_of(left_out, 3, '; ')}",
            "move those secrets, then run: gitstate boot write",
        )
    if written.failed:
        raise PartlyDoneError(
            "everything is written, but "
            + "; ".join(f"{one.server} can't be reloaded: {one.why}" for one in written.failed),
            "fix that, then run: gitstate boot write --reload",
        )


# --- for people -------------------------------------------------------------------------------------------------------


def _lines(session: Session, written: Written, diff: str | None) -> Iterator[str]:
    plan = written.plan
    if diff:
        yield diff
        if written:
            yield ""
    rows = [[kind, *(str(counts[what]) for what in _COLUMNS)] for kind, counts in _counts(written).items()]
    changed = [row for row in rows if row[1:4] != ["0", "0", "0"]]
    yield from table(changed, ["", *_COLUMNS], colour=session.colour)
    word = "would be " if session.dry_run else ""
    if plan.group.gid is None:
        yield f"group {plan.group.name} {word}made"
    for user in plan.group.join:
        yield f"user {user} {word}made a member of group {plan.group.name}"
    if not written:
        yield f"nothing to write: {counted(plan.clients, 'client')}, {counted(len(plan.images.images), 'snapshot')}"
    for one in written.reloaded:
        command = " ".join(one.command)
        outcome = {"done": command, "by hand": f"by hand: {command}", "failed": f"{command} failed"}
        yield f"{one.server}: {outcome.get(one.outcome, one.outcome)}"


_COLUMNS: Final = ("new", "changed", "removed", "unchanged")


def _counts(written: Written) -> dict[str, Counter[str]]:
    """How many of each kind are new, changed, removed and unchanged."""
    plan = written.plan
    counts = {kind: Counter[str]() for kind in ("exports", "kernels and initrds", _ARCHIVES, *_KINDS.values())}
    counts["exports"]["new"] = len(plan.exports)
    counts["exports"]["unchanged"] = len(plan.images.images) - len(plan.exports)
    for copy in plan.images.copies:
        counts["kernels and initrds"]["new" if copy.is_new else "changed"] += 1
    counts["kernels and initrds"]["unchanged"] = len(plan.images.copied)
    for one in written.archives:
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


def _diff(plan: files.Plan) -> Iterator[str]:
    """Unified diffs of all texts that change, cut after many lines."""
    changed = (_one_diff(one.path, one.old, one.new) for one in plan.texts.files)
    removed = (_one_diff(one.path, one.old, None) for one in plan.texts.stale)
    lines = chain.from_iterable(chain(changed, removed))
    yield from islice(lines, _MOST_LINES)
    if left := sum(line.startswith("+++") for line in lines):
        yield f"… and {left} more files"


def _one_diff(path: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    before, after = ("/dev/null" if side is None else f"{letter}/{path}" for side, letter in ((old, "a"), (new, "b")))
    if b"\0" in (old or b"") + (new or b""):
        yield f"Binary files {before} and {after} differ"
        return
    old_lines, new_lines = ((side or b"").decode("utf-8", "replace").splitlines() for side in (old, new))
    yield from map(visible, unified_diff(old_lines, new_lines, before, after, lineterm=""))


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(session: Session, written: Written, diff: str | None) -> dict[str, Any]:
    site, plan = session.opened.site, written.plan
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
                "directory": location(site.path / one.folder),
                "added": sorted(one.added),
                "changed": sorted(one.changed),
                "removed": sorted(one.removed),
                "unchanged": one.kept,
            }
            for one in written.archives
        ],
        "written": [
            {"path": location(plan.location(file.path)), "status": "A" if file.old is None else "M"}
            for file in plan.texts.files
        ],
        "removed": [location(plan.location(one.path)) for one in plan.texts.stale],
        "unchanged": len(plan.texts.unchanged),
        "kept": [location(plan.location(path)) for path in plan.texts.kept],
        "needs_reload": files.servers(plan.pending),
        "reloads": [
            {"server": one.server, "command": list(one.command), "outcome": one.outcome.value, "why": one.why}
            for one in written.reloaded
        ],
        "diff": diff,
    }
