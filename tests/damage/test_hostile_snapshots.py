"""Snapshots that somebody else's git made to harm us: nothing outside the target is touched, and it is told."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.damage.forge import EXECUTABLE, FILE, GITLINK, HEAD, LINK, OWN, SET, TREE, VERSION, Forge, Item, missing
from tests.damage.harness import Canary, Harness, complaints, forced_removal, looks
from tests.fork_server import ForkServer
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("rsync", "tar", "mtree")]


@dataclass(frozen=True)
class Case:
    """A snapshot: its root tree, and the exit code of reading all of it."""

    name: str
    build: Callable[[Forge], str]
    code: int = 14
    elsewhere: tuple[int, ...] = ()
    """Codes that ``manifest``, ``diff`` and others may end with besides."""


def items(*makers: Callable[[Forge], Item], lines: tuple[bytes, ...] = ()) -> Callable[[Forge], str]:
    """A root tree with these items."""
    return lambda forge: forge.directory(*(make(forge) for make in makers), lines=lines, root=True)


def record(*lines: bytes) -> Callable[[Forge], str]:
    """A root tree with a file ``f`` and these records; those of ``f`` bear its id, so that they count."""
    oid = b" oid=" + hashlib.sha1(b"blob 8\0hostile\n").hexdigest()[:8].encode()
    bound = tuple(line + oid if line.startswith(b"f ") else line for line in lines)
    return items(lambda forge: forge.file(b"f"), lines=bound)


def named(name: bytes, mode: bytes = FILE) -> Callable[[Forge], Item]:
    """A blob under a stored name."""
    return lambda forge: (mode, name, forge.blob(b"hostile\n"))


def below(name: bytes) -> Callable[[Forge], Item]:
    """A directory with a file ``file`` under a stored name."""
    return lambda forge: forge.below(name, forge.file(b"file"))


def link(name: bytes, target: bytes) -> Callable[[Forge], Item]:
    """A symlink under a stored name."""
    return lambda forge: forge.link(name, target)


def links(text: bytes) -> Callable[[Forge], str]:
    """A root tree with two equal files, a directory, a symlink to it, and this ``.gitstate-links``."""
    return lambda forge: forge.tree(
        forge.records(root=True),
        (FILE, b".gitstate-links", forge.blob(text)),
        forge.file(b"a"),
        forge.file(b"b"),
        forge.below(b"d", forge.file(b"file")),
        forge.link(b"s", b"d"),
    )


def deep(levels: int) -> Callable[[Forge], str]:
    """A chain of directories."""

    def build(forge: Forge) -> str:
        tree = forge.directory(forge.file(b"end"))
        for _ in range(levels):
            tree = forge.directory((TREE, b"d", tree))
        return forge.directory((TREE, b"d", tree), root=True)

    return build


def raw(data: bytes) -> Callable[[Forge], str]:
    """A root tree of these bytes."""
    return lambda forge: forge.put("tree", data)


OUT = b"../../../../../../../../.."
LONG = 255 * b"n"
ESCAPE = b".gitstate="
NONE = 20 * b"\1"

CASES = [
    # names that lead out
    Case("dot-dot directory", items(below(b".."))),
    Case("dot-dot file", items(named(b".."))),
    Case("dot directory", items(below(b"."))),
    Case("slash in a name", items(named(b"a/b"))),
    Case("path out in a name", items(named(b"../canary/file"))),
    Case("absolute name", items(named(b"/tmp/hostile"))),
    Case("empty name", items(named(b""))),
    Case("trailing slash", items(named(b"x/"))),
    Case("escape to dot-dot", items(below(ESCAPE + b"%2E%2E"))),
    Case("escape to dot-dot, plain", items(below(ESCAPE + b".."))),
    Case("escape to dot", items(below(ESCAPE + b"."))),
    Case("escape to slash", items(named(ESCAPE + b"..%2Fcanary%2Ffile"))),
    Case("escape to NUL", items(named(ESCAPE + b"a%00b"))),
    Case("escape to nothing", items(named(ESCAPE))),
    Case("half an escape", items(named(ESCAPE + b"a%2"))),
    Case("small escape", items(named(ESCAPE + b"%2e%2e"))),
    Case("name of 256 bytes", items(named(LONG + b"n")), elsewhere=(0, 1)),
    Case("directory of 300 bytes", items(below(300 * b"n")), elsewhere=(0, 1)),
    # git's own names are names like others
    Case("dot git", items(below(b".git")), code=0),
    Case("dot gitmodules as a link", items(link(b".gitmodules", b"/etc/passwd")), code=0),
    # two of a name
    Case("symlink and directory", items(link(b"x", OUT + b"/tmp"), below(b"x"))),
    Case("directory and symlink", items(below(b"x"), link(b"x", OUT + b"/tmp"))),
    Case("one file twice", items(named(b"x"), named(b"x"))),
    Case("one directory twice", items(below(b"x"), below(b"x"))),
    Case("plain and escaped", items(named(b".git"), named(ESCAPE + b".git"))),
    Case("escaped in two ways", items(named(ESCAPE + b".git"), named(ESCAPE + b"%2Egit"))),
    Case("file and device", items(named(b"x"), lines=(b"x type=char device=native,1,3",)), code=0),
    Case("directory and fifo", items(below(b"x"), lines=(b"x type=fifo",)), code=0),
    # modes
    Case("submodule", items(lambda forge: (GITLINK, b"x", missing()))),
    Case("mode zero", items(named(b"x", b"0"))),
    Case("mode huge", items(named(b"x", b"7" * 100))),
    Case("mode of a socket", items(named(b"x", b"140644"))),
    Case("mode with an underscore", items(named(b"x", b"100_644"))),
    Case("mode with a sign", items(named(b"x", b"+100644"))),
    Case("negative mode", items(named(b"x", b"-100644"))),
    Case("mode that is none", items(named(b"x", b"file"))),
    Case("empty mode", items(named(b"x", b""))),
    # trees that are none
    Case("garbage", raw(b"garbage")),
    Case("truncated", raw(b"100644 x\0" + NONE[:10])),
    Case("no name", raw(b"100644")),
    Case("binary", raw(bytes(range(256)) * 3)),
    Case("blob for a tree", items(lambda forge: (TREE, b"x", forge.blob(b"blob")))),
    Case("tree for a blob", items(lambda forge: (FILE, b"x", forge.directory())), code=0, elsewhere=(14,)),
    Case(
        "commit for a blob", items(lambda forge: (FILE, b"x", forge.commit(forge.directory()))), code=0, elsewhere=(14,)
    ),
    Case("missing blob", items(lambda forge: (FILE, b"x", missing())), elsewhere=(0, 1)),
    Case("missing tree", items(lambda forge: (TREE, b"x", missing()))),
    Case("1,500 levels", deep(1500), code=0),
    # symlinks
    Case("target with NUL", items(link(b"x", b"a\0b")), elsewhere=(0, 1)),
    Case("empty target", items(link(b"x", b"")), elsewhere=(0, 1)),
    Case("target of 5,000 bytes", items(link(b"x", b"t" * 5000)), elsewhere=(0, 1)),
    # records where none belong
    Case("records are a directory", lambda forge: forge.tree((TREE, b".gitstate", forge.directory()))),
    Case("records are missing", lambda forge: forge.tree((FILE, b".gitstate", missing()))),
    Case("records are a submodule", lambda forge: forge.tree((GITLINK, b".gitstate", missing()))),
    Case("records twice", lambda forge: forge.tree(forge.records(root=True), forge.records(root=True))),
    Case(
        "records are a symlink",
        lambda forge: forge.tree((LINK, b".gitstate", forge.blob(b"/etc/passwd")), forge.file(b"f")),
    ),
    # records that say absurd things
    Case("uid of 11 digits", record(b"f uid=99999999999")),
    Case("uid -1", record(b"f uid=4294967295")),
    Case("negative uid", record(b"f uid=-1")),
    Case("uid with an underscore", record(b"f uid=1_000")),
    Case("uid in other digits", record("f uid=\N{ARABIC-INDIC DIGIT ONE}".encode())),
    Case("time of 20 digits", record(b"f time=99999999999999999999.000000000")),
    Case("time beyond the kernel's", record(b"f time=9223372036854775807.999999999"), code=0),
    Case("time before the kernel's", record(b"f time=-9223372036854775808.000000000"), code=0),
    Case("time nan", record(b"f time=nan")),
    Case("mode of 5 digits", record(b"f mode=10755")),
    Case("mode 99", record(b"f mode=0999")),
    Case("device beyond the kernel's", record(b"x type=char device=native,4294967295,4294967295"), elsewhere=(0, 1)),
    Case("device of 20 digits", record(b"x type=char device=native,99999999999999999999,0")),
    Case("device without numbers", record(b"x type=char")),
    Case("file with device", record(b"f device=native,1,3")),
    Case("socket", record(b"x type=socket")),
    Case("record for a directory", record(b"x type=dir")),
    Case("unknown keyword", record(b"f contents=/etc/shadow")),
    Case("link keyword", record(b"f link=/etc/shadow")),
    Case("device named dot-dot", record(b".. type=char device=native,1,3")),
    Case("device named in octal", record(rb"\056\056 type=char device=native,1,3")),
    Case("device elsewhere", record(b"../../canary/new type=fifo")),
    Case("device elsewhere, in octal", record(rb"\056\056\057new type=fifo")),
    Case("absolute fifo", record(b"/tmp/hostile type=fifo")),
    Case("NUL in a name", record(rb"a\000b type=fifo")),
    Case("fifo of 256 bytes", record(LONG + b"n type=fifo"), elsewhere=(0, 1)),
    Case("two records", record(b"f mode=0600", b"f mode=0644")),
    Case("two own records", record(b". type=dir mode=0777")),
    Case("binary garbage", record(bytes(range(1, 256)).replace(b"\n", b""))),
    Case("line of a megabyte", record(b"f " + b"x" * (1 << 20))),
    Case("a hundred thousand words", record(b"f" + b" mode=0644" * 100_000), code=0, elsewhere=(14,)),
    Case("carriage returns", record(b"f mode=0644\r uid=0")),
    Case("tabs", record(b"f\tmode=0644")),
    Case("/set of another type", record(b"/set type=fifo", b"f mode=0600"), code=0),
    Case("unknown order", record(b"/include /etc/passwd")),
    Case("trusted attribute", record(b"f xattr.trusted.overlay.opaque=eQ==")),
    Case("IMA attribute", record(b"f xattr.security.ima=eQ==")),
    Case("bad base64", record(b"f xattr.user.x=!!!!")),
    Case("ACL that is none", record(b"f xattr.system.posix_acl_access=Z2FyYmFnZQ=="), elsewhere=(0, 1)),
    Case("capability that is none", record(b"f xattr.security.capability=Z2FyYmFnZQ=="), elsewhere=(0, 1)),
    Case("attribute of 300 bytes", record(b"f xattr.user." + b"x" * 300 + b"=eQ=="), elsewhere=(0, 1)),
    Case("value of 100 kilobytes", record(b"f xattr.user.x=" + b"QUFB" * 33_000), elsewhere=(0, 1)),
    Case("attribute of a fifo", record(b"x type=fifo xattr.user.x=eQ=="), elsewhere=(0, 1)),
    Case("no first line", lambda forge: forge.tree((FILE, b".gitstate", forge.blob(SET + OWN)))),
    Case("empty records", lambda forge: forge.tree((FILE, b".gitstate", forge.blob(b"")), forge.file(b"f"))),
    Case("version below", lambda forge: forge.directory((TREE, b"d", forge.directory(root=True)), root=True)),
    Case("newer version", lambda forge: forge.tree((FILE, b".gitstate", forge.blob(HEAD + b"#gitstate 2\n"))), code=7),
    Case("version of 99", lambda forge: forge.tree((FILE, b".gitstate", forge.blob(HEAD + b"#gitstate 99\n"))), code=7),
    Case("version x", lambda forge: forge.tree((FILE, b".gitstate", forge.blob(HEAD + b"#gitstate x\n")))),
    Case("own record only", lambda forge: forge.tree((FILE, b".gitstate", forge.blob(HEAD + VERSION + OWN))), code=0),
    # hard links
    Case("link out", links(b"../../canary/file a\n")),
    Case("absolute link", links(b"/etc/passwd a\n")),
    Case("link through dot-dot", links(b"d/../a b\n")),
    Case("link through a symlink", links(b"s/file a\n"), code=0),
    Case("link of a directory", links(b"d a\n"), code=0),
    Case("link of the missing", links(b"nowhere/at/all a\n"), code=0),
    Case("link of oneself", links(b"a a\n")),
    Case("link in two groups", links(b"a b\nb d/file\n")),
    Case("link of one", links(b"a\n")),
    Case("links of garbage", links(bytes(range(256)))),
    Case("link 5,000 deep", links(b"d/" * 5000 + b"x a\n"), code=0),
    Case(
        "links are a directory", lambda forge: forge.directory((TREE, b".gitstate-links", forge.directory()), root=True)
    ),
    Case("links are missing", lambda forge: forge.directory((FILE, b".gitstate-links", missing()), root=True)),
    # what the policy says
    Case("executable everything", items(named(b"x", EXECUTABLE), lines=(b"x mode=7777 uid=0",)), code=0),
]


@pytest.fixture(scope="module")
def arena(own_disk: Path, fork_server: ForkServer) -> Iterator[Harness]:
    """A site with a good snapshot and its export, to which hostile ones are added."""
    path = own_disk / "arena"
    path.mkdir()
    harness = Harness(path, fork_server).begin()
    (harness.live / "d").mkdir()
    (harness.live / "d" / "file").write_text("good\n")
    (harness.live / "f").write_text("hostile\n")
    (harness.live / "x").symlink_to("d")
    harness.check_in()
    harness.export()
    yield harness
    forced_removal(path)


@dataclass(frozen=True)
class Scene:
    """The arena for one case."""

    harness: Harness
    good: str
    exported: Path
    forge: Forge

    @property
    def target(self) -> Path:
        """Where to export to."""
        return self.harness.path / "target"

    def point(self, commit: str) -> None:
        """Let main, and what the live tree is said to be recorded as, be ``commit``."""
        for ref in ("refs/heads/main", "refs/gitstate/live"):
            self.harness.git("update-ref", ref, commit)

    def exports(self) -> list[Path]:
        """All but the good one, half done ones included."""
        return [path for path in self.harness.exports.iterdir() if path != self.exported]

    def clear(self) -> None:
        """As it was: the good snapshot is in a pack, the hostile ones are loose."""
        self.point(self.good)
        subprocess.run(f"rm -rf {self.harness.repository}/objects/??", shell=True, check=True)
        for path in [self.target, *self.exports()]:
            forced_removal(path)


@pytest.fixture
def scene(arena: Harness) -> Iterator[Scene]:
    """The arena, cleared afterwards."""
    scene = Scene(arena, arena.head, arena.exports / arena.head, Forge(arena.repository))
    yield scene
    arena.git("update-ref", "-d", "refs/heads/bad")
    scene.clear()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_snapshot(scene: Scene, case: Case) -> None:
    harness, good = scene.harness, scene.good
    canary = Canary(harness.path / "canary")
    bad = scene.forge.commit(case.build(scene.forge), good)
    (harness.repository / "refs" / "heads" / "bad").write_text(f"{bad}\n")
    before = looks(harness.live), looks(scene.exported)
    try:
        judge_exports(scene, case)
        judge_readers(scene, case)
        scene.point(bad)
        ended(scene, case, "status", "p")
        ended(scene, case, "checkin", "p", "-m", "over it")
        assert (looks(harness.live), looks(scene.exported)) == before
        canary.sings()
        assert {path.name for path in harness.path.iterdir()} <= {"site", "witness", "canary", "target"}
    finally:
        forced_removal(canary.path)


def ended(scene: Scene, case: Case, *words: str | Path) -> None:
    """Run a command that reads the whole snapshot: it must end as the case says."""
    said = scene.harness(*words)
    if said.code in (0, 1):
        assert case.code in (0, 1) or said.code in case.elsewhere, (words, said)
    else:
        said.told(case.code, *case.elsewhere)


def judge_exports(scene: Scene, case: Case) -> None:
    """To a directory, written; to the site's, linked from the good one."""
    written, linked = (scene.harness("export", "p", "bad", *words) for words in (("--to", scene.target), ()))
    if case.code:
        written.told(case.code)
        linked.told(case.code)
        assert not scene.target.exists()
        assert scene.exports() == []
    else:
        written.well()
        linked.well()
        assert judges.mtree(scene.target, Path(linked.out.strip())) == []


