"""restore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, command, complete_repository
from gitstate.cli.base.output import emit, location, suggest
from gitstate.cli.base.paths import DASHES, PathsCommand, locate
from gitstate.cli.tree.changes import change_lines, live_option, unrecorded_json
from gitstate.core.errors import NotFoundError, PartlyDoneError, UsageError
from gitstate.core.names import display, octal
from gitstate.core.wording import counted, some_of
from gitstate.tree import checkin as engine
from gitstate.tree import restore as restoring
from gitstate.tree.change import as_json
from gitstate.tree.history.arguments import Paths, pathspec
from gitstate.tree.restore import Counts, Plan


@command(
    "gitstate restore desktop etc/fstab",
    "cd /srv/gitstate/live/desktop/etc && gitstate restore .",
    "gitstate restore desktop HEAD~1 -- etc/fstab",
    "gitstate restore -n desktop --all",
    cls=PathsCommand,
    writes=True,
)
@click.argument("words", nargs=-1, metavar="[REPO] [REV] [--] [PATH]...", shell_complete=complete_repository)
@live_option
@click.option("--all", "everything", is_flag=True, help="The whole live tree: one that was lost or emptied, too.")
@click.option("--delete", is_flag=True, help="Remove new entries, too, which no snapshot has.")
def restore(session: Session, words: tuple[str, ...], live: Path | None, everything: bool, delete: bool) -> None:
    """Bring back files of REPO's live tree, as they were in snapshot REV.

    Without REV, as last checked in: edits since then are lost. PATH is a file,
    a directory with all that is in it, or a pattern such as 'etc/*.conf'.
    Metadata and hard links come back, too. To take back a check-in, restore
    from HEAD~1 and check in again. -n shows what would change, as status does.
    """
    name, (revision, paths) = _parse(session, words, everything=everything)
    repository = session.opened.repository(name)
    tree = restoring.directory(repository, live, everything=everything and not session.dry_run)
    commit = repository.resolve(revision) if revision else engine.require_base(repository)
    specs = tuple(pathspec(path, locate(tree)) for path in paths)
    request = restoring.Request(repository, tree, repository.snapshot(commit).tree, Paths(specs), delete)
    if session.dry_run:
        found, counts = restoring.plan(request, session.observer), None
    else:
        found, counts = restoring.run(request, session.observer)
    changes, links = restoring.changes(found) if session.dry_run or session.json else ([], [])
    value: dict[str, Any] = {
        "repository": name,
        "live": location(tree),
        "commit": commit.hex(),
        "changes": [as_json(one) for one in changes],
        "links": [as_json(one) for one in links],
        "kept": [octal(path) for path in found.kept],
        "left": unrecorded_json([*found.skipped, *(counts.left if counts else [])]),
        **numbers(counts),
        "dry_run": session.dry_run,
    }
    lines = [_result(name, commit, counts)] if counts else change_lines(session, changes, links, times=False)
    emit(session, "restore/1", value, lines)
    tell(session, found, counts)


def _parse(
    session: Session, words: tuple[str, ...], *, everything: bool
) -> tuple[str, tuple[str | None, Sequence[str]]]:
    """REPO, REV and paths. Raises UsageError, NotFoundError."""
    dashes = words.index(DASHES) if DASHES in words else None
    plain, paths = list(words[:dashes]), list(words[dashes + 1 :]) if dashes is not None else []
    name, rest = session.split(plain, plain[:1])
    revision = None
    if rest and (dashes is not None or _is_revision(session, name, rest[0])):
        revision, *rest = rest
    if rest and dashes is not None:
        raise UsageError(f"{rest[0]} stands before --, where one revision may stand", "REPO [REV] -- PATH...")
    paths = [*rest, *paths]
    if bool(paths) == everything:
        hint = "gitstate restore REPO [REV] PATH..., or --all for the whole live tree"
        raise UsageError("--all and PATH exclude each other" if paths else "PATH is missing", hint)
    return name, (revision, paths)


def _is_revision(session: Session, name: str, word: str) -> bool:
    """Whether a word is a revision and no path. git is asked only where neither shows by itself."""
    repository = session.opened.repository(name)
    if repository.identify(word) is not None:
        return True
    if "/" in word or word.startswith((".", ":")):
        return False
    try:
        repository.resolve(word)
    except NotFoundError:
        return False
    return True


def numbers(counts: Counts | None) -> dict[str, int]:
    """What was done, for JSON."""
    done = counts or Counts()
    return {key: getattr(done, key) for key in ("written", "linked", "metadata", "removed", "bytes")}


def _result(name: str, commit: bytes, counts: Counts) -> str:
    return f"{name}: {summary(counts)}  {commit.hex()[:7]}"


def summary(counts: Counts) -> str:
    """What was done, in a line."""
    parts = [(counts.written + counts.linked, "restored"), (counts.metadata, "with metadata alone")]
    said = ", ".join(f"{number} {what}" for number, what in [*parts, (counts.removed, "removed")] if number)
    return said or "nothing differs"


def tell(session: Session, found: Plan, counts: Counts | None) -> None:
    """What was left alone, for people. Raises PartlyDoneError for what couldn't be done."""
    if found.kept:
        named = some_of([f"/{display(path)}" for path in found.kept])
        stay = counted(len(found.kept), "new entry stays", "new entries stay")
        suggest(session, f"{stay}: {named} (to remove: --delete)")
    for path, why in found.skipped:
        session.observer.notice(f"/{display(path)} is left alone: {why}")
    if counts and counts.left:
        missing = [f"/{display(path)} ({why})" for path, why in counts.left]
        raise PartlyDoneError(f"not restored: {some_of(missing)}", "look at that, and run it again")
