"""Repositories that are none, of another format, or damaged: a line, a hint and the documented exit code."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.damage.forge import FILE, HEAD, OWN, SET, Forge
from tests.damage.harness import READERS, Harness, forced_removal, plant
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("rsync", "setpriv")]


# --- repositories ---------------------------------------------------------------------------------------------------


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
