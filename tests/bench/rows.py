"""The rows of the design's table: which commands do the same work for gitstate and for its peers, and the budgets."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.corpus import Corpus
from tests.bench.measure import MB, BenchError, Contender, Row, failure_text, run_untimed
from tests.bench.trees import disk_usage, fresh, read_all, remove

NAMES: Final = ("checkin-first", "checkin-edits", "status", "export-first", "export-next", "diff", "export-gc")
VERBS: Final = ("init", "prototype", "checkin", "status", "export", "diff", "gc")
_PROTOTYPE: Final = "bench"
_OLD: Final = "main~1"
_NEW: Final = "main"
_ABSENT: Final = re.compile(rb"[Nn]o (such )?command|No module named '?gitstate\b")

Command = list[str]


def gitstate_command() -> Command:
    """gitstate of this checkout, as it stands beside the Python that runs us."""
    script = Path(sys.executable).parent / "gitstate"
    return [str(script)] if script.exists() else [sys.executable, "-m", "gitstate"]


def verbs_there(environment: Mapping[str, str]) -> frozenset[str]:
    """The commands that gitstate has already. Raises BenchError if it is broken rather than unfinished."""
    return frozenset(verb for verb in VERBS if _is_there(verb, environment))


def _is_there(verb: str, environment: Mapping[str, str]) -> bool:
    command = [*gitstate_command(), verb, "--help"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode and not _ABSENT.search(done.stderr):
        raise BenchError(failure_text(command, done.returncode, done.stderr))
    return done.returncode == 0


@dataclass(slots=True)
class Stage:
    """The corpus and one repository of each kind, made when a row first needs them and kept for those after it."""

    corpus: Corpus
    work: Path
    environment: Mapping[str, str]
    cold: bool = False
    collected: bool = False
    edits: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def site(self) -> Path:
        return self.work / "site"

    @property
    def bare(self) -> Path:
        """gitstate's repository, as plain git sees it."""
        return self.site / "prototypes" / f"{_PROTOTYPE}.git"

    @property
    def git(self) -> Path:
        return self.work / "peer.git"

    @property
    def ostree(self) -> Path:
        return self.work / "peer.ostree"

    @property
    def target(self) -> Path:
        """Where exports go."""
        return self.work / "target"

    def do(self, *commands: Sequence[str]) -> None:
        """Run commands that only prepare."""
        for command in commands:
            run_untimed(command, self.environment)

    # --- the commands that are compared ---

    def gitstate(self, *words: str) -> Command:
        return [*gitstate_command(), "--site", str(self.site), *words]

    def gitstate_checkin(self) -> list[Command]:
        return [self.gitstate("checkin", _PROTOTYPE, "-m", "bench")]

    def in_git(self, *words: str, tree: Path | None = None) -> Command:
        return ["git", "--git-dir", str(self.git), "--work-tree", str(tree or self.corpus.path), *words]

    def git_commit(self) -> list[Command]:
        return [self.in_git("add", "--all", "--force"), self.in_git("commit", "--quiet", "--message=bench")]

    def git_checkout(self) -> list[Command]:
        """All of it into the empty target, with an index of its own: the corpus keeps the other."""
        checkout = self.in_git("checkout", "--quiet", "--force", _NEW, tree=self.target)
        return [["env", f"GIT_INDEX_FILE={self.work}/target.index", *checkout], self.sync()]

    def in_ostree(self, *words: str) -> Command:
        return ["ostree", f"--repo={self.ostree}", *words]

    def ostree_commit(self) -> list[Command]:
        return [self.in_ostree("commit", f"--branch={_NEW}", "--subject=bench", f"--tree=dir={self.corpus.path}")]

    def sync(self) -> Command:
        return ["sync", "--file-system", str(self.work)]

    # --- fresh repositories ---

    def fresh_gitstate(self) -> None:
        remove(self.site)
        self.do(
            self.gitstate("init"), self.gitstate("prototype", "create", _PROTOTYPE, "--live", str(self.corpus.path))
        )

    def fresh_git(self) -> None:
        """Level 1 like ours, and no gc in the background of somebody else's timing."""
        remove(self.git)
        self.do(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self.git)])
        settings = {"core.compression": "1", "gc.auto": "0", "maintenance.auto": "false"}
        settings |= {"user.name": "bench", "user.email": "bench@example.org"}
        self.do(*(["git", "--git-dir", str(self.git), "config", key, value] for key, value in settings.items()))

    def fresh_ostree(self) -> None:
        fresh(self.ostree)
        self.do(self.in_ostree("init", "--mode=bare"))

    # --- states that rows start from ---

    def ready(self, *peers: str, snapshots: int = 1) -> None:
        """Have repositories with so many snapshots at least, the last of all of them alike, and warm caches."""
        wanted = {peer: self._peers()[peer] for peer in ("gitstate", *peers)}
        for peer in wanted.values():
            if not peer.has(_NEW, self):
                peer.fresh()
                self.do(*peer.commit())
        if snapshots > 1 and not all(peer.has(_OLD, self) for peer in wanted.values()):
            self.record_edits()
        self.warm(*(peer.path for peer in wanted.values()))

    def record_edits(self) -> None:
        """One more snapshot in every repository that is there."""
        self.edit()
        for peer in self._peers().values():
            if peer.has(_NEW, self):
                self.do(*peer.commit())

    def edit(self) -> None:
        """Edit the corpus as it was never edited before."""
        self.corpus.edit(next(self.edits))

    def warm(self, *repositories: Path) -> None:
        """Read the corpus and repositories once, so that nobody finds what another one paid for."""
        if not self.cold:
            for tree in (self.corpus.path, *repositories):
                read_all(tree)

    def collect_garbage(self) -> None:
        """Both repositories after their own gc, once."""
        if not self.collected:
            self.do(self.gitstate("gc", _PROTOTYPE), self.in_git("gc", "--quiet", "--prune=now"))
        self.collected = True

    def forget_export(self, revision: str) -> None:
        """Remove gitstate's export of a revision, as if it had never been made."""
        commit = run_untimed(["git", "--git-dir", str(self.bare), "rev-parse", revision], self.environment).strip()
        remove(self.site / "exports" / _PROTOTYPE / commit)

    def exported(self, revision: str) -> Path:
        """gitstate's export of a revision."""
        return Path(run_untimed(self.gitstate("export", _PROTOTYPE, revision), self.environment).strip())

    def _peers(self) -> dict[str, _Peer]:
        return {
            "gitstate": _Peer(self.bare, self.fresh_gitstate, self.gitstate_checkin),
            "git": _Peer(self.git, self.fresh_git, self.git_commit),
            "ostree": _Peer(self.ostree, self.fresh_ostree, self.ostree_commit),
        }


