"""Wrong names, wrong places, damaged repositories, no rights: a line, a hint and the documented exit code."""

from __future__ import annotations

import os
import random
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.damage.forge import FILE, HEAD, OWN, SET, VERSION, Forge
from tests.damage.harness import NOBODY, Harness, environment, forced_removal, git, gitstate, looks, mounted, plant
from tests.fork_server import ForkServer
from tests.support import PROJECT, needs, root_only, unavailable
from tests.testing import judges

pytestmark = [root_only, needs("rsync", "setpriv")]


# --- command lines --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(own_disk: Path, fork_server: ForkServer) -> Iterator[Harness]:
    """A site with a prototype of two snapshots, for commands that change nothing."""
    path = own_disk / "bad-input"
    path.mkdir()
    harness = Harness(path, fork_server).begin()
    (harness.live / "file").write_text("one\n")
    harness.check_in("one")
    harness.git("tag", "v1")
    harness.git("tag", "release-2024")
    (harness.live / "file").write_text("two\n")
    harness.check_in("two")
    (path / "file").write_text("a file\n")
    (path / "full").mkdir()
    (path / "full" / "file").touch()
    os.symlink("nowhere", path / "dangling")
    yield harness
    forced_removal(path)


LINES = [
    # code, words (@ is the harness's directory)
    (2, "nonsense"),
    (2, "checkn p"),
    (2, "checkin p"),
    (2, "checkin p -m"),
    (2, "checkin p -m m --nonsense"),
    (2, "checkin p q -m m"),
    (2, "export"),
    (2, "export p HEAD more"),
    (2, "verify"),
    (2, "prototype nonsense"),
    (2, "prototype create"),
    # names
    (2, "prototype create ../q"),
    (2, "prototype create a/b"),
    (2, "prototype create .hidden"),
    (2, "prototype create q.git"),
    (2, "prototype create q.lock"),
    (2, "prototype create base"),
    (2, "prototype create lab"),
    (2, "prototype create --  -q"),
    (2, "prototype create /etc"),
    (2, "prototype create " + "q" * 101),
    (2, "prototype create q\nq"),
    (2, "prototype create q\x1b[2J"),
    (2, "prototype create p"),
    (2, "export ../p"),
    (2, "export nonsense/x"),
    (2, "checkin ../p -m m"),
    (2, "checkin nonsense/q -m m"),
    (2, "status ../../etc"),
    # repositories that don't exist
    (10, "export q"),
    (10, "status q"),
    (10, "checkin q -m m"),
    (10, "manifest q"),
    (10, "verify q"),
    (10, "log q"),
    (10, "show q"),
    (10, "diff q"),
    (10, "clone q @/new"),
    (10, "fsck q"),
    (10, "gc q"),
    (10, "prototype show q"),
    (10, "prototype remove q --yes"),
    (10, "export lab/lab3"),
    # revisions
    (10, "export p nonsense"),
    (10, "export p v2"),
    (10, "export p HEAD~5"),
    (10, "export p 0000000000000000000000000000000000000000"),
    (10, "export p HEAD:file"),
    (10, "export p main..v1"),
    (10, "export p :/nothing"),
    (10, "export p @{99}"),
    (10, "export p \udcff"),
    (10, "export p x\ny"),
    (10, "export p " + "x" * 5000),
    (10, "manifest p nonsense"),
    (10, "verify p nonsense @/full"),
    (10, "prototype create q --from p@nonsense"),
    (10, "prototype create q --from nonsense"),
    (10, "prototype create q --from @/nonsense"),
    (10, "prototype create q --from @/nonsense.tar"),
    (2, "prototype create q --from ''"),
    # targets
    (2, "export p HEAD --to @/full"),
    (2, "export p HEAD --to @/file"),
    (2, "export p HEAD --to @/dangling"),
    (2, "export p HEAD --to /"),
    (5, "export p HEAD --to @/file/below"),
    (10, "export p HEAD --to /proc/nonsense"),
    (2, "clone p @/full"),
    (2, "clone p @/file"),
    (10, "verify p HEAD @/nonsense"),
    (10, "verify p HEAD @/file"),
    (10, "verify p HEAD"),
    # live trees
    (5, "status p --live @/nonsense"),
    (5, "status p --live @/file"),
    (5, "status p --live @/dangling"),
    (5, "status p --live @/new\nline"),
    (5, "checkin p -m m --live @/nonsense"),
    (5, "checkin p -m m --live @/file"),
    (5, "prototype create q --live @/nonsense"),
    (5, "prototype create q --live @/file"),
    (2, "prototype create q --live @/full --from p"),
    (2, "prototype create q --include less"),
    (2, "status --live @/dangling"),
    (2, "checkin -m m"),
    # messages, authors, branches, allowances
    (2, "checkin p -m ''"),
    (2, "checkin p -m ' \n '"),
    (2, "checkin p -m m --author nonsense"),
    (2, "checkin p -m m --author 'a<b> <c@d>'"),
    (2, "checkin p -m m --branch ''"),
    (2, "checkin p -m m --branch ../x"),
    (2, "checkin p -m m --branch a..b"),
    (2, "checkin p -m m --branch a.lock"),
    (2, "checkin p -m m --branch a/"),
    (2, "checkin p -m m --branch 'a b'"),
    (2, "checkin p -m m --branch a.lock/b"),
    (2, "checkin p -m m --branch a/.b"),
    (2, "checkin p -m m --branch " + "b" * 300),
    (2, "checkin p -m m --allow etc/x"),
    (2, "checkin p -m m --because why"),
    (2, "checkin p -m m --allow ../x --because why"),
    (2, "checkin p -m m --allow x --because ' '"),
    (2, "checkin p -m m --allow x --because 'two\nlines'"),
    (2, "checkin p -m m --allow 'a**b' --because why"),
    # git's own words
    (2, "log p --nonsense"),
    (2, "prototype remove p"),
]


