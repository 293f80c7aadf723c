"""Objects read back: as git cat-file has them from fresh and from repacked packs, and never wrong from damaged ones."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core.errors import DamagedError
from gitstate.core.signature import Signature
from gitstate.store.objects import FILE, Commit, TreeItem, Type, format_tree, object_id
from gitstate.store.packs import StagedPack, deflate, entry_header, format_index
from gitstate.store.reader import Pack
from gitstate.store.repository import MAIN, Repository
from tests.support import PROJECT, needs
from tests.testing.git import Git

pytestmark = needs("git")

MIB: Final = 1 << 20
WHO: Final = Signature("A <a@example.com>", 1)

# Beginnings alike, so that git makes deltas of them; incompressible and empty ones, so that it doesn't of all.
_rng = random.Random(7)
_COMMON: Final = b"".join(b"line %d of a long file\n" % number for number in range(400))
ALIKE: Final = [_COMMON + b"the end of %d\n" % number for number in range(60)]
APART: Final = [
    b"",
    b"x",
    _rng.randbytes(70_000),
    bytes(3 * MIB + 1),
    (b"text\n" * 200_000)[: MIB - 1],
    b"y" * (2 * MIB),
]
BLOBS: Final = [*ALIKE, *APART]


def publish(repository: Repository, blobs: list[bytes]) -> bytes:
    """Check blobs in on main, in one pack."""
    with repository.staging() as staging:
        items = []
        for number, data in enumerate(blobs):
            staging.blob(object_id(Type.BLOB, data), data)
            items.append(TreeItem(FILE, b"%d" % number, object_id(Type.BLOB, data)))
        tree = staging.add(Type.TREE, format_tree(items))
        tip = repository.ref(MAIN)
        commit = staging.add(Type.COMMIT, Commit(tree, [tip] if tip else [], WHO, WHO, "x").encode())
        staging.publish([(MAIN, commit, tip)], "test")
    return commit


def everything(git: Git) -> dict[bytes, bytes]:
    """All objects by id as git cat-file has them."""
    listed = git("cat-file", "--batch-all-objects", "--batch", "--unordered")
    found, place = {}, 0
    while place < len(listed):
        end = listed.index(b"\n", place)
        oid, _, size = listed[place:end].split()
        found[bytes.fromhex(oid.decode())] = listed[end + 1 : end + 1 + int(size)]
        place = end + int(size) + 2
    return found


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository of two packs of our own making."""
    repository = Repository.create(tmp_path_factory.mktemp("reader") / "r.git")
    publish(repository, BLOBS)
    publish(repository, [*BLOBS[::2], b"another"])
    return repository


@pytest.fixture
def repacked(fresh: Repository, tmp_path: Path) -> Repository:
    """The same, repacked by git with all the deltas it can find."""
    shutil.copytree(fresh.path, tmp_path / "r.git")
    Git(tmp_path / "r.git")("repack", "-adfq", "--depth=50", "--window=250")
    return Repository(tmp_path / "r.git")


# --- as git has them ------------------------------------------------------------------------------------------------


def test_a_fresh_pack_reads_as_git_reads_it(fresh: Repository) -> None:
    expected = everything(Git(fresh.path))
    assert len(expected) == len(BLOBS) + 1 + 4
    for oid, data in expected.items():
        whole = fresh.whole(oid)
        assert whole is not None, "we write no deltas"
        assert (whole.size, whole.read(), b"".join(whole.chunks()), fresh.read(oid)) == (len(data), data, data, data)
        assert object_id(whole.kind, data) == oid
        assert all(0 < len(piece) <= MIB for piece in whole.chunks())


def test_a_repacked_one_does_too_and_deltas_are_put_together(repacked: Repository) -> None:
    expected = everything(Git(repacked.path))
    wholes = {oid: repacked.whole(oid) for oid in expected}
    assert 40 < sum(whole is None for whole in wholes.values()) < len(expected)
    for oid, data in expected.items():
        assert repacked.read(oid) == data
        whole = wholes[oid]
        assert whole is None or (whole.size, whole.read(), b"".join(whole.chunks())) == (len(data), data, data)


