"""init and prototype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gitstate import bootstrap
from gitstate.cli.app import Session, common, pass_session, writes
from gitstate.cli.output import date, emit, size, table
from gitstate.errors import UsageFault
from gitstate.names import repo_name
from gitstate.site import Site
from gitstate.store import MAIN


@click.command(epilog="Example:  gitstate --site /srv/gitstate init")
@common
@writes
@pass_session
def init(session: Session) -> None:
    """Make a site: the directory that holds prototypes, layers, live trees and exports."""
    path = session.site_path
    if not session.dry_run:
        Site.create(path)
    word = "would make" if session.dry_run else "site"
    emit(
        session,
        "init/1",
        {"site": str(path.absolute()), "made": not session.dry_run},
        [f"{word} {path.absolute()}"],
    )


@click.group()
def prototype() -> None:
    """Make, list, show and remove prototypes: root filesystems with their history."""


@prototype.command(
    epilog="Examples:\n\n\b\n"
    "  gitstate prototype create desktop --bootstrap bookworm --include xfce4,openssh-server\n"
    "  gitstate prototype create server --live /srv/roots/server\n"
    "  gitstate prototype create kiosk --from desktop@v12\n"
    "  gitstate prototype create old --from old-root.tar.zst"
)
@click.argument("name")
@click.option("--live", type=click.Path(path_type=Path), help="Adopt this directory where it stands.")
@click.option(
    "--from",
    "origin",
    help="Copy a directory or tarball (a path with a /, or ending in .tar*), or fork PROTOTYPE[@REV].",
)
@click.option("--bootstrap", "suite", metavar="SUITE", help="Install a Debian with mmdebstrap.")
@click.option("--include", multiple=True, metavar="PKGS", help="Packages to install besides, separated by commas.")
@click.option("--variant", default=bootstrap.DEFAULT_VARIANT, show_default=True, help="mmdebstrap's variant.")
@click.option("--mirror", multiple=True, help="Where mmdebstrap takes packages from.")
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
    """Make the prototype NAME and its live tree. The first snapshot is a checkin."""
    if sum(option is not None for option in (live, origin, suite)) > 1:
        raise UsageFault("--live, --from and --bootstrap exclude each other", "choose one")
    if include and suite is None:
        raise UsageFault("--include belongs to --bootstrap", "name a SUITE: --bootstrap bookworm")
    packages = tuple(package for words in include for package in words.replace(",", " ").split())
    copied, fork = _origin(origin)
    source = bootstrap.Source(live, copied, fork, suite, packages, variant, mirror)
    plan = bootstrap.plan(session.site, name, source)
    if session.dry_run:
        value = {"name": name, "live": str(plan.live), "plan": plan.describe()}
        emit(session, "prototype-create/1", value, plan.describe())
        return
    bootstrap.apply(plan, session.observer)
    value = {"name": name, "live": str(plan.live), "repository": str(plan.repository)}
    lines = [f"{name}: live in {plan.live}", f"next: gitstate checkin {name} -m 'as installed'"]
    emit(session, "prototype-create/1", value, lines)


def _origin(text: str | None) -> tuple[Path | None, tuple[str, str] | None]:
    """``--from``: with a ``/`` a path, else a prototype and a revision."""
    if text is None:
        return None, None
    if "/" in text or ".tar" in text:
        return Path(text), None
    name, _, revision = text.partition("@")
    return None, (repo_name(name), revision or "HEAD")


@prototype.command("list", epilog="Example:  gitstate prototype list")
@common
@pass_session
def list_(session: Session) -> None:
    """List the prototypes."""
    found = [_about(session.site, name) for name in session.site.prototypes()]
    heads = ("NAME", "SNAPSHOT", "CHECKED IN", "MESSAGE", "LIVE TREE")
    rows = [
        (
            str(one["name"]),
            str(one["commit"] or "")[:7] or "-",
            date(one["when"]) if one["when"] else "-",
            str(one["subject"] or "-")[:50],
            str(one["live"] or "-"),
        )
        for one in found
    ]
    lines = table(rows, heads, colour=session.colour) or ["no prototypes yet: gitstate prototype create NAME"]
    emit(session, "prototype-list/1", {"prototypes": found}, lines)


@prototype.command(epilog="Example:  gitstate prototype show desktop")
@click.argument("name")
@common
@pass_session
def show(session: Session, name: str) -> None:
    """Tell all about one prototype."""
    site = session.site
    repository = site.repository(repo_name(name))
    exports = site.exports_path(name)
    value = _about(site, name) | {
        "repository": str(repository.path),
        "size": repository.size(),
        "tags": repository.tags(),
        "exports": sorted(path.name for path in exports.glob("[0-9a-f]*")) if exports.is_dir() else [],
    }
    commit = value["commit"]
    lines = [
        f"{name}",
        f"  repository  {repository.path} ({size(repository.size())})",
        f"  live tree   {value['live'] or 'none'}",
        f"  snapshot    {str(commit)[:12]} {value['subject']}" if commit else "  snapshot    none yet",
        f"  tags        {' '.join(value['tags']) or 'none'}",
        f"  exports     {' '.join(oid[:12] for oid in value['exports']) or 'none'}",
    ]
    emit(session, "prototype-show/1", value, lines)


def _about(site: Site, name: str) -> dict[str, Any]:
    repository = site.repository(name)
    commit = repository.ref(MAIN)
    snapshot = repository.snapshot(commit) if commit else None
    return {
        "name": name,
        "live": str(repository.live) if repository.live else None,
        "commit": commit.hex() if commit else None,
        "when": snapshot.when if snapshot else None,
        "subject": _subject(snapshot.message) if snapshot else None,
    }


def _subject(message: str) -> str:
    return message.partition("\n")[0]


@prototype.command(epilog="Example:  gitstate prototype remove old --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@common
@writes
@pass_session
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove a prototype with its history, exports and live tree. An adopted live tree stays."""
    removal = bootstrap.plan_removal(session.site, name)
    paths = [str(path) for path in removal.paths]
    if session.dry_run:
        emit(
            session,
            "prototype-remove/1",
            {"name": name, "removed": [], "plan": paths},
            [f"would remove {path}" for path in paths],
        )
        return
    if not yes:
        if session.json or not click.get_text_stream("stdin").isatty():
            raise UsageFault(f"removing {name} deletes its history", "say --yes if you mean it")
        click.confirm(f"Delete {', '.join(paths)} with all history?", abort=True, err=True)
    bootstrap.apply_removal(removal, session.observer)
    emit(
        session,
        "prototype-remove/1",
        {"name": name, "removed": paths, "plan": paths},
        [f"removed {path}" for path in paths],
    )