@pytest.mark.parametrize("json", [False, True], ids=["plain", "json"])
@pytest.mark.parametrize(
    ("code", "line"), LINES, ids=[line[:60].encode("unicode_escape").decode() for _, line in LINES]
)
def test_a_wrong_command_line(site: Harness, code: int, line: str, json: bool) -> None:
    before = looks(site.site / "live"), site.git("for-each-ref")
    words = [word.replace("@/", f"{site.path}/") for word in split(line)]
    said = site(*(["--json"] if json else []), *words).told(code)
    assert said.err.startswith("{") == json
    assert (looks(site.site / "live"), site.git("for-each-ref")) == before
    assert not (site.site / "prototypes" / "q.git").exists()
    assert sorted(path.name for path in site.path.iterdir()) == ["dangling", "file", "full", "site"]


def split(line: str) -> list[str]:
    """Words at blanks; what stands in single quotes is one."""
    return [quoted if quoted or not plain else plain for quoted, plain in re.findall(r"'([^']*)'|([^ ]+)", line)]


def test_the_nearest_names_are_suggested(site: Harness) -> None:
    for wrong, right in (("v2", "v1"), ("maine", "main"), ("release-2025", "release-2024")):
        assert right in site("export", "p", wrong).told(10).err
    assert "checkin" in site("chekin", "p").told(2).err


def test_nothing_is_checked_in_yet(bare: Harness) -> None:
    bare.begin()
    for words in (("export", "p"), ("manifest", "p"), ("verify", "p", "HEAD", bare.live), ("diff", "p")):
        assert "checkin" in bare(*words).told(10).err
    bare("fsck", "p").well()
    bare("gc", "p").well()
    bare("prototype", "show", "p").well()
    bare("status", "p").well()
    bare("clone", "p", bare.path / "clone").well()


# --- sites ----------------------------------------------------------------------------------------------------------


