"""The bench itself: what it times, how it judges, and that nothing that fails goes unseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from gitstate.store.site import Site
from tests.bench import directory, layers, rows, stage, table, uppers
from tests.bench.corpus import RECIPES, Corpus, Recipe, find, unpack
from tests.bench.harness import file_system, own_file_system
from tests.bench.machines import ONE, Machines
from tests.bench.measure import MB, Bench, BenchError, Contender, Figures, Outcome, Row, Run, judge, timed
from tests.bench.trees import below, disk_usage
from tests.support import PROJECT, needs, root_only

TIMES = {"type": "object", "required": ["seconds", "cpu", "memory"], "additionalProperties": {"type": "number"}}
BUDGET = {
    "type": "object",
    "required": ["what", "value", "limit", "holds"],
    "properties": {"what": {"enum": ["seconds", "memory", "ratio"]}, "holds": {"type": "boolean"}},
}
CONTENDER = {
    "type": "object",
    "required": ["name", "seconds", "cpu", "memory", "repository", "ratio", "runs", "budgets"],
    "properties": {
        "seconds": {"type": "number"},
        "memory": {"type": "integer"},
        "repository": {"type": ["integer", "null"]},
        "ratio": {"type": ["number", "null"]},
        "runs": {"type": "array", "items": TIMES, "minItems": 1},
        "budgets": {"type": "array", "items": BUDGET},
    },
}
ROW = {
    "type": "object",
    "required": ["name", "what", "state", "contenders"],
    "properties": {
        "state": {"enum": ["measured", "not there yet", "failed"]},
        "contenders": {"type": "array", "items": CONTENDER},
    },
}
REPORT = {
    "type": "object",
    "required": ["schema", "corpus", "machine", "versions", "runs", "caches", "memory_floor", "rows"],
    "properties": {
        "schema": {"const": "bench/1"},
        "corpus": {"required": ["name", "entries", "files", "bytes"]},
        "machine": {"required": ["cores", "processor", "memory", "file_system", "kernel", "load"]},
        "versions": {"required": ["gitstate", "git", "ostree", "cp"]},
        "caches": {"enum": ["warm", "cold"]},
        "rows": {"type": "array", "items": ROW},
    },
}


DIRECTORY = {
    "type": "object",
    "required": ["schema", "clients", "machine", "versions", "runs", "rows"],
    "properties": {
        "schema": {"const": "bench-directory/1"},
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["what", "tool", "ldif", "ldap", "raw", "ratio", "budget", "verdict", "failure"],
                "properties": {
                    "ldif": {"type": "array", "items": {"type": "number"}, "minItems": 1},
                    "ldap": {"type": "array", "items": {"type": "number"}, "minItems": 1},
                    "raw": {"type": "array", "items": {"type": "number"}},
                    "verdict": {"enum": ["holds", "MISSES", None]},
                },
            },
        },
    },
}


def bench(runs: int = 1, verbs: Sequence[str] = ()) -> Bench:
    return Bench(runs, os.environ, frozenset(verbs), lambda: None, lambda text: None)


def shell(name: str, script: str, budget: float | None = None) -> Contender:
    return Contender(name, lambda: [["sh", "-c", script]], budget=budget)


def row(*contenders: Contender, verbs: Sequence[str] = ()) -> Row:
    return Row("sleep", "a nap", contenders, frozenset(verbs))


def report(*outcomes: Outcome) -> table.Report:
    corpus = {"name": "small", "entries": 14000, "files": 11000, "bytes": 1 << 30}
    versions = {"gitstate": "1", "git": "2", "ostree": "3", "cp": "4"}
    return table.Report(corpus, table.machine(PROJECT), versions, 3, False, outcomes)


def judged(ours: float, theirs: float, budget: float) -> Outcome:
    figures = [Figures("gitstate", [Run(ours, 0.1, MB)]), Figures("git", [Run(theirs, 0.1, MB)])]
    judge(row(shell("gitstate", ""), shell("git", "", budget)), figures)
    return Outcome("sleep", "a nap", figures)


# --- figures and verdicts ---


@pytest.mark.parametrize(("ours", "verdict"), [(2.0, "holds"), (2.5, "holds"), (2.6, "MISSES"), (20.0, "MISSES")])
def test_a_ratio_over_budget_misses(ours: float, verdict: str) -> None:
    outcome = judged(ours, 10.0, 0.25)
    (line,) = (line for line in report(outcome).as_text().splitlines() if "| git " in line)
    assert [cell.strip() for cell in line.split("|")][-4:-1] == [f"{ours / 10:.3f}", "≤ 0.25", verdict]


@pytest.mark.parametrize(
    ("run", "verdicts"),
    [
        (Run(0.7, 1, 400 * MB), [True, True]),
        (Run(0.71, 1, 400 * MB), [False, True]),
        (Run(0.1, 1, 400 * MB + 1), [True, False]),
    ],
)
def test_seconds_and_memory_have_limits_of_their_own(run: Run, verdicts: list[bool]) -> None:
    ours = Figures("gitstate", [run])
    judge(Row("x", "x", [shell("gitstate", "")], frozenset(), seconds=0.7, memory=400 * MB), [ours])
    assert [budget.holds for budget in ours.budgets] == verdicts


def test_figures_are_medians_but_memory_is_the_worst() -> None:
    figures = Figures("git", [Run(9.0, 3.0, 10), Run(1.0, 2.0, 30), Run(2.0, 1.0, 20)])
    assert (figures.seconds, figures.cpu, figures.memory) == (2.0, 2.0, 30)
    figures.runs.append(Run(3.0, 4.0, 5))
    assert figures.seconds == 2.5


def test_commands_are_interleaved_and_prepared_untimed(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def contender(letter: str) -> Contender:
        return Contender(
            letter,
            lambda: [["sh", "-c", f"printf {letter} >>{log}"]],
            lambda: subprocess.run(["sh", "-c", f"sleep 0.2; printf {letter.lower()} >>{log}"], check=True),
        )

    def number_it(number: int) -> None:
        log.write_text(f"{log.read_text() if number else ''}{number}")

    work = Row("x", "x", [contender("A"), contender("B")], frozenset(), round=number_it)
    outcome = bench(3).measure(work)
    assert log.read_text() == "0aAbB1aAbB2aAbB"
    assert all(run.seconds < 0.2 for figures in outcome.figures for run in figures.runs)


def test_all_commands_of_one_timing_count() -> None:
    assert timed([["sleep", "0.1"], ["sleep", "0.1"]], os.environ).seconds >= 0.2


def test_memory_is_that_of_the_largest_process() -> None:
    """Asked of a process as small as the bench: until it is another program, a child is as large as its parent."""
    large = f"{sys.executable} -c 'bytearray(200_000_000)'; true"
    commands = [["sh", "-c", large], ["true"]]
    ask = f"import os; from tests.bench.measure import timed; print(timed({commands!r}, os.environ).memory)"
    done = subprocess.run([sys.executable, "-c", ask], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert 200 * MB < int(done.stdout) < 300 * MB


# --- what goes wrong ---


def test_a_failing_command_fails_its_row_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    broken = shell("git", "echo 'No space left' >&2; exit 3")
    outcome = bench().measure(row(shell("gitstate", "true"), broken))
    assert outcome.state == "failed"
    assert not outcome.figures
    made = report(outcome, judged(1, 10, 0.25))
    assert made.failed
    assert "FAILED" in made.as_text()
    assert "exit code 3: No space left" in made.as_text()
    assert made.as_json()["rows"][0]["failure"] == outcome.failure  # type: ignore[index]


def test_a_killed_or_absent_command_fails_its_row() -> None:
    assert "killed by signal 9" in bench().measure(row(shell("gitstate", "kill -9 $$"))).failure
    absent = Contender("gitstate", lambda: [["/nowhere/gitstate"]])
    assert "/nowhere/gitstate: No such file" in bench().measure(row(absent)).failure


def test_a_failing_preparation_fails_its_row() -> None:
    def fail() -> None:
        raise BenchError("no room")

    assert bench().measure(Row("x", "x", [shell("gitstate", "true")], frozenset(), fail)).failure == "no room"


def test_a_row_without_its_command_is_not_there_yet() -> None:
    outcome = bench(verbs=["init"]).measure(row(shell("gitstate", "exit 1"), verbs=["init", "export"]))
    assert (outcome.state, outcome.missing) == ("not there yet", "gitstate export")
    assert "not there yet" in report(outcome).as_text()
    assert not report(outcome).failed


@pytest.mark.parametrize(
    ("said", "code", "there"),
    [
        ("usage", 0, True),
        ("Error: No such command 'x'.", 2, False),
        ("gitstate: no command 'x'", 2, False),
        ("/usr/bin/python3: No module named gitstate.__main__", 1, False),
    ],
)
def test_commands_that_are_there(
    said: str, code: int, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "gitstate_command", lambda: ["sh", "-c", f'echo "{said}" >&2; exit {code}'])
    assert stage.verbs_there(os.environ) == (frozenset(stage.VERBS) if there else frozenset())


def test_a_broken_gitstate_is_not_taken_for_an_unfinished_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "gitstate_command", lambda: ["sh", "-c", "echo 'ImportError: isal' >&2; exit 70"])
    with pytest.raises(BenchError, match="ImportError: isal"):
        stage.verbs_there(os.environ)


# --- the report ---


def test_the_json_object() -> None:
    made = report(judged(1, 10, 0.25), Outcome("x", "x", missing="gitstate x"), Outcome("y", "y", failure="boom"))
    found = json.loads(json.dumps(made.as_json()))
    jsonschema.validate(found, REPORT)
    assert [row["state"] for row in found["rows"]] == ["measured", "not there yet", "failed"]
    assert found["rows"][0]["contenders"][1]["budgets"] == [
        {"what": "ratio", "value": 0.1, "limit": 0.25, "holds": True}
    ]


def test_the_table_goes_between_its_markers_only(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    begin, end = "<!-- bench small: written by ./run bench -->\n", "<!-- end of bench small -->\n"
    page.write_text(f"before\n{begin}old\n{end}after\n")
    for text in ("first", "second"):
        table.write_docs(page, "small", text)
        assert page.read_text() == f"before\n{begin}\n{text}\n\n{end}after\n"
    with pytest.raises(BenchError, match="no place for corpus desktop"):
        table.write_docs(page, "desktop", "third")


def test_the_page_has_a_place_for_each_corpus(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text((PROJECT / "docs" / "performance.md").read_text())
    for name in (*RECIPES, "directory", "layers", "uppers"):
        table.write_docs(page, name, "text")


# --- the corpus ---


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    source = tmp_path / "source"
    for folder in "abcdefgh":
        (source / "etc" / folder).mkdir(parents=True)
        for name in ("one", "two", "three"):
            (source / "etc" / folder / name).write_text(f"{folder}/{name}\n")
    os.link(source / "etc/a/one", source / "etc/a/link")
    (source / "etc/ssh").mkdir()
    (source / "etc/ssh/ssh_host_rsa_key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    os.mkfifo(source / "etc/fifo")
    unpack(find(str(source), tmp_path / "roots", print), tmp_path / "corpus")
    return Corpus("source", tmp_path / "corpus")


def test_a_corpus_is_a_copy_without_what_a_contender_refuses(corpus: Corpus) -> None:
    paths = {path for path, _ in below(corpus.path)}
    assert b"etc/a/link" in paths
    assert not paths & {b"etc/ssh/ssh_host_rsa_key", b"etc/fifo"}
    size = sum(len(f"{folder}/{name}\n") for folder in "abcdefgh" for name in ("one", "two", "three"))
    assert corpus.describe() == {"name": "source", "entries": 35, "files": 25, "bytes": size}


def test_each_round_of_edits_is_five_in_five_directories(corpus: Corpus) -> None:
    def state() -> dict[bytes, tuple[int, ...]]:
        return {path: (status.st_mode, status.st_size, status.st_mtime_ns) for path, status in below(corpus.path)}

    for number in range(20):
        before, edited = state(), corpus.edit(number)
        assert len({path.rpartition(b"/")[0] for path in edited}) == 5
        after = {path: status for path, status in state().items() if (corpus.path / os.fsdecode(path)).is_file()}
        files = {path: status for path, status in before.items() if path in after or path in edited}
        assert len(set(after.items()) - set(files.items())) == 4
        assert len(files.keys() - after.keys()) == 1
        if number == 2:
            return  # eight directories don't yield five candidates for ever


def test_an_upgrade_replaces_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "usr/bin").mkdir(parents=True)
    for number in range(300):
        (source / f"usr/bin/{number}").write_text(f"{number}\n")
    unpack(source, tmp_path / "corpus")
    found = Corpus("source", tmp_path / "corpus")
    before = {path: status.st_ino for path, status in below(found.path) if path.count(b"/") == 2}
    assert found.upgrade(7) == 300
    after = {path: status.st_ino for path, status in below(found.path) if path.count(b"/") == 2}
    assert len(before) == len(after) == 300
    assert not before.items() & after.items()
    assert len(after.keys() - before.keys()) == 3


def test_a_tree_too_small_to_edit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="fewer than 5 directories"):
        Corpus("empty", tmp_path).edit(0)


def test_a_corpus_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="neither small nor desktop nor a directory"):
        find("large", tmp_path, print)


def test_another_list_of_packages_is_another_corpus() -> None:
    key = Recipe("minbase", "udev kmod").key
    assert Recipe("minbase", "kmod udev").key == key
    assert Recipe("minbase", "kmod").key != key
    assert Recipe("important", "udev kmod").key != key


def test_disk_usage_counts_an_inode_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(bytes(1 << 20))
    alone = disk_usage(tmp_path)
    os.link(tmp_path / "one", tmp_path / "two")
    assert disk_usage(tmp_path) == alone >= 1 << 20


def test_the_file_system_is_named() -> None:
    assert file_system(Path("/proc/self")) == "proc"


@root_only
@needs("losetup", "mkfs.ext4")
def test_a_file_system_of_its_own_goes_when_the_bench_ends(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()

    def use_it() -> None:
        with own_file_system("ext4", work, 64 << 20):
            assert file_system(work) == "ext4"
            assert os.path.ismount(work)
            raise BenchError("no room")

    with pytest.raises(BenchError, match="no room"):
        use_it()
    assert not os.path.ismount(work)
    assert list(tmp_path.iterdir()) == [work]
    assert str(tmp_path) not in subprocess.run(["losetup"], capture_output=True, text=True, check=True).stdout


# --- directories ---


@pytest.mark.parametrize(("ldap", "verdict"), [(0.3, "holds"), (0.31, "MISSES")])
def test_ldap_is_judged_by_its_own_tool(ldap: float, verdict: str) -> None:
    found = directory.Row("x", "ldapsearch", [0.1], [9.0, ldap, 0.0], [0.2, 0.2, 7.0])
    assert found.cells() == ("x", "ldapsearch", "100 ms", f"{ldap * 1000:.0f} ms", "200 ms", *found.cells()[5:])
    assert found.verdict == verdict
    assert directory.Row("x", "", [0.1], [9.0], budget=None).cells()[5:] == ("", "", "")


@pytest.mark.slow
@root_only
@needs("git", "slapd", "ldapsearch", "ldapmodify")
def test_directories_of_few_clients(tmp_path: Path) -> None:
    found = directory.run(tmp_path, table.machine(tmp_path), {"gitstate": "1"}, runs=1, count=800)
    assert not found.failed, found.as_text()
    shape = json.loads(json.dumps(found.as_json()))
    jsonschema.validate(shape, DIRECTORY)
    assert [bool(row["budget"]) for row in shape["rows"]] == [True] * 5 + [False] * 3
    assert "800 clients" in found.as_text()


def test_a_row_that_does_not_do_its_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(site: object) -> None:
        raise BenchError("3 instead of 200")

    site = Site(Path("/nowhere"))
    found = directory._measured(directory.Work("list", broken, (site, site)), 1)
    assert (found.verdict, found.failure) == ("FAILED", "3 instead of 200")
    assert directory.Report(1, table.machine(PROJECT), {}, 1, [found]).failed


# --- layers ---


@pytest.fixture
def few(tmp_path: Path) -> layers.Harness:
    place = tmp_path / "place"
    folder = tmp_path / "site/tftp/archives/all0/1"
    for made in (place, folder):
        made.mkdir(parents=True)
    (place / "channel").write_text("all0")
    (place / "said").write_text("all0/1 = desktop 1234567\n  machine archives: 2, 1 of them rendered\n")
    (folder / "lab3-0000.cpio").write_text("new")
    (folder / "lab3-0001.cpio").write_text("old")
    os.link(folder / "lab3-0001.cpio", tmp_path / "of an earlier release")
    return layers.Harness(Machines(Site(tmp_path / "site"), 2, 0), place, os.environ)


def test_a_push_that_renders_too_much_or_too_little_fails(few: layers.Harness) -> None:
    layers.check_rendered(few, 1)
    with pytest.raises(BenchError, match="doesn't say 'machine archives: 2'"):
        layers.check_rendered(few, 2)
    (few.place.parent / "of an earlier release").unlink()
    with pytest.raises(BenchError, match="archives that are new: 2, not 1"):
        layers.check_rendered(few, 1)
    (few.machines.archives("all0")[ONE]).unlink()
    with pytest.raises(BenchError, match="archives: 1, not 2"):
        layers.check_rendered(few, 1)


@pytest.mark.slow
@root_only
@needs("git", "busybox", "dash", "cpio", "setfattr", "mount")
def test_layers_of_few_clients(tmp_path: Path) -> None:
    environment = stage.environment(tmp_path)
    with layers.rows(tmp_path, environment, count=12, own=4) as made:
        measured = Bench(1, environment, layers.VERBS, lambda: None, lambda text: None)
        outcomes = [measured.measure(one) for one in made]
        assert [(one.name, one.failure) for one in outcomes] == [(name, "") for name in layers.NAMES]
        (tmp_path / "place/memory/root/etc/default/base-100.conf").write_text("mine")
        assert "exit code 3" in measured.measure(replace(made[-1], ready=lambda: None)).failure
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    found = table.Report(layers.about(), table.machine(PROJECT), {"gitstate": "1"}, 1, False, outcomes)
    assert "1,000 clients" in found.as_text()
    assert {budget.what for one in outcomes for budget in one.figures[0].budgets} == {"seconds", "memory"}


# --- the whole ---


@pytest.mark.slow
@root_only
@needs("git", "ostree")
def test_the_whole_bench_on_a_small_tree(corpus: Corpus) -> None:
    command = [sys.executable, "-m", "tests.bench", "--corpus", str(corpus.path), "--runs", "1", "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    jsonschema.validate(found, REPORT)
    assert [row["name"] for row in found["rows"]] == list(rows.NAMES)
    assert {row["state"] for row in found["rows"]} == {"measured"}
    removed = done.stderr.rpartition("removing ")[2].strip()
    assert removed.startswith(str(PROJECT / ".work" / "bench"))
    assert not Path(removed).exists()


# --- upper directories ---


@pytest.mark.slow
@root_only
@needs("git", "mount")
def test_upper_directories_over_few_files(tmp_path: Path) -> None:
    environment = stage.environment(tmp_path)
    with uppers.rows(tmp_path, environment, count=1000) as made:
        outcomes = [Bench(1, environment, uppers.VERBS, lambda: None, lambda text: None).measure(one) for one in made]
    assert [(one.name, one.failure) for one in outcomes] == [("upper", ""), ("machine", "")]
    assert {budget.what for one in outcomes for figure in one.figures for budget in figure.budgets} >= {"ratio"}
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