def judge_readers(scene: Scene, case: Case) -> None:
    """Everything that reads snapshots."""
    for words in (
        ("manifest", "p", "bad"),
        ("verify", "p", "bad", scene.exported),
        ("diff", "p", scene.good, "bad"),
        ("diff", "p", "bad", scene.good, "--json"),
        ("show", "p", "bad"),
    ):
        ended(scene, case, *words)
    if case.code or complaints(scene.harness.repository):
        scene.harness("fsck", "p").told(14)


def test_a_push_of_a_hostile_snapshot_is_refused_by_git(harness: Harness) -> None:
    """``transfer.fsckObjects`` stands before what gitstate itself checks."""
    harness.check_in()
    clone = harness.path / "clone"
    harness("clone", "p", clone).well()
    forge = Forge(clone / ".git")
    bad = forge.commit(forge.directory(forge.below(b".."), root=True), harness.head)
    done = subprocess.run(
        ["git", "-C", clone, "push", "origin", f"{bad}:refs/heads/main"], capture_output=True, check=False
    )
    assert done.returncode
    harness.sound()


def test_a_clone_runs_nothing_of_the_snapshot(harness: Harness) -> None:
    """Hooks, filters and monitors inside the tree stay files."""
    witness = harness.path / "ran"
    run = f"touch {witness}"
    nested = harness.live / "srv" / "nested" / ".git"
    nested.mkdir(parents=True)
    (nested / "config").write_text(f'[core]\n fsmonitor = "{run}"\n[filter "x"]\n smudge = "{run}"\n clean = "{run}"\n')
    (harness.live / ".gitattributes").write_text("* filter=x diff=x\n")
    (harness.live / ".gitmodules").write_text(f'[submodule "x"]\n path = x\n url = "ext::{run}"\n')
    harness.check_in()
    harness("clone", "p", harness.path / "clone").well()
    harness("log", "p", "-p").well()
    harness("diff", "p").well()
    harness.faithful()
    harness.sound()
    assert not witness.exists()