def test_sites_that_are_none(bare: Harness) -> None:
    place = bare.path

    def told(code: int, site: Path, *words: str) -> None:
        bare.site = site
        bare(*words).told(code)

    told(10, place / "nonsense", "prototype", "list")
    told(10, place, "fsck")
    (place / "file").touch()
    told(10, place / "file", "status", "p")
    told(2, place / "file", "init")
    told(2, place, "init")
    made = place / "made"
    bare.site = made
    bare("init").well()
    told(2, made, "init")
    for text in ("version = 2\n", "version = 'x'\n", "nonsense", "[", "\0", "", "version = 1979-05-27\n"):
        (made / "site.toml").write_text(text)
        told(7, made, "prototype", "list")
    (made / "site.toml").write_bytes(b"\xff\xfe")
    told(7, made, "prototype", "list")
    (made / "site.toml").unlink()
    (made / "site.toml").mkdir()
    told(7, made, "prototype", "list")


def test_a_site_without_its_directories(bare: Harness) -> None:
    bare.begin()
    for name in ("exports", "live", "prototypes"):
        shutil.rmtree(bare.site / name)
        create = ("prototype", "create", f"q{name}")
        for words in (("prototype", "list"), ("fsck",), ("status", "p"), ("export", "p"), create):
            said = bare(*words)
            assert said.code in (0, 5, 10), said
            if said.code:
                said.told(5, 10)


# --- repositories ---------------------------------------------------------------------------------------------------


READERS = (
    ("status", "p"),
    ("checkin", "p", "-m", "m"),
    ("export", "p"),
    ("manifest", "p"),
    ("log", "p"),
    ("diff", "p"),
    ("fsck", "p"),
    ("gc", "p"),
    ("prototype", "show", "p"),
)


def all_told(harness: Harness, *codes: int) -> None:
    """Every command on the repository ends with one of ``codes``, and the list of all is made except for it."""
    for words in READERS:
        harness(*words).told(*codes)
    said = harness("prototype", "list").told(3)
    assert "p" in said.out.split()


def test_repositories_that_are_none(bare: Harness) -> None:
    bare("init").well()
    bare.repository.mkdir()
    all_told(bare, 5)
    (bare.repository / "HEAD").write_text("garbage\n")
    all_told(bare, 5)
    shutil.rmtree(bare.repository)
    bare.repository.write_text("a file")
    for words in READERS:
        bare(*words).told(5, 10)


def test_a_sha256_repository(bare: Harness) -> None:
    bare("init").well()
    subprocess.run(["git", "init", "-q", "--bare", "--object-format=sha256", bare.repository], check=True)
    for words in READERS:
        assert "SHA-256" in bare(*words).told(7).err


@pytest.mark.parametrize("declared", ["2", "99", "x", "", "-1", "1.0", "99999999999999999999999"])
def test_a_repository_of_another_format(harness: Harness, declared: str) -> None:
    harness.check_in()
    harness.git("config", "gitstate.format", declared)
    all_told(harness, 7)


def test_a_snapshot_of_a_newer_format(harness: Harness) -> None:
    harness.check_in()
    forge = Forge(harness.repository)
    tree = forge.tree((FILE, b".gitstate", forge.blob(HEAD + b"#gitstate 2\n" + SET + OWN)))
    harness.git("update-ref", "refs/heads/newer", forge.commit(tree))
    assert "format 2" in harness("export", "p", "newer").told(7).err
    harness("manifest", "p", "newer").told(7)


@pytest.mark.parametrize("extension", ["extensions.refStorage=reftable", "extensions.partialClone=origin"])
def test_repositories_with_extensions(harness: Harness, extension: str) -> None:
    harness.check_in()
    harness.git("config", "core.repositoryFormatVersion", "1")
    with open(harness.repository / "config", "a") as config:
        section, _, value = extension.partition("=")
        config.write(f"[extensions]\n\t{section.partition('.')[2]} = {value}\n")
    all_told(harness, 7)


@pytest.mark.parametrize("line", ["[core", "\0", "[core]\n\tbare = perhaps", "[core]\n\trepositoryformatversion = 7"])
def test_a_repository_with_a_bad_config(harness: Harness, line: str) -> None:
    harness.check_in()
    (harness.repository / "config").write_text(f"{line}\n")
    for words in READERS:
        said = harness(*words)
        if said.code:
            said.told(5, 7, 14)


