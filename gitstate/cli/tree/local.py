"""local: writable files of a prototype."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from gitstate.cli.base.app import Function, Session, command, group, repo_argument
from gitstate.cli.base.output import emit, location, suggest, table, write_name
from gitstate.cli.base.paths import locate
from gitstate.core.errors import UsageError
from gitstate.core.names import display, octal
from gitstate.tree import local as engine
from gitstate.tree.local import ConflictPolicy, Plan, Trees

Planner = Callable[[Trees, list[bytes]], Plan]


@group("gitstate local add desktop /etc/fstab", "gitstate local list desktop")
def local() -> None:
    """Files that machines may write although their root is read-only.

    Each becomes a link into a directory `local` next to it. The original is
    kept in the layer base, from which machines get it.
    """


def _conflict_options(function: Function) -> Function:
    keep = click.option("--keep", is_flag=True, help="If base has a different file, keep that.")
    replace = click.option(
        "--replace", is_flag=True, help="If base has a different file, replace it with the prototype's."
    )
    return keep(replace(function))


def _words(metavar: str, required: bool) -> Callable[[Function], Function]:
    return click.argument("words", nargs=-1, required=required, metavar=metavar)


@command("gitstate local add desktop /etc/fstab /etc/hosts", group=local, writes=True)
@_words("[REPO] PATH...", True)
@_conflict_options
def add(session: Session, words: tuple[str, ...], keep: bool, replace: bool) -> None:
    """Make files of REPO's live tree writable on machines.

    Each PATH, a regular file, becomes a link, and its original a file of the
    layer base. If base has a different file there already, choose with --keep
    or --replace.
    """
    policy = _conflict_policy(keep, replace)
    name, paths = _parse(session, words)
    if not paths:
        raise UsageError("PATH is missing", "gitstate local add desktop /etc/fstab")
    done = _run(session, "local-add/1", name, paths, lambda trees, paths: engine.add(trees, paths, policy))
    _suggest_checkin(session, name, done)


@command("gitstate local remove desktop /etc/fstab", group=local, writes=True)
@_words("[REPO] PATH...", True)
def remove(session: Session, words: tuple[str, ...]) -> None:
    """Turn links of REPO's live tree into files again.

    The layer base keeps its files: other prototypes may need them.
    """
    name, paths = _parse(session, words)
    if not paths:
        raise UsageError("PATH is missing", "gitstate local remove desktop /etc/fstab")
    done = _run(session, "local-remove/1", name, paths, engine.remove)
    _suggest_checkin(session, name, done)


@command("gitstate local list desktop", name="list", group=local, names=True)
@repo_argument
def list_(session: Session, repo: str | None) -> None:
    """List the writable files and their state.

    STATE is ok; replaced, by a package's new file; missing; dangling, a link to
    nothing; or blocked, by something that is not a file. ORIGINAL is what base
    has there: the same file, another one, a template, none.
    """
    name = _prototype(session, session.name(repo))
    with _open(session, name) as (trees, locations):
        found = engine.files(trees)
    if session.zero:
        for one in found:
            write_name(one.path)
        return
    rows = [(f"/{display(one.path)}", str(one.state), str(one.original)) for one in found]
    files = [{"path": octal(one.path), "state": str(one.state), "original": str(one.original)} for one in found]
    lines = table(rows, ("PATH", "STATE", "ORIGINAL"), colour=session.colour)
    emit(session, "local-list/1", {**locations, "files": files}, lines)
    if not found:
        suggest(session, f"no files yet: gitstate local add {name} /PATH")


@command("gitstate local fix desktop", "gitstate local fix desktop /etc/fstab --keep", group=local, writes=True)
@_words("[REPO] [PATH]...", False)
@_conflict_options
def fix(session: Session, words: tuple[str, ...], keep: bool, replace: bool) -> None:
    """Restore links that a package update has replaced.

    The package's new file becomes the original in base, unless you have changed
    that one; then the link in REPO's live tree is restored. Without PATH all
    files are fixed.
    """
    policy = _conflict_policy(keep, replace)
    name, paths = _parse(session, words)
    done = _run(session, "local-fix/1", name, paths, lambda trees, paths: engine.fix(trees, paths, policy))
    if not done:
        suggest(session, f"{name}: nothing to fix")
    _suggest_checkin(session, name, done)


@command("gitstate local autofix desktop", group=local, writes=True)
@repo_argument
def autofix(session: Session, repo: str | None) -> None:
    """Fix, as run by package managers.

    Prints nothing if there is nothing to do. Originals that you have changed in
    base are kept and reported.
    """
    name = _prototype(session, session.name(repo))
    done = _run(session, "local-autofix/1", name, [], lambda trees, _: engine.fix(trees, (), ConflictPolicy.KEEP))
    for path in done.kept:
        suggest(session, f"base keeps its /{display(path)}, which differs from the package's")


# --- shared -----------------------------------------------------------------------------------------------------------


def _conflict_policy(keep: bool, replace: bool) -> ConflictPolicy:
    if keep and replace:
        raise UsageError("--keep and --replace exclude each other", "choose one of them")
    return ConflictPolicy.KEEP if keep else ConflictPolicy.REPLACE if replace else ConflictPolicy.ASK


def _parse(session: Session, words: tuple[str, ...]) -> tuple[str, list[bytes]]:
    """The prototype, and paths for its list. Raises UsageError."""
    name, paths = session.split(words, words[:1])
    find = locate(session.opened.repository(name).live)
    return _prototype(session, name), [engine.parse_path(b"/" + find(os.fsencode(path))) for path in paths]


def _prototype(session: Session, name: str) -> str:
    if name == engine.BASE or "/" in name:
        raise UsageError(f"{name} is a layer", "only prototypes have writable files")
    return name


@contextmanager
def _open(session: Session, name: str, *, lock: bool = False) -> Iterator[tuple[Trees, dict[str, Any]]]:
    """Open both live trees, locked if ``lock``; with their locations for JSON."""
    repository = session.opened.repository(name)
    with engine.open_prototype(session.opened.site, repository, lock=lock) as (trees, live, base):
        yield trees, {"repository": name, "live": location(live), "base": location(base) if base else None}


def _run(session: Session, schema: str, name: str, paths: list[bytes], planner: Planner) -> Plan:
    """Plan, and apply the plan unless this is a dry run."""
    with _open(session, name, lock=not session.dry_run) as (trees, locations):
        todo = planner(trees, paths)
        if not session.dry_run:
            engine.apply(todo, trees)
    steps = [{"action": step.action, "tree": step.tree, "path": octal(step.path)} for step in todo.steps]
    value = {**locations, "steps": steps, "kept": [octal(path) for path in todo.kept], "dry_run": session.dry_run}
    emit(session, schema, value, _lines(session, todo))
    return todo


def _lines(session: Session, todo: Plan) -> list[str]:
    if session.dry_run:
        rows = [(step.action, step.tree, f"/{display(step.path)}") for step in todo.steps]
        return table(rows, ("ACTION", "TREE", "PATH"), colour=session.colour) or ["nothing to do"]
    links = [f"/{display(step.path)} -> {display(step.target)}" for step in todo.steps if isinstance(step, engine.Link)]
    files = [f"/{display(step.path)} is a file again" for step in todo.steps if isinstance(step, engine.Restore)]
    return links + files


def _suggest_checkin(session: Session, name: str, done: Plan) -> None:
    if done and not session.dry_run:
        suggest(session, f"next: gitstate checkin {name} -m '…', then the same for {engine.BASE}")
