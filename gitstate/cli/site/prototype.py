"""prototype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import PATH, Session, command, complete_prototype, group
from gitstate.cli.base.output import confirm, date, emit, location, moment, shortened, size, suggest, table
from gitstate.core import fs
from gitstate.core.errors import PartlyDoneError, UsageError
from gitstate.core.names import repo_name, visible
from gitstate.tree import bootstrap, prototypes
from gitstate.tree.prototypes import Summary


@group("gitstate prototype list", "gitstate prototype create --help")
def prototype() -> None:
    """Prototypes: root filesystems with their history.

    A prototype is the model for a class of machines.
    """


@command(
    "gitstate prototype create desktop --bootstrap bookworm \\\n    --include xfce4,openssh-server",
    "gitstate prototype create server --live /srv/roots/server",
    "gitstate prototype create kiosk --from desktop@v12",
    "gitstate prototype create old --from ./old-root.tar.zst",
    "gitstate prototype create base --from ./image-layout@stable",
    group=prototype,
    writes=True,
)
@click.argument("name")
@click.option("--live", metavar="DIR", type=PATH, help="Use this directory where it is.")
@click.option(
    "--from",
    "origin",
    metavar="SOURCE",
    help="Copy a directory, a tarball or an image (PATH[@NAME] with a / or .tar), or fork PROTOTYPE[@REV].",
    shell_complete=complete_prototype,
)
@click.option("--bootstrap", "suite", metavar="SUITE", help="Install Debian with mmdebstrap.")
@click.option("--include", multiple=True, metavar="PKGS", help="Extra packages, separated by commas.")
@click.option(
    "--variant", metavar="NAME", default=bootstrap.DEFAULT_VARIANT, show_default=True, help="Variant of mmdebstrap."
)
@click.option("--mirror", multiple=True, metavar="URI", help="Package mirror for mmdebstrap; repeatable.")
def create(
    session: Session,
    name: str,
    live: Path | None,
    origin: str | None,
    suite: str | None,
    include: tuple[str, ...],
    variant: str,
    mirror: tuple[str, ...],
) -> None:
    """Create the prototype NAME and its live tree.

    The live tree is a new directory of the site (empty, copied or installed) or
    an existing one (--live). Record the first snapshot with checkin.
    """
    if sum(option is not None for option in (live, origin, suite)) > 1:
        raise UsageError("--live, --from and --bootstrap exclude each other", "choose one")
    if (include or mirror) and suite is None:
        raise UsageError("--include and --mirror belong to --bootstrap", "name a SUITE: --bootstrap bookworm")
    packages = tuple(package for words in include for package in words.replace(",", " ").split())
    from gitstate.release.renaming import refuse_taken  # not needed by the other commands

    copied, image, fork = _origin(origin)
    source = bootstrap.Source(live, copied, fork, suite, packages, variant, mirror, image)
    refuse_taken(session.opened, name)
    plan = bootstrap.plan(session.opened.site, name, source)
    if not session.dry_run:
        bootstrap.apply(plan, session.observer)
    value = {
        "repository": name,
        "git_dir": location(plan.repository),
        "live": location(plan.live),
        "plan": plan.describe(),
        "dry_run": session.dry_run,
    }
    lines = plan.describe() if session.dry_run else [f"{name}: live in {plan.live}"]
    emit(session, "prototype-create/1", value, lines)
    if not session.dry_run:
        suggest(session, f"next: gitstate checkin {name} -m 'as installed'")


def _origin(text: str | None) -> tuple[Path | None, str | None, tuple[str, str] | None]:
    """``--from``: with a ``/`` a path, and perhaps an image's name behind it, else a prototype and a revision."""
    if text is None:
        return None, None, None
    if "/" in text or ".tar" in text:
        path, at, image = text.rpartition("@")
        if at and path and fs.is_free(Path(text)) and not fs.is_free(Path(path)):
            return Path(path), image, None
        return Path(text), None, None
    name, _, revision = text.partition("@")
    return None, None, (repo_name(name), revision or "HEAD")


