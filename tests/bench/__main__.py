"""``python -m tests.bench``: gitstate beside git, ostree, cp and find on the same work."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from tests.bench import boots, directory, growth, layers, rows, scale, table, upgrades, uppers, writes
from tests.bench import stage as stages
from tests.bench.corpus import RECIPES, Corpus, find, unpack
from tests.bench.harness import MAKERS, own_file_system, room
from tests.bench.measure import Bench, BenchError, progress, run_untimed
from tests.bench.trees import disk_usage, remove

PROJECT: Final = Path(__file__).resolve().parents[2]
_WORK: Final = PROJECT / ".work" / "bench"
_ROOTS: Final = PROJECT / ".work" / "roots"
_PAGE: Final = PROJECT / "docs" / "performance.md"
_DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")
_CASES: Final = tuple(case.name for case in scale.CASES)
_BOOT_ROOM: Final = 4 << 30
_PROGRAMS: Final = ("git", "ostree", "cp", "find", "sync", "tar")


class Report(Protocol):
    """What a bench says."""

    @property
    def failed(self) -> bool: ...
    def as_json(self) -> dict[str, object]: ...
    def as_text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Job:
    """One of the benches: the name of its table in the docs, the bytes of room that it needs, and what it does."""

    name: str
    room: int
    run: Callable[[Path], Report]


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; 0 if every row was measured (whatever its verdict), 1 if a command failed, 5 if it can't run."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the work directory is removed then, too
    try:
        _check(options)
        job = _job(options)
        with _work(options, job.room) as work:
            report = job.run(work)
        print(json.dumps(report.as_json(), indent=2) if options.json else report.as_text())
        if options.write_docs and not report.failed:
            table.write_docs(_PAGE, job.name, report.as_text())
    except BenchError as error:
        progress(str(error))
        return 5
    except KeyboardInterrupt:
        return 130
    return int(report.failed)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("./run bench", description=__doc__.partition(": ")[2] if __doc__ else None)
    parser.add_argument(
        "--corpus", default="small", metavar="|".join([*RECIPES, "DIR"]), help="what is measured (small); DIR is copied"
    )
    parser.add_argument(
        "--rows",
        metavar="NAME,…",
        help=f"only these of: {', '.join(rows.NAMES)}; with --scale of: {', '.join(_CASES)}",
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="how often each command is timed (3)")
    parser.add_argument("--cold", action="store_true", help="drop the kernel's caches before each timing")
    parser.add_argument("--growth", action="store_true", help="instead: what snapshots of real upgrades add")
    parser.add_argument(
        "--history", metavar="DIR", help="the root and upgrades for --growth: root.tar, upgrades/*/*.deb"
    )
    parser.add_argument(
        "--scale", type=float, metavar="PART", help="instead: many and huge files, a long history; 1 is the full size"
    )
    parser.add_argument("--boot", action="store_true", help="instead: boot files of many clients, and a machine's boot")
    parser.add_argument("--directory", action="store_true", help="instead: 10,000 clients in both directories")
    parser.add_argument("--layers", action="store_true", help="instead: layers of 1,000 clients, at a push and at boot")
    parser.add_argument("--uppers", action="store_true", help="instead: edits made on 50,000 and on 500,000 files")
    parser.add_argument("--file-system", choices=sorted(MAKERS), help="work on a fresh one, on a loop device")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", action="store_true", help="leave the work directory")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {_PAGE.relative_to(PROJECT)}")
    options = parser.parse_args(arguments)
    names = rows.NAMES if options.scale is None else _CASES
    options.selected = options.rows.split(",") if options.rows else list(names)
    if unknown := sorted(set(options.selected) - set(names)):
        parser.error(f"no row {unknown[0]}: there are {', '.join(names)}")
    if options.runs < 1:
        parser.error("--runs wants at least 1")
    if options.write_docs and (options.rows or options.history or options.corpus not in RECIPES):
        parser.error("--write-docs wants all rows of a corpus that others can make")
    return options


def _check(options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise BenchError("owners and devices can be checked in and exported by root only: run it with sudo")
    made = not options.history if options.growth else options.corpus in RECIPES and not _without_corpus(options)
    programs = [*_PROGRAMS, *(["mmdebstrap"] if made else []), *(growth.PROGRAMS if options.growth else [])]
    programs += directory.PROGRAMS if options.directory else layers.PROGRAMS if options.layers else ()
    programs += uppers.PROGRAMS if options.uppers else ()
    programs += [MAKERS[options.file_system][0]] if options.file_system else []
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise BenchError(f"missing: {', '.join(missing)}")
    if options.cold and not os.access(_DROP_CACHES, os.W_OK):
        raise BenchError(f"--cold: {_DROP_CACHES} can't be written here")


def _without_corpus(options: argparse.Namespace) -> bool:
    return options.scale is not None or options.directory or options.layers or options.uppers


@contextmanager
def _work(options: argparse.Namespace, needed: int) -> Iterator[Path]:
    """The directory that all is made in, removed in the end. Raises BenchError if there is too little room."""
    _WORK.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(_WORK).free) < needed:
        raise BenchError(f"{_WORK}: {needed >> 20} MiB of room are needed, and {free >> 20} are free")
    work = Path(tempfile.mkdtemp(prefix="run-", dir=_WORK))
    with ExitStack() as stack:
        if not options.keep:
            stack.callback(remove, work)
        if options.file_system:
            stack.enter_context(own_file_system(options.file_system, work, needed, keep=options.keep))
        yield work
        progress(f"{'left' if options.keep else 'removing'} {work}")


def _job(options: argparse.Namespace) -> Job:
    if options.scale is not None:
        return _scale(options)
    if options.directory:
        return Job("directory", directory.ROOM, partial(_directory, options))
    if options.layers:
        return Job("layers", layers.ROOM, partial(_layers, options))
    if options.uppers:
        return Job("uppers", uppers.ROOM, partial(_uppers, options))
    if options.boot:
        return Job("boot", _BOOT_ROOM, partial(_boots, options))
    return _growth(options) if options.growth else _table(options)


def _table(options: argparse.Namespace) -> Job:
    """The rows of the design's table on one corpus."""
    source = find(options.corpus, _ROOTS, progress)
    needed = room(source.stat().st_size if source.is_file() else disk_usage(source))
    return Job(options.corpus, needed, partial(_bench, options, source))


