"""Check-ins of an upper directory with twenty edits, over a snapshot, and over one of ten times as many files."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.measure import MB, BenchError, Contender, Row, run_untimed
from tests.bench.stage import PROTOTYPE, Command, gitstate_command

FILES: Final = 50_000
TIMES: Final = 10
EDITS: Final = 20
ROOM: Final = 8 << 30
PROGRAMS: Final = ("mount", "umount")
VERBS: Final = frozenset(("init", "prototype", "checkin", "client", "review"))
HOST: Final = "lab3-1"
_CLIENT: Final = Path(__file__).resolve().parents[2] / "hooks"
_IN_A_DIRECTORY: Final = 50
_LINKS: Final = 50
"""One of so many files has a second name."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A prototype of ``count`` files, and an upper directory made on its snapshot."""

    place: Path
    count: int
    environment: Mapping[str, str]
    rounds: Iterator[int] = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        """What the row calls it."""
        return f"gitstate checkin, {self.count:,} files"

    def make(self) -> None:
        """Fill the tree, check it in, and edit it through an overlay."""
        live, upper = self.place / "live", self.place / "upper"
        for directory in (live, upper, self.place / "work", self.place / "shown"):
            directory.mkdir(parents=True)
        paths = list(fill(live, self.count))
        for words in (("init",), ("prototype", "create", PROTOTYPE, "--live", str(live)), self._checkin()):
            run_untimed([*gitstate_command(), "--site", str(self.place / "site"), *words], self.environment)
        layers = f"lowerdir={live},upperdir={upper},workdir={self.place / 'work'},index=off"
        run_untimed(["mount", "-t", "overlay", "-o", layers, "overlay", str(self.place / "shown")], self.environment)
        try:
            for path in random.Random(1).sample(paths, EDITS):
                (self.place / "shown" / path).write_text("edited\n")
        finally:
            run_untimed(["umount", str(self.place / "shown")], self.environment)

    def _checkin(self, *words: str) -> Command:
        return ["checkin", PROTOTYPE, "-m", "edits", *words]

    def checkin(self) -> Command:
        """The command that is timed: each time to a new branch."""
        words = self._checkin("--upper", str(self.place / "upper"), "--branch", f"edits-{next(self.rounds)}")
        return [*gitstate_command(), "--site", str(self.place / "site"), *words]

    def check(self) -> None:
        """Raises BenchError unless the newest branch has the edits and nothing else."""
        repository = self.place / "site" / "prototypes" / f"{PROTOTYPE}.git"
        git = ["git", f"--git-dir={repository}"]
        newest = [*git, "for-each-ref", "--sort=-creatordate", "--count=1", "--format=%(refname)", "refs/heads/edits-*"]
        branch = run_untimed(newest, os.environ).strip()
        changed = run_untimed([*git, "diff", "--name-only", "main", branch, "--", ":!*.gitstate*"], os.environ)
        if len(changed.splitlines()) != EDITS:
            raise BenchError(f"{branch} has {len(changed.splitlines())} changed files")


