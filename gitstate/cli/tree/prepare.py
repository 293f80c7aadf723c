"""prepare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit, location, suggest, table
from gitstate.core.names import display, octal
from gitstate.tree import checkin
from gitstate.tree import prepare as engine
from gitstate.tree.prepare import Concern, Kernel, Step

_SUMMARY: Final = {
    Concern.HOST_KEYS: "host keys removed",
    Concern.MACHINE_ID: "machine-id emptied",
    Concern.FSTAB: "disks commented out of fstab",
    Concern.HOOK: "boot interface left alone",
    Concern.INITRD: "initrd has nfs + overlay",
}


@command(
    "gitstate prepare desktop --dry-run", "gitstate prepare desktop", "gitstate prepare desktop --install", writes=True
)
@repo_argument
@click.option("--install", is_flag=True, help="Install missing packages with apt-get in the live tree.")
def prepare(session: Session, repo: str | None, install: bool) -> None:
    """Make REPO's live tree bootable without a disk.

    What belongs to one machine is removed (host keys, machine-id, logs,
    caches), the boot hook is installed, and the initrd of every kernel is
    rebuilt if it would change. Record the result with checkin.
    """
    name = session.name(repo)
    repository = session.opened.repository(name)
    live = checkin.live_tree(repository, None)
    value: dict[str, Any] = {"repository": name, "live": location(live), "dry_run": session.dry_run}
    if session.dry_run:
        plan = engine.plan(live, install=install, name=name)
        value |= _as_json(plan.install, plan.steps, plan.kernels)
        emit(session, "prepare/1", value, _rows(plan) if plan else [f"{name}: nothing to do"])
        return
    done = engine.prepare(repository, live, session.observer, install=install, name=name)
    value |= _as_json(done.installed, done.steps, done.kernels)
    summary = [text for concern, text in _SUMMARY.items() if concern in done.concerns]
    if done.installed:
        summary.insert(0, f"{len(done.installed)} packages installed")
    line = ", ".join(summary) or f"{name}: {'tidied' if done else 'nothing to do'}"
    emit(session, "prepare/1", value, [line])
    if done:
        suggest(session, f"next: gitstate checkin {name} -m 'ready to boot'")


def _rows(plan: engine.Plan) -> Iterator[str]:
    rows = [("install", package, "needed to boot") for package in plan.install]
    rows += [(step.action, f"/{display(step.path)}", step.reason) for step in plan.steps]
    rows += [("make", f"/{display(kernel.initrd)}", "nfs, overlay, boot hook") for kernel in plan.kernels]
    if plan.install:
        rows += [("make", "/boot/initrd.img-*", "of all kernels installed then")]
    yield from table(rows, ("ACTION", "PATH", "REASON"))


def _as_json(installed: Iterable[str], steps: Iterable[Step], kernels: Iterable[Kernel]) -> dict[str, Any]:
    return {
        "install": list(installed),
        "steps": [
            {"action": step.action, "path": octal(step.path), "concern": str(step.concern), "reason": step.reason}
            for step in steps
        ],
        "initrds": [{"kernel": kernel.version, "path": octal(kernel.initrd)} for kernel in kernels],
    }
