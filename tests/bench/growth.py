"""How repositories grow: a snapshot after each of many real upgrades of a root, in gitstate and what others use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Final

from tests.bench import upgrades
from tests.bench.corpus import Corpus, simplify
from tests.bench.measure import MB, BenchError, run_untimed
from tests.bench.stage import Command, gitstate_command
from tests.bench.table import aligned, facts
from tests.bench.trees import disk_usage

EVERY: Final = 10
"""After so many snapshots repositories are measured, and gc runs where it does."""

PROGRAMS: Final = ("git", "ostree", "borg", "restic", "unshare", "dpkg-deb")
# What gitstate's default policy doesn't record, for all alike, and a key that it refuses.
_UNRECORDED: Final = (
    "var/cache/apt/*.bin",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dpkg/*-old",
    "etc/ssl/private/*.key",
)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Somebody who keeps snapshots: how a repository is made, gets the root's next one, and is repacked."""

    name: str
    path: Path
    make: Sequence[Command]
    record: Callable[[int], Sequence[Command]]
    listing: Command
    repack: Sequence[Command] = ()


@dataclass(slots=True)
class Kept:
    """What was measured of one keeper; ``sizes`` by number of snapshots, in bytes."""

    name: str
    sizes: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    repacking: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Bytes that a snapshot adds, the first left out."""
        first, last = min(self.sizes), max(self.sizes)
        return (self.sizes[last] - self.sizes[first]) / (last - first)


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run says; ``downloads`` is the bytes of packages that each snapshot's upgrade consists of."""

    corpus: Mapping[str, object]
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    upgrades: Sequence[str]
    downloads: Sequence[int]
    kept: Sequence[Kept]
    failed = False

    def as_json(self) -> dict[str, object]:
        """The object that ``--json`` prints; sizes in bytes."""
        return {
            "schema": "bench-growth/1",
            "corpus": dict(self.corpus),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "upgrades": [
                {"name": name, "bytes": size} for name, size in zip(self.upgrades, self.downloads, strict=True)
            ],
            "keepers": [{**asdict(kept), "growth": kept.growth} for kept in self.kept],
        }

    def as_text(self) -> str:
        """The table as Markdown: a line for each ten snapshots."""
        total = sum(self.downloads) / MB
        lines = [*facts(self.corpus, self.machine, self.versions)]
        lines.append(f"- {len(self.upgrades)} upgrades, {total:,.0f} MB of packages; a snapshot after each")
        return "\n".join([*lines, "", *aligned(["", *[kept.name for kept in self.kept]], list(self._cells()), left=1)])

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for count in self.kept[0].sizes:
            what = "as installed" if count == 1 else f"after {count - 1} upgrades"
            yield (what, *[f"{kept.sizes[count] / MB:,.0f} MB" for kept in self.kept])
        yield ("**an upgrade adds**", *[f"**{kept.growth / MB:.2f} MB**" for kept in self.kept])
        yield ("seconds for a snapshot", *[f"{median(kept.seconds[1:]):.2f}" for kept in self.kept])
        yield ("seconds for a repack", *[f"{mean(kept.repacking):.1f}" if kept.repacking else "" for kept in self.kept])


def keepers(work: Path, root: Path) -> list[Keeper]:
    """gitstate twice, so that gc can be seen, and its peers."""
    site, git, ostree, borg, restic = (work / name for name in ("site", "git", "ostree", "borg", "restic"))

    def ours(*words: str) -> Command:
        return [*gitstate_command(), "--site", str(site), *words]

    def gitstate(title: str, name: str, *make: Command, repack: Sequence[Command] = ()) -> Keeper:
        path = site / "prototypes" / f"{name}.git"
        create = ours("prototype", "create", name, "--live", str(root))
        log = ["git", f"--git-dir={path}", "rev-list", "main"]
        return Keeper(
            title, path, [*make, create], lambda number: [ours("checkin", name, "-m", f"{number}")], log, repack
        )

    in_git = ["git", f"--git-dir={git}", f"--work-tree={root}", "-c", "user.name=b", "-c", "user.email=b@example.org"]
    commit = [[*in_git, "add", "--all", "--force"], [*in_git, "commit", "--quiet", "--message=bench"]]
    settings = [["git", f"--git-dir={git}", "config", key, "0"] for key in ("gc.auto", "maintenance.auto")]
    # Committed to an archive it would deflate every file each time, known or not; what is measured is the archive.
    bare = work / "ostree-bare"
    branch = ["--branch=main", "--subject=bench", f"--tree=dir={root}"]
    return [
        gitstate("gitstate", "bare", ours("init")),
        gitstate("gitstate, gc", "packed", repack=[ours("gc", "packed")]),
        Keeper(
            "git, gc",
            git,
            [["git", "init", "--quiet", "--bare", "--initial-branch=main", str(git)], *settings],
            lambda number: commit,
            ["git", f"--git-dir={git}", "rev-list", "main"],
            [["git", f"--git-dir={git}", "gc", "--quiet", "--prune=now"]],
        ),
        Keeper(
            "ostree archive",
            ostree,
            [
                ["mkdir", str(ostree), str(bare)],
                ["ostree", f"--repo={ostree}", "init", "--mode=archive"],
                ["ostree", f"--repo={bare}", "init", "--mode=bare"],
            ],
            lambda number: [
                ["ostree", f"--repo={bare}", "commit", *branch],
                ["ostree", f"--repo={ostree}", "pull-local", str(bare), "main"],
            ],
            ["sh", "-c", f"ostree --repo='{ostree}' log main | grep ^commit"],
        ),
        Keeper(
            "borg",
            borg,
            [["borg", "init", "--encryption=none", str(borg)]],
            lambda number: [["borg", "create", f"{borg}::{number}", str(root)]],
            ["borg", "list", "--short", str(borg)],
        ),
        Keeper(
            "restic",
            restic,
            [["restic", "init", f"--repo={restic}"]],
            lambda number: [["restic", f"--repo={restic}", "backup", "--quiet", str(root)]],
            ["restic", f"--repo={restic}", "list", "snapshots"],
        ),
    ]