@command("gitstate prototype list", name="list", group=prototype)
def list_(session: Session) -> None:
    """List the prototypes and their latest snapshots."""
    found = prototypes.summaries(session.opened.site)
    heads = ("NAME", "SNAPSHOT", "CHECKED IN", "MESSAGE", "LIVE TREE")
    lines = table([_row(one) for one in found], heads, colour=session.colour)
    value = {"prototypes": [_as_json(one) | {"problem": one.problem} for one in found]}
    emit(session, "prototype-list/1", value, lines)
    if not found:
        suggest(session, "no prototypes yet: gitstate prototype create NAME")
    if problems := [one.problem for one in found if one.problem]:
        raise PartlyDoneError("; ".join(problems), "run gitstate fsck")


def _row(one: Summary) -> tuple[str, ...]:
    if one.problem:
        return one.name, "?", "?", "?", "?"
    live = str(one.live or "-")
    if one.snapshot is None:
        return one.name, "-", "-", "-", live
    snapshot = one.snapshot
    return one.name, snapshot.oid.hex()[:7], date(snapshot.when), shortened(snapshot.subject, 50), live


@command("gitstate prototype show desktop", group=prototype)
@click.argument("name", shell_complete=complete_prototype)
def show(session: Session, name: str) -> None:
    """Show one prototype."""
    found = prototypes.details(session.opened.site, name, session.opened.repository(repo_name(name)))
    snapshot = found.summary.snapshot
    value = _as_json(found.summary) | {
        "git_dir": location(found.path),
        "size": found.size,
        "tags": found.tags,
        "exports": found.exports,
    }
    latest = f"{snapshot.oid.hex()[:7]} {visible(snapshot.subject)}" if snapshot else "none yet"
    lines = [
        name,
        f"  repository  {found.path} ({size(found.size)})",
        f"  live tree   {found.summary.live or 'none'}",
        f"  snapshot    {latest}",
        f"  tags        {' '.join(found.tags) or 'none'}",
        f"  exports     {' '.join(oid[:7] for oid in found.exports) or 'none'}",
    ]
    emit(session, "prototype-show/1", value, lines)


def _as_json(one: Summary) -> dict[str, Any]:
    snapshot = one.snapshot
    return {
        "repository": one.name,
        "live": location(one.live) if one.live else None,
        "commit": snapshot.oid.hex() if snapshot else None,
        "when": moment(snapshot.when) if snapshot else None,
        "subject": snapshot.subject if snapshot else None,
    }


@command("gitstate prototype rename desktop office", group=prototype, writes=True)
@click.argument("name", shell_complete=complete_prototype)
@click.argument("new")
def rename(session: Session, name: str, new: str) -> None:
    """Give the prototype NAME the name NEW.

    Repository, live tree, exports, channels, pinned clients, releases and boot
    files follow. Machines that run go on; one that is just booting has to boot
    again. If it was interrupted, run it again.
    """
    from gitstate.cli.base.renaming import renamed  # not needed by the other commands
    from gitstate.release import renaming

    renamed(session, "prototype-rename/1", renaming.plan(session.opened, repo_name(name), repo_name(new)))


@command("gitstate prototype remove old --yes", group=prototype, writes=True)
@click.argument("name", shell_complete=complete_prototype)
@click.option("--yes", is_flag=True, help="Don't ask.")
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove a prototype, its history and its exports.

    Its live tree is removed, too, unless it was adopted with --live. Nothing is
    removed while anything is mounted below it.
    """
    from gitstate.release.channels import refuse_if_released  # not needed by the other commands

    removal = bootstrap.plan_removal(session.opened.site, name)
    refuse_if_released(session.opened, name)
    if not session.dry_run:
        if not yes:
            _ask(session, name, removal)
        bootstrap.apply_removal(removal, session.observer)
    paths = sorted({*removal.paths, *removal.renamed})
    value = {"repository": name, "removed": [location(path) for path in paths], "dry_run": session.dry_run}
    word = "would remove" if session.dry_run else "removed"
    emit(session, "prototype-remove/1", value, [f"{word} {path}" for path in paths])


def _ask(session: Session, name: str, removal: bootstrap.Removal) -> None:
    paths = ", ".join(map(str, removal.paths or removal.renamed))
    refusal = UsageError(f"removing {name} deletes its history", "confirm with --yes")
    confirm(session, f"Delete {paths} with all history?", refusal)