@pytest.mark.parametrize("text", ["garbage\n", "", "ref: refs/heads/../../x\n", "0" * 40 + "\n", "1" * 40 + "\n"])
@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main", "refs/gitstate/live", "packed-refs"])
def test_a_repository_with_bad_refs(harness: Harness, name: str, text: str) -> None:
    harness.check_in()
    (harness.repository / name).write_text(text)
    for words in READERS:
        said = harness(*words)
        if said.code:
            said.told(5, 10, 12, 14)


def test_a_policy_that_does_not_parse(harness: Harness) -> None:
    harness.check_in()
    policy = harness.live / "etc" / "gitstate" / "policy.toml"
    policy.parent.mkdir()
    for text in (b"nonsense", b"version = 2\n", b"\xff", b"version = 1\nskip = 7\n", b"[" * 5000, b"\0"):
        policy.write_bytes(text)
        assert "policy.toml" in harness("checkin", "p", "-m", "m").told(7).err
        harness("status", "p").told(7)


def test_a_record_that_does_not_parse_names_file_and_line(harness: Harness) -> None:
    harness.check_in()
    forge = Forge(harness.repository)
    records = (FILE, b".gitstate", forge.blob(HEAD + SET + OWN + b"f mode=abc\n"))
    tree = forge.directory((b"40000", b"etc", forge.tree(records, forge.file(b"f"))), root=True)
    harness.git("update-ref", "refs/heads/bad", forge.commit(tree))
    for words in (("export", "p", "bad"), ("manifest", "p", "bad"), ("diff", "p", "main", "bad")):
        said = harness(*words).told(14)
        assert "/etc/.gitstate" in said.err
        assert "line 4" in said.err
    said = harness("fsck", "p").told(14)
    assert "/etc/.gitstate, line 4" in said.out


# --- packs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """A site whose repository is one pack, and whole copies of its files to go back to."""

    harness: Harness
    pack: Path
    index: Path
    whole: bytes
    whole_index: bytes
    exported: Path

    def restore(self) -> None:
        """As it was."""
        for path, data in ((self.pack, self.whole), (self.index, self.whole_index)):
            path.unlink(missing_ok=True)
            path.write_bytes(data)

    def judge(self, words: tuple[str, ...]) -> None:
        """A command on the damaged pack says so, or what it makes is right all the same."""
        target = self.harness.path / "target"
        said = self.harness(*words, *(["--to", str(target)] if words[0] == "export" else []))
        if said.code:
            said.told(14)
            assert not target.exists()
        elif words[0] == "export":
            assert judges.rsync(self.exported, target) == []
        forced_removal(target)


@pytest.fixture
def packed(harness: Harness) -> Packed:
    """Some files, one of them big enough to be read in pieces, in one pack."""
    plant(harness.live, 12)
    (harness.live / "streamed").write_bytes(b"0123456789abcdef" * (33 << 16))
    harness.check_in()
    harness.git("repack", "-a", "-d", "-q")
    exported = harness.export()
    (harness.repository / "gitstate" / "cache").unlink()
    packs = list((harness.repository / "objects" / "pack").glob("*.pack"))
    assert len(packs) == 1
    index = packs[0].with_suffix(".idx")
    return Packed(harness, packs[0], index, packs[0].read_bytes(), index.read_bytes(), exported)


def test_a_truncated_pack(packed: Packed) -> None:
    size = len(packed.whole)
    for length in (
        0,
        1,
        11,
        12,
        19,
        20,
        31,
        32,
        33,
        100,
        size // 4,
        size // 2,
        size - 1000,
        size - 21,
        size - 20,
        size - 1,
    ):
        packed.restore()
        packed.pack.unlink()
        packed.pack.write_bytes(packed.whole[:length])
        for words in (("export", "p"), ("manifest", "p")):
            packed.judge(words)
        packed.harness("fsck", "p").told(14)


