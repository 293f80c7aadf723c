"""``python -m tests.bench``: gitstate beside git, ostree, cp and find on the same work."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.bench import rows, table
from tests.bench import stage as stages
from tests.bench.corpus import RECIPES, Corpus, find, unpack
from tests.bench.ground import MAKERS, own_file_system, room
from tests.bench.measure import Bench, BenchError, progress, run_untimed
from tests.bench.trees import disk_usage, remove

PROJECT: Final = Path(__file__).resolve().parents[2]
_WORK: Final = PROJECT / ".work" / "bench"
_PAGE: Final = PROJECT / "docs" / "performance.md"
_DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")
_PROGRAMS: Final = ("git", "ostree", "cp", "find", "sync", "tar")


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; 0 if every row was measured (whatever its verdict), 1 if a command failed, 5 if it can't run."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the work directory is removed then, too
    try:
        _check(options)
        source = find(options.corpus, PROJECT / ".work" / "roots", progress)
        with _work(options, source) as work:
            report = _bench(options, source, work)
        print(json.dumps(report.as_json(), indent=2) if options.json else report.as_text())
        if options.write_docs and not report.failed:
            table.write_docs(_PAGE, options.corpus, report.as_text())
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
    parser.add_argument("--rows", metavar="NAME,…", help=f"only these of: {', '.join(rows.NAMES)}")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="how often each command is timed (3)")
    parser.add_argument("--cold", action="store_true", help="drop the kernel's caches before each timing")
    parser.add_argument("--file-system", choices=sorted(MAKERS), help="work on a fresh one, on a loop device")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", action="store_true", help="leave the work directory")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {_PAGE.relative_to(PROJECT)}")
    options = parser.parse_args(arguments)
    options.selected = options.rows.split(",") if options.rows else list(rows.NAMES)
    if unknown := sorted(set(options.selected) - set(rows.NAMES)):
        parser.error(f"no row {unknown[0]}: there are {', '.join(rows.NAMES)}")
    if options.runs < 1:
        parser.error("--runs wants at least 1")
    if options.write_docs and (options.rows or options.corpus not in RECIPES):
        parser.error("--write-docs wants all rows of a corpus that others can make")
    return options


def _check(options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise BenchError("owners and devices can be checked in and exported by root only: run it with sudo")
    programs = [*_PROGRAMS, *(["mmdebstrap"] if options.corpus in RECIPES else [])]
    programs += [MAKERS[options.file_system][0]] if options.file_system else []
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise BenchError(f"missing: {', '.join(missing)}")
    if options.cold and not os.access(_DROP_CACHES, os.W_OK):
        raise BenchError(f"--cold: {_DROP_CACHES} can't be written here")


@contextmanager
def _work(options: argparse.Namespace, source: Path) -> Iterator[Path]:
    """The directory that all is made in, removed in the end. Raises BenchError if there is too little room."""
    _WORK.mkdir(parents=True, exist_ok=True)
    needed = room(source.stat().st_size if source.is_file() else disk_usage(source))
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
    versions = table.versions(stages.gitstate_command(), environment)
    return table.Report(description, machine, versions, options.runs, options.cold, outcomes, table.memory_floor())


def _pause(stage: stages.Stage) -> Callable[[], None]:
    """Before each timing: nobody writes back what another one left dirty."""

    def pause() -> None:
        run_untimed(stage.sync(), stage.environment)
        if stage.cold:
            _DROP_CACHES.write_text("3\n")

    return pause


if __name__ == "__main__":
    sys.exit(main())