@dataclass(frozen=True, slots=True)
class _Peer:
    path: Path
    fresh: Callable[[], None]
    commit: Callable[[], list[Command]]

    def has(self, revision: str, stage: Stage) -> bool:
        command = ["git", "--git-dir", str(self.path), "rev-parse", "--quiet", "--verify", revision]
        if self.path == stage.ostree:
            command = stage.in_ostree("rev-parse", revision.replace("~1", "^"))
        return subprocess.run(command, env=stage.environment, capture_output=True, check=False).returncode == 0


def rows(stage: Stage) -> list[Row]:
    """All rows, in the order in which they are measured: the repositories grow on the way, gc comes last."""
    made = [_checkin_first, _checkin_edits, _status, _export_first, _export_next, _diff, _export_gc]
    return [make(stage, name) for make, name in zip(made, NAMES, strict=True)]


def _checkin_first(stage: Stage, name: str) -> Row:
    ours, git, ostree = (partial(disk_usage, path) for path in (stage.bare, stage.git, stage.ostree))
    contenders = [
        Contender("gitstate checkin", stage.gitstate_checkin, stage.fresh_gitstate, ours),
        Contender("git add, git commit", stage.git_commit, stage.fresh_git, git, 0.25),
        Contender("ostree commit", stage.ostree_commit, stage.fresh_ostree, ostree, 0.4),
    ]
    return Row(name, "first check-in", contenders, _needs(), ready=stage.warm, memory=400 * MB)


