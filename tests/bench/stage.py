"""The corpus with one repository of each kind, and the commands that do the same work for each of them."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.corpus import Corpus
from tests.bench.measure import BenchError, failure_text, run_untimed
from tests.bench.trees import below, fresh, read_all, remove

VERBS: Final = ("init", "prototype", "checkin", "status", "export", "restore", "diff", "gc")
PROTOTYPE: Final = "bench"
OLD: Final = "main~1"
NEW: Final = "main"
_ABSENT: Final = re.compile(rb"[Nn]o (such )?command|No module named '?gitstate\b")

Command = list[str]


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
class Peer:
    """A repository of the corpus: how it is made, filled, and asked for a revision."""

    path: Path
    make: Callable[[], None]
    commit: Callable[[], list[Command]]
    parse: Command
    parent: str
    recorded: str = ""


@dataclass(slots=True)
class Stage:
    """Repositories are made when a row first needs them, and kept for the rows after it."""

    corpus: Corpus
    work: Path
    environment: Mapping[str, str]
    cold: bool = False
    collected: bool = False
    edits: itertools.count[int] = field(default_factory=itertools.count)
    peers: dict[str, Peer] = field(init=False)

    def __post_init__(self) -> None:
        site = self.work / "site" / "prototypes" / f"{PROTOTYPE}.git"

        def parse(path: Path) -> Command:
            return ["git", f"--git-dir={path}", "rev-parse", "--quiet", "--verify"]

        self.peers = {
            "gitstate": Peer(site, self._make_site, self.gitstate_commit, parse(site), "~1"),
            "git": Peer(self.git, self._make_git, self.git_commit, parse(self.git), "~1"),
            "ostree": Peer(self.ostree, self._make_ostree, self.ostree_commit, self.in_ostree("rev-parse"), "^"),
        }

    @property
    def git(self) -> Path:
        return self.work / "peer.git"

    @property
    def ostree(self) -> Path:
        return self.work / "peer.ostree"

    @property
    def target(self) -> Path:
        """Where trees are exported to."""
        return self.work / "target"

    # --- the commands that are compared ---

    def gitstate(self, *words: str) -> Command:
        return [*gitstate_command(), "--site", str(self.work / "site"), *words]

    def gitstate_commit(self) -> list[Command]:
        return [self.gitstate("checkin", PROTOTYPE, "-m", "bench")]

    def in_git(self, *words: str, tree: Path | None = None) -> Command:
        return ["git", f"--git-dir={self.git}", f"--work-tree={tree or self.corpus.path}", *words]

    def git_commit(self) -> list[Command]:
        return [self.in_git("add", "--all", "--force"), self.in_git("commit", "--quiet", "--message=bench")]

    def git_checkout(self) -> list[Command]:
        """All of it into the empty target, with an index of its own: the corpus keeps the other."""
        checkout = self.in_git("checkout", "--quiet", "--force", NEW, tree=self.target)
        return [["env", f"GIT_INDEX_FILE={self.work}/target.index", *checkout], self.sync()]

    def in_ostree(self, *words: str) -> Command:
        return ["ostree", f"--repo={self.ostree}", *words]

    def ostree_commit(self) -> list[Command]:
        return [self.in_ostree("commit", f"--branch={NEW}", "--subject=bench", f"--tree=dir={self.corpus.path}")]

    def sync(self) -> Command:
        return ["sync", "--file-system", str(self.work)]

    # --- states that rows start from ---

    def ready(self, *peers: str, snapshots: int = 1) -> None:
        """Have repositories with one or two snapshots at least, the last of all of them alike, and warm caches."""
        wanted = ["gitstate", *peers]
        for name in wanted:
            if not self.revision(name):
                self.renew(name)
                self.do(*self.peers[name].commit())
        if snapshots > 1 and not all(self.revision(name, before=1) for name in wanted):
            self.recorded(self.edit)
        self.warm(*(self.peers[name].path for name in wanted))

    def recorded(self, change: Callable[[], None]) -> None:
        """Change the corpus, and record it in every repository that has snapshots."""
        change()
        self.do(*(command for name in self.peers if self.revision(name) for command in self.peers[name].commit()))

    def renew(self, name: str) -> None:
        """An empty repository, which knows nothing of the corpus."""
        self.peers[name].make()
        self.peers[name].recorded = ""

    def edit(self) -> None:
        """Edit the corpus as it was never edited before."""
        self.corpus.edit(next(self.edits))

    def upgrade(self) -> None:
        """Upgrade packages of the corpus as they were never upgraded before."""
        self.corpus.upgrade(next(self.edits))

    def warm(self, *repositories: Path) -> None:
        """Read the corpus and repositories once, so that nobody finds what another one paid for."""
        if not self.cold:
            for tree in (self.corpus.path, *repositories):
                read_all(tree)

    def collect_garbage(self) -> None:
        """Both repositories after their own gc, once."""
        if not self.collected:
            self.do(self.gitstate("gc", PROTOTYPE), self.in_git("gc", "--quiet", "--prune=now"))
        self.collected = True

    def empty_target(self) -> None:
        """Nothing exported, no index of it."""
        fresh(self.target)
        (self.work / "target.index").unlink(missing_ok=True)

    def exported(self, revision: str) -> Path:
        """gitstate's export of a revision, made if it isn't there."""
        return Path(run_untimed(self.gitstate("export", PROTOTYPE, revision), self.environment).strip())

    def forget_export(self) -> None:
        """Remove gitstate's export of the newest snapshot, as if it had never been made."""
        remove(self._newest_export)

    @property
    def _newest_export(self) -> Path:
        return self.work / "site" / "exports" / PROTOTYPE / self.revision("gitstate")

    # --- whether work was done ---

    def revision(self, name: str, before: int = 0) -> str:
        """The id of somebody's newest snapshot, or of the one before it; empty if there is none."""
        command = [*self.peers[name].parse, NEW + self.peers[name].parent * before]
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.stdout.decode().strip() if done.returncode == 0 else ""

    def check_recorded(self, name: str) -> None:
        """Raises BenchError unless somebody has a snapshot that wasn't there at the last check."""
        newest = self.revision(name)
        if newest in ("", self.peers[name].recorded):
            raise BenchError(f"{self.peers[name].path}: nothing was recorded")
        self.peers[name].recorded = newest

    def check_exported(self, tree: Path) -> None:
        """Raises BenchError if a tree is far from complete. (Policies differ, and git leaves empty directories out.)"""
        found, wanted = sum(1 for _ in below(tree)), sum(1 for _ in below(self.corpus.path))
        if found < 0.9 * wanted:
            raise BenchError(f"{tree}: {found} entries were exported, of {wanted}")

    def check_newest_exported(self) -> None:
        """As ``check_exported``, for gitstate's own export."""
        self.check_exported(self._newest_export)

    def do(self, *commands: Sequence[str]) -> None:
        """Run commands that only prepare."""
        for command in commands:
            run_untimed(command, self.environment)

    # --- new repositories ---

    def _make_site(self) -> None:
        remove(self.work / "site")
        create = self.gitstate("prototype", "create", PROTOTYPE, "--live", str(self.corpus.path))
        self.do(self.gitstate("init"), create)

    def _make_git(self) -> None:
        """Level 1 like ours, and no gc in the background of somebody else's timing."""
        remove(self.git)
        self.do(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self.git)])
        settings = {"core.compression": "1", "gc.auto": "0", "maintenance.auto": "false"}
        settings |= {"user.name": "bench", "user.email": "bench@example.org"}
        self.do(*(["git", f"--git-dir={self.git}", "config", key, value] for key, value in settings.items()))

    def _make_ostree(self) -> None:
        fresh(self.ostree)
        self.do(self.in_ostree("init", "--mode=bare"))