def _bench(options: argparse.Namespace, source: Path, work: Path) -> table.Report:
    environment = stages.environment(work)
    machine = table.machine(work)
    progress(f"unpacking {source}")
    corpus = Corpus(options.corpus if options.corpus in RECIPES else source.name, work / "corpus")
    unpack(source, corpus.path)
    description = corpus.describe()
    stage = stages.Stage(corpus, work, environment, cold=options.cold)
    bench = Bench(options.runs, environment, stages.verbs_there(environment), _pause(stage), progress)
    outcomes = [bench.measure(row) for row in rows.rows(stage) if row.name in options.selected]
    return table.Report(
        description, machine, _versions(environment), options.runs, options.cold, outcomes, table.memory_floor()
    )


def _boots(options: argparse.Namespace, work: Path) -> table.Report:
    """What ``boot write`` takes for many clients, and a machine from power-on to its login prompt."""
    environment = stages.environment(work)
    verbs = boots.VERBS | writes.VERBS
    bench = Bench(options.runs, environment, verbs, os.sync, progress)
    outcomes = [bench.measure(row) for row in (*writes.rows(work, environment), boots.row(work))]
    versions = {name: version for name, version in _versions(environment).items() if name in ("gitstate", "git")}
    about = {"name": "boot", "clients": writes.CLIENTS}
    return table.Report(about, table.machine(work), versions, options.runs, False, outcomes, table.memory_floor())


def _directory(options: argparse.Namespace, work: Path) -> directory.Report:
    """Many clients, in the embedded directory and in LDAP."""

    versions = directory.versions(_versions(os.environ))
    return directory.run(work, table.machine(work), versions, options.runs, directory.CLIENTS)


def _layers(options: argparse.Namespace, work: Path) -> table.Report:
    """Layers of many clients: rendered, laid over a root, compared on a running machine."""
    environment = stages.environment(work)
    machine = table.machine(work)
    bench = Bench(options.runs, environment, layers.VERBS, os.sync, progress)
    with layers.rows(work, environment) as made:
        outcomes = [bench.measure(row) for row in made]
    versions = layers.versions(_versions(environment))
    return table.Report(layers.about(), machine, versions, options.runs, False, outcomes, table.memory_floor())


def _uppers(options: argparse.Namespace, work: Path) -> table.Report:
    """Edits in an overlay's upper directory, over few and over many files."""
    environment = stages.environment(work)
    machine = table.machine(work)
    bench = Bench(options.runs, environment, uppers.VERBS, os.sync, progress)
    with uppers.rows(work, environment) as made:
        outcomes = [bench.measure(row) for row in made]
    versions = {name: version for name, version in _versions(environment).items() if name in ("gitstate", "git")}
    return table.Report(uppers.about(), machine, versions, options.runs, False, outcomes, table.memory_floor())


def _versions(environment: Mapping[str, str]) -> dict[str, str]:
    return table.versions(stages.gitstate_command(), environment)


def _pause(stage: stages.Stage) -> Callable[[], None]:
    """Before each timing: nobody writes back what another one left dirty."""

    def pause() -> None:
        run_untimed(stage.sync(), stage.environment)
        if stage.cold:
            _DROP_CACHES.write_text("3\n")

    return pause


def _growth(options: argparse.Namespace) -> Job:
    """What a snapshot after each of many upgrades adds."""
    history = upgrades.find(options.history, _ROOTS, progress)

    def run(work: Path) -> growth.Report:
        environment = growth.environment(stages.environment(work), work)
        versions = growth.versions(_versions(environment), environment)
        return growth.Growth(history, work, environment, progress).run(table.machine(work), versions)

    return Job("growth", growth.room(history), run)


def _scale(options: argparse.Namespace) -> Job:
    """Many and huge files, a long history."""

    def run(work: Path) -> scale.Report:
        environment = stages.environment(work)
        versions = {name: version for name, version in _versions(environment).items() if name in ("gitstate", "git")}
        return scale.Scale(options.scale, options.selected, work, environment).run(table.machine(work), versions)

    return Job("scale", scale.room(options.scale, options.selected), run)


if __name__ == "__main__":
    sys.exit(main())