def test_git_levels_and_loose_objects_read_as_well(tmp_path: Path) -> None:
    git = Git.create(tmp_path / "r.git")
    repository = Repository(git.path)
    oids = {bytes.fromhex(git("hash-object", "-w", "--stdin", stdin=data).decode()): data for data in BLOBS}
    assert all(repository.whole(oid) is None for oid in oids)
    assert {oid: repository.read(oid) for oid in oids} == oids
    names = "".join(oid.hex() + "\n" for oid in oids).encode()
    for level in "0", "1", "9":
        git("-c", f"pack.compression={level}", "pack-objects", "-q", "--window=0", str(tmp_path / level), stdin=names)
        (index,) = tmp_path.glob(f"{level}-*.idx")
        pack = Pack(index)
        for oid, data in oids.items():
            place = pack.find(oid)
            assert place is not None
            whole = pack.whole(place)
            assert whole is not None
            assert (whole.kind, whole.read(), b"".join(whole.chunks())) == (Type.BLOB, data, data)
        pack.close()


def test_a_pack_is_closed_with_who_opened_it(repacked: Repository) -> None:
    (index,) = (repacked.path / "objects" / "pack").glob("*.idx")
    pack = Pack(index)
    name = Path(f"/proc/self/fd/{pack.descriptor}")
    assert name.resolve() == pack.path
    del pack
    assert not name.exists()


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB]), st.binary(min_size=1, max_size=5)),
        min_size=1,
        max_size=4,
    )
)
def test_streams_of_any_size_come_back(tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, bytes]]) -> None:
    """Highly compressible content, where one piece of input is many of output, at the edges of the pieces."""
    directory = tmp_path_factory.mktemp("stream")
    data = b"".join((piece * (size // len(piece) + 1))[:size] for size, piece in runs)
    (directory / "pack").mkdir()
    stream = StagedPack(directory, "large-1")
    pieces = iter([*(data[start : start + MIB] for start in range(0, len(data), MIB)), b""])
    oid = stream.stream(Type.BLOB, len(data), lambda: next(pieces))
    kept: list[Path] = []
    stream.publish(directory, b"", kept, lambda name: None)
    (keep,) = kept
    pack = Pack(keep.with_suffix(".idx"))
    place = pack.find(oid)
    assert place is not None
    whole = pack.whole(place)
    assert whole is not None
    assert b"".join(whole.chunks()) == data
    assert whole.read() == data
    pack.close()
    shutil.rmtree(directory)


def test_every_one_of_thousands_is_found(tmp_path: Path) -> None:
    blobs = [b"%d" % number for number in range(5000)]
    pack = Pack(staged(tmp_path, [(object_id(Type.BLOB, data), len(data), deflate(data)) for data in blobs]))
    assert pack.count == 5000
    assert [read_at_once(pack, object_id(Type.BLOB, data)) for data in blobs] == blobs
    assert [pack.find(object_id(Type.BLOB, b"no %d" % number)) for number in range(5000)] == [None] * 5000
    pack.close()


def test_a_pack_beyond_two_gigabytes_reads(tmp_path: Path) -> None:
    """A sparse one, with entries on both sides of where offsets take 64 bits."""
    path = tmp_path / "pack-x.pack"
    offsets = [12, 1000, 2**31 - 50, 2**31, 2**31 + 50, 2**32 + 7]
    slots: dict[bytes, int] = {}
    places, checksums = [], []
    with open(path, "wb") as file:
        for offset in offsets:
            data = b"at %d" % offset
            raw = entry_header(Type.BLOB, len(data)) + deflate(data)
            file.seek(offset)
            file.write(raw + bytes(20))
            # An entry ends where the next begins: one that nobody reads begins right after it.
            for oid, place in ((object_id(Type.BLOB, data), offset), (object_id(Type.TAG, data), offset + len(raw))):
                slots[oid] = len(slots)
                places.append(place)
                checksums.append(zlib.crc32(raw))
    index = path.with_suffix(".idx")
    index.write_bytes(b"".join(format_index(slots, places, checksums, bytes(20))))
    pack = Pack(index)
    for offset in offsets:
        assert read_at_once(pack, object_id(Type.BLOB, b"at %d" % offset)) == b"at %d" % offset
        assert read_in_pieces(pack, object_id(Type.BLOB, b"at %d" % offset)) == b"at %d" % offset
    pack.close()


def test_threads_read_at_once(repacked: Repository) -> None:
    expected = everything(Git(repacked.path))
    oids = list(expected) * 8
    random.Random(1).shuffle(oids)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(repacked.read, oids)) == [expected[oid] for oid in oids]


def test_what_is_not_there_is_missing(fresh: Repository) -> None:
    for oid in (bytes(20), b"\xff" * 20, object_id(Type.BLOB, b"never stored")):
        assert fresh.whole(oid) is None
        assert not fresh.has_packed(oid)
        with pytest.raises(DamagedError, match=f"{oid.hex()} is missing"):
            fresh.read(oid)


def test_new_packs_are_seen_and_repacked_ones_stay_readable(fresh: Repository, tmp_path: Path) -> None:
    shutil.copytree(fresh.path, tmp_path / "r.git")
    reading, writing = Repository(tmp_path / "r.git"), Repository(tmp_path / "r.git")
    assert reading.read(object_id(Type.BLOB, b"another")) == b"another"
    publish(writing, [b"brand new"])
    assert reading.read(object_id(Type.BLOB, b"brand new")) == b"brand new"
    expected = everything(Git(reading.path))
    Git(reading.path)("repack", "-adfq", "--depth=50", "--window=250")
    assert {oid: reading.read(oid) for oid in expected} == expected
    again = Repository(reading.path)
    assert {oid: again.read(oid) for oid in expected} == expected


_MEASURE: Final = """
import resource, sys
from pathlib import Path
from gitstate.store.repository import Repository
repository = Repository(Path(sys.argv[1]))
repository.read(bytes.fromhex(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen = sum(map(len, repository.whole(bytes.fromhex(sys.argv[3])).chunks()))
print(seen, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("filling", [b"\0", b"random"])
def test_a_big_blob_takes_little_memory(tmp_path: Path, filling: bytes) -> None:
    size = 96 * MIB
    repository = Repository.create(tmp_path / "r.git")
    piece = bytes(MIB) if filling == b"\0" else random.Random(1).randbytes(MIB)
    pieces = iter([*[piece] * (size // MIB), b""])
    with repository.staging() as staging:
        small = staging.add(Type.BLOB, b"x")
        big = staging.stream(size, lambda: next(pieces), repository.has_packed)
        tree = staging.add(Type.TREE, format_tree([TreeItem(FILE, b"big", big), TreeItem(FILE, b"small", small)]))
        commit = staging.add(Type.COMMIT, Commit(tree, [], WHO, WHO, "x").encode())
        staging.publish([(MAIN, commit, None)], "test")
    command = [sys.executable, "-c", _MEASURE, repository.path, small.hex(), big.hex()]
    seen, kilobytes = map(int, subprocess.run(command, capture_output=True, check=True, cwd=PROJECT).stdout.split())
    assert seen == size
    assert kilobytes < 16 * 1024


# --- damage ---------------------------------------------------------------------------------------------------------

SMALL: Final = [
    b"",
    b"a",
    b"hello\n" * 30,
    bytes(300),
    random.Random(3).randbytes(200),
    *(b"%d" % n * n for n in range(1, 12)),
]


def staged(directory: Path, entries: list[tuple[bytes, int, bytes]]) -> Path:
    """The index of a pack of blobs: ids, sizes as claimed, zlib streams."""
    (directory / "pack").mkdir()
    pack = StagedPack(directory, "main")
    for oid, size, deflated in entries:
        pack.add(Type.BLOB, oid, size, deflated)
    kept: list[Path] = []
    pack.publish(directory, b"", kept, lambda name: None)
    (keep,) = kept
    return keep.with_suffix(".idx")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pack's path, without suffix."""
    entries = [(object_id(Type.BLOB, data), len(data), deflate(data)) for data in SMALL]
    return staged(tmp_path_factory.mktemp("small"), entries).with_suffix("")


def read_all(index: Path) -> tuple[int, int]:
    """How many of the objects are read right, and how many named as damaged; anything wrong fails."""
    right = damaged = 0
    try:
        pack = Pack(index)
    except DamagedError as error:
        assert_clear(error)
        return 0, len(SMALL)
    except ValueError:  # an empty index: `Objects` makes it Damaged
        assert index.stat().st_size == 0
        return 0, len(SMALL)
    for data in SMALL:
        for way in (read_at_once, read_in_pieces):
            try:
                found = way(pack, object_id(Type.BLOB, data))
            except DamagedError as error:
                damaged += 1
                assert_clear(error)
            else:
                assert found in (None, data)
                right += found == data
    pack.close()
    return right, damaged


def read_at_once(pack: Pack, oid: bytes) -> bytes | None:
    place = pack.find(oid)
    whole = None if place is None else pack.whole(place)
    return None if whole is None else whole.read()


def read_in_pieces(pack: Pack, oid: bytes) -> bytes | None:
    place = pack.find(oid)
    whole = None if place is None else pack.whole(place)
    return None if whole is None else b"".join(whole.chunks())


def assert_clear(error: DamagedError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 300
    assert error.hint


def write(place: Path, pack: bytes, index: bytes) -> Path:
    place.mkdir(exist_ok=True)
    (place / "pack-x.pack").write_bytes(pack)
    (place / "pack-x.idx").write_bytes(index)
    return place / "pack-x.idx"


def test_the_undamaged_pack_is_right(small: Path, tmp_path: Path) -> None:
    index = write(tmp_path, small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes())
    assert read_all(index) == (2 * len(SMALL), 0)


def test_no_flipped_bit_of_a_pack_gives_wrong_data(small: Path, tmp_path: Path) -> None:
    pack, index = small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes()
    seen = 0
    for place in range(12, len(pack) - 20):
        bit = place % 8
        flipped = pack[:place] + bytes([pack[place] ^ 1 << bit]) + pack[place + 1 :]
        right, damaged = read_all(write(tmp_path, flipped, index))
        assert right <= 2 * len(SMALL) - 2, f"bit {bit} of byte {place} was not noticed"
        seen += damaged
    assert seen > len(pack)


@pytest.mark.slow
def test_no_flipped_bit_at_all_of_a_pack_gives_wrong_data(small: Path, tmp_path: Path) -> None:
    pack, index = small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes()
    for place in range(12, len(pack) - 20):
        for bit in range(8):
            flipped = pack[:place] + bytes([pack[place] ^ 1 << bit]) + pack[place + 1 :]
            assert read_all(write(tmp_path, flipped, index))[0] <= 2 * len(SMALL) - 2


def test_no_flipped_bit_of_an_index_gives_wrong_data(small: Path, tmp_path: Path) -> None:
    pack, index = small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes()
    count = len(SMALL)
    tables = 8 + 1024
    interesting = [*range(8), *range(8, tables, 37), *range(tables - 4, tables), *range(tables, tables + 28 * count)]
    for place in interesting:
        flipped = index[:place] + bytes([index[place] ^ 1 << place % 8]) + index[place + 1 :]
        assert read_all(write(tmp_path, pack, flipped)) == (0, count)


def test_an_index_that_points_at_other_objects_is_damage(small: Path, tmp_path: Path) -> None:
    """What inflates well and has the right checksum; an index that says so of itself is all that helps."""
    pack, index = small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes()
    count, tables = len(SMALL), 8 + 1024
    for start, size in ((tables, 20), (tables + 20 * count, 4), (tables + 24 * count, 4)):
        items = [index[start + size * place :][:size] for place in range(count)]
        turned = index[:start] + b"".join(items[1:] + items[:1]) + index[start + size * count :]
        assert read_all(write(tmp_path, pack, turned)) == (0, count)
    shifted = index[:20] + bytes(20) + index[20:]
    assert read_all(write(tmp_path, pack, shifted)) == (0, count)


def test_an_index_of_wrong_offsets_with_a_right_checksum_is_damage(small: Path, tmp_path: Path) -> None:
    pack, index = small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes()
    count, offsets = len(SMALL), 8 + 1024 + 24 * len(SMALL)
    words = [index[offsets + 4 * place :][:4] for place in range(count)]
    for wrong in (words[1:] + words[:1], [b"\0\0\0\0"] * count, [b"\x7f\xff\xff\xff"] * count, [b"\xff" * 4] * count):
        turned = index[:offsets] + b"".join(wrong) + index[offsets + 4 * count :]
        right, _ = read_all(write(tmp_path, pack, resealed(turned)))
        assert right == 0


def resealed(index: bytes) -> bytes:
    """An index with the checksum that it should have."""
    return index[:-20] + hashlib.sha1(index[:-20], usedforsecurity=False).digest()


def test_an_index_of_more_objects_than_it_has_is_damage_at_once(small: Path, tmp_path: Path) -> None:
    pack, index = small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes()
    for fanout in (b"\xff\xff\xff\xff" * 256, index[8:1028] + b"\x7f\xff\xff\xff", index[8:1028] + b"\0\0\1\0"):
        assert read_all(write(tmp_path, pack, resealed(index[:8] + fanout + index[1032:]))) == (0, len(SMALL))


def test_an_entry_that_lies_about_its_size_is_damage(tmp_path: Path) -> None:
    """Also where a size would take all memory."""
    data = b"0123456789"
    sizes = {bytes([number]) * 20: size for number, size in enumerate([0, 9, 11, 2**20, 2**40, 2**62, 2**64])}
    pack = Pack(staged(tmp_path, [(oid, size, deflate(data)) for oid, size in sizes.items()]))
    for oid in sizes:
        for way in (read_at_once, read_in_pieces):
            with pytest.raises(DamagedError) as caught:
                way(pack, oid)
            assert_clear(caught.value)
    pack.close()


def test_no_truncation_gives_wrong_data(small: Path, tmp_path: Path) -> None:
    pack, index = small.with_suffix(".pack").read_bytes(), small.with_suffix(".idx").read_bytes()
    for length in range(0, len(pack), 3):
        right, damaged = read_all(write(tmp_path, pack[:length], index))
        assert right < 2 * len(SMALL)
        assert damaged
    for length in range(0, len(index), 13):
        assert read_all(write(tmp_path, pack, index[:length])) == (0, len(SMALL))


@settings(max_examples=150)
@given(data=st.data())
def test_no_rewritten_stretch_gives_wrong_data(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files = [small.with_suffix(suffix).read_bytes() for suffix in (".pack", ".idx")]
    which = data.draw(st.integers(0, 1))
    place = data.draw(st.integers(0, len(files[which])))
    cut = data.draw(st.integers(0, 40))
    put = data.draw(
        st.one_of(st.binary(max_size=40), st.integers(0, 40).map(bytes), st.integers(0, 40).map(lambda n: b"\xff" * n))
    )
    files[which] = files[which][:place] + put + files[which][place + cut :]
    read_all(write(tmp_path_factory.getbasetemp() / "rewritten", *files))


def test_a_pack_with_another_packs_index_is_damage(small: Path, fresh: Repository, tmp_path: Path) -> None:
    (other, *_) = sorted((fresh.path / "objects" / "pack").glob("*.pack"))
    right, damaged = read_all(write(tmp_path, other.read_bytes(), small.with_suffix(".idx").read_bytes()))
    assert right == 0
    assert damaged


_READ: Final = """
import sys
from pathlib import Path
from gitstate.core.errors import DamagedError
from gitstate.store.repository import Repository
from gitstate.store.objects import object_id, Type
repository = Repository(Path(sys.argv[1]))
for name in sys.argv[2:]:
    oid = bytes.fromhex(name)
    try:
        data = repository.read(oid)
    except DamagedError as error:
        assert str(error).isprintable() and error.hint, error
        print("damaged")
    else:
        print("right" if any(object_id(kind, data) == oid for kind in Type) else "WRONG")
"""


def read_by_another_process(path: Path, oids: list[bytes]) -> list[str]:
    """libgit2 keeps packs open by name for as long as a process lives, so every damage gets a process of its own."""
    command = [sys.executable, "-c", _READ, path, *[oid.hex() for oid in oids]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


DAMAGES: Final = {
    "truncated pack": (".pack", lambda data: data[: len(data) // 2]),
    "pack of nothing": (".pack", lambda data: b""),
    "pack of a header": (".pack", lambda data: data[:12]),
    "zeros in the pack": (".pack", lambda data: data[:2000] + bytes(len(data) - 4000) + data[-2000:]),
    "noise in the pack": (".pack", lambda data: data[:200] + random.Random(1).randbytes(len(data) - 400) + data[-200:]),
    "every 50th byte of the pack": (".pack", lambda data: b"U".join(data[i : i + 49] for i in range(0, len(data), 50))),
    "truncated index": (".idx", lambda data: data[: len(data) // 2]),
    "index of nothing": (".idx", lambda data: b""),
    "offsets of zero": (".idx", lambda data: data[: -40 - len(data) // 10] + bytes(len(data) // 10) + data[-40:]),
    "large offsets": (".idx", lambda data: data[: -40 - len(data) // 10] + b"\xff" * (len(data) // 10) + data[-40:]),
}  # fmt: skip


@pytest.mark.parametrize("deltas", [False, True], ids=["fresh", "repacked"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_repository_is_named_and_never_wrong(
    fresh: Repository, repacked: Repository, tmp_path: Path, damage: str, deltas: bool
) -> None:
    shutil.copytree((repacked if deltas else fresh).path, tmp_path / "copy.git")
    suffix, spoil = DAMAGES[damage]
    for path in (tmp_path / "copy.git/objects/pack").glob(f"*{suffix}"):
        path.chmod(0o644)
        path.write_bytes(spoil(path.read_bytes()))
    oids = [object_id(Type.BLOB, data) for data in BLOBS]
    said = read_by_another_process(tmp_path / "copy.git", oids)
    assert len(said) == len(oids)
    assert set(said) <= {"right", "damaged"}
    assert "damaged" in said


def test_a_missing_pack_or_index_is_missing_objects(fresh: Repository, tmp_path: Path) -> None:
    oid = object_id(Type.BLOB, BLOBS[0])
    for suffix in (".pack", ".idx"):
        copy = tmp_path / f"{suffix[1:]}.git"
        shutil.copytree(fresh.path, copy)
        for path in (copy / "objects/pack").glob(f"*{suffix}"):
            os.unlink(path)
        assert read_by_another_process(copy, [oid]) == ["damaged"]
    copy = tmp_path / "none.git"
    shutil.copytree(fresh.path, copy)
    shutil.rmtree(copy / "objects/pack")
    assert read_by_another_process(copy, [oid]) == ["damaged"]
