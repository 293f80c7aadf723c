"""export, clone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import PATH, Session, command, complete_repository, repo_argument, rev_argument
from gitstate.cli.base.output import emit, location
from gitstate.core import fs
from gitstate.core.compression import Compression
from gitstate.core.errors import UsageError
from gitstate.tree import export as exporting


@command(
    "gitstate export desktop",
    "gitstate export desktop v12 --to /mnt/root",
    "gitstate export desktop v12 --oci /srv/images/desktop",
    writes=True,
)
@repo_argument
@rev_argument
@click.option("--to", metavar="DIR", type=PATH, help="A new or empty directory, instead of the site's exports.")
@click.option("--oci", metavar="DIR", type=PATH, help="Make a container image: an OCI layout in a new directory.")
@click.option(
    "--compress",
    metavar="HOW",
    type=click.Choice([one.value for one in Compression]),
    help="With --oci: gzip [default], which every tool reads, or zstd.",
)
def export(
    session: Session, repo: str | None, rev: str | None, to: Path | None, oci: Path | None, compress: str | None
) -> None:
    """Export snapshot REV as an immutable directory.

    Prints its path. Files are hard-linked from the nearest export of REPO. An
    export that exists is not made again. A directory of your own (--to) shares
    no files with exports; on btrfs and XFS it shares their disk space.

    An image (--oci) has one layer. The same snapshot gives the same digests.
    """
    if to is not None and oci is not None:
        raise UsageError("--to and --oci exclude each other", "choose one")
    if compress is not None and oci is None:
        raise UsageError("--compress belongs to --oci", "--oci DIR")
    name, (revision,) = session.take(repo, rev)
    if oci is not None:
        _image(session, name, revision or "HEAD", oci, Compression(compress or "gzip"))
        return
    repository = session.opened.repository(name)
    commit = repository.resolve(revision or "HEAD")
    plan = exporting.plan(repository, commit, session.opened.site.exports_path(name), to)
    nearest = plan.nearest.path if plan.nearest and plan.nearest.linkable else None
    value: dict[str, Any] = {
        "repository": name,
        "commit": commit.hex(),
        "directory": location(plan.target),
        "present": plan.done,
        "nearest": location(nearest) if nearest else None,
        "dry_run": session.dry_run,
    }
    if session.dry_run:
        what = "is there already" if plan.done else f"would be linked from {nearest}" if nearest else "would be written"
        nothing = {"linked": 0, "cloned": 0, "written": 0, "bytes": 0, "inexact_times": 0}
        emit(session, "export/1", value | nothing, [f"{plan.target} {what}"])
        return
    session.observer.phase("export")
    counts = exporting.apply(plan, session.observer)
    value |= {"linked": counts.linked, "cloned": counts.cloned, "written": counts.written, "bytes": counts.bytes}
    value["inexact_times"] = counts.inexact_times
    emit(session, "export/1", value, [str(plan.target)])


def _image(session: Session, name: str, revision: str, target: Path, compression: Compression) -> None:
    from gitstate.tree import oci

    repository = session.opened.repository(name)
    plan = oci.plan_image(repository, repository.resolve(revision), target, compression)
    value: dict[str, Any] = {
        "repository": name,
        "commit": plan.commit.hex(),
        "directory": location(plan.target),
        "image": oci.NAME,
        "dry_run": session.dry_run,
    }
    if session.dry_run:
        nothing = dict.fromkeys(("manifest", "layer", "diff_id", "size", "entries"))
        emit(session, "export-image/1", value | nothing, [f"{plan.target}:{oci.NAME} would be written"])
        return
    written = oci.write_image(plan, session.observer)
    emit(session, "export-image/1", value | asdict(written), [f"{plan.target}:{oci.NAME}  {written.manifest}"])


@command("gitstate clone desktop ~/desktop", writes=True)
@click.argument("repo", required=False, shell_complete=complete_repository)
@click.argument("directory", required=False, metavar="DIRECTORY", type=click.Path(readable=False))
def clone(session: Session, repo: str | None, directory: str | None) -> None:
    """Clone REPO to DIRECTORY by plain git.

    The clone is set up so that git converts no bytes and shows readable diffs
    of records. Edit it with git, and push your commits back.
    """
    name, (where,) = session.take(repo, directory)
    if where is None:
        raise UsageError("DIRECTORY is missing", "gitstate clone REPO DIRECTORY")
    repository, target = session.opened.repository(name), Path(where)
    value = {"repository": name, "directory": location(target), "dry_run": session.dry_run}
    if session.dry_run:
        fs.require_empty(target, "clone into a new one")
        emit(session, "clone/1", value, [f"would clone {repository.path} to {target}"])
        return
    session.observer.phase(f"git clone {name}")
    repository.clone(target)
    emit(session, "clone/1", value, [str(target)])
