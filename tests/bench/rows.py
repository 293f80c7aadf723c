"""The rows of the design's table: the same work for gitstate, which comes first, and for its peers, with budgets."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Final

from tests.bench.corpus import UPGRADED
from tests.bench.measure import MB, BenchError, Contender, Row, run_untimed
from tests.bench.stage import NEW, OLD, PROTOTYPE, Command, Stage
from tests.bench.trees import disk_usage

FLOOR: Final = (sys.executable, "-P", str(Path(__file__).with_name("floor.py")))
NAMES: Final = (
    "checkin-first",
    "checkin-edits",
    "status",
    "export-first",
    "export-next",
    "restore-all",
    "restore-one",
    "diff",
    "checkin-upgrade",
    "diff-upgrade",
    "export-gc",
)


def rows(stage: Stage) -> list[Row]:
    """All rows, in the order in which they are measured: the repositories grow on the way, gc comes last."""
    made = [
        _checkin_first,
        _checkin_edits,
        _status,
        _export_first,
        _export_next,
        _restore_all,
        _restore_one,
        _diff,
        _checkin_upgrade,
        _diff_upgrade,
        _export_gc,
    ]
    return [make(stage, name) for make, name in zip(made, NAMES, strict=True)]


def _needs(*verbs: str) -> frozenset[str]:
    return frozenset(("init", "prototype", "checkin", *verbs))


def _checkin_first(stage: Stage, name: str) -> Row:
    def first(title: str, peer: str, budget: float | None = None) -> Contender:
        renew, check = partial(stage.renew, peer), partial(stage.check_recorded, peer)
        size = partial(disk_usage, stage.peers[peer].path)
        return Contender(title, stage.peers[peer].commit, renew, check, size, budget)

    contenders = [
        first("gitstate checkin", "gitstate"),
        first("git add, git commit", "git", 0.25),
        first("ostree commit", "ostree", 0.4),
        Contender("read, SHA-1, deflate", lambda: [[*FLOOR, str(stage.corpus.path)]]),
    ]
    return Row(name, "first check-in", contenders, _needs(), ready=stage.warm, memory=400 * MB)


def _checkin_edits(stage: Stage, name: str) -> Row:
    ready = partial(stage.ready, "git", "ostree")
    contenders = _next_checkins(stage, 0.06)
    return Row(name, "check-in after 5 edits", contenders, _needs(), ready, lambda number: stage.edit(), seconds=0.7)


def _checkin_upgrade(stage: Stage, name: str) -> Row:
    ready = partial(stage.ready, "git", "ostree")
    what = f"check-in after an upgrade of {UPGRADED:,} files"
    return Row(name, what, _next_checkins(stage), _needs(), ready, lambda number: stage.upgrade(), memory=400 * MB)


def _next_checkins(stage: Stage, budget: float | None = None) -> list[Contender]:
    def again(title: str, peer: str, budget: float | None = None) -> Contender:
        return Contender(title, stage.peers[peer].commit, check=partial(stage.check_recorded, peer), budget=budget)

    return [
        again("gitstate checkin", "gitstate"),
        again("git add, git commit", "git"),
        again("ostree commit", "ostree", budget),
    ]


def _status(stage: Stage, name: str) -> Row:
    listing = ["find", str(stage.corpus.path), "-printf", r"%i %s %T@ %C@ %m %U %G %p\n"]
    contenders = [
        Contender("gitstate status", lambda: [stage.gitstate("status", PROTOTYPE)]),
        Contender("git status", lambda: [stage.in_git("status")]),
        Contender("find -printf", lambda: [listing]),
    ]
    return Row(name, "status, nothing changed", contenders, _needs("status"), partial(stage.ready, "git"))


def _export_first(stage: Stage, name: str) -> Row:
    copy = ["cp", "-a", f"{stage.corpus.path}/.", str(stage.target)]
    check = partial(stage.check_exported, stage.target)
    copying = Contender("cp -a, sync", lambda: [copy, stage.sync()], stage.empty_target, check)
    contenders = [*_first_exports(stage, 0.6), copying]
    return Row(name, "first export", contenders, _needs("export"), partial(stage.ready, "git"))


def _restore_all(stage: Stage, name: str) -> Row:
    """An emptied live tree; a first export writes the same."""
    restore = stage.gitstate("restore", PROTOTYPE, NEW, "--all", "--live", str(stage.target))
    export = stage.gitstate("export", PROTOTYPE, NEW, "--to", str(stage.target))
    check = partial(stage.check_exported, stage.target)
    contenders = [
        Contender("gitstate restore --all", lambda: [restore], stage.empty_target, check),
        Contender("gitstate export", lambda: [export], stage.empty_target, check, budget=1.1),
    ]
    return Row(name, "restore of an emptied tree", contenders, _needs("restore", "export"), partial(stage.ready))


def _restore_one(stage: Stage, name: str) -> Row:
    @cache
    def lost() -> str:
        return os.fsdecode(stage.corpus.small_file())

    def check() -> None:
        if not (stage.corpus.path / lost()).exists():
            raise BenchError(f"{lost()} wasn't restored")

    contender = Contender(
        "gitstate restore",
        lambda: [stage.gitstate("restore", PROTOTYPE, "--", lost())],
        lambda: (stage.corpus.path / lost()).unlink(),
        check,
    )
    return Row(name, "restore of one file", [contender], _needs("restore"), partial(stage.ready), seconds=0.15)


def _export_gc(stage: Stage, name: str) -> Row:
    def ready() -> None:
        stage.ready("git")
        stage.collect_garbage()
        stage.warm(stage.peers["gitstate"].path, stage.git)

    return Row(name, "first export after gc", _first_exports(stage, 0.8), _needs("export", "gc"), ready)


def _first_exports(stage: Stage, budget: float) -> list[Contender]:
    """gitstate syncs by itself, so git is given a sync."""
    export = stage.gitstate("export", PROTOTYPE, NEW, "--to", str(stage.target))
    check = partial(stage.check_exported, stage.target)
    ours, git = partial(disk_usage, stage.peers["gitstate"].path), partial(disk_usage, stage.git)
    return [
        Contender("gitstate export", lambda: [export], stage.empty_target, check, ours),
        Contender("git checkout, sync", stage.git_checkout, stage.empty_target, check, git, budget),
    ]


def _export_next(stage: Stage, name: str) -> Row:
    tree = stage.target / "tree"

    def ready() -> None:
        stage.ready("ostree", snapshots=2)
        stage.exported(OLD)

    def links() -> list[Command]:
        return [["cp", "-al", str(stage.exported(OLD)), str(tree)]]

    def checkout() -> list[Command]:
        return [stage.in_ostree("checkout", "--require-hardlinks", NEW, str(tree))]

    export = stage.gitstate("export", PROTOTYPE, NEW)
    empty, check = stage.empty_target, partial(stage.check_exported, tree)
    contenders = [
        Contender("gitstate export", lambda: [export], stage.forget_export, stage.check_newest_exported),
        Contender("cp -al", links, empty, check, budget=1.2),
        Contender("cp -al, sync", lambda: [*links(), stage.sync()], empty, check),
        Contender("ostree checkout -H", checkout, empty, check),
    ]
    return Row(name, "export of the next snapshot", contenders, _needs("export"), ready)


def _diff(stage: Stage, name: str) -> Row:
    return _diffs(stage, name, "diff of two snapshots", partial(stage.ready, "git", snapshots=2), "ADM")


def _diff_upgrade(stage: Stage, name: str) -> Row:
    def ready() -> None:
        stage.ready("git")
        stage.recorded(stage.upgrade)

    return _diffs(stage, name, f"diff over an upgrade of {UPGRADED:,} files", ready, "M")


def _diffs(stage: Stage, name: str, what: str, start: Callable[[], None], kinds: str) -> Row:
    ours = stage.gitstate("diff", PROTOTYPE, OLD, NEW, "--name-status")
    theirs = stage.in_git("diff", "--name-status", OLD, NEW)

    def ready() -> None:
        start()
        for command in (ours, theirs):
            _check_diff(run_untimed(command, stage.environment), stage.corpus.path, kinds)

    contenders = [
        Contender("gitstate diff", lambda: [ours]),
        Contender("git diff --name-status", lambda: [theirs], budget=1.5),
        Contender("python -c pass", lambda: [[sys.executable, "-c", "pass"]]),
    ]
    return Row(name, what, contenders, _needs("diff"), ready)


def _check_diff(text: str, corpus: Path, kinds: str) -> None:
    """What edits leave for all to see: edits a new, a deleted and a changed file, upgrades changed ones."""
    if not {f"{kind}\t" for kind in kinds} <= {line[:2] for line in text.splitlines()}:
        raise BenchError(f"the diff of two snapshots of {corpus} reads: {text!r}")