def test_words_that_look_like_options(harness: Harness) -> None:
    """A branch or path that begins with a dash is never an option to git."""
    harness.check_in()
    witness = harness.path / "ran"
    for words in (
        ("export", "p", "--", f"--output={witness}"),
        ("manifest", "p", "--", "--upload-pack=touch"),
        ("checkin", "p", "-m", "m", "--branch", f"--output={witness}"),
        ("clone", "p", f"--upload-pack=touch {witness}"),
        ("prototype", "create", "q", "--from", f"p@--output={witness}"),
    ):
        harness(*words).told(2, 10)
    assert not witness.exists()


def test_terminal_controls_in_names_are_escaped(harness: Harness) -> None:
    """What is printed for people holds no control character of the tree's."""
    (harness.live / "evil\x1b[2J\x07\n\x7f").write_text("x")
    harness.check_in()
    (harness.live / "evil\x1b[2J\x07\n\x7f").write_text("y")
    for words in (("status", "p"), ("manifest", "p"), ("log", "p", "--stat"), ("show", "p")):
        said = harness(*words).well()
        assert "\x1b" not in said.out, words
        assert "\x07" not in said.out, words


def test_python_is_not_led_astray_by_the_live_tree(harness: Harness) -> None:
    """Nothing is imported from the directory that we stand in."""
    for name in ("json.py", "gitstate.py", "click.py"):
        (harness.live / name).write_text("raise SystemExit(99)\n")
    assert harness("checkin", "p", "-m", "m", cwd=harness.live).code == 0
    entry = shutil.which("gitstate", path=str(Path(sys.executable).parent))
    if entry:
        done = subprocess.run([entry, "--version"], cwd=harness.live, capture_output=True, check=False)
        assert done.returncode == 0