def test_a_truncated_index(packed: Packed) -> None:
    size = len(packed.whole_index)
    for length in (0, 1, 7, 8, 100, 1031, 1032, 1033, 1100, size // 2, size - 41, size - 40, size - 21, size - 1):
        packed.restore()
        packed.index.unlink()
        packed.index.write_bytes(packed.whole_index[:length])
        for words in (("export", "p"), ("manifest", "p"), ("status", "p")):
            packed.judge(words)


def test_missing_halves(packed: Packed) -> None:
    for path in (packed.pack, packed.index):
        packed.restore()
        path.unlink()
        for words in (("export", "p"), ("manifest", "p"), ("status", "p"), ("checkin", "p", "-m", "m")):
            packed.harness(*words).told(14)


def flip_bits(packed: Packed, seed: int, count: int) -> None:
    """Single bits, some in headers of entries, anywhere in pack and index."""
    chance = random.Random(seed)
    offsets = [int(line.split()[3]) for line in verify_pack(packed) if len(line.split()) > 4]
    for number in range(count):
        packed.restore()
        path, whole = (packed.index, packed.whole_index) if number % 4 == 0 else (packed.pack, packed.whole)
        place = chance.randrange(len(whole))
        if path == packed.pack and number % 2:
            place = chance.choice(offsets) + chance.randrange(4)
        path.unlink()
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        packed.judge(("export", "p"))
        packed.judge((("manifest", "p"), ("status", "p"), ("diff", "p", "HEAD"))[number % 3])


def verify_pack(packed: Packed) -> list[str]:
    """git's listing of the pack's entries: id, type, size, size in the pack, offset."""
    done = subprocess.run(["git", "verify-pack", "-v", packed.index], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if re.match(r"[0-9a-f]{40} ", line)]


def test_flipped_bits(packed: Packed) -> None:
    flip_bits(packed, 1, 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_many_flipped_bits(packed: Packed, seed: int) -> None:
    flip_bits(packed, seed, 250)


def test_a_damaged_loose_object(harness: Harness) -> None:
    harness.check_in()
    forge = Forge(harness.repository)
    file = forge.file(b"f", b"x" * 1000)
    harness.git("update-ref", "refs/heads/loose", forge.commit(forge.directory(file, root=True)))
    path = harness.repository / "objects" / file[2][:2] / file[2][2:]
    whole = path.read_bytes()
    for data in (b"", whole[:10], whole[:-9], b"garbage", whole[:8] + b"\xff" + whole[9:]):
        path.write_bytes(data)
        harness("export", "p", "loose", "--to", harness.path / "t").told(14)
        assert not (harness.path / "t").exists()


# --- read-only file systems -----------------------------------------------------------------------------------------


def test_a_live_tree_on_a_read_only_file_system(harness: Harness) -> None:
    plant(harness.live, 10)
    harness.check_in()
    (harness.live / "new").write_text("new")
    elsewhere = harness.path / "read-only"
    with mounted(elsewhere, "--bind", str(harness.live)):
        subprocess.run(["mount", "-o", "remount,bind,ro", elsewhere], check=True)
        for words in (("checkin", "p", "-m", "m"), ("status", "p")):
            said = harness(*words, "--live", elsewhere).told(5)
            assert "read-only" in said.err
    with mounted(elsewhere, "-t", "tmpfs", "tmpfs"):
        (elsewhere / "file").touch()
        subprocess.run(["mount", "-o", "remount,ro", elsewhere], check=True)
        harness("checkin", "p", "-m", "m", "--live", elsewhere).told(5)
    harness.tidy()


def test_an_export_on_a_read_only_file_system_can_be_verified(harness: Harness) -> None:
    """That is how clients see it."""
    plant(harness.live, 10)
    harness.check_in()
    exported = harness.export()
    elsewhere = harness.path / "read-only"
    with mounted(elsewhere, "--bind", str(exported)):
        subprocess.run(["mount", "-o", "remount,bind,ro", elsewhere], check=True)
        harness("verify", "p", "HEAD", elsewhere).well()


def test_a_site_on_a_read_only_file_system(harness: Harness) -> None:
    harness.check_in()
    plant(harness.live, 10)
    harness.check_in()
    elsewhere = harness.path / "read-only"
    with mounted(elsewhere, "--bind", str(harness.site)):
        subprocess.run(["mount", "-o", "remount,bind,ro", elsewhere], check=True)
        harness.site = elsewhere
        for words in (
            ("checkin", "p", "-m", "m"),
            ("export", "p"),
            ("gc", "p"),
            ("prototype", "create", "q"),
            ("prototype", "remove", "p", "--yes"),
        ):
            assert "ead-only" in harness(*words).told(5).err
        for words in (
            ("log", "p"),
            ("manifest", "p"),
            ("fsck", "p"),
            ("prototype", "list"),
            ("diff", "p", "HEAD~1", "HEAD"),
        ):
            harness(*words).well()


def test_a_mount_point_as_a_target(harness: Harness) -> None:
    """An export is renamed into place, which a mount point refuses."""
    harness.check_in()
    with mounted(harness.path / "target", "-t", "tmpfs", "tmpfs") as target:
        assert "mount" in harness("export", "p", "HEAD", "--to", target).told(5).err
        assert list(target.iterdir()) == []
        harness("export", "p", "HEAD", "--to", target / "root").well()


def test_a_prototype_with_something_mounted_below_is_not_removed(harness: Harness) -> None:
    plant(harness.live, 5)
    harness.check_in()
    for name in ("mnt", "d03/e3"):
        (harness.live / name).mkdir(exist_ok=True)
        with mounted(harness.live / name, "-t", "tmpfs", "tmpfs") as memory:
            (memory / "precious").write_text("precious")
            harness("prototype", "remove", "p", "--yes").told(5)
            assert (memory / "precious").exists()
    harness.check_in()
    harness.sound()
    harness.faithful()


# --- without root ---------------------------------------------------------------------------------------------------


@pytest.fixture
def owned(place: Path, fork_server: ForkServer) -> Harness:
    """A site that nobody owns, with a live tree of which nobody can read a part."""
    probe = [*("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"), sys.executable, "-c"]
    done = subprocess.run([*probe, "import gitstate, pygit2"], env=environment(), capture_output=True, check=False)
    if done.returncode:
        unavailable(f"an unprivileged user can't reach {sys.executable} or {PROJECT}")
    home = place / "nobody"
    home.mkdir()
    harness = Harness(home, fork_server)
    os.chown(home, NOBODY, NOBODY)
    gitstate(harness.site, "init", nobody=True).well()
    gitstate(harness.site, "prototype", "create", "p", nobody=True).well()
    plant(harness.live, 30)
    (harness.live / "empty").mkdir()
    subprocess.run(["chown", "-Rh", f"{NOBODY}:{NOBODY}", harness.live], check=True)
    return harness


UNREADABLE = ("d01/e1/f1", "d02/e2", "d03", "d04/e4")


def lock_away(harness: Harness) -> None:
    """Root's files, directories of all rights but one."""
    for name, owner, mode in (
        ("d01/e1/f1", 0, 0o600),
        ("d02/e2", 0, 0o700),
        ("d03", NOBODY, 0o300),
        ("d04/e4", NOBODY, 0o600),
    ):
        os.chown(harness.live / name, owner, owner)
        (harness.live / name).chmod(mode)


def unlock(harness: Harness) -> None:
    """For everybody again."""
    for name in UNREADABLE:
        os.chown(harness.live / name, NOBODY, NOBODY)
        path = harness.live / name
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_without_root_what_can_not_be_read_keeps_its_record(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    before = {name: git(owned.repository, "rev-parse", f"main:{name}") for name in UNREADABLE}
    lock_away(owned)
    (owned.live / "d05" / "e5" / "f5").write_text("changed\n")
    said = gitstate(owned.site, "checkin", "p", "-m", "part", nobody=True, json=True).told(3)
    assert sorted(one["path"] for one in said.json["unrecorded"]) == sorted(UNREADABLE)
    assert {name: git(owned.repository, "rev-parse", f"main:{name}") for name in UNREADABLE} == before
    assert [one["path"] for one in said.json["changes"]] == ["d05/e5/f5"]
    assert git(owned.repository, "show", "main:d05/e5/f5") == "changed"
    assert "d02" in gitstate(owned.site, "status", "p", nobody=True).told(3).err
    unlock(owned)
    (owned.live / "d02" / "e2" / "f2").write_text("changed too\n")
    gitstate(owned.site, "checkin", "p", "-m", "all again", nobody=True).well()
    assert git(owned.repository, "show", "main:d02/e2/f2") == "changed too"
    give_to_root(owned)
    owned.faithful()


def test_without_root_what_could_not_be_read_at_first_is_found_later(owned: Harness) -> None:
    """The directories above it don't change when it becomes readable."""
    lock_away(owned)
    for _ in range(3):
        said = gitstate(owned.site, "checkin", "p", "-m", "part", nobody=True, json=True).told(3)
        assert sorted(one["path"] for one in said.json["unrecorded"]) == sorted(UNREADABLE)
    assert git(owned.repository, "ls-tree", "-r", "--name-only", "main", "d03", "d02/e2") == ""
    unlock(owned)
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    give_to_root(owned)
    owned.faithful()


def give_to_root(owned: Harness) -> None:
    """The site, but not the live tree."""
    for path in (owned.site / "prototypes", owned.site / "exports"):
        subprocess.run(["chown", "-R", "root:root", path], check=True)


def test_root_does_not_work_on_another_users_repository(owned: Harness) -> None:
    """Its configuration and hooks would run as root."""
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    witness = owned.path / "ran"
    hook = owned.repository / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {witness}\n")
    hook.chmod(0o755)
    (owned.live / "new").write_text("new")
    for words in READERS:
        owned(*words).told(5)
    assert not witness.exists()


def test_root_records_what_nobody_could_not(owned: Harness) -> None:
    """A check-in by root after one without it."""
    lock_away(owned)
    gitstate(owned.site, "checkin", "p", "-m", "part", nobody=True).told(3)
    give_to_root(owned)
    owned.check_in("by root")
    owned.faithful()


def test_without_root_nothing_can_be_exported(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    for words in (("export", "p"), ("export", "p", "HEAD", "--to", str(owned.path / "t"))):
        said = gitstate(owned.site, *words, nobody=True).told(5)
        assert "root" in said.err
    assert gitstate(owned.site, "export", "p", nobody=True, json=True).told(5).err.startswith("{")


def test_without_root_a_live_tree_that_can_not_be_read_at_all(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    for mode in (0o000, 0o300, 0o600):
        owned.live.chmod(mode)
        gitstate(owned.site, "checkin", "p", "-m", "m", nobody=True).told(3, 5)
        assert git(owned.repository, "log", "--oneline", "main").count("\n") == 0


def test_without_root_the_site_of_root(harness: Harness) -> None:
    """Every command says that it isn't allowed, not that there is nothing."""
    harness.check_in()
    for words in (*READERS, ("init",), ("prototype", "create", "q"), ("clone", "p", str(harness.path / "c"))):
        gitstate(harness.site, *words, nobody=True).told(2 if words == ("init",) else 5)


def test_reading_commands_work_without_root(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    for words in (
        ("status", "p"),
        ("manifest", "p"),
        ("verify", "p", "HEAD", str(owned.live)),
        ("log", "p"),
        ("fsck", "p"),
    ):
        gitstate(owned.site, *words, nobody=True).well()


# --- odd surroundings -----------------------------------------------------------------------------------------------


def test_programs_that_are_missing(harness: Harness) -> None:
    """git above all."""
    harness.check_in()
    empty = harness.path / "bin"
    empty.mkdir()
    line = [sys.executable, "-m", "gitstate", "--site", str(harness.site)]
    for words in (["checkin", "p", "-m", "m"], ["log", "p"], ["init", "--site", str(harness.path / "x")]):
        done = subprocess.run(
            [*line, *words], env={**environment(), "PATH": str(empty)}, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 5), done
        if done.returncode:
            assert "git" in done.stderr
            assert len(done.stderr.splitlines()) == 2


def test_a_current_directory_that_is_gone(harness: Harness) -> None:
    harness.check_in()
    gone = harness.path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m gitstate --site {harness.site} status"
    done = subprocess.run(["sh", "-c", script], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode in (2, 5), done
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_environment_variables_that_lead_git_astray(harness: Harness) -> None:
    """GIT_DIR, GIT_OBJECT_DIRECTORY and their kin are of whoever calls us from a hook."""
    plant(harness.live, 5)
    trap = harness.path / "trap.git"
    subprocess.run(["git", "init", "-q", "--bare", trap], check=True)
    before = looks(trap)
    variables = {
        "GIT_DIR": str(trap),
        "GIT_OBJECT_DIRECTORY": str(trap / "objects"),
        "GIT_INDEX_FILE": str(trap / "index"),
        "GIT_WORK_TREE": "/",
        "GIT_NAMESPACE": "x",
        "GIT_QUARANTINE_PATH": str(trap / "objects"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.bare",
        "GIT_CONFIG_VALUE_0": "nonsense",
        "GIT_AUTHOR_DATE": "nonsense",
    }
    for words in (["checkin", "p", "-m", "m"], ["export", "p"], ["log", "p"], ["fsck", "p"], ["gc", "p"]):
        line = [sys.executable, "-m", "gitstate", "--site", str(harness.site), *words]
        if words[0] == "log":  # what a person reads is shaped by that person's configuration
            variables["GIT_CONFIG_COUNT"] = "0"
        done = subprocess.run(line, env={**environment(), **variables}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
    assert looks(trap) == before
    harness.sound()
    harness.faithful()


def test_few_descriptors_and_little_memory(harness: Harness) -> None:
    """A deep tree with a hard limit of 64 open files: an error, not a deletion."""
    harness.check_in()
    deep = harness.live
    for _ in range(100):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    harness.check_in()
    tree = harness.git("rev-parse", "main^{tree}")
    (harness.live / "etc" / "fstab").write_text("# changed\n")
    line = f"ulimit -n 64; exec {sys.executable} -m gitstate --site {harness.site} checkin p -m few"
    done = subprocess.run(["sh", "-c", line], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode in (3, 5, 6), done
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert harness.git("ls-tree", "-r", "--name-only", "main", "d") == harness.git(
        "ls-tree", "-r", "--name-only", tree, "d"
    )
    harness.sound()
    harness.check_in("again")
    harness.faithful()


def test_permissions_are_restored_with_any_umask(harness: Harness) -> None:
    plant(harness.live, 10)
    for umask in ("000", "077", "777"):
        (harness.live / "new").write_text(umask)
        line = f"umask {umask}; {sys.executable} -m gitstate --site {harness.site} checkin p -m m"
        line += f" && {sys.executable} -m gitstate --site {harness.site} export p"
        subprocess.run(["sh", "-c", line], env=environment(), capture_output=True, check=True)
        harness.faithful()
        for path in (harness.repository, harness.repository / "gitstate"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700


Damage = Callable[[Path], None]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"x"), id="file"),
        pytest.param(lambda path: path.symlink_to("/etc/passwd"), id="symlink"),
        pytest.param(lambda path: path.mkdir(), id="directory"),
        pytest.param(os.mkfifo, id="fifo"),
    ],
)
@pytest.mark.parametrize("name", ["exports/p", "exports/p/.PARTIAL", "prototypes/.q.partial", "live/.q.partial"])
def test_something_else_stands_in_the_way(harness: Harness, name: str, damage: Damage) -> None:
    """Where gitstate makes its own files and directories."""
    harness.check_in()
    path = harness.site / name.replace(".PARTIAL", f".{harness.head}.gitstate-partial")
    path.parent.mkdir(exist_ok=True)
    damage(path)
    for words in (("export", "p"), ("prototype", "create", "q"), ("prototype", "list")):
        said = harness(*words)
        if said.code:
            said.told(2, 5)
    assert Path("/etc/passwd").read_text().startswith("root:")


@pytest.mark.parametrize("name", ["lock", "cache", ".", "../refs/heads", "../objects/pack"])
def test_gitstates_own_files_are_something_else(harness: Harness, name: str) -> None:
    harness.check_in()
    (harness.live / "new").write_text("new")
    path = (harness.repository / "gitstate" / name).resolve()
    subprocess.run(["rm", "-rf", path], check=True)
    path.symlink_to("/nonexistent/nowhere")
    for words in (("status", "p"), ("checkin", "p", "-m", "m"), ("export", "p"), ("fsck", "p"), ("gc", "p")):
        said = harness(*words)
        if said.code:
            said.told(5, 6, 10, 11, 14)
    assert VERSION
