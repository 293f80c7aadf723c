"""prototype."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, common, complete_repository, pass_session, writes
from gitstate.cli.base.help import Group
from gitstate.cli.base.output import date, emit, location, moment, shortened, size, table, talk
from gitstate.core.errors import GitstateError, PartlyDoneError, UsageError
from gitstate.core.names import repo_name, visible
from gitstate.store import MAIN, Repository
from gitstate.store.site import Site
from gitstate.tree import bootstrap


@click.group(cls=Group, examples=("gitstate prototype list", "gitstate prototype create --help"))
@common
def prototype() -> None:
    """Prototypes: root filesystems with their history.

    A prototype is the model for a class of machines.
    """


@prototype.command(
    examples=(
        "gitstate prototype create desktop --bootstrap bookworm \\\n    --include xfce4,openssh-server",
        "gitstate prototype create server --live /srv/roots/server",
        "gitstate prototype create kiosk --from desktop@v12",
        "gitstate prototype create old --from ./old-root.tar.zst",
    )
)
@click.argument("name")
@click.option(
    "--live",
    metavar="DIR",
    type=click.Path(path_type=Path, readable=False),
    help="Use this directory where it is.",
)
@click.option(
    "--from",
    "origin",
    metavar="SOURCE",
    help="Copy a directory or a tarball (PATH with a / or .tar), or fork PROTOTYPE[@REV].",
    shell_complete=complete_repository,
)
@click.option("--bootstrap", "suite", metavar="SUITE", help="Install Debian with mmdebstrap.")
@click.option("--include", multiple=True, metavar="PKGS", help="Extra packages, separated by commas.")
@click.option(
    "--variant", metavar="NAME", default=bootstrap.DEFAULT_VARIANT, show_default=True, help="Variant of mmdebstrap."
)
@click.option("--mirror", multiple=True, metavar="URI", help="Package mirror for mmdebstrap; repeatable.")
@common
@writes
@pass_session
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
    copied, fork = _origin(origin)
    source = bootstrap.Source(live, copied, fork, suite, packages, variant, mirror)
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
        talk(session, f"next: gitstate checkin {name} -m 'as installed'")


def _origin(text: str | None) -> tuple[Path | None, tuple[str, str] | None]:
    """``--from``: with a ``/`` a path, else a prototype and a revision."""
    if text is None:
        return None, None
    if "/" in text or ".tar" in text:
        return Path(text), None
    name, _, revision = text.partition("@")
    return None, (repo_name(name), revision or "HEAD")


@prototype.command("list", examples=("gitstate prototype list",))
@common
@pass_session
def list_(session: Session) -> None:
    """List the prototypes and their latest snapshots."""
    found = [_row(session.opened.site, name) for name in session.opened.site.prototypes()]
    heads = ("NAME", "SNAPSHOT", "CHECKED IN", "MESSAGE", "LIVE TREE")
    lines = table([cells for _, cells in found], heads, colour=session.colour)
    emit(session, "prototype-list/1", {"prototypes": [about for about, _ in found]}, lines)
    if not found:
        talk(session, "no prototypes yet: gitstate prototype create NAME")
    if problems := [about["problem"] for about, _ in found if about["problem"]]:
        raise PartlyDoneError("; ".join(problems), "run gitstate fsck")


def _row(site: Site, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A prototype for JSON and for the table; one that can't be read doesn't hide the others."""
    nothing = {"repository": name, "live": None, "commit": None, "when": None, "subject": None}
    try:
        repository = site.repository(name)
        about = _about(name, repository) | {"problem": None}
    except GitstateError as error:
        return nothing | {"problem": error.message}, (name, "?", "?", "?", "?")
    if about["commit"] is None:
        cells = ("-", "-", "-")
    else:
        when = datetime.fromisoformat(about["when"]).timestamp()
        cells = (about["commit"][:7], date(int(when)), shortened(about["subject"], 50))
    return about, (name, *cells, str(repository.live or "-"))


@prototype.command(examples=("gitstate prototype show desktop",))
@click.argument("name", shell_complete=complete_repository)
@common
@pass_session
def show(session: Session, name: str) -> None:
    """Show one prototype."""
    site = session.opened.site
    repository = session.opened.repository(repo_name(name))
    exports = site.exports_path(name)
    value = _about(name, repository) | {
        "git_dir": location(repository.path),
        "size": repository.size(),
        "tags": repository.tags(),
        "exports": sorted(path.name for path in exports.glob("[0-9a-f]*")) if exports.is_dir() else [],
    }
    commit = value["commit"]
    lines = [
        f"{name}",
        f"  repository  {repository.path} ({size(value['size'])})",
        f"  live tree   {repository.live or 'none'}",
        f"  snapshot    {commit[:7]} {visible(value['subject'])}" if commit else "  snapshot    none yet",
        f"  tags        {' '.join(value['tags']) or 'none'}",
        f"  exports     {' '.join(oid[:7] for oid in value['exports']) or 'none'}",
    ]
    emit(session, "prototype-show/1", value, lines)


def _about(name: str, repository: Repository) -> dict[str, Any]:
    commit = repository.ref(MAIN)
    snapshot = repository.snapshot(commit) if commit else None
    return {
        "repository": name,
        "live": location(repository.live) if repository.live else None,
        "commit": commit.hex() if commit else None,
        "when": moment(snapshot.when) if snapshot else None,
        "subject": _subject(snapshot.message) if snapshot else None,
    }


def _subject(message: str) -> str:
    return message.partition("\n")[0]


@prototype.command(examples=("gitstate prototype remove old --yes",))
@click.argument("name", shell_complete=complete_repository)
@click.option("--yes", is_flag=True, help="Don't ask.")
@common
@writes
@pass_session
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove a prototype, its history and its exports.

    Its live tree is removed, too, unless it was adopted with --live. Nothing is
    removed while anything is mounted below it.
    """
    from gitstate.release.channels import refuse_use  # only who removes waits for it

    removal = bootstrap.plan_removal(session.opened.site, name)
    refuse_use(session.opened.site, name)
    if not session.dry_run:
        if not yes:
            _ask(session, name, removal)
        bootstrap.apply_removal(removal, session.observer)
    value = {
        "repository": name,
        "removed": [location(path) for path in removal.paths],
        "dry_run": session.dry_run,
    }
    word = "would remove" if session.dry_run else "removed"
    emit(session, "prototype-remove/1", value, [f"{word} {path}" for path in removal.paths])


def _ask(session: Session, name: str, removal: bootstrap.Removal) -> None:
    if session.json or not sys.stdin.isatty():
        raise UsageError(f"removing {name} deletes its history", "confirm with --yes")
    paths = ", ".join(map(str, removal.paths))
    click.confirm(f"Delete {paths} with all history?", abort=True, err=True)