def environment(base: Mapping[str, str], work: Path) -> dict[str, str]:
    """Backup programs are asked nothing and keep their caches with the rest."""
    home = str(work / "home")
    return {
        **base,
        "BORG_BASE_DIR": home,
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "RESTIC_PASSWORD": "bench",
        "RESTIC_CACHE_DIR": home,
    }


@dataclass(frozen=True, slots=True)
class Growth:
    """One run of the whole history."""

    history: upgrades.History
    work: Path
    environment: Mapping[str, str]
    say: Callable[[str], None]

    def run(self, machine: Mapping[str, object], versions: Mapping[str, str]) -> Report:
        """Raises BenchError if anything can't be installed or recorded."""
        root = self.work / "root"
        upgrades.unpack_root(self.history.root, root)
        simplify(root)
        upgrades.start_nothing(root)
        corpus = Corpus(self.history.root.parent.name, root).describe()
        makers = keepers(self.work, root)
        kept = [Kept(keeper.name) for keeper in makers]
        for keeper in makers:
            self._do(keeper.make)
        self._record(root, makers, kept, 1)
        for number, upgrade in enumerate(self.history.upgrades, 2):
            self.say(f"{number - 1}/{len(self.history.upgrades)}: {upgrade.name}")
            upgrades.apply(root, upgrade)
            self._record(root, makers, kept, number)
        self._check(makers)
        names = [upgrade.name.partition("-")[2] for upgrade in self.history.upgrades]
        sizes = [upgrade.size for upgrade in self.history.upgrades]
        return Report(corpus, machine, versions, names, sizes, kept)

    def _record(self, root: Path, makers: Sequence[Keeper], kept: Sequence[Kept], number: int) -> None:
        """The next snapshot by everybody; ``number`` counts the first as 1."""
        for pattern in _UNRECORDED:
            for path in root.glob(pattern):
                path.unlink()
        measured = (number - 1) % EVERY == 0 or number == len(self.history.upgrades) + 1
        for keeper, its in zip(makers, kept, strict=True):
            its.seconds.append(self._do(keeper.record(number)))
            if measured and keeper.repack:
                its.repacking.append(self._do(keeper.repack))
            if measured:
                its.sizes[number] = disk_usage(keeper.path)

    def _check(self, makers: Sequence[Keeper]) -> None:
        wanted = len(self.history.upgrades) + 1
        for keeper in makers:
            found = len(run_untimed(keeper.listing, self.environment).splitlines())
            if found != wanted:
                raise BenchError(f"{keeper.name}: {found} snapshots, where {wanted} were made")

    def _do(self, commands: Sequence[Command]) -> float:
        """Seconds that they took."""
        started = time.perf_counter()
        for command in commands:
            run_untimed(command, self.environment)
        return time.perf_counter() - started


def versions(base: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The versions of the peers that only this bench has, beside the others'."""
    borg, restic = (
        run_untimed(words, environment).split()[1] for words in (["borg", "--version"], ["restic", "version"])
    )
    return {**{name: version for name, version in base.items() if name != "cp"}, "borg": borg, "restic": restic}


def room(history: upgrades.History) -> int:
    """Bytes that a run fills at most: six repositories, two of which may be written anew, and the root."""
    packages = sum(upgrade.size for upgrade in history.upgrades)
    return 6 * history.root.stat().st_size + 40 * packages
