"""manifest and verify: compare a directory with a snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitstate.cli.base.app import Session, command, repo_argument, rev_argument
from gitstate.cli.base.output import emit, location, write_out
from gitstate.cli.tree.changes import change_lines, unrecorded_json, write_changed
from gitstate.core import fs
from gitstate.core.errors import DamagedError, NotFoundError, UsageError
from gitstate.core.names import display
from gitstate.tree import verify as verifying
from gitstate.tree.change import as_json
from gitstate.tree.full_manifest import full_manifest

if TYPE_CHECKING:
    from gitstate.release.integrity import Finding


@command("gitstate manifest desktop v12 > v12.mtree && mtree -f v12.mtree -p /mnt/root")
@repo_argument
@rev_argument
def manifest(session: Session, repo: str | None, rev: str | None) -> None:
    """Print snapshot REV as an mtree specification.

    NetBSD's mtree compares a directory with it: metadata, and the SHA-256 of
    every file. Extended attributes and hard links are in comments.
    """
    name, (revision,) = session.take(repo, rev)
    repository = session.opened.repository(name)
    commit = repository.resolve(revision or "HEAD")
    digest, entries = hashlib.sha256(), 0
    for line in full_manifest(repository, commit, session.observer):
        digest.update(line.encode("ascii"))
        entries += not line.startswith("#")
        if not session.json:
            write_out(line)
    if session.json:
        value = {"repository": name, "commit": commit.hex(), "entries": entries, "sha256": digest.hexdigest()}
        emit(session, "manifest/1", value, [])


@command("gitstate verify desktop v12", "gitstate verify desktop v12 /mnt/root", "gitstate verify --all", names=True)
@repo_argument
@rev_argument
@click.argument("directory", required=False, type=click.Path(readable=False))
@click.option("--all", "everything", is_flag=True, help="Read all that machines boot from, and all repositories.")
def verify(session: Session, repo: str | None, rev: str | None, directory: str | None, everything: bool) -> int:
    """Compare DIRECTORY with snapshot REV, byte by byte.

    Without DIRECTORY, compare REV's export; if it is damaged, gitstate export
    or gitstate reconcile make it again. Exits with 1 if they differ.

    With --all, check all repositories as fsck does, and compare every export,
    kernel, initrd, boot file, machine archive and secret with what was
    written. A secret is compared with what the last run saw. Damage is exit
    code 14.
    """
    if everything:
        if repo or session.raw:
            raise UsageError("--all takes no names and no -z", "gitstate verify --all")
        _verify_all(session)
        return 0
    name, (revision, where) = session.take(repo, rev, directory)
    repository = session.opened.repository(name)
    commit = repository.resolve(revision or "HEAD")
    target = Path(where) if where else session.opened.site.exports_path(name) / commit.hex()
    if where and target.is_file():
        raise NotFoundError(f"{target} is a file", "name a directory")
    if not fs.has_directory(target):
        hint = "name a directory" if where else f"gitstate export {name} {revision or 'HEAD'} makes it"
        raise NotFoundError(f"{target} doesn't exist", hint)
    if where:
        found = verifying.verify(repository, commit, target, session.observer)
    else:
        found = verifying.verify_export(repository, commit, target.parent, session.observer)
    if session.raw:
        write_changed(found.changes, found.links, times=True)
        return 1 if found else 0
    value = {
        "repository": name,
        "commit": commit.hex(),
        "directory": location(target),
        "equal": not found,
        "changes": [as_json(item) for item in found.changes],
        "links": [as_json(item) for item in found.links],
        "unread": unrecorded_json(found.unread),
    }
    lines = [*change_lines(session, found.changes, found.links, True)]
    lines += [f"?  {display(path)}  {why}" for path, why in found.unread]
    emit(session, "verify/1", value, lines or [f"{target} is {commit.hex()[:7]}"])
    return 1 if found else 0


def _finding_lines(found: Finding) -> Iterator[str]:
    yield from (f"{found.what}: {why}" for why in found.problems)
    yield f"  cure: {found.cure}" if found.problems else f"{found.what}: ok"


def _verify_all(session: Session) -> None:
    from gitstate.release import integrity  # all of a site, where other commands look at one repository

    found = list(integrity.verify_all(session.opened, session.observer))
    lines = [line for one in found for line in _finding_lines(one)]
    value = [
        {"what": one.what, "problems": list(one.problems), "cure": one.cure if one.problems else None} for one in found
    ]
    emit(session, "verify-all/1", {"checks": value}, lines)
    if bad := [one for one in found if one.problems and one.fault is None]:
        cures = "; ".join(dict.fromkeys(one.cure for one in bad))
        raise DamagedError(f"damaged: {', '.join(one.what for one in bad)}", cures)
    if faults := [one.fault for one in found if one.fault is not None]:
        raise faults[0]