def _checkin_edits(stage: Stage, name: str) -> Row:
    contenders = [
        Contender("gitstate checkin", stage.gitstate_checkin),
        Contender("git add, git commit", stage.git_commit),
        Contender("ostree commit", stage.ostree_commit, budget=0.06),
    ]
    ready = partial(stage.ready, "git", "ostree")
    return Row(name, "check-in after 5 edits", contenders, _needs(), ready, lambda number: stage.edit(), seconds=0.7)


def _status(stage: Stage, name: str) -> Row:
    listing = ["find", str(stage.corpus.path), "-printf", r"%i %s %T@ %C@ %m %U %G %p\n"]
    contenders = [
        Contender("gitstate status", lambda: [stage.gitstate("status", _PROTOTYPE)]),
        Contender("git status", lambda: [stage.in_git("status")]),
        Contender("find -printf", lambda: [listing]),
    ]
    return Row(name, "status, nothing changed", contenders, _needs("status"), partial(stage.ready, "git"))


def _export_first(stage: Stage, name: str) -> Row:
    copy = ["cp", "-a", f"{stage.corpus.path}/.", str(stage.target)]
    contenders = [
        *_first_exports(stage, 0.6),
        Contender("cp -a, sync", lambda: [copy, stage.sync()], partial(fresh, stage.target)),
    ]
    return Row(name, "first export", contenders, _needs("export"), partial(stage.ready, "git"))


def _first_exports(stage: Stage, budget: float) -> list[Contender]:
    """gitstate syncs by itself, so git is given a sync."""
    export = stage.gitstate("export", _PROTOTYPE, _NEW, "--to", str(stage.target))

    def fresh_checkout() -> None:
        fresh(stage.target)
        (stage.work / "target.index").unlink(missing_ok=True)

    return [
        Contender("gitstate export", lambda: [export], partial(fresh, stage.target), partial(disk_usage, stage.bare)),
        Contender("git checkout, sync", stage.git_checkout, fresh_checkout, partial(disk_usage, stage.git), budget),
    ]


def _export_next(stage: Stage, name: str) -> Row:
    def ready() -> None:
        stage.ready("ostree", snapshots=2)
        stage.exported(_OLD)

    def links() -> list[Command]:
        return [["cp", "-al", str(stage.exported(_OLD)), f"{stage.target}/tree"]]

    checkout = stage.in_ostree("checkout", "--require-hardlinks", _NEW, f"{stage.target}/tree")
    empty = partial(fresh, stage.target)
    contenders = [
        Contender(
            "gitstate export", lambda: [stage.gitstate("export", _PROTOTYPE, _NEW)], lambda: stage.forget_export(_NEW)
        ),
        Contender("cp -al", links, empty, budget=1.2),
        Contender("cp -al, sync", lambda: [*links(), stage.sync()], empty),
        Contender("ostree checkout -H", lambda: [checkout], empty),
    ]
    return Row(name, "export of the next snapshot", contenders, _needs("export"), ready)


def _diff(stage: Stage, name: str) -> Row:
    contenders = [
        Contender("gitstate diff", lambda: [stage.gitstate("diff", _PROTOTYPE, _OLD, _NEW, "--name-status")]),
        Contender("git diff --name-status", lambda: [stage.in_git("diff", "--name-status", _OLD, _NEW)], budget=1.5),
    ]
    return Row(name, "diff of two snapshots", contenders, _needs("diff"), partial(stage.ready, "git", snapshots=2))


def _export_gc(stage: Stage, name: str) -> Row:
    def ready() -> None:
        stage.ready("git")
        stage.collect_garbage()
        stage.warm(stage.bare, stage.git)

    return Row(name, "first export after gc", _first_exports(stage, 0.8), _needs("export", "gc"), ready)


def _needs(*verbs: str) -> frozenset[str]:
    return frozenset(("init", "prototype", "checkin", *verbs))


def environment(work: Path) -> dict[str, str]:
    """Nobody's personal settings."""
    (work / "home").mkdir()
    return {
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(work / "home"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "TMPDIR": str(work),
        "TZ": "UTC",
    }