@dataclass(frozen=True, slots=True)
class Booted:
    """A machine that runs the snapshot, and on which the edits were made: its root is that of `edited`."""

    edited: Edited

    @property
    def root(self) -> Path:
        """Where the overlay is mounted."""
        return self.edited.place / "root"

    @property
    def repository(self) -> Path:
        return self.edited.place / "site" / "prototypes" / f"{PROTOTYPE}.git"

    def make(self) -> None:
        """Mount it as the boot hook does."""
        place, environment = self.edited.place, self.edited.environment
        self.root.mkdir()
        layers = f"lowerdir={place / 'live'},upperdir={place / 'upper'},workdir={place / 'work'},index=off"
        run_untimed(["mount", "-t", "overlay", "-o", layers, "overlay", str(self.root)], environment)
        run_untimed(["mount", "-t", "tmpfs", "run", str(self.root / "run")], environment)
        for name, source in (("lower", "live"), ("tmpfs", ".")):
            (self.root / "run/gitstate" / name).mkdir(parents=True)
            run_untimed(["mount", "--bind", str(place / source), str(self.root / "run/gitstate" / name)], environment)
        commit = run_untimed(["git", f"--git-dir={self.repository}", "rev-parse", "main"], os.environ).strip()
        (self.root / "run/gitstate/about").write_text(f"SNAPSHOT={PROTOTYPE}@{commit}\nHOST={HOST}\n")
        run_untimed([*self._gitstate(), "client", "add", HOST], environment)

    def _gitstate(self) -> Command:
        return [*gitstate_command(), "--site", str(self.edited.place / "site")]

    def clear(self) -> None:
        """Drop the review of the round before: the same edits make no second one."""
        git = ["git", f"--git-dir={self.repository}"]
        names = run_untimed([*git, "for-each-ref", "--format=%(refname)", "refs/heads/checkin/"], os.environ).split()
        for name in names:
            run_untimed([*git, "update-ref", "-d", name], os.environ)

    def commands(self) -> list[Command]:
        """What runs on the machine, and what on the server."""
        sent = str(self.edited.place / "sent")
        variables = [f"GITSTATE_ROOT={self.root}", f"GITSTATE_LIB={_CLIENT}"]
        client = ["env", *variables, "sh", str(_CLIENT / "client/gitstate"), "checkin", "--output", sent]
        return [client, [*self._gitstate(), "review", "receive", HOST, sent]]

    def check(self) -> None:
        """Raises BenchError unless the review has the edits and nothing else."""
        git = ["git", f"--git-dir={self.repository}"]
        branch = run_untimed([*git, "for-each-ref", "--format=%(refname)", "refs/heads/checkin/"], os.environ).strip()
        changed = run_untimed([*git, "diff", "--name-only", "main", branch, "--", ":!*.gitstate*"], os.environ)
        if len(changed.splitlines()) != EDITS:
            raise BenchError(f"{branch} has {len(changed.splitlines())} changed files")


def fill(live: Path, count: int) -> Iterator[str]:
    """Small files in directories of fifty, one in fifty with a second name; their paths."""
    chance = random.Random(2)
    (live / "run").mkdir()
    for number in range(count):
        directory = f"d{number // _IN_A_DIRECTORY // 100:03}/e{number // _IN_A_DIRECTORY % 100:02}"
        path = live / directory / f"file-{number:06}"
        if number % _IN_A_DIRECTORY == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d\n" % number + chance.randbytes(chance.randrange(200)))
        if number % _LINKS == 0:
            os.link(path, path.with_name(f"link-{number:06}"))
        yield f"{directory}/{path.name}"


def about(count: int = FILES) -> dict[str, object]:
    """What is measured, for the report."""
    return {
        "name": "uppers",
        "about": f"{EDITS} edits by way of an overlay, over {count:,} and {TIMES * count:,} files",
    }


@contextmanager
def rows(work: Path, environment: Mapping[str, str], count: int = FILES) -> Iterator[list[Row]]:
    """The row; what it needs is made below ``work``, and unmounted in the end."""
    small, large = (Edited(work / str(size), size, environment) for size in (count, TIMES * count))
    booted = Booted(small)

    def ready() -> None:
        small.make()
        large.make()

    contenders = [
        Contender(one.name, partial(_only, one), check=one.check, budget=budget)
        for one, budget in ((large, None), (small, 1.2))
    ]
    try:
        what = f"check-in of {EDITS} edits in an upper directory"
        machine = Contender("gitstate checkin, review receive", booted.commands, booted.clear, booted.check)
        from_machine = "the same from the command on the machine to the branch, without ssh"
        yield [
            Row("upper", what, contenders, VERBS, ready, seconds=0.3, memory=400 * MB),
            Row("machine", from_machine, [machine], VERBS, booted.make, seconds=2.0, memory=400 * MB),
        ]
    finally:
        subprocess.run(["umount", "-q", "-R", str(booted.root)], check=False, capture_output=True)
        for one in (small, large):
            subprocess.run(["umount", "-q", str(one.place / "shown")], check=False, capture_output=True)


def _only(edited: Edited) -> list[Command]:
    return [edited.checkin()]
